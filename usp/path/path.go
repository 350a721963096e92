package path

import (
	"fmt"
	"strconv"
)

// Kind says what a whole path is written as; whether that exists, and is a
// parameter or an object, only a schema can tell.
type Kind uint8

// The kinds of paths, by how they end.
const (
	Object    Kind = iota // "Device.IP." or "Device.IP.Interface.1.": ends in "."
	Parameter             // "Device.IP.Interface.1.Name": ends in a name; in a reference value it can also be an object
	Row                   // "Device.IP.Interface.1": an object the way reference parameters write it, without the final dot
	Command               // "Device.Reboot()"
	Event                 // "Device.Boot!"
)

// StepKind says what a Step is.
type StepKind uint8

// The kinds of steps.
const (
	Name        StepKind = iota // Step.Name; the last one of a Command ends in "()", of an Event in "!"
	Instance                    // Step.Number: an instance number, at least 1
	Wildcard                    // "*": all instances
	Search                      // Step.Expr: the instances for which it holds; also unique-key addressing
	Follow                      // "+", "#2+", "#*+" behind a reference parameter's name; Step.Number: the item, AllItems for "*"
	Placeholder                 // "{i}": any instance, in paths of the supported data model only
)

// AllItems is the Number of a Follow step that goes to every item of a list of
// references ("#*+").
const AllItems = 0

// Step is one element of a path.
type Step struct {
	Kind   StepKind
	Number uint32
	Name   string
	Expr   *Expr
}

// Path is a parsed path name. The zero Path is not valid. It shares memory with
// the string it was parsed from and must not be changed.
type Path struct {
	Kind  Kind
	Steps []Step
}

// IsSearch reports whether the path can stand for any number of elements: it has
// a wildcard, an expression or follows all items of a list. Addressing by unique
// key is written like a search; only the schema tells them apart (R-ARC.9 note).
func (p Path) IsSearch() bool {
	for i := range p.Steps {
		switch st := &p.Steps[i]; st.Kind {
		case Wildcard, Search:
			return true
		case Follow:
			if st.Number == AllItems {
				return true
			}
		}
	}
	return false
}

// Follows reports whether the path follows a reference, so that resolving it
// has to read parameters.
func (p Path) Follows() bool {
	for i := range p.Steps {
		if p.Steps[i].Kind == Follow {
			return true
		}
	}
	return false
}

// String returns the path in canonical writing: no white space in expressions,
// only '"' and '%' escaped in literals, "+" for "#1+". Parsing it again gives an
// equal Path.
func (p Path) String() string { return string(p.Append(nil)) }

// Append appends what String returns to b.
func (p Path) Append(b []byte) []byte {
	b = appendSteps(b, p.Steps)
	if p.Kind == Object {
		b = append(b, '.')
	}
	return b
}

func appendSteps(b []byte, steps []Step) []byte {
	for i := range steps {
		st := &steps[i]
		if i > 0 && st.Kind != Follow {
			b = append(b, '.')
		}
		switch st.Kind {
		case Name:
			b = append(b, st.Name...)
		case Instance:
			b = strconv.AppendUint(b, uint64(st.Number), 10)
		case Wildcard:
			b = append(b, '*')
		case Search:
			b = st.Expr.Append(b)
		case Placeholder:
			b = append(b, "{i}"...)
		case Follow:
			b = appendFollow(b, st.Number)
		}
	}
	return b
}

func appendFollow(b []byte, item uint32) []byte {
	switch item {
	case 1:
		return append(b, '+')
	case AllItems:
		return append(b, "#*+"...)
	}
	b = append(b, '#')
	return append(strconv.AppendUint(b, uint64(item), 10), '+')
}

// SyntaxError tells why a string is not a path. On the wire it is USP error
// 7008.
type SyntaxError struct {
	Path   string
	Offset int // in bytes, where reading stopped
	Msg    string
}

// shown bounds how much of a refused path goes into messages and logs.
const shown = 160

func (e *SyntaxError) Error() string {
	text := e.Path
	if len(text) > shown {
		text = text[:shown] + "…"
	}
	return fmt.Sprintf("path %q: %s at offset %d", text, e.Msg, e.Offset)
}
