package broker

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
)

// maxVerified bounds the logins that are recognised, in each of two generations of
// some 50 bytes a login: far more than the endpoints of a site.
const maxVerified = 1 << 14

// verified recognises logins whose password bcrypt has found right before. When a
// site's power or network comes back all of its endpoints log in at once, which
// would keep the processors busy for a minute with each thousand.
//
// It keeps no passwords: a login is known by an HMAC under a key that only this
// process has and never writes anywhere. The HMAC is over the account's hash too, so
// that a login is unknown once its password has changed, and one that is not found
// among the accounts any more is not looked for here.
type verified struct {
	key []byte

	mu              sync.Mutex
	fresh, previous map[login256]struct{}
}

// login256 stands for one user name, hash and password.
type login256 [sha256.Size]byte

func newVerified() *verified {
	v := &verified{key: make([]byte, sha256.Size), fresh: map[login256]struct{}{}}
	_, _ = rand.Read(v.key) // never fails
	return v
}

// tag returns what stands for a login. The hash's length is fixed by bcrypt, so that
// no two logins run into each other.
func (v *verified) tag(a Account, password []byte) (t login256) {
	mac := hmac.New(sha256.New, v.key)
	for _, part := range [][]byte{a.Hash, []byte(a.Username), {0}, password} { // no user name has a 0
		_, _ = mac.Write(part) // never fails
	}
	mac.Sum(t[:0])
	return t
}

// has reports whether a login was found right before, and keeps it for longer.
func (v *verified) has(t login256) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.fresh[t]; ok {
		return true
	}
	if _, ok := v.previous[t]; !ok {
		return false
	}
	v.keep(t)
	return true
}

// add keeps a login that was found right.
func (v *verified) add(t login256) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keep(t)
}

// keep adds to the fresh generation. The caller holds v.mu.
func (v *verified) keep(t login256) {
	if len(v.fresh) >= maxVerified {
		v.previous, v.fresh = v.fresh, map[login256]struct{}{}
	}
	v.fresh[t] = struct{}{}
}
