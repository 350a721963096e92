package translate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/connreq"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
)

// Config is what a Bridge needs. Fields without a default are required.
type Config struct {
	Store    store.Store
	Sealer   store.Sealer // of the secrets in device records
	Mappings *mapping.Set
	Endpoint EndpointTemplate // zero: DefaultEndpointTemplate

	// InformInterval is set on CPE at first contact; 0 leaves the CPE's own.
	InformInterval time.Duration
	// Deadline ends a live operation on a CPE (default 30 s).
	Deadline time.Duration
	// ConnectionRequest is how CPE are woken.
	ConnectionRequest ConnectionRequest

	// Polling is how CPE are asked for what they do not notify.
	Polling Polling
	// Discoveries is how many parameter trees are read at once (default 32).
	Discoveries int
	// Files configures file transfers.
	Files FileConfig

	// IdleTime is how long an unused device stays in memory (default 1 min).
	IdleTime time.Duration
	// Devices is how many are in memory at most before those are dropped that
	// have been idle for a shorter time, of some 40 kB each (default 20000).
	Devices int

	Log        *slog.Logger
	Now        func() time.Time // default time.Now
	Registerer prometheus.Registerer
}

// ConnectionRequest configures the connection requests to CPE.
type ConnectionRequest struct {
	Client   *connreq.Client
	Timeout  time.Duration // of each way that is tried; default 10 s
	Username string        // "": generated for each CPE and set on it
	Password string
	// LeaveCredentials writes no credentials to CPE: they keep those that they
	// were given by other means. Without a Username none are used then.
	LeaveCredentials bool
	Settings         WakeSettings // what CPE are told of the other ways
}

// ACS is the part of acs.Server that a Bridge uses: the queue of a CPE.
type ACS interface {
	Do(ctx context.Context, key cwmp.DeviceKey, job acs.Job) error
}

// Agents is the part of agent.Host that a Bridge tells of its devices.
type Agents interface {
	Deliver(ctx context.Context, id usp.EndpointID, events []agent.Event) error
	DeliverWith(ctx context.Context, id usp.EndpointID, events []agent.Event, batch *store.Batch, keep func(*store.Batch) (durable func(context.Context) error)) error
	Hosted(ctx context.Context, id usp.EndpointID) error
	Forget(ctx context.Context, id usp.EndpointID) error
}

// Bridge joins a fleet of CPE with the agents that stand for them. It
// implements acs.Fleet and agent.Devices.
type Bridge struct {
	cfg       Config
	log       *slog.Logger
	now       func() time.Time
	store     store.Store
	templates *templates
	devices   *devices
	throttle  *throttle
	pace      pace // of polls
	metrics   *metrics

	acs    ACS
	agents Agents
	udp    UDP  // nil: no STUN server here
	xmpp   XMPP // nil: no XMPP here
	secret []byte
	files  Files // nil: there is no file server

	calls   chan struct{} // has one for each CPE that is called for its operations
	wakeDue chan struct{} // something may be due sooner than was known
	life    context.Context
	stop    context.CancelFunc // ends life
	work    sync.WaitGroup     // what runs in the background
	working sync.Mutex         // held to begin such work, and to end life
}

var (
	_ acs.Fleet     = (*Bridge)(nil)
	_ agent.Devices = (*Bridge)(nil)
)

// New returns a Bridge over an open store. Attach must be called before it is used.
func New(ctx context.Context, cfg Config) (*Bridge, error) {
	if cfg.Store == nil || cfg.Sealer == nil || cfg.Mappings == nil || cfg.ConnectionRequest.Client == nil {
		return nil, errors.New("translate: Store, Sealer, Mappings and ConnectionRequest.Client are required")
	}
	if cfg.Endpoint == (EndpointTemplate{}) {
		cfg.Endpoint = EndpointTemplate{DefaultEndpointTemplate}
	}
	if cfg.Deadline <= 0 {
		cfg.Deadline = 30 * time.Second
	}
	if cfg.ConnectionRequest.Timeout <= 0 {
		cfg.ConnectionRequest.Timeout = 10 * time.Second
	}
	if cfg.Discoveries <= 0 {
		cfg.Discoveries = 32
	}
	if cfg.Polling.Rate <= 0 {
		cfg.Polling.Rate = 10
	}
	if cfg.Files.Life <= 0 {
		cfg.Files.Life = time.Hour
	}
	if cfg.IdleTime <= 0 {
		cfg.IdleTime = time.Minute
	}
	if cfg.Devices <= 0 {
		cfg.Devices = 20_000
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	t, err := newTemplates(ctx, cfg.Store, cfg.Mappings)
	if err != nil {
		return nil, fmt.Errorf("translate: %w", err)
	}
	b := &Bridge{
		cfg: cfg, log: cfg.Log, now: cfg.Now, store: cfg.Store, templates: t,
		devices:  newDevices(cfg.Store, cfg.Sealer, t, cfg.Log, cfg.Now),
		throttle: newThrottle(cfg.Discoveries, cfg.Log),
		pace:     pace{every: time.Second / time.Duration(cfg.Polling.Rate)},
		wakeDue:  make(chan struct{}, 1),
		calls:    make(chan struct{}, maxCalls),
	}
	b.life, b.stop = context.WithCancel(context.Background())
	b.metrics = newMetrics(cfg.Registerer, b.devices, b.throttle)
	if b.secret, err = loadSecret(ctx, cfg.Store, cfg.Sealer); err != nil {
		return nil, fmt.Errorf("translate: %w", err)
	}
	return b, nil
}

// Attach connects the Bridge with what stands on its two sides.
func (b *Bridge) Attach(a ACS, agents Agents) { b.acs, b.agents = a, agents }

// AttachFiles connects the Bridge with its file server. Without one a transfer
// needs a whole URL.
func (b *Bridge) AttachFiles(f Files) { b.files = f }

// Run drops idle devices from memory, wakes those whose turn to be discovered
// has come, and does what is due, until ctx ends; then it waits for what it
// still does in the background.
func (b *Bridge) Run(ctx context.Context) {
	defer b.Close()
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { b.throttle.run(ctx, b.wakeToDiscover) })
	running.Go(func() { b.runDue(ctx) })
	tick := time.NewTicker(evictEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			b.devices.makeRoom(b.cfg.Devices, b.cfg.IdleTime)
		}
	}
}

// Close ends what is done in the background. What was not done is done after
// the next start. Run closes when it ends.
func (b *Bridge) Close() {
	b.working.Lock()
	b.stop()
	b.working.Unlock()
	b.work.Wait()
}

// keep writes a batch of a device's changes. It is called with dev.mu held, so
// that the store gets changes in the order they were made; the device stays in
// memory until they are durable, so that what is loaded later is never older
// than what was seen. The returned function waits for that, as often as it is called.
func (b *Bridge) keep(dev *device, batch *store.Batch) (durable func(ctx context.Context) error) {
	if dev.gone {
		return func(context.Context) error { return errUnknownDevice }
	}
	if batch.Len() == 0 {
		return func(context.Context) error { return nil }
	}
	dev.pins.Add(1)
	done := make(chan struct{})
	var failed error
	due := schedules(batch)
	b.store.Enqueue(batch, func(err error) {
		if due {
			b.lookAtDue()
		}
		if err != nil {
			dev.unsaved.Store(true)
			b.metrics.storeFailures.Inc()
			b.log.Error("a device's state could not be stored; it is kept in memory and stored with its next change", "device", dev.key, "error", err)
		}
		failed = err
		close(done)
		b.devices.release(dev)
	})
	return func(ctx context.Context) error {
		select {
		case <-done:
			return failed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run queues a job on a CPE and waits for its end, at most for the deadline of
// live operations.
func (b *Bridge) run(ctx context.Context, dev *device, job acs.Job) error {
	if until := b.quietUntil(dev); b.now().Before(until) {
		return fmt.Errorf("%w, until %s", errQuiet, until.UTC().Format(time.RFC3339))
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Deadline)
	defer cancel()
	return b.acs.Do(ctx, dev.key, func(ctx context.Context, s *acs.Session) error {
		return job(ctx, s.Through(b.caller(dev, s)))
	})
}

// errQuiet is why nothing is asked of a CPE now.
var errQuiet = errors.New("the CPE has just booted, and its profile has it left alone for a time (quiet_after_boot)")

// quietUntil returns when a CPE that has booted may be spoken to.
func (b *Bridge) quietUntil(dev *device) time.Time {
	rec := dev.state.Load().rec
	if b.now().Sub(rec.LastBoot) > mapping.MaxQuiet { // whatever its profile is
		return time.Time{}
	}
	return rec.LastBoot.Add(b.profile(rec).QuietAfterBoot)
}
