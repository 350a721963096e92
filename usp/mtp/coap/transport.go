package coap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	coapdtls "github.com/plgd-dev/go-coap/v3/dtls"
	dtlsserver "github.com/plgd-dev/go-coap/v3/dtls/server"
	"github.com/plgd-dev/go-coap/v3/message/pool"
	coapnet "github.com/plgd-dev/go-coap/v3/net"
	"github.com/plgd-dev/go-coap/v3/net/blockwise"
	"github.com/plgd-dev/go-coap/v3/options"
	coapudp "github.com/plgd-dev/go-coap/v3/udp"
	"github.com/plgd-dev/go-coap/v3/udp/client"
	udpserver "github.com/plgd-dev/go-coap/v3/udp/server"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// tick is how often retransmissions and expiries are looked at. The first
// retransmission is due after 2 s (RFC 7252 4.8).
const tick = 500 * time.Millisecond

// Transport is the CoAP transport. It implements mtp.Transport and
// mtp.Addressing.
type Transport struct {
	cfg    Config
	meter  *mtp.Meter
	bounds *bounds
	ready  chan struct{}
	addr   net.Addr // set before ready is closed

	ctx     context.Context // ends with Serve
	stop    context.CancelFunc
	handler mtp.Handler // set once, by Serve
	running sync.WaitGroup
	asked   answering

	mu      sync.Mutex
	served  bool
	remotes map[remote]*link
}

// New checks cfg and returns a Transport that does not listen yet.
func New(cfg Config) (*Transport, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	meter, err := mtp.NewMeter(cfg.Registerer, mtp.CoAP)
	if err != nil {
		return nil, err
	}
	t := &Transport{cfg: cfg, meter: meter, ready: make(chan struct{}), remotes: map[remote]*link{}}
	t.bounds = newBounds(&t.cfg)
	t.ctx, t.stop = context.WithCancel(context.Background())
	return t, nil
}

// Protocol returns mtp.CoAP.
func (t *Transport) Protocol() mtp.Protocol { return mtp.CoAP }

// Ready is closed once the transport listens.
func (t *Transport) Ready() <-chan struct{} { return t.ready }

// Addr returns the address listened on, nil before Ready.
func (t *Transport) Addr() net.Addr {
	select {
	case <-t.ready:
		return t.addr
	default:
		return nil
	}
}

// Status returns the counts; the transport is up while it listens.
func (t *Transport) Status() mtp.Status { return t.meter.Status() }

// AgentAddress returns where an agent is written to, if the configuration says
// what peers are told.
func (t *Transport) AgentAddress(endpoint usp.EndpointID) mtp.Address {
	a := mtp.Address{Protocol: mtp.CoAP}
	if t.cfg.Address != "" {
		a.URL = replyURI(t.cfg.Secure, t.cfg.Address, t.cfg.Path, endpoint)
	}
	return a
}

// Serve listens until ctx ends. It can be called once.
func (t *Transport) Serve(ctx context.Context, h mtp.Handler) error {
	t.mu.Lock()
	if t.served {
		t.mu.Unlock()
		return errors.New("coap: Serve was called before")
	}
	t.served, t.handler = true, h
	t.mu.Unlock()
	defer t.running.Wait()
	defer t.closeLinks()
	defer t.stop()
	serve, stop, err := t.listen()
	if err != nil {
		t.meter.Down(err)
		return fmt.Errorf("coap: %w", err)
	}
	t.meter.Up()
	close(t.ready)
	t.cfg.Log.Info("USP CoAP server listens", "address", t.addr.String(), "path", t.cfg.Path, "dtls", t.cfg.Secure)
	defer context.AfterFunc(ctx, func() {
		t.asked.end()
		stop()
	})()
	err = serve()
	t.meter.Down(nil)
	if ctx.Err() == nil && err != nil {
		return fmt.Errorf("coap: %w", err)
	}
	return nil
}

// listen opens the socket and returns what serves it and what ends that.
func (t *Transport) listen() (serve func() error, stop func(), err error) {
	if t.cfg.Secure {
		l, err := coapnet.NewDTLSListener("udp", t.cfg.Listen, t.serverDTLS())
		if err != nil {
			return nil, nil, err
		}
		t.addr = l.Addr()
		s := coapdtls.NewServer(dtlsOptions(t)...)
		return func() error { return s.Serve(l) }, s.Stop, nil
	}
	l, err := coapnet.NewListenUDP("udp", t.cfg.Listen, coapnet.WithErrors(t.failed))
	if err != nil {
		return nil, nil, err
	}
	t.addr = l.LocalAddr()
	s := coapudp.NewServer(udpOptions(t)...)
	return func() error { return errors.Join(s.Serve(l), l.Close()) }, s.Stop, nil
}

// option is what servers and clients, plain and secure, are all configured with.
type option interface {
	udpserver.Option
	dtlsserver.Option
	coapudp.Option
}

func (t *Transport) common() []option {
	return []option{
		options.WithErrors(t.failed),
		options.WithPeriodicRunner(t.periodically),
		options.WithBlockwise(true, blockwise.SZX1024, blockTimeout), // R-COAP.5
		options.WithInactivityMonitor(t.cfg.Idle, func(cc *client.Conn) { t.close(cc) }),
	}
}

func udpOptions(t *Transport) []udpserver.Option {
	all := []udpserver.Option{options.WithHandlerFunc(t.handle), options.WithProcessReceivedMessageFunc(t.asked.process),
		options.WithOnNewConn(t.arrived), options.WithRequestMonitor(t.monitor)}
	for _, o := range t.common() {
		all = append(all, o)
	}
	return all
}

func dtlsOptions(t *Transport) []dtlsserver.Option {
	all := []dtlsserver.Option{options.WithHandlerFunc(t.handle), options.WithProcessReceivedMessageFunc(t.asked.process),
		options.WithOnNewConn(t.arrived), options.WithRequestMonitor(t.monitor)}
	for _, o := range t.common() {
		all = append(all, o)
	}
	return all
}

func (t *Transport) serverDTLS() *dtls.Config {
	c := &dtls.Config{Certificates: t.cfg.Certificates, ExtendedMasterSecret: dtls.RequireExtendedMasterSecret}
	if t.cfg.Roots != nil {
		c.ClientAuth, c.ClientCAs = dtls.RequireAndVerifyClientCert, t.cfg.Roots
	}
	return c
}

// periodically runs f every tick until it returns false.
func (t *Transport) periodically(f func(now time.Time) bool) {
	t.running.Go(func() {
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		for {
			select {
			case now := <-ticker.C:
				if !f(now) {
					return
				}
			case <-t.ctx.Done():
				return
			}
		}
	})
}

// arrived counts a new source.
func (t *Transport) arrived(cc *client.Conn) {
	if !t.bounds.arrived(cc) {
		t.meter.Refused()
		t.close(cc)
		return
	}
	t.meter.Opened()
	cc.AddOnClose(func() {
		t.bounds.left(cc)
		t.meter.Closed()
	})
}

// monitor drops what is over the bounds.
func (t *Transport) monitor(cc *client.Conn, r *pool.Message) (drop bool, err error) {
	if !t.bounds.admit(cc, r) {
		t.meter.Refused()
		return true, nil
	}
	return false, nil
}

func (t *Transport) close(cc *client.Conn) {
	if err := cc.Close(); err != nil {
		t.failed(err)
	}
}

// failed hears of what the library cannot do: most of it is what peers send.
func (t *Transport) failed(err error) { t.cfg.Log.Debug("CoAP", "error", err) }
