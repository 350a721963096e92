package fileserver

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	bytes    *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, running func() float64) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "uspbridge_file_requests_total", Help: "Requests for files by CPE, by direction and outcome."}, []string{"direction", "outcome"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "uspbridge_file_bytes_total", Help: "Bytes of files sent to CPE and taken from them."}, []string{"direction"}),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(reg.Register(m.requests), reg.Register(m.bytes), reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "uspbridge_file_transfers", Help: "File transfers of CPE that are under way.",
	}, running)))
}
