package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestBulkDataExample plays the example of docs/bulk-data.md: its configuration, its
// commands with what they print, and the reports that come to a collector.
func TestBulkDataExample(t *testing.T) {
	const shown = "127.0.0.1:8080" // the collector of the example
	reports, uris := make(chan string, 10), make(chan string, 10)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		reports <- string(b)
		uris <- r.URL.RequestURI()
	}))
	defer collector.Close()
	ours := strings.TrimPrefix(collector.URL, "http://")

	var r *running
	for _, b := range blocks(t) {
		if filepath.Base(b.file) != "bulk-data.md" {
			continue
		}
		text := strings.ReplaceAll(b.text, shown, ours)
		switch b.info {
		case "yaml config":
			if r != nil {
				continue // of another bridge
			}
			dir := t.TempDir()
			file := filepath.Join(dir, "bridge.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			r = startDemo(t, filepath.Join(dir, "data"), "--config="+file)
			defer func() { _ = r.stop() }()
		case "console":
			r.play(t, text)
		case "json", "csv":
			select {
			case got := <-reports:
				if want := strings.TrimSpace(sameTime(text)); sameTime(strings.TrimSpace(strings.ReplaceAll(got, "\r\n", "\n"))) != want {
					t.Errorf("%s:%d: got %s\nwant %s", b.file, b.line, got, want)
				}
				if got, want := <-uris, "/reports?oui=00005E&pc=HG200&sn=DEMO181"; got != want {
					t.Errorf("reported to %s, want %s", got, want)
				}
			case <-time.After(patience):
				t.Fatalf("%s:%d: no report came", b.file, b.line)
			}
		}
	}
	if r == nil {
		t.Fatal("docs/bulk-data.md has no configuration")
	}
}

// sameTime makes times of collection alike.
func sameTime(report string) string {
	return regexp.MustCompile(`\b1[0-9]{9}\b`).ReplaceAllString(report, "TIME")
}

// play runs the commands of a console block with this bridge and holds what they
// print against the block.
func (r *running) play(t *testing.T, text string) {
	t.Helper()
	for session := range strings.SplitSeq(strings.TrimPrefix(text, "$ "), "\n$ ") {
		command, want, _ := strings.Cut(session, "\n")
		args := append(shellWords(command)[1:], "--bridge", r.flag("--bridge"))
		got := runApp(t.Context(), nil, args...)
		if got.code != exitDone || want != "" && strings.TrimSpace(got.stdout) != strings.TrimSpace(want) {
			t.Errorf("%s: exit %d\n%s%swant\n%s", command, got.code, got.stdout, got.stderr, want)
		}
	}
}
