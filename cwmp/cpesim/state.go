package cpesim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
)

// stateVersion is the version of the state file's format.
const stateVersion = 1

// state is what a CPE keeps over a restart of the simulator: its flash memory.
type state struct {
	Version    int                     `json:"version"`
	Device     cwmp.DeviceID           `json:"device"`
	Values     map[cwmp.Path]string    `json:"values,omitempty"`
	Added      []cwmp.Path             `json:"added,omitempty"`
	Deleted    []cwmp.Path             `json:"deleted,omitempty"`
	Next       map[cwmp.Path]uint32    `json:"next,omitempty"`
	Attributes map[cwmp.Path]attribute `json:"attributes,omitempty"`
	Pending    pending                 `json:"pending"`
}

// save writes the state file if something changed: to a file beside it, then in
// its place, so that a reader finds the old or the new one whole. c.mu is held.
func (c *CPE) save() error {
	if !c.dirty || c.stateFile == "" {
		return nil
	}
	s := state{Version: stateVersion, Device: c.identity, Values: c.tree.values, Added: c.tree.added, Next: c.tree.next,
		Attributes: c.tree.attributes, Pending: c.pending}
	for p := range c.tree.deleted {
		s.Deleted = append(s.Deleted, p)
	}
	slices.Sort(s.Deleted)
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("state of %s: %w", c.identity.Key(), err)
	}
	if err := os.MkdirAll(filepath.Dir(c.stateFile), 0o700); err != nil {
		return fmt.Errorf("state of %s: %w", c.identity.Key(), err)
	}
	beside := c.stateFile + ".new"
	if err := os.WriteFile(beside, text, 0o600); err != nil {
		return fmt.Errorf("state of %s: %w", c.identity.Key(), err)
	}
	if err := os.Rename(beside, c.stateFile); err != nil {
		return fmt.Errorf("state of %s: %w", c.identity.Key(), err)
	}
	c.dirty = false
	return nil
}

// loadState reads the state file, if there is one.
func (c *CPE) loadState() error {
	if c.stateFile == "" {
		return nil
	}
	text, err := os.ReadFile(c.stateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("state of %s: %w", c.identity.Key(), err)
	}
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("state of %s: %s is damaged, remove it to begin anew: %w", c.identity.Key(), c.stateFile, err)
	}
	if s.Version != stateVersion || s.Device.Key() != c.identity.Key() {
		return fmt.Errorf("state of %s: %s has version %d and is of %s; remove it to begin anew", c.identity.Key(), c.stateFile, s.Version, s.Device.Key())
	}
	if len(s.Pending.Completed) != len(s.Pending.CompletedBy) {
		return fmt.Errorf("state of %s: %s is damaged, remove it to begin anew: %d transfers completed by %d", c.identity.Key(), c.stateFile, len(s.Pending.Completed), len(s.Pending.CompletedBy))
	}
	c.tree.values, c.tree.added, c.tree.next, c.tree.attributes = s.Values, s.Added, s.Next, s.Attributes
	slices.SortFunc(c.tree.added, func(a, b cwmp.Path) int { return strings.Compare(string(a), string(b)) })
	if len(s.Deleted) > 0 {
		c.tree.deleted = make(map[cwmp.Path]struct{}, len(s.Deleted))
		for _, p := range s.Deleted {
			c.tree.deleted[p] = struct{}{}
		}
	}
	c.pending = s.Pending
	return nil
}
