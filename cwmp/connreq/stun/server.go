package stun

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/flood"
)

// Config is what a Server needs. Password and Learn are required.
type Config struct {
	// Password returns the STUNPassword of the CPE whose STUNUsername is its
	// device key. It is called for each message that has to be authenticated,
	// whoever it may come from: it must be quick and must not look anything up.
	Password func(key cwmp.DeviceKey) string
	// Learn is told of a proven binding that is new or has changed. Calls are
	// bounded in number; what cannot be told now is told with the CPE's next
	// Binding Request.
	Learn func(ctx context.Context, key cwmp.DeviceKey, binding netip.AddrPort)

	Expire      time.Duration // without a Binding Request a binding is stale; 5 min
	MaxBindings int           // kept at once, 40 bytes each; 1,000,000
	MaxRate     int           // datagrams of one source in a second, further ones are dropped; 2000: a carrier's NAT has many CPE behind it

	Log        *slog.Logger
	Now        func() time.Time
	Registerer prometheus.Registerer
}

const (
	learners   = 4    // goroutines that call Learn
	learnQueue = 1024 // bindings that wait for one
	sweepEvery = time.Second

	maxReceiveErrors = 100 // in succession; then the socket is broken
)

// Server is the STUN server.
type Server struct {
	cfg      Config
	bindings *bindings
	limiter  *flood.Limiter
	learn    chan learnt
	metrics  *metrics
	conn     atomic.Pointer[net.UDPConn] // nil while it does not serve
	since    atomic.Int64                // unix seconds; when it began to serve
}

type learnt struct {
	key  cwmp.DeviceKey
	from netip.AddrPort
}

// ErrClosed is returned while the Server does not serve.
var ErrClosed = errors.New("the STUN server is not running")

// New returns a Server. It fails if the configuration cannot work or its metrics
// are registered already.
func New(cfg Config) (*Server, error) {
	if cfg.Password == nil || cfg.Learn == nil {
		return nil, errors.New("stun: Config.Password and Learn are required")
	}
	if cfg.Expire <= 0 {
		cfg.Expire = 5 * time.Minute
	}
	if cfg.MaxBindings <= 0 {
		cfg.MaxBindings = 1_000_000
	}
	if cfg.MaxRate <= 0 {
		cfg.MaxRate = 2000
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{cfg: cfg, bindings: newBindings(cfg.MaxBindings, cfg.Expire), learn: make(chan learnt, learnQueue),
		limiter: flood.NewLimiter(cfg.MaxRate)}
	var err error
	if s.metrics, err = newMetrics(cfg.Registerer, s.bindings); err != nil {
		return nil, fmt.Errorf("stun: register metrics: %w", err)
	}
	return s, nil
}

// Serve answers on conn until ctx ends, and closes it.
func (s *Server) Serve(ctx context.Context, conn *net.UDPConn) error {
	s.since.Store(s.cfg.Now().Unix())
	s.conn.Store(conn)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var background sync.WaitGroup
	work, cancel := context.WithCancel(ctx)
	for range learners {
		background.Go(func() { s.tell(work) })
	}
	background.Go(func() { s.sweep(work) })
	err := s.read(conn)
	s.conn.Store(nil)
	if ctx.Err() != nil {
		err = nil
	} else {
		err = errors.Join(err, conn.Close())
	}
	cancel()
	background.Wait()
	return err
}

// read takes datagrams until the socket is closed. Everything they can do costs
// bounded time, so one goroutine is enough for as many as a socket gets.
func (s *Server) read(conn *net.UDPConn) error {
	in, out := make([]byte, MaxDatagram+1), make([]byte, 0, MaxDatagram)
	var m Message
	for failures := 0; ; {
		n, from, err := conn.ReadFromUDPAddrPort(in)
		if err != nil {
			// It may be an ICMP error for something sent before, or a shortage of memory.
			if failures++; errors.Is(err, net.ErrClosed) || failures > maxReceiveErrors {
				return err
			}
			s.cfg.Log.Debug("STUN: receive", "error", err)
			continue
		}
		failures = 0
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		answer, to, outcome := s.answer(out[:0], in[:n], &m, from)
		s.metrics.requests.WithLabelValues(outcome).Inc()
		if to.IsValid() {
			if _, err := conn.WriteToUDPAddrPort(answer, to); err != nil {
				s.cfg.Log.Debug("STUN: answer", "to", to, "error", err)
			}
		}
	}
}

// answer returns what a datagram is answered with, and where to; no valid
// address for none. m is the memory it is read into.
func (s *Server) answer(out, in []byte, m *Message, from netip.AddrPort) (answer []byte, to netip.AddrPort, outcome string) {
	now := s.cfg.Now()
	if !s.limiter.Allows(from.Addr(), now) {
		return nil, netip.AddrPort{}, "limited"
	}
	if err := m.Parse(in); err != nil || m.Type != BindingRequest {
		return nil, netip.AddrPort{}, "malformed"
	}
	if to = s.destination(m, from); !to.IsValid() {
		return nil, to, "reflection"
	}
	if unknown := unknownAttribute(m); unknown != 0 {
		return m.refusal(codeUnknownAttribute, unknown).Append(out), to, "unknown_attribute"
	}
	key := cwmp.DeviceKey(m.Username())
	if key == "" || !m.BindsConnectionRequests() {
		return m.response(from, to).Append(out), to, "answered"
	}
	if _, signed := m.Get(MessageIntegrity); signed {
		password := s.cfg.Password(key)
		if !Signed(in, password) {
			return m.refusal(codeIntegrity, 0).Append(out), to, "refused"
		}
		s.proven(key, from, now)
		return Sign(m.response(from, to).Append(out), password), to, "proven"
	}
	_, changed := m.Get(BindingChange)
	if known := s.bindings.touch(key, from, now); (changed || !known) && s.bindings.challenge(key, from) {
		return m.refusal(codeUnauthorized, 0).Append(out), to, "challenged"
	}
	return m.response(from, to).Append(out), to, "answered"
}

// destination is where the answer goes: back, or to RESPONSE-ADDRESS, by which a
// CPE finds out from a second port how long the binding of its first lives
// (TR-069 G.2.1.1). That must have the same IP address, or the server could be
// aimed at others.
func (s *Server) destination(m *Message, from netip.AddrPort) netip.AddrPort {
	v, asked := m.Get(ResponseAddress)
	if !asked {
		return from
	}
	to, ok := ParseAddress(v, nil)
	if !ok || to.Addr() != from.Addr() || to.Port() == 0 {
		return netip.AddrPort{}
	}
	return to
}

// proven takes in a binding whose CPE has authenticated.
func (s *Server) proven(key cwmp.DeviceKey, from netip.AddrPort, now time.Time) {
	if s.bindings.touch(key, from, now) {
		return
	}
	select {
	case s.learn <- learnt{key, from}:
		s.bindings.put(key, from, now)
	default: // as if it had not been heard
		s.metrics.requests.WithLabelValues("not_learnt").Inc()
	}
}

func (s *Server) tell(ctx context.Context) {
	for {
		select {
		case l := <-s.learn:
			s.cfg.Learn(ctx, l.key, l.from)
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for shard := 0; ; shard++ {
		select {
		case <-tick.C:
			s.bindings.sweep(shard, s.cfg.Now())
		case <-ctx.Done():
			return
		}
	}
}

// Binding returns the CPE's binding as it was proven and kept open of late.
func (s *Server) Binding(key cwmp.DeviceKey) (netip.AddrPort, bool) {
	return s.bindings.get(key, s.cfg.Now())
}

// Settled reports whether the Server has run long enough that a CPE with a
// binding would have been heard of. Before, the one known from earlier may hold.
func (s *Server) Settled() bool {
	return s.conn.Load() != nil && s.cfg.Now().Unix()-s.since.Load() > int64(s.cfg.Expire.Seconds())
}

// Send sends a datagram to a CPE from the address that its NAT lets in.
func (s *Server) Send(datagram []byte, to netip.AddrPort) error {
	conn := s.conn.Load()
	if conn == nil {
		return ErrClosed
	}
	if _, err := conn.WriteToUDPAddrPort(datagram, to); err != nil {
		return fmt.Errorf("send to %s: %w", to, err)
	}
	return nil
}

// Addr returns the address that it serves on, nil while it does not.
func (s *Server) Addr() net.Addr {
	if conn := s.conn.Load(); conn != nil {
		return conn.LocalAddr()
	}
	return nil
}

// unknownAttribute returns the first attribute that would have to be understood
// and is not. CHANGE-REQUEST is one unless it asks for nothing: there is no
// second address to answer from.
func unknownAttribute(m *Message) uint16 {
	for _, a := range m.Attributes {
		switch {
		case a.Type >= optional, a.Type == Username, a.Type == MessageIntegrity, a.Type == ResponseAddress:
		case a.Type == ChangeRequest && len(a.Value) == 4 && a.Value[3]&6 == 0:
		default:
			return a.Type
		}
	}
	return 0
}

// response returns the Binding Response to m: which address it came from, and if
// the answer goes elsewhere, that as REFLECTED-FROM (RFC 3489 8.1). SOURCE- and
// CHANGED-ADDRESS are left out: there is no second address, and what is small
// amplifies little.
func (m *Message) response(from, to netip.AddrPort) *Message {
	r := &Message{Type: BindingResponse, TransactionID: m.TransactionID,
		Attributes: []Attribute{{MappedAddress, AppendAddress(nil, from, nil)}}}
	if m.Modern() {
		r.Attributes = append(r.Attributes, Attribute{XORMappedAddress, AppendAddress(nil, from, m.TransactionID[:])})
	}
	if to != from {
		r.Attributes = append(r.Attributes, Attribute{ReflectedFrom, AppendAddress(nil, from, nil)})
	}
	return r
}

// refusal returns a Binding Error Response (RFC 3489 11.2.9).
func (m *Message) refusal(code int, unknown uint16) *Message {
	reason := map[int]string{codeUnauthorized: "Unauthorized", codeUnknownAttribute: "Unknown Attribute   ", codeIntegrity: "Integrity Check Failure "}[code]
	r := &Message{Type: BindingError, TransactionID: m.TransactionID,
		Attributes: []Attribute{{ErrorCode, append([]byte{0, 0, byte(code / 100), byte(code % 100)}, reason...)}}}
	if unknown != 0 {
		// RFC 3489 11.2.10: an odd number of types is filled up by repeating one.
		t := []byte{byte(unknown >> 8), byte(unknown)}
		r.Attributes = append(r.Attributes, Attribute{UnknownAttributes, append(t, t...)})
	}
	return r
}
