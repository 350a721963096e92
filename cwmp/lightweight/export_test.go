package lightweight

import (
	"encoding/hex"

	"github.com/prometheus/client_golang/prometheus"
)

// Received is the counter of one outcome.
func (l *Listener) Received(outcome string) prometheus.Counter {
	return l.received.WithLabelValues(outcome)
}

// Signature is that of a body, as it stands in the header.
func Signature(body, password string) string {
	return hex.EncodeToString(signature([]byte(body), password))
}
