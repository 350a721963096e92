package translate

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/connreq"
	"github.com/uspbridge/uspbridge/cwmp/connreq/udp"
	"github.com/uspbridge/uspbridge/cwmp/connreq/xmpp"
	"github.com/uspbridge/uspbridge/store"
)

// UDP is the part of stun.Server that wakes CPE.
type UDP interface {
	Binding(key cwmp.DeviceKey) (netip.AddrPort, bool)
	Settled() bool
	Send(datagram []byte, to netip.AddrPort) error
}

// XMPP is the part of xmpp.Client that wakes CPE.
type XMPP interface {
	Status() error
	Do(ctx context.Context, r xmpp.Request) error
}

// AttachWays connects the Bridge with the ways of connection requests besides
// HTTP; nil is one that is not configured. Like Attach it is called before the
// Bridge is used.
func (b *Bridge) AttachWays(u UDP, x XMPP) { b.udp, b.xmpp = u, x }

// httpRetries and httpBackoff are for a CPE that is busy or cannot be reached for
// a moment.
const (
	httpRetries = 2
	httpBackoff = time.Second
)

// A UDP Connection Request is sent udpCopies times, udpSpacing apart, since
// datagrams get lost (TR-069 G.2.2.3); who gets several takes them for one.
const (
	udpCopies  = 3
	udpSpacing = 500 * time.Millisecond
)

// Wake asks a CPE for a session, by one way after another until one works, and
// remembers how that went.
func (b *Bridge) Wake(ctx context.Context, key cwmp.DeviceKey) error {
	dev, err := b.devices.acquire(ctx, key)
	if err != nil {
		return err
	}
	defer b.devices.release(dev)
	s := dev.state.Load()
	open, reasons := b.ways(key, s)
	var failures []error
	for _, way := range open {
		a := &asked{way: way, at: b.now()}
		dev.asked.Store(a)
		err := b.ask(ctx, dev, way)
		if ctx.Err() != nil {
			return ctx.Err() // it is coming, see cameBy, or nobody waits any more
		}
		if err != nil {
			dev.asked.Store(nil)
		}
		b.count(a, err)
		if err == nil || errors.Is(err, connreq.ErrBusy) {
			b.woken(dev, way, nil) // a CPE that is busy was reached: it comes, or is here
			return err
		}
		failures = append(failures, err)
	}
	err = notWoken(s, failures, reasons)
	b.woken(dev, s.rec.WokenBy, err)
	err = fmt.Errorf("%w; %s", err, b.served(s))
	// Reads fall back on the cache at once; writes wait for the CPE to come by
	// itself as long as their deadline allows.
	b.throttle.giveUp(key)
	dev.fetch.giveUp(fmt.Errorf("%w: %w", acs.ErrNoContact, err))
	return err
}

// ask makes a connection request one way.
func (b *Bridge) ask(ctx context.Context, dev *device, way WakeWay) error {
	s := dev.state.Load()
	password, err := s.rec.password(b.cfg.Sealer)
	if err != nil {
		return &connreq.Error{Kind: connreq.ErrOurSide, Err: err}
	}
	switch way {
	case WakeHTTP:
		return b.cfg.ConnectionRequest.Client.Do(ctx, connreq.Request{
			URL: s.rec.ConnectionURL, Username: s.rec.Username, Password: password,
			Timeout: b.cfg.ConnectionRequest.Timeout, Retries: httpRetries, Backoff: httpBackoff,
		})
	case WakeUDP:
		return b.askUDP(ctx, dev, s, password)
	}
	jid, why := b.xmppTarget(s)
	if why != "" {
		return &connreq.Error{Kind: connreq.ErrOurSide, Err: errors.New(why)}
	}
	return b.xmpp.Do(ctx, xmpp.Request{JID: jid, Username: s.rec.Username, Password: password, Timeout: b.cfg.ConnectionRequest.Timeout})
}

// askUDP sends a UDP Connection Request and waits for the CPE to come, which is
// the only answer there is: ctx ends then.
func (b *Bridge) askUDP(ctx context.Context, dev *device, s *snapshot, password string) error {
	targets, why := b.udpTargets(dev.key, s)
	if why != "" {
		return &connreq.Error{Kind: connreq.ErrOurSide, Err: errors.New(why)}
	}
	fail := func(kind, err error) error {
		return &connreq.Error{Kind: kind, Host: targets[0].String(), Err: err}
	}
	r, err := b.udpRequest(ctx, dev)
	if err != nil {
		return fail(connreq.ErrOurSide, err)
	}
	until := time.NewTimer(b.cfg.ConnectionRequest.Timeout)
	defer until.Stop()
	again := time.NewTicker(udpSpacing)
	defer again.Stop()
	for sent := 0; ; {
		if sent++; sent <= udpCopies {
			if err := b.send(r, password, targets); err != nil {
				return fail(connreq.ErrOurSide, err)
			}
		}
		select {
		case <-again.C:
		case <-until.C:
			return fail(connreq.ErrSilent, nil)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// send sends one copy to each address; it fails if none could be sent to.
func (b *Bridge) send(r udp.Request, password string, targets []netip.AddrPort) error {
	var failures []error
	for _, to := range targets {
		r.Host = to.String()
		if err := b.udp.Send(r.Append(nil, password), to); err != nil {
			failures = append(failures, err)
		}
	}
	if len(failures) < len(targets) {
		return nil
	}
	return errors.Join(failures...)
}

// udpRequest makes the next UDP Connection Request for a CPE. Its time is later
// than that of any before, also before a restart or by a clock that was ahead:
// that is durable before it is used, or the CPE would take the next for a replay.
func (b *Bridge) udpRequest(ctx context.Context, dev *device) (udp.Request, error) {
	var random [12]byte
	if _, err := rand.Read(random[:]); err != nil {
		return udp.Request{}, err
	}
	dev.mu.Lock()
	rec := dev.state.Load().rec.clone()
	rec.UDPTime = max(b.now().Unix(), rec.UDPTime+1)
	var batch store.Batch
	dev.apply(change{rec: rec}, &batch)
	durable := b.keep(dev, &batch)
	dev.mu.Unlock()
	if err := durable(ctx); err != nil {
		return udp.Request{}, err
	}
	return udp.Request{Time: rec.UDPTime, ID: binary.BigEndian.Uint32(random[:])>>1 | 1, Username: rec.Username,
		CNonce: strings.ToUpper(hex.EncodeToString(random[4:]))}, nil
}

// notWoken says why a CPE could be woken by no way.
func notWoken(s *snapshot, failures []error, reasons []string) error {
	var parts []string
	if nat := s.behindNAT(); nat != "" {
		parts = append(parts, nat)
	}
	for _, err := range failures {
		var failed *connreq.Error
		if errors.As(err, &failed) {
			parts = append(parts, failed.Reason())
		} else {
			parts = append(parts, err.Error())
		}
	}
	return &notWokenError{strings.Join(append(parts, reasons...), "; "), failures}
}

// notWokenError is the failure of all ways.
type notWokenError struct {
	text   string
	causes []error
}

func (e *notWokenError) Error() string   { return e.text }
func (e *notWokenError) Unwrap() []error { return e.causes }

// woken keeps the outcome of a connection request, where it is another than last
// time. A CPE that refuses the credentials is given them again when it comes.
func (b *Bridge) woken(dev *device, way WakeWay, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	dev.mu.Lock()
	defer dev.mu.Unlock()
	old := dev.state.Load().rec
	if text == "" && old.WakeError == "" && way == old.WokenBy {
		return
	}
	rec := old.clone()
	rec.WakeError, rec.WakeTime = text, b.now()
	rec.WokenBy = way
	if errors.Is(err, connreq.ErrCredentials) {
		rec.Provisioned = ""
	}
	var batch store.Batch
	dev.apply(change{rec: rec}, &batch)
	b.keep(dev, &batch)
}

// asked is a connection request that was sent.
type asked struct {
	way     WakeWay
	at      time.Time
	counted atomic.Bool
}

// cameWithin is how long after a connection request a CPE may come because of it.
const cameWithin = time.Minute

// count counts the outcome of a connection request, once.
func (b *Bridge) count(a *asked, err error) {
	if !a.counted.Swap(true) {
		b.metrics.requests.WithLabelValues(strings.ToLower(string(a.way)), connreq.Outcome(err)).Inc()
	}
}

// cameBy notes in the record that a CPE has come because it was asked: of a UDP
// Connection Request that is the only answer, and by other ways the CPE can be
// quicker than its answer. CPE report "2 PERIODIC" in place of "6 CONNECTION
// REQUEST" too; after a UDP Connection Request that is taken for the same.
func (b *Bridge) cameBy(dev *device, rec *Record, inform *cwmp.Inform) {
	a := dev.asked.Load()
	switch {
	case a == nil || rec.LastInform.Sub(a.at) > cameWithin:
	case inform.HasEvent(cwmp.EventConnectionRequest), a.way == WakeUDP && inform.HasEvent(cwmp.EventPeriodic):
		dev.asked.Store(nil)
		rec.WokenBy, rec.WakeError = a.way, ""
		b.count(a, nil)
	}
}

// Bound keeps the binding that a CPE's STUN client has proven, for the time after
// a restart, when nothing has been heard of the CPE yet. It is stun.Config.Learn.
func (b *Bridge) Bound(ctx context.Context, key cwmp.DeviceKey, binding netip.AddrPort) {
	dev, err := b.devices.acquire(ctx, key)
	if err != nil {
		b.log.Info("STUN: binding of a device that is not known", "device", key, "error", err)
		return
	}
	defer b.devices.release(dev)
	dev.mu.Lock()
	defer dev.mu.Unlock()
	old := dev.state.Load().rec
	if old.Binding == binding.String() && old.WakeError == "" {
		return
	}
	rec := old.clone()
	rec.Binding = binding.String()
	rec.WakeError = "" // there is a way now that there was not
	var batch store.Batch
	dev.apply(change{rec: rec}, &batch)
	b.keep(dev, &batch)
}
