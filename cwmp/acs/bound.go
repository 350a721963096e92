package acs

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// bound is a limit on something that all CPE share. It counts what is in use,
// and tells the operator when it begins to bite and when that is over, not each
// time.
type bound struct {
	log    logger
	name   string // label of the metrics, and of the key under cwmp.limits
	effect string // on CPE, while it bites
	limit  int64

	used   atomic.Int64
	bitten atomic.Int64 // how often in all
	biting atomic.Bool

	mu    sync.Mutex // held to begin and to end biting
	since time.Time
	first int64 // bitten when it began
}

// easeShare is the part of a bound that has to be free again before it is said
// to bite no more, so that use that moves about the limit is told of once.
const easeShare = 4

// take takes n unless fewer than keep would stay free.
func (b *bound) take(n, keep int64) bool {
	if b.used.Add(n) <= b.limit-keep {
		return true
	}
	b.used.Add(-n)
	b.bite()
	return false
}

// force takes n whatever the limit.
func (b *bound) force(n int64) { b.used.Add(n) }

// give gives n back.
func (b *bound) give(n int64) {
	if used := b.used.Add(-n); b.biting.Load() && used <= b.limit-b.limit/easeShare {
		b.ease()
	}
}

// full reports whether nothing is left, and if so counts that as a bite.
func (b *bound) full() bool {
	if b.used.Load() < b.limit {
		return false
	}
	b.bite()
	return true
}

// scarce reports whether more than half is in use.
func (b *bound) scarce() bool { return b.used.Load() > b.limit/2 }

func (b *bound) bite() {
	n := b.bitten.Add(1)
	if b.biting.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.biting.Swap(true) {
		return
	}
	b.since, b.first = time.Now(), n-1
	b.log.Warn("limit reached: "+b.effect, "limit", "cwmp.limits."+b.name, "value", b.limit)
}

func (b *bound) ease() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.biting.Swap(false) {
		return
	}
	b.log.Info("limit no longer reached", "limit", "cwmp.limits."+b.name, "value", b.limit,
		"times", b.bitten.Load()-b.first, "took", time.Since(b.since).Round(time.Millisecond))
}

// collectors are the bound's metrics.
func (b *bound) collectors() []prometheus.Collector {
	labels := prometheus.Labels{"limit": b.name}
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "uspbridge_cwmp_limit", ConstLabels: labels,
			Help: "What of a limited resource may be in use at once."}, func() float64 { return float64(b.limit) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "uspbridge_cwmp_limit_used", ConstLabels: labels,
			Help: "What of a limited resource is in use."}, func() float64 { return float64(b.used.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "uspbridge_cwmp_limit_reached_total", ConstLabels: labels,
			Help: "How often a limit has sent a CPE away or made it wait."}, func() float64 { return float64(b.bitten.Load()) }),
	}
}
