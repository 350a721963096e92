package console

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// serve runs a console on loopback until stop is called.
func serve(t *testing.T, s *Server) (url string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	stop = func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the console does not end")
		}
	}
	return "http://" + l.Addr().String(), stop
}

// TestCapture: a query arrives as it was asked, and its lines come back.
func TestCapture(t *testing.T) {
	url, stop := serve(t, newServer(t, newFleet(), "0123456789abcdef"))
	defer stop()
	c := &Client{URL: url, Token: "0123456789abcdef"}
	want := CaptureQuery{Endpoint: odd, Sessions: 3, Duration: 90 * time.Second, Wake: true, Refresh: true, Anonymise: true}
	var got []CaptureQuery
	err := c.Capture(t.Context(), want, func(line []byte) error {
		var q CaptureQuery
		got = append(got, q)
		return json.Unmarshal(line, &got[len(got)-1])
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]CaptureQuery{want, want}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for endpoint, why := range map[string]string{"": "endpoint", "busy": "too much at once: captures"} {
		err := c.Capture(t.Context(), CaptureQuery{Endpoint: endpoint}, func([]byte) error { return nil })
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("capture of %q: %v, want an error with %q", endpoint, err, why)
		}
	}
	c.Token = ""
	if err := c.Capture(t.Context(), want, func([]byte) error { return nil }); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("without the token: %v", err)
	}
}

// TestCaptureEnds: a capture ends when the console does, and when the client goes.
func TestCaptureEnds(t *testing.T) {
	url, stop := serve(t, newServer(t, newFleet(), ""))
	c := &Client{URL: url}
	if err := c.Capture(t.Context(), CaptureQuery{Endpoint: "endless"}, func([]byte) error { return errors.New("enough") }); err == nil {
		t.Error("the reader's error is lost")
	}
	lines, stopped := 0, make(chan struct{})
	if err := c.Capture(t.Context(), CaptureQuery{Endpoint: "endless"}, func([]byte) error {
		lines++
		go func() {
			defer close(stopped)
			stop()
		}()
		return nil
	}); err != nil || lines != 1 {
		t.Errorf("%d lines, %v", lines, err)
	}
	<-stopped
}

// TestBadCaptureQueries are refused before anything is captured.
func TestBadCaptureQueries(t *testing.T) {
	s := newServer(t, newFleet(), "")
	for _, query := range []string{"", "endpoint=" + strings.Repeat("x", maxText+1), "endpoint=x&sessions=-1", "endpoint=x&sessions=x",
		"endpoint=x&duration=0s", "endpoint=x&duration=25h", "endpoint=x&duration=x", "endpoint=x&wake=perhaps"} {
		if w := do(s, "POST", "/api/captures?"+query, nil); w.Code != 400 {
			t.Errorf("%.40s: %d %s", query, w.Code, w.Body)
		}
	}
	if w := do(s, "GET", "/api/captures?endpoint=x", nil); w.Code != 405 {
		t.Errorf("GET: %d", w.Code)
	}
}
