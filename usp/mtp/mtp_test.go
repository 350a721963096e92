package mtp_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

func TestBackoffRanges(t *testing.T) { // the table of R-WS.19, with its defaults
	standard := mtp.Backoff{Min: 5 * time.Second, Multiplier: 2, Max: 5120 * time.Second}
	tests := []struct {
		name     string
		policy   mtp.Backoff
		try      int
		from, to time.Duration
	}{
		{"try 1", standard, 1, 5 * time.Second, 10 * time.Second},
		{"try 2", standard, 2, 10 * time.Second, 20 * time.Second},
		{"try 5", standard, 5, 80 * time.Second, 160 * time.Second},
		{"try 10", standard, 10, 2560 * time.Second, 5120 * time.Second},
		{"try 11 and later", standard, 11, 2560 * time.Second, 5120 * time.Second},
		{"a million tries", standard, 1_000_000, 2560 * time.Second, 5120 * time.Second},
		{"no try yet", standard, 0, 5 * time.Second, 10 * time.Second},
		{"zero value, try 1", mtp.Backoff{}, 1, time.Second, 2 * time.Second},
		{"zero value, later", mtp.Backoff{}, 20, 30 * time.Second, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			seen := map[time.Duration]bool{}
			for range 200 {
				w := tt.policy.Wait(tt.try)
				if w < tt.from || w > tt.to {
					t.Fatalf("wait of %s, want %s to %s", w, tt.from, tt.to)
				}
				seen[w] = true
			}
			if len(seen) < 100 {
				t.Errorf("only %d different waits of 200: no jitter", len(seen))
			}
		})
	}
}

func TestTemplate(t *testing.T) {
	tests := []struct {
		template string
		segment  string
		want     string
		match    usp.EndpointID // of want
	}{
		{"usp/agent/{endpoint_id}", "os::1-2", "usp/agent/os::1-2", "os::1-2"},
		{"{endpoint_id}/in", "os::1-2", "os::1-2/in", "os::1-2"},
		{"/queue/usp.agent.{endpoint_id}", "os::1-%2F", "/queue/usp.agent.os::1-%2F", "os::1-%2F"},
		{"usp/agents", "os::1-2", "usp/agents", ""},
	}
	for _, tt := range tests {
		tpl, err := mtp.ParseTemplate(tt.template)
		if err != nil {
			t.Fatal(err)
		}
		if got := tpl.Expand(tt.segment); got != tt.want {
			t.Errorf("%s: Expand = %q, want %q", tt.template, got, tt.want)
		}
		if got := tpl.Match(tt.want); got != tt.match {
			t.Errorf("%s: Match(%q) = %q, want %q", tt.template, tt.want, got, tt.match)
		}
	}
	tpl, err := mtp.ParseTemplate("a/{endpoint_id}/b")
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{"", "a/", "a//b", "a/b", "x/os::1-2/b", "a/os::1-2/c"} {
		if got := tpl.Match(other); got != "" {
			t.Errorf("Match(%q) = %q, want none", other, got)
		}
	}
}

func TestBadTemplates(t *testing.T) {
	for _, tt := range []struct{ template, want string }{
		{"", "empty"},
		{"a/{endpoint_id}/{endpoint_id}", "more than once"},
		{"a/{endpoint}", "only placeholder"},
		{"a/{", "only placeholder"},
	} {
		if _, err := mtp.ParseTemplate(tt.template); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want an error about %q", tt.template, err, tt.want)
		}
	}
}

// Parts are counted together, each with a state of its own.
func TestMeterOfParts(t *testing.T) {
	reg := prometheus.NewRegistry()
	sum, err := mtp.NewMeter(reg, mtp.MQTT)
	if err != nil {
		t.Fatal(err)
	}
	up := false
	sum.Follow(func() bool { return up })
	a, b := sum.Part(), sum.Part()
	a.Opened()
	b.Opened()
	b.Closed()
	a.Up()
	b.Down(errors.New("refused"))
	a.Received(10)
	b.Refused()
	if err := b.Sent(5, errors.New("lost")); err == nil {
		t.Error("a failure is swallowed")
	}
	if got := a.Status(); !got.Up || got.LastError != "" || got.Received != 1 || got.Refused != 0 {
		t.Errorf("a part: %+v", got)
	}
	up = true
	if got := sum.Status(); !got.Up || got.LastError != "refused" || got.Received != 1 || got.Refused != 1 || sum.Connections() != 1 {
		t.Errorf("the sum: %+v with %d connections", got, sum.Connections())
	}
	want := strings.NewReader("# HELP uspbridge_mtp_up 1 while the transport is usable.\n# TYPE uspbridge_mtp_up gauge\nuspbridge_mtp_up{protocol=\"MQTT\"} 1\n")
	if err := testutil.GatherAndCompare(reg, want, "uspbridge_mtp_up"); err != nil {
		t.Error(err)
	}
}
