package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config is what a Server needs. Fleet, Ready and Gatherer are required.
type Config struct {
	Listen string // host:port
	Token  string // "": only clients on loopback are let in
	Fleet  Fleet

	Credentials  Credentials  // of CPE; nil: the API has none
	Certificates Certificates // of agents; nil: the API has none
	BrokerUsers  BrokerUsers  // of the embedded broker; nil: it is off
	Mappings     Mappings

	Ready    func() []Check
	Gatherer prometheus.Gatherer
	Log      *slog.Logger
	Now      func() time.Time // default time.Now
}

// The console's bounds. A refresh reads a whole device, hence its length.
const (
	headerTimeout  = 10 * time.Second
	readTimeout    = 30 * time.Second
	refreshTimeout = 5 * time.Minute
	requestTimeout = 30 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeader      = 16 << 10
	maxBody        = 64 << 10
)

// Server is the console.
type Server struct {
	cfg     Config
	access  *access
	pages   *pages
	handler http.Handler

	ending context.Context // ends when Serve begins to end: streams do then
	end    context.CancelFunc
}

// New returns a Server that does not listen yet.
func New(cfg Config) (*Server, error) {
	if cfg.Fleet == nil || cfg.Ready == nil || cfg.Gatherer == nil {
		return nil, errors.New("console: Config.Fleet, Ready and Gatherer are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p, err := newPages(cfg.Now)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	s := &Server{cfg: cfg, pages: p, access: &access{token: cfg.Token, now: cfg.Now}}
	s.ending, s.end = context.WithCancel(context.Background())
	s.handler = s.routes()
	return s, nil
}

func (s *Server) routes() http.Handler {
	open := http.NewServeMux()
	open.HandleFunc("GET /healthz", s.healthz)
	open.HandleFunc("GET /style.css", s.style)
	open.HandleFunc("GET /login", s.loginPage)
	open.HandleFunc("POST /login", s.login)

	closed := http.NewServeMux()
	closed.HandleFunc("GET /readyz", s.readyz)
	closed.Handle("GET /metrics", promhttp.HandlerFor(s.cfg.Gatherer, promhttp.HandlerOpts{
		Timeout: requestTimeout, MaxRequestsInFlight: 4,
	}))
	closed.HandleFunc("GET /api/devices", s.apiList)
	closed.HandleFunc("GET /api/devices/{endpoint}", s.apiShow)
	closed.HandleFunc("DELETE /api/devices/{endpoint}", s.apiForget)
	closed.HandleFunc("POST /api/devices/{endpoint}/refresh", s.apiRefresh)
	closed.HandleFunc("GET /api/devices/{endpoint}/explain", s.apiExplain)
	closed.HandleFunc("GET /api/devices/{endpoint}/coverage", s.apiCoverage)
	closed.HandleFunc("GET /api/devices/{endpoint}/audit", s.apiAudit)
	closed.HandleFunc("POST /api/captures", s.apiCapture)
	if s.cfg.Mappings != nil {
		closed.HandleFunc("POST /api/mappings/reload", s.apiReloadMappings)
	}
	if s.cfg.Credentials != nil {
		closed.HandleFunc("GET /api/credentials", s.apiCredentials)
		closed.HandleFunc("POST /api/credentials", s.apiApplyCredentials)
		closed.HandleFunc("DELETE /api/credentials/{device}", s.apiRemoveCredential)
	}
	if s.cfg.Certificates != nil {
		closed.HandleFunc("GET /api/certificates", s.apiCertificates)
		closed.HandleFunc("POST /api/certificates", s.apiImportCertificate)
		closed.HandleFunc("GET /api/certificates/{agent}", s.apiCertificate)
		closed.HandleFunc("DELETE /api/certificates/{agent}", s.apiRevokeCertificate)
		closed.HandleFunc("POST /api/certificates/{agent}/issue", s.apiIssueCertificate)
		closed.HandleFunc("POST /api/certificates/{agent}/request", s.apiRequestCertificate)
		closed.HandleFunc("GET /api/authority", s.apiAuthority)
	}
	s.brokerRoutes(closed)
	closed.HandleFunc("GET /{$}", s.listPage)
	closed.HandleFunc("GET /devices/{endpoint}", s.devicePage)
	closed.HandleFunc("GET /devices/{endpoint}/explain", s.explainPage)
	closed.HandleFunc("POST /devices/{endpoint}/refresh", s.refreshForm)
	closed.HandleFunc("POST /devices/{endpoint}/forget", s.forgetForm)
	closed.HandleFunc("POST /logout", s.logout)

	open.Handle("/", s.access.guard(closed))
	// CrossOriginProtection refuses what a page of another origin makes a
	// browser send; clients that are no browsers are not concerned.
	sameOrigin := http.NewCrossOriginProtection().Handler(open)
	return http.MaxBytesHandler(bounded(headers(s.access.known(sameOrigin))), maxBody)
}

// Handler returns the console as a handler.
func (s *Server) Handler() http.Handler { return s.handler }

// bounded gives every request a deadline.
func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit := requestTimeout
		switch {
		case r.URL.Path == "/api/captures":
			limit = maxCaptureTime
		case r.Method == http.MethodPost:
			limit = refreshTimeout
		}
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// headers tells browsers to do nothing that these pages do not need.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// Serve answers on a listener until ctx ends, then lets open requests finish
// for a moment.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      refreshTimeout + readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("console on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	s.end()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		s.cfg.Log.Info("console requests were broken off at shutdown", "error", err)
		srv.Close()
	}
	<-failed
	return nil
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "ok")
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready  bool    `json:"ready"`
	Checks []Check `json:"checks"`
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	answer := readiness{Ready: true, Checks: s.cfg.Ready()}
	status := http.StatusOK
	for _, c := range answer.Checks {
		if !c.OK {
			answer.Ready, status = false, http.StatusServiceUnavailable
		}
	}
	s.json(w, status, answer)
}
