package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/flood"
)

// The names of the ways in.
const (
	listenerTCP       = "tcp"
	listenerWebSocket = "websocket"
	listenerOwn       = "own" // the program itself, by Dial
)

// envelope is what a PUBLISH has besides its payload, at most: a topic, a response
// topic and some properties.
const envelope = 64 << 10

// Broker is an MQTT broker.
type Broker struct {
	cfg     Config
	agents  mtp.Template
	server  *mochi.Server
	hook    *hook
	metrics *metrics
	rates   *flood.Limiter
	started atomic.Bool
	warned  sync.Map // text → *atomic.Int64, when it was logged last, unix nanoseconds

	ending  chan struct{} // closed when Serve ends
	clients sync.WaitGroup

	mu    sync.Mutex
	open  map[net.Conn]struct{} // connections of others
	own   map[net.Conn]struct{} // ours, made by Dial
	ended bool
}

// New checks cfg and returns a Broker that has no client yet. Dial works at once,
// so that the program may be its client before Serve.
func New(cfg Config) (*Broker, error) {
	agents, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	b := &Broker{cfg: cfg, agents: agents, rates: flood.NewLimiter(cfg.Rates, nil), ending: make(chan struct{}),
		open: map[net.Conn]struct{}{}, own: map[net.Conn]struct{}{}}
	b.server = mochi.New(&mochi.Options{
		Capabilities: b.capabilities(), SysTopicResendInterval: int64(24 * time.Hour / time.Second), // nobody may read them
		// It would log packets with the passwords in them; what there is to say the hook says.
		Logger: slog.New(slog.DiscardHandler),
	})
	b.hook = newHook(b, newLogin(cfg))
	if err := b.server.AddHook(b.hook, nil); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	b.metrics, err = newMetrics(cfg.Registerer, b)
	return b, err
}

func (b *Broker) maxPacket() int { return b.cfg.MaxRecord + envelope }

func (b *Broker) capabilities() *mochi.Capabilities {
	c := mochi.NewDefaultServerCapabilities()
	c.MaximumPacketSize = uint32(b.maxPacket())
	c.MaximumSessionExpiryInterval = uint32(b.cfg.SessionExpiry / time.Second)
	c.MaximumMessageExpiryInterval = int64(b.cfg.SessionExpiry / time.Second)
	c.MaximumClientWritesPending = 1024 // above MaxQueue
	c.MaximumInflight = 1024
	c.ReceiveMaximum = 1024
	c.TopicAliasMaximum = 0 // rights are looked up by topic, before mochi knows what an alias means
	c.RetainAvailable = 0   // a record is for now, and for one
	c.MinimumProtocolVersion = 4
	c.Compatibilities.NoInheritedPropertiesOnAck = true
	return c
}

// Serve takes clients from the listeners, which it closes, until ctx ends; then all
// are told that the broker goes. ws is for MQTT over WebSocket; either may be nil.
func (b *Broker) Serve(ctx context.Context, tcp, ws net.Listener) error {
	if b.started.Swap(true) {
		return errors.New("broker: Serve was called before")
	}
	if err := b.server.Serve(); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var accepting sync.WaitGroup
	for _, l := range []struct {
		net.Listener
		take func(net.Listener) error
	}{{tcp, b.accept}, {ws, b.acceptWebSocket}} {
		if l.Listener == nil {
			continue
		}
		b.cfg.Log.Info("MQTT broker listens", "address", l.Addr().String(), "tls", b.cfg.TLS != nil)
		stop := context.AfterFunc(ctx, func() { _ = l.Close() }) // nothing is lost by it
		defer stop()
		accepting.Go(func() {
			if err := l.take(l.Listener); err != nil {
				cancel(err)
			}
		})
	}
	<-ctx.Done()
	close(b.ending)
	b.end()
	accepting.Wait()
	last := time.AfterFunc(linger, b.closeAll)
	b.clients.Wait()
	last.Stop()
	if err := b.server.Close(); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return nil
}

// end tells all clients that the broker goes.
func (b *Broker) end() {
	b.mu.Lock()
	b.ended = true
	b.mu.Unlock()
	for _, cl := range b.server.Clients.GetAll() {
		if !cl.Closed() {
			_ = b.server.DisconnectClient(cl, packets.ErrServerShuttingDown) // it returns the reason
		}
	}
}

// closeAll closes what has not ended by the word of end.
func (b *Broker) closeAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, set := range []map[net.Conn]struct{}{b.open, b.own} {
		for c := range set {
			_ = c.Close() // by which its goroutine ends
		}
	}
}

// Dial connects the program itself to the broker. No one else can come this way: the
// client needs no password, may use all topics, and speaks for the endpoints that
// the program hosts.
func (b *Broker) Dial(context.Context) (net.Conn, error) {
	near, far, err := pair()
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	b.mu.Lock()
	if b.ended {
		b.mu.Unlock()
		return nil, errors.Join(errors.New("broker: it has ended"), near.Close(), far.Close())
	}
	b.own[far] = struct{}{}
	b.clients.Add(1)
	b.mu.Unlock()
	go func() {
		defer b.clients.Done()
		defer func() {
			_ = far.Close() // closed before by mochi
			b.mu.Lock()
			defer b.mu.Unlock()
			delete(b.own, far)
		}()
		b.serve(newConn(far, ownPending, b.cfg.WriteTimeout), listenerOwn)
	}()
	return near, nil
}

// ownPending bounds what waits for the program itself, in bytes: all that comes for
// its agents.
const ownPending = 64 << 20

// pair returns two ends of a connection inside the program. The kernel buffers what
// is written, so that two sides that write at once do not wait for each other.
func pair() (near, far net.Conn, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socket pair: %w", err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "mqtt")
		if ends[i], err = net.FileConn(f); err != nil {
			err = fmt.Errorf("socket pair: %w", err)
		}
		err = errors.Join(err, f.Close()) // FileConn has a descriptor of its own
		if err != nil {
			for _, rest := range fds[i+1:] {
				err = errors.Join(err, syscall.Close(rest))
			}
			break
		}
	}
	if err != nil && ends[0] != nil {
		err = errors.Join(err, ends[0].Close())
	}
	return ends[0], ends[1], err
}

// Drop cuts off the clients that have logged in with a user name: it is not what it
// was.
func (b *Broker) Drop(username string) {
	for _, cl := range b.hook.clientsOf(username) {
		_ = b.server.DisconnectClient(cl, packets.ErrNotAuthorized) // it returns the reason
	}
}

// warnEvery is how often one kind of what goes wrong with clients is logged as a
// warning: they could fill the log.
const warnEvery = 10 * time.Second

func (b *Broker) warn(text string, args ...any) {
	v, _ := b.warned.LoadOrStore(text, new(atomic.Int64))
	logged := v.(*atomic.Int64)
	now, last := time.Now().UnixNano(), logged.Load()
	if now-last >= int64(warnEvery) && logged.CompareAndSwap(last, now) {
		b.cfg.Log.Warn(text, args...)
	} else {
		b.cfg.Log.Debug(text, args...)
	}
}
