package agent

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/uspbridge/uspbridge/usp/dm"
)

// schemas keeps, for the schema of each kind of device, the one with the
// agent's own objects added. Devices of one model and firmware share a schema,
// so there are few; all are made anew when there are too many.
type schemas struct {
	local *dm.Schema

	made atomic.Pointer[map[*dm.Schema]*dm.Schema] // replaced, not changed: reading takes no lock
	mu   sync.Mutex                                // of who replaces it
}

// maxSchemas bounds the composed schemas kept; a fleet has one for each model
// and firmware.
const maxSchemas = 4096

func newSchemas(local *dm.Schema) *schemas {
	s := &schemas{local: local}
	s.made.Store(&map[*dm.Schema]*dm.Schema{})
	return s
}

// compose returns the data model of an agent whose device has the given one.
func (s *schemas) compose(device *dm.Schema) (*dm.Schema, error) {
	if whole := (*s.made.Load())[device]; whole != nil {
		return whole, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	made := *s.made.Load()
	if whole := made[device]; whole != nil {
		return whole, nil
	}
	whole, err := dm.Graft(withoutOwn(device, s.local), s.local)
	if err != nil {
		return nil, fmt.Errorf("data model of the device and of the agent together: %w", err)
	}
	next := maps.Clone(made)
	if len(next) >= maxSchemas {
		next = map[*dm.Schema]*dm.Schema{}
	}
	next[device] = whole
	s.made.Store(&next)
	return whole, nil
}

// withoutOwn returns a device's data model without the objects that are the
// agent's alone.
func withoutOwn(s, local *dm.Schema) *dm.Schema {
	dev := s.Root.Child("Device")
	own := func(n *dm.Node) bool { return n.IsObject() && local.Root.Child("Device").Child(n.Name) != nil }
	if dev == nil || !slices.ContainsFunc(dev.Children, own) {
		return s
	}
	root, trimmed := *s.Root, *dev // Graft indexes the children anew
	trimmed.Children = nil
	for _, c := range dev.Children {
		if !own(c) {
			trimmed.Children = append(trimmed.Children, c)
		}
	}
	root.Children = []*dm.Node{&trimmed}
	return &dm.Schema{Root: &root}
}
