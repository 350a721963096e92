package flood_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp/flood"
)

// TestLimiter: each source has its allowance for a second; a /64 of IPv6 is one.
func TestLimiter(t *testing.T) {
	const most = 10
	l := flood.NewLimiter(most)
	now := time.Unix(1_700_000_000, 0)
	for _, step := range []struct {
		from string
		want int
	}{
		{"192.0.2.1", most}, {"2001:db8::1", most}, {"2001:db8::2", 0}, {"::ffff:192.0.2.1", 0}, {"2001:db8:0:1::1", most},
	} {
		allowed := 0
		for range 3 * most {
			if l.Allows(netip.MustParseAddr(step.from), now) {
				allowed++
			}
		}
		if allowed != step.want {
			t.Errorf("%s: %d were allowed, want %d", step.from, allowed, step.want)
		}
	}
	if !l.Allows(netip.MustParseAddr("192.0.2.1"), now.Add(time.Second)) {
		t.Error("a second later it is still not heard")
	}
}
