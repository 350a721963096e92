package cpesim

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/icholy/digest"

	"github.com/uspbridge/uspbridge/cwmp"
)

// CPE is one simulated device. Its exported methods are what happens at the
// device itself: somebody at its web page, its power plug, its cable.
type CPE struct {
	fleet     *Fleet
	factory   Config
	identity  cwmp.DeviceID
	profile   *Profile
	replay    *Recording // nil: none
	path      string     // of its connection request URL
	stateFile string
	seed      uint64

	due  time.Time // these three are the scheduler's, guarded by its mutex
	slot int
	out  bool // taken from the heap, at work or waiting for it

	mu       sync.Mutex
	tree     tree
	pending  pending
	bootedAt time.Time
	power    power
	offline  bool // no way to the ACS and back
	busy     bool // in work
	dirty    bool // to be saved

	urgent     bool      // a session is wanted now, not with the next Inform
	retries    int       // failed sessions since the last good one
	notBefore  time.Time // of the next attempt
	periodicAt time.Time
	waiters    []chan error
	journal    []Entry
	recalled   map[string]int // how often each recorded answer was asked for
	abort      func()         // breaks the open session
	clients    clients
	lost       map[string]bool // RPCs that Profile has had lost
	nextURL    string          // of the last KickedResponse

	results map[cwmp.Path]bool // what the diagnostic that is being run has found

	challenge *digest.Challenge // of the session before, with Profile.KeepNonce
}

// power is where a CPE is between its plug and its first Inform.
type power struct {
	state   powerState
	readyAt time.Time // when a boot ends
}

type powerState uint8

const (
	powerOff powerState = iota // before Start
	powerBooting
	powerUp
)

// pending is what a CPE has to tell its ACS or to do on its own; it survives a
// reboot and a restart of the simulator.
type pending struct {
	Bootstrapped bool                    `json:"bootstrapped"` // the ACS has seen "0 BOOTSTRAP"
	Events       []cwmp.Event            `json:"events,omitempty"`
	Changed      []cwmp.Path             `json:"changed,omitempty"`
	Schedules    []schedule              `json:"schedules,omitempty"`
	Transfers    []transfer              `json:"transfers,omitempty"`
	Completed    []cwmp.TransferComplete `json:"completed,omitempty"`
	CompletedBy  []cwmp.EventCode        `json:"completedBy,omitempty"` // "M …" event of each Completed
	Reports      []ownReport             `json:"reports,omitempty"`     // other RPCs to the ACS
	Changes      []duChange              `json:"changes,omitempty"`
	BootDue      bool                    `json:"bootDue,omitempty"`     // a firmware waits to be booted until it has been told of
	Diagnostics  []cwmp.Path             `json:"diagnostics,omitempty"` // DiagnosticsState parameters that were requested

	DiagnosticsAt time.Time `json:"diagnosticsAt,omitzero"` // when they end
	Runs          int       `json:"runs,omitempty"`         // of diagnostics
}

// schedule is a ScheduleInform that has not come yet.
type schedule struct {
	At         time.Time `json:"at"`
	CommandKey string    `json:"commandKey"`
}

func newCPE(f *Fleet, config Config) *CPE {
	if config.JournalSize == 0 {
		config.JournalSize = defaultJournalSize
	}
	if config.Replay != nil {
		config = config.replaying()
	}
	id, declared := config.Identity, config.Model.Identity()
	id.Manufacturer = cmp.Or(id.Manufacturer, declared.Manufacturer)
	id.OUI = cmp.Or(id.OUI, declared.OUI)
	id.ProductClass = cmp.Or(id.ProductClass, declared.ProductClass)
	id.SerialNumber = cmp.Or(id.SerialNumber, declared.SerialNumber)
	profile := config.Profile
	if profile == nil {
		profile = &Profile{}
	}
	if config.Version == cwmp.Version1_0 && !profile.OnlyCWMP1_0 {
		config.Version = cwmp.Version1_2
	}
	return &CPE{fleet: f, factory: config, identity: id, profile: profile, replay: config.Replay, stateFile: config.StateFile,
		seed: hash64(string(id.Key())), tree: tree{model: config.Model}}
}

// Identity returns the CPE's DeviceIdStruct.
func (c *CPE) Identity() cwmp.DeviceID { return c.identity }

// ConnectionRequestURL returns where the CPE takes connection requests.
func (c *CPE) ConnectionRequestURL() string { return c.fleet.connectionRequestURL(c) }

// release ends what waits in Inform. c.mu is held.
func (c *CPE) release(err error) {
	for _, done := range c.waiters {
		done <- err
	}
	c.waiters = nil
}

func (c *CPE) now() time.Time { return c.fleet.config.Clock.Now() }

func (c *CPE) log() *slog.Logger {
	return c.fleet.config.Log.With("cpe", c.identity.Key())
}

// Get returns a parameter's value as it is on the device, also of parameters
// that an ACS cannot read back. ok is false if there is no such parameter.
// Booleans are "true" and "false".
func (c *CPE) Get(path string) (value string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.tree.find(cwmp.Path(path))
	if n == nil || n.object {
		return "", false
	}
	return c.value(cwmp.Path(path), n), true
}

// value returns what a parameter holds. c.mu is held.
func (c *CPE) value(name cwmp.Path, n *node) string {
	if v, written := c.tree.values[name]; written {
		return v
	}
	return c.live(name, n, c.now())
}

// Set changes a parameter locally, as the CPE's web page or its own software
// does, and notifies the ACS as the parameter's attribute says. Parameters that
// an ACS may not write can be set so. It fails on a wrong name or value.
func (c *CPE) Set(path, value string) error {
	c.mu.Lock()
	defer c.finishLocal()
	name := cwmp.Path(path)
	n := c.tree.find(name)
	if n == nil || n.object {
		return fmt.Errorf("simulated CPE %s has no parameter %s", c.identity.Key(), path)
	}
	value = canonical(n.typ, value)
	if err := cmp.Or(checkType(n.typ, value), n.allowed.check(value)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	c.change(name, n, value)
	return nil
}

// AddRow creates a row locally and returns its instance number. Its parameters
// have the model's values for new rows.
func (c *CPE) AddRow(table string) (uint32, error) {
	c.mu.Lock()
	defer c.finishLocal()
	t := cwmp.Path(table)
	if n := c.tree.find(t); n == nil || !n.object || isInstance(leaf(t)) {
		return 0, fmt.Errorf("simulated CPE %s has no table %s", c.identity.Key(), table)
	}
	number := c.tree.addRow(t)
	if number == 0 {
		return 0, fmt.Errorf("the model of simulated CPE %s does not say what a row of %s has in it", c.identity.Key(), table)
	}
	c.recount(t, +1, true)
	return number, nil
}

// DeleteRow removes a row locally.
func (c *CPE) DeleteRow(row string) error {
	c.mu.Lock()
	defer c.finishLocal()
	r := cwmp.Path(row)
	if n := c.tree.find(r); n == nil || !n.object || !isInstance(leaf(r)) {
		return fmt.Errorf("simulated CPE %s has no row %s", c.identity.Key(), row)
	}
	c.tree.deleteRow(r)
	c.recount(parent(r), -1, true)
	return nil
}

// finishLocal ends a local change: it unlocks, lets the scheduler know, saves.
func (c *CPE) finishLocal() {
	c.dirty = true
	c.reschedule()
	var err error
	if !c.busy {
		err = c.save()
	}
	c.mu.Unlock()
	if err != nil {
		c.log().Error("state of simulated CPE not saved", "error", err)
	}
}

// Inform queues events and opens a session now, back-off or not. It returns
// when the session has ended; the events stay queued if it failed.
func (c *CPE) Inform(events ...cwmp.Event) error {
	c.mu.Lock()
	switch {
	case c.fleet.closed.Load():
		c.mu.Unlock()
		return ErrClosed
	case c.offline:
		c.mu.Unlock()
		return ErrOffline
	case c.power.state == powerOff:
		c.mu.Unlock()
		return errors.New("the simulated fleet is not started")
	}
	for _, e := range events {
		c.queue(e)
	}
	done := make(chan error, 1)
	c.waiters = append(c.waiters, done)
	c.urgent, c.notBefore = true, time.Time{}
	c.reschedule()
	c.mu.Unlock()
	return <-done
}

// Reboot is the power plug pulled and put back: an open session breaks, and
// after FleetConfig.BootTime comes "1 BOOT".
func (c *CPE) Reboot() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.abort != nil {
		c.abort()
	}
	c.beginBoot()
	c.reschedule()
}

// SetOnline connects or disconnects the CPE. Offline it takes no connection
// requests, an open session breaks, and events wait until it is back.
func (c *CPE) SetOnline(online bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offline = !online
	c.clients.resync = true
	if !online {
		c.clients.cut()
		if c.abort != nil {
			c.abort()
		}
		c.release(ErrOffline)
	}
	if online {
		c.notBefore = time.Time{}
	}
	c.reschedule()
}

// Online reports whether the CPE is up and connected.
func (c *CPE) Online() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.offline && c.power.state == powerUp
}

// queue adds an event unless the same one waits already (TR-069 3.7.1.5: an
// event code is single, "M …" are told apart by their CommandKey).
func (c *CPE) queue(e cwmp.Event) {
	if !slices.Contains(c.pending.Events, e) {
		c.pending.Events = append(c.pending.Events, e)
		c.dirty = true
	}
}
