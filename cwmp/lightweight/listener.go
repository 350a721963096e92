package lightweight

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/flood"
)

// Config is what a Listener needs. Password and Take are required.
type Config struct {
	// Password returns what a device's notifications in the name of a user are
	// signed with; ok is false if the device may not use that name.
	Password func(ctx context.Context, username string, id cwmp.DeviceID) (password string, ok bool, err error)
	// Take is given genuine notifications, those of one source in order. fresh is
	// false for one that is not newer than what is known of the device.
	Take func(ctx context.Context, n Notification) (fresh bool, err error)

	MaxRate int // datagrams of one source in a second, further ones are dropped; 200

	Log        *slog.Logger
	Now        func() time.Time
	Registerer prometheus.Registerer
}

const (
	workers     = 4  // goroutines that read and take notifications
	workerQueue = 64 // datagrams that wait for one; further ones are dropped, as the network drops them

	maxReceiveErrors = 100 // in succession; then the socket is broken
)

// Listener takes in lightweight notifications.
type Listener struct {
	cfg      Config
	received *prometheus.CounterVec
	limiter  *flood.Limiter
	seed     maphash.Seed
	queues   [workers]chan []byte
}

// New returns a Listener. It fails if the configuration cannot work or its
// metrics are registered already.
func New(cfg Config) (*Listener, error) {
	if cfg.Password == nil || cfg.Take == nil {
		return nil, errors.New("lightweight: Config.Password and Take are required")
	}
	if cfg.MaxRate <= 0 {
		cfg.MaxRate = 200
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &Listener{cfg: cfg, limiter: flood.NewLimiter(cfg.MaxRate), seed: maphash.MakeSeed(), received: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "uspbridge_lightweight_notifications_total", Help: "Datagrams with lightweight notifications, by what became of them."}, []string{"outcome"})}
	for i := range l.queues {
		l.queues[i] = make(chan []byte, workerQueue)
	}
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(l.received); err != nil {
			return nil, fmt.Errorf("lightweight: register metrics: %w", err)
		}
	}
	return l, nil
}

// Serve takes notifications from conn until ctx ends, and closes it.
func (l *Listener) Serve(ctx context.Context, conn *net.UDPConn) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	work, cancel := context.WithCancel(ctx)
	var working sync.WaitGroup
	for _, queue := range l.queues {
		working.Go(func() {
			for {
				select {
				case b := <-queue:
					l.received.WithLabelValues(l.take(work, b)).Inc()
				case <-work.Done():
					return
				}
			}
		})
	}
	err := l.read(conn)
	if ctx.Err() != nil {
		err = nil
	} else {
		err = errors.Join(err, conn.Close())
	}
	cancel()
	working.Wait()
	return err
}

// read spreads datagrams over the workers, those of one source to the same.
func (l *Listener) read(conn *net.UDPConn) error {
	in := make([]byte, MaxDatagram)
	for failures := 0; ; {
		n, from, err := conn.ReadFromUDPAddrPort(in)
		if err != nil {
			if failures++; errors.Is(err, net.ErrClosed) || failures > maxReceiveErrors {
				return err
			}
			l.cfg.Log.Debug("lightweight notifications: receive", "error", err)
			continue
		}
		failures = 0
		if !l.limiter.Allows(from.Addr(), l.cfg.Now()) {
			l.received.WithLabelValues("limited").Inc()
			continue
		}
		select {
		case l.queue(from) <- append([]byte(nil), in[:n]...):
		default:
			l.received.WithLabelValues("overload").Inc()
		}
	}
}

func (l *Listener) queue(from netip.AddrPort) chan<- []byte {
	return l.queues[maphash.Comparable(l.seed, from)%workers]
}

// take judges one datagram and hands it on; it returns what became of it.
func (l *Listener) take(ctx context.Context, datagram []byte) (outcome string) {
	r, err := Parse(datagram)
	if err != nil {
		l.cfg.Log.Debug("lightweight notification", "error", err)
		return "malformed"
	}
	password, known, err := l.cfg.Password(ctx, r.Username, r.Device)
	switch {
	case err != nil:
		l.cfg.Log.Error("lightweight notification: look up user", "device", r.Device.Key(), "error", err)
		return "failed"
	case !known || !r.Signed(password):
		l.cfg.Log.Info("lightweight notification refused: user name or signature is wrong", "device", r.Device.Key(), "user", r.Username)
		return "refused"
	}
	fresh, err := l.cfg.Take(ctx, r.Notification)
	switch {
	case err != nil:
		l.cfg.Log.Warn("lightweight notification not taken; the CPE tells the values again when it informs", "device", r.Device.Key(), "error", err)
		return "failed"
	case !fresh:
		return "old"
	}
	return "taken"
}
