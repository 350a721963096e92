package acs

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs/digest"
)

// Authenticator finds out who sends an Inform (TR-069 3.4.4). Later steps of
// the session are known by its random cookie.
type Authenticator interface {
	// Authenticate returns who sent the request. A *Challenge is answered with
	// 401; any other error with 500, and the CPE will retry.
	Authenticate(ctx context.Context, r *http.Request) (Identity, error)
}

// Identity is whom the credentials belong to.
type Identity struct {
	Username string
	Allows   func(cwmp.DeviceID) bool // which devices may use them; nil: any
}

// Challenge is the error of an Authenticator that wants (other) credentials.
type Challenge struct {
	Headers []string // values of WWW-Authenticate
	First   bool     // the request had no credentials yet: nothing is wrong
	Reason  string
}

func (c *Challenge) Error() string { return c.Reason }

// Account is what is known of a user name.
type Account struct {
	Password string
	Allows   func(cwmp.DeviceID) bool // nil: any device
}

// Credentials looks up a user name; ok is false if there is none such.
type Credentials func(ctx context.Context, username string) (a Account, ok bool, err error)

const defaultRealm = "uspbridge"

// Basic authenticates by HTTP basic authentication (RFC 7617). Use it with TLS only.
type Basic struct {
	Realm       string // "uspbridge" if empty
	Credentials Credentials
}

// Authenticate implements Authenticator.
func (b *Basic) Authenticate(ctx context.Context, r *http.Request) (Identity, error) {
	realm := b.Realm
	if realm == "" {
		realm = defaultRealm
	}
	challenge := func(first bool, reason string) error {
		return &Challenge{Headers: []string{fmt.Sprintf("Basic realm=%q", realm)}, First: first, Reason: reason}
	}
	name, password, ok := r.BasicAuth()
	if !ok || name == "" && password == "" { // some CPE send ":" before they are asked
		return Identity{}, challenge(true, "no credentials")
	}
	account, known, err := b.Credentials(ctx, name)
	if err != nil {
		return Identity{}, fmt.Errorf("look up user %.64q: %w", name, err)
	}
	if !equal(password, account.Password) || !known {
		return Identity{}, challenge(false, fmt.Sprintf("user %.64q or its password is wrong", name))
	}
	return Identity{Username: name, Allows: account.Allows}, nil
}

func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b)) // equal lengths for the comparison
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// DigestConfig is what a Digest authenticator needs.
type DigestConfig struct {
	Realm       string // "uspbridge" if empty
	Credentials Credentials
	// Algorithms offered, one challenge each, in this order. Only MD5 if nil:
	// many CPE understand the first challenge only, or no other algorithm.
	Algorithms []digest.Algorithm
	// NonceLife is how long a nonce is good; then the CPE is told that it is
	// stale and repeats with a new one, without asking anybody. 5 min.
	NonceLife time.Duration
	// Secret makes nonces verifiable by whoever has it, such as all nodes behind
	// one load balancer. Random if nil.
	Secret []byte
}

// Digest authenticates by HTTP digest authentication (RFC 7616; RFC 2069
// answers without qop are taken). A nonce is not bound to a connection, since
// CPE open a new one after the 401; and nc is not checked, since CPE leave it at
// 1. So within its life a nonce does not prevent replay: that takes TLS.
type Digest struct {
	realm string
	cfg   DigestConfig
}

// NewDigest returns a Digest authenticator.
func NewDigest(cfg DigestConfig) (*Digest, error) {
	if cfg.Credentials == nil {
		return nil, errors.New("acs: DigestConfig.Credentials is required")
	}
	if cfg.Algorithms == nil {
		cfg.Algorithms = []digest.Algorithm{digest.MD5}
	}
	for _, a := range cfg.Algorithms {
		if a != digest.MD5 && a != digest.SHA256 {
			return nil, fmt.Errorf("acs: digest algorithm %q is not offered: use MD5 or SHA-256", a)
		}
	}
	if cfg.NonceLife <= 0 {
		cfg.NonceLife = 5 * time.Minute
	}
	if cfg.Secret == nil {
		cfg.Secret = make([]byte, 32)
		rand.Read(cfg.Secret)
	}
	realm := cfg.Realm
	if realm == "" {
		realm = defaultRealm
	}
	return &Digest{realm: realm, cfg: cfg}, nil
}

// Authenticate implements Authenticator.
func (d *Digest) Authenticate(ctx context.Context, r *http.Request) (Identity, error) {
	var p map[string]string
	for _, s := range digest.Parse(r.Header.Get("Authorization")) {
		if s.Name == "digest" {
			p = s.Params
			break
		}
	}
	if p == nil { // none, or Basic unasked
		return Identity{}, d.challenge(&Challenge{First: true, Reason: "no digest credentials"}, false)
	}
	wrong := func(format string, args ...any) (Identity, error) {
		return Identity{}, d.challenge(&Challenge{Reason: fmt.Sprintf(format, args...)}, false)
	}
	algorithm, known := digest.ParseAlgorithm(p["algorithm"])
	if !known || !d.offers(algorithm.Base()) {
		return wrong("digest algorithm %.32q was not offered", p["algorithm"])
	}
	if p["qop"] != "" && !strings.EqualFold(p["qop"], "auth") {
		return wrong("digest qop %.32q was not offered", p["qop"])
	}
	if p["nonce"] == "" {
		return wrong("digest credentials have no nonce")
	}
	age, ours := d.nonceAge(p["nonce"])
	if !ours {
		// A restart changes the secret: the CPE's nonce is then stale, not forged.
		return Identity{}, d.challenge(&Challenge{First: true, Reason: "nonce of another time"}, true)
	}
	if age > d.cfg.NonceLife {
		return Identity{}, d.challenge(&Challenge{First: true, Reason: "stale nonce"}, true)
	}
	account, found, err := d.cfg.Credentials(ctx, p["username"])
	if err != nil {
		return Identity{}, fmt.Errorf("look up user %.64q: %w", p["username"], err)
	}
	// The URI is taken as the CPE wrote it: proxies rewrite it, CPE write it
	// absolute, and there is but one resource here.
	x := digest.Exchange{Algorithm: algorithm, Username: p["username"], Password: account.Password, Realm: d.realm,
		Nonce: p["nonce"], Method: r.Method, URI: p["uri"], QOP: p["qop"], NonceCount: p["nc"], ClientN: p["cnonce"]}
	if !equal(x.Response(), strings.ToLower(p["response"])) || !found {
		return wrong("user %.64q or its password is wrong", p["username"])
	}
	return Identity{Username: p["username"], Allows: account.Allows}, nil
}

func (d *Digest) offers(a digest.Algorithm) bool {
	for _, offered := range d.cfg.Algorithms {
		if a == offered {
			return true
		}
	}
	return false
}

// challenge completes c with one header for each algorithm.
func (d *Digest) challenge(c *Challenge, stale bool) error {
	nonce := d.nonce(time.Now())
	for _, a := range d.cfg.Algorithms {
		h := fmt.Sprintf(`Digest realm=%q, qop="auth", nonce="%s", algorithm=%s`, d.realm, nonce, a)
		if stale {
			h += ", stale=true"
		}
		c.Headers = append(c.Headers, h)
	}
	return c
}

const nonceMAC = 16 // bytes of the MAC kept in a nonce

// nonce returns a nonce that tells its time and proves that it is ours, so that
// none has to be remembered.
func (d *Digest) nonce(t time.Time) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(t.UnixNano()))
	return base64.RawURLEncoding.EncodeToString(append(b, d.mac(b)...))
}

func (d *Digest) mac(b []byte) []byte {
	m := hmac.New(sha256.New, d.cfg.Secret)
	m.Write(b)
	return m.Sum(nil)[:nonceMAC]
}

func (d *Digest) nonceAge(nonce string) (age time.Duration, ours bool) {
	b, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(b) != 8+nonceMAC || !hmac.Equal(b[8:], d.mac(b[:8])) {
		return 0, false
	}
	return time.Since(time.Unix(0, int64(binary.BigEndian.Uint64(b)))), true
}
