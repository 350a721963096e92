package mtp

import (
	"math"
	"math/rand/v2"
	"time"
)

// Backoff is the retry policy of a lost connection: the wait before try n is
// drawn evenly from [m·k^(n-1), m·k^n], so that peers of a restarted server do
// not return all at once (TR-369 R-WS.19; R-MQTT.10 and R-STOMP.7 leave the
// shape open). The zero value has the standard's defaults, capped at a minute:
// one connection stands for a whole fleet here.
type Backoff struct {
	Min        time.Duration // m; 0: 1 s
	Max        time.Duration // upper end of any wait; 0: 1 min
	Multiplier float64       // k; 0: 2
}

// Wait returns how long to wait before try n, n counting from 1 since the last
// connection that worked.
func (b Backoff) Wait(n int) time.Duration {
	low, high, k := b.Min, b.Max, b.Multiplier
	if low <= 0 {
		low = time.Second
	}
	if high <= 0 {
		high = time.Minute
	}
	if k <= 1 {
		k = 2
	}
	from := math.Min(float64(low)*math.Pow(k, float64(max(n, 1)-1)), float64(high)/k)
	to := math.Min(from*k, float64(high))
	return time.Duration(from + rand.Float64()*math.Max(to-from, 0))
}
