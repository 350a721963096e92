package agent

import (
	"slices"
	"strings"
	"sync"

	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/path"
)

// rights is what a controller may do with one element: four groups (Param, Obj,
// InstantiatedObj, CommandEvent) of four flags (rwxn), as in
// Device.LocalAgent.ControllerTrust.Role.{i}.Permission.{i}.
type rights uint16

// The rights, named for what they allow.
const (
	readParam   rights = 1 << iota // Get
	writeParam                     // Set
	_                              //
	notifyParam                    // ValueChange
	readObj                        // the element is in the supported data model
	createObj                      // Add
	_                              //
	notifyCreation
	readInst  // the row is in the instantiated data model
	deleteObj // Delete
	_         //
	notifyDeletion
	readCommand // commands and events are in the supported data model
	_
	execute     // Operate
	notifyEvent // Event, OperationComplete
)

const allRights = rights(0xffff)

// permission is one enabled row of a role's Permission table.
type permission struct {
	targets []path.Path
	rights  rights
}

// role is an enabled row of the Role table, permissions first that take
// precedence.
type role struct{ permissions []permission }

func (d *derived) compileRoles(spec *localSpec, s *state) {
	d.roles = map[uint32]*role{}
	roles, perms := spec.classAt(roleTable), spec.classAt(permissionTable)
	for _, n := range d.tables[rowKey{class: roles}] {
		k := rowKey{roles, dm.Inst(n)}
		if s.named(k, "Enable") != "true" {
			continue
		}
		numbers := slices.Clone(d.tables[rowKey{perms, k.inst}])
		order := func(p uint32) int64 { return number(s.named(rowKey{perms, k.inst.Append(p)}, "Order")) }
		slices.SortStableFunc(numbers, func(a, b uint32) int { return int(min(max(order(b)-order(a), -1), 1)) })
		r := &role{}
		for _, p := range numbers {
			pk := rowKey{perms, k.inst.Append(p)}
			if s.named(pk, "Enable") == "true" {
				r.permissions = append(r.permissions, compilePermission(s, pk))
			}
		}
		d.roles[n] = r
	}
}

func compilePermission(s *state, k rowKey) permission {
	var p permission
	for group, rel := range [...]string{"Param", "Obj", "InstantiatedObj", "CommandEvent"} {
		for i, flag := range []byte(s.named(k, rel)) {
			if flag != '-' {
				p.rights |= 1 << (4*group + i)
			}
		}
	}
	for _, t := range splitList(s.named(k, "Targets")) {
		if target, err := parseTarget(t); err == nil { // checked when it was stored
			p.targets = append(p.targets, target)
		}
	}
	return p
}

// whole reports whether a role allows everything everywhere.
func (r *role) whole() bool {
	if len(r.permissions) != 1 || r.permissions[0].rights != allRights {
		return false
	}
	for _, t := range r.permissions[0].targets {
		if len(t.Steps) == 1 && t.Steps[0].Name == "Device" {
			return true
		}
	}
	return false
}

// grants is the rights of one controller: the union of its roles, each of which
// decides by the permission of highest Order that has the element among its
// targets (TR-369 "A Controller's Role"). What was decided for a node of a
// schema is kept, so that a check is one look-up.
type grants struct {
	roles   []*role
	full    bool
	secured bool // may see secured values (ControllerTrust.SecuredRoles)

	decided sync.Map // *dm.Node -> decision
}

// decision is the rights on a node; where they differ between rows they are
// worked out each time.
type decision struct {
	rights rights
	byRow  bool
}

func (d *derived) grantsOf(spec *localSpec, s *state, refs []string) *grants {
	class := spec.classAt(roleTable)
	secured := map[uint32]bool{}
	for _, ref := range splitList(s.named(rowKey{class: spec.root}, trustObject+"SecuredRoles")) {
		if n, ok := s.roleInstance(class, ref); ok {
			secured[n] = true
		}
	}
	g := &grants{}
	for _, ref := range refs {
		n, ok := s.roleInstance(class, ref)
		if r := d.roles[n]; ok && r != nil {
			g.roles = append(g.roles, r)
			g.full = g.full || r.whole()
			g.secured = g.secured || secured[n]
		}
	}
	return g
}

// on returns the rights on an element. For a table the rows' targets with
// numbers do not count.
func (g *grants) on(ref dm.Ref) rights {
	if g.full {
		return allRights
	}
	if known, ok := g.decided.Load(ref.Node); ok {
		if dec := known.(decision); !dec.byRow {
			return dec.rights
		}
		r, _ := g.decide(ref)
		return r
	}
	r, byRow := g.decide(ref)
	g.decided.Store(ref.Node, decision{r, byRow})
	return r
}

func (g *grants) decide(ref dm.Ref) (all rights, byRow bool) {
	segments := strings.Split(strings.TrimSuffix(ref.Node.Path, "."), ".")
	for _, r := range g.roles {
		for _, p := range r.permissions {
			covers, rows := p.covers(segments, ref.Inst)
			byRow = byRow || rows
			if covers {
				all |= p.rights
				break
			}
		}
	}
	return all, byRow
}

func (p *permission) covers(segments []string, inst dm.Instance) (covers, byRow bool) {
	for _, t := range p.targets {
		c, b := targetCovers(t.Steps, segments, inst)
		covers, byRow = covers || c, byRow || b
	}
	return covers, byRow
}

// targetCovers reports whether a target has the element in it, and whether that
// depends on the element's instance numbers.
func targetCovers(steps []path.Step, segments []string, inst dm.Instance) (covers, byRow bool) {
	depth := 0
	match := true
	for len(steps) > 0 {
		if len(segments) == 0 {
			return false, byRow
		}
		seg := segments[0]
		segments = segments[1:]
		if seg != "{i}" {
			if steps[0].Kind != path.Name || steps[0].Name != seg {
				return false, false
			}
			steps = steps[1:]
			continue
		}
		switch st := steps[0]; st.Kind {
		case path.Instance:
			byRow = true
			match = match && depth < inst.Len() && inst.At(depth) == st.Number
			steps = steps[1:]
		case path.Wildcard:
			steps = steps[1:]
		}
		depth++
	}
	return match, byRow
}

// can reports whether all of need is granted on an element.
func (g *grants) can(ref dm.Ref, need rights) bool {
	return g.full || g.on(ref)&need == need
}
