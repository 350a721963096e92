package agent

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

func trustObjects() []objectDecl {
	flags := func(name string) paramDecl { return text(name, "----", permissionFlags) }
	return []objectDecl{
		{path: trustObject, params: []paramDecl{
			{name: "UntrustedRole", access: dm.ReadWrite, typ: dm.TypeString, def: rolePath(untrustedRole)},
			{name: "SecuredRoles", access: dm.ReadWrite, typ: dm.TypeString, list: true},
			entries("Role", roleTable),
		}},
		{
			path: roleTable, access: dm.AddDelete, kind: store.AgentState,
			unique: [][]string{{"Name"}}, fixed: [][]string{{"Alias"}},
			params: []paramDecl{alias(), boolean("Enable", "false"), text("Name", "", size(0, 256)), entries("Permission", permissionTable)},
			added: func(c *rowChange) error {
				if c.get("Name") == "" {
					c.set("Name", "cpe-"+strconv.FormatUint(uint64(c.key.inst.Last()), 10))
				}
				return nil
			},
		},
		{
			path: permissionTable, access: dm.AddDelete, kind: store.AgentState,
			unique: [][]string{{"Order"}}, fixed: [][]string{{"Alias"}},
			params: []paramDecl{
				alias(), boolean("Enable", "false"), unsigned("Order", "0", 0, math.MaxUint32),
				{name: "Targets", access: dm.ReadWrite, typ: dm.TypeString, list: true},
				flags("Param"), flags("Obj"), flags("InstantiatedObj"), flags("CommandEvent"),
			},
			added: permissionAdded,
			check: permissionCheck,
		},
	}
}

// permissionAdded puts a permission that came without Order in front of those
// the role has.
func permissionAdded(c *rowChange) error {
	order := c.key.class.byName["Order"]
	if c.given[order] {
		return nil
	}
	var most int64
	for k, r := range c.tx.next.rows {
		if k.class == c.key.class && k.inst.At(0) == c.key.inst.At(0) {
			most = max(most, number(r.values[order.index]))
		}
	}
	c.set("Order", strconv.FormatInt(min(most+1, math.MaxUint32), 10))
	return nil
}

func permissionCheck(c *rowChange) error {
	targets := splitList(c.get("Targets"))
	if len(targets) > maxTargets {
		return invalid("Targets", usp.ErrResourcesExceeded, "at most "+strconv.Itoa(maxTargets)+" paths are kept")
	}
	for _, t := range targets {
		if _, err := parseTarget(t); err != nil {
			return invalid("Targets", usp.ErrInvalidValue, err.Error())
		}
	}
	return nil
}

// permissionFlags checks the four characters of a permission: r, w, x, n, each
// itself or "-".
func permissionFlags(v string) error {
	const all = "rwxn"
	if len(v) != len(all) {
		return fmt.Errorf("%q: four characters of rwxn are wanted, - for those not granted", shorten(v))
	}
	for i := range len(all) {
		if v[i] != all[i] && v[i] != '-' {
			return fmt.Errorf("%q: character %d is %c or -", shorten(v), i+1, all[i])
		}
	}
	return nil
}

// The roles every agent starts with, by instance number.
const (
	fullAccessRole = 1
	untrustedRole  = 2
)

func rolePath(instance uint32) string {
	return "Device.LocalAgent.ControllerTrust.Role." + strconv.FormatUint(uint64(instance), 10)
}

// roleInstance resolves a reference to a role.
func (s *state) roleInstance(class *class, ref string) (uint32, bool) {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(ref, "."), "Device.LocalAgent.ControllerTrust.Role.")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(rest, 10, 32)
	if err != nil {
		return 0, false
	}
	return uint32(n), s.rows[rowKey{class, dm.Inst(uint32(n))}] != nil
}

// seedRoles adds the roles that every agent starts with. The untrusted role
// shows what the device is, and nothing else.
func seedRoles(spec *localSpec, s *state) {
	role, perm := spec.classAt(roleTable), spec.classAt(permissionTable)
	put := func(c *class, inst dm.Instance, values map[string]string) {
		r := c.fresh()
		for rel, v := range values {
			r.values[c.byName[rel].index] = v
		}
		r.values[c.byName["Alias"].index] = "cpe-" + strconv.FormatUint(uint64(inst.Last()), 10)
		s.rows[rowKey{c, inst}] = r
	}
	put(role, dm.Inst(fullAccessRole), map[string]string{"Enable": "true", "Name": FullAccess})
	put(perm, dm.Inst(fullAccessRole, 1), map[string]string{
		"Enable": "true", "Order": "1", "Targets": "Device.",
		"Param": "rwxn", "Obj": "rwxn", "InstantiatedObj": "rwxn", "CommandEvent": "rwxn",
	})
	put(role, dm.Inst(untrustedRole), map[string]string{"Enable": "true", "Name": Untrusted})
	put(perm, dm.Inst(untrustedRole, 1), map[string]string{
		"Enable": "true", "Order": "1", "Targets": "Device.DeviceInfo.",
		"Param": "r---", "Obj": "r---", "InstantiatedObj": "r---",
	})
}
