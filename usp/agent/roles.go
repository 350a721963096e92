package agent

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"

	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/path"
)

// rights is what a controller may do with one element: four groups (Param, Obj,
// InstantiatedObj, CommandEvent) of four flags (rwxn), as in
// Device.LocalAgent.ControllerTrust.Role.{i}.Permission.{i}.
type rights uint32

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

	readSecured // the value of a secured parameter; no flag, but from ControllerTrust.SecuredRoles

	allRights = readSecured - 1
	anyRight  = allRights | readSecured
)

// permission is one enabled row of a role's Permission table.
type permission struct {
	targets []path.Path
	rights  rights
}

// role is an enabled row of the Role table, permissions first that take
// precedence.
type role struct {
	permissions []permission
	secured     bool   // among ControllerTrust.SecuredRoles
	content     []byte // the same for roles that allow the same
}

func (d *derived) compileRoles(spec *localSpec, s *state) {
	d.roles = map[uint32]*role{}
	roles, perms := spec.classAt(roleTable), spec.classAt(permissionTable)
	secured := map[uint32]bool{}
	for _, ref := range splitList(s.named(rowKey{class: spec.root}, trustObject+"SecuredRoles")) {
		if n, ok := s.refers(roles, ref); ok {
			secured[n] = true
		}
	}
	for _, n := range d.tables[rowKey{class: roles}] {
		k := rowKey{roles, dm.Inst(n)}
		if s.named(k, "Enable") != "true" {
			continue
		}
		numbers := slices.Clone(d.tables[rowKey{perms, k.inst}])
		order := func(p uint32) int64 { return number(s.named(rowKey{perms, k.inst.Append(p)}, "Order")) }
		slices.SortStableFunc(numbers, func(a, b uint32) int { return int(min(max(order(b)-order(a), -1), 1)) })
		r := &role{secured: secured[n]}
		for _, p := range numbers {
			pk := rowKey{perms, k.inst.Append(p)}
			if s.named(pk, "Enable") == "true" {
				r.add(compilePermission(s, pk))
			}
		}
		d.roles[n] = r
	}
}

// add appends a permission. A secured role shows secured values where it lets
// parameters be read (TR-369 "Special Roles").
func (r *role) add(p permission) {
	if r.secured && p.rights&readParam != 0 {
		p.rights |= readSecured
	}
	r.permissions = append(r.permissions, p)
	// With lengths, so that no text in a target can pass for another permission.
	r.content = fmt.Appendf(r.content, "%x %d ", uint32(p.rights), len(p.targets))
	for _, t := range p.targets {
		text := t.String()
		r.content = fmt.Appendf(r.content, "%d %s ", len(text), text)
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
	if len(r.permissions) != 1 || r.permissions[0].rights&allRights != allRights {
		return false
	}
	for _, t := range r.permissions[0].targets {
		if len(t.Steps) == 1 && t.Steps[0].Name == "Device" {
			return true
		}
	}
	return false
}

// roleSets keeps role sets by their content: a million agents that have the roles
// they started with share a few.
type roleSets struct {
	mu        sync.Mutex
	byContent map[[sha256.Size]byte]*roleSet
}

// maxRoleSets bounds the role sets kept. What is dropped lives on in the agents
// that use it; others that have the same roles get another.
const maxRoleSets = 1024

// of returns the set of some roles.
func (s *roleSets) of(roles []*role) *roleSet {
	slices.SortFunc(roles, func(a, b *role) int { return bytes.Compare(a.content, b.content) })
	roles = slices.CompactFunc(roles, func(a, b *role) bool { return bytes.Equal(a.content, b.content) })
	sum := sha256.New()
	for _, r := range roles {
		fmt.Fprintf(sum, "%d %s", len(r.content), r.content)
	}
	key := [sha256.Size]byte(sum.Sum(nil))
	s.mu.Lock()
	defer s.mu.Unlock()
	if set := s.byContent[key]; set != nil {
		return set
	}
	if s.byContent == nil || len(s.byContent) >= maxRoleSets {
		s.byContent = map[[sha256.Size]byte]*roleSet{}
	}
	set := newRoleSet(roles)
	s.byContent[key] = set
	return set
}

func newRoleSet(roles []*role) *roleSet {
	s := &roleSet{roles: roles}
	secured := false
	for _, r := range roles {
		secured = secured || r.secured
		if r.whole() {
			s.everywhere |= r.permissions[0].rights
		}
	}
	if len(roles) == 0 || s.everywhere != 0 && (!secured || s.everywhere&readSecured != 0) {
		s.uniform = &access{set: s, least: s.everywhere}
	}
	return s
}

// roleSetOf returns the set of the roles that references name; those that are not
// there or not enabled allow nothing.
func (d *derived) roleSetOf(spec *localSpec, s *state, refs []string) *roleSet {
	var roles []*role
	for _, ref := range refs {
		if n, ok := s.refers(spec.classAt(roleTable), ref); ok && d.roles[n] != nil {
			roles = append(roles, d.roles[n])
		}
	}
	return spec.roleSets.of(roles)
}
