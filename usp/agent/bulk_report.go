package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp/agent/bulk"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// The outcomes of a report, as they are counted.
const (
	reportSent      = "sent"
	reportFailed    = "failed"    // not delivered and given up
	reportDeferred  = "deferred"  // not delivered, to be sent again or with the next
	reportPostponed = "postponed" // due, but there was no room for it
)

// report makes and sends a report.
func (h *Host) report(job reportJob) {
	// A device may be asked twice: for the report, and for the URL's parameters.
	ctx, cancel := context.WithTimeout(h.ctx, 2*h.cfg.Deadline+sendTimeout+time.Minute)
	defer cancel()
	a, err := h.agents.acquire(ctx, job.agent)
	if err != nil {
		h.log.Warn("bulk data report not made", "agent", job.agent, "profile", job.profile, "error", err)
		return
	}
	defer h.agents.release(a)
	p := a.state.Load().index(h.spec).profiles[job.profile]
	if p == nil {
		return // disabled since it was due
	}
	d, err := h.open(ctx, a)
	if err != nil {
		h.log.Warn("bulk data report not made", "agent", job.agent, "profile", job.profile, "error", err)
		return
	}
	started := time.Now()
	r := &reporting{Host: h, a: a, d: d, p: p, job: job}
	if p.protocol == overUSP {
		err = r.push(ctx)
	} else {
		err = r.upload(ctx)
	}
	if h.ctx.Err() != nil {
		return // the bridge stops; the report is made again when it runs
	}
	outcome, err := r.finish(ctx, err)
	h.metrics.reports.WithLabelValues(p.protocol, outcome).Inc()
	h.metrics.reportSeconds.WithLabelValues(p.protocol).Observe(time.Since(started).Seconds())
	if err != nil {
		h.log.Debug("bulk data report not delivered", "agent", job.agent, "profile", job.profile, "outcome", outcome, "error", err)
	}
}

// reporting is one report on its way.
type reporting struct {
	*Host
	a   *agent
	d   *device
	p   *profile
	job reportJob

	reports []undelivered // what is sent, the oldest first
	gone    []store.Key   // records of reports that are given up
}

// push sends the report as the event Push!, to those who have subscribed to it.
func (r *reporting) push(ctx context.Context) error {
	subs := r.d.state.index(r.spec).subscribers
	if !slices.ContainsFunc(subs, func(s *subscription) bool { return s.kind == eventNotification }) {
		return nil
	}
	report, failure := r.collect(ctx, r.d, r.p)
	if failure != nil {
		return failure
	}
	data, err := r.p.format.Encode([]bulk.Report{report}, r.cfg.Bulk.Report)
	if err != nil {
		return err
	}
	ev := Event{
		Kind: Occurred, Ref: dm.Ref{Node: r.spec.schema.Lookup(pushEvent), Inst: dm.Inst(r.p.instance)},
		Args: map[string]string{"Data": string(data)},
	}
	return r.keepAndSend(ctx, r.a, r.notifications(r.d, r.a, subs, []Event{ev}))
}

// upload sends the report with those before it that have failed and are
// retained, as one document.
func (r *reporting) upload(ctx context.Context) error {
	if err := r.gather(ctx); err != nil {
		return err
	}
	body, err := r.encode()
	if err != nil {
		return err
	}
	if r.p.protocol == overMQTT {
		return r.publish(ctx, body)
	}
	up := r.p.upload
	up.Query, up.Format, up.Body = r.queryOf(ctx, r.d, r.p), r.p.format, body
	return r.bulk.client.Send(ctx, &up)
}

// gather puts together what is to be sent.
func (r *reporting) gather(ctx context.Context) error {
	var err error
	if r.reports, err = r.undelivered(ctx, r.d.id, r.p); err != nil {
		return err
	}
	if r.job.again && len(r.reports) > 0 {
		return nil
	}
	r.prune(r.p.retained)
	report, failure := r.collect(ctx, r.d, r.p)
	if failure != nil {
		return failure
	}
	r.reports = append(r.reports, undelivered{key: reportKey(r.d.id, r.p.instance, report.Time), Report: report, fresh: true})
	return nil
}

// prune gives up the oldest reports beyond a number, with -1 none.
func (r *reporting) prune(most int) {
	for ; most >= 0 && len(r.reports) > most; r.reports = r.reports[1:] {
		r.giveUp(&r.reports[0])
	}
}

func (r *reporting) giveUp(u *undelivered) {
	if !u.fresh {
		r.gone = append(r.gone, u.key)
	}
}

// encode encodes the reports. Of what is too large together the oldest are given
// up ("Processing of Content for Failed Report Transmissions").
func (r *reporting) encode() ([]byte, error) {
	for {
		all := make([]bulk.Report, len(r.reports))
		for i := range r.reports {
			all[i] = r.reports[i].Report
		}
		body, err := r.p.format.Encode(all, r.cfg.Bulk.Report)
		if err == nil || len(all) < 2 {
			return body, err
		}
		r.prune(len(all) - 1)
	}
}

// publish sends a report over the bridge's MQTT client.
func (r *reporting) publish(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	for _, t := range r.cfg.Transports {
		if pub, ok := t.(mtp.Publisher); ok && t.Protocol() == mtp.MQTT {
			return pub.Publish(ctx, mtp.Publication{
				From: r.d.id, Topic: r.p.topic, ContentType: r.p.format.ContentType(), QoS: r.p.qos, Retain: r.p.retain, Payload: body,
			})
		}
	}
	return fmt.Errorf("no MQTT client is configured: %w", mtp.ErrUnreachable)
}

// finish makes durable what has become of a report, and says so.
func (r *reporting) finish(ctx context.Context, failure error) (outcome string, _ error) {
	// What was sent is ended, whatever time that took.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Deadline)
	defer cancel()
	err := r.locked(ctx, r.d.id, func(d *device, tx *txn) error {
		t, scheduled := tx.base.bulk[r.p.instance]
		p := tx.base.index(r.spec).profiles[r.p.instance]
		outcome = r.settle(tx, p, &t, failure)
		if scheduled && p != nil {
			if err := tx.setBulk(r.p.instance, t); err != nil {
				return err
			}
		}
		return r.commit(ctx, d, tx, nil, nil, nil)
	})
	if err != nil {
		// The lease ends, and the report is sent once more.
		return outcome, errors.Join(failure, fmt.Errorf("its outcome could not be stored: %w", err))
	}
	return outcome, failure
}

// settle decides what becomes of the reports, under the profile as it is now.
func (r *reporting) settle(tx *txn, p *profile, t *bulkTimes, failure error) string {
	t.Retry = 0
	var b store.Batch
	defer func() { tx.also = append(tx.also, b.Ops...) }()
	for _, key := range r.gone {
		b.Delete(key)
	}
	if failure == nil {
		for _, u := range r.reports {
			b.Delete(u.key)
		}
		t.Attempts = 0
		return reportSent
	}
	if p == nil || p.protocol != r.p.protocol || p.format.Encoding != r.p.format.Encoding {
		return reportFailed // what is undelivered has gone with the change
	}
	if errors.Is(failure, bulk.ErrTooLarge) || len(r.reports) == 0 {
		return reportFailed
	}
	if errors.Is(failure, bulk.ErrBusy) {
		t.Retry = r.cfg.Now().Add(postpone + rand.N(postpone)).UnixMilli()
		r.keep(&b)
		return reportPostponed
	}
	retry := false
	if p.retry && p.protocol == overHTTP { // R-BULK.2, R-BULK.3
		at := r.cfg.Now().Add(backoff(p.minimumWait, p.multiplier, t.Attempts)).UnixMilli()
		if retry = at < t.Next; retry {
			t.Retry, t.Attempts = at, t.Attempts+1
		}
	}
	if p.retained == 0 && !retry {
		for _, u := range r.reports {
			b.Delete(u.key)
		}
		return reportFailed
	}
	r.keep(&b)
	return reportDeferred
}

// keep stores what is not in the store yet, unless it is larger than may be sent.
func (r *reporting) keep(b *store.Batch) {
	for _, u := range r.reports {
		if value := encodeJSON(u.Report); u.fresh && len(value) <= r.cfg.Bulk.Report {
			b.Put(u.key, value)
		}
	}
}
