package acs

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the counters of one Server.
type metrics struct {
	sessions *prometheus.CounterVec // by outcome
	open     prometheus.GaugeFunc
	seconds  prometheus.Histogram
	informs  prometheus.Counter
	rpcs     *prometheus.CounterVec // ACS → CPE, by rpc and outcome
	requests *prometheus.CounterVec // CPE → ACS, by rpc and outcome
	refused  *prometheus.CounterVec // by reason

	jobsRefused prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, sessions *bound, others ...*bound) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "uspbridge_cwmp_" + name, Help: help}, labels)
	}
	m := &metrics{
		sessions: counter("sessions_total", "CWMP sessions ended, by outcome.", "outcome"),
		rpcs:     counter("rpc_total", "RPCs sent to CPE, by name and outcome.", "rpc", "outcome"),
		requests: counter("cpe_requests_total", "RPCs received from CPE, by name and outcome.", "rpc", "outcome"),
		refused:  counter("refused_total", "HTTP requests of CPE refused, by reason.", "reason"),
		informs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "uspbridge_cwmp_informs_total", Help: "Informs that opened a session."}),
		open: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "uspbridge_cwmp_sessions_open", Help: "CWMP sessions open now."}, func() float64 { return float64(sessions.used.Load()) }),
		jobsRefused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "uspbridge_cwmp_jobs_refused_total", Help: "Operations refused because too many wait for the same CPE."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "uspbridge_cwmp_session_seconds", Help: "Duration of CWMP sessions.",
			Buckets: []float64{.005, .02, .1, .5, 1, 2, 5, 10, 30, 60, 300, 1800}}),
	}
	if reg == nil {
		return m, nil
	}
	all := []prometheus.Collector{m.sessions, m.rpcs, m.requests, m.refused, m.informs, m.open, m.seconds, m.jobsRefused}
	for _, b := range append(others, sessions) {
		all = append(all, b.collectors()...)
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// outcomeOf is the kind of a session's end, not its text.
func outcomeOf(err error) string {
	var end *sessionError
	switch {
	case errors.As(err, &end):
		return end.outcome
	case err != nil:
		return "failed"
	}
	return "ok"
}

// ended counts a session.
func (m *metrics) ended(started time.Time, err error) {
	m.sessions.WithLabelValues(outcomeOf(err)).Inc()
	m.seconds.Observe(time.Since(started).Seconds())
}
