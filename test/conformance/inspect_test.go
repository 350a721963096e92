package conformance

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/uspbridge/uspbridge/usp/path"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// resolvedPaths are the fields of messages in which an agent names elements: it
// does so by instance number (TR-369 R-MSG.3).
var resolvedPaths = map[protoreflect.Name]bool{
	"resolved_path": true, "instantiated_path": true, "instantiated_obj_path": true, "affected_path": true,
	"affected_paths": true, "unaffected_path": true, "executed_command": true, "req_obj_path": true,
	"obj_path": true, "param_path": true,
}

// inspect holds a message against the plan's universal test metrics.
func (l *line) inspect(msg *usppb.Msg) {
	if want := record.TypeOf(msg); msg.GetHeader().GetMsgType() != want {
		l.flaw(fmt.Errorf("a message of type %s with a body of %s", msg.GetHeader().GetMsgType(), want))
	}
	if e := msg.GetBody().GetError(); e != nil {
		return // names what was asked for, as it was asked for
	}
	l.inspectPaths(msg.ProtoReflect())
}

func (l *line) inspectPaths(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.IsMap() {
			return true
		}
		values := []protoreflect.Value{v}
		if f.IsList() {
			values = nil
			for i := range v.List().Len() {
				values = append(values, v.List().Get(i))
			}
		}
		for _, v := range values {
			switch {
			case f.Kind() == protoreflect.MessageKind:
				l.inspectPaths(v.Message())
			case resolvedPaths[f.Name()]:
				l.inspectPath(string(f.Name()), v.String())
			}
		}
		return true
	})
}

func (l *line) inspectPath(field, text string) {
	p, err := path.Parse(text)
	if err != nil {
		l.flaw(fmt.Errorf("%s is no path: %w", field, err))
	} else if p.IsSearch() || p.Follows() {
		l.flaw(fmt.Errorf("%s %q is not addressed by instance number", field, text))
	}
}
