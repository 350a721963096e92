package translate

import (
	"context"
	"fmt"

	"github.com/uspbridge/uspbridge/translate/mapping"
)

// mappings returns the mapping files in use.
func (t *templates) mappings() *mapping.Set { return t.set.Load() }

// Remap puts other mapping files in use, for devices in memory as for all others.
// It fails, and then nothing has changed, if they do not fit a template that the
// present files do. What is under way when it is called ends with the files it
// began with.
func (b *Bridge) Remap(set *mapping.Set) error {
	t := b.templates
	t.mu.RLock()
	keys := make([]programKey, 0, len(t.programs))
	for key := range t.programs {
		keys = append(keys, key)
	}
	t.mu.RUnlock()
	programs := make(map[programKey]*mapping.Program, len(keys))
	for _, key := range keys {
		t.mu.RLock()
		tpl := t.byID[key.template]
		t.mu.RUnlock()
		if tpl == nil {
			continue
		}
		p, err := set.Compile(tpl, key.identity)
		if err != nil {
			return fmt.Errorf("the mapping files do not fit %s %s: %w", key.identity.OUI, key.identity.ProductClass, err)
		}
		programs[key] = p
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set.Store(set)
	t.programs = programs
	clear(t.presumed)
	return nil
}

// remap gives a pinned device the mapping in use if it has another, and releases it
// if that fails.
func (d *devices) remap(ctx context.Context, dev *device) (*device, error) {
	if s := dev.state.Load(); s.program == nil || s.program.Set() == d.templates.mappings() {
		return dev, nil
	}
	if err := d.rebind(ctx, dev); err != nil {
		d.release(dev)
		return nil, fmt.Errorf("device %s: the changed mapping files: %w", dev.key, err)
	}
	return dev, nil
}

// rebind shows a device by the mapping in use and gives numbers to the rows that it
// now shows. Nobody is told of rows that come and go with a mapping: on the device
// nothing has happened.
func (d *devices) rebind(ctx context.Context, dev *device) error {
	dev.mu.Lock()
	defer dev.mu.Unlock()
	s := dev.state.Load()
	if s.program == nil {
		return nil
	}
	program, err := d.templates.program(s.program.Template(), s.rec)
	if err != nil {
		return err
	}
	next := change{program: program}
	numbers, _, _, changed := program.Reconcile(s.tree, s.numbers)
	if changed {
		// Durable before anybody sees them: a number is not given twice.
		if err := d.keepNumbers(ctx, dev.key, numbers); err != nil {
			return err
		}
		next.numbers = numbers
	}
	dev.state.Store(next.onto(s))
	return nil
}
