package servertls

import (
	"bytes"
	"log"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are those of all listeners.
type Metrics struct {
	failures *prometheus.CounterVec
	reloads  *prometheus.CounterVec
	notAfter *prometheus.GaugeVec
}

// NewMetrics registers the metrics; nothing is registered if reg is nil.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "uspbridge_tls_handshake_failures_total",
			Help: "TLS handshakes that failed, by listener and reason."}, []string{"listener", "reason"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "uspbridge_tls_reloads_total",
			Help: "Changed TLS files taken over, by listener and outcome."}, []string{"listener", "outcome"}),
		notAfter: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "uspbridge_tls_certificate_not_after_seconds",
			Help: "When the server certificate ends, by listener, in seconds since 1970."}, []string{"listener"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.failures, m.reloads, m.notAfter} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// failures counts and logs failed handshakes. net/http tells of them in its error
// log only, one line each.
type failures struct {
	cfg *Config

	mu     sync.Mutex
	warned map[string]time.Time // by reason
	unsaid map[string]int       // since then
}

// warnEvery is how often failures for one reason are logged as warnings: whoever
// finds the port could fill the log.
const warnEvery = 10 * time.Second

// ErrorLog returns what http.Server.ErrorLog is to be.
func (s *Server) ErrorLog() *log.Logger { return log.New(s.failed, "", 0) }

const handshakePrefix = "http: TLS handshake error from "

// Write takes one line of net/http's error log.
func (f *failures) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line))
	rest, is := strings.CutPrefix(text, handshakePrefix)
	if !is {
		f.cfg.Log.Debug(text, "listener", f.cfg.Listener)
		return len(line), nil
	}
	remote, cause, _ := strings.Cut(rest, ": ")
	reason := reasonOf(cause)
	f.cfg.Metrics.failures.WithLabelValues(f.cfg.Listener, reason).Inc()
	if n, say := f.warn(reason); say {
		f.cfg.Log.Warn("TLS handshake failed", "listener", f.cfg.Listener, "remote", remote, "reason", reason, "error", cause, "unlogged", n)
	} else {
		f.cfg.Log.Debug("TLS handshake failed", "listener", f.cfg.Listener, "remote", remote, "reason", reason, "error", cause)
	}
	return len(line), nil
}

// warn reports whether a failure is to be logged as a warning, and how many before
// it were not.
func (f *failures) warn(reason string) (unsaid int, say bool) {
	if reason == "closed" {
		return 0, false // port scans and health checks
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.warned == nil {
		f.warned, f.unsaid = map[string]time.Time{}, map[string]int{}
	}
	now := f.cfg.Now()
	if last, before := f.warned[reason]; before && now.Sub(last) < warnEvery {
		f.unsaid[reason]++
		return 0, false
	}
	unsaid, f.warned[reason], f.unsaid[reason] = f.unsaid[reason], now, 0
	return unsaid, true
}

// reasons are what crypto/tls and net/http say, the first that fits counts; a test
// provokes each.
var reasons = []struct{ sign, reason string }{
	{"sent an HTTP request", "not_tls"},
	{"does not look like a TLS handshake", "not_tls"},
	{"unsupported versions", "version"},
	{"protocol version not supported", "version"},
	{"no cipher suite supported by both", "cipher"},
	{"didn't provide a certificate", "no_certificate"},
	{errRevoked.Error(), "certificate_revoked"},
	{"certificate has expired", "certificate_expired"},
	{"signed by unknown authority", "certificate_unknown_ca"},
	{"failed to verify certificate", "certificate_bad"},
	{"invalid certificate", "certificate_bad"},
	{"remote error", "refused_by_client"}, // it does not take our certificate, or nothing that we offer
	{"i/o timeout", "timeout"},
	{"EOF", "closed"},
	{"connection reset", "closed"},
}

func reasonOf(cause string) string {
	for _, r := range reasons {
		if strings.Contains(cause, r.sign) {
			return r.reason
		}
	}
	return "other"
}
