package seal_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/store/bolt"
	"github.com/uspbridge/uspbridge/store/seal"
)

var device = store.Key{Kind: store.Device, Owner: "00259E-HG8245A-1"}

// TestSeal: a sealed secret shows nothing, differs each time, and opens for its
// own record only.
func TestSeal(t *testing.T) {
	box := seal.Random()
	for _, secret := range []string{"", "s3cret", strings.Repeat("long ", 1000)} {
		a, b := box.Seal(device, []byte(secret)), box.Seal(device, []byte(secret))
		if bytes.Equal(a, b) {
			t.Errorf("%.10q sealed twice gives the same bytes", secret)
		}
		if secret != "" && bytes.Contains(a, []byte(secret)) {
			t.Errorf("%.10q can be read in its sealed form", secret)
		}
		if got, err := box.Open(device, a); err != nil || string(got) != secret {
			t.Errorf("opened %.10q, %v; want %.10q", got, err, secret)
		}
	}
	sealed := box.Seal(device, []byte("s3cret"))
	for _, other := range []store.Key{
		{Kind: store.Credential, Owner: device.Owner},
		{Kind: store.Device, Owner: "00259E-HG8245A-2"},
		{Kind: store.Device, Owner: device.Owner, Name: "x"},
	} {
		if _, err := box.Open(other, sealed); !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("opened for %v: %v, want ErrDamaged", other, err)
		}
	}
	for i := range sealed {
		broken := bytes.Clone(sealed)
		broken[i] ^= 1
		if _, err := box.Open(device, broken); err == nil {
			t.Errorf("opened with byte %d changed", i)
		}
		if _, err := box.Open(device, sealed[:i]); err == nil {
			t.Errorf("opened with %d of %d bytes", i, len(sealed))
		}
	}
	if _, err := seal.Random().Open(device, sealed); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("opened with another key: %v, want ErrNoKey", err)
	}
}

// fixture is a store and the place of its key file.
type fixture struct {
	seal.Config
	log bytes.Buffer
}

func newFixture(t *testing.T) *fixture {
	dir := t.TempDir()
	st, err := bolt.Open(bolt.Config{Path: filepath.Join(dir, "db"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	f := &fixture{Config: seal.Config{File: filepath.Join(dir, "secret.key"), Store: st}}
	f.Log = slog.New(slog.NewTextHandler(&f.log, nil))
	return f
}

func (f *fixture) open(t *testing.T) *seal.Box {
	t.Helper()
	box, err := seal.Open(t.Context(), f.Config)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

func (f *fixture) writeKeys(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(f.File, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) readKeys(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(f.File)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// aKey is a line of a key file.
func aKey(fill byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, seal.KeySize)) + "\n"
}

// TestFirstStart makes the key file, for its owner only, and the next start takes it.
func TestFirstStart(t *testing.T) {
	f := newFixture(t)
	sealed := f.open(t).Seal(device, []byte("s3cret"))
	info, err := os.Stat(f.File)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v, %v; want mode 0600", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(f.File), ".key-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if got, err := f.open(t).Open(device, sealed); err != nil || string(got) != "s3cret" {
		t.Errorf("after a restart: %q, %v", got, err)
	}
}

// TestStartTogether: processes that start at the same time agree on one key.
func TestStartTogether(t *testing.T) {
	f := newFixture(t)
	f.Log = slog.New(slog.DiscardHandler)
	boxes := make([]*seal.Box, 8)
	var all sync.WaitGroup
	for i := range boxes {
		all.Go(func() {
			box, err := seal.Open(t.Context(), f.Config)
			if err != nil {
				t.Error(err)
			}
			boxes[i] = box
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	sealed := boxes[0].Seal(device, []byte("s3cret"))
	for i, box := range boxes {
		if _, err := box.Open(device, sealed); err != nil {
			t.Errorf("box %d: %v", i, err)
		}
	}
}

// TestWrongKey: a start with another key, or without one, says so and makes no
// new key; only Renew goes on.
func TestWrongKey(t *testing.T) {
	f := newFixture(t)
	f.open(t)
	right := f.readKeys(t)

	f.writeKeys(t, aKey(1))
	if _, err := seal.Open(t.Context(), f.Config); !errors.Is(err, seal.ErrWrongKey) || !strings.Contains(err.Error(), f.File) {
		t.Errorf("with another key: %v, want ErrWrongKey and the file's name", err)
	}
	if err := os.Remove(f.File); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Open(t.Context(), f.Config); !errors.Is(err, seal.ErrKeyMissing) {
		t.Errorf("without the file: %v, want ErrKeyMissing", err)
	}
	if _, err := os.Stat(f.File); err == nil {
		t.Error("a new key was made over the lost one")
	}
	f.writeKeys(t, right)
	f.open(t)

	f.writeKeys(t, aKey(2))
	f.Renew = true
	f.open(t)
	f.Renew = false
	f.open(t)
	if !strings.Contains(f.log.String(), "is replaced") {
		t.Errorf("the replaced key is not logged: %s", &f.log)
	}
}

// TestNewKey: a key written above the old one seals from then on, and what the old
// one sealed still opens; at last the old one can go.
func TestNewKey(t *testing.T) {
	f := newFixture(t)
	f.writeKeys(t, "# old\n"+aKey(1))
	old := f.open(t).Seal(device, []byte("old"))

	f.writeKeys(t, aKey(2)+"\n"+aKey(1))
	box := f.open(t)
	if got, err := box.Open(device, old); err != nil || string(got) != "old" {
		t.Errorf("sealed with the old key: %q, %v", got, err)
	}
	fresh := box.Seal(device, []byte("new"))

	f.writeKeys(t, aKey(2))
	box = f.open(t)
	if got, err := box.Open(device, fresh); err != nil || string(got) != "new" {
		t.Errorf("sealed with the new key: %q, %v", got, err)
	}
	if _, err := box.Open(device, old); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("without the old key: %v, want ErrNoKey", err)
	}
}

// TestKeyFile: what is wrong with a key file is told with its place and without
// the key.
func TestKeyFile(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "no key in it"},
		{"comment only", "# later\n", "no key in it"},
		{"not base64", aKey(1) + "hunter2!\n", "secret.key:2: not a key"},
		{"short", base64.StdEncoding.EncodeToString([]byte("hunter2")), "secret.key:1: not a key"},
		{"a log file", strings.Repeat("x", 65<<10), "too many for a key file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.writeKeys(t, tt.text)
			_, err := seal.Open(t.Context(), f.Config)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	t.Run("readable by all", func(t *testing.T) {
		f := newFixture(t)
		f.writeKeys(t, aKey(1))
		if err := os.Chmod(f.File, 0o644); err != nil {
			t.Fatal(err)
		}
		f.open(t)
		if !strings.Contains(f.log.String(), "chmod 600") {
			t.Errorf("no warning: %s", &f.log)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	box := seal.Random()
	sealed := box.Seal(device, []byte("battery staple"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := box.Open(device, sealed); err != nil {
			b.Fatal(err)
		}
	}
}
