package mtp

import (
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Meter counts what a transport does, for its Status and for the metrics. All
// its methods may be called concurrently and cost an atomic addition.
type Meter struct {
	sent, received, refused, failed atomic.Uint64
	bytesSent, bytesReceived        atomic.Uint64
	connections                     atomic.Int64
	up                              atomic.Bool
	lastError                       atomic.Pointer[error]

	sum    *Meter      // counts what this one does, too; nil for none
	usable func() bool // tells whether it is up, in place of Up and Down; nil for those
}

// Follow has f tell whether the transport is up.
func (m *Meter) Follow(f func() bool) { m.usable = f }

func (m *Meter) isUp() bool {
	if m.usable != nil {
		return m.usable()
	}
	return m.up.Load()
}

// Part returns a Meter for one of several connections that m counts together. It
// has a state of its own; m is left to say whether it is up.
func (m *Meter) Part() *Meter { return &Meter{sum: m} }

// NewMeter returns a Meter for protocol, shown on reg unless that is nil. The
// error tells that reg already has a transport of this protocol.
func NewMeter(reg prometheus.Registerer, protocol Protocol) (*Meter, error) {
	m := &Meter{}
	if reg == nil {
		return m, nil
	}
	for _, c := range m.collectors(prometheus.Labels{"protocol": string(protocol)}) {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("metrics of the %s transport: %w", protocol, err)
		}
	}
	return m, nil
}

func (m *Meter) collectors(l prometheus.Labels) []prometheus.Collector {
	counter := func(name, help string, v *atomic.Uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "uspbridge_mtp_" + name, Help: help, ConstLabels: l},
			func() float64 { return float64(v.Load()) })
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "uspbridge_mtp_" + name, Help: help, ConstLabels: l}, f)
	}
	return []prometheus.Collector{
		counter("records_sent_total", "USP records written to the transport.", &m.sent),
		counter("records_received_total", "USP records that arrived.", &m.received),
		counter("records_refused_total", "Arrivals that were no record for us.", &m.refused),
		counter("send_failures_total", "Records that could not be sent.", &m.failed),
		counter("sent_bytes_total", "Bytes of records written.", &m.bytesSent),
		counter("received_bytes_total", "Bytes of records that arrived.", &m.bytesReceived),
		gauge("connections", "Open connections.", func() float64 { return float64(m.connections.Load()) }),
		gauge("up", "1 while the transport is usable.", func() float64 {
			if m.isUp() {
				return 1
			}
			return 0
		}),
	}
}

// Sent counts a record of n bytes if err is nil, a failed one otherwise, and
// returns err.
func (m *Meter) Sent(n int, err error) error {
	if m.sum != nil {
		_ = m.sum.Sent(n, err) // it is returned below
	}
	if err != nil {
		m.failed.Add(1)
		return err
	}
	m.sent.Add(1)
	m.bytesSent.Add(uint64(n))
	return nil
}

// Received counts a record of n bytes that arrived.
func (m *Meter) Received(n int) {
	if m.sum != nil {
		m.sum.Received(n)
	}
	m.received.Add(1)
	m.bytesReceived.Add(uint64(n))
}

// Refused counts an arrival that was no record, or one the Handler refused.
func (m *Meter) Refused() {
	if m.sum != nil {
		m.sum.Refused()
	}
	m.refused.Add(1)
}

// Opened and Closed count connections.
func (m *Meter) Opened() { m.count(1) }

// Closed is the counterpart of Opened.
func (m *Meter) Closed() { m.count(-1) }

func (m *Meter) count(n int64) {
	if m.sum != nil {
		m.sum.count(n)
	}
	m.connections.Add(n)
}

// Connections returns how many are open.
func (m *Meter) Connections() int64 { return m.connections.Load() }

// Up tells that the transport is usable; what failed before is forgotten.
func (m *Meter) Up() {
	m.lastError.Store(nil)
	m.up.Store(true)
}

// Down tells that the transport is not usable, because of err if that is not nil.
func (m *Meter) Down(err error) {
	m.up.Store(false)
	m.Failed(err)
}

// Failed notes err as what failed last, without a word about being usable.
func (m *Meter) Failed(err error) {
	if err != nil {
		m.lastError.Store(&err)
		if m.sum != nil {
			m.sum.Failed(err)
		}
	}
}

// Status returns the counts so far.
func (m *Meter) Status() Status {
	s := Status{Up: m.isUp(), Sent: m.sent.Load(), Received: m.received.Load(), Refused: m.refused.Load()}
	if err := m.lastError.Load(); err != nil {
		s.LastError, s.Trouble = (*err).Error(), TroubleOf(*err)
	}
	return s
}
