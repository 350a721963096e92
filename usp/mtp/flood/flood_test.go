package flood_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/flood"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
	"github.com/uspbridge/uspbridge/usp/record"
)

// clock is set by hand.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func TestAllowance(t *testing.T) {
	tests := []struct {
		name  string
		rates flood.Rates
		bytes int
		want  []int // how many of 100 are taken at once, and again after each second
	}{
		{"records", flood.Rates{Records: 10}, 1000, []int{10, 10, 10}},
		{"a burst after a pause", flood.Rates{Records: 10, Burst: 30}, 1, []int{30, 10, 10}},
		{"bytes", flood.Rates{Bytes: 1000}, 100, []int{10, 10}},
		{"bytes with a burst", flood.Rates{Bytes: 1000, BytesBurst: 5000}, 100, []int{50, 10}},
		{"both, the tighter one counts", flood.Rates{Records: 20, Bytes: 1000}, 100, []int{10, 10}},
		{"larger than the burst", flood.Rates{Bytes: 1000}, 1001, []int{0, 0}},
		{"no bound", flood.Rates{}, 1 << 20, []int{100, 100}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &clock{time.Unix(1_700_000_000, 0)}
			l := flood.NewLimiter(tt.rates, c.now)
			for second, want := range tt.want {
				got := 0
				for range 100 {
					if flood.Take(l, "source", tt.bytes) {
						got++
					}
				}
				if got != want {
					t.Errorf("second %d: %d taken, want %d", second, got, want)
				}
				c.t = c.t.Add(time.Second)
			}
		})
	}
}

func TestExhausted(t *testing.T) {
	c := &clock{time.Unix(1_700_000_000, 0)}
	l := flood.NewLimiter(flood.Rates{Records: 2}, c.now)
	if flood.Exhausted(l, 1) || !flood.Take(l, 1, 0) || flood.Exhausted(l, 1) || !flood.Take(l, 1, 0) || !flood.Exhausted(l, 1) {
		t.Error("the allowance is not 2")
	}
	c.t = c.t.Add(time.Second)
	if flood.Exhausted(l, 1) {
		t.Error("it is still exhausted a second later")
	}
}

// rec is a record of an endpoint.
func rec(t *testing.T, from usp.EndpointID) []byte {
	t.Helper()
	b, err := record.WebSocketConnect(from, "os::1-1", usp.RecordVersion)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEachSenderApart: who floods loses the excess, nobody else loses anything.
func TestEachSenderApart(t *testing.T) {
	one, other := rec(t, "proto::one"), rec(t, "proto::other")
	connOne, connOther := new(int), new(int)
	tests := []struct {
		name            string
		flooding, quiet mtp.Inbound
	}{
		{"proven endpoints", mtp.Inbound{Record: one, Peer: "proto::one", Proven: true}, mtp.Inbound{Record: other, Peer: "proto::other", Proven: true}},
		{"one that forges from_id", mtp.Inbound{Record: other, Peer: "proto::one", Proven: true}, mtp.Inbound{Record: other, Peer: "proto::other", Proven: true}},
		{"connections", mtp.Inbound{Record: one, Reply: mtp.Address{Conn: connOne}}, mtp.Inbound{Record: one, Reply: mtp.Address{Conn: connOther}}},
		{"records' from_id", mtp.Inbound{Record: one}, mtp.Inbound{Record: other}},
		{"garbage", mtp.Inbound{Record: []byte("garbage")}, mtp.Inbound{Record: one}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			next, c := mtptest.NewRecorder(), &clock{time.Unix(1_700_000_000, 0)}
			var log bytes.Buffer
			metrics := prometheus.NewRegistry()
			h, err := flood.Bound(next, flood.Config{Rates: flood.Rates{Records: 5}, Now: c.now, Registerer: metrics,
				Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			for i := range 50 {
				if err := h.Receive(tt.flooding); (i < 5) != (err == nil) || err != nil && !errors.Is(err, mtp.ErrFlood) {
					t.Fatalf("record %d: %v", i, err)
				}
			}
			for range 5 {
				if err := h.Receive(tt.quiet); err != nil {
					t.Fatalf("the other's record: %v", err)
				}
			}
			if got := len(next.In); got != 10 {
				t.Errorf("%d records passed on, want 10", got)
			}
			if got := counter(t, metrics); got != 45 {
				t.Errorf("%v counted, want 45", got)
			}
			if lines := strings.Count(log.String(), "\n"); lines != 1 {
				t.Errorf("%d lines in the log, want 1:\n%s", lines, log.String())
			}
		})
	}
}

func counter(t *testing.T, g prometheus.Gatherer) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil || len(families) != 1 {
		t.Fatal(families, err)
	}
	return families[0].GetMetric()[0].GetCounter().GetValue()
}

// An endpoint that is refused is told nothing, but what comes of its connection is.
func TestConnectionsArePassedOn(t *testing.T) {
	next := mtptest.NewRecorder()
	h, err := flood.Bound(next, flood.Config{Rates: flood.Rates{Records: 1}})
	if err != nil {
		t.Fatal(err)
	}
	h.Connected("a", "b", mtp.Address{})
	h.Disconnected("a", "b", mtp.Address{})
	if len(next.Opened) != 1 || len(next.Closed) != 1 {
		t.Error("connections are not passed on")
	}
}

func BenchmarkTake(b *testing.B) {
	l := flood.NewLimiter(flood.Rates{Records: 1e9, Bytes: 1e12}, nil)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			flood.Take(l, usp.EndpointID("proto::controller-1"), 200)
		}
	})
}
