package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/usp/record/e2e"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// metrics counts what agents do, all together.
type metrics struct {
	messages      *prometheus.CounterVec
	seconds       *prometheus.HistogramVec
	notifications *prometheus.CounterVec
	refused       *prometheus.CounterVec
	reports       *prometheus.CounterVec
	reportSeconds *prometheus.HistogramVec
	sessions      *prometheus.CounterVec

	byType [usppb.Header_DEREGISTER_RESP + 1]messageMetrics
}

// messageMetrics are the metrics of one type of request, looked up once.
type messageMetrics struct {
	ok, failed prometheus.Counter
	seconds    prometheus.Observer
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "uspbridge_usp_messages_total", Help: "USP requests handled by hosted agents, by type and outcome (ok, error).",
		}, []string{"type", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "uspbridge_usp_message_seconds", Help: "Time to handle a USP request, waiting for the device included.",
			Buckets: prometheus.ExponentialBuckets(10e-6, 4, 12),
		}, []string{"type"}),
		notifications: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "uspbridge_usp_notifications_total", Help: "Notifications by type and outcome (sent, deferred, lost, acknowledged, expired, withdrawn, dropped).",
		}, []string{"type", "outcome"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "uspbridge_usp_records_refused_total", Help: "USP records not handled, by reason.",
		}, []string{"reason"}),
		sessions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "uspbridge_usp_session_events_total", Help: "Events of session contexts with controllers (opened, restarted, terminated, retransmitted, duplicate, refused).",
		}, []string{"event"}),
		reports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "uspbridge_bulk_reports_total", Help: "Bulk data reports by protocol and outcome (sent, deferred, failed, postponed).",
		}, []string{"protocol", "outcome"}),
		reportSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "uspbridge_bulk_report_seconds", Help: "Time to make and send a bulk data report, waiting for the device included.",
			Buckets: prometheus.ExponentialBuckets(1e-3, 4, 9),
		}, []string{"protocol"}),
	}
	for _, t := range requestTypes {
		m.byType[t] = messageMetrics{
			ok:      m.messages.WithLabelValues(t.String(), "ok"),
			failed:  m.messages.WithLabelValues(t.String(), "error"),
			seconds: m.seconds.WithLabelValues(t.String()),
		}
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.messages, m.seconds, m.notifications, m.refused, m.reports, m.reportSeconds, m.sessions} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// requestTypes are the types of requests, those that are refused included; it is
// only read.
var requestTypes = [...]usppb.Header_MsgType{
	usppb.Header_GET, usppb.Header_SET, usppb.Header_ADD, usppb.Header_DELETE, usppb.Header_OPERATE, usppb.Header_NOTIFY,
	usppb.Header_GET_SUPPORTED_DM, usppb.Header_GET_INSTANCES, usppb.Header_GET_SUPPORTED_PROTO, usppb.Header_REGISTER, usppb.Header_DEREGISTER,
}

// handled counts a request.
func (m *metrics) handled(t usppb.Header_MsgType, ok bool, took time.Duration) {
	if t < 0 || int(t) >= len(m.byType) || m.byType[t].ok == nil {
		return
	}
	c := m.byType[t].ok
	if !ok {
		c = m.byType[t].failed
	}
	c.Inc()
	m.byType[t].seconds.Observe(took.Seconds())
}

// sessionsOpen has the number of sessions shown.
func (m *metrics) sessionsOpen(reg prometheus.Registerer, t *e2e.Table) error {
	if reg == nil {
		return nil
	}
	return reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "uspbridge_usp_sessions", Help: "Session contexts between controllers and agents.",
	}, func() float64 { return float64(t.Open()) }))
}
