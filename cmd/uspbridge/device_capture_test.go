package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
)

// TestDeviceCapture: a capture goes to standard output or is added to a file,
// notes are told, and that no session came is a failure.
func TestDeviceCapture(t *testing.T) {
	c, err := console.New(console.Config{Fleet: oneDevice{}, Ready: func() []console.Check { return nil }, Gatherer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(c.Handler())
	defer srv.Close()
	environ := []string{envConsole + "=" + srv.URL}

	got := runApp(t.Context(), environ, "device", "capture", "os::1-2")
	if got.code != exitDone || strings.Count(got.stdout, "\n") != 6 || got.stderr != "it did not come\n" {
		t.Errorf("to standard output: exit %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	file := filepath.Join(t.TempDir(), "box.capture")
	for range 2 {
		if got := runApp(t.Context(), environ, "device", "capture", "os::1-2", "-o", file); got.code != exitDone || !strings.HasPrefix(got.stdout, "1 sessions, 2 messages in ") {
			t.Errorf("to a file: exit %d\n%s%s", got.code, got.stdout, got.stderr)
		}
	}
	if text, err := os.ReadFile(file); err != nil || strings.Count(string(text), `{"capture":1}`) != 2 {
		t.Errorf("the file has\n%s (%v)", text, err)
	}
	got = runApp(t.Context(), environ, "device", "capture", "os::silent-1")
	if got.code != exitFailed || !strings.Contains(got.stderr, "no session of os::silent-1 came") {
		t.Errorf("nothing came: exit %d\n%s", got.code, got.stderr)
	}
}
