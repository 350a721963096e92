package fileserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// Grant is what a token opens.
type Grant struct {
	Device   string    `json:"device"` // whose transfer it is, for the log
	Transfer string    `json:"transfer"`
	Name     string    `json:"name"` // below the directory, with slashes
	Upload   bool      `json:"upload,omitempty"`
	Expires  time.Time `json:"expires"`
	// Username and Password, if set, are asked for by HTTP authentication, for
	// CPE that insist on it: Digest or Basic.
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
}

// ErrNoGrant is a token that opens nothing, any more or at all.
var ErrNoGrant = errors.New("no such token")

// Grants knows the tokens.
type Grants interface {
	// Grant returns what a token opens, ErrNoGrant for nothing.
	Grant(ctx context.Context, token string) (Grant, error)
	// Transferred tells of a file that a CPE has fetched to its last byte or
	// has stored whole.
	Transferred(ctx context.Context, g Grant, bytes int64) error
}

// Config is what a Server needs. Dir and Grants are required.
type Config struct {
	Dir    string // made if it is not there
	Grants Grants

	MaxUpload    int64         // bytes of one file from a CPE; 64 MiB
	MaxImage     int64         // bytes of one file that is fetched for CPE; 512 MiB
	MaxImages    int64         // bytes of all files that were fetched; 8 GiB
	MaxTransfers int           // at once, beyond it 503; 256
	MaxEach      int           // of these, of one token; 4
	Stall        time.Duration // a transfer in which less than 32 KiB, or the rest, moves in so long is broken off; 2 min

	Servers Servers // where files for CPE may be fetched; nil: anywhere

	Log     *slog.Logger          // nothing is logged if nil
	Metrics prometheus.Registerer // nothing is registered if nil
	Now     func() time.Time      // default time.Now
}

// Servers says which servers may be connected to: a controller names them, but the
// bridge connects, from inside the operator's network.
type Servers interface {
	// Check reports why a server cannot be connected to, as far as its URL tells.
	Check(u *url.URL) error
	// DialContext returns the function that connects, which looks at what a name has
	// led to.
	DialContext(timeout time.Duration) func(ctx context.Context, network, address string) (net.Conn, error)
}

// Server is an http.Handler for the paths below Prefix.
type Server struct {
	cfg     Config
	root    *os.Root
	digest  *acs.Digest
	basic   *acs.Basic
	metrics *metrics

	mu      sync.Mutex
	running map[string]int // transfers by token
	total   int
	fetches map[string]*fetching // by Image.key: under way, or failed a moment ago

	client   *http.Client // of what is fetched
	turns    chan struct{}
	life     context.Context
	stop     context.CancelFunc
	fetchers sync.WaitGroup
}

// New opens the directory and returns a Server. What had not come whole when
// the last one ended is removed.
func New(cfg Config) (*Server, error) {
	if cfg.Dir == "" || cfg.Grants == nil {
		return nil, errors.New("fileserver: Config.Dir and Config.Grants are required")
	}
	if cfg.MaxUpload <= 0 {
		cfg.MaxUpload = 64 << 20
	}
	if cfg.MaxImage <= 0 {
		cfg.MaxImage = 512 << 20
	}
	if cfg.MaxImages <= 0 {
		cfg.MaxImages = 8 << 30
	}
	if cfg.MaxTransfers <= 0 {
		cfg.MaxTransfers = 256
	}
	if cfg.MaxEach <= 0 {
		cfg.MaxEach = 4
	}
	if cfg.Stall <= 0 {
		cfg.Stall = 2 * time.Minute
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{cfg: cfg, running: map[string]int{}, fetches: map[string]*fetching{}, turns: make(chan struct{}, maxFetches), client: newClient(cfg.Servers)}
	s.life, s.stop = context.WithCancel(context.Background())
	var err error
	if s.digest, err = acs.NewDigest(acs.DigestConfig{Realm: realm, Credentials: granted{}}); err != nil {
		return nil, err
	}
	if s.basic, err = acs.NewBasic(acs.BasicConfig{Realm: realm, Credentials: granted{}}); err != nil {
		return nil, err
	}
	if s.metrics, err = newMetrics(cfg.Metrics, s.transfers); err != nil {
		return nil, fmt.Errorf("fileserver: register metrics: %w", err)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("fileserver: %w", err)
	}
	if s.root, err = os.OpenRoot(cfg.Dir); err != nil {
		return nil, fmt.Errorf("fileserver: %w", err)
	}
	if err := errors.Join(s.root.RemoveAll(incoming), s.root.MkdirAll(incoming, 0o700), s.root.MkdirAll(Uploads, 0o700), s.root.MkdirAll(Images, 0o700)); err != nil {
		return nil, fmt.Errorf("fileserver: %w", errors.Join(err, s.root.Close()))
	}
	return s, nil
}

// Close ends what is fetched and lets go of the directory. Transfers must have
// ended.
func (s *Server) Close() error {
	s.stop()
	s.fetchers.Wait()
	s.client.CloseIdleConnections()
	return s.root.Close()
}

// newClient returns the client by which images are fetched.
func newClient(servers Servers) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy, transport.DialContext = nil, (&net.Dialer{Timeout: dialTimeout}).DialContext
	if servers != nil {
		transport.DialContext = servers.DialContext(dialTimeout)
	}
	transport.MaxConnsPerHost, transport.ResponseHeaderTimeout = maxFetches, time.Minute
	return &http.Client{Transport: transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		switch {
		case len(via) > maxRedirects:
			return fmt.Errorf("redirected %d times", len(via))
		case via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
			return errors.New("redirected from https to " + req.URL.Scheme)
		}
		return nil
	}}
}

// Size returns the size in bytes of a file that can be downloaded.
func (s *Server) Size(name string) (int64, error) {
	if err := CheckName(name); err != nil {
		return 0, err
	}
	info, err := s.root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("there is no file %q in %s", name, s.cfg.Dir)
	case err != nil:
		return 0, err
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("%q is no file", name)
	}
	return info.Size(), nil
}

func (s *Server) transfers() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return float64(s.total)
}

// refusal is an HTTP status with one line of text.
type refusal struct {
	status int
	reason string // label of the metric
	text   string
}

func (e *refusal) Error() string { return e.text }

// errNotHere answers for all that a stranger could ask: it tells nothing.
var errNotHere = &refusal{http.StatusNotFound, "unknown", "no such file, or the time for its transfer is over"}

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	direction := "download"
	if r.Method == http.MethodPut || r.Method == http.MethodPost {
		direction = "upload"
	}
	n, err := s.serve(w, r)
	s.metrics.bytes.WithLabelValues(direction).Add(float64(n))
	var refused *refusal
	var challenge *acs.Challenge
	switch {
	case err == nil:
		s.metrics.requests.WithLabelValues(direction, "done").Inc()
		return
	case errors.As(err, &challenge):
		for _, h := range challenge.Headers {
			w.Header().Add("WWW-Authenticate", h)
		}
		refused = &refusal{http.StatusUnauthorized, "unauthorized", "authentication required"}
	case !errors.As(err, &refused):
		refused = &refusal{http.StatusInternalServerError, "failed", "internal error"}
	}
	s.metrics.requests.WithLabelValues(direction, refused.reason).Inc()
	s.cfg.Log.Info("file request refused", "remote", r.RemoteAddr, "method", r.Method, "status", refused.status, "error", err)
	if refused.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(int(s.cfg.Stall/time.Second)))
	}
	http.Error(w, refused.text, refused.status)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) (bytes int64, err error) {
	token, ok := parsePath(r.URL.Path)
	if !ok {
		return 0, errNotHere
	}
	g, err := s.cfg.Grants.Grant(r.Context(), token)
	if errors.Is(err, ErrNoGrant) || err == nil && !s.cfg.Now().Before(g.Expires) {
		return 0, errNotHere
	} else if err != nil {
		return 0, err
	}
	if err := CheckName(g.Name); err != nil {
		return 0, err
	}
	allowed := []string{http.MethodGet, http.MethodHead}
	if g.Upload {
		allowed = []string{http.MethodPut, http.MethodPost}
	}
	if r.Method != allowed[0] && r.Method != allowed[1] {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return 0, &refusal{http.StatusMethodNotAllowed, "method", "this transfer goes the other way"}
	}
	if err := s.authenticate(r, g); err != nil {
		return 0, err
	}
	if !s.enter(token) {
		return 0, &refusal{http.StatusServiceUnavailable, "busy", "too many transfers at once: try again later"}
	}
	defer s.leave(token)
	if g.Upload {
		return s.upload(w, r, g)
	}
	return s.download(w, r, g)
}

// enter takes a place among the transfers at once.
func (s *Server) enter(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= s.cfg.MaxTransfers || s.running[token] >= s.cfg.MaxEach {
		return false
	}
	s.total++
	s.running[token]++
	return true
}

func (s *Server) leave(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.running[token]--; s.running[token] == 0 {
		delete(s.running, token)
	}
}

// realm is what CPE are told that they authenticate for.
const realm = "uspbridge files"

// granted finds the credentials of the grant that is in the context.
type granted struct{}

// grantKey is the context's key of the grant.
type grantKey struct{}

// Find implements acs.Credentials.
func (granted) Find(ctx context.Context, _ cwmp.DeviceID, username string) (acs.Account, error) {
	g, ok := ctx.Value(grantKey{}).(Grant)
	if !ok || username != g.Username {
		return acs.Account{}, acs.ErrNoAccount
	}
	return acs.Account{Password: g.Password}, nil
}

// authenticate asks for the grant's credentials, if it has any. CPE can answer
// by Digest or Basic.
func (s *Server) authenticate(r *http.Request, g Grant) error {
	if g.Username == "" {
		return nil
	}
	ctx := context.WithValue(r.Context(), grantKey{}, g)
	var by acs.Authenticator = s.digest
	if _, _, basic := r.BasicAuth(); basic {
		by = s.basic
	}
	who, err := by.Authenticate(ctx, r)
	if err == nil {
		return who.Confirm(ctx, cwmp.DeviceID{}) // the token says which device it is
	}
	if challenge := new(acs.Challenge); by == s.digest && errors.As(err, &challenge) {
		challenge.Headers = append(challenge.Headers, `Basic realm="`+realm+`"`)
	}
	return err
}
