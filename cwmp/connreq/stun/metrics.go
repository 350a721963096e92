package stun

import "github.com/prometheus/client_golang/prometheus"

// metrics of the STUN server. Names are part of the operator's interface.
type metrics struct {
	requests *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, b *bindings) (*metrics, error) {
	m := &metrics{requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "uspbridge_stun_requests_total", Help: "Datagrams to the STUN server, by what became of them."}, []string{"outcome"})}
	if reg == nil {
		return m, nil
	}
	open := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "uspbridge_stun_bindings", Help: "CPE whose NAT binding is known to be open."}, func() float64 { return float64(b.len()) })
	for _, c := range []prometheus.Collector{m.requests, open} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
