package broker

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp/flood"
)

// book is Accounts in memory.
type book map[string]Account

func (b book) Find(_ context.Context, name string) (Account, error) {
	if a, ok := b[name]; ok {
		return a, nil
	}
	return Account{}, ErrNoAccount
}

func account(t testing.TB, name, password string, cost int) Account {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return Account{Username: name, Endpoint: usp.EndpointID("os::00259E-" + name), Hash: hash}
}

func comesWith(name, password string) shown {
	return shown{remote: netip.MustParseAddr("192.0.2.1"), hasName: true, username: name, password: []byte(password)}
}

// TestComesBack: who was in before is in again without bcrypt, for which there is no
// processor here, and nobody else is.
func TestComesBack(t *testing.T) {
	accounts := book{"a": account(t, "a", "password of a", bcrypt.MinCost), "b": account(t, "b", "password of b", bcrypt.MinCost)}
	l := newLogin(Config{Accounts: accounts})
	if who, err := l.identify(comesWith("a", "password of a")); err != nil || who.endpoint != "os::00259E-a" {
		t.Fatalf("the first time: %+v, %v", who, err)
	}
	if _, err := l.identify(comesWith("b", "password of a")); err == nil {
		t.Fatal("b is in by the password of a")
	}
	known := func(name, password string) bool {
		return l.verified.has(l.verified.tag(accounts[name], []byte(password)))
	}
	for range cap(l.hashing) {
		l.hashing <- struct{}{}
	}
	if who, err := l.identify(comesWith("a", "password of a")); err != nil || who.endpoint != "os::00259E-a" || !who.proven {
		t.Errorf("back: %+v, %v", who, err)
	}
	if known("a", "password of b") || known("b", "password of b") || known("b", "password of a") {
		t.Error("a login is known that never was")
	}
	accounts["a"] = account(t, "a", "another one", bcrypt.MinCost)
	if known("a", "password of a") || known("a", "another one") {
		t.Error("a login is known after its password was changed")
	}
	delete(accounts, "a")
	for range cap(l.hashing) {
		<-l.hashing
	}
	if _, err := l.identify(comesWith("a", "password of a")); err == nil {
		t.Error("a is in after it was removed")
	}
}

// TestGuesses are counted before it is looked at whether a login is known.
func TestGuesses(t *testing.T) {
	l := newLogin(Config{Accounts: book{"a": account(t, "a", "password of a", bcrypt.MinCost)}, WrongPasswords: flood.Rates{Records: 0.001, Burst: 2}})
	if _, err := l.identify(comesWith("a", "password of a")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := l.identify(comesWith("a", "a guess")); err == nil {
			t.Fatal("in by a guess")
		}
	}
	if _, err := l.identify(comesWith("a", "password of a")); err == nil {
		t.Error("right after too many wrong ones from there")
	}
}

// TestVerifiedIsBounded, and keeps who comes back over who never did.
func TestVerifiedIsBounded(t *testing.T) {
	v := newVerified()
	tag := func(i int) login256 { return v.tag(Account{Username: fmt.Sprint(i)}, nil) }
	for i := range 5 * maxVerified {
		v.add(tag(i))
		if !v.has(tag(0)) {
			t.Fatalf("who comes again and again is unknown after %d others", i)
		}
	}
	if n := len(v.fresh) + len(v.previous); n > 2*maxVerified {
		t.Errorf("%d are kept, at most %d may be", n, 2*maxVerified)
	}
	if v.has(tag(1)) {
		t.Error("who came once, long ago, is known")
	}
}

// BenchmarkLogin of who was in before beside who was not.
func BenchmarkLogin(b *testing.B) {
	accounts := book{"a": account(b, "a", "password of a", hashCost)}
	for _, known := range []bool{false, true} {
		b.Run(fmt.Sprintf("known=%v", known), func(b *testing.B) {
			l := newLogin(Config{Accounts: accounts})
			for b.Loop() {
				if _, err := l.identify(comesWith("a", "password of a")); err != nil {
					b.Fatal(err)
				}
				if !known {
					l.verified = newVerified()
				}
			}
		})
	}
}
