package acs

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/uspbridge/uspbridge/cwmp"
)

const defaultRealm = "uspbridge"

// BasicConfig is what a Basic authenticator needs.
type BasicConfig struct {
	Realm       string // "uspbridge" if empty
	Credentials Credentials
	Throttle    *Throttle // nil: wrong passwords are not limited
}

// Basic authenticates by HTTP basic authentication (RFC 7617). Use it with TLS only.
type Basic struct {
	passwords
	header string
}

// NewBasic returns a Basic authenticator.
func NewBasic(cfg BasicConfig) (*Basic, error) {
	if cfg.Credentials == nil {
		return nil, errors.New("acs: BasicConfig.Credentials is required")
	}
	realm, err := realmOr(cfg.Realm)
	if err != nil {
		return nil, err
	}
	return &Basic{passwords{cfg.Credentials, cfg.Throttle}, `Basic realm="` + realm + `"`}, nil
}

// CheckRealm returns what is wrong with a realm: what would need escaping in a
// header is refused, since CPE do not undo it.
func CheckRealm(realm string) error {
	for _, c := range []byte(realm) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return fmt.Errorf("realm %q: use printable ASCII without quotes and backslashes", realm)
		}
	}
	return nil
}

// realmOr returns the realm, or the default one.
func realmOr(realm string) (string, error) {
	if realm == "" {
		realm = defaultRealm
	}
	if err := CheckRealm(realm); err != nil {
		return "", fmt.Errorf("acs: %w", err)
	}
	return realm, nil
}

// Authenticate implements Authenticator.
func (b *Basic) Authenticate(_ context.Context, r *http.Request) (Identity, error) {
	name, password, ok := r.BasicAuth()
	if !ok || name == "" && password == "" { // some CPE send ":" before they are asked
		return Identity{}, b.challenge(kindChallenged, "no credentials")
	}
	if err := b.throttle.admit(r.RemoteAddr, name); err != nil {
		return Identity{}, err
	}
	return Identity{Username: name, Confirm: func(ctx context.Context, id cwmp.DeviceID) error {
		return b.confirm(ctx, r.RemoteAddr, name, id, func(a Account) bool { return equal(password, a.Password) }, b.challenge)
	}}, nil
}

func (b *Basic) challenge(kind, reason string) error {
	return &Challenge{Headers: []string{b.header}, Kind: kind, Reason: reason}
}
