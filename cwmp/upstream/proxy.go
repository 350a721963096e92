package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// ProxyConfig is what a Proxy needs; only URL is required.
type ProxyConfig struct {
	URL  string      // of the existing ACS; a path in it replaces the CPE's
	Host string      // Host header sent; what the CPE sent if empty
	TLS  *tls.Config // for https
	// Timeout is how long the existing ACS may take for one step. 2 min.
	Timeout time.Duration
	// IdleTimeout closes an upstream connection whose CPE has gone silent. 2 min.
	IdleTimeout time.Duration
	Log         *slog.Logger
}

// Proxy is an http.Handler that passes sessions through to an existing ACS:
// each CPE connection has one upstream connection of its own, since ACS bind
// sessions and nonces to it. Method, path, headers and bodies go through
// unchanged, but for the headers that concern one connection only (RFC 9110
// 7.6.1) and for the spelling of header names.
type Proxy struct {
	cfg    ProxyConfig
	target *url.URL
	links  sync.Map // net.Conn → *link; only while the CPE's connection is open
}

// link is the upstream side of one CPE connection.
type link struct {
	once      sync.Once
	transport *http.Transport
}

type linkKey struct{}

// NewProxy returns a Proxy.
func NewProxy(cfg ProxyConfig) (*Proxy, error) {
	target, err := url.Parse(cfg.URL)
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		return nil, fmt.Errorf("upstream URL %q: must be http://… or https://… with a host", cfg.URL)
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 2 * time.Minute
	}
	if cfg.IdleTimeout <= 0 {
		cfg.IdleTimeout = 2 * time.Minute
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Proxy{cfg: cfg, target: target}, nil
}

// ConnContext is for http.Server.ConnContext.
func (p *Proxy) ConnContext(ctx context.Context, c net.Conn) context.Context {
	l := &link{}
	p.links.Store(c, l)
	return context.WithValue(ctx, linkKey{}, l)
}

// ConnState is for http.Server.ConnState: with the CPE's connection goes its
// upstream connection.
func (p *Proxy) ConnState(c net.Conn, state http.ConnState) {
	if state != http.StateClosed && state != http.StateHijacked {
		return
	}
	if v, ok := p.links.LoadAndDelete(c); ok {
		v.(*link).close()
	}
}

func (l *link) open(p *Proxy) *http.Transport {
	l.once.Do(func() {
		l.transport = &http.Transport{
			MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1, IdleConnTimeout: p.cfg.IdleTimeout,
			ResponseHeaderTimeout: p.cfg.Timeout, TLSClientConfig: p.cfg.TLS,
			DisableCompression: true,                                                   // bodies stay as they are
			TLSNextProto:       map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1 only: one connection, one session
		}
	})
	return l.transport
}

func (l *link) close() {
	l.once.Do(func() {}) // never opened: nothing to close, nothing to open any more
	if l.transport != nil {
		l.transport.CloseIdleConnections()
	}
}

// ServeHTTP passes one step through.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l, _ := r.Context().Value(linkKey{}).(*link)
	if l == nil {
		p.fail(w, r, errors.New("the listener lacks Proxy.ConnContext"))
		return
	}
	transport := l.open(p)
	if transport == nil {
		p.fail(w, r, net.ErrClosed)
		return
	}
	resp, err := transport.RoundTrip(p.outgoing(r))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	defer resp.Body.Close()
	copyHeader(w.Header(), resp.Header)
	if resp.Close {
		w.Header().Set("Connection", "close") // its session ends with the connection: so shall the CPE's
	}
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		p.cfg.Log.Warn("existing ACS's answer broken off", "remote", r.RemoteAddr, "error", err)
		panic(http.ErrAbortHandler) // half an answer must not look whole
	}
}

// outgoing returns the request for the existing ACS.
func (p *Proxy) outgoing(r *http.Request) *http.Request {
	out := r.Clone(r.Context())
	out.URL.Scheme, out.URL.Host = p.target.Scheme, p.target.Host
	if p.target.Path != "" && p.target.Path != "/" {
		out.URL.Path, out.URL.RawPath, out.URL.RawQuery = p.target.Path, p.target.RawPath, p.target.RawQuery
	}
	if p.cfg.Host != "" {
		out.Host = p.cfg.Host
	}
	out.RequestURI, out.Close = "", false
	if out.ContentLength == 0 {
		out.Body = http.NoBody // else net/http would send an unknown length
	}
	out.Header = http.Header{}
	copyHeader(out.Header, r.Header)
	if _, named := out.Header["User-Agent"]; !named {
		out.Header["User-Agent"] = []string{""} // keeps net/http from naming itself
	}
	return out
}

// copyHeader copies all headers but those of one connection.
func copyHeader(dst, src http.Header) {
	for name, values := range src {
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect":
			continue
		}
		dst[name] = append([]string(nil), values...)
	}
}

// fail tells the CPE that the existing ACS cannot be asked, and closes the
// connection, as the session is lost with it.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	p.cfg.Log.Error("existing ACS not reached", "upstream", p.target.Host, "remote", r.RemoteAddr, "error", err)
	w.Header().Set("Connection", "close")
	w.Header().Set("Retry-After", "60")
	http.Error(w, "the ACS cannot be reached", http.StatusServiceUnavailable)
}
