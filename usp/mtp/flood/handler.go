package flood

import (
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
)

// Config says how much of what is let through.
type Config struct {
	Rates      Rates
	Log        *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // default time.Now
}

// logEvery is how often the excess is logged, all of it in one line: a flood is not
// to become one of the log.
const logEvery = 10 * time.Second

// Handler passes on what an endpoint may send and refuses the rest, without an
// answer. It implements mtp.Handler.
type Handler struct {
	mtp.Handler
	limiter *Limiter
	log     *slog.Logger
	now     func() time.Time
	refused atomic.Uint64
	told    atomic.Uint64 // of refused, what the log has told
	logged  atomic.Int64  // when, unix nanoseconds
}

// Bound returns next behind the bounds of cfg.
func Bound(next mtp.Handler, cfg Config) (*Handler, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	h := &Handler{Handler: next, limiter: NewLimiter(cfg.Rates, cfg.Now), log: cfg.Log, now: cfg.Now}
	if cfg.Registerer == nil {
		return h, nil
	}
	err := cfg.Registerer.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "uspbridge_mtp_records_flood_total", Help: "Records that were dropped because their sender sent too many.",
	}, func() float64 { return float64(h.refused.Load()) }))
	if err != nil {
		return nil, fmt.Errorf("metrics of flood bounds: %w", err)
	}
	return h, nil
}

// Receive refuses what is beyond the sender's allowance with mtp.ErrFlood, by which
// a transport with a connection of the sender's own closes that.
func (h *Handler) Receive(in mtp.Inbound) error {
	if !h.takes(in) {
		h.excess(in)
		return mtp.ErrFlood
	}
	return h.Handler.Receive(in)
}

// takes counts a record to the one that is known best to have sent it: the endpoint
// that the transport has authenticated, the connection, or, from a broker that tells
// nothing of its clients, the endpoint that the record names. There a client that
// the broker lets speak as others uses up their allowance; to keep it from that is
// the broker's business.
func (h *Handler) takes(in mtp.Inbound) bool {
	switch {
	case in.Proven:
		return Take(h.limiter, in.Peer, len(in.Record))
	case in.Reply.Conn != nil:
		return Take(h.limiter, in.Reply.Conn, len(in.Record))
	default:
		from, _, err := record.Addresses(in.Record)
		if err != nil {
			from = "" // what is no record has one allowance for all
		}
		return Take(h.limiter, origin{in.Reply.Protocol, from}, len(in.Record))
	}
}

// origin is a sender as its record has it.
type origin struct {
	protocol mtp.Protocol
	from     usp.EndpointID
}

func (h *Handler) excess(in mtp.Inbound) {
	total := h.refused.Add(1)
	now, last := h.now().UnixNano(), h.logged.Load()
	if now-last < int64(logEvery) || !h.logged.CompareAndSwap(last, now) {
		return
	}
	h.log.Warn("an endpoint sends more than it may; the excess is dropped", "protocol", in.Reply.Protocol, "peer", string(in.Peer),
		"dropped since this was last logged", total-h.told.Swap(total))
}
