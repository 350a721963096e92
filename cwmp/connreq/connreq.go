// Package connreq makes connection requests (TR-069 3.2.2): it asks a CPE that
// is not in a session to open one, by an authenticated HTTP GET to the URL that
// the CPE has announced. The packages below it are the other ways to a CPE: stun
// and udp through its NAT, xmpp over a server that the CPE is connected to.
//
// It knows HTTP and the moods of CPE; it knows no sessions and no fleet. What
// stands behind package acs calls it from its Wake, one request per CPE at a
// time. Its errors are made to be read by the operator who wonders why a device
// does not answer, and are those of all ways.
package connreq

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Config is what a Client needs; the zero value works.
type Config struct {
	// Dial opens connections; net.Dialer's DialContext if nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS is for https URLs; the system's verification if nil.
	TLS *tls.Config
	// MaxResponse bounds the bytes read of a CPE's answer, headers and body
	// each. 16 KiB.
	MaxResponse int64
	// MaxConcurrent bounds the requests under way at once, and so the sockets
	// that waking a whole fleet opens. Others wait in the order they came. 256.
	MaxConcurrent int
}

// Client makes connection requests. It keeps nothing between them, and no
// connection open.
type Client struct {
	cfg   Config
	slots chan struct{} // who waits to send is served in order
}

// New returns a Client.
func New(cfg Config) *Client {
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{}).DialContext
	}
	if cfg.MaxResponse <= 0 {
		cfg.MaxResponse = 16 << 10
	}
	if cfg.MaxConcurrent <= 0 {
		cfg.MaxConcurrent = 256
	}
	return &Client{cfg: cfg, slots: make(chan struct{}, cfg.MaxConcurrent)}
}

// Request is one connection request.
type Request struct {
	URL                string // ManagementServer.ConnectionRequestURL
	Username, Password string // ManagementServer.ConnectionRequestUsername and …Password

	Timeout time.Duration // for all tries together; 10 s if 0
	Retries int           // tries after a first one that failed for a passing reason
	Backoff time.Duration // before the first retry, doubled for each more; 500 ms if 0
}

// Do makes the request. nil means that the CPE has accepted it and will open a
// session; any failure is an *Error, which is also one of this package's Err…
// The time that the request waits for others is not part of its Timeout.
func (c *Client) Do(ctx context.Context, r Request) error {
	target, err := checkURL(r.URL)
	if err != nil {
		return err
	}
	if r.Timeout <= 0 {
		r.Timeout = 10 * time.Second
	}
	if r.Backoff <= 0 {
		r.Backoff = 500 * time.Millisecond
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	limited, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	for try := 0; ; try++ {
		err := c.try(limited, target, r)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err() // the caller gave up: that says nothing about the CPE
		}
		if try >= r.Retries || !passing(err) || !pause(limited, r.Backoff<<min(try, 10)) {
			return err
		}
	}
}

// pause waits unless ctx would end before.
func pause(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= d {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func checkURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case s == "":
		err = errors.New("the CPE has given no ConnectionRequestURL")
	case err != nil:
		err = errors.New("the CPE's ConnectionRequestURL is not a URL") // not quoted: it may hold a password
	case u.Scheme != "http" && u.Scheme != "https":
		err = fmt.Errorf("scheme %.16q: only http and https can be used", u.Scheme)
	case u.Hostname() == "":
		err = errors.New("the CPE's ConnectionRequestURL has no host")
	}
	if err != nil {
		return nil, &Error{Kind: ErrURL, Err: err}
	}
	u.User, u.Fragment = nil, ""
	return u, nil
}

// try makes the request once: without credentials, then as challenged.
func (c *Client) try(ctx context.Context, target *url.URL, r Request) error {
	// A transport of its own: the answer to the challenge goes over the same
	// connection if the CPE keeps it open, and no connection outlives the request.
	transport := &http.Transport{
		DialContext: c.cfg.Dial, TLSClientConfig: c.cfg.TLS, DisableCompression: true,
		MaxResponseHeaderBytes: c.cfg.MaxResponse, MaxConnsPerHost: 1,
	}
	defer transport.CloseIdleConnections()
	fail := func(kind error, status int, err error) error {
		return &Error{Kind: kind, Host: target.Host, Status: status, Err: err}
	}

	resp, err := c.get(ctx, transport, target, "")
	if err != nil {
		return fail(kindOf(ctx, err, target.Hostname()), 0, err)
	}
	for rounds := 0; ; rounds++ {
		challenged := resp.StatusCode == http.StatusUnauthorized ||
			resp.StatusCode == http.StatusForbidden && resp.Header.Get("WWW-Authenticate") != "" // 403 for 401
		if !challenged {
			break
		}
		answer, stale, err := authorization(resp.Header.Values("WWW-Authenticate"), target.RequestURI(), r.Username, r.Password)
		if err != nil {
			return fail(ErrCredentials, resp.StatusCode, err)
		}
		if rounds > 0 && !(stale && rounds == 1) {
			return fail(ErrCredentials, resp.StatusCode, errors.New("the CPE does not accept user name and password"))
		}
		resp, err = c.get(ctx, transport, target, answer)
		if err != nil && ctx.Err() == nil {
			// Closed right after the 401: the answer goes over a new connection.
			transport.CloseIdleConnections()
			resp, err = c.get(ctx, transport, target, answer)
		}
		if err != nil {
			return fail(kindOf(ctx, err, target.Hostname()), 0, err)
		}
	}
	return outcome(resp.StatusCode, fail)
}

// outcome reads the CPE's final status (TR-069 3.2.2.2: 200 or 204; 503 when it
// cannot now).
func outcome(status int, fail func(error, int, error) error) error {
	switch {
	case status >= 200 && status < 300:
		return nil
	case status == http.StatusServiceUnavailable:
		return fail(ErrBusy, status, nil)
	case status == http.StatusForbidden:
		return fail(ErrCredentials, status, errors.New("the CPE forbids it"))
	case status == http.StatusNotFound:
		return fail(ErrURL, status, errors.New("the CPE does not know this path"))
	case status >= 300 && status < 400:
		return fail(ErrRefused, status, errors.New("redirections are not followed"))
	}
	return fail(ErrRefused, status, nil)
}

func (c *Client) get(ctx context.Context, t *http.Transport, target *url.URL, authorization string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := t.RoundTrip(req) // not http.Client: it would follow redirections
	if err != nil {
		return nil, err
	}
	return resp, release(resp, c.cfg.MaxResponse)
}
