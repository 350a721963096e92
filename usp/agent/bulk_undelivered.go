package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent/bulk"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Reports that were not delivered are records of store.Report: those that wait
// for their next attempt, and those retained for the next report. They are kept
// as what was collected, not as it was encoded, so that the columns of reports
// with different rows can be put together.

// maxRetained bounds the reports kept of a profile that retains as many "as
// possible", in number; BulkConfig.Report bounds them in size.
const maxRetained = 100

// undelivered is a report that was not delivered, or that is about to be sent.
type undelivered struct {
	key   store.Key
	fresh bool // not in the store yet
	bulk.Report
}

func reportPrefix(profile uint32) string { return strconv.FormatUint(uint64(profile), 10) + "/" }

func reportKey(id usp.EndpointID, profile uint32, at time.Time) store.Key {
	return store.Key{Kind: store.Report, Owner: string(id), Name: reportPrefix(profile) + fmt.Sprintf("%016x", max(0, at.UnixMilli()))}
}

// undelivered reads the undelivered reports of a profile, the oldest first. The
// newest are read, as many as may be kept and as large as may be sent.
func (h *Host) undelivered(ctx context.Context, id usp.EndpointID, p *profile) ([]undelivered, error) {
	var all []undelivered
	var sizes []int
	var total int
	var failure error
	q := store.Query{Kind: store.Report, Owner: string(id), WholeOwner: true, Name: reportPrefix(p.instance)}
	err := h.cfg.Store.Scan(ctx, q, func(k store.Key, value []byte) bool {
		u := undelivered{key: k}
		if err := json.Unmarshal(value, &u.Report); err != nil {
			failure = fmt.Errorf("report %s of agent %s: %w", k.Name, id, err)
			return false
		}
		all, sizes, total = append(all, u), append(sizes, len(value)), total+len(value)
		for len(all) > 1 && (total > h.cfg.Bulk.Report || len(all) > maxRetained) {
			total -= sizes[0]
			all, sizes = all[1:], sizes[1:]
		}
		return true
	})
	if err == nil {
		err = failure
	}
	if err != nil {
		return nil, fmt.Errorf("undelivered bulk data reports cannot be read: %w", err)
	}
	return slices.Clip(all), nil
}

// dropReports adds to a txn what removes the undelivered reports of profiles.
func (h *Host) dropReports(ctx context.Context, tx *txn, profiles []uint32) error {
	var b store.Batch
	for _, n := range profiles {
		q := store.Query{Kind: store.Report, Owner: string(tx.a.id), WholeOwner: true, Name: reportPrefix(n)}
		if err := h.cfg.Store.Scan(ctx, q, func(k store.Key, _ []byte) bool {
			b.Delete(k)
			return true
		}); err != nil {
			return fmt.Errorf("undelivered bulk data reports cannot be removed: %w", err)
		}
	}
	tx.also = append(tx.also, b.Ops...)
	return nil
}

// staleReports returns the profiles whose undelivered reports a change makes
// void: that are gone, or that report in another encoding or another way
// ("Processing of Content for Failed Report Transmissions").
func (h *Host) staleReports(tx *txn) []uint32 {
	if tx.base == tx.next {
		return nil
	}
	var stale []uint32
	class := h.spec.classAt(profileTable)
	for _, n := range tx.base.index(h.spec).tables[rowKey{class: class}] {
		k := rowKey{class, dm.Inst(n)}
		if tx.next.rows[k] == nil || tx.next.named(k, "EncodingType") != tx.base.named(k, "EncodingType") ||
			tx.next.named(k, "Protocol") != tx.base.named(k, "Protocol") {
			stale = append(stale, n)
		}
	}
	return stale
}

// forgetReports drops, when the device has rebooted, the undelivered reports of
// profiles that do not keep them (HTTP.PersistAcrossReboot), and begins to count
// retries anew (R-BULK.5). It is done in the background: whoever reports the
// reboot may be what a Set of this agent waits for.
func (h *Host) forgetReports(a *agent) {
	h.background.Add(1)
	go func() {
		defer h.background.Done()
		ctx, cancel := context.WithTimeout(h.ctx, 2*h.cfg.Deadline)
		defer cancel()
		err := h.locked(ctx, a.id, func(d *device, tx *txn) error {
			var lost []uint32
			for n, t := range tx.base.bulk {
				k := rowKey{h.spec.classAt(profileTable), dm.Inst(n)}
				t.Attempts = 0
				if tx.base.named(k, "HTTP.PersistAcrossReboot") != "true" {
					lost = append(lost, n)
					t.Retry = 0
				}
				if err := tx.setBulk(n, t); err != nil {
					return err
				}
			}
			if err := h.dropReports(ctx, tx, lost); err != nil {
				return err
			}
			return h.commit(ctx, d, tx, nil, nil, nil)
		})
		if err != nil {
			h.log.Warn("undelivered bulk data reports could not be dropped after a reboot", "agent", a.id, "error", err)
		}
	}()
}
