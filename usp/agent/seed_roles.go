package agent

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// The roles every agent starts with, by instance number; configured ones follow.
const (
	fullAccessRole = 1
	untrustedRole  = 2
	configuredRole = 3
)

func rolePath(instance uint32) string {
	return "Device.LocalAgent.ControllerTrust.Role." + strconv.FormatUint(uint64(instance), 10)
}

// noFlags grants nothing.
const noFlags = "----"

// builtinRoles are the roles that are there without being configured. The
// untrusted one shows what the device is and which challenges lead to other roles,
// and nothing else.
func builtinRoles() []RoleConfig {
	const challenges = "Device.LocalAgent.ControllerTrust.Challenge."
	return []RoleConfig{
		{Name: FullAccess, Permissions: []PermissionConfig{
			{Targets: []string{"Device."}, Param: "rwxn", Obj: "rwxn", InstantiatedObj: "rwxn", CommandEvent: "rwxn"},
		}},
		{Name: Untrusted, Permissions: []PermissionConfig{
			{Targets: []string{"Device.DeviceInfo."}, Param: "r---", Obj: "r---", InstantiatedObj: "r---", CommandEvent: noFlags},
			{Targets: []string{challenges}, Param: noFlags, Obj: "r---", InstantiatedObj: "r---", CommandEvent: noFlags},
			{Targets: []string{challenges + "*.Alias", challenges + "*.Description"}, Param: "r---", Obj: noFlags, InstantiatedObj: noFlags, CommandEvent: noFlags},
			{
				Targets: []string{trustObject + "RequestChallenge()", trustObject + "ChallengeResponse()"},
				Param:   noFlags, Obj: noFlags, InstantiatedObj: noFlags, CommandEvent: "r-x-",
			},
		}},
	}
}

// seedRoles adds the roles that every agent starts with, and returns their
// instance numbers by name.
func (h *Host) seedRoles(ctx context.Context, s *state) (map[string]uint32, error) {
	builtin := builtinRoles()
	numbers := map[string]uint32{FullAccess: fullAccessRole, Untrusted: untrustedRole}
	var names []string
	for _, r := range h.cfg.Roles {
		if r.Name != Untrusted {
			names = append(names, r.Name)
		}
	}
	kept, err := h.seedNumbers(ctx, "roles", configuredRole, names)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		numbers[name] = kept[name]
	}
	// The configured role of the same name is put over the built-in one.
	var secured []string
	for i, r := range append(builtin, h.cfg.Roles...) {
		n := numbers[r.Name]
		if i >= len(builtin) && n == untrustedRole {
			s.remove(rowKey{h.classes.role, dm.Inst(n)})
		}
		h.seedRole(s, n, r)
		if r.Secured {
			secured = append(secured, rolePath(n))
		}
	}
	root := s.rows[rowKey{class: h.spec.root}]
	root.values[h.spec.root.byName[trustObject+"SecuredRoles"].index] = strings.Join(secured, ",")
	return numbers, nil
}

func (h *Host) seedRole(s *state, n uint32, r RoleConfig) {
	s.put(h.classes.role, dm.Inst(n), map[string]string{"Enable": "true", "Name": r.Name})
	for i, p := range r.Permissions {
		order := uint32(i + 1)
		s.put(h.spec.classAt(permissionTable), dm.Inst(n, order), map[string]string{
			"Enable": "true", "Order": strconv.FormatUint(uint64(order), 10), "Targets": strings.Join(p.Targets, ","),
			"Param": p.Param, "Obj": p.Obj, "InstantiatedObj": p.InstantiatedObj, "CommandEvent": p.CommandEvent,
		})
	}
}

// seedChallenges adds the configured challenges. They have no Value: what the
// response has to be is different on each agent.
func (h *Host) seedChallenges(ctx context.Context, s *state, roles map[string]uint32) error {
	var aliases []string
	for _, c := range h.cfg.Challenges {
		aliases = append(aliases, c.Alias)
	}
	numbers, err := h.seedNumbers(ctx, "challenges", 1, aliases)
	if err != nil {
		return err
	}
	h.challengeKeys = map[uint32]string{}
	for _, c := range h.cfg.Challenges {
		n := numbers[c.Alias]
		h.challengeKeys[n] = c.Key
		s.put(h.spec.classAt(challengeTable), dm.Inst(n), map[string]string{
			"Alias": c.Alias, "Enable": "true", "Description": c.Description, "Role": rolePath(roles[c.Role]),
			"Instruction": base64.StdEncoding.EncodeToString([]byte(c.Instruction)),
			"Retries":     strconv.FormatUint(uint64(c.Retries), 10), "LockoutPeriod": strconv.Itoa(int(c.Lockout / time.Second)),
		})
	}
	return nil
}

// derivedPassphrase returns the passphrase of a configured challenge on one agent:
// the first ten bytes of HMAC-SHA-256 over the endpoint id in base32, 16
// characters. It is different on each agent and follows from nothing that an agent
// tells (TR-369 R-SEC.14, R-SEC.15), and whoever prints labels can work it out.
func (h *Host) derivedPassphrase(challenge uint32, id usp.EndpointID) []byte {
	key := h.challengeKeys[challenge]
	if key == "" {
		return nil
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(id))
	return []byte(base32.StdEncoding.EncodeToString(mac.Sum(nil)[:10]))
}
