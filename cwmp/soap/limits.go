package soap

// Limits bound what reading one envelope may cost. A field that is 0 has its
// value of DefaultLimits.
type Limits struct {
	Bytes      int // of the body, before and after a change of encoding
	Depth      int // of nested elements; CWMP itself needs 9
	Elements   int // in the envelope
	Attributes int // of one element, namespace declarations included
	NameBytes  int // of an element's or attribute's name with its prefix
}

// DefaultLimits let the largest answers seen (9,000 names of 3 elements each,
// 3 MB) pass nearly ten times over. Elements bounds the memory of what is read: a
// structure of two elements, in some twenty bytes, becomes up to 200.
func DefaultLimits() Limits {
	return Limits{Bytes: 16 << 20, Depth: 32, Elements: 1 << 18, Attributes: 64, NameBytes: 256}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	return Limits{
		Bytes:      orDefault(l.Bytes, d.Bytes),
		Depth:      orDefault(l.Depth, d.Depth),
		Elements:   orDefault(l.Elements, d.Elements),
		Attributes: orDefault(l.Attributes, d.Attributes),
		NameBytes:  orDefault(l.NameBytes, d.NameBytes),
	}
}

func orDefault(n, def int) int {
	if n <= 0 {
		return def
	}
	return n
}
