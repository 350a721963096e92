package agent

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// complete removes the Request row and tells those subscribed, in one commit.
func (op *running) complete(h *Host, a *agent, out map[string]string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.ctx), h.cfg.Deadline)
	defer cancel()
	a.write.Lock()
	defer a.write.Unlock()
	if e := h.completeRequest(ctx, a, op.request, op.call.Command, op.call.Key, out, err); e != nil {
		h.log.Error("the end of an operation could not be stored; it will be reported as failed after a restart",
			"agent", a.id, "command", op.call.Command.Path(), "error", e)
	}
}

// completeRequest is complete for any Request row. The caller holds a.write.
func (h *Host) completeRequest(ctx context.Context, a *agent, request rowKey, command dm.Ref, key string, out map[string]string, err error) error {
	d, e := h.open(ctx, a)
	if e != nil {
		return e
	}
	tx := h.begin(a, nil, nil)
	row := tx.next.rows[request]
	if row == nil {
		return nil
	}
	originator := tx.next.named(request, "Originator")
	if e := tx.attempt(func(next *state) *usp.Error { next.remove(request); return nil }); e != nil {
		return e
	}
	full := command.Path()
	done := &usppb.Notify_OperationComplete{CommandName: command.Node.Name, ObjPath: full[:len(full)-len(command.Node.Name)], CommandKey: key}
	entry := auditLog{by: usp.EndpointID(originator), what: "OperationComplete"}
	if err != nil {
		f := commandError(err)
		done.OperationResp = &usppb.Notify_OperationComplete_CmdFailure{CmdFailure: &usppb.Notify_OperationComplete_CommandFailure{ErrCode: uint32(f.Code), ErrMsg: f.Msg}}
		entry.add(full, nil, f)
	} else {
		done.OperationResp = &usppb.Notify_OperationComplete_ReqOutputArgs{ReqOutputArgs: &usppb.Notify_OperationComplete_OutputArgs{OutputArgs: utf8Args(out)}}
		entry.add(full, nil, nil)
	}
	notes := h.occurrences(d, a, tx.next, occurrence{kind: operationComplete, ref: command, right: notifyEvent, fill: func(n *usppb.Notify, _ *controller) {
		n.Notification = &usppb.Notify_OperComplete{OperComplete: done}
	}})
	return h.commit(ctx, d, tx, nil, notes, &entry)
}

// failInterrupted reports the operations that ran when the bridge last stopped
// as failed, but for those that the device's Model has taken over: others do not
// outlive the agent (TR-369 "Persistence of Asynchronous Operations").
func (h *Host) failInterrupted(ctx context.Context) error {
	owners := map[usp.EndpointID]bool{}
	err := h.cfg.Store.Scan(ctx, store.Query{Kind: store.Request}, func(k store.Key, _ []byte) bool {
		owners[usp.EndpointID(k.Owner)] = true
		return true
	})
	if err != nil {
		return fmt.Errorf("interrupted operations cannot be read: %w", err)
	}
	for id := range owners {
		if err := h.failRequests(ctx, id); err != nil {
			h.log.Error("interrupted operations could not be reported as failed", "agent", id, "error", err)
		}
	}
	return nil
}

func (h *Host) failRequests(ctx context.Context, id usp.EndpointID) error {
	a, err := h.agents.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer h.agents.release(a)
	d, err := h.open(ctx, a)
	if err != nil {
		return err
	}
	a.write.Lock()
	defer a.write.Unlock()
	failure := usp.Errorf(usp.ErrCommandFailure, "", "the bridge was restarted while the operation ran; its outcome is not known")
	st := a.state.Load()
	for _, n := range st.index(h.spec).tables[rowKey{class: h.classes.request}] {
		if _, waits := st.timers[n]; waits || a.runs(n) || d.model.Detached(n) {
			continue
		}
		if err := h.endRequest(ctx, d, a, n, nil, failure); err != nil {
			return err
		}
	}
	return nil
}

// endOperations deals with the OperationEnded among events and returns the
// others.
func (h *Host) endOperations(ctx context.Context, a *agent, events []Event) (others []Event, err error) {
	ended := func(ev Event) bool { return ev.Kind == OperationEnded }
	if !slices.ContainsFunc(events, ended) {
		return events, nil
	}
	d, err := h.open(ctx, a)
	if err != nil {
		return nil, err
	}
	a.write.Lock()
	defer a.write.Unlock()
	for _, ev := range events {
		if !ended(ev) {
			others = append(others, ev)
		} else if err := h.endRequest(ctx, d, a, ev.Request, ev.Args, ev.Err); err != nil {
			return nil, err
		}
	}
	return others, nil
}

// endRequest is completeRequest for the row of an instance number, of which
// only the store tells which command it is. The caller holds a.write.
func (h *Host) endRequest(ctx context.Context, d *device, a *agent, n uint32, out map[string]string, failure error) error {
	k := rowKey{h.classes.request, dm.Inst(n)}
	st := a.state.Load()
	if st.rows[k] == nil {
		return nil // told before
	}
	if command, ok := commandAt(d.schema, st.named(k, "Command")); ok {
		return h.completeRequest(ctx, a, k, command, st.named(k, "CommandKey"), out, failure)
	}
	h.log.Warn("an operation has ended whose command the device does not have any more; nobody can have subscribed to it",
		"agent", a.id, "command", st.named(k, "Command"), "error", failure)
	tx := h.begin(a, nil, nil)
	if err := tx.attempt(func(next *state) *usp.Error { next.remove(k); return nil }); err != nil {
		return err
	}
	return h.commit(ctx, d, tx, nil, nil, nil)
}

// commandAt finds a command by its path with instance numbers, whether or not
// its row is there: the device may have lost it while the command ran.
func commandAt(schema *dm.Schema, path string) (dm.Ref, bool) {
	ref, there := elementAt(schema, path)
	return ref, there && ref.Node.Kind == dm.Command
}

// elementAt is commandAt for any element.
func elementAt(schema *dm.Schema, path string) (dm.Ref, bool) {
	ref := dm.Ref{Node: schema.Root}
	for seg := range strings.SplitSeq(strings.TrimSuffix(path, "."), ".") {
		if ref.IsTable() {
			n, err := strconv.ParseUint(seg, 10, 32)
			if err != nil {
				return dm.Ref{}, false
			}
			ref.Inst = ref.Inst.Append(uint32(n))
			continue
		}
		if ref.Node = ref.Node.Child(seg); ref.Node == nil {
			return dm.Ref{}, false
		}
	}
	return ref, true
}

// cancelDetached passes a Cancel() on that came while the Model took the
// operation over.
func (op *running) cancelDetached(h *Host, a *agent) {
	ctx, cancel := context.WithTimeout(h.ctx, h.cfg.Deadline)
	defer cancel()
	if err := op.model.Cancel(ctx, op.call.Request); err != nil {
		h.log.Warn("an operation goes on although it was canceled", "agent", a.id, "command", op.call.Command.Path(), "error", err)
	}
}
