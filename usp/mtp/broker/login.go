package broker

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"golang.org/x/crypto/bcrypt"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp/flood"
)

// endpointProperty names the endpoint in CONNECT (TR-369 R-MQTT.13).
const endpointProperty = "usp-endpoint-id"

// storeTimeout bounds the look for an account.
const storeTimeout = 10 * time.Second

// login knows clients by what they show.
type login struct {
	accounts  Accounts
	anonymous bool
	failures  *flood.Limiter
	hashing   chan struct{} // holds a token for each password being compared
	verified  *verified     // those that were found right before
}

// dummyHash is compared where there is no account, so that names cannot be told by
// time. Whatever password has it lets nobody in.
const dummyHash = "$2a$10$Rr89iEpwWES5jri3LPQzquC79b6WTwphytJA9o33DtsXC/2QFyNZ6"

func newLogin(cfg Config) *login {
	return &login{
		accounts: cfg.Accounts, anonymous: cfg.Anonymous, failures: flood.NewLimiter(cfg.WrongPasswords, nil),
		// Passwords are not to take all processors from those who are in already.
		hashing: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), verified: newVerified(),
	}
}

// shown is what a client comes with.
type shown struct {
	remote   netip.Addr
	local    bool              // from this machine itself
	chain    *x509.Certificate // verified by TLS; nil: none
	claimed  usp.EndpointID    // of the CONNECT's user property; "" if it has none
	clientID string
	username string
	password []byte
	hasName  bool
}

// known is who a client is.
type known struct {
	endpoint usp.EndpointID
	username string
	proven   bool
}

// identify returns who a client is, or the reason for which it is refused.
func (l *login) identify(s shown) (known, error) {
	who, err := l.prove(s)
	if err != nil {
		return known{}, err
	}
	if s.claimed != "" && s.claimed != who.endpoint {
		return known{}, packets.ErrNotAuthorized
	}
	if checkEndpoint(who.endpoint) != nil {
		return known{}, packets.ErrClientIdentifierNotValid
	}
	return who, nil
}

func (l *login) prove(s shown) (known, error) {
	var named []usp.EndpointID
	if s.chain != nil {
		named = usp.EndpointsOf(s.chain)
	}
	names := func(id usp.EndpointID) bool { return s.chain != nil && usp.Names(s.chain, id) }
	switch {
	case s.hasName:
		a, err := l.password(s)
		if err != nil {
			return known{}, err
		}
		if len(named) > 0 && !names(a.Endpoint) { // R-SEC.0a
			return known{}, packets.ErrNotAuthorized
		}
		return known{endpoint: a.Endpoint, username: a.Username, proven: true}, nil
	case names(s.claimed): // it may name several
		return known{endpoint: s.claimed, proven: true}, nil
	case len(named) == 1:
		return known{endpoint: named[0], proven: true}, nil
	case l.anonymous && s.local && len(named) == 0:
		if s.claimed != "" {
			return known{endpoint: s.claimed}, nil
		}
		return known{endpoint: usp.EndpointID(s.clientID)}, nil // MQTT 3.1.1 has no user properties
	}
	return known{}, packets.ErrBadUsernameOrPassword
}

func (l *login) password(s shown) (Account, error) {
	if flood.Exhausted(l.failures, s.remote) {
		return Account{}, packets.ErrServerBusy
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	a, err := l.accounts.Find(ctx, s.username)
	unknown := errors.Is(err, ErrNoAccount)
	if err != nil && !unknown {
		return Account{}, err
	}
	if unknown {
		l.compare([]byte(dummyHash), s.password)
	}
	if unknown || !l.right(a, s.password) {
		flood.Take(l.failures, s.remote, 0)
		return Account{}, packets.ErrBadUsernameOrPassword
	}
	return a, nil
}

// right reports whether a password is the account's. That it was before is enough;
// who guesses finds out nothing sooner by it, for wrong ones are never kept and are
// counted before one is looked at.
func (l *login) right(a Account, password []byte) bool {
	tag := l.verified.tag(a, password)
	if l.verified.has(tag) {
		return true
	}
	if !l.compare(a.Hash, password) {
		return false
	}
	l.verified.add(tag)
	return true
}

// compare has bcrypt look at a password, when a processor is free for it.
func (l *login) compare(hash, password []byte) (right bool) {
	l.hashing <- struct{}{}
	defer func() { <-l.hashing }()
	return bcrypt.CompareHashAndPassword(hash, password) == nil
}

// addressOf returns the address of a peer. Of IPv6, a customer's network has a whole
// /64.
func addressOf(remote net.Addr) (from netip.Addr, local bool) {
	at, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return netip.Addr{}, false
	}
	from = at.Addr().Unmap()
	local = from.IsLoopback()
	if from.Is6() {
		from = netip.PrefixFrom(from.WithZone(""), 64).Masked().Addr()
	}
	return from, local
}
