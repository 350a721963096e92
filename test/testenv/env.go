package testenv

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/usp"
)

// Env is one bridge with the CPE around it.
type Env struct {
	*Bridge
	t     testing.TB
	fleet *cpesim.Fleet
	added *atomic.Int64
}

// CPE is a simulated CPE: what is done at the device itself, and the agent that
// controllers see in its place.
type CPE struct {
	*cpesim.CPE
	Agent usp.EndpointID
	env   *Env
}

// Start brings up a bridge, and waits until it is ready.
func Start(t testing.TB, p *Program, c Config) *Env {
	t.Helper()
	e := &Env{Bridge: startBridge(t, p, c), t: t, added: new(atomic.Int64)}
	secure := cmp.Or(c.TLS, c.CPETLS)
	fleet, err := cpesim.NewFleet(cpesim.FleetConfig{BootTime: 20 * time.Millisecond, TLS: secure, Transfer: cpesim.HTTPTransfer(secure)})
	if err != nil {
		t.Fatal(err)
	}
	e.fleet = fleet
	if err := fleet.Start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), Patience)
		defer cancel()
		if err := fleet.Close(ctx); err != nil {
			t.Errorf("simulated CPE: %v", err)
		}
	})
	return e
}

// For is the environment for a test inside the one that started it: what goes
// wrong ends that one alone. Tests with one each may run side by side.
func (e *Env) For(t testing.TB) *Env {
	return &Env{Bridge: e.Bridge, t: t, fleet: e.fleet, added: e.added}
}

// CPE adds a simulated CPE and waits until the bridge has discovered it.
func (e *Env) CPE(model *cpesim.Model) *CPE {
	e.t.Helper()
	return e.CPEWith(cpesim.Config{Model: model})
}

// CPEWith is CPE with more said of it.
func (e *Env) CPEWith(c cpesim.Config) *CPE {
	e.t.Helper()
	cpe := e.Boot(c)
	cpe.AwaitDiscovery()
	return cpe
}

// Boot adds a simulated CPE and waits for nothing.
func (e *Env) Boot(c cpesim.Config) *CPE {
	e.t.Helper()
	if number := e.added.Add(1); c.Identity.SerialNumber == "" {
		c.Identity.SerialNumber = fmt.Sprintf("TEST%04d", number)
	}
	if c.ACSURL == "" {
		c.ACSURL = e.ACSURL()
	}
	sim, err := e.fleet.Add(c)
	if err != nil {
		e.t.Fatal(err)
	}
	return &CPE{CPE: sim, Agent: endpointOf(sim.Identity()), env: e}
}

// endpointOf returns the endpoint id that the default template gives a device
// whose identity has no character that would have to be escaped, but blanks.
func endpointOf(id cwmp.DeviceID) usp.EndpointID {
	return usp.EndpointID("ops::" + strings.ReplaceAll(id.OUI+"-"+id.ProductClass+"-"+id.SerialNumber, " ", "%20"))
}

// FilesDir returns the directory of the bridge's files for CPE.
func (e *Env) FilesDir() string { return filepath.Join(e.dir, "data", "files") }

// File puts a file where CPE can download it.
func (e *Env) File(name, content string) {
	e.t.Helper()
	if err := os.WriteFile(filepath.Join(e.FilesDir(), name), []byte(content), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

// AwaitDiscovery waits until the bridge knows the CPE's tree and the session has
// ended.
func (c *CPE) AwaitDiscovery() {
	c.env.t.Helper()
	c.env.AwaitDiscovery(c.Agent)
}

// AwaitDiscovery waits until the bridge knows a device's tree and its session has
// ended.
func (e *Env) AwaitDiscovery(agent usp.EndpointID) {
	e.t.Helper()
	Until(e.t, string(agent)+" is discovered", func() bool {
		d := e.device(agent)
		return d.Discovered && !d.InSession && !d.LastSession.IsZero()
	})
}

// Reachability returns what the console says of how a device can be woken.
func (e *Env) Reachability(agent usp.EndpointID) string {
	e.t.Helper()
	return e.device(agent).Reachability
}

// AwaitIdle waits until the CPE is in no session.
func (c *CPE) AwaitIdle() {
	c.env.t.Helper()
	Until(c.env.t, string(c.Agent)+" is in no session", func() bool { return !c.env.device(c.Agent).InSession })
}

// Behave gives the CPE another way to depart from TR-069, by the profile that it was
// made with, once no simulated CPE is at work.
func (c *CPE) Behave(profile *cpesim.Profile, as cpesim.Profile) {
	c.env.t.Helper()
	c.AwaitIdle()
	Until(c.env.t, string(c.Agent)+" is at rest", func() bool { return c.env.fleet.Stats().ActiveSessions == 0 })
	*profile = as
}

// Inform makes the CPE open a session and waits until it has ended.
func (c *CPE) Inform(events ...cwmp.Event) {
	c.env.t.Helper()
	if err := c.CPE.Inform(events...); err != nil {
		c.env.t.Fatalf("%s: session: %v", c.Agent, err)
	}
}

// Set changes a parameter at the CPE itself.
func (c *CPE) Set(path, value string) {
	c.env.t.Helper()
	if err := c.CPE.Set(path, value); err != nil {
		c.env.t.Fatalf("%s: %v", c.Agent, err)
	}
}

// Value returns a parameter as it is on the CPE; it must exist.
func (c *CPE) Value(path string) string {
	c.env.t.Helper()
	v, ok := c.Get(path)
	if !ok {
		c.env.t.Fatalf("%s has no parameter %s", c.Agent, path)
	}
	return v
}

// device is what the console says of a device; of an unknown one, nothing.
type device struct {
	Discovered   bool      `json:"discovered"`
	InSession    bool      `json:"in_session"`
	LastSession  time.Time `json:"last_session"`
	Reachability string    `json:"reachability"`
}

func (e *Env) device(id usp.EndpointID) (d device) {
	e.t.Helper()
	status, body, err := e.Console("/api/devices/" + url.PathEscape(string(id)))
	if err != nil {
		e.t.Fatal(err)
	}
	if status == http.StatusNotFound {
		return d
	}
	if err := json.Unmarshal(body, &d); err != nil || status != http.StatusOK {
		e.t.Fatalf("console: %d %s: %v", status, body, err)
	}
	return d
}
