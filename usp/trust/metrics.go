package trust

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	verifications *prometheus.CounterVec
	issued        *prometheus.CounterVec
}

// newMetrics registers the metrics; nothing is registered if reg is nil.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		verifications: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "uspbridge_trust_verifications_total",
			Help: "Certificates of peers that were judged, by outcome: trusted, or the reason why not."}, []string{"outcome"}),
		issued: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "uspbridge_trust_agent_certificates_total",
			Help: "Certificates of agents that were issued, imported and revoked."}, []string{"event"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.verifications, m.issued} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("trust: metrics: %w", err)
		}
	}
	return m, nil
}
