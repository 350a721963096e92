package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/usp/agent"
)

// RoleConfig is a role that every agent starts with. Of permissions that have an
// element among their targets the last decides.
type RoleConfig struct {
	Name        string             `mapstructure:"name"`
	Secured     Switch             `mapstructure:"secured"`
	Permissions []PermissionConfig `mapstructure:"permissions"`
}

// PermissionConfig is what a role allows on some targets.
type PermissionConfig struct {
	Targets         []Target `mapstructure:"targets"`
	Param           Flags    `mapstructure:"param"`
	Obj             Flags    `mapstructure:"obj"`
	InstantiatedObj Flags    `mapstructure:"instantiated_obj"`
	CommandEvent    Flags    `mapstructure:"command_event"`
}

// ChallengeConfig is a challenge that every agent starts with.
type ChallengeConfig struct {
	Alias       string   `mapstructure:"alias"`
	Description string   `mapstructure:"description"`
	Instruction string   `mapstructure:"instruction"`
	Role        string   `mapstructure:"role"`
	Key         Secret   `mapstructure:"key"`
	Retries     Count    `mapstructure:"retries"` // 0: 3
	Lockout     Duration `mapstructure:"lockout"` // 0: 30 s
}

// Target is an entry of a permission's Targets.
type Target string

// UnmarshalText takes what the agents take.
func (t *Target) UnmarshalText(b []byte) error {
	*t = Target(b)
	if err := agent.CheckTarget(string(b)); err != nil {
		return err
	}
	if !strings.HasPrefix(string(b), "Device.") {
		return fmt.Errorf("%q does not begin with Device., as all paths do", b)
	}
	return nil
}

// Flags are the four characters of a permission.
type Flags string

// UnmarshalText takes r, w, x and n, each in its place or - there.
func (f *Flags) UnmarshalText(b []byte) error {
	*f = Flags(b)
	return agent.CheckFlags(string(b))
}

// roleNames are the roles that controllers and challenges can have.
func (c USPConfig) roleNames() []string {
	names := []string{agent.FullAccess, agent.Untrusted}
	for _, r := range c.Roles {
		if r.Name != "" && !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	return names
}

func (l *configLoader) checkRole(key, role string, c USPConfig) {
	if names := c.roleNames(); !slices.Contains(names, role) {
		l.wrong(key, "%q is not a role; use one of %q, or add it to usp.roles", role, names)
	}
}

func (l *configLoader) checkRoles(c USPConfig) {
	seen := map[string]int{}
	for i, r := range c.Roles {
		key := fmt.Sprintf("usp.roles[%d]", i)
		first, twice := seen[r.Name]
		switch {
		case r.Name == "":
			l.wrong(key+".name", "must not be empty")
		case r.Name == agent.FullAccess:
			l.wrong(key+".name", "%q is built in and cannot be another: the command line has it", r.Name)
		case twice:
			l.wrong(key+".name", "%q is also usp.roles[%d]", r.Name, first)
		}
		seen[r.Name] = i
		for k, p := range r.Permissions {
			if len(p.Targets) == 0 {
				l.wrong(fmt.Sprintf("%s.permissions[%d].targets", key, k), "must not be empty; write for example [Device.WiFi.]")
			}
		}
	}
	l.checkChallenges(c)
}

func (l *configLoader) checkChallenges(c USPConfig) {
	seen := map[string]int{}
	for i, ch := range c.Challenges {
		key := fmt.Sprintf("usp.challenges[%d]", i)
		if err := agent.CheckAlias(ch.Alias); err != nil {
			l.invalid(key+".alias", "%v", err)
		} else if first, ok := seen[ch.Alias]; ok {
			l.wrong(key+".alias", "%q is also usp.challenges[%d]", ch.Alias, first)
		}
		seen[ch.Alias] = i
		l.checkRole(key+".role", ch.Role, c)
		if len(ch.Key) < agent.MinChallengeKey {
			l.invalid(key+".key", "has %d characters; use at least %d, for example of `openssl rand -hex 16`", len(ch.Key), agent.MinChallengeKey)
		}
		if d := time.Duration(ch.Lockout); d != d.Truncate(time.Second) {
			l.invalid(key+".lockout", "%v is not in whole seconds", d)
		}
	}
}

// agentRoles returns the roles and challenges that every agent starts with.
func (c USPConfig) agentRoles() (roles []agent.RoleConfig, challenges []agent.ChallengeConfig) {
	for _, r := range c.Roles {
		role := agent.RoleConfig{Name: r.Name, Secured: bool(r.Secured)}
		for _, p := range r.Permissions {
			permission := agent.PermissionConfig{
				Param: string(p.Param), Obj: string(p.Obj), InstantiatedObj: string(p.InstantiatedObj), CommandEvent: string(p.CommandEvent),
			}
			for _, t := range p.Targets {
				permission.Targets = append(permission.Targets, string(t))
			}
			role.Permissions = append(role.Permissions, permission)
		}
		roles = append(roles, role)
	}
	for _, ch := range c.Challenges {
		challenges = append(challenges, agent.ChallengeConfig{
			Alias: ch.Alias, Description: ch.Description, Instruction: ch.Instruction, Role: ch.Role,
			Key: string(ch.Key), Retries: uint32(ch.Retries), Lockout: time.Duration(ch.Lockout),
		})
	}
	return roles, challenges
}
