package acs_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/capture"
)

// capturing starts a server whose sessions of one device are captured.
func capturing(t *testing.T, cfg acs.Config, serial string, sessions int) (url string, c *capture.Capture) {
	t.Helper()
	hub := new(capture.Hub)
	c, err := hub.Start(capture.Options{Sessions: sessions, Match: func(id cwmp.DeviceID) (string, bool) {
		return "", id.SerialNumber == serial
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cfg.Tap = hub
	_, url = listen(t, cfg)
	return url, c
}

// captured reads a capture to its end and sums each line up.
func captured(t *testing.T, c *capture.Capture) (lines []string) {
	t.Helper()
	pipe := new(bytes.Buffer)
	for {
		line, err := c.Next(t.Context())
		if err != nil {
			break
		}
		pipe.Write(line)
	}
	r := capture.NewReader(pipe, "captured")
	for {
		line, err := r.Next()
		if err != nil {
			return lines
		}
		switch l := line.(type) {
		case *capture.Session:
			lines = append(lines, "session "+l.Device.SerialNumber)
		case *capture.Message:
			text := fmt.Sprintf("%s %s", l.From, l.RPC)
			if l.Status > 0 {
				text = fmt.Sprintf("%s %d %s", l.From, l.Status, l.RPC)
			}
			lines = append(lines, strings.TrimSpace(strings.TrimSuffix(text+" "+l.Note, " ")))
		case *capture.End:
			lines = append(lines, "end "+l.End)
		}
	}
}

// everybody has the same account.
type everybody acs.Account

func (e everybody) Find(context.Context, cwmp.DeviceID, string) (acs.Account, error) {
	return acs.Account(e), nil
}

func tapAuth(t *testing.T, a acs.Account) acs.Authenticator {
	t.Helper()
	auth, err := acs.NewBasic(acs.BasicConfig{Credentials: everybody(a)})
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

// TestTap: a session that somebody captures is recorded from the challenge before
// its Inform to the last 204, and the sessions of other devices are not.
func TestTap(t *testing.T) {
	f := newFleet()
	f.serve = func(ctx context.Context, s *acs.Session) error {
		_, err := s.Call(ctx, gpv)
		return err
	}
	url, tap := capturing(t, acs.Config{Fleet: f, Auth: tapAuth(t, acs.Account{Password: "pw"})}, "A", 1)

	other := newCPE(t, url)
	other.header.Set("Authorization", "Basic am9lOnB3")
	other.say("Inform B")
	other.say("empty")

	c := newCPE(t, url)
	if got := c.say("Inform A"); got != "401" {
		t.Fatalf("Inform without credentials: %s", got)
	}
	c.header.Set("Authorization", "Basic am9lOnB3")
	for _, line := range []string{"Inform A", "TransferComplete", "empty", "GetParameterValuesResponse"} {
		c.say(line)
	}
	want := []string{
		"session A",
		"cpe  challenged; the body was not read", "acs 401",
		"cpe Inform", "acs 200 InformResponse",
		"cpe TransferComplete", "acs 200 TransferCompleteResponse",
		"cpe", "acs 200 GetParameterValues",
		"cpe GetParameterValuesResponse", "acs 204",
		"end ok",
	}
	if diff := cmp.Diff(want, captured(t, tap)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestTapOfFailures: a session that fails is recorded with what the CPE sent last
// and how it ended.
func TestTapOfFailures(t *testing.T) {
	t.Run("an answer that cannot be read", func(t *testing.T) {
		f := newFleet()
		f.serve = func(ctx context.Context, s *acs.Session) error {
			_, err := s.Call(ctx, gpv)
			return err
		}
		url, tap := capturing(t, acs.Config{Fleet: f}, "A", 1)
		c := newCPE(t, url)
		for _, line := range []string{"Inform A", "empty", "garbage"} {
			c.say(line)
		}
		want := []string{"session A", "cpe Inform", "acs 200 InformResponse", "cpe", "acs 200 GetParameterValues",
			"cpe  the body is no well-formed envelope: all texts in it are masked", "acs 200 Fault", "end unreadable"}
		if diff := cmp.Diff(want, captured(t, tap)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
	t.Run("an Inform that is refused", func(t *testing.T) {
		f := newFleet()
		f.inform = func(*acs.Session) error { return errors.New("no") }
		url, tap := capturing(t, acs.Config{Fleet: f}, "A", 1)
		newCPE(t, url).say("Inform A")
		want := []string{"session A", "cpe Inform", "acs 200 Fault", "end refused"}
		if diff := cmp.Diff(want, captured(t, tap)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
	t.Run("credentials of another device", func(t *testing.T) {
		url, tap := capturing(t, acs.Config{Fleet: newFleet(), Auth: tapAuth(t, acs.Account{Password: "pw", Foreign: true})}, "A", 1)
		c := newCPE(t, url)
		c.header.Set("Authorization", "Basic am9lOnB3")
		c.say("Inform A")
		want := []string{"session A", "cpe Inform", "acs 200 Fault", "end refused"}
		if diff := cmp.Diff(want, captured(t, tap)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// TestTapOfGzip: a body is recorded decompressed.
func TestTapOfGzip(t *testing.T) {
	url, tap := capturing(t, acs.Config{Fleet: newFleet()}, "A", 1)
	c := newCPE(t, url)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte(envelope("1", informOf("A")))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	c.header.Set("Content-Encoding", "gzip")
	if got, _ := c.post(packed.String()); got != "InformResponse" {
		t.Fatalf("Inform in gzip: %s", got)
	}
	c.header.Del("Content-Encoding")
	c.say("empty")
	want := []string{"session A", "cpe Inform", "acs 200 InformResponse", "cpe", "acs 204", "end ok"}
	if diff := cmp.Diff(want, captured(t, tap)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// BenchmarkSessionTap is BenchmarkSession with a tap: idle, while somebody
// captures another device, and while the session itself is captured.
func BenchmarkSessionTap(b *testing.B) {
	for _, serial := range []string{"", "B", "A"} {
		b.Run(map[string]string{"": "idle", "B": "other", "A": "captured"}[serial], func(b *testing.B) {
			hub := new(capture.Hub)
			if serial != "" {
				c, err := hub.Start(capture.Options{Match: func(id cwmp.DeviceID) (string, bool) { return "", id.SerialNumber == serial }})
				if err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				go func() {
					for {
						if _, err := c.Next(b.Context()); err != nil {
							return
						}
					}
				}()
			}
			benchmarkSession(b, acs.Config{Fleet: quietFleet{newFleet()}, Tap: hub})
		})
	}
}
