package agent

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

func trustObjects() []objectDecl {
	flags := func(name string) paramDecl { return text(name, noFlags, permissionFlags) }
	return []objectDecl{
		{path: trustObject, params: []paramDecl{
			{name: "UntrustedRole", access: dm.ReadWrite, typ: dm.TypeString, def: rolePath(untrustedRole), refs: roleTable},
			{name: "BannedRole", access: dm.ReadWrite, typ: dm.TypeString, refs: roleTable},
			{name: "SecuredRoles", access: dm.ReadWrite, typ: dm.TypeString, list: true, refs: roleTable},
			computed("TOFUAllowed", dm.TypeBoolean, func(v *view, _ dm.Instance) string { return strconv.FormatBool(v.host.cfg.FirstUse) }),
			// Who was trusted on first use stays in the table.
			computed("TOFUInactivityTimer", dm.TypeUnsignedInt, func(*view, dm.Instance) string { return "0" }),
			entries("Role", roleTable),
			entries("Credential", credentialTable),
			entries("Challenge", challengeTable),
		}, commands: []commandDecl{
			{name: "RequestChallenge()", in: []string{"ChallengeRef", "RequestExpiration"}, required: []string{"ChallengeRef"},
				out: []string{"Instruction", "InstructionType", "ValueType", "ChallengeID"}, run: requestChallenge},
			{name: "ChallengeResponse()", in: []string{"ChallengeID", "Value"}, required: []string{"ChallengeID", "Value"}, secret: []string{"Value"}, run: challengeResponse},
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
		{
			path: credentialTable, access: dm.AddDelete, kind: store.AgentState,
			unique: [][]string{{"Credential"}}, fixed: [][]string{{"Alias"}},
			params: []paramDecl{
				alias(), boolean("Enable", "false"),
				{name: "Role", access: dm.ReadWrite, typ: dm.TypeString, list: true, refs: roleTable},
				{name: "Credential", access: dm.ReadWrite, typ: dm.TypeString, refs: certificateTable},
				text("AllowedUses", mtpOnly, oneOf(mtpOnly, "MTP-and-USP", "MTP-and-broker")),
			},
			check: func(c *rowChange) error {
				if c.old == nil && c.get("Credential") == "" {
					return invalid("Credential", usp.ErrInvalidValue, "name the row of Device.LocalAgent.Certificate. that the entry is about")
				}
				return bannedAlone(c, "Role")
			},
		},
	}
}

// bannedAlone checks that a list of roles that has the banned one has no other
// (Device.LocalAgent.ControllerTrust.BannedRole).
func bannedAlone(c *rowChange, rel string) error {
	if !c.given[c.key.class.byName[rel]] {
		return nil
	}
	banned := c.tx.next.named(rowKey{class: c.tx.host.spec.root}, trustObject+"BannedRole")
	if roles := splitList(c.get(rel)); banned != "" && len(roles) > 1 && slices.Contains(roles, banned) {
		return invalid(rel, usp.ErrInvalidValue, "the banned role goes with no other")
	}
	return nil
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
