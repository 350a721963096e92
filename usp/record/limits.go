package record

// Limits bound what a received record may cost. A zero field stands for its
// default.
type Limits struct {
	Record int // bytes of the whole record; default 5 MiB
	// Elements is the number of protobuf fields in a message, at all depths
	// together. An empty element takes two bytes on the wire and up to a
	// hundred in memory, so that Record alone is no bound. Default 200,000.
	Elements int
}

// The defaults of Limits.
const (
	DefaultRecord   = 5 << 20
	DefaultElements = 200_000
)

func (l Limits) withDefaults() Limits {
	if l.Record <= 0 {
		l.Record = DefaultRecord
	}
	if l.Elements <= 0 {
		l.Elements = DefaultElements
	}
	return l
}
