package translate

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
)

// Operation is a command of a controller that the CPE carries out beyond the
// session it is told in: a file transfer, a change of software modules, a
// diagnostic. It is durable before the CPE is told, and stays until the agent has
// told of its end.
//
//	fetching → waiting → sent → accepted → ended → (gone)
//
// Only a firmware image that the bridge has to fetch and check first begins with
// fetching. A CPE that does at once what it is told goes from sent to ended. A
// session that breaks between sent and the answer leaves it in sent: carryOn then
// finds out what became of it.
type Operation struct {
	Request    uint32         `json:"request"` // row of the agent's Request table
	Command    string         `json:"command"` // USP path
	CommandKey string         `json:"command_key,omitempty"`
	Controller usp.EndpointID `json:"controller,omitempty"`
	Key        string         `json:"key"` // CommandKey given to the CPE; no other operation has it

	State     OperationState `json:"state"`
	Asked     time.Time      `json:"asked"`
	Sends     int            `json:"sends,omitempty"`     // how often the RPC was sent
	NotBefore time.Time      `json:"not_before,omitzero"` // nothing is to be done until then
	Deadline  time.Time      `json:"deadline"`            // then it ends, or the CPE is looked at
	Told      time.Time      `json:"told,omitzero"`       // when the RPC was sent
	Software  string         `json:"software,omitempty"`  // the CPE's software version when it was told

	// One of these, or an Image with its Transfer.
	Transfer   *Transfer          `json:"transfer,omitempty"`
	Changes    []cwmp.DUOperation `json:"changes,omitempty"`
	Diagnostic *Diagnostic        `json:"diagnostic,omitempty"`
	Image      *ImageTask         `json:"image,omitempty"`
	Check      *Check             `json:"check,omitempty"` // the bridge fetches the file of the Transfer, and it has to be that

	Secret []byte   `json:"secret,omitempty"` // its credentials or arguments, sealed, as long as they are needed
	Grants []string `json:"grants,omitempty"` // names of the file grants made for it

	Result *OperationResult `json:"result,omitempty"` // once it has ended
}

// OperationState is where an Operation stands.
type OperationState string

// The states of an Operation.
const (
	OperationFetching OperationState = "fetching" // the bridge gets the firmware image
	OperationWaiting  OperationState = "waiting"  // the CPE has not been told
	OperationSent     OperationState = "sent"     // it was sent; whether the CPE has it is not known
	OperationAccepted OperationState = "accepted" // the CPE has it and will tell of its end
	OperationEnded    OperationState = "ended"    // the agent has still to be told
)

// OperationResult is how an Operation ended.
type OperationResult struct {
	Code usp.ErrorCode     `json:"code,omitempty"` // 0: success
	Text string            `json:"text,omitempty"`
	Args map[string]string `json:"args,omitempty"` // output arguments
}

func (r *OperationResult) err() error {
	if r.Code == 0 {
		return nil
	}
	return &usp.Error{Code: r.Code, Msg: r.Text}
}

// The bounds of operations.
const (
	// maxOperations is how many a device may have at once. Each is part of its
	// record; a CPE's own queue has room for three at least (TR-069 A.3.2.8).
	maxOperations = 16
	// contactLife is how long an operation waits for a CPE that cannot be
	// called: longer than any usual inform interval.
	contactLife = 24 * time.Hour
	// tellAgain is after how long an end is told again that could not be told,
	// because the store failed or the bridge died.
	tellAgain = 15 * time.Second
	// fetchAgain is after how long a bridge that has been restarted goes on with
	// what it was fetching.
	fetchAgain = time.Minute
	// maxHeard bounds what is remembered of the past: twice what can be told
	// of at once.
	maxHeard = 2 * maxOperations
)

// newCommandKey returns a CommandKey for the CPE: no longer than TR-069's 32
// characters and never used before, on any node.
func newCommandKey() string { return "uspbridge-" + rand.Text()[:16] }

// pending reports whether the CPE has, or may have, the operation.
func (op *Operation) pending() bool {
	return op.State == OperationSent || op.State == OperationAccepted
}

// operation returns the operation of a Request row, nil if there is none.
func (r *Record) operation(request uint32) *Operation {
	for _, op := range r.Operations {
		if op.Request == request {
			return op
		}
	}
	return nil
}

// Detached implements agent.Model.
func (m *model) Detached(request uint32) bool { return m.state().rec.operation(request) != nil }

// detach takes an operation over: when it returns agent.ErrDetached the
// operation is durable. The CPE is called, but not waited for.
func (b *Bridge) detach(ctx context.Context, dev *device, call agent.Call, op *Operation) error {
	b.sealSecrets(dev.key, op)
	op.Request, op.Command, op.CommandKey, op.Controller = call.Request, call.Command.Path(), call.Key, call.Controller
	op.Key, op.Asked = newCommandKey(), b.now()
	if op.State == "" {
		op.State = OperationWaiting
	}
	op.wait(op.Asked)
	dev.mu.Lock()
	rec := dev.state.Load().rec.clone()
	if len(rec.Operations) >= maxOperations {
		dev.mu.Unlock()
		return usp.Errorf(usp.ErrResourcesExceeded, "", "%d operations wait for this CPE already, the most that are kept", maxOperations)
	}
	rec.Operations = append(slices.Clip(rec.Operations), op)
	rec.imageBegun(op)
	durable := b.keepOperations(dev, rec, &store.Batch{})
	dev.mu.Unlock()
	if err := durable(ctx); err != nil && b.forget(dev, op.Request, op.State) {
		return err // the controller is told of a failure: the CPE must not do it later
	}
	b.metrics.operations.WithLabelValues(op.kind(), "begun").Inc()
	b.begin(dev, op)
	return agent.ErrDetached
}

// wait sets until when an operation waits for the CPE, and when the CPE is called
// for it again.
func (op *Operation) wait(now time.Time) {
	op.Deadline, op.NotBefore = now.Add(contactLife), now.Add(lookAgain)
	switch {
	case op.State == OperationFetching:
		op.NotBefore = now.Add(fetchAgain)
	case op.Image != nil:
		op.Image.wait(op, now)
	}
}

// begin has an operation carried on that has just been made durable. Nobody waits
// for it.
func (b *Bridge) begin(dev *device, op *Operation) {
	switch {
	case op.State == OperationFetching:
		b.inBackground(dev, func(ctx context.Context) { b.fetchImage(ctx, dev, op) })
	case !op.early(b.now()):
		b.inBackground(dev, func(ctx context.Context) { b.call(ctx, dev) })
	}
}

// keepOperations makes rec the device's record, with its entry in the index of
// what is due. dev.mu is held.
func (b *Bridge) keepOperations(dev *device, rec *Record, batch *store.Batch) (durable func(context.Context) error) {
	if b.noteImages(dev.state.Load(), &change{rec: rec}) {
		b.inBackground(dev, func(ctx context.Context) { b.tell(ctx, dev) })
	}
	b.schedule(dev.key, rec, rec.nextDue(), batch)
	dev.apply(change{rec: rec}, batch)
	return b.keep(dev, batch)
}

// changeOperation changes an operation by a function, which returns false if
// the operation is not as it thought; nothing is changed then.
func (b *Bridge) changeOperation(ctx context.Context, dev *device, request uint32, batch *store.Batch, f func(rec *Record, op *Operation) bool) (changed bool, err error) {
	dev.mu.Lock()
	rec := dev.state.Load().rec.clone()
	i := slices.IndexFunc(rec.Operations, func(op *Operation) bool { return op.Request == request })
	if i < 0 {
		dev.mu.Unlock()
		return false, nil
	}
	op := *rec.Operations[i]
	if !f(rec, &op) {
		dev.mu.Unlock()
		return false, nil
	}
	rec.Operations = slices.Clone(rec.Operations)
	rec.Operations[i] = &op
	durable := b.keepOperations(dev, rec, batch)
	dev.mu.Unlock()
	return true, durable(ctx)
}

// end ends an operation that is in one of the given states, in any if none is
// given, durably; done is false if it is in another or has ended before.
func (b *Bridge) end(ctx context.Context, dev *device, request uint32, result *OperationResult, from ...OperationState) (done bool, err error) {
	dev.mu.Lock()
	rec := dev.state.Load().rec.clone()
	var batch store.Batch
	if b.retry(dev, rec, request, result, &batch, from...) {
		durable := b.keepOperations(dev, rec, &batch)
		dev.mu.Unlock()
		return false, durable(ctx)
	}
	ended := rec.endOperation(request, result, b.now(), &batch, from...)
	if ended == nil {
		dev.mu.Unlock()
		return false, nil
	}
	durable := b.keepOperations(dev, rec, &batch)
	dev.mu.Unlock()
	if err := durable(ctx); err != nil {
		return true, err
	}
	b.ended(dev, ended)
	return true, nil
}

// endOperation makes an operation an ended one and returns it, nil if it is in
// none of the states. What it needed to be carried out is void then.
func (r *Record) endOperation(request uint32, result *OperationResult, now time.Time, batch *store.Batch, from ...OperationState) *Operation {
	i := slices.IndexFunc(r.Operations, func(op *Operation) bool { return op.Request == request })
	if i < 0 || r.Operations[i].State == OperationEnded || len(from) > 0 && !slices.Contains(from, r.Operations[i].State) {
		return nil
	}
	op := *r.Operations[i]
	op.State, op.Result, op.Deadline, op.NotBefore = OperationEnded, result, now.Add(tellAgain), time.Time{}
	op.revoke(batch)
	r.Operations = slices.Clone(r.Operations)
	r.Operations[i] = &op
	r.hear(op.Key)
	// What a CPE has fetched can mean that its tree is another one.
	fetched := op.Changes != nil || op.Transfer != nil && !op.Transfer.upload() && !op.Told.IsZero()
	r.Rediscover = r.Rediscover || result.Code == 0 && fetched
	r.imageEnded(&op)
	return &op
}

// revoke makes void what an operation needed to be carried out.
func (op *Operation) revoke(batch *store.Batch) {
	for _, name := range op.Grants {
		batch.Delete(grantKey(name))
	}
	op.Grants, op.Secret = nil, nil
}

// ended tells of an operation whose end is durable. The agent is told in the
// background, since it may be at work on what this very session is for.
func (b *Bridge) ended(dev *device, op *Operation) {
	outcome := "done"
	switch op.Result.Code {
	case 0:
	case usp.ErrCommandCanceled:
		outcome = "canceled"
	default:
		outcome = "failed"
	}
	b.metrics.operations.WithLabelValues(op.kind(), outcome).Inc()
	b.log.Info("operation ended", "device", dev.key, "command", op.Command, "key", op.Key, "error", op.Result.Text)
	b.inBackground(dev, func(ctx context.Context) {
		b.tell(ctx, dev)
		if op.Diagnostic != nil && dev.state.Load().rec.awaits(op.Diagnostic.Object) {
			b.call(ctx, dev) // the next one's turn
		}
	})
}

// kind names the operation in metrics.
func (op *Operation) kind() string {
	switch {
	case op.Image != nil:
		return op.Image.kind()
	case op.Transfer != nil:
		return op.Transfer.RPC
	case op.Diagnostic != nil:
		return "Diagnostic"
	}
	return "ChangeDUState"
}

// tell tells the agent of states of images and of operations that have ended, and
// forgets them. What could not be told is due again.
func (b *Bridge) tell(ctx context.Context, dev *device) {
	dev.telling.Lock()
	defer dev.telling.Unlock()
	s := dev.state.Load()
	b.tellImages(ctx, dev, s) // the states of an image that an operation has ended in come first
	for _, op := range s.rec.Operations {
		if op.State != OperationEnded {
			continue
		}
		ended := agent.Event{Kind: agent.OperationEnded, Request: op.Request, Args: op.Result.Args, Err: op.Result.err()}
		if err := b.deliver(ctx, dev, []agent.Event{ended}); err != nil {
			b.log.Error("the end of an operation could not be told; it is told again", "device", dev.key, "command", op.Command, "error", err)
			continue
		}
		b.forget(dev, op.Request, OperationEnded)
	}
}

// forget takes an operation out of the record if it is in the given state. It is
// not waited for: one that comes back is told of again, which the agent ignores,
// or ends as one that no Request row belongs to.
func (b *Bridge) forget(dev *device, request uint32, state OperationState) bool {
	dev.mu.Lock()
	defer dev.mu.Unlock()
	rec := dev.state.Load().rec.clone()
	op := rec.operation(request)
	if op == nil || op.State != state {
		return false
	}
	rec.Operations = slices.DeleteFunc(slices.Clone(rec.Operations), func(o *Operation) bool { return o == op })
	if state != OperationEnded { // it never was
		never := *op
		never.Result = &OperationResult{Code: usp.ErrCommandCanceled}
		rec.imageEnded(&never)
	}
	b.keepOperations(dev, rec, &store.Batch{})
	return true
}

// inBackground does what nobody waits for. Run's end waits for it.
func (b *Bridge) inBackground(dev *device, f func(ctx context.Context)) {
	b.working.Lock()
	defer b.working.Unlock()
	if b.life.Err() != nil {
		return // it is done after the next start
	}
	dev.pins.Add(1)
	b.work.Add(1)
	go func() {
		defer b.work.Done()
		defer b.devices.release(dev)
		f(b.life)
	}()
}

// Cancel implements agent.Model. What the CPE has not been told yet just ends;
// a transfer that it has is canceled there (TR-069 A.4.1.9).
func (m *model) Cancel(ctx context.Context, request uint32) error {
	m, release, err := m.hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	over := usp.Errorf(usp.ErrCommandFailure, "", "the operation has ended")
	op := m.state().rec.operation(request)
	if op == nil || op.State == OperationEnded {
		return over
	}
	canceled := &OperationResult{Code: usp.ErrCommandCanceled, Text: "canceled by a controller"}
	if done, err := m.bridge.end(ctx, m.dev, request, canceled, OperationWaiting, OperationFetching); done || err != nil {
		return err
	}
	switch {
	case op.Transfer != nil:
		err = m.bridge.cancelTransfer(ctx, m.dev, op.Key)
	case op.Diagnostic != nil:
		m.dev.stops(request, true)
		defer m.dev.stops(request, false)
		err = m.bridge.callOff(ctx, m.dev, op.Diagnostic)
	default:
		err = usp.Errorf(usp.ErrCommandFailure, "", "the CPE has it, and CWMP has no way to cancel %s", op.Command)
	}
	if err != nil {
		return err
	}
	done, err := m.bridge.end(ctx, m.dev, request, canceled)
	if err == nil && !done {
		return over // the CPE has told of its end meanwhile
	}
	return err
}
