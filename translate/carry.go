package translate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
)

// How an Operation is carried on inside sessions.

const (
	// maxSends is how often an RPC is sent that a CPE may carry out twice: a
	// second time only if the first answer was lost and looking at the CPE
	// tells that it knows nothing of it.
	maxSends = 2
	// settleTime is how long a CPE that cannot list its transfers may take to
	// tell of one whose answer was lost.
	settleTime = 5 * time.Minute
	// reportTime is how long a CPE that runs another firmware already may take
	// to tell that the transfer has ended.
	reportTime = time.Minute
	// lookAgain is after how long a CPE that did not come when it was called is
	// called again.
	lookAgain = 15 * time.Minute
)

// maxCalls is how many CPE are called at once for their operations: an upgrade
// of a whole fleet must not take all there is. Others are called in their turn.
const maxCalls = 512

var errManyCalls = fmt.Errorf("%d CPE are being called already", maxCalls)

// call asks the CPE for a session in which its operations are carried on.
func (b *Bridge) call(ctx context.Context, dev *device) error {
	select {
	case b.calls <- struct{}{}:
		defer func() { <-b.calls }()
	default:
		return errManyCalls
	}
	err := b.run(ctx, dev, func(ctx context.Context, s *acs.Session) error {
		// What is sent is waited for as long as the session lasts.
		return b.carryOn(context.WithoutCancel(ctx), s, s.BaseURL(), dev)
	})
	if err != nil {
		b.log.Info("operations that wait for the CPE are carried on when it informs next", "device", dev.key, "error", err)
	}
	return err
}

// carryOn does what the operations of a CPE are waiting for, in a session with
// it: whoever is waiting is sent, and whoever's answer was lost is settled. An
// error is one of the session.
func (b *Bridge) carryOn(ctx context.Context, cpe acs.Caller, base string, dev *device) error {
	for _, op := range slices.Clone(dev.state.Load().rec.Operations) {
		if err := b.carry(ctx, cpe, base, dev, op); err != nil {
			return fmt.Errorf("%s %s: %w", op.kind(), op.Key, err)
		}
	}
	return nil
}

// carry does what one operation is waiting for.
func (b *Bridge) carry(ctx context.Context, cpe acs.Caller, base string, dev *device, op *Operation) error {
	switch {
	case op.State == OperationEnded:
		b.inBackground(dev, func(ctx context.Context) { b.tell(ctx, dev) })
		return nil
	case op.State == OperationFetching:
		b.begin(dev, op) // if the bridge that was at it has ended since
		return nil
	case op.State == OperationWaiting && op.early(b.now()):
		return nil
	case op.Diagnostic != nil:
		return b.diagnose(ctx, cpe, dev, op)
	case op.Image != nil && op.Transfer == nil:
		return b.bootImage(ctx, cpe, dev, op)
	case op.State == OperationWaiting:
		return b.sendOperation(ctx, cpe, base, dev, op)
	case op.State == OperationSent:
		return b.settleSent(ctx, cpe, base, dev, op)
	}
	return b.watchEnd(ctx, cpe, dev, op)
}

// sendOperation sends the operation's RPC. That it was sent is durable before.
func (b *Bridge) sendOperation(ctx context.Context, cpe acs.Caller, base string, dev *device, op *Operation) error {
	var batch store.Batch
	var rpc cwmp.Message
	var failure error
	from := op.State
	changed, err := b.changeOperation(ctx, dev, op.Request, &batch, func(rec *Record, op *Operation) bool {
		if op.State != from {
			return false
		}
		op.send(rec, b.now(), op.time()+b.cfg.Files.Life)
		rec.imageSent(op)
		rpc, failure = b.message(dev, op, base, &batch)
		return failure == nil
	})
	if failure != nil {
		_, err := b.end(ctx, dev, op.Request, failedBy(failure), from)
		return err
	}
	if err != nil || !changed {
		return err
	}
	answer, err := cpe.Call(ctx, rpc)
	if err == nil {
		err = statusFault(answer)
	}
	switch {
	case errors.Is(err, acs.ErrSessionLost):
		return err
	case errors.Is(err, cwmp.FaultMethodNotSupported) && op.Image != nil && op.Transfer.RPC == "ScheduleDownload":
		return b.scheduleHere(ctx, cpe, base, dev, op)
	case err != nil:
		_, err = b.end(ctx, dev, op.Request, failedBy(err))
		return err
	}
	return b.answered(ctx, dev, op.Request, answer)
}

// send notes that the operation's RPC is about to be sent, and how long the CPE
// may take to tell of its end.
func (op *Operation) send(rec *Record, now time.Time, within time.Duration) {
	op.State, op.Software, op.NotBefore = OperationSent, rec.Software, time.Time{}
	op.Told, op.Deadline = now, now.Add(within)
	op.Sends++
}

// time is how long after it was told the CPE may begin with the operation.
func (op *Operation) time() time.Duration {
	if op.Transfer == nil {
		return 0
	}
	return op.Transfer.latest()
}

// answered takes the CPE's answer: it has done what it was told, or will do it.
func (b *Bridge) answered(ctx context.Context, dev *device, request uint32, answer cwmp.Message) error {
	var start, complete string
	status := 1
	switch m := answer.(type) {
	case *cwmp.DownloadResponse:
		status, start, complete = m.Status, m.StartTime, m.CompleteTime
	case *cwmp.UploadResponse:
		status, start, complete = m.Status, m.StartTime, m.CompleteTime
	case *cwmp.ScheduleDownloadResponse, *cwmp.ChangeDUStateResponse:
	default:
		_, err := b.end(ctx, dev, request, &OperationResult{Code: usp.ErrCommandFailure, Text: "the CPE answered with " + answer.RPC()})
		return err
	}
	op := dev.state.Load().rec.operation(request)
	if op == nil {
		return nil
	}
	if status == 0 { // TR-069 A.3.2.8: it has been carried out, and no TransferComplete follows
		_, err := b.end(ctx, dev, request, op.transferred(start, complete, answer.RPC()))
		return err
	}
	return b.accept(ctx, dev, request)
}

// accept notes that the CPE has the operation.
func (b *Bridge) accept(ctx context.Context, dev *device, request uint32) error {
	_, err := b.changeOperation(ctx, dev, request, &store.Batch{}, func(_ *Record, op *Operation) bool {
		if op.State != OperationSent {
			return false
		}
		if op.State = OperationAccepted; op.Diagnostic == nil { // its arguments are compared with the results, its end is asked for
			op.NotBefore, op.Secret = time.Time{}, nil
		}
		return true
	})
	return err
}

// settleSent finds out what became of an operation whose answer was lost. Had
// it ended, the CPE would have told of it before this: its own requests come
// first in a session (TR-069 3.7.1.4).
func (b *Bridge) settleSent(ctx context.Context, cpe acs.Caller, base string, dev *device, op *Operation) error {
	now := b.now()
	if upgraded(dev, op) {
		return b.endBySoftware(ctx, dev, op)
	}
	if op.Transfer == nil {
		if op.Deadline.After(now) {
			return nil
		}
		b.giveUp(ctx, dev, op, "the session broke before the CPE answered, and it has not told of a result: what became of it is not known")
		return nil
	}
	found, known, err := queued(ctx, cpe, op.Key)
	switch {
	case err != nil:
		return err
	case found:
		return b.accept(ctx, dev, op.Request)
	case !known && op.NotBefore.IsZero() && op.Deadline.After(now):
		return b.postpone(ctx, dev, op, now.Add(settleTime))
	case !known && op.NotBefore.After(now):
		return nil
	case op.Sends < maxSends && op.Deadline.After(now):
		b.log.Info("the CPE knows nothing of a transfer whose answer was lost; it is told again", "device", dev.key, "key", op.Key)
		return b.sendOperation(ctx, cpe, base, dev, op)
	}
	b.giveUp(ctx, dev, op, fmt.Sprintf("it was sent %d times, each time the session broke before the CPE answered; the CPE does not have it in its queue and has told of no end", op.Sends))
	return nil
}

// watchEnd looks after a transfer that the CPE has and of whose end it does not
// tell.
func (b *Bridge) watchEnd(ctx context.Context, cpe acs.Caller, dev *device, op *Operation) error {
	now := b.now()
	switch {
	case upgraded(dev, op) && op.NotBefore.IsZero() && op.Deadline.After(now):
		return b.postpone(ctx, dev, op, now.Add(reportTime))
	case upgraded(dev, op) && (!op.NotBefore.After(now) || !op.Deadline.After(now)):
		return b.endBySoftware(ctx, dev, op)
	case op.Deadline.After(now):
		return nil
	case op.Transfer == nil:
		b.giveUp(ctx, dev, op, "the CPE accepted it and has not told of a result in time")
		return nil
	}
	found, _, err := queued(ctx, cpe, op.Key)
	if err != nil {
		return err
	}
	if found && now.Sub(op.Asked) < contactLife+op.time()+b.cfg.Files.Life {
		_, err := b.changeOperation(ctx, dev, op.Request, &store.Batch{}, func(_ *Record, op *Operation) bool {
			op.Deadline = now.Add(b.cfg.Files.Life)
			return op.State == OperationAccepted
		})
		return err
	}
	b.giveUp(ctx, dev, op, fmt.Sprintf("the CPE accepted it and has not told of its end within %v; whether the file was transferred is not known", b.cfg.Files.Life))
	return nil
}

// upgraded reports whether the CPE runs another firmware than it did when it
// was told to fetch one.
func upgraded(dev *device, op *Operation) bool {
	now := dev.state.Load().rec.Software
	return op.Transfer != nil && op.Transfer.FileType == firmwareImage && op.Software != "" && now != "" && now != op.Software
}

func (b *Bridge) endBySoftware(ctx context.Context, dev *device, op *Operation) error {
	_, err := b.end(ctx, dev, op.Request, op.transferred("", "", "SoftwareVersion"))
	return err
}

// postpone looks at the operation again at a time.
func (b *Bridge) postpone(ctx context.Context, dev *device, op *Operation, at time.Time) error {
	_, err := b.changeOperation(ctx, dev, op.Request, &store.Batch{}, func(_ *Record, op *Operation) bool {
		op.NotBefore = at
		return op.State != OperationEnded
	})
	return err
}
