package agent

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// How an agent's own objects lie in the store: one record a row, under the
// row's kind and the agent's endpoint id, with those values that are not the
// default. A row that every agent starts with has a record only where it was
// changed; a record "null" says that it was deleted. Numbers of the root class
// and of tables without a kind of their own are under store.AgentState.

// The names of the records of store.AgentState that are not rows.
const (
	nextRecord     = "next"
	periodicRecord = "periodic"
	timersRecord   = "timers"
	trialsRecord   = "trials"
	bulkRecord     = "bulk"
)

// rowName returns a row's record name: its path, below Device.LocalAgent. if it
// is there, for store.AgentState, instance numbers and tables below the top table for others.
func rowName(k rowKey) string {
	if k.class.node == nil {
		return "LocalAgent"
	}
	p := strings.TrimSuffix(dm.Ref{Node: k.class.node, Inst: k.inst}.Path(), ".")
	p = strings.TrimPrefix(p, "Device.LocalAgent.")
	if k.class.kind == store.AgentState {
		return p
	}
	_, rest, _ := strings.Cut(p, ".")
	return rest
}

// parseRow is the inverse of rowName.
func (s *localSpec) parseRow(kind store.Kind, name string) (rowKey, bool) {
	if kind == store.AgentState && name == "LocalAgent" {
		return rowKey{class: s.root}, true
	}
	prefix := map[store.Kind]string{store.Controller: "Controller.", store.Subscription: "Subscription.", store.Request: "Request."}[kind]
	var inst dm.Instance
	schema := "Device.LocalAgent."
	if kind == store.AgentState && strings.HasPrefix(name, "Device.") {
		schema = ""
	}
	for seg := range strings.SplitSeq(prefix+name, ".") {
		if n, err := strconv.ParseUint(seg, 10, 32); err == nil {
			if inst.Len() == dm.MaxDepth {
				return rowKey{}, false
			}
			inst, seg = inst.Append(uint32(n)), "{i}"
		}
		schema += seg + "."
	}
	c := s.classAt(schema)
	if c == nil || c.node.Depth != inst.Len() || c.kind != kind {
		return rowKey{}, false
	}
	return rowKey{c, inst}, true
}

// sealedMark begins the names of values that are sealed.
const sealedMark = "!"

// encode returns a row's record under a key; what is secured is sealed for it.
func (h *Host) encode(key store.Key, c *class, r *row) []byte {
	values := make(map[string]string, len(r.values))
	for i, p := range c.params {
		switch v := r.values[i]; {
		case p.get != nil || v == p.def:
		case p.secured && h.cfg.Sealer != nil:
			values[sealedMark+p.rel] = base64.StdEncoding.EncodeToString(h.cfg.Sealer.Seal(key, []byte(v)))
		default:
			values[p.rel] = v
		}
	}
	return encodeJSON(values)
}

// decode is the reverse of encode; nil is a row that was deleted. A secured value
// that does not open, as with a key that is lost, is as if it was never set.
func (h *Host) decode(key store.Key, c *class, b []byte) (*row, error) {
	var values map[string]string
	if err := json.Unmarshal(b, &values); err != nil {
		return nil, err
	}
	if values == nil {
		return nil, nil
	}
	r := c.fresh()
	for rel, v := range values {
		rel, sealed := strings.CutPrefix(rel, sealedMark)
		p := c.byName[rel]
		if p == nil {
			continue
		}
		if sealed {
			var err error
			if v, err = h.unseal(key, v); err != nil {
				h.log.Warn("a secured value cannot be read and has to be set again", "agent", key.Owner, "row", key.Name, "parameter", rel, "error", err)
				continue
			}
		}
		r.values[p.index] = v
	}
	return r, nil
}

func (h *Host) unseal(key store.Key, text string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", err
	}
	if h.cfg.Sealer == nil {
		return "", errors.New("it was sealed, and there is no key")
	}
	secret, err := h.cfg.Sealer.Open(key, b)
	return string(secret), err
}

// diff adds to a batch what turns the stored state of an agent from base into
// next.
func (tx *txn) diff(b *store.Batch) {
	owner := string(tx.a.id)
	for k, r := range tx.next.rows {
		if r.via == nil && tx.base.rows[k] != r {
			key := store.Key{Kind: k.class.kind, Owner: owner, Name: rowName(k)}
			b.Put(key, tx.host.encode(key, k.class, r))
		}
	}
	for k, r := range tx.base.rows {
		if tx.next.rows[k] != nil || r.via != nil {
			continue
		}
		key := store.Key{Kind: k.class.kind, Owner: owner, Name: rowName(k)}
		if tx.host.seed.rows[k] != nil {
			b.Put(key, []byte("null"))
		} else {
			b.Delete(key)
		}
	}
	if changed(tx.base.next, tx.next.next) {
		b.Put(store.Key{Kind: store.AgentState, Owner: owner, Name: nextRecord}, tx.next.encodeNext())
	}
	if changed(tx.base.periodic, tx.next.periodic) {
		b.Put(store.Key{Kind: store.AgentState, Owner: owner, Name: periodicRecord}, encodeJSON(tx.next.periodic))
	}
	if changed(tx.base.timers, tx.next.timers) {
		b.Put(store.Key{Kind: store.AgentState, Owner: owner, Name: timersRecord}, encodeJSON(tx.next.timers))
	}
	if tx.base.trials != tx.next.trials {
		b.Put(store.Key{Kind: store.AgentState, Owner: owner, Name: trialsRecord}, encodeJSON(tx.next.trials))
	}
	if changed(tx.base.bulk, tx.next.bulk) {
		b.Put(store.Key{Kind: store.AgentState, Owner: owner, Name: bulkRecord}, encodeJSON(tx.next.bulk))
	}
	b.Ops = append(b.Ops, tx.also...)
}

func changed[K comparable, V comparable](a, b map[K]V) bool {
	if len(a) != len(b) {
		return true
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || w != v {
			return true
		}
	}
	return false
}

func encodeJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		// Only maps and structs of strings and numbers are given.
		panic(err)
	}
	return b
}

func (s *state) encodeNext() []byte {
	next := make(map[string]uint32, len(s.next))
	for k, n := range s.next {
		next[dm.Ref{Node: k.class.node, Inst: k.inst}.Path()] = n
	}
	return encodeJSON(next)
}

func (s *state) decodeNext(spec *localSpec, b []byte) error {
	var next map[string]uint32
	if err := json.Unmarshal(b, &next); err != nil {
		return err
	}
	for p, n := range next {
		var inst dm.Instance
		schema := ""
		for seg := range strings.SplitSeq(strings.TrimSuffix(p, "."), ".") {
			if v, err := strconv.ParseUint(seg, 10, 32); err == nil && inst.Len() < dm.MaxDepth {
				inst, seg = inst.Append(uint32(v)), "{i}"
			}
			schema += seg + "."
		}
		if c := spec.classAt(schema + "{i}."); c != nil && c.node.Depth == inst.Len()+1 {
			s.next[rowKey{c, inst}] = n
		}
	}
	return nil
}

// load reads an agent's own objects from the store. An agent that has no
// records shares the state all agents start with.
func (h *Host) load(ctx context.Context, id usp.EndpointID) (*state, error) {
	s, edited := h.seed, false
	var failure error
	for _, kind := range []store.Kind{store.AgentState, store.Controller, store.Subscription, store.Request} {
		q := store.Query{Kind: kind, Owner: string(id), WholeOwner: true}
		err := h.cfg.Store.Scan(ctx, q, func(k store.Key, value []byte) bool {
			if !edited {
				s, edited = h.seed.edit(), true
			}
			if err := h.restore(s, k, value); err != nil {
				failure = fmt.Errorf("record %s of agent %s: %w", k.Name, id, err)
			}
			return failure == nil
		})
		if err == nil {
			err = failure
		}
		if err != nil {
			return nil, fmt.Errorf("agent %s: its objects cannot be read: %w", id, err)
		}
	}
	if edited {
		h.settleSeeds(s)
	}
	return s, nil
}

// restore takes a record into a state.
func (h *Host) restore(s *state, k store.Key, value []byte) error {
	if k.Kind == store.AgentState {
		switch k.Name {
		case nextRecord:
			return s.decodeNext(h.spec, value)
		case periodicRecord:
			s.periodic = map[uint32]int64{}
			return json.Unmarshal(value, &s.periodic)
		case timersRecord:
			s.timers = map[uint32]int64{}
			return json.Unmarshal(value, &s.timers)
		case trialsRecord:
			s.trials = new(trials)
			return json.Unmarshal(value, s.trials)
		case bulkRecord:
			s.bulk = map[uint32]bulkTimes{}
			return json.Unmarshal(value, &s.bulk)
		}
	}
	rk, ok := h.spec.parseRow(k.Kind, k.Name)
	if !ok {
		return nil // of a later version, or of another user of the kind
	}
	if h.outdated(rk) {
		return nil
	}
	r, err := h.decode(k, rk.class, value)
	if err != nil {
		return err
	}
	if r == nil {
		s.remove(rk)
		return nil
	}
	s.rows[rk] = r
	return nil
}

// settleSeeds drops the controllers of the configuration that an agent has as
// rows of its own, and rows below rows that are gone.
func (h *Host) settleSeeds(s *state) {
	c := h.classes.controller
	own := map[string]bool{}
	var numbers []rowKey
	for k := range s.rows {
		if k.class == c {
			numbers = append(numbers, k)
		}
	}
	// Rows added later have the larger numbers and come first.
	sort.Slice(numbers, func(i, j int) bool { return numbers[i].inst.At(0) > numbers[j].inst.At(0) })
	for _, k := range numbers {
		eid := s.named(k, "EndpointID")
		if own[eid] {
			s.remove(k)
		}
		own[eid] = true
	}
	for k := range s.rows {
		if k.inst.Len() < 2 {
			continue
		}
		if outer := h.outer(k); s.rows[outer] == nil {
			delete(s.rows, k)
		}
	}
}

// outer returns the row in which a nested row lies.
func (h *Host) outer(k rowKey) rowKey {
	for _, c := range h.spec.classes {
		for _, n := range c.nested {
			if n == k.class {
				return rowKey{c, k.inst.Prefix(k.inst.Len() - 1)}
			}
		}
	}
	return rowKey{}
}
