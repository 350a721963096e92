package agent

import (
	"errors"
	"fmt"
	"time"
)

// RoleConfig is a role that every agent starts with, besides FullAccess and
// Untrusted. One named Untrusted takes the place of the built-in permissions of
// that role; FullAccess is as it is.
type RoleConfig struct {
	Name string
	// Secured shows secured values to those who have the role, where it lets
	// parameters be read.
	Secured bool
	// Permissions are in ascending Order: of those that have an element among
	// their targets the last decides.
	Permissions []PermissionConfig
}

// PermissionConfig is a row of Device.LocalAgent.ControllerTrust.Role.{i}.
// Permission.{i}. Flags are four characters of rwxn, - for those not granted; ""
// grants nothing.
type PermissionConfig struct {
	Targets                                   []string
	Param, Obj, InstantiatedObj, CommandEvent string
}

// ChallengeConfig is a row of Device.LocalAgent.ControllerTrust.Challenge.{i}. that
// every agent starts with.
type ChallengeConfig struct {
	Alias       string // names the challenge; it keeps its instance number
	Description string // "Request guest privilege"
	Role        string // what a right response gives
	Instruction string // "Enter the passphrase on the bottom of the device"
	// Key makes the passphrase of each agent; see derivedPassphrase.
	Key     string
	Retries uint32        // wrong responses until it is locked (default 3)
	Lockout time.Duration // for how long, in whole seconds (default 30 s)
}

// MinChallengeKey is the least length of a ChallengeConfig's Key: who guesses it
// has the passphrases of all agents.
const MinChallengeKey = 16

// CheckTarget reports what is wrong with an entry of Targets.
func CheckTarget(target string) error {
	_, err := parseTarget(target)
	return err
}

// CheckFlags reports what is wrong with the four characters of a permission.
func CheckFlags(flags string) error {
	if flags == "" {
		return nil
	}
	return permissionFlags(flags)
}

// CheckAlias reports what is wrong with the Alias of a row.
func CheckAlias(alias string) error { return aliasValue(alias) }

// roleNames returns the roles that every agent starts with.
func (c *Config) roleNames() map[string]bool {
	names := map[string]bool{FullAccess: true, Untrusted: true}
	for _, r := range c.Roles {
		names[r.Name] = true
	}
	return names
}

func (c *Config) validateRoles() error {
	seen := map[string]bool{}
	for _, r := range c.Roles {
		switch {
		case r.Name == "" || r.Name == FullAccess || seen[r.Name]:
			return fmt.Errorf("agent: role %q: roles have different names, and %q cannot be configured", r.Name, FullAccess)
		case len(r.Permissions) > maxSeeded:
			return fmt.Errorf("agent: role %q has %d permissions, at most %d can be configured", r.Name, len(r.Permissions), maxSeeded)
		}
		seen[r.Name] = true
		for i := range r.Permissions {
			if err := r.Permissions[i].validate(); err != nil {
				return fmt.Errorf("agent: role %q: permission %d: %w", r.Name, i+1, err)
			}
		}
	}
	return nil
}

func (p *PermissionConfig) validate() error {
	if len(p.Targets) == 0 || len(p.Targets) > maxTargets {
		return fmt.Errorf("%d targets: want 1 to %d", len(p.Targets), maxTargets)
	}
	var errs []error
	for _, t := range p.Targets {
		errs = append(errs, CheckTarget(t))
	}
	for _, f := range []*string{&p.Param, &p.Obj, &p.InstantiatedObj, &p.CommandEvent} {
		errs = append(errs, CheckFlags(*f))
		if *f == "" {
			*f = noFlags
		}
	}
	return errors.Join(errs...)
}

func (c *Config) validateChallenges() error {
	roles, seen := c.roleNames(), map[string]bool{}
	for i := range c.Challenges {
		ch := &c.Challenges[i]
		switch {
		case CheckAlias(ch.Alias) != nil:
			return fmt.Errorf("agent: challenge %d: alias %w", i+1, CheckAlias(ch.Alias))
		case seen[ch.Alias]:
			return fmt.Errorf("agent: challenge %s is there twice", ch.Alias)
		case !roles[ch.Role]:
			return fmt.Errorf("agent: challenge %s: unknown role %q", ch.Alias, ch.Role)
		case len(ch.Key) < MinChallengeKey:
			return fmt.Errorf("agent: challenge %s: the key has %d characters, want at least %d", ch.Alias, len(ch.Key), MinChallengeKey)
		}
		seen[ch.Alias] = true
		if ch.Retries == 0 {
			ch.Retries = 3
		}
		if ch.Lockout == 0 {
			ch.Lockout = 30 * time.Second
		}
	}
	return nil
}
