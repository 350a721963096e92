package fileserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// source serves one content, by a handler, and counts what it is asked for.
func source(t *testing.T, h http.HandlerFunc) (url string, asked *atomic.Int32) {
	asked = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

func serving(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
}

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// imageServer is a Server that has only to fetch; now can be moved on.
func imageServer(t *testing.T, change func(*Config)) (s *Server, now *atomic.Int64) {
	t.Helper()
	now = new(atomic.Int64)
	cfg := Config{Dir: t.TempDir(), Grants: noGrants{}, Now: func() time.Time { return time.Now().Add(time.Duration(now.Load())) }}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, now
}

// refusing are Servers that allow all but one host and port.
type refusing string

var errRefused = errors.New("not this server")

func (r refusing) Check(u *url.URL) error {
	if u.Host == string(r) {
		return errRefused
	}
	return nil
}

func (r refusing) DialContext(timeout time.Duration) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasSuffix(address, string(r)[strings.LastIndexByte(string(r), ':'):]) {
			return nil, errRefused
		}
		return (&net.Dialer{Timeout: timeout}).DialContext(ctx, network, address)
	}
}

// What the operator does not allow is not fetched, not by a name that leads there
// nor by a redirect.
func TestForbiddenSource(t *testing.T) {
	there, asked := source(t, serving("secret"))
	host := strings.TrimPrefix(there, "http://")
	redirecting, _ := source(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, there, http.StatusFound) })
	for _, from := range []string{there, "http://localhost" + host[strings.LastIndexByte(host, ':'):], redirecting} {
		s, _ := imageServer(t, func(cfg *Config) { cfg.Servers = refusing(host) })
		if _, _, err := s.Fetch(t.Context(), Image{URL: from}); !errors.Is(err, errRefused) {
			t.Errorf("%s: %v", from, err)
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("it was asked %d times", n)
	}
}

type noGrants struct{ Grants }

// Many that want one file get it by one fetch, and so do those who come later.
func TestFetchOnce(t *testing.T) {
	url, asked := source(t, serving("firmware"))
	s, _ := imageServer(t, nil)
	want := Image{URL: url + "/a/gateway-1.2.bin", Algorithm: "SHA-256", CheckSum: strings.ToUpper(sumOf("firmware"))}
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			name, size, err := s.Fetch(t.Context(), want)
			if err != nil || size != 8 || filepath.Base(name) != "gateway-1.2.bin" {
				t.Errorf("%s, %d bytes, %v", name, size, err)
			}
		})
	}
	all.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
	want.Password, want.Username = "p", "u" // another may not get it by its URL alone
	if _, _, err := s.Fetch(t.Context(), want); err != nil || asked.Load() != 2 {
		t.Errorf("with credentials: %v, fetched %d times", err, asked.Load())
	}
}

// A file without a checksum is what its URL has for a short time.
func TestFetchUnverified(t *testing.T) {
	url, asked := source(t, serving("firmware"))
	s, now := imageServer(t, nil)
	for _, want := range []int32{1, 1, 2} {
		if _, _, err := s.Fetch(t.Context(), Image{URL: url}); err != nil || asked.Load() != want {
			t.Errorf("%v, fetched %d times, want %d", err, asked.Load(), want)
		}
		now.Add(int64(unverifiedFresh/2) + 1)
	}
}

// What does not come whole, or is not what it should be, is not kept.
func TestFetchFailures(t *testing.T) {
	block := make(chan struct{})
	t.Cleanup(func() { close(block) })
	for _, c := range []struct {
		name  string
		serve http.HandlerFunc
		want  Image
		text  string
		wrong bool
	}{
		{"wrong checksum", serving("firmware"), Image{Algorithm: "SHA-1", CheckSum: strings.Repeat("0", 40)}, "its SHA-1 is", true},
		{"wrong size", serving("firmware"), Image{Size: 7}, "8 bytes, not 7", true},
		{"too large", serving(strings.Repeat("x", 101)), Image{}, "more than 100 bytes", false},
		{"not there", http.NotFound, Image{}, "404", false},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "50")
			_, _ = w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, Image{}, "not come whole", false},
		{"stalled", func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			select {
			case <-block:
			case <-r.Context().Done():
			}
		}, Image{}, "came within", false},
		{"another authentication", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", "Negotiate")
			w.WriteHeader(http.StatusUnauthorized)
		}, Image{Username: "u"}, "neither Digest nor Basic", false},
		{"no authentication", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, Image{}, "401", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			url, asked := source(t, c.serve)
			s, now := imageServer(t, func(cfg *Config) { cfg.MaxImage, cfg.Stall = 100, 50*time.Millisecond })
			c.want.URL = url + "/x"
			for range 2 { // the second time the answer is that of the first
				if _, _, err := s.Fetch(t.Context(), c.want); err == nil || !strings.Contains(err.Error(), c.text) || errors.Is(err, ErrWrongContent) != c.wrong {
					t.Errorf("%v, want %q", err, c.text)
				}
			}
			first := asked.Load()
			now.Add(int64(failureKept))
			if _, _, err := s.Fetch(t.Context(), c.want); err == nil || asked.Load() == first {
				t.Errorf("after a while: %v, fetched %d times", err, asked.Load())
			}
			for _, dir := range []string{incoming, Images} {
				if left, err := os.ReadDir(filepath.Join(s.cfg.Dir, dir)); err != nil || len(left) > 0 {
					t.Errorf("left in %s: %v, %v", dir, left, err)
				}
			}
		})
	}
}

// A server can ask for Digest, as the file server itself does.
func TestFetchWithDigest(t *testing.T) {
	d, err := acs.NewDigest(acs.DigestConfig{Realm: "images", Credentials: granted{}})
	if err != nil {
		t.Fatal(err)
	}
	front := &Server{digest: d}
	if front.basic, err = acs.NewBasic(acs.BasicConfig{Realm: "images", Credentials: granted{}}); err != nil {
		t.Fatal(err)
	}
	url, _ := source(t, func(w http.ResponseWriter, r *http.Request) {
		err := front.authenticate(r, Grant{Username: "u", Password: "p"})
		var challenge *acs.Challenge
		if errors.As(err, &challenge) {
			for _, h := range challenge.Headers {
				w.Header().Add("WWW-Authenticate", h)
			}
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		serving("firmware")(w, r)
	})
	s, _ := imageServer(t, nil)
	if _, size, err := s.Fetch(t.Context(), Image{URL: url + "/x?y=1", Username: "u", Password: "p"}); err != nil || size != 8 {
		t.Errorf("%d bytes, %v", size, err)
	}
}

// What nobody has wanted for long makes room, and goes in the end.
func TestImagesMakeRoom(t *testing.T) {
	url, _ := source(t, serving(strings.Repeat("x", 40)))
	s, now := imageServer(t, func(c *Config) { c.MaxImages = 100 })
	names := map[string]string{}
	fetch := func(path string) {
		t.Helper()
		name, _, err := s.Fetch(t.Context(), Image{URL: url + "/" + path, Algorithm: "SHA-256", CheckSum: sumOf(strings.Repeat("x", 40))})
		if err != nil {
			t.Fatal(err)
		}
		names[path] = name
		now.Add(int64(time.Minute))
	}
	kept := func(path string) bool { return s.Keep(names[path]) == nil }
	fetch("a")
	fetch("b")
	fetch("a") // wanted again
	fetch("c")
	if kept("b") || !kept("a") || !kept("c") {
		t.Errorf("kept: a %t, b %t, c %t", kept("a"), kept("b"), kept("c"))
	}
	now.Add(int64(imageLife))
	fetch("d")
	if kept("a") || kept("c") {
		t.Error("what nobody has wanted for a month is kept")
	}
}

// Close ends what is being fetched.
func TestCloseEndsFetches(t *testing.T) {
	begun := make(chan struct{})
	url, _ := source(t, func(_ http.ResponseWriter, r *http.Request) { close(begun); <-r.Context().Done() })
	s, _ := imageServer(t, nil)
	failed := make(chan error, 1)
	go func() { _, _, err := s.Fetch(t.Context(), Image{URL: url}); failed <- err }()
	<-begun
	s.stop()
	if err := <-failed; err == nil {
		t.Error("it has come")
	}
}
