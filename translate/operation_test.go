package translate

import (
	"errors"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/usp"
)

// A command of which the controller is told that it failed is not carried out
// later: not by this process, and not by the next.
func TestOperationThatCannotBeStored(t *testing.T) {
	r := newBench(t, nil)
	args := r.config()
	r.disk.full.Store(true)
	if _, _, err := r.operate(download, args); !errors.Is(err, errFull) {
		t.Fatalf("operate: %v", err)
	}
	r.disk.full.Store(false)
	if ops := r.record().Operations; len(ops) != 0 {
		t.Errorf("kept: %+v", ops[0])
	}
	r.inform()
	r.restart()
	r.inform()
	if n := r.calls("Download"); n != 0 {
		t.Errorf("the CPE was told %d times", n)
	}
}

// An entry of the index of what is due that could not be stored is stored with
// the next change: else an operation for a CPE that never comes never ends.
func TestDueThatCannotBeStored(t *testing.T) {
	r := newBench(t, nil)
	r.cpe.SetOnline(false)
	request := r.detached(download, r.config())
	dev, err := r.bridge.devices.acquire(t.Context(), r.cpe.Identity().Key())
	if err != nil {
		t.Fatal(err)
	}
	defer r.bridge.devices.release(dev)
	r.disk.full.Store(true)
	op := r.record().operation(request)
	if err := r.bridge.postpone(t.Context(), dev, op, r.bridge.now().Add(time.Minute)); !errors.Is(err, errFull) {
		t.Fatalf("postpone: %v", err)
	}
	r.disk.full.Store(false)
	r.bridge.amend(dev, func(*Record) {})
	r.pass(2 * contactLife)
	r.until("it is found due", func() bool { r.pass(0); return r.record().operation(request) == nil })
	if end := r.ended(request); end.Err == nil {
		t.Error("it ended well")
	}
}

// Cancel() that comes too late says so: the transfer has ended otherwise.
func TestCancelRacesCompletion(t *testing.T) {
	r := newBench(t, nil)
	args := r.config()
	args["DelaySeconds"] = "3600"
	request := r.detached(download, args)
	r.until("the CPE has it", func() bool { return r.record().operation(request).State == OperationAccepted })
	dev, err := r.bridge.devices.acquire(t.Context(), r.cpe.Identity().Key())
	if err != nil {
		t.Fatal(err)
	}
	defer r.bridge.devices.release(dev)
	// Cancel() waits for a session; the end comes before it.
	r.cpe.SetOnline(false)
	r.until("nobody else is at work", func() bool { return dev.pins.Load() == 1 })
	canceled := make(chan error, 1)
	m := r.model()
	go func() { canceled <- m.Cancel(t.Context(), request) }()
	r.until("Cancel() waits", func() bool { return dev.pins.Load() > 1 })
	if done, err := r.bridge.end(t.Context(), dev, request, &OperationResult{}); err != nil || !done {
		t.Fatalf("end: %v, %v", done, err)
	}
	r.cpe.SetOnline(true)
	r.inform()
	if err := <-canceled; err == nil {
		t.Error("Cancel() of a transfer that has succeeded says that it was canceled")
	}
	if end := r.ended(request); end.Err != nil {
		t.Errorf("ended %v", end.Err)
	}
}

// That the bridge has too many CPE to call says nothing about one of them.
func TestExpiryWhileManyAreCalled(t *testing.T) {
	r := newBench(t, &cpesim.Profile{NoTransferComplete: true})
	request := r.detached(download, r.config())
	r.until("the CPE has it", func() bool { return r.record().operation(request).State == OperationAccepted })
	for range maxCalls {
		r.bridge.calls <- struct{}{}
	}
	r.pass(r.bridge.cfg.Files.Life)
	if op := r.record().operation(request); op == nil || op.State != OperationAccepted {
		t.Errorf("given up without asking the CPE: %+v", op)
	}
	for range maxCalls {
		<-r.bridge.calls
	}
	r.pass(tellAgain)
	if end := r.ended(request); usp.AsError(end.Err, "").Code != usp.ErrCommandFailure {
		t.Errorf("ended %v", end.Err)
	}
}

// The end of a transfer without a CommandKey that is told again in a later
// session is not the end of the one that the CPE has by then.
func TestOldEndIsNotThatOfAnother(t *testing.T) {
	said := &cwmp.TransferComplete{StartTime: "2026-01-02T03:04:05Z", CompleteTime: "2026-01-02T03:04:06Z"}
	rec := &Record{Operations: []*Operation{{Request: 1, Key: "k", State: OperationAccepted, Transfer: &Transfer{RPC: "Download"}}}, Heard: []string{mark(said)}}
	if op := rec.transferOf(said, &cwmp.Inform{}); op != nil {
		t.Errorf("it ends %+v", op)
	}
	said.CompleteTime = unknownTime
	rec.Heard = []string{mark(said)}
	if op := rec.transferOf(said, &cwmp.Inform{}); op == nil {
		t.Error("the same words without a time can be the end of another transfer")
	}
}
