package fileserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/icholy/digest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// grants is a map of tokens.
type grants struct {
	mu    sync.Mutex
	all   map[string]Grant
	noted []string
	fail  error
}

func (g *grants) Grant(_ context.Context, token string) (Grant, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	one, ok := g.all[token]
	if !ok {
		return Grant{}, errors.Join(ErrNoGrant, g.fail)
	}
	return one, g.fail
}

func (g *grants) Transferred(_ context.Context, one Grant, _ int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.noted = append(g.noted, one.Name)
	return g.fail
}

type bench struct {
	*httptest.Server
	t      *testing.T
	dir    string
	grants *grants
	now    time.Time
}

const content = "0123456789abcdef"

func newBench(t *testing.T, change func(*Config)) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), now: time.Now()}
	later := b.now.Add(time.Hour)
	b.grants = &grants{all: map[string]Grant{
		"down":    {Name: "image.bin", Expires: later},
		"deep":    {Name: "a/b.bin", Expires: later},
		"missing": {Name: "gone.bin", Expires: later},
		"old":     {Name: "image.bin", Expires: b.now.Add(-time.Second)},
		"up":      {Name: "uploads/os::00-1/log", Upload: true, Expires: later},
		"auth":    {Name: "image.bin", Expires: later, Username: "u", Password: "p"},
		"escape":  {Name: "link/secret", Expires: later},
		"upward":  {Name: "../secret", Expires: later},
		"dir":     {Name: "a", Expires: later},
	}}
	for name, text := range map[string]string{"files/image.bin": content, "files/a/b.bin": "deep", "secret": "secret"} {
		file := filepath.Join(b.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(b.dir, filepath.Join(b.dir, "files/link")); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Dir: filepath.Join(b.dir, "files"), Grants: b.grants, MaxUpload: 100}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		b.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) do(method, path string, body io.Reader, header map[string]string) (*http.Response, string) {
	b.t.Helper()
	r, err := http.NewRequest(method, b.URL+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	resp, err := b.Client().Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, string(text)
}

func TestRequests(t *testing.T) {
	b := newBench(t, nil)
	first, _ := b.do("GET", "/files/down/image.bin", nil, nil)
	tag := first.Header.Get("ETag")
	for _, c := range []struct {
		name, method, path string
		header             map[string]string
		status             int
		body               string // "" is not looked at
	}{
		{"whole", "GET", "/files/down/image.bin", nil, 200, content},
		{"by any name", "GET", "/files/down/x.bin", nil, 200, content},
		{"below a directory", "GET", "/files/deep/b.bin", nil, 200, "deep"},
		{"head", "HEAD", "/files/down/image.bin", nil, 200, ""},
		{"range", "GET", "/files/down/image.bin", map[string]string{"Range": "bytes=4-7"}, 206, "4567"},
		{"the rest", "GET", "/files/down/image.bin", map[string]string{"Range": "bytes=10-", "If-Range": tag}, 206, "abcdef"},
		{"the rest of another file", "GET", "/files/down/image.bin", map[string]string{"Range": "bytes=10-", "If-Range": `"x"`}, 200, content},
		{"no such range", "GET", "/files/down/image.bin", map[string]string{"Range": "bytes=99-"}, 416, ""},
		{"unknown token", "GET", "/files/nobody/image.bin", nil, 404, ""},
		{"expired", "GET", "/files/old/image.bin", nil, 404, ""},
		{"file removed", "GET", "/files/missing/x", nil, 404, ""},
		{"a directory", "GET", "/files/dir/x", nil, 404, ""},
		{"link that leads out", "GET", "/files/escape/x", nil, 500, ""},
		{"name that leads out", "GET", "/files/upward/x", nil, 500, ""},
		{"no token", "GET", "/files/", nil, 404, ""},
		{"listing", "GET", "/files/down/", nil, 404, ""},
		{"path below the file", "GET", "/files/down/image.bin/../../secret", nil, 404, ""},
		{"encoded path", "GET", "/files/down/..%2f..%2fsecret", nil, 404, ""},
		{"wrong way", "PUT", "/files/down/image.bin", nil, 405, ""},
		{"wrong way up", "GET", "/files/up/log", nil, 405, ""},
		{"delete", "DELETE", "/files/down/image.bin", nil, 405, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, body := b.do(c.method, c.path, nil, c.header)
			if resp.StatusCode != c.status || c.body != "" && body != c.body || strings.Contains(body, "secret") {
				t.Errorf("status %d, body %q; want %d, %q", resp.StatusCode, body, c.status, c.body)
			}
		})
	}
}

// A transfer is noted when its last byte has gone, in whatever pieces.
func TestTransfersAreNoted(t *testing.T) {
	b := newBench(t, nil)
	b.do("GET", "/files/down/x", nil, map[string]string{"Range": "bytes=0-7"})
	b.do("HEAD", "/files/down/x", nil, nil)
	if len(b.grants.noted) != 0 {
		t.Errorf("noted %v before the end", b.grants.noted)
	}
	b.do("GET", "/files/down/x", nil, map[string]string{"Range": "bytes=8-"})
	b.do("PUT", "/files/up/x", strings.NewReader("log"), nil)
	if got := strings.Join(b.grants.noted, " "); got != "image.bin uploads/os::00-1/log" {
		t.Errorf("noted %q", got)
	}
}

func TestUpload(t *testing.T) {
	b := newBench(t, nil)
	stored := filepath.Join(b.dir, "files/uploads/os::00-1/log")
	for _, c := range []struct {
		name, method string
		body         io.Reader
		header       map[string]string
		status       int
		want         string
	}{
		{"put", "PUT", strings.NewReader("one"), nil, 201, "one"},
		{"again, by post", "POST", strings.NewReader("two"), nil, 201, "two"},
		{"chunked", "PUT", io.MultiReader(strings.NewReader("thr"), strings.NewReader("ee")), nil, 201, "three"},
		{"nothing", "PUT", nil, nil, 201, ""},
		{"as much as is allowed", "PUT", strings.NewReader(strings.Repeat("x", 100)), nil, 201, strings.Repeat("x", 100)},
		{"too large by its length", "PUT", strings.NewReader(strings.Repeat("y", 101)), nil, 413, strings.Repeat("x", 100)},
		{"too large without a length", "PUT", io.MultiReader(strings.NewReader(strings.Repeat("y", 101))), nil, 413, strings.Repeat("x", 100)},
		{"a part", "PUT", strings.NewReader("part"), map[string]string{"Content-Range": "bytes 0-3/10"}, 400, strings.Repeat("x", 100)},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, _ := b.do(c.method, "/files/up/log", c.body, c.header)
			got, err := os.ReadFile(stored)
			if err != nil || resp.StatusCode != c.status || string(got) != c.want {
				t.Errorf("status %d, stored %q, %v; want %d, %q", resp.StatusCode, got, err, c.status, c.want)
			}
		})
	}
	b.noneIncoming()
}

func (b *bench) noneIncoming() {
	b.t.Helper()
	left, err := os.ReadDir(filepath.Join(b.dir, "files", incoming))
	if err != nil || len(left) != 0 {
		b.t.Errorf("left behind: %v, %v", left, err)
	}
}

// A file that does not come whole is not there, and what a dead bridge has left
// of it is cleared away.
func TestBrokenUpload(t *testing.T) {
	b := newBench(t, nil)
	conn, err := net.Dial("tcp", b.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "PUT /files/up/log HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nhalf")
	if c, ok := conn.(*net.TCPConn); ok {
		c.CloseWrite()
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 400")) {
		t.Errorf("answer %q, %v", answer, err)
	}
	conn.Close()
	if _, err := os.Stat(filepath.Join(b.dir, "files/uploads/os::00-1/log")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the broken file is there: %v", err)
	}
	b.noneIncoming()
	left := filepath.Join(b.dir, "files", incoming, "left")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Dir: filepath.Join(b.dir, "files"), Grants: b.grants})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b.noneIncoming()
}

func TestAuthentication(t *testing.T) {
	b := newBench(t, nil)
	resp, _ := b.do("GET", "/files/auth/x", nil, nil)
	if got := strings.Join(resp.Header.Values("WWW-Authenticate"), "\n"); resp.StatusCode != 401 || !strings.Contains(got, "Digest ") || !strings.Contains(got, "Basic ") {
		t.Errorf("challenge %d %q", resp.StatusCode, got)
	}
	for _, c := range []struct {
		name, user, password string
		status               int
	}{{"right", "u", "p", 200}, {"wrong password", "u", "x", 401}, {"wrong user", "x", "p", 401}} {
		r, err := http.NewRequest("GET", b.URL+"/files/auth/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(c.user, c.password)
		resp, err := b.Client().Do(r)
		if err != nil || resp.StatusCode != c.status {
			t.Errorf("%s, Basic: %v %v", c.name, resp, err)
		}
		resp.Body.Close()
		client := &http.Client{Transport: &digest.Transport{Username: c.user, Password: c.password, Transport: b.Client().Transport}}
		resp, err = client.Get(b.URL + "/files/auth/x")
		if err != nil || resp.StatusCode != c.status {
			t.Errorf("%s, Digest: %v %v", c.name, resp, err)
		}
		resp.Body.Close()
	}
}

// entered takes places for several transfers.
func (s *Server) entered(tokens ...string) bool {
	for _, token := range tokens {
		if !s.enter(token) {
			return false
		}
	}
	return true
}

// No device can take all places, and the server has no more than it was given.
func TestTransfersAreBounded(t *testing.T) {
	s, err := New(Config{Dir: t.TempDir(), Grants: &grants{}, MaxTransfers: 3, MaxEach: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !s.entered("a", "a") || s.enter("a") || !s.enter("b") || s.enter("c") {
		t.Error("places are not bounded as configured")
	}
	s.leave("a")
	if !s.enter("c") {
		t.Error("a place that was left is not free")
	}
}

func TestSize(t *testing.T) {
	b := newBench(t, nil)
	s := b.Config.Handler.(*Server)
	if n, err := s.Size("image.bin"); n != int64(len(content)) || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	for _, name := range []string{"", "no.bin", "a", "../secret", "link/secret", "/etc/passwd", ".incoming", "a/../image.bin", "a\\b", "a\nb", strings.Repeat("x", 300)} {
		if n, err := s.Size(name); err == nil {
			t.Errorf("%q has %d bytes", name, n)
		}
	}
}

// The store's failure is no "not found".
func TestGrantsFail(t *testing.T) {
	b := newBench(t, nil)
	b.grants.mu.Lock()
	b.grants.fail = errors.New("disk full")
	b.grants.mu.Unlock()
	if resp, body := b.do("GET", "/files/down/x", nil, nil); resp.StatusCode != 500 || strings.Contains(body, "disk") {
		t.Errorf("status %d %q", resp.StatusCode, body)
	}
}

// Over TLS it is the same.
func TestTLS(t *testing.T) {
	b := newBench(t, nil)
	secure := httptest.NewTLSServer(b.Config.Handler)
	defer secure.Close()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	resp, err := client.Get(secure.URL + "/files/down/x")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != content {
		t.Errorf("got %q, %v", text, err)
	}
}
