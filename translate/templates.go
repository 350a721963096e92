package translate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/translate/tree"
)

// templates holds the parameter-tree templates of the fleet and the mapping
// compiled for each. There is one of each model and firmware, not of each
// device, so all stay in memory once used.
type templates struct {
	store store.Store

	set atomic.Pointer[mapping.Set]

	mu        sync.RWMutex
	byID      map[string]*tree.Template
	byProduct map[product][]string // template ids, newest last
	programs  map[programKey]*mapping.Program
	presumed  map[string]*tree.Template // by the template as it was found, and the device's kind
}

// maxPresumed bounds what is remembered of templates as they were found.
const maxPresumed = 1024

// presume returns the template with the parameters that rows of its empty tables
// will have. Devices of one model are mostly found alike.
func (t *templates) presume(found *tree.Template, r *Record) *tree.Template {
	key := found.ID() + "\x00" + r.ID.Manufacturer + "\x00" + productOf(r).String()
	t.mu.RLock()
	full := t.presumed[key]
	t.mu.RUnlock()
	if full != nil {
		return full
	}
	full = t.mappings().Presume(found, identityOf(r))
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.presumed) >= maxPresumed {
		clear(t.presumed)
	}
	t.presumed[key] = full
	return full
}

// product is what devices must have in common to share a template.
type product struct{ oui, class, hardware, software, root string }

func (p product) String() string {
	return strings.Join([]string{p.oui, p.class, p.hardware, p.software, p.root}, "\x00")
}

type programKey struct {
	template string
	identity mapping.Identity
}

func newTemplates(ctx context.Context, st store.Store, set *mapping.Set) (*templates, error) {
	t := &templates{
		store:     st,
		byID:      make(map[string]*tree.Template),
		byProduct: make(map[product][]string),
		programs:  make(map[programKey]*mapping.Program),
		presumed:  make(map[string]*tree.Template),
	}
	t.set.Store(set)
	var failed error
	err := st.Scan(ctx, store.Query{Kind: store.Template}, func(k store.Key, v []byte) bool {
		m, _, err := splitTemplate(v)
		if err != nil {
			failed = fmt.Errorf("template %s: %w", k.Owner, err)
			return false
		}
		t.byProduct[m] = append(t.byProduct[m], k.Owner)
		return true
	})
	return t, errors.Join(failed, err)
}

func productOf(r *Record) product {
	return product{r.ID.OUI, r.ID.ProductClass, r.Hardware, r.Software, string(r.Root)}
}

func identityOf(r *Record) mapping.Identity {
	return mapping.Identity{
		Manufacturer: r.ID.Manufacturer, OUI: r.ID.OUI, ProductClass: r.ID.ProductClass,
		HardwareVersion: r.Hardware, SoftwareVersion: r.Software,
	}
}

// load returns the template with that id.
func (t *templates) load(ctx context.Context, id string) (*tree.Template, error) {
	t.mu.RLock()
	tpl := t.byID[id]
	t.mu.RUnlock()
	if tpl != nil {
		return tpl, nil
	}
	b, err := t.store.Get(ctx, templateKey(id))
	if err != nil {
		return nil, fmt.Errorf("template %s: %w", id, err)
	}
	_, b, err = splitTemplate(b)
	if err != nil {
		return nil, fmt.Errorf("template %s: %w", id, err)
	}
	if tpl, err = tree.DecodeTemplate(b); err != nil {
		return nil, fmt.Errorf("template %s: %w", id, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if had := t.byID[id]; had != nil {
		return had, nil
	}
	t.byID[id] = tpl
	return tpl, nil
}

// share returns the template for a device with these names and types: one that
// its model already has if that covers them, else a new one that also covers
// what the model's newest has, so that devices of a model come to share one.
// A new template is durable before any device refers to it.
func (t *templates) share(ctx context.Context, r *Record, seen *tree.Template) (*tree.Template, error) {
	m := productOf(r)
	t.mu.RLock()
	ids := append([]string(nil), t.byProduct[m]...)
	t.mu.RUnlock()
	for i := len(ids) - 1; i >= 0; i-- {
		tpl, err := t.load(ctx, ids[i])
		if err != nil {
			return nil, err
		}
		if tpl.Covers(seen) {
			return tpl, nil
		}
		if i == len(ids)-1 {
			seen = tpl.Extend(seen)
		}
	}
	var batch store.Batch
	batch.Put(templateKey(seen.ID()), joinTemplate(m, seen.Encode(nil)))
	if err := t.store.Commit(ctx, &batch); err != nil {
		return nil, fmt.Errorf("template of %s: %w", r.Key(), err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if had := t.byID[seen.ID()]; had != nil {
		return had, nil
	}
	t.byID[seen.ID()] = seen
	t.byProduct[m] = append(t.byProduct[m], seen.ID())
	return seen, nil
}

// program returns the mapping compiled for a template and a device's identity.
func (t *templates) program(tpl *tree.Template, r *Record) (*mapping.Program, error) {
	key := programKey{tpl.ID(), identityOf(r)}
	t.mu.RLock()
	p := t.programs[key]
	t.mu.RUnlock()
	if p != nil {
		return p, nil
	}
	set := t.mappings()
	p, err := set.Compile(tpl, key.identity)
	if err != nil {
		return nil, fmt.Errorf("mapping for %s: %w", r.Key(), err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if had := t.programs[key]; had != nil {
		return had, nil
	}
	if set == t.mappings() {
		t.programs[key] = p // else it is of files that were replaced meanwhile
	}
	return p, nil
}

// A stored template is its model, five length-prefixed strings, and the
// template's own encoding.
func joinTemplate(m product, blob []byte) []byte {
	var b []byte
	for _, s := range []string{m.oui, m.class, m.hardware, m.software, m.root} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return append(b, blob...)
}

func splitTemplate(b []byte) (m product, blob []byte, err error) {
	for _, p := range []*string{&m.oui, &m.class, &m.hardware, &m.software, &m.root} {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return m, nil, errors.New("stored template is damaged")
		}
		*p = string(b[w : w+int(n)])
		b = b[w+int(n):]
	}
	return m, b, nil
}

// rootOf returns the data model's root that most parameters of an Inform have.
func rootOf(list []cwmp.ParameterValue) cwmp.Path {
	count := make(map[cwmp.Path]int, 2)
	var best cwmp.Path
	for _, p := range list {
		root := p.Name.Root()
		if root == "" {
			continue
		}
		if count[root]++; count[root] > count[best] {
			best = root
		}
	}
	return best
}

// secondRoot returns the standard root that an Inform shows beside that of most
// of its parameters, known if it shows none.
func secondRoot(list []cwmp.ParameterValue, known cwmp.Path) cwmp.Path {
	other := otherRoot(rootOf(list))
	for _, p := range list {
		if p.Name.Root() == other {
			return other
		}
	}
	return known
}

// underRoot returns an Inform's values under the root that the CPE's tree has:
// some CPE inform with the one standard root and answer with the other.
func underRoot(list []cwmp.ParameterValue, root cwmp.Path) []cwmp.ParameterValue {
	from := otherRoot(root)
	for _, p := range list {
		if p.Name.Root() != from {
			return list
		}
	}
	out := slices.Clone(list)
	for i := range out {
		out[i].Name = root + out[i].Name[len(from):]
	}
	return out
}
