package relay

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/usp/mtp"
)

// metrics counts what the relay does.
type metrics struct {
	records, bytes *prometheus.CounterVec // by the transports from which and to which
	dropped        *prometheus.CounterVec
	connects       prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, r *Relay) (*metrics, error) {
	ways := []string{"from", "to"}
	m := &metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "uspbridge_relay_records_total", Help: "Records passed on between native endpoints, by the transports they came over and went on.",
		}, ways),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "uspbridge_relay_bytes_total", Help: "Bytes of records passed on, as uspbridge_relay_records_total.",
		}, ways),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "uspbridge_relay_dropped_total", Help: "Records of native endpoints not passed on, by reason.",
		}, []string{"reason"}),
		connects: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "uspbridge_relay_connects_total", Help: "Connect records made in place of those of another transport.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	gauge := func(name, help string, f func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "uspbridge_relay_" + name, Help: help}, func() float64 { return float64(f()) })
	}
	all := []prometheus.Collector{m.records, m.bytes, m.dropped, m.connects,
		gauge("endpoints", "Native agents and their controllers known.", r.table.count.Load),
		gauge("sessions_wanted", "Sessions to be kept to controllers in the name of native agents.", r.sessions.wanted.Load),
		gauge("sessions_open", "Sessions of native agents and controllers that the bridge connects to, open, whoever has opened them.", r.table.open)}
	if r.held != nil {
		all = append(all,
			gauge("queued_records", "Records that wait for native agents.", r.held.records.Load),
			gauge("queued_bytes", "Bytes of records that wait for native agents.", r.held.bytes.Load))
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// relayed counts a record that was passed on. from is "" for one that had waited.
func (m *metrics) relayed(from, to mtp.Protocol, bytes int) {
	if from == "" {
		from = "held"
	}
	m.records.WithLabelValues(string(from), string(to)).Inc()
	m.bytes.WithLabelValues(string(from), string(to)).Add(float64(bytes))
}
