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

// The policies of sessions that are opened to controllers, where nothing else is
// configured for them.
var (
	// WebSocketRetry is R-WS.19 with the defaults of Device.LocalAgent.Controller.{i}.MTP.{i}.WebSocket:
	// after ten tries the wait grows no more.
	WebSocketRetry = Backoff{Min: 5 * time.Second, Multiplier: 2, Max: 5 * time.Second << 10}
	// UDSRetry is R-UDS.5: between 1 and 5 seconds, always.
	UDSRetry = Backoff{Min: time.Second, Multiplier: 5, Max: 5 * time.Second}
)

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
