package record

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/uspbridge/uspbridge/usp/usppb"
)

// shape is the form of one message type, made from its descriptor for the check
// before decoding: which fields are messages, and which
// may be there once only. The
// schema has no recursive types, so shapes are a tree.
type shape struct {
	name   protoreflect.Name
	fields []fieldShape        // by field number
	single []protoreflect.Name // what may be there once only: oneofs and singular messages
}

type fieldShape struct {
	child *shape // nil for scalars
	once  int    // 1 + index into single, 0 if it may be repeated
}

// maxSingle bounds len(single), so that counting them needs no allocation; the
// largest message type has two.
const maxSingle = 4

// msgShape is computed once and never changed.
var msgShape = shapeOf((*usppb.Msg)(nil).ProtoReflect().Descriptor())

func shapeOf(d protoreflect.MessageDescriptor) *shape {
	s := &shape{name: d.Name()}
	for i := range d.Oneofs().Len() {
		s.single = append(s.single, d.Oneofs().Get(i).Name())
	}
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		for len(s.fields) <= int(f.Number()) {
			s.fields = append(s.fields, fieldShape{})
		}
		fs := &s.fields[f.Number()]
		if f.Message() != nil {
			fs.child = shapeOf(f.Message())
		}
		if o := f.ContainingOneof(); o != nil {
			fs.once = 1 + o.Index()
		} else if f.Message() != nil && f.Cardinality() != protoreflect.Repeated {
			s.single = append(s.single, f.Name())
			fs.once = len(s.single)
		}
	}
	if len(s.single) > maxSingle {
		panic(fmt.Sprintf("usppb: message %s has %d singular elements, raise maxSingle", s.name, len(s.single)))
	}
	return s
}

// errElements means that a message has more elements than Limits allow.
var errElements = errors.New("too many elements")

// check walks an encoded message: it counts elements down from *left, and
// finds a oneof with more than one member, or a second header or body, of which
// decoding would silently take the last or a mixture (R-ENC.3, R-MSG.6, R-MSG.7).
func (s *shape) check(b []byte, left *int) error {
	var seen [maxSingle]bool
	for len(b) > 0 {
		f, rest, err := next(b)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		b = rest
		if *left--; *left < 0 {
			return errElements
		}
		if int(f.num) >= len(s.fields) {
			continue // of a newer version
		}
		fs := s.fields[f.num]
		if fs.once > 0 {
			if seen[fs.once-1] {
				return fmt.Errorf("%s has more than one %s", s.name, s.single[fs.once-1])
			}
			seen[fs.once-1] = true
		}
		if fs.child != nil && f.typ == protowire.BytesType {
			if err := fs.child.check(f.value, left); err != nil {
				return err
			}
		}
	}
	return nil
}

// count returns the number of fields num in an encoded message, up to max+1.
func count(b []byte, num protowire.Number, max int) (n int) {
	for len(b) > 0 && n <= max {
		f, rest, err := next(b)
		if err != nil {
			return n
		}
		if f.is(num) {
			n++
		}
		b = rest
	}
	return n
}
