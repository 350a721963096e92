package agent

import (
	"slices"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/path"
)

// maxReferences bounds the paths of a ReferenceList.
const maxReferences = 256

// subscriptionConflict refuses a ReferenceList and a NotifType of which no
// notification can come (TR-369 R-NOT.0, "ReferenceList Parameter"): whoever
// waits for it would wait for ever. At fault is the list, unless it was there
// before.
func subscriptionConflict(c *rowChange) (rel string, err *usp.Error) {
	given := func(rel string) bool { return c.given[c.key.class.byName[rel]] }
	switch {
	case given("ReferenceList"):
		rel = "ReferenceList"
	case given("NotifType"):
		rel = "NotifType"
	default:
		return "", nil
	}
	list := splitList(c.get("ReferenceList"))
	if len(list) > maxReferences {
		return rel, usp.Errorf(usp.ErrResourcesExceeded, "", "%d paths: at most %d are kept", len(list), maxReferences)
	}
	for _, ref := range list {
		p, err := path.Parse(ref)
		if err != nil {
			return rel, usp.Errorf(usp.ErrInvalidValue, "", "%w", err)
		}
		if err := subscribable(c.tx.schema, p, c.get("NotifType")); err != nil {
			return rel, err
		}
	}
	return "", nil
}

// subscribable reports why a path can never lead to notifications of a type, nil
// if it can. Objects stand for all in them. The error is 7018 where a table is
// wanted, 7012 otherwise.
func subscribable(schema *dm.Schema, p path.Path, notifType string) *usp.Error {
	kind, err := referredKind(schema, p)
	if err != nil {
		return err
	}
	object := kind == dm.Object || kind == dm.Table
	wanted := ""
	switch notifType {
	case objectCreation, objectDeletion:
		if kind == dm.Table {
			return nil
		}
		return usp.Errorf(usp.ErrNotATable, "", "%s is not a table and has none in it: %s tells of rows of tables", shorten(p.String()), notifType)
	case valueChange:
		if object || kind == dm.Param {
			return nil
		}
		wanted = "a parameter"
	case operationComplete:
		if object || kind == dm.Command {
			return nil
		}
		wanted = "a command"
	default:
		if object || kind == dm.Event {
			return nil
		}
		wanted = "an event"
	}
	return usp.Errorf(usp.ErrInvalidValue, "", "%s can cause no %s: %s or an object is wanted", shorten(p.String()), notifType, wanted)
}

// referredKind returns what a path of a ReferenceList leads to. An object that
// has tables in it counts as one. What the data model does not have, and what is
// behind a reference, is judged by how it is written: another firmware, or
// another value, may make it true.
func referredKind(schema *dm.Schema, p path.Path) (dm.Kind, *usp.Error) {
	written := map[path.Kind]dm.Kind{path.Object: dm.Table, path.Row: dm.Table, path.Parameter: dm.Param, path.Command: dm.Command, path.Event: dm.Event}[p.Kind]
	if schema == nil {
		return written, nil
	}
	n := schema.Root
	for i := range p.Steps {
		switch st := &p.Steps[i]; st.Kind {
		case path.Name:
			if n = n.Child(st.Name); n == nil {
				return written, nil
			}
		case path.Follow:
			return written, nil
		default:
			if n.Kind != dm.Table {
				return 0, usp.Errorf(usp.ErrNotATable, "", "%s has an instance of %s, which is not a table", shorten(p.String()), n.Path)
			}
		}
	}
	if p.Kind == path.Object && !n.IsObject() {
		return 0, usp.Errorf(usp.ErrInvalidValue, "", "%s ends as an object, which it is not", shorten(p.String()))
	}
	if n.Kind == dm.Object && hasTable(n) {
		return dm.Table, nil
	}
	return n.Kind, nil
}

func hasTable(n *dm.Node) bool {
	return slices.ContainsFunc(n.Children, func(c *dm.Node) bool { return c.Kind == dm.Table || c.Kind == dm.Object && hasTable(c) })
}
