package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
)

// controller is the one that asks. The bridge's configuration has it.
const controller = usp.EndpointID("proto::controller-1")

// minDevices is what the parts of the fleet need at least.
const minDevices = 200

// options are the flags.
type options struct {
	devices    int
	held       int
	websockets int
	burst      int
	agents     int
	stomp      string // host:port of a STOMP server, "" for none
	only       string
	limits     string
	profile    string // directory for CPU profiles, "" for none
	dir        string // for data, "" for a temporary one
}

func main() {
	var o options
	flag.IntVar(&o.devices, "devices", 1000, "number of simulated CPE")
	flag.IntVar(&o.held, "held", 1000, "number of CPE in session at the same time")
	flag.IntVar(&o.burst, "burst", 500, "number of CPE that boot within 10 s")
	flag.IntVar(&o.websockets, "websockets", 1000, "number of WebSocket connections open at the same time")
	flag.IntVar(&o.agents, "agents", 500, "number of agents that come back after a restart of their broker")
	flag.StringVar(&o.stomp, "stomp", "", "host:port of a STOMP server with the login guest, guest, for its row (default: no row)")
	flag.StringVar(&o.only, "only", "", "parts to run, of fleet, secured, held, burst, upgrade, websockets, restart, native, with commas (default: all)")
	flag.StringVar(&o.limits, "limits", "", "what the bridge has under cwmp.limits while CPE boot, as in \"sessions: 500, retry_after: 5s\"")
	flag.StringVar(&o.profile, "profile", "", "directory to write CPU profiles of the bridge to, one a row")
	flag.StringVar(&o.dir, "dir", "", "directory for the bridge's data (default: a temporary one)")
	flag.Parse()
	if flag.NArg() > 0 || o.devices < minDevices {
		fmt.Fprintf(os.Stderr, "bench: -devices must be %d or more, and there are no arguments\n", minDevices)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures all rows. What was measured before an error is printed too.
func run(ctx context.Context, o options) (err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "uspbridge-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	if o.profile != "" {
		if err := os.MkdirAll(o.profile, 0o755); err != nil {
			return err
		}
	}
	began := time.Now()
	yardstick("before")
	m := &measurement{options: o}
	defer func() {
		if m.fleet != nil {
			err = errors.Join(err, m.fleet.close())
		}
		if m.bridge != nil {
			err = errors.Join(err, m.bridge.stop())
		}
		yardstick("after")
		m.table.print(os.Stdout)
		fmt.Printf("\n%d devices, %v\n", o.devices, time.Since(began).Round(time.Second))
	}()
	return m.all(ctx)
}

// measurement is what the rows are measured on.
type measurement struct {
	options
	bridge *bridge
	fleet  *fleet
	ctl    *client.Client
	table  table

	emptyHeap float64       // of a bridge without devices, in bytes
	cachedGet time.Duration // CPU of a Get of one cached parameter

	direct map[string]asked // of a native agent without the relay, by transport
}

// all runs the parts.
func (m *measurement) all(ctx context.Context) error {
	if err := build(ctx, m.binary(), m.profile != ""); err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		do   func(context.Context) error
	}{{"fleet", m.oneFleet}, {"secured", m.secured}, {"held", m.holdSessions}, {"burst", m.massReboot}, {"upgrade", m.upgrade},
		{"websockets", m.openWebSockets}, {"restart", m.brokerRestart}, {"native", m.native}} {
		if m.only != "" && !slices.Contains(strings.Split(m.only, ","), part.name) {
			continue
		}
		if err := part.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// note tells on a terminal what is going on.
func (m *measurement) note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

func (m *measurement) binary() string { return filepath.Join(m.dir, "uspbridge") }

// onBridge has work done with a bridge of its own. settings are more of the
// configuration's section cwmp.
func (m *measurement) onBridge(ctx context.Context, name, settings string, work func(*bridge) error) error {
	return m.onBridgeWith(ctx, name, func(b *bridge) { b.settings = settings }, work)
}

// onBridgeWith is onBridge with more to be said of the bridge before it starts.
func (m *measurement) onBridgeWith(ctx context.Context, name string, with func(*bridge), work func(*bridge) error) error {
	fmt.Fprintf(os.Stderr, "bench: %s\n", name)
	dir := filepath.Join(m.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	b, err := newBridge(m.binary(), dir, m.profile)
	if err != nil {
		return err
	}
	with(b)
	if err := b.start(ctx, "0s"); err != nil {
		return err
	}
	err = errors.Join(work(b), b.stop())
	if err != nil {
		return fmt.Errorf("%s: %w; the end of the bridge's log:\n%s", name, err, b.logTail())
	}
	return nil
}

// oneFleet measures what is done with one fleet, before and after a restart.
func (m *measurement) oneFleet(ctx context.Context) (err error) {
	if m.bridge, err = newBridge(m.binary(), m.dir, m.profile); err != nil {
		return err
	}
	if err := m.start(ctx, "0s"); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"an empty bridge", m.emptyBridge}, {"first contacts", m.firstContacts}, {"disk", m.disk}, {"sessions", m.sessions},
		{"cached Gets", m.cachedGets}, {"memory", m.memory}, {"supported data model", m.supported}, {"restart", m.restart}, {"idle memory", m.idle},
		{"first Gets", m.coldGets}, {"sessions with a read", m.sessionsWithRead}, {"notifications", m.notifications},
		{"live Gets", m.liveGets}, {"mixed load", m.mixedLoad}, {"many subscriptions", m.manySubscriptions},
	} {
		fmt.Fprintf(os.Stderr, "bench: %s\n", step.name)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	err = errors.Join(m.ctl.Close(), m.fleet.close(), m.bridge.stop())
	m.fleet, m.bridge = nil, nil
	return err
}

// start starts the bridge and connects the controller. Status and counters may
// be as old as maxAge, 0s for any age.
func (m *measurement) start(ctx context.Context, maxAge string) (err error) {
	if err := m.bridge.start(ctx, maxAge); err != nil {
		return err
	}
	m.ctl, err = client.Dial(ctx, client.Config{URL: "ws://" + m.bridge.websocket + "/usp", Controller: controller})
	return err
}

// restart ends the first part and begins the second.
func (m *measurement) restart(ctx context.Context) error {
	if err := errors.Join(m.ctl.Close(), m.bridge.stop()); err != nil {
		return err
	}
	began := time.Now()
	if err := m.start(ctx, "1ms"); err != nil {
		return err
	}
	m.table.add(row{what: "restart until ready, all devices known", clock: time.Since(began)})
	return nil
}
