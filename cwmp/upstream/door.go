package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

// DoorConfig is what a Door needs; all but the last two are required.
type DoorConfig struct {
	Stage    func(cwmp.DeviceID) Stage // must be quick: it is asked once a session
	Bridged  http.Handler              // the bridge's own ACS
	Upstream http.Handler              // the existing ACS: a Proxy
	MaxBytes int                       // of one body; 32 MiB if 0
	Log      *slog.Logger
}

// Door decides at each session's Inform which handler serves the session. What
// comes later follows: by TCP connection, or by the session cookie of package
// acs if the CPE has opened a new connection. A session with the existing ACS
// cannot change connections, since that one may bind it to its own.
type Door struct {
	cfg    DoorConfig
	limits soap.Limits
}

// NewDoor returns a Door.
func NewDoor(cfg DoorConfig) (*Door, error) {
	if cfg.Stage == nil || cfg.Bridged == nil || cfg.Upstream == nil {
		return nil, errors.New("upstream: DoorConfig needs Stage, Bridged and Upstream")
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 32 << 20
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	limits := soap.DefaultLimits()
	limits.Bytes = min(limits.Bytes, maxInform)
	return &Door{cfg: cfg, limits: limits}, nil
}

// maxInform is the largest body looked into for an Inform.
const maxInform = 1 << 20

// passage remembers who serves the session open on a connection.
type passage struct{ way atomic.Uint32 }

const (
	undecided uint32 = iota
	toBridge
	toUpstream
)

type passageKey struct{}

// ConnContext is for http.Server.ConnContext, together with acs.ConnContext and
// Proxy.ConnContext: a Door cannot hold sessions together without it.
func ConnContext(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, passageKey{}, new(passage))
}

// ServeHTTP lets the request through to the bridge or to the existing ACS, with
// its body as it came.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, _ := r.Context().Value(passageKey{}).(*passage)
	if p == nil {
		p = new(passage)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(d.cfg.MaxBytes)))
	if err != nil {
		status, text := http.StatusBadRequest, "body broken off"
		if errors.As(err, new(*http.MaxBytesError)) {
			status, text = http.StatusRequestEntityTooLarge, "body too large"
		}
		d.cfg.Log.Warn("request refused", "remote", r.RemoteAddr, "status", status, "error", err)
		http.Error(w, text, status)
		return
	}
	// The length is known now, so that a chunked Inform does not go on chunked:
	// some ACS read that as empty.
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	if id, ok := d.informer(body, r.Header); ok {
		stage, way := d.cfg.Stage(id), toBridge
		if stage.passesThrough() {
			way = toUpstream
		}
		d.cfg.Log.Debug("session let through", "device", string(id.Key()), "stage", stage.String())
		p.way.Store(way)
	}
	if d.follow(p, r) == toUpstream {
		d.cfg.Upstream.ServeHTTP(w, r)
	} else {
		d.cfg.Bridged.ServeHTTP(w, r)
	}
}

// informer returns who sends the Inform in body; ok is false if it is none. Only
// bodies that have a DeviceId near their beginning are looked into.
func (d *Door) informer(body []byte, h http.Header) (id cwmp.DeviceID, ok bool) {
	if len(body) > maxInform || h.Get("Content-Encoding") == "" && !bytes.Contains(body[:min(len(body), 8<<10)], []byte("DeviceId")) {
		return id, false
	}
	plain, err := acs.Decompress(body, h.Get("Content-Encoding"), maxInform)
	if err != nil {
		return id, false // whoever gets it will say what is wrong
	}
	env, err := soap.Read(plain, h.Get("Content-Type"), d.limits)
	if err != nil || env == nil {
		return id, false
	}
	inform, ok := env.Body.(*cwmp.Inform)
	if !ok {
		return id, false
	}
	return inform.DeviceID, true
}

// follow returns the way of the session that the request belongs to. A stranger
// without cookies goes to the bridge, which says what is wrong with it.
func (d *Door) follow(p *passage, r *http.Request) uint32 {
	if way := p.way.Load(); way != undecided {
		return way
	}
	cookies := strings.Join(r.Header["Cookie"], ";")
	if cookies == "" || strings.Contains(cookies, acs.CookieName+"=") {
		return toBridge
	}
	return toUpstream
}
