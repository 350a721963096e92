package translate

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/connreq"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/cwmp/fileserver"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/store/bolt"
	"github.com/uspbridge/uspbridge/store/seal"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// heard keeps what the agents are told.
type heard struct {
	mu     sync.Mutex
	events []agent.Event
	fail   error
	failed int // deliveries
	hosted int
}

func (h *heard) Deliver(_ context.Context, _ usp.EndpointID, events []agent.Event) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		h.failed++
		return h.fail
	}
	h.events = append(h.events, events...)
	return nil
}

func (h *heard) DeliverWith(ctx context.Context, id usp.EndpointID, events []agent.Event, b *store.Batch, keep func(*store.Batch) func(context.Context) error) error {
	if err := h.Deliver(ctx, id, events); err != nil {
		return err
	}
	keep(b)
	return nil
}

func (h *heard) Hosted(context.Context, usp.EndpointID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hosted++
	return nil
}

func (h *heard) Forget(context.Context, usp.EndpointID) error { return nil }

// failWith has all deliveries fail; with nil, none.
func (h *heard) failWith(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail = err
}

// all returns the events of a kind; for Occurred, those of a name.
func (h *heard) all(kind agent.EventKind, name string) (found []agent.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, ev := range h.events {
		if ev.Kind == kind && (name == "" || ev.Ref.Node != nil && ev.Ref.Node.Name == name) {
			found = append(found, ev)
		}
	}
	return found
}

// clock is the machine's, moved on by what a test has let pass.
type clock struct {
	mu     sync.Mutex
	passed time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.passed)
}

// bench is a Bridge between a simulated CPE and an agent that only listens. The
// CPE talks to it through the ACS and the file server.
type bench struct {
	t     *testing.T
	dir   string
	clock clock
	heard *heard
	front *httptest.Server
	fleet *cpesim.Fleet
	cpe   *cpesim.CPE
	how   *cpesim.Profile

	sealer store.Sealer

	door   sync.RWMutex // held by what goes through to the bridge
	store  store.Store
	disk   *disk // the bridge's way to it
	bridge *Bridge
	acs    *acs.Server
	files  *fileserver.Server
	end    func()

	requests uint32
}

var loadMappings = sync.OnceValues(func() (*mapping.Set, error) { return mapping.Load() })

func newBench(t *testing.T, profile *cpesim.Profile) *bench {
	t.Helper()
	if profile == nil {
		profile = &cpesim.Profile{}
	}
	return newBenchOf(t, cpesim.Config{Model: cpesim.TR181(), Profile: profile})
}

func newBenchOf(t *testing.T, config cpesim.Config) *bench {
	t.Helper()
	r := &bench{t: t, dir: t.TempDir(), heard: &heard{}, how: config.Profile, sealer: seal.Random()}
	r.front = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	r.front.Config.ConnContext = acs.ConnContext
	r.front.Start()
	r.start()
	r.fleet = startFleet(t, cpesim.FleetConfig{BootTime: 10 * time.Millisecond, Transfer: cpesim.HTTPTransfer(nil)})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.fleet.Close(ctx); err != nil {
			t.Errorf("fleet: %v", err)
		}
		r.end()
		r.front.Close()
	})
	config.ACSURL, config.PeriodicInform = r.front.URL, 1000*time.Hour
	var err error
	if r.cpe, err = r.fleet.Add(config); err != nil {
		t.Fatal(err)
	}
	r.until("the CPE is discovered", func() bool {
		dev, err := r.bridge.devices.acquire(t.Context(), r.cpe.Identity().Key())
		if err != nil {
			return false
		}
		defer r.bridge.devices.release(dev)
		return !dev.state.Load().rec.LastSession.IsZero()
	})
	return r
}

// behave changes how the CPE behaves, once it is in no session.
func (r *bench) behave(p cpesim.Profile) {
	r.t.Helper()
	r.until("the CPE is idle", func() bool { return r.acs.Sessions() == 0 && r.fleet.Stats().ActiveSessions == 0 })
	r.cpe.Get(version) // orders this behind what it has done
	*r.how = p
}

// serve is the listener of the CPE. While the bridge is down it closes
// connections, as a dead process does.
func (r *bench) serve(w http.ResponseWriter, req *http.Request) {
	r.door.RLock()
	a, files := r.acs, r.files
	r.door.RUnlock()
	switch {
	case a == nil:
		panic(http.ErrAbortHandler)
	case strings.HasPrefix(req.URL.Path, fileserver.Prefix):
		files.ServeHTTP(w, req)
	default:
		a.ServeHTTP(w, req)
	}
}

// start starts a bridge over what the last one has left in the store.
func (r *bench) start() {
	r.t.Helper()
	set, err := loadMappings()
	if err != nil {
		r.t.Fatal(err)
	}
	st, err := bolt.Open(bolt.Config{Path: filepath.Join(r.dir, "store"), NoSync: true})
	if err != nil {
		r.t.Fatal(err)
	}
	r.disk = &disk{Store: st}
	b, err := New(r.t.Context(), Config{Store: r.disk, Sealer: r.sealer, Mappings: set, Deadline: 3 * time.Second, Now: r.clock.now,
		ConnectionRequest: ConnectionRequest{Client: connreq.New(connreq.Config{}), Timeout: time.Second}})
	if err != nil {
		r.t.Fatal(err)
	}
	a, err := acs.New(acs.Config{Fleet: b, SessionTimeout: patience, RPCTimeout: patience, WakeInterval: 50 * time.Millisecond})
	if err != nil {
		r.t.Fatal(err)
	}
	files, err := fileserver.New(fileserver.Config{Dir: filepath.Join(r.dir, "files"), Grants: b, Now: r.clock.now})
	if err != nil {
		r.t.Fatal(err)
	}
	b.Attach(a, r.heard)
	b.AttachFiles(files)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); b.Run(ctx) }()
	r.door.Lock()
	r.store, r.bridge, r.acs, r.files = st, b, a, files
	r.door.Unlock()
	r.end = func() {
		r.door.Lock()
		r.acs = nil
		r.door.Unlock()
		gone, giveUp := context.WithCancel(context.Background())
		giveUp()
		_ = a.Close(gone) // sessions are broken off
		cancel()
		<-ended
		if err := errors.Join(files.Close(), st.Close()); err != nil {
			r.t.Error(err)
		}
	}
}

// restart ends the bridge in the middle of things, and starts another.
func (r *bench) restart() {
	r.t.Helper()
	r.end()
	r.start()
}

func (r *bench) until(what string, met func() bool) {
	r.t.Helper()
	over := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-over:
			r.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// pass lets time pass, and what is due then be done.
func (r *bench) pass(d time.Duration) {
	r.t.Helper()
	r.clock.mu.Lock()
	r.clock.passed += d
	r.clock.mu.Unlock()
	if _, err := r.bridge.dueNow(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// inform has the CPE open a session; an error is one that the profile wants.
func (r *bench) inform() { _ = r.cpe.Inform() }

func (r *bench) record() *Record {
	r.t.Helper()
	dev, err := r.bridge.devices.acquire(r.t.Context(), r.cpe.Identity().Key())
	if err != nil {
		r.t.Fatal(err)
	}
	defer r.bridge.devices.release(dev)
	return dev.state.Load().rec
}

// operate runs a command of the device as its agent does.
func (r *bench) operate(command string, args map[string]string) (request uint32, out map[string]string, err error) {
	r.t.Helper()
	m := r.model()
	ref, ok := lookup(m.Schema(), command)
	if !ok {
		r.t.Fatalf("the device has no %s", command)
	}
	r.requests++
	out, err = m.Operate(r.t.Context(), agent.Call{Command: ref, Args: args, Key: "usp-key", Controller: "proto::c", Request: r.requests})
	return r.requests, out, err
}

// insist runs a command while the CPE comes again and again, without its
// back-off after a broken session.
func (r *bench) insist(command string, args map[string]string) error {
	r.t.Helper()
	done := make(chan error, 1)
	go func() {
		_, _, err := r.operate(command, args)
		done <- err
	}()
	for {
		select {
		case err := <-done:
			return err
		default:
			r.inform()
		}
	}
}

func (r *bench) model() agent.Model {
	r.t.Helper()
	m, _, err := r.bridge.Model(r.t.Context(), r.record().Endpoint)
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// detached runs a command that the bridge takes over.
func (r *bench) detached(command string, args map[string]string) (request uint32) {
	r.t.Helper()
	request, _, err := r.operate(command, args)
	if !errors.Is(err, agent.ErrDetached) {
		r.t.Fatalf("%s: %v", command, err)
	}
	return request
}

// ended waits for the end of an operation, and that it is told once.
func (r *bench) ended(request uint32) agent.Event {
	r.t.Helper()
	r.until("the operation ends", func() bool { return r.record().operation(request) == nil })
	var told []agent.Event
	for _, ev := range r.heard.all(agent.OperationEnded, "") {
		if ev.Request == request {
			told = append(told, ev)
		}
	}
	if len(told) != 1 {
		r.t.Fatalf("the end was told %d times: %+v", len(told), told)
	}
	return told[0]
}

// file puts a file where CPE can download it.
func (r *bench) file(name, content string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, "files", name), []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// calls returns how often the CPE has carried an RPC out.
func (r *bench) calls(rpc string) int { return r.cpe.Called(rpc) }

// disk is a store that can be full.
type disk struct {
	store.Store
	full atomic.Bool
}

var errFull = errors.New("no space left")

func (d *disk) Enqueue(b *store.Batch, done func(error)) {
	if d.full.Load() {
		go done(errFull)
		return
	}
	d.Store.Enqueue(b, done)
}
