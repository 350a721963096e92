package translate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
)

// What is due at a time is in an index in the store, one entry a device, so that
// a device that waits for something needs no timer and a restart forgets nothing.

// The index is looked at after a poll at the latest, since another node may have
// put something there; so many entries at once, so many devices at a time.
const (
	duePoll    = time.Minute
	dueBatch   = 256
	dueWorkers = 128
)

func dueKey(at int64, key cwmp.DeviceKey) store.Key {
	return store.Key{Kind: store.DeviceDue, Owner: fmt.Sprintf("%016x", max(0, at)), Name: string(key)}
}

// nextDue returns when the device has to be looked at, zero for never.
func (r *Record) nextDue() (next time.Time) {
	for _, op := range r.Operations {
		for _, at := range []time.Time{op.NotBefore, op.Deadline} {
			next = sooner(next, at)
		}
	}
	if len(r.ImageChanges) > 0 {
		next = sooner(next, r.ImageChanges[0].Again)
	}
	return sooner(next, r.NextPoll)
}

// sooner returns the earlier of two times, of which zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// schedule moves the device's entry of the index to a time.
func (b *Bridge) schedule(key cwmp.DeviceKey, rec *Record, at time.Time, batch *store.Batch) {
	var ms int64
	if !at.IsZero() {
		ms = at.UnixMilli()
	}
	if ms == rec.Due {
		return
	}
	if rec.Due != 0 {
		batch.Delete(dueKey(rec.Due, key))
	}
	if rec.Due = ms; ms == 0 {
		return
	}
	batch.Put(dueKey(ms, key), nil)
}

// schedules reports whether a batch puts a device into the index.
func schedules(batch *store.Batch) bool {
	return slices.ContainsFunc(batch.Ops, func(op store.Op) bool { return op.Key.Kind == store.DeviceDue && op.Value != nil })
}

// lookAtDue has the index looked at again. Before what was put there is in the
// store there is nothing to see.
func (b *Bridge) lookAtDue() {
	select {
	case b.wakeDue <- struct{}{}:
	default:
	}
}

// runDue deals with what is due until ctx ends.
func (b *Bridge) runDue(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.wakeDue:
		case <-timer.C:
		}
		next, err := b.dueNow(ctx)
		if err != nil && ctx.Err() == nil {
			b.log.Error("what is due cannot be read; trying again", "error", err)
		}
		timer.Reset(min(max(next.Sub(b.now()), time.Second), duePoll))
	}
}

// dueNow deals with all devices that are due and returns when the next one is.
func (b *Bridge) dueNow(ctx context.Context) (next time.Time, err error) {
	now := b.now()
	next = now.Add(duePoll)
	var ready []store.Key
	err = b.store.Scan(ctx, store.Query{Kind: store.DeviceDue, Limit: dueBatch}, func(k store.Key, _ []byte) bool {
		ms, err := strconv.ParseInt(k.Owner, 16, 64)
		if at := time.UnixMilli(ms); err == nil && at.After(now) {
			next = at
			return false
		}
		ready = append(ready, k)
		return true
	})
	if err != nil {
		return next, err
	}
	var work sync.WaitGroup
	slots := make(chan struct{}, dueWorkers)
	for _, k := range ready {
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			if err := b.dueDevice(ctx, k); err != nil && ctx.Err() == nil {
				b.log.Error("what is due failed; trying again", "device", k.Name, "error", err)
			}
		})
	}
	work.Wait()
	if len(ready) == dueBatch {
		next = now
	}
	return next, nil
}

// dueDevice deals with one entry of the index. Entries that are not the
// device's are taken away.
func (b *Bridge) dueDevice(ctx context.Context, k store.Key) error {
	dev, err := b.devices.acquire(ctx, cwmp.DeviceKey(k.Name))
	if errors.Is(err, errUnknownDevice) {
		return b.dropDue(ctx, k)
	} else if err != nil {
		return err
	}
	defer b.devices.release(dev)
	if rec := dev.state.Load().rec; dueKey(rec.Due, dev.key) != k {
		return b.dropDue(ctx, k)
	}
	b.tell(ctx, dev)
	b.expire(ctx, dev)
	if err := b.poll(ctx, dev); err != nil {
		return err
	}
	return b.again(ctx, dev)
}

func (b *Bridge) dropDue(ctx context.Context, k store.Key) error {
	var batch store.Batch
	batch.Delete(k)
	return b.store.Commit(ctx, &batch)
}

// again makes sure that what is still due, because it failed, is not tried at
// once.
func (b *Bridge) again(ctx context.Context, dev *device) error {
	dev.mu.Lock()
	now := b.now()
	next := dev.state.Load().rec.nextDue()
	if next.IsZero() || next.After(now) {
		dev.mu.Unlock()
		return nil
	}
	rec := dev.state.Load().rec.clone()
	var batch store.Batch
	b.schedule(dev.key, rec, now.Add(tellAgain), &batch)
	dev.apply(change{rec: rec}, &batch)
	durable := b.keep(dev, &batch)
	dev.mu.Unlock()
	return durable(ctx)
}

// expire ends operations that the CPE never came for, and has the CPE looked at
// where it has had time enough to tell of their end.
func (b *Bridge) expire(ctx context.Context, dev *device) {
	now := b.now()
	look := false
	for _, op := range slices.Clone(dev.state.Load().rec.Operations) {
		over := !op.Deadline.After(now)
		switch {
		case op.State == OperationWaiting && over:
			if waits, err := b.nextWindow(ctx, dev, op); err != nil {
				b.log.Error("an operation could not be put off", "device", dev.key, "command", op.Command, "error", err)
			} else if !waits {
				b.giveUp(ctx, dev, op, op.neverTold(), OperationWaiting)
			}
		case op.State == OperationFetching:
			b.goOn(ctx, dev, op, over)
		case op.State != OperationEnded && (over || !op.NotBefore.IsZero() && !op.NotBefore.After(now)):
			look = true
		}
	}
	if !look {
		return
	}
	if err := b.call(ctx, dev); err == nil || errors.Is(err, errManyCalls) {
		return // not having asked the CPE says nothing about it; it is due again
	}
	for _, op := range slices.Clone(dev.state.Load().rec.Operations) {
		switch {
		case op.State == OperationEnded, op.State == OperationFetching:
		case !op.Deadline.After(now):
			b.giveUp(ctx, dev, op, "the CPE has not told of its end in time and cannot be asked: what became of it is not known", OperationSent, OperationAccepted)
		case !op.NotBefore.IsZero() && !op.NotBefore.After(now):
			if err := b.postpone(ctx, dev, op, now.Add(lookAgain)); err != nil {
				b.log.Error("an operation could not be put off", "device", dev.key, "command", op.Command, "error", err)
			}
		}
	}
}

// goOn goes on with what a bridge was fetching that has ended since.
func (b *Bridge) goOn(ctx context.Context, dev *device, op *Operation, over bool) {
	switch now := b.now(); {
	case over:
		b.giveUp(ctx, dev, op, "the bridge could not fetch the file within "+contactLife.String(), OperationFetching)
	case !op.NotBefore.After(now):
		if err := b.postpone(ctx, dev, op, now.Add(fetchAgain)); err != nil {
			b.log.Error("an operation could not be put off", "device", dev.key, "command", op.Command, "error", err)
		}
		b.begin(dev, op)
	}
}

// neverTold says why an operation is given up of which the CPE was told nothing.
func (op *Operation) neverTold() string {
	if op.Image != nil && !op.Image.Until.IsZero() {
		return "the CPE has not come within the time windows; it was told nothing"
	}
	return "the CPE has not come within " + contactLife.String() + "; it was told nothing"
}

// giveUp gives an operation up.
func (b *Bridge) giveUp(ctx context.Context, dev *device, op *Operation, why string, from ...OperationState) {
	if _, err := b.end(ctx, dev, op.Request, &OperationResult{Code: usp.ErrCommandFailure, Text: why}, from...); err != nil {
		b.log.Error("an operation could not be given up", "device", dev.key, "command", op.Command, "error", err)
	}
}
