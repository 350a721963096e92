package trust

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/uspbridge/uspbridge/store"
)

// Issuer is a CA that signs the certificates of agents.
type Issuer struct {
	Chain []*x509.Certificate // its certificate, then those above it
	Key   crypto.Signer
}

// NewIssuer checks that a CA can issue certificates of agents.
func NewIssuer(chain []*x509.Certificate, key crypto.Signer, now time.Time) (*Issuer, error) {
	if len(chain) == 0 || len(chain) > maxChain {
		return nil, fmt.Errorf("a chain of %d certificates: want 1 to %d, that of the CA first", len(chain), maxChain)
	}
	ca := chain[0]
	public, ok := ca.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case !ca.IsCA || ca.KeyUsage != 0 && ca.KeyUsage&x509.KeyUsageCertSign == 0:
		return nil, fmt.Errorf("the certificate of %q is no CA's", ca.Subject)
	case now.After(ca.NotAfter):
		return nil, fmt.Errorf("the certificate of %q has ended on %s", ca.Subject, ca.NotAfter.UTC().Format(time.RFC3339))
	case !ok || !public.Equal(key.Public()):
		return nil, fmt.Errorf("the key is not that of the certificate of %q", ca.Subject)
	}
	for i, c := range chain[1:] {
		if err := chain[i].CheckSignatureFrom(c); err != nil {
			return nil, fmt.Errorf("certificate %d of the chain has not signed the one before it: %w", i+2, err)
		}
	}
	return &Issuer{Chain: chain, Key: key}, nil
}

// The built-in CA lasts as long as devices do: its root has to be handed to
// controllers by hand.
const (
	rootLife = 30 * 365 * 24 * time.Hour
	backdate = time.Hour // certificates begin so long ago, for peers whose clocks are behind
)

// caOwner owns the records of the CA; it is no endpoint id.
const caOwner = "ca"

var rootKey = store.Key{Kind: store.Certificate, Owner: caOwner, Name: "root"}

// ErrSignedElsewhere is the failure of what takes the key of the CA where that is not
// here.
var ErrSignedElsewhere = errors.New("the certificates of agents are signed elsewhere (usp.identity.hand_off): the CA's certificate and revocation list are there, too")

// authority returns the CA that issues; the built-in one is made when it is first
// needed.
func (t *Trust) authority(ctx context.Context) (*Issuer, error) {
	if i := t.issuer.Load(); i != nil {
		return i, nil
	}
	if t.cfg.HandOff {
		return nil, ErrSignedElsewhere
	}
	p, err := t.once(ctx, rootKey, t.newRoot)
	if err != nil {
		return nil, fmt.Errorf("built-in CA: %w", err)
	}
	i, err := p.issuer()
	if err != nil {
		return nil, fmt.Errorf("built-in CA: %w", err)
	}
	t.issuer.Store(i)
	return i, nil
}

// Root returns the certificate that controllers have to trust to believe the
// certificates of agents: the top of the issuing CA's chain.
func (t *Trust) Root(ctx context.Context) (*x509.Certificate, error) {
	i, err := t.authority(ctx)
	if err != nil {
		return nil, err
	}
	return i.Chain[len(i.Chain)-1], nil
}

func (t *Trust) newRoot() (*pair, error) {
	serial := newSerial()
	template := &x509.Certificate{
		SerialNumber: serial,
		// The number tells apart the CAs of several bridges.
		Subject:   pkix.Name{Organization: []string{"uspbridge"}, CommonName: fmt.Sprintf("uspbridge agents CA %x", serial.Bytes()[:4])},
		NotBefore: t.cfg.Now().Add(-backdate), NotAfter: t.cfg.Now().Add(rootLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	t.cfg.Log.Info("a CA for the certificates of agents was made; controllers that are to believe them need its root", "subject", template.Subject.String())
	return newPair(key, [][]byte{der})
}

// newKey makes a key of the curve that every USP endpoint knows: that of
// ECDHE-ECDSA-AES128-GCM-SHA256 and of signatures of records.
func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// newSerial returns a serial number of 16 bytes (RFC 5280 4.1.2.2: at most 20).
func newSerial() *big.Int {
	var b [16]byte
	rand.Read(b[:])       // never fails
	b[0] = b[0]&0x7f | 64 // positive, and always as long
	return new(big.Int).SetBytes(b[:])
}

// pair is a key with its certificates, the leaf first, as the store has it.
type pair struct {
	Key   []byte   `json:"key"` // PKCS #8
	Chain [][]byte `json:"chain,omitempty"`
	// Request is the certificate request of a key that waits for its certificate.
	Request []byte `json:"request,omitempty"`
	Issued  string `json:"issued,omitempty"` // when, RFC 3339
}

func newPair(key crypto.Signer, chain [][]byte) (*pair, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return &pair{Key: der, Chain: chain}, nil
}

func (p *pair) signer() (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(p.Key)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key cannot sign")
	}
	return signer, nil
}

func (p *pair) certificates() ([]*x509.Certificate, error) {
	chain := make([]*x509.Certificate, len(p.Chain))
	for i, der := range p.Chain {
		var err error
		if chain[i], err = x509.ParseCertificate(der); err != nil {
			return nil, err
		}
	}
	if len(chain) == 0 {
		return nil, errors.New("there is no certificate")
	}
	return chain, nil
}

func (p *pair) issuer() (*Issuer, error) {
	key, err := p.signer()
	if err != nil {
		return nil, err
	}
	chain, err := p.certificates()
	if err != nil {
		return nil, err
	}
	return &Issuer{Chain: chain, Key: key}, nil
}

// read returns a stored pair, nil if there is none, and the record that it is.
func (t *Trust) read(ctx context.Context, key store.Key) (*pair, []byte, error) {
	b, err := t.cfg.Store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	p := new(pair)
	if err := json.Unmarshal(b, p); err != nil {
		return nil, nil, fmt.Errorf("record of %s: %w", key.Owner, err)
	}
	return p, b, nil
}

// once returns the pair of a record that is made if it is not there. Of several
// that make it at once, on other nodes too, all get the same.
func (t *Trust) once(ctx context.Context, key store.Key, make func() (*pair, error)) (*pair, error) {
	for {
		p, _, err := t.read(ctx, key)
		if err != nil || p != nil {
			return p, err
		}
		if p, err = make(); err != nil {
			return nil, err
		}
		err = t.swap(ctx, key, nil, p)
		if !errors.Is(err, store.ErrConflict) {
			return p, err
		}
	}
}

// swap replaces a record if it is still what it was.
func (t *Trust) swap(ctx context.Context, key store.Key, old []byte, p *pair, also ...store.Op) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	batch := store.Batch{Ops: also}
	batch.CompareAndSet(key, old, b)
	return t.cfg.Store.Commit(ctx, &batch)
}
