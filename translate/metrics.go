package translate

import "github.com/prometheus/client_golang/prometheus"

// metrics of the joint. Names are part of the operator's interface.
type metrics struct {
	discoveries   *prometheus.CounterVec
	reads         *prometheus.CounterVec
	requests      *prometheus.CounterVec
	storeFailures prometheus.Counter
	operations    *prometheus.CounterVec
	polls         *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, d *devices, t *throttle) *metrics {
	m := &metrics{
		discoveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "uspbridge_discoveries_total", Help: "Parameter trees read from CPE, by outcome."}, []string{"outcome"}),
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "uspbridge_parameter_reads_total", Help: "Parameters read by controllers, by where the value came from."}, []string{"source"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "uspbridge_connection_requests_total", Help: "Connection requests to CPE, by the way they went and what came of them."}, []string{"kind", "outcome"}),
		storeFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "uspbridge_device_store_failures_total", Help: "Changes of devices that could not be stored."}),
	}
	m.operations = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "uspbridge_operations_total", Help: "Operations that CPE carry out beyond a session, by RPC and by what became of them."}, []string{"rpc", "outcome"})
	m.polls = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "uspbridge_polls_total", Help: "CPE that were asked for a session to read what they do not notify, by what came of it."}, []string{"outcome"})
	if reg != nil {
		reg.MustRegister(m.operations, m.polls, m.discoveries, m.reads, m.requests, m.storeFailures, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "uspbridge_devices_loaded", Help: "Devices in memory; the others are in the store only.",
		}, func() float64 { return float64(d.loaded()) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "uspbridge_discoveries_running", Help: "Discoveries that count against the limit now.",
		}, func() float64 { running, _ := t.state(); return float64(running) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "uspbridge_discoveries_waiting", Help: "Devices whose turn to be discovered has not come.",
		}, func() float64 { _, waiting := t.state(); return float64(waiting) }))
	}
	return m
}
