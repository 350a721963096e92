package bolt

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the store. Names are part of the operator's interface.
type metrics struct {
	commits   prometheus.Counter
	batches   prometheus.Histogram
	seconds   prometheus.Histogram
	failures  prometheus.Counter
	conflicts prometheus.Counter
	all       []prometheus.Collector
}

func newMetrics(cfg Config, q *queue) (*metrics, error) {
	m := &metrics{
		commits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "uspbridge_store_commits_total", Help: "Transactions written to disk."}),
		batches: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "uspbridge_store_batches_per_commit", Help: "Batches that shared one transaction.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 7)}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "uspbridge_store_commit_seconds", Help: "Time to write one transaction, disk sync included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 12)}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "uspbridge_store_failures_total", Help: "Batches that could not be stored; conflicts are not counted."}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "uspbridge_store_conflicts_total", Help: "Batches refused because a record had been changed meanwhile."}),
	}
	queued := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "uspbridge_store_queued_bytes", Help: "Bytes that wait to be written.",
	}, func() float64 { return float64(q.waiting()) })
	size := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "uspbridge_store_file_bytes", Help: "Size of the store's file.",
	}, func() float64 {
		fi, err := os.Stat(cfg.Path)
		if err != nil {
			return -1 // gone from under us: visible as impossible
		}
		return float64(fi.Size())
	})
	m.all = []prometheus.Collector{m.commits, m.batches, m.seconds, m.failures, m.conflicts, queued, size}
	if cfg.Metrics == nil {
		return m, nil
	}
	for i, c := range m.all {
		if err := cfg.Metrics.Register(c); err != nil {
			m.all = m.all[:i] // the rest is not ours
			m.unregister(cfg.Metrics)
			var taken prometheus.AlreadyRegisteredError
			if errors.As(err, &taken) {
				return nil, fmt.Errorf("metrics: another store is open in this registry: %w", err)
			}
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) unregister(reg prometheus.Registerer) {
	if reg == nil {
		return
	}
	for _, c := range m.all {
		reg.Unregister(c)
	}
}

func (m *metrics) committed(batches int, took time.Duration) {
	m.commits.Inc()
	m.batches.Observe(float64(batches))
	m.seconds.Observe(took.Seconds())
}

func (m *metrics) failed(batches int) { m.failures.Add(float64(batches)) }
func (m *metrics) conflict()          { m.conflicts.Inc() }
