package credential_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/credential"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/store/bolt"
	"github.com/uspbridge/uspbridge/store/seal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a keyring over a store of its own.
type fixture struct {
	*credential.Keyring
	store  *bolt.Store
	sealer store.Sealer
	file   string
	now    time.Time
}

func newFixture(t testing.TB, users map[string]credential.User) *fixture {
	t.Helper()
	f := &fixture{sealer: seal.Random(), file: filepath.Join(t.TempDir(), "db"), now: time.Unix(1e9, 0)}
	var err error
	if f.store, err = bolt.Open(bolt.Config{Path: f.file, NoSync: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.store.Close(); err != nil {
			t.Error(err)
		}
	})
	f.Keyring = f.another(t, users)
	return f
}

// another is a keyring of another node on the same store.
func (f *fixture) another(t testing.TB, users map[string]credential.User) *credential.Keyring {
	t.Helper()
	k, err := credential.New(context.Background(), credential.Config{Store: f.store, Sealer: f.sealer, Users: users, Now: func() time.Time { return f.now }})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func scope(t testing.TB, text string) credential.Scope {
	t.Helper()
	s, err := credential.ParseScope(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// give applies credentials written "SCOPE USER PASSWORD".
func (f *fixture) give(t testing.TB, lines ...string) credential.Applied {
	t.Helper()
	var entries []credential.Entry
	for _, l := range lines {
		w := strings.Fields(l)
		entries = append(entries, credential.Entry{Scope: scope(t, w[0]), Username: w[1], Password: w[2]})
	}
	done, err := f.Apply(t.Context(), entries)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func (f *fixture) list(t *testing.T, filter, after string) (got []string) {
	t.Helper()
	if err := f.List(t.Context(), filter, after, func(l credential.Listed) bool {
		got = append(got, fmt.Sprintf("%s %s %v", l.Scope, l.Username, l.Rule))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestFind: the first that there is of a device's own credential, the most
// specific rule and the file of users decides; nothing behind it counts.
func TestFind(t *testing.T) {
	f := newFixture(t, map[string]credential.User{
		"acs-user": {Password: "users"},
		"lab":      {Password: "lab", Allows: func(id cwmp.DeviceID) bool { return id.SerialNumber == "L1" }},
	})
	f.give(t,
		"00259E-HG8245A-A1 alice own",
		"00259E-HG8245B-* {oui}-{product_class}-{serial} class",
		"00259E-*-* vendor oui",
		"00259E-*-48* prefix forty-eight",
		"00259E-*-485? prefix four-characters",
		"*-*-B1 bob serial-only",
		"*-X-B1 bob class-and-serial",
		"0017C4-P%2D1-* space plain")
	hg := func(serial string) cwmp.DeviceID {
		return cwmp.DeviceID{Manufacturer: "M", OUI: "00259E", ProductClass: "HG8245A", SerialNumber: serial}
	}
	tests := []struct {
		name string
		id   cwmp.DeviceID
		user string
		want string // password, "none", or "foreign PASSWORD"
	}{
		{"its own", hg("A1"), "alice", "own"},
		{"OUI in lower case", cwmp.DeviceID{OUI: "00259e", ProductClass: "HG8245A", SerialNumber: "A1"}, "alice", "own"},
		{"its own counts, not its vendor's", hg("A1"), "vendor", "none"},
		{"its own counts, not a user's", hg("A1"), "acs-user", "foreign users"},
		{"by serial number only", hg("B1"), "bob", "serial-only"},
		{"a device's own wins over a rule", cwmp.DeviceID{OUI: "00259E", ProductClass: "X", SerialNumber: "B1"}, "bob", "class-and-serial"},
		{"a rule", hg("C1"), "vendor", "oui"},
		{"a longer prefix", hg("48990"), "prefix", "forty-eight"},
		{"more characters of the pattern", hg("4851"), "prefix", "four-characters"},
		{"serial number before product class", cwmp.DeviceID{OUI: "00259E", ProductClass: "HG8245B", SerialNumber: "4851"}, "prefix", "four-characters"},
		{"user name of a template", cwmp.DeviceID{OUI: "00259E", ProductClass: "HG8245B", SerialNumber: "A.1"}, "00259E-HG8245B-A%2E1", "class"},
		{"the template's user name of another", cwmp.DeviceID{OUI: "00259E", ProductClass: "HG8245B", SerialNumber: "A1"}, "00259E-HG8245B-A2", "foreign class"},
		{"a dash in the product class", cwmp.DeviceID{OUI: "0017C4", ProductClass: "P-1", SerialNumber: "1"}, "space", "plain"},
		{"a user of the configuration", cwmp.DeviceID{OUI: "AABBCC", SerialNumber: "1"}, "acs-user", "users"},
		{"a user for some devices", cwmp.DeviceID{OUI: "AABBCC", SerialNumber: "L1"}, "lab", "lab"},
		{"a user for other devices", cwmp.DeviceID{OUI: "AABBCC", SerialNumber: "L2"}, "lab", "foreign lab"},
		{"nobody", cwmp.DeviceID{OUI: "AABBCC", SerialNumber: "1"}, "mallory", "none"},
		{"no serial number", cwmp.DeviceID{OUI: "AABBCC"}, "bob", "none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := f.Find(t.Context(), tt.id, tt.user)
			got := a.Password
			if a.Foreign {
				got = "foreign " + got
			}
			if errors.Is(err, acs.ErrNoAccount) {
				got = "none"
			} else if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestApply: what is there already is not written again; a batch with a bad entry
// changes nothing.
func TestApply(t *testing.T) {
	f := newFixture(t, nil)
	lines := []string{"00259E-X-1 u p", "00259E-X-* u p"}
	if got, want := f.give(t, lines...), (credential.Applied{Added: 2}); got != want {
		t.Errorf("first: %+v, want %+v", got, want)
	}
	if got, want := f.give(t, lines...), (credential.Applied{Same: 2}); got != want {
		t.Errorf("again: %+v, want %+v", got, want)
	}
	if got, want := f.give(t, "00259E-X-1 u other", "00259E-X-2 u p"), (credential.Applied{Added: 1, Changed: 1}); got != want {
		t.Errorf("changed: %+v, want %+v", got, want)
	}
	before := f.list(t, "", "")
	_, err := f.Apply(t.Context(), []credential.Entry{{Scope: scope(t, "00259E-X-3"), Username: "u", Password: "p"}, {Scope: scope(t, "00259E-X-4"), Username: "u"}})
	if err == nil || !strings.Contains(err.Error(), "00259E-X-4: there is no password") {
		t.Errorf("a bad entry: %v", err)
	}
	if d := cmp.Diff(before, f.list(t, "", "")); d != "" {
		t.Errorf("a batch with a bad entry changed something (-before +after):\n%s", d)
	}
}

// TestRulesAreBounded: an Inform is compared with a bounded number of rules.
func TestRulesAreBounded(t *testing.T) {
	const most = 1000
	f := newFixture(t, nil)
	entries := make([]credential.Entry, most+1)
	for i := range entries {
		entries[i] = credential.Entry{Scope: scope(t, fmt.Sprintf("00259E-X-%d*", i)), Username: "u", Password: "p"}
	}
	if _, err := f.Apply(t.Context(), entries); err == nil || !strings.Contains(err.Error(), "1001 rules") {
		t.Errorf("%d rules: %v", most+1, err)
	}
	if _, err := f.Apply(t.Context(), entries[:most]); err != nil {
		t.Error(err)
	}
}

func TestListAndRemove(t *testing.T) {
	f := newFixture(t, nil)
	f.give(t, "00259E-X-2 u p", "*-*-A bob p", "00259E-X-* vendor p")
	want := []string{"*-*-A bob false", "00259E-X-2 u false", "00259E-X-* vendor true"}
	if d := cmp.Diff(want, f.list(t, "", "")); d != "" {
		t.Errorf("all (-want +got):\n%s", d)
	}
	if d := cmp.Diff(want[1:], f.list(t, "", "*-*-A")); d != "" {
		t.Errorf("behind the first (-want +got):\n%s", d)
	}
	if d := cmp.Diff(want[2:], f.list(t, "VENDOR", "")); d != "" {
		t.Errorf("filtered (-want +got):\n%s", d)
	}
	for _, s := range []string{"*-*-A", "00259E-X-*"} {
		if err := f.Remove(t.Context(), scope(t, s)); err != nil {
			t.Error(err)
		}
		if err := f.Remove(t.Context(), scope(t, s)); !errors.Is(err, credential.ErrNotThere) {
			t.Errorf("%s removed twice: %v", s, err)
		}
	}
	if d := cmp.Diff(want[1:2], f.list(t, "", "")); d != "" {
		t.Errorf("after removing (-want +got):\n%s", d)
	}
	if _, err := f.Find(t.Context(), cwmp.DeviceID{OUI: "00259E", ProductClass: "X", SerialNumber: "9"}, "vendor"); !errors.Is(err, acs.ErrNoAccount) {
		t.Errorf("a removed rule still counts: %v", err)
	}
}

// TestOtherNode: rules that another node has changed are taken after a while.
func TestOtherNode(t *testing.T) {
	f := newFixture(t, nil)
	other := f.another(t, nil)
	f.give(t, "00259E-X-* u p")
	id := cwmp.DeviceID{OUI: "00259E", ProductClass: "X", SerialNumber: "1"}
	f.now = f.now.Add(11 * time.Second)
	if a, err := other.Find(t.Context(), id, "u"); err != nil || a.Password != "p" {
		t.Errorf("the other node: %+v, %v", a, err)
	}
}

// TestAtRest: the store's file has no password in it, and without the key there is
// an error that says what to do.
func TestAtRest(t *testing.T) {
	f := newFixture(t, nil)
	f.give(t, "00259E-X-1 u battery-staple", "00259E-X-* u battery-staple")
	blob, err := os.ReadFile(f.file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(blob, []byte("00259E-X-1")) || bytes.Contains(blob, []byte("battery-staple")) {
		t.Error("the password can be read in the store's file, or the credential is not there")
	}
	f.sealer = seal.Random()
	_, err = f.another(t, nil).Find(t.Context(), cwmp.DeviceID{OUI: "00259E", ProductClass: "X", SerialNumber: "1"}, "u")
	if !errors.Is(err, seal.ErrNoKey) || !strings.Contains(err.Error(), "set it again") {
		t.Errorf("with another key: %v", err)
	}
}

func TestScope(t *testing.T) {
	tests := []struct{ text, want string }{
		{"00259e-HG8245A-1", "00259E-HG8245A-1"},
		{"00259E--1", "00259E--1"},
		{"*-*-48?5*", "*-*-48?5*"},
		{"00259E-a b-%2a%3F%2d*", "00259E-a%20b-%2A%3F%2D*"},
		{"00259E-1", "error"}, {"00259E-1-2-3", "error"}, {"-A-1", "error"}, {"00259E-%G1-1", "error"},
	}
	for _, tt := range tests {
		got, err := credential.ParseScope(tt.text)
		if err != nil && tt.want != "error" || err == nil && got.String() != tt.want {
			t.Errorf("ParseScope(%q) = %q, %v; want %s", tt.text, got, err, tt.want)
		}
	}
}

// BenchmarkFind is the look-up of an Inform in a million's place: one with a
// credential of its own, and one under the last of many rules.
func BenchmarkFind(b *testing.B) {
	f := newFixture(b, nil)
	var lines []string
	for i := range 200 {
		lines = append(lines, fmt.Sprintf("0000%02X-X%d-* u p", i, i), fmt.Sprintf("00259E-X-%d u p", i))
	}
	f.give(b, append(lines, "00259E-*-* u p")...)
	for name, id := range map[string]cwmp.DeviceID{
		"device": {OUI: "00259E", ProductClass: "X", SerialNumber: "7"},
		"rule":   {OUI: "00259E", ProductClass: "Y", SerialNumber: "7"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Find(b.Context(), id, "u"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
