package translate

import (
	"fmt"

	"github.com/uspbridge/uspbridge/store"
)

// The password of connection requests is sealed in the device's record, also in
// memory. It is sealed when it changes, not when the record is written: every
// Inform writes it.

// password returns the password of connection requests.
func (r *Record) password(s store.Sealer) (string, error) {
	if len(r.Secret) == 0 {
		return "", nil
	}
	secret, err := s.Open(recordKey(r.Key()), r.Secret)
	if err != nil {
		return "", fmt.Errorf("connection request password of %s: %w", r.Key(), err)
	}
	return string(secret), nil
}

// setPassword makes it the password of connection requests.
func (r *Record) setPassword(s store.Sealer, password string) {
	if now, err := r.password(s); err == nil && now == password {
		return
	}
	r.Secret = s.Seal(recordKey(r.Key()), []byte(password))
}

// checkPassword readies a record that comes from the store: a plain password of
// an earlier version is sealed, and one that cannot be opened is dropped, so that
// the CPE is provisioned anew; the error says why.
func (r *Record) checkPassword(s store.Sealer) error {
	if r.PlainPassword != "" {
		r.setPassword(s, r.PlainPassword)
		r.PlainPassword = ""
	}
	_, err := r.password(s)
	if err != nil {
		r.Username, r.Secret, r.Provisioned = "", nil, ""
	}
	return err
}
