package agent

import (
	"slices"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// reference is the value of a parameter that refers to a row of a table which is
// in no other (TR-106 3.2.4: without the final dot).
func reference(c *class, instance uint32) string {
	return strings.TrimSuffix(c.path, "{i}.") + strconv.FormatUint(uint64(instance), 10)
}

// referred returns the instance number that a reference to a row of a table has.
func referred(c *class, ref string) (uint32, bool) {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(ref, "."), strings.TrimSuffix(c.path, "{i}."))
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(rest, 10, 32)
	return uint32(n), err == nil && n > 0
}

// refers reports whether a reference leads to a row of a table, and to which.
func (s *state) refers(c *class, ref string) (uint32, bool) {
	n, ok := referred(c, ref)
	return n, ok && s.rows[rowKey{c, dm.Inst(n)}] != nil
}

// strong checks the value of a strong reference: it refers to rows that are there
// (TR-369 R-ARC.12). It returns the value as the agent writes it.
func (p *param) strong(s *state, value string) (string, *usp.Error) {
	items := splitList(value)
	if !p.list && len(items) > 1 {
		return "", usp.Errorf(usp.ErrInvalidValue, "", "one reference is wanted, not %d", len(items))
	}
	for i, ref := range items {
		n, ok := s.refers(p.target, ref)
		if !ok {
			return "", usp.Errorf(usp.ErrInvalidValue, "", "%q is not a row of %s", shorten(ref), strings.TrimSuffix(p.target.path, "{i}."))
		}
		items[i] = reference(p.target, n)
	}
	return strings.Join(items, ","), nil
}

// dropReferences takes references to rows that are gone out of the values of all
// strong references (TR-106 3.2.4). A controller that is left without a role is
// untrusted.
func (tx *txn) dropReferences(next *state, gone *class) {
	for _, p := range tx.host.spec.refer {
		if p.target != gone {
			continue
		}
		for k, r := range next.rows {
			if k.class != p.class || r.values[p.index] == "" {
				continue
			}
			items := splitList(r.values[p.index])
			left := slices.DeleteFunc(slices.Clone(items), func(ref string) bool { _, there := next.refers(gone, ref); return !there })
			if len(left) == len(items) {
				continue
			}
			value := strings.Join(left, ",")
			if p == tx.host.spec.assignedRole() && value == "" {
				value = next.untrusted(tx.host.spec)
			}
			changed := &row{values: slices.Clone(r.values), via: r.via}
			changed.values[p.index] = value
			next.rows[k] = changed
		}
	}
}

func (s *localSpec) assignedRole() *param { return s.classAt(controllerTable).byName["AssignedRole"] }

// untrusted returns the reference to the untrusted role, "" if there is none.
func (s *state) untrusted(spec *localSpec) string {
	ref := s.named(rowKey{class: spec.root}, trustObject+"UntrustedRole")
	if _, ok := s.refers(spec.classAt(roleTable), ref); !ok {
		return ""
	}
	return ref
}
