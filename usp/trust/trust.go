package trust

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
)

// Config is what a Trust needs. Only Store is required.
type Config struct {
	// Store keeps the keys and certificates of agents and of the built-in CA. It
	// seals store.Certificate.
	Store store.Store

	// CA is an operator's CA that issues the agents' certificates, its chain from
	// itself up; nil: the built-in one does.
	CA *Issuer
	// HandOff leaves issuing to an operator: requests wait for certificates to be
	// imported. There is no CA then.
	HandOff bool
	// Life is how long an issued certificate is valid (default 1 year).
	Life time.Duration

	// Authorities vouch for the peers of all agents; nil: none does.
	Authorities Authorities

	Log        *slog.Logger
	Now        func() time.Time      // default time.Now
	Registerer prometheus.Registerer // nil: no metrics
}

// Authorities are CAs that are trusted to say who a peer is, and what they have
// revoked, as they are now.
type Authorities interface {
	Current() (cas []*x509.Certificate, revoked func(*x509.Certificate) bool)
}

// Book is what agents' own objects say of their peers. Agents without a name, of
// connections that are for all of them, are not asked for.
type Book interface {
	// Known returns what an agent keeps about a peer. It fails for an agent that
	// is not hosted here.
	Known(ctx context.Context, agent, peer usp.EndpointID) (Known, error)
	// Admitted tells that a peer has proven who it is, durably when it returns nil.
	Admitted(ctx context.Context, agent, peer usp.EndpointID, by Admission) error
	// Revoked tells that the certificate kept of a peer was revoked.
	Revoked(ctx context.Context, agent, peer usp.EndpointID) error
}

// Known is what an agent keeps about one peer, and who may vouch for it.
type Known struct {
	Registered   bool                // it is in the Controller table
	Certificates []*x509.Certificate // those it may show: Controller.{i}.Credential
	Authorities  []Authority         // enabled rows of ControllerTrust.Credential
	FirstUse     bool                // ControllerTrust.TOFUAllowed
}

// Authority is a CA, or a single certificate, that an agent trusts.
type Authority struct {
	Certificate *x509.Certificate
	Credential  uint32 // its row of ControllerTrust.Credential
	Uses        Uses
}

// Uses are the values of ControllerTrust.Credential.{i}.AllowedUses.
type Uses string

// What an authority is trusted to do.
const (
	Connections Uses = "MTP-only"       // to let connect, not to say who is who
	Peers       Uses = "MTP-and-USP"    // to say who a controller is
	Brokers     Uses = "MTP-and-broker" // to say who is a broker, whose word for others is taken
)

// Admission says why a peer is believed.
type Admission struct {
	// Credential is the row of the authority that vouches; 0: one of the
	// configuration, or nobody has to.
	Credential uint32
	// Remember is to be kept as the peer's own certificate: it is trusted on first
	// use.
	Remember *x509.Certificate
}

// Trust issues and judges certificates. All methods may be called concurrently.
type Trust struct {
	cfg     Config
	book    atomic.Pointer[Book]
	issuer  atomic.Pointer[Issuer]
	metrics *metrics
}

// New returns a Trust.
func New(cfg Config) (*Trust, error) {
	if cfg.Store == nil {
		return nil, errors.New("trust: Config.Store is required")
	}
	if cfg.HandOff && cfg.CA != nil {
		return nil, errors.New("trust: requests are handed off or signed by a CA here, not both")
	}
	if cfg.Life <= 0 {
		cfg.Life = defaultLife
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	t := &Trust{cfg: cfg, metrics: m}
	t.issuer.Store(cfg.CA)
	return t, nil
}

// Attach says where agents' own objects are found. Until then nothing is known of
// any peer.
func (t *Trust) Attach(b Book) { t.book.Store(&b) }

// known asks the book; of no agent in particular nothing is kept.
func (t *Trust) known(ctx context.Context, agent, peer usp.EndpointID) (Known, error) {
	b := t.book.Load()
	if b == nil || agent == "" {
		return Known{}, nil
	}
	return (*b).Known(ctx, agent, peer)
}
