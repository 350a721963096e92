package cpesim

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

// Defaults of FleetConfig.
const (
	defaultListen         = "127.0.0.1:0"
	defaultMaxSessions    = 256
	defaultSessionTimeout = 30 * time.Second
	defaultBootTime       = 2 * time.Second
	defaultJournalSize    = 256
	maxReplyBytes         = 32 << 20
)

// ErrClosed is the end of whatever waits on a Fleet that was closed.
var ErrClosed = errors.New("the simulated fleet is closed")

// ErrOffline says that a CPE is switched off.
var ErrOffline = errors.New("the simulated CPE is offline")

// FleetConfig is what all CPE of a Fleet share. The zero value works.
type FleetConfig struct {
	Listen         string        // connection requests for the whole fleet; default 127.0.0.1, any port
	StateDir       string        // one file a CPE, so that a restarted fleet is the same; "" keeps all in memory
	MaxSessions    int           // sessions open at once, default 256; others wait their turn
	SessionTimeout time.Duration // for each HTTP exchange, default 30 s
	Announce       string        // host:port in ConnectionRequestURL, as of a CPE that does not know that it is behind NAT; default: the listener's
	BootTime       time.Duration // from a reboot to the first Inform after it, default 2 s
	TLS            *tls.Config   // for https ACS URLs; nil is the system's
	Clock          Clock         // default: the machine's
	// Transfer fetches or stores the file of a Download or Upload. Nil only
	// pretends: every transfer of a known URL scheme succeeds.
	Transfer func(ctx context.Context, t TransferRequest) *cwmp.Fault
	Log      *slog.Logger // default: discard
}

// Config describes one CPE.
type Config struct {
	ACSURL             string           // http or https
	Username, Password string           // towards the ACS: Basic or Digest as it asks
	Certificate        *tls.Certificate // shown to an https ACS that asks for one; nil: what FleetConfig.TLS has
	Model              *Model           // required
	Identity           cwmp.DeviceID    // empty fields are taken from the model
	PeriodicInform     time.Duration    // factory value of PeriodicInformInterval; 0: the model's
	Version            cwmp.Version     // namespace of its envelopes; the zero value is 1.2, see Profile.OnlyCWMP1_0
	StateFile          string           // overrides FleetConfig.StateDir
	StartDelay         time.Duration    // from Start (or Add) to the first session
	JournalSize        int              // entries kept; 0 is 256, negative none
	Profile            *Profile         // nil conforms to the standard; shared, not copied
	// Replay plays a captured CPE back. It gives Model, Identity, Version and Profile
	// where they are not set.
	Replay *Recording
}

// Fleet runs simulated CPE. Its methods may be called at any time from any
// goroutine.
type Fleet struct {
	config   FleetConfig
	listener net.Listener
	server   *http.Server
	timers   *scheduler
	gate     gate
	buffers  sync.Pool
	nonceKey [32]byte
	stats    counters

	closed  atomic.Bool
	mu      sync.RWMutex
	cpes    map[string]*CPE // by connection request path
	started bool
	stop    context.CancelFunc // ends timers, and sessions that Close did not wait for
	drain   context.CancelFunc // ends timers
	timing  sync.WaitGroup     // the timers' goroutine
	serving sync.WaitGroup     // the listener's
	clients sync.WaitGroup     // STUN and XMPP clients
}

// NewFleet opens the connection request listener and returns a fleet without
// CPE. Nothing is sent before Start.
func NewFleet(config FleetConfig) (*Fleet, error) {
	if config.Listen == "" {
		config.Listen = defaultListen
	}
	if config.MaxSessions <= 0 {
		config.MaxSessions = defaultMaxSessions
	}
	if config.SessionTimeout <= 0 {
		config.SessionTimeout = defaultSessionTimeout
	}
	if config.BootTime <= 0 {
		config.BootTime = defaultBootTime
	}
	if config.Clock == nil {
		config.Clock = systemClock{}
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	listener, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return nil, fmt.Errorf("simulated fleet: connection request listener: %w", err)
	}
	f := &Fleet{config: config, listener: listener, timers: newScheduler(config.Clock), cpes: map[string]*CPE{}}
	f.buffers.New = func() any { return new([]byte) }
	f.gate.limit = config.MaxSessions
	if _, err := rand.Read(f.nonceKey[:]); err != nil {
		return nil, errors.Join(fmt.Errorf("simulated fleet: nonce key: %w", err), listener.Close())
	}
	f.server = &http.Server{Handler: http.HandlerFunc(f.serveConnectionRequest), ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(config.Log.Handler(), slog.LevelDebug)}
	return f, nil
}

// Add creates a CPE, reading its state if it has been here before. It boots at
// Start, or at once if the fleet runs.
func (f *Fleet) Add(config Config) (*CPE, error) {
	if config.Model == nil && config.Replay == nil {
		return nil, errors.New("simulated CPE: a Model is needed, e.g. cpesim.TR181()")
	}
	if u, err := url.Parse(config.ACSURL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("simulated CPE: ACS URL %q: want http://host[:port]/path or https://…", config.ACSURL)
	}
	c := newCPE(f, config)
	if c.replay == nil && (c.identity.OUI == "" || c.identity.SerialNumber == "") {
		return nil, fmt.Errorf("simulated CPE: its OUI is %q, its serial number %q: both are needed. The parameter tree that it is made of has no "+
			"DeviceInfo.ManufacturerOUI or SerialNumber; `uspbridge simulate` takes --oui and --serial-prefix", c.identity.OUI, c.identity.SerialNumber)
	}
	if c.stateFile == "" && f.config.StateDir != "" {
		c.stateFile = filepath.Join(f.config.StateDir, string(c.identity.Key())+".json")
	}
	if err := c.loadState(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed.Load() {
		return nil, ErrClosed
	}
	c.path = cmp.Or(c.identity.SerialNumber, string(c.identity.Key()))
	if _, taken := f.cpes[c.path]; taken { // vendors do reuse serial numbers across products
		c.path = string(c.identity.Key())
	}
	if _, taken := f.cpes[c.path]; taken {
		return nil, fmt.Errorf("simulated CPE: there is one with identity %s already", c.identity.Key())
	}
	f.cpes[c.path] = c
	if f.started {
		c.powerOn(f.config.Clock.Now().Add(config.StartDelay))
	}
	return c, nil
}

// Len returns how many CPE the fleet has.
func (f *Fleet) Len() int {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return len(f.cpes)
}

// Start boots all CPE and begins to take connection requests. The fleet runs
// until Close or until ctx ends.
func (f *Fleet) Start(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed.Load() || f.started {
		return errors.New("simulated fleet: Start was called before")
	}
	f.started = true
	sessions, stop := context.WithCancel(ctx)
	timers, drain := context.WithCancel(sessions)
	f.stop, f.drain = stop, drain
	now := f.config.Clock.Now()
	for _, c := range f.cpes {
		c.powerOn(now.Add(c.factory.StartDelay))
	}
	f.timing.Go(func() { f.timers.run(timers, func(c *CPE) { f.launch(sessions, timers, c) }) })
	f.serving.Go(func() {
		if err := f.server.Serve(f.listener); !errors.Is(err, http.ErrServerClosed) {
			f.config.Log.Error("connection requests of the simulated fleet stopped", "error", err)
		}
	})
	return nil
}

// Close lets open sessions end, at the latest when ctx does, and saves states.
func (f *Fleet) Close(ctx context.Context) error {
	if f.closed.Swap(true) {
		return nil
	}
	f.mu.RLock()
	started := f.started
	f.mu.RUnlock()
	if !started {
		return f.listener.Close()
	}
	f.drain()
	f.timing.Wait()
	f.gate.clear()
	ended := make(chan struct{})
	go func() { f.gate.wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	f.stop()
	<-ended
	f.clients.Wait()
	err := f.server.Shutdown(ctx)
	if err != nil {
		err = f.server.Close()
	}
	f.serving.Wait()
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, c := range f.cpes {
		err = errors.Join(err, c.shutDown())
	}
	return err
}

// launch gives a CPE that is due its goroutine, or a place in the queue for one.
func (f *Fleet) launch(sessions, timers context.Context, c *CPE) {
	f.gate.enter(c, func(c *CPE) {
		for c != nil && timers.Err() == nil {
			c.work(sessions)
			c = f.gate.next()
		}
		if c != nil {
			f.gate.leave()
		}
	})
}

// gate bounds how many CPE are at work at once; the others wait in order.
type gate struct {
	limit int

	mu      sync.Mutex
	active  int
	queue   []*CPE
	working sync.WaitGroup
}

func (g *gate) enter(c *CPE, work func(*CPE)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.active >= g.limit {
		g.queue = append(g.queue, c)
		return
	}
	g.active++
	g.working.Go(func() { work(c) })
}

// next returns the CPE to go on with, or nil, and then the caller has left.
func (g *gate) next() *CPE {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) == 0 {
		g.active--
		g.queue = nil
		return nil
	}
	c := g.queue[0]
	g.queue[0] = nil
	g.queue = g.queue[1:]
	return c
}

func (g *gate) leave() {
	g.mu.Lock()
	g.active--
	g.mu.Unlock()
}

func (g *gate) clear() {
	g.mu.Lock()
	g.queue = nil
	g.mu.Unlock()
}

// load returns how many CPE are at work and how many wait.
func (g *gate) load() (active, queued int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.active, len(g.queue)
}

func (g *gate) wait() { g.working.Wait() }
