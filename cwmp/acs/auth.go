package acs

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"

	"github.com/uspbridge/uspbridge/cwmp"
)

// Authenticator finds out who sends an Inform (TR-069 3.4.4). Later steps of
// the session are known by its random cookie.
//
// It is asked twice: Authenticate judges what the request's head and connection
// show, before anything of a stranger's body is read; then Identity.Confirm judges
// whether that proves to be the device that the Inform is of.
type Authenticator interface {
	// Authenticate returns who sent the request. A *Challenge is answered with
	// 401, a *Denial with 403, a *Throttled with 503; any other error with 500,
	// and the CPE will retry.
	Authenticate(ctx context.Context, r *http.Request) (Identity, error)
}

// Identity is whom a request says it is from, or is known to be from.
type Identity struct {
	Username string // user name, or the certificate's common name
	// Confirm returns nil if the identity may speak for the device; nil: it may
	// for any. A *Mismatch is answered with fault 8001, other errors as those of
	// Authenticate.
	Confirm func(ctx context.Context, id cwmp.DeviceID) error
}

// confirm is Confirm, which may be nil.
func (i Identity) confirm(ctx context.Context, id cwmp.DeviceID) error {
	if i.Confirm == nil {
		return nil
	}
	return i.Confirm(ctx, id)
}

// The kinds of refusals: labels of the refused counter.
const (
	kindChallenged    = "challenged"     // there were no credentials yet: nothing is wrong
	kindStale         = "stale_nonce"    // the credentials are old, not wrong
	kindPassword      = "unauthorized"   // a wrong password, or a user name that the device does not have
	kindUnknown       = "unknown_user"   // nothing is known that the device could authenticate with
	kindNotOffered    = "not_offered"    // another digest algorithm or qop
	kindNoCertificate = "no_certificate" // certificates are required
	kindIdentity      = "identity"       // good credentials, of another device
	kindThrottled     = "throttled"      // too many wrong passwords before
)

// Challenge is the error of an Authenticator that wants (other) credentials.
type Challenge struct {
	Headers []string // values of WWW-Authenticate
	Kind    string
	Reason  string
}

func (c *Challenge) Error() string { return c.Reason }

// expected reports whether the challenge is part of the ordinary exchange.
func (c *Challenge) expected() bool { return c.Kind == kindChallenged || c.Kind == kindStale }

// Denial is the error of an Authenticator to whom no credentials would do.
type Denial struct{ Kind, Reason string }

func (d *Denial) Error() string { return d.Reason }

// Mismatch is the error of an identity that is right, but not the device's.
type Mismatch struct{ Reason string }

func (m *Mismatch) Error() string { return m.Reason }

// Credentials finds what devices authenticate with. It is called for each Inform
// and must be quick.
type Credentials interface {
	// Find returns what a device that gives this user name must prove to know. It
	// fails with ErrNoAccount if there is nothing.
	Find(ctx context.Context, id cwmp.DeviceID, username string) (Account, error)
}

// Account is a password and whether it is the device's.
type Account struct {
	Password string
	Foreign  bool // the user name is another device's: right or wrong, this device may not use it
}

// ErrNoAccount is the error of Credentials that have none for a device and user.
var ErrNoAccount = errors.New("no credentials are known for this device and user name")

// passwords is what Basic and Digest share: the judgement of a password.
type passwords struct {
	credentials Credentials
	throttle    *Throttle
}

// unknownAccount is what the password of an unknown user is compared with, so
// that the answer takes as long as for a known one.
var unknownAccount = Account{Password: "no password is this one", Foreign: true}

// confirm judges a password that right compares with an account. challenge makes
// the answer to a wrong one.
func (p *passwords) confirm(ctx context.Context, remote, username string, id cwmp.DeviceID,
	right func(Account) bool, challenge func(kind, reason string) error) error {
	account, err := p.credentials.Find(ctx, id, username)
	unknown := errors.Is(err, ErrNoAccount)
	if unknown {
		account = unknownAccount
	} else if err != nil {
		return fmt.Errorf("credentials of %s, user %.64q: %w", id.Key(), username, err)
	}
	good := right(account)
	switch {
	case unknown:
		p.throttle.failed(remote, username)
		return challenge(kindUnknown, fmt.Sprintf("%s: no credentials are known for it and user %.64q", id.Key(), username))
	case !good:
		p.throttle.failed(remote, username)
		return challenge(kindPassword, fmt.Sprintf("%s: user %.64q is not its user, or the password is wrong", id.Key(), username))
	case account.Foreign:
		return &Mismatch{fmt.Sprintf("user %.64q is another device's", username)}
	}
	return nil
}

// equal compares without telling by its time how much is equal.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b)) // equal lengths for the comparison
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// authenticate judges a request before its body is read.
func (s *Server) authenticate(r *http.Request) (Identity, error) {
	if s.cfg.Auth == nil {
		return Identity{}, nil
	}
	return s.cfg.Auth.Authenticate(r.Context(), r)
}

// confirm judges whether the identity is that of the Inform's device.
func (s *Server) confirm(r *http.Request, user Identity, id cwmp.DeviceID) error {
	err := user.confirm(r.Context(), id)
	if mismatch := new(Mismatch); errors.As(err, &mismatch) {
		s.log.Warn("CPE refused: its credentials are not for this device", "user", user.Username, "device", string(id.Key()),
			"remote", r.RemoteAddr, "reason", mismatch.Reason)
		s.metrics.refused.WithLabelValues(kindIdentity).Inc()
	}
	return err
}

// unauthenticated makes the answer of an Authenticator's error; nil if it is none.
func unauthenticated(w http.ResponseWriter, err error) (refusal *httpError, expected bool) {
	var challenge *Challenge
	var denial *Denial
	var throttled *Throttled
	switch {
	case errors.As(err, &challenge):
		for _, c := range challenge.Headers {
			w.Header().Add("WWW-Authenticate", c)
		}
		return &httpError{http.StatusUnauthorized, challenge.Kind, "authentication required"}, challenge.expected()
	case errors.As(err, &denial):
		return &httpError{http.StatusForbidden, denial.Kind, denial.Reason}, false
	case errors.As(err, &throttled):
		return &httpError{http.StatusServiceUnavailable, kindThrottled, throttled.Error()}, true // its beginning was logged
	}
	return nil, false
}
