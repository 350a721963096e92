package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/translate"
	"github.com/uspbridge/uspbridge/usp"
)

// muted is how many CPE do not come when they are woken: what is asked of them
// waits for their next session. They speak to the bridge through a relay.
const muted = 100

// sessionsOpen is how many sessions are open at once, at most.
const sessionsOpen = 16

// left out of the built-in gateway of 1,377 parameters, so that about 800 stay.
var leftOut = []string{
	"Device.Firewall", "Device.Routing", "Device.NAT", "Device.InterfaceStack", "Device.Bridging",
	"Device.Users", "Device.PPP", "Device.DNS",
}

// device is a simulated CPE and the agent that the bridge shows it as.
type device struct {
	*cpesim.CPE
	agent usp.EndpointID
}

// fleet is the simulated CPE.
type fleet struct {
	*cpesim.Fleet
	model   *cpesim.Model
	devices []device // the first are the muted ones
	mute    int
	relay   *relay
}

// fleetConfig is how a fleet differs from others.
type fleetConfig struct {
	acs                string // URL
	count              int
	muted              int           // of count
	open               int           // sessions at once
	spread             time.Duration // of the boots
	username, password string        // towards the bridge
	tls                *tls.Config
}

// newFleet makes CPE that inform to the bridge. They boot at Start.
func newFleet(ctx context.Context, c fleetConfig) (_ *fleet, err error) {
	f := &fleet{mute: c.muted}
	if f.model, err = gateway(ctx); err != nil {
		return nil, err
	}
	if f.Fleet, err = cpesim.NewFleet(cpesim.FleetConfig{MaxSessions: c.open, SessionTimeout: patience, TLS: c.tls, BootTime: time.Millisecond}); err != nil {
		return nil, err
	}
	if f.relay, err = newRelay(strings.TrimSuffix(strings.TrimPrefix(c.acs, "http://"), "/")); err != nil {
		return nil, err
	}
	template, err := translate.ParseEndpointTemplate("ops::{oui}-{product_class}-{serial}") // the default
	if err != nil {
		return nil, err
	}
	for i := range c.count {
		config := cpesim.Config{ACSURL: c.acs, Username: c.username, Password: c.password, Model: f.model, JournalSize: -1,
			StartDelay: c.spread / time.Duration(c.count) * time.Duration(i),
			Identity:   cwmp.DeviceID{SerialNumber: fmt.Sprintf("BENCH%06d", i)}}
		if i < c.muted {
			config.ACSURL = "http://" + f.relay.address() + "/"
		}
		cpe, err := f.Add(config)
		if err != nil {
			return nil, err
		}
		f.devices = append(f.devices, device{cpe, template.EndpointID(cpe.Identity())})
	}
	return f, nil
}

func (f *fleet) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return errors.Join(f.Close(ctx), f.relay.close())
}

// muted and reachable are the two parts of the fleet.
func (f *fleet) muted() []device     { return f.devices[:f.mute] }
func (f *fleet) reachable() []device { return f.devices[f.mute:] }

// gateway is the simulator's TR-181 gateway without the objects left out.
func gateway(ctx context.Context) (*cpesim.Model, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", "github.com/uspbridge/uspbridge/cwmp/cpesim").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	file, err := os.Open(filepath.Join(strings.TrimSpace(string(out)), "models", "tr181.csv"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	if err != nil {
		return nil, err
	}
	lines = slices.DeleteFunc(lines, func(line []string) bool {
		return slices.ContainsFunc(leftOut, func(object string) bool {
			return strings.HasPrefix(line[0]+".", object+".")
		})
	})
	var kept bytes.Buffer
	if err := csv.NewWriter(&kept).WriteAll(lines); err != nil {
		return nil, err
	}
	return cpesim.LoadCSV(&kept)
}

// inParallel runs work n times, in several goroutines, and returns the first
// error. Work i and i+workers run in the same goroutine.
func inParallel(workers, n int, work func(i int) error) error {
	var wait sync.WaitGroup
	failed := make([]error, workers)
	for w := range workers {
		wait.Go(func() {
			for i := w; i < n && failed[w] == nil; i += workers {
				failed[w] = work(i)
			}
		})
	}
	wait.Wait()
	return errors.Join(failed...)
}

// firstContact starts the fleet and waits until every CPE has had its session.
func (f *fleet) firstContact(ctx context.Context) error {
	if err := f.Start(ctx); err != nil {
		return err
	}
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	moved, before := time.Now(), uint64(0)
	for {
		s := f.Stats()
		switch {
		case s.FailedSessions > 0:
			return fmt.Errorf("%d sessions failed: %s", s.FailedSessions, s.LastError)
		case s.Sessions >= uint64(len(f.devices)) && s.ActiveSessions == 0 && s.QueuedSessions == 0:
			return nil
		case s.Sessions > before:
			moved, before = time.Now(), s.Sessions
		case time.Since(moved) > patience:
			return fmt.Errorf("no session ended for %v; %d of %d had ended", patience, s.Sessions, len(f.devices))
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
