package agent

import (
	"context"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent/bulk"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/path"
)

// collection is the making of one report: the parameters that a profile stands
// for now, as its owner sees them.
type collection struct {
	getPlan
	names    []string // of refs
	taken    map[string]bool
	seen     map[seenAs]bool
	excluded map[dm.Ref]bool // parameters and whole objects
}

// seenAs is a parameter under the name that a row gives it; two rows that give
// it the same have it in the report once.
type seenAs struct {
	ref  dm.Ref
	name string
}

// collect reads what a profile reports. What is not there and what the owner may
// not see is left out ("Introduction": both are filtered out of the report), and
// so is what the device does not tell: a value that was never read is none.
func (h *Host) collect(ctx context.Context, d *device, p *profile) (bulk.Report, *usp.Error) {
	c := collection{
		getPlan: h.planFor(d, p),
		taken:   map[string]bool{}, seen: map[seenAs]bool{}, excluded: map[dm.Ref]bool{},
	}
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Deadline)
	defer cancel()
	report := bulk.Report{Time: h.cfg.Now()}
	for _, x := range p.exclude {
		res, err := c.s.resolver.resolvePath(x, "")
		if err != nil && err.Code == usp.ErrResourcesExceeded {
			return report, err
		}
		for _, ref := range res.refs { // an error: the data model has nothing to exclude
			c.excluded[ref] = true
		}
	}
	for _, r := range p.include {
		if err := c.add(r); err != nil {
			return report, err
		}
	}
	for i, v := range d.get(ctx, c.refs) {
		if v.Err != nil {
			continue
		}
		n := c.refs[i].Node
		if n.Secured && !c.s.grants.shows(c.refs[i]) {
			v.Text = ""
		}
		report.Items = append(report.Items, bulk.Item{Name: c.names[i], Value: utf8Text(v.Text), Type: n.Type})
	}
	return report, nil
}

// planFor returns what reads parameters with the rights of a profile's owner.
func (h *Host) planFor(d *device, p *profile) getPlan {
	owner := p.owner
	if owner == nil {
		owner = h.builtin
	}
	s := &session{host: h, device: d, by: owner}
	s.grants = owner.roles.in(d)
	s.resolver = &resolver{device: d, grants: s.grants, left: h.cfg.Limits.Matches}
	return getPlan{s: s}
}

// add adds the parameters of one Parameter row.
func (c *collection) add(r reported) *usp.Error {
	res, err := c.s.resolver.resolvePath(r.path, "")
	if err != nil {
		if err.Code == usp.ErrResourcesExceeded {
			return err
		}
		return nil // not in the data model of this device and firmware
	}
	for _, ref := range res.refs {
		if !c.visible(ref) {
			continue
		}
		from := len(c.refs)
		switch {
		case ref.Node.Kind == dm.Param:
			c.refs = append(c.refs, ref)
		case ref.Node.IsObject():
			if err := c.object(ref, 1); err != nil {
				return err
			}
		}
		c.name(from, r, ref)
	}
	return nil
}

// name gives the parameters from an index on, which match has led to, the names
// that they have in the report, and takes out those that are not to be there.
func (c *collection) name(from int, r reported, match dm.Ref) {
	prefix := alternative(r, match)
	added := c.refs[from:]
	c.refs = c.refs[:from]
	matched := len(match.Path())
	for _, ref := range added {
		full := ref.Path()
		name := full
		if prefix != "" {
			name = prefix
			if rest := full[matched:]; rest != "" {
				name += "." + rest // R-BULK.10
			}
		}
		as := seenAs{ref, name}
		if c.seen[as] || c.isExcluded(ref) {
			continue
		}
		c.seen[as] = true
		if c.taken[name] {
			name = full // of two with one name the second keeps its own
		}
		if c.taken[name] {
			continue
		}
		c.taken[name] = true
		c.refs, c.names = append(c.refs, ref), append(c.names, name)
	}
}

// alternative returns the name that a row gives an element that its path matches:
// Name and, for each wildcard and search, the number of the instance (R-BULK.9).
func alternative(r reported, match dm.Ref) string {
	if r.name == "" {
		return ""
	}
	name := r.name
	depth := 0
	for _, st := range r.path.Steps {
		switch st.Kind {
		case path.Wildcard, path.Search:
			name += "." + strconv.FormatUint(uint64(match.Inst.At(depth)), 10)
			depth++
		case path.Instance:
			depth++
		}
	}
	return name
}

// isExcluded reports whether a parameter, or an object around it, is excluded
// (R-BULK.10a).
func (c *collection) isExcluded(ref dm.Ref) bool {
	if len(c.excluded) == 0 {
		return false
	}
	if c.excluded[ref] {
		return true
	}
	n := c.s.device.schema.Root
	depth := 0
	segments := strings.Split(ref.Node.Path, ".")
	for _, seg := range segments[:len(segments)-1] {
		if seg == "{i}" {
			depth++
		} else if n = n.Child(seg); n == nil {
			return false
		}
		if c.excluded[dm.Ref{Node: n, Inst: ref.Inst.Prefix(depth)}] {
			return true
		}
	}
	return false
}

// queryOf returns the query parameters of a profile's uploads: who the device is
// (R-BULK.1), and what the RequestURIParameter rows add. Those that cannot be
// read are left out.
func (h *Host) queryOf(ctx context.Context, d *device, p *profile) []bulk.Parameter {
	id := d.identity
	query := []bulk.Parameter{{Name: "oui", Value: id.OUI}, {Name: "pc", Value: id.ProductClass}, {Name: "sn", Value: id.SerialNumber}}
	if id.OUI == "" || id.SerialNumber == "" {
		query = []bulk.Parameter{{Name: "eid", Value: string(d.id)}}
	}
	plan := h.planFor(d, p)
	var names []string
	for _, r := range p.query {
		res, err := plan.s.resolver.resolvePath(r.path, "")
		if err != nil || len(res.refs) != 1 {
			continue
		}
		ref := res.refs[0]
		if ref.Node.Kind != dm.Param || !plan.visible(ref) || ref.Node.Secured && !plan.s.grants.shows(ref) {
			continue
		}
		name := r.name
		if name == "" {
			name = ref.Path()
		}
		plan.refs, names = append(plan.refs, ref), append(names, name)
	}
	if len(plan.refs) == 0 {
		return query
	}
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Deadline)
	defer cancel()
	for i, v := range d.get(ctx, plan.refs) {
		if v.Err == nil {
			query = append(query, bulk.Parameter{Name: names[i], Value: v.Text})
		}
	}
	return query
}
