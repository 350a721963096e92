package acs

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs/digest"
)

// DigestConfig is what a Digest authenticator needs.
type DigestConfig struct {
	Realm       string // "uspbridge" if empty
	Credentials Credentials
	Throttle    *Throttle // nil: wrong passwords are not limited
	// Algorithms offered, one challenge each, in this order. Only MD5 if nil:
	// many CPE understand the first challenge only, or no other algorithm.
	Algorithms []digest.Algorithm
	// NoQOP leaves qop out of the challenge (RFC 2069), for CPE that cannot do
	// with it. Answers with and without qop are taken in any case.
	NoQOP bool
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
	passwords
	cfg DigestConfig
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
	var err error
	if cfg.Realm, err = realmOr(cfg.Realm); err != nil {
		return nil, err
	}
	return &Digest{passwords{cfg.Credentials, cfg.Throttle}, cfg}, nil
}

// Authenticate implements Authenticator.
func (d *Digest) Authenticate(_ context.Context, r *http.Request) (Identity, error) {
	p := digestParams(r.Header)
	if p == nil { // none, or Basic unasked
		return Identity{}, d.challenge(kindChallenged, "no digest credentials")
	}
	algorithm, ok := d.algorithm(p)
	if !ok {
		return Identity{}, d.challenge(kindNotOffered, fmt.Sprintf("digest algorithm %.32q was not offered", p["algorithm"]))
	}
	if p["qop"] != "" && !strings.EqualFold(p["qop"], "auth") {
		return Identity{}, d.challenge(kindNotOffered, fmt.Sprintf("digest qop %.32q was not offered", p["qop"]))
	}
	age, ours := d.nonceAge(p["nonce"])
	if !ours {
		// A restart changes the secret: the CPE's nonce is then stale, not forged.
		return Identity{}, d.challenge(kindStale, "nonce of another time")
	}
	if age > d.cfg.NonceLife {
		return Identity{}, d.challenge(kindStale, "stale nonce")
	}
	if err := d.throttle.admit(r.RemoteAddr, p["username"]); err != nil {
		return Identity{}, err
	}
	// The URI is taken as the CPE wrote it: proxies rewrite it, CPE write it
	// absolute, and there is but one resource here.
	x := digest.Exchange{Algorithm: algorithm, Username: p["username"], Realm: d.cfg.Realm,
		Nonce: p["nonce"], Method: r.Method, URI: p["uri"], QOP: p["qop"], NonceCount: p["nc"], ClientN: p["cnonce"]}
	response := strings.ToLower(p["response"])
	return Identity{Username: x.Username, Confirm: func(ctx context.Context, id cwmp.DeviceID) error {
		return d.confirm(ctx, r.RemoteAddr, x.Username, id, func(a Account) bool {
			x.Password = a.Password
			return equal(x.Response(), response)
		}, d.challenge)
	}}, nil
}

// digestParams returns the parameters of digest credentials, nil if there are none.
func digestParams(h http.Header) map[string]string {
	for _, line := range h["Authorization"] {
		for _, s := range digest.Parse(line) {
			if s.Name == "digest" {
				return s.Params
			}
		}
	}
	return nil
}

// algorithm returns the algorithm of an answer. CPE that spell it in a way of
// their own are known by the length of what they computed.
func (d *Digest) algorithm(p map[string]string) (digest.Algorithm, bool) {
	a, known := digest.ParseAlgorithm(p["algorithm"])
	if !known {
		switch len(p["response"]) {
		case 2 * 16:
			a = digest.MD5
		case 2 * sha256.Size:
			a = digest.SHA256
		}
	}
	return a, slices.Contains(d.cfg.Algorithms, a.Base())
}

// challenge returns a Challenge with one header for each algorithm.
func (d *Digest) challenge(kind, reason string) error {
	c := &Challenge{Kind: kind, Reason: reason}
	nonce := d.nonce(time.Now())
	for _, a := range d.cfg.Algorithms {
		h := `Digest realm="` + d.cfg.Realm + `"`
		if !d.cfg.NoQOP {
			h += `, qop="auth"`
		}
		h += `, nonce="` + nonce + `", algorithm=` + string(a)
		if kind == kindStale {
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
