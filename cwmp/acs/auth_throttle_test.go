package acs_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// attempt is one Basic authentication; it returns what came of it.
func attempt(t *testing.T, a acs.Authenticator, remote, user, password string) string {
	t.Helper()
	r := httptest.NewRequest("POST", "/", nil)
	r.RemoteAddr = remote
	r.SetBasicAuth(user, password)
	_, err := judge(t, a, r, deviceA)
	switch {
	case err == nil:
		return "in"
	case errors.As(err, new(*acs.Throttled)):
		return "throttled"
	case errors.As(err, new(*acs.Challenge)):
		return "401"
	}
	return err.Error()
}

// TestThrottle: wrong passwords use up an allowance, of the address or of the
// user; then even the right one is not looked at, until time has passed.
func TestThrottle(t *testing.T) {
	tests := []struct {
		name          string
		remote, user  func(i int) string
		limit         acs.ThrottleConfig
		before        int // wrong passwords that are answered 401
		other, others string
	}{
		{"one address", at("192.0.2.1:1"), users, acs.ThrottleConfig{PerAddress: 5, PerUser: 100}, 5, "192.0.2.2:1", "cpe"},
		{"one IPv6 customer", func(i int) string { return fmt.Sprintf("[2001:db8:0:7::%x]:1", i+1) }, users,
			acs.ThrottleConfig{PerAddress: 5, PerUser: 100}, 5, "[2001:db8:0:8::1]:1", "cpe"},
		{"one user from many addresses", func(i int) string { return fmt.Sprintf("192.0.2.%d:1", i) }, at("cpe"),
			acs.ThrottleConfig{PerAddress: 100, PerUser: 3}, 3, "", ""},
		{"no limit", at("192.0.2.1:1"), at("cpe"), acs.ThrottleConfig{}, 50, "192.0.2.1:1", "cpe"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Unix(0, 0)
			var log bytes.Buffer
			tt.limit.Now = func() time.Time { return now }
			tt.limit.Log = slog.New(slog.NewTextHandler(&log, nil))
			b := newBasic(t, acs.BasicConfig{Throttle: acs.NewThrottle(tt.limit)})
			for i := range tt.before {
				if got := attempt(t, b, tt.remote(i), tt.user(i), "wrong"); got != "401" {
					t.Fatalf("wrong password %d: %s", i+1, got)
				}
			}
			if tt.limit.PerAddress == 0 {
				if got := attempt(t, b, tt.remote(0), "cpe", "secret"); got != "in" {
					t.Errorf("the right password: %s", got)
				}
				return
			}
			for range 3 {
				if got := attempt(t, b, tt.remote(0), "cpe", "secret"); got != "throttled" {
					t.Errorf("after the allowance the right password: %s, want throttled", got)
				}
			}
			if n := strings.Count(log.String(), "too many wrong passwords"); n != 1 || strings.Contains(log.String(), "secret") {
				t.Errorf("logged %d times, want once and without the password: %s", n, &log)
			}
			if tt.other != "" {
				if got := attempt(t, b, tt.other, tt.others, "secret"); got != "in" {
					t.Errorf("somebody else: %s", got)
				}
			}
			now = now.Add(time.Minute)
			if got := attempt(t, b, tt.remote(0), "cpe", "secret"); got != "in" {
				t.Errorf("a minute later: %s", got)
			}
		})
	}
}

func at(text string) func(int) string { return func(int) string { return text } }
func users(i int) string              { return fmt.Sprintf("user-%d", i) }

// TestThrottleMemory: guessers from everywhere are remembered up to a bound.
func TestThrottleMemory(t *testing.T) {
	const bound = 16 << 10
	throttle := acs.NewThrottle(acs.ThrottleConfig{PerAddress: 5, PerUser: 5})
	b := newBasic(t, acs.BasicConfig{Throttle: throttle})
	for i := range bound * 2 {
		attempt(t, b, fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255), users(i), "wrong")
	}
	if n := throttle.Remembered(); n > bound || n < bound/2 {
		t.Errorf("%d remembered, want up to %d", n, bound)
	}
}
