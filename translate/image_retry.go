package translate

import (
	"context"
	"slices"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
)

// Activate() has up to five time windows, and in each as many attempts as the
// controller grants (TR-181 FirmwareImage.{i}.Activate()). Where the bridge keeps
// the windows in the CPE's place, the attempts are its own as well.

// The bounds of attempts.
const (
	// ownRetries are those in a window for which the controller leaves the
	// number to the agent: each can be a reboot of the CPE.
	ownRetries = 3
	// maxRetries is the most that TR-181 lets a controller ask for.
	maxRetries = 10
	// retryPause is between two attempts: a CPE that has rebooted is up again.
	retryPause = 5 * time.Minute
)

// retriesOf is how many retries a window has.
func retriesOf(w cwmp.TimeWindow) int {
	if w.MaxRetries < 0 {
		return ownRetries
	}
	return min(w.MaxRetries, maxRetries)
}

// keep makes a window the one that the bridge waits for.
func (t *ImageTask) keep(asked time.Time, w Window) {
	t.From, t.Until = asked.Add(time.Duration(w.Start)*time.Second), asked.Add(time.Duration(w.End)*time.Second)
	t.Retries = w.Retries
}

// next goes over to the next window that is not past; false if there is none.
func (t *ImageTask) next(asked, now time.Time) bool {
	for len(t.Later) > 0 {
		t.keep(asked, t.Later[0])
		t.Later = t.Later[1:]
		if t.Until.After(now) {
			return true
		}
	}
	return false
}

// again goes over to the next attempt, in this window or a later one; false if
// there is none.
func (t *ImageTask) again(asked, now time.Time) bool {
	if at := now.Add(retryPause); t.Retries > 0 && at.Before(t.Until) {
		t.Retries--
		t.From = at
		return true
	}
	return t.next(asked, now)
}

// retry has an activation that has failed wait for its next attempt; false if it
// has none, or if it is in none of the states. The attempt has a CommandKey of its
// own: what the CPE tells later of the one before is not about it.
func (b *Bridge) retry(dev *device, rec *Record, request uint32, result *OperationResult, batch *store.Batch, from ...OperationState) bool {
	i := slices.IndexFunc(rec.Operations, func(op *Operation) bool { return op.Request == request })
	if i < 0 || result.Code == 0 || result.Code == usp.ErrCommandCanceled || len(from) > 0 && !slices.Contains(from, rec.Operations[i].State) {
		return false
	}
	op, now := *rec.Operations[i], b.now()
	switch {
	case op.Image == nil, !op.Image.Activate, op.State == OperationEnded:
		return false
	case op.Transfer != nil && op.Transfer.RPC != "Download":
		return false // the CPE has the windows and makes the attempts
	case op.Transfer != nil && op.Software != "" && op.Software != rec.Software:
		return false // it runs, whatever the CPE said
	}
	task := *op.Image
	if !task.again(op.Asked, now) {
		return false
	}
	op.revoke(batch)
	rec.hear(op.Key)
	op.Key, op.State, op.Image, op.Told, op.Sends = newCommandKey(), OperationWaiting, &task, time.Time{}, 0
	if op.Transfer != nil {
		op.Secret = b.sealCredentials(dev.key, []credentials{{}}) // a file of the bridge
	}
	op.wait(now)
	rec.Operations = slices.Clone(rec.Operations)
	rec.Operations[i] = &op
	rec.imagePutOff(&op, result)
	b.log.Info("a firmware image could not be activated; it is tried again", "device", dev.key, "key", op.Key, "at", task.From, "error", result.Text)
	return true
}

// imagePutOff notes that the CPE was told to run an image, which has failed and is
// tried again.
func (r *Record) imagePutOff(op *Operation, result *OperationResult) {
	if op.Image.Object != "" {
		return
	}
	s := r.Firmware.slot(op.Image.Row)
	s.Status, s.Log = "", reason(result.Text)
	if r.Firmware.Next == op.Image.Row {
		r.Firmware.Next = 0
	}
}

// nextWindow has an operation wait for its next time window, since the CPE has not
// come in the one before; false if there is none.
func (b *Bridge) nextWindow(ctx context.Context, dev *device, op *Operation) (waits bool, err error) {
	if op.Image == nil || len(op.Image.Later) == 0 {
		return false, nil
	}
	return b.changeOperation(ctx, dev, op.Request, &store.Batch{}, func(_ *Record, op *Operation) bool {
		task := *op.Image
		if op.State != OperationWaiting || !task.next(op.Asked, b.now()) {
			return false
		}
		op.Image = &task
		op.wait(b.now())
		return true
	})
}
