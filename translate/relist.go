package translate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// relisted is a CPE table whose rows are not as many as the CPE counts.
type relisted struct {
	schema string // "InternetGatewayDevice.LANDevice.{i}.Hosts.Host.{i}.": ids differ between templates
	parent dm.Instance
	path   cwmp.Path // "InternetGatewayDevice.LANDevice.1.Hosts.Host."
	count  string
}

// outdated returns the tables whose rows have come or gone since they were
// listed, by the CPE's own NumberOfEntries: that is how CWMP tells of rows. A
// count that is wrong for good is believed once.
func outdated(s *snapshot) (tables []relisted) {
	template := s.tree.Template()
	for i := range template.Tables[1:] {
		id := tree.TableID(i + 1)
		p, ok := s.program.CountOf(id)
		if !ok {
			continue
		}
		table := strings.TrimSuffix(template.Tables[id].Path, "{i}.")
		s.tree.EachRow(template.Params[p].Table, dm.Instance{}, func(parent dm.Instance) bool {
			v, _ := s.tree.Value(p, parent)
			path := tree.Join(table, parent)
			n, err := strconv.Atoi(v.Text)
			if v.State == tree.Known && err == nil && n != len(s.tree.Rows(id, parent)) && s.rec.Miscounts[path] != v.Text {
				tables = append(tables, relisted{template.Tables[id].Path, parent, path, v.Text})
			}
			return true
		})
	}
	return tables
}

// relist reads the tables anew whose count has changed, and tells controllers of
// the rows that came and went.
func (b *Bridge) relist(ctx context.Context, cpe acs.Caller, dev *device) error {
	s := dev.state.Load()
	if s.tree == nil || dev.compared.Swap(true) {
		return nil
	}
	for _, t := range outdated(s) {
		if err := b.relistTable(ctx, cpe, dev, t); err != nil {
			dev.compared.Store(false)
			return fmt.Errorf("%s: %w", t.path, err)
		}
	}
	return nil
}

func (b *Bridge) relistTable(ctx context.Context, cpe acs.Caller, dev *device, t relisted) error {
	old := dev.state.Load()
	found := &discovery{root: old.rec.Root, reading: &reading{}}
	names, err := parameterNames(ctx, cpe, t.path, false)
	var fault *cwmp.Fault
	if errors.As(err, &fault) && fault.Code == cwmp.FaultInvalidParameterName && t.count == "0" {
		names, err = nil, nil // some CPE do not know a table without rows
	}
	if err != nil {
		return err
	}
	found.names = names
	if list := leaves(names); len(list) > 0 {
		if found.reading, err = readValues(ctx, cpe, list, lessOf(old.rec.MaxNames, b.profile(old.rec).MaxNames)); err != nil {
			return err
		}
	}
	next, err := b.grow(ctx, old, found)
	if err != nil {
		return err
	}
	return b.listed(ctx, dev, next, t, names)
}

// listed makes the rows that the CPE has named the rows of the table.
func (b *Bridge) listed(ctx context.Context, dev *device, next *snapshot, t relisted, names []cwmp.ParameterInfo) error {
	there := make(map[uint32]bool)
	for _, n := range names {
		if row, ok := rowNumber(t.path, n.Name); ok {
			there[row] = true
		}
	}
	id, ok := next.tree.Template().LookupTable(t.schema)
	if !ok {
		return fmt.Errorf("the CPE's parameter tree has no such table any more")
	}
	for _, row := range next.tree.Rows(id, t.parent) {
		if !there[row] {
			next.tree.RemoveRow(id, t.parent.Append(row))
		}
	}
	return b.establish(ctx, dev, func(old *snapshot) (change, func(old, now *snapshot) []agent.Event) {
		c := change{tree: next.tree, program: next.program, rec: old.rec.clone()}
		c.rec.Template = next.tree.Template().ID()
		c.rec.Miscounts = maps.Clone(old.rec.Miscounts)
		delete(c.rec.Miscounts, t.path)
		if strconv.Itoa(len(there)) != t.count {
			if c.rec.Miscounts == nil {
				c.rec.Miscounts = make(map[cwmp.Path]string)
			}
			c.rec.Miscounts[t.path] = t.count
		}
		var created, deleted []dm.Ref
		c.numbers, created, deleted, _ = next.program.Reconcile(c.tree, old.numbers)
		c.numbers = b.named(&snapshot{rec: c.rec, tree: c.tree, numbers: c.numbers, program: c.program}, created)
		return c, func(old, now *snapshot) []agent.Event { return b.rowEvents(old, now, created, deleted) }
	})
}

// reconcile renumbers rows if a value has changed that rows hang on: a key, or a
// condition. It returns the rows that came and went by it.
func (c *change) reconcile(p *mapping.Program, numbers *mapping.Numbers) (created, deleted []dm.Ref) {
	if !c.structural || c.tree == nil {
		return nil, nil
	}
	next, created, deleted, changed := p.Reconcile(c.tree, numbers)
	if changed {
		c.numbers = next
	}
	return created, deleted
}
