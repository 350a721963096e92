package agent

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Run ends with its context and leaves nothing behind.
func TestRun(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "ttl", "ValueChange", "Device.DeviceInfo.FriendlyName", kv{"TimeToLive", "20", true})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.host.Run(ctx) }()
	b.clock.Advance(21 * time.Second)
	b.host.due.poke()
	deadline := time.After(patience)
	for b.countSubscriptions() != "0" {
		select {
		case <-deadline:
			t.Fatal("subscription did not expire")
		default:
			b.host.due.poke()
		}
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("Run did not end")
	}
}
