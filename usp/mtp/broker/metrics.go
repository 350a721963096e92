package broker

import (
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what the broker does.
type metrics struct {
	published, bytes, cut, dropped atomic.Uint64
	refused                        *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, b *Broker) (*metrics, error) {
	m := &metrics{refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "uspbridge_broker_refused_total",
		Help: "What clients of the embedded broker were refused, by reason."}, []string{"reason"})}
	if reg == nil {
		return m, nil
	}
	counter := func(name, help string, v *atomic.Uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "uspbridge_broker_" + name, Help: help},
			func() float64 { return float64(v.Load()) })
	}
	gauge := func(name, help string, f func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "uspbridge_broker_" + name, Help: help}, func() float64 { return float64(f()) })
	}
	for _, c := range []prometheus.Collector{
		m.refused,
		counter("published_total", "Messages that the embedded broker took over.", &m.published),
		counter("published_bytes_total", "Bytes of their payloads.", &m.bytes),
		counter("slow_clients_total", "Clients that were cut off because they did not read.", &m.cut),
		counter("dropped_total", "Messages that a client's queue had no room for, or that expired.", &m.dropped),
		gauge("connections", "Open connections of clients.", b.Connections),
		gauge("sessions", "Sessions, open or kept for clients that are away.", b.hook.len),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("metrics of the embedded broker: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) refuse(reason string) { m.refused.WithLabelValues(reason).Inc() }

// Connections returns how many clients are connected, the program itself not
// counted.
func (b *Broker) Connections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.open)
}
