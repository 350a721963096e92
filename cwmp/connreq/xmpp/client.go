package xmpp

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/ping"
	"mellium.im/xmpp/stanza"

	"github.com/uspbridge/uspbridge/cwmp/connreq"
)

// Config is what a Client needs. Account is required.
type Config struct {
	Account Account

	MaxConcurrent int           // requests under way at once; others wait. 256
	LoginTimeout  time.Duration // to connect and log in; 20 s
	Backoff       time.Duration // before the first attempt to connect again, doubled for each more up to a minute; 500 ms
	PingInterval  time.Duration // how often the server is asked whether it is there, with a third of it to answer; 1 min

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

const maxBackoff = time.Minute

// Client sends connection requests over one connection to an XMPP server.
type Client struct {
	cfg   Config
	slots chan struct{}

	mu      sync.Mutex
	session *xmpp.Session // nil: not connected
	why     error         // why not
}

// New returns a Client; it connects in Run. It fails if the account cannot be
// one or its metrics are registered already.
func New(cfg Config) (*Client, error) {
	if cfg.Account.Server == "" {
		return nil, errors.New("xmpp: Config.Account.Server is required")
	}
	if _, err := cfg.Account.JID(); err != nil {
		return nil, fmt.Errorf("xmpp: %w", err)
	}
	if cfg.MaxConcurrent <= 0 {
		cfg.MaxConcurrent = 256
	}
	for _, d := range []struct {
		value *time.Duration
		or    time.Duration
	}{{&cfg.LoginTimeout, 20 * time.Second}, {&cfg.Backoff, 500 * time.Millisecond}, {&cfg.PingInterval, time.Minute}} {
		if *d.value <= 0 {
			*d.value = d.or
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Client{cfg: cfg, slots: make(chan struct{}, cfg.MaxConcurrent), why: errors.New("not connected yet")}
	if cfg.Registerer != nil {
		up := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "uspbridge_xmpp_connected", Help: "1 while connected to the XMPP server of connection requests.",
		}, func() float64 {
			if _, err := c.connected(); err != nil {
				return 0
			}
			return 1
		})
		if err := cfg.Registerer.Register(up); err != nil {
			return nil, fmt.Errorf("xmpp: register metrics: %w", err)
		}
	}
	return c, nil
}

// Run keeps the Client connected until ctx ends.
func (c *Client) Run(ctx context.Context) error {
	for failures := 0; ; failures++ {
		began := time.Now()
		err := c.serve(ctx)
		if ctx.Err() != nil {
			return nil
		}
		c.set(nil, err)
		if time.Since(began) > maxBackoff {
			failures = 0 // it was connected, or as good as
		}
		wait := min(c.cfg.Backoff<<min(failures, 10), maxBackoff)
		wait += rand.N(wait) // so that bridges do not come back in step
		c.cfg.Log.Warn("XMPP: not connected; connection requests go other ways meanwhile", "server", c.cfg.Account.Server, "error", err, "again_in", wait.Round(time.Millisecond))
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}

// serve logs in and stays until the connection breaks.
func (c *Client) serve(ctx context.Context) error {
	login, cancel := context.WithTimeout(ctx, c.cfg.LoginTimeout)
	defer cancel()
	s, end, err := c.cfg.Account.Login(login)
	if err != nil {
		return err
	}
	c.cfg.Log.Info("XMPP: connected", "server", c.cfg.Account.Server, "jid", s.LocalAddr().String())
	c.set(s, nil)
	ended := make(chan error, 1)
	var reading sync.WaitGroup
	reading.Go(func() { ended <- s.Serve(nil) }) // a request of others is answered with service-unavailable
	err = c.watch(ctx, s, ended)
	c.set(nil, err)
	closed := end()
	reading.Wait()
	if ctx.Err() != nil {
		return closed
	}
	if err == nil {
		err = errors.New("the server ended the stream")
	}
	return err
}

// watch asks the server now and then whether it is there, and returns when the
// session has to end.
func (c *Client) watch(ctx context.Context, s *xmpp.Session, ended <-chan error) error {
	tick := time.NewTicker(c.cfg.PingInterval)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			asking, cancel := context.WithTimeout(ctx, c.cfg.PingInterval/3)
			err := ping.Send(asking, s, s.RemoteAddr())
			cancel()
			if refused := (stanza.Error{}); err != nil && !errors.As(err, &refused) {
				return fmt.Errorf("the server does not answer: %w", err)
			}
		}
	}
}

func (c *Client) set(s *xmpp.Session, why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session, c.why = s, why
}

func (c *Client) connected() (*xmpp.Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		return nil, fmt.Errorf("the bridge is not connected to the XMPP server %s: %w", c.cfg.Account.Server, c.why)
	}
	return c.session, nil
}

// Status returns why the Client is not connected, nil if it is.
func (c *Client) Status() error {
	_, err := c.connected()
	return err
}

// Request is one connection request.
type Request struct {
	JID                string // ManagementServer.ConnReqJabberID
	Username, Password string // ManagementServer.ConnectionRequestUsername and …Password
	Timeout            time.Duration
}

// Do makes the request. nil means that the CPE has accepted it; any failure but
// the end of ctx is a *connreq.Error.
func (c *Client) Do(ctx context.Context, r Request) error {
	to, err := jid.Parse(r.JID)
	if err != nil {
		return &connreq.Error{Kind: connreq.ErrRefused, Err: errors.New("the CPE's ConnReqJabberID is not a Jabber id")}
	}
	s, err := c.connected()
	if err != nil {
		return &connreq.Error{Kind: connreq.ErrOurSide, Host: r.JID, Err: err}
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	// Who gives up must not break a stanza off in the middle: all others share
	// the stream.
	done := make(chan error, 1)
	go func() {
		defer func() { <-c.slots }()
		sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.Timeout)
		defer cancel()
		done <- c.ask(sending, s, to, r)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ask sends the IQ and reads its answer.
func (c *Client) ask(ctx context.Context, s *xmpp.Session, to jid.JID, r Request) error {
	resp, err := s.SendIQElement(ctx, ConnectionRequest{Username: r.Username, Password: r.Password}.TokenReader(), stanza.IQ{Type: stanza.GetIQ, To: to})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &connreq.Error{Kind: connreq.ErrTimeout, Host: r.JID}
	case err != nil:
		return &connreq.Error{Kind: connreq.ErrOurSide, Host: r.JID, Err: err}
	}
	var a answer
	err = xml.NewTokenDecoder(resp).Decode(&a)
	if closed := resp.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return &connreq.Error{Kind: connreq.ErrOurSide, Host: r.JID, Err: unreadable(err)}
	}
	return a.judge(r.JID)
}
