package soap

import (
	"math"
	"strconv"

	"github.com/uspbridge/uspbridge/cwmp"
)

// field describes one argument of an RPC or one member of a structure: how it
// is called, how it is read when the scanner has entered it, and how written.
type field[T any] struct {
	name     string
	required bool // its absence is fault 8003 when reading
	read     func(s *scanner, m *T) error
	write    func(w *writer, m *T) // nil: read only
}

// fields are the members of T in the order of the schema.
type fields[T any] []field[T]

// read reads the members inside the current element and leaves it. Members
// come in any order and namespace; what is not described is passed over
// (tolerances anyOrder, qualifiedArgument, extraElement).
func (fs fields[T]) read(s *scanner, m *T) error {
	_, err := fs.readSome(s, m)
	return err
}

// readSome is read; some reports whether there was any member at all.
func (fs fields[T]) readSome(s *scanner, m *T) (some bool, err error) {
	var seen uint64
	next := 0
	for {
		local, more, err := s.child()
		if err != nil {
			return false, err
		}
		if !more {
			return seen != 0, fs.checkRequired(s, seen)
		}
		i := fs.find(local, next)
		if i < 0 {
			err = s.skip()
		} else {
			seen |= 1 << i
			next = i + 1
			err = fs[i].read(s, m)
		}
		if err != nil {
			return false, err
		}
	}
}

// find looks for the member where the schema has it, then everywhere.
func (fs fields[T]) find(local string, next int) int {
	if next < len(fs) && fs[next].name == local {
		return next
	}
	for i := range fs {
		if fs[i].name == local {
			return i
		}
	}
	return -1
}

func (fs fields[T]) checkRequired(s *scanner, seen uint64) error {
	for i := range fs {
		if fs[i].required && seen&(1<<i) == 0 {
			return s.fault("no %s", fs[i].name)
		}
	}
	return nil
}

func (fs fields[T]) write(w *writer, m *T) {
	for i := range fs {
		if fs[i].write != nil {
			fs[i].write(w, m)
		}
	}
}

func required[T any](f field[T]) field[T] {
	f.required = true
	return f
}

// readOnly is a member that is never written.
func readOnly[T any](f field[T]) field[T] {
	f.write = nil
	return f
}

// text is a string kept as it is but for the layout of the XML. If it comes
// twice, the first that is not empty counts (tolerance repeatedText).
func text[T any, S ~string](name string, at func(*T) *S) field[T] {
	return stringField(name, at, (*scanner).layoutText)
}

// token is a string without surrounding white space: names, identifiers, types.
func token[T any, S ~string](name string, at func(*T) *S) field[T] {
	return stringField(name, at, (*scanner).token)
}

func stringField[T any, S ~string](name string, at func(*T) *S, content func(*scanner) (string, error)) field[T] {
	return field[T]{
		name: name,
		read: func(s *scanner, m *T) error {
			v, err := content(s)
			if p := at(m); *p == "" {
				*p = S(v)
			}
			return err
		},
		write: func(w *writer, m *T) { w.leaf(name, string(*at(m))) },
	}
}

// optional leaves an empty string out when writing (minOccurs="0").
func optional[T any, S ~string](f field[T], at func(*T) *S) field[T] {
	write := f.write
	f.write = func(w *writer, m *T) {
		if *at(m) != "" {
			write(w, m)
		}
	}
	return f
}

func optionalText[T any, S ~string](name string, at func(*T) *S) field[T] {
	return optional(text(name, at), at)
}

// unknownTime is what CWMP writes for a time not known (TR-106 3.2).
const unknownTime = "0001-01-01T00:00:00Z"

// dateTime is a time as written; an empty one is written as unknown.
func dateTime[T any](name string, at func(*T) *string) field[T] {
	f := token(name, at)
	f.write = func(w *writer, m *T) {
		if v := *at(m); v != "" {
			w.leaf(name, v)
		} else {
			w.leaf(name, unknownTime)
		}
	}
	return f
}

type integer interface{ ~int | ~int8 | ~uint32 }

// number is an integer; beyond its type it is cut to the nearest value
// (tolerance number). What is no number at all is a fault.
func number[T any, N integer](name string, at func(*T) *N) field[T] {
	low, high := bounds[N]()
	return field[T]{
		name: name,
		read: func(s *scanner, m *T) error {
			v, err := s.token()
			if err != nil {
				return err
			}
			n, ok := parseInteger(v)
			if !ok {
				return s.fault("%s is no number: %q", name, clip(v))
			}
			*at(m) = N(min(max(n, low), high))
			return nil
		},
		write: func(w *writer, m *T) { w.integer(name, int64(*at(m))) },
	}
}

func bounds[N integer]() (low, high int64) {
	switch any(*new(N)).(type) {
	case uint32:
		return 0, math.MaxUint32
	case cwmp.Notification:
		return math.MinInt8, math.MaxInt8
	}
	return math.MinInt32, math.MaxInt32
}

// informative is a number that is only of interest: unreadable, it is 0.
func informative[T any](name string, at func(*T) *int) field[T] {
	f := number(name, at)
	f.read = func(s *scanner, m *T) error {
		v, err := s.token()
		if n, ok := parseInteger(v); ok {
			*at(m) = int(min(max(n, 0), math.MaxInt32))
		}
		return err
	}
	return f
}

// boolean is written 1 or 0, the spelling that every CPE reads.
func boolean[T any](name string, at func(*T) *bool) field[T] {
	return field[T]{
		name: name,
		read: func(s *scanner, m *T) error {
			v, err := s.token()
			*at(m) = parseBoolean(v)
			return err
		},
		write: func(w *writer, m *T) {
			if *at(m) {
				w.leaf(name, "1")
			} else {
				w.leaf(name, "0")
			}
		},
	}
}

// structure is a member with members of its own.
func structure[T, E any](name string, members fields[E], at func(*T) *E) field[T] {
	return field[T]{
		name: name,
		read: func(s *scanner, m *T) error { return members.read(s, at(m)) },
		write: func(w *writer, m *T) {
			w.start(name)
			members.write(w, at(m))
			w.end(name)
		},
	}
}

// array is a SOAP array of structures called item. Items are read under any
// name (tolerance itemName); one without members says nothing and is dropped, and
// so is one that keep refuses.
func array[T, E any](name, item string, members fields[E], at func(*T) *[]E, keep func(*E) bool) field[T] {
	return field[T]{
		name: name,
		read: func(s *scanner, m *T) error {
			list := at(m)
			*list = reserve(s, *list)
			for {
				_, more, err := s.child()
				if err != nil || !more {
					return err
				}
				*list = append(*list, *new(E))
				e := &(*list)[len(*list)-1]
				some, err := members.readSome(s, e)
				if err != nil {
					return err
				}
				if !some || keep != nil && !keep(e) {
					*list = (*list)[:len(*list)-1]
				}
			}
		},
		write: func(w *writer, m *T) {
			list := *at(m)
			w.startArray(name, "cwmp:"+item, len(list))
			for i := range list {
				w.start(item)
				members.write(w, &list[i])
				w.end(item)
			}
			w.end(name)
		},
	}
}

// texts is a SOAP array of simple values; item is the local name of their type
// and of their elements, prefix that of the type, with its colon.
func texts[T any, S ~string](name, prefix, item string, at func(*T) *[]S) field[T] {
	return field[T]{
		name: name,
		read: func(s *scanner, m *T) error {
			list := at(m)
			for {
				_, more, err := s.child()
				if err != nil || !more {
					return err
				}
				v, err := s.token()
				if err != nil {
					return err
				}
				*list = append(*list, S(v))
			}
		},
		write: func(w *writer, m *T) {
			list := *at(m)
			w.startArray(name, prefix+item, len(list))
			for _, v := range list {
				w.leaf(item, string(v))
			}
			w.end(name)
		},
	}
}

// repeated is a member that comes once for each element of a list, without an
// array around it. Like in an array, one without members is dropped.
func repeated[T, E any](name string, members fields[E], at func(*T) *[]E) field[T] {
	return field[T]{
		name: name,
		read: func(s *scanner, m *T) error {
			list := at(m)
			*list = append(*list, *new(E))
			some, err := members.readSome(s, &(*list)[len(*list)-1])
			if !some {
				*list = (*list)[:len(*list)-1]
			}
			return err
		},
		write: func(w *writer, m *T) {
			list := *at(m)
			for i := range list {
				w.start(name)
				members.write(w, &list[i])
				w.end(name)
			}
		},
	}
}

// value is the Value of a ParameterValueStruct: text with the type that
// xsi:type says. Without either it is an empty one (tolerance noValue).
func value[T any](name string, at func(*T) *cwmp.Value) field[T] {
	return field[T]{
		name: name,
		read: func(s *scanner, m *T) error {
			typ := cwmp.TypeUnknown
			if s.xsiType != "" {
				typ = cwmp.ParseType(s.xsiType)
			}
			content := (*scanner).layoutText
			if typ > cwmp.TypeString {
				content = (*scanner).token
			}
			v, err := content(s)
			if p := at(m); p.Text == "" {
				*p = cwmp.Value{Type: typ, Text: v}
			}
			return err
		},
		write: func(w *writer, m *T) { w.value(name, *at(m)) },
	}
}

// listDepth is the depth of an RPC's own list: Envelope, Body, RPC, list.
const listDepth = 4

// reserve makes room for about as many structures as what is left of the
// message can hold. It goes by bytes that are there, not by arrayType, and
// only for an RPC's own list, so that inner lists cannot multiply it.
func reserve[E any](s *scanner, list []E) []E {
	const bytesPerStruct = 160
	if list != nil || len(s.open) != listDepth {
		return list
	}
	if n := (len(s.src) - s.pos) / bytesPerStruct; n > 0 {
		return make([]E, 0, n)
	}
	return list
}

// integerText is the text of a number in an element.
func integerText(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }
