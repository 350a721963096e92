package translate

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// transferCompleteEvent is TR-181 Device.LocalAgent.TransferComplete!. The agent
// has it in its own data model.
var transferCompleteEvent = dm.Ref{Node: &dm.Node{Name: "TransferComplete!", Path: "Device.LocalAgent.TransferComplete!", Kind: dm.Event, Local: true}}

// transferComplete takes the end of a file transfer (TR-069 A.3.3.2).
func (b *Bridge) transferComplete(ctx context.Context, s *acs.Session, dev *device, m *cwmp.TransferComplete) error {
	rec := dev.state.Load().rec
	op := rec.transferOf(m, s.Inform())
	if op == nil && m.CommandKey != "" && slices.Contains(rec.Heard, m.CommandKey) {
		b.log.Debug("the CPE tells again of the end of a transfer", "device", dev.key, "key", m.CommandKey)
		return nil
	}
	failure := faultIn(m.Fault)
	b.log.Info("transfer complete", "device", dev.key, "command_key", m.CommandKey, "known", op != nil, "error", failure)
	r := report{mark: mark(m), event: transferEvent(op, m), op: op}
	if op != nil && op.Image != nil && op.Image.Activate {
		r.event = nil // that transfer was told of when the bridge had the image
	}
	if op == nil {
		r.note = func(rec *Record) { rec.Rediscover = rec.Rediscover || failure == nil }
		return b.take(ctx, s, dev, r)
	}
	// If the CPE names no key, the same words can be the end of another transfer.
	r.twice = true
	if r.result = op.transferred(m.StartTime, m.CompleteTime, m.RPC()); failure != nil {
		r.result = failedBy(failure)
	}
	return b.take(ctx, s, dev, r)
}

// transferOf returns the operation that a TransferComplete ends: by its
// CommandKey; else, as some CPE leave it empty or have another, by that of the
// Inform's "M" event; else the only one that the CPE has.
func (r *Record) transferOf(m *cwmp.TransferComplete, inform *cwmp.Inform) *Operation {
	var pending []*Operation
	for _, op := range r.Operations {
		if op.Transfer == nil || !op.pending() {
			continue
		}
		if op.Key == m.CommandKey {
			return op
		}
		pending = append(pending, op)
	}
	if slices.Contains(r.Heard, m.CommandKey) || m.CompleteTime != "" && m.CompleteTime != unknownTime && slices.Contains(r.Heard, mark(m)) {
		return nil // of one that has ended
	}
	for _, op := range pending {
		if slices.ContainsFunc(inform.Events, func(e cwmp.Event) bool { return e.CommandKey == op.Key }) {
			return op
		}
	}
	if len(pending) == 1 {
		return pending[0]
	}
	return nil
}

// faultIn returns a FaultStruct as an error, nil if it says that all is well.
func faultIn(f *cwmp.Fault) error {
	if f == nil || f.Code == 0 {
		return nil
	}
	return f
}

// transferEvent returns TransferComplete! for a transfer, of an operation or of
// another's doing (op nil).
func transferEvent(op *Operation, m *cwmp.TransferComplete) []agent.Event {
	args := map[string]string{
		"Command": "", "CommandKey": m.CommandKey, "Requestor": "", "TransferType": "Download", "Affected": "", "TransferURL": "",
		"StartTime": knownTime(m.StartTime), "CompleteTime": knownTime(m.CompleteTime),
	}
	if op != nil {
		args["Command"], args["CommandKey"], args["Requestor"] = op.Command, op.CommandKey, string(op.Controller)
		args["TransferURL"] = op.Transfer.shownURL()
		if i := strings.LastIndexByte(op.Command, '.'); op.standard() && i > 0 {
			args["Affected"] = op.Command[:i]
		}
		if op.Transfer.upload() {
			args["TransferType"] = "Upload"
		}
	}
	faultArgs(args, "", m.Fault)
	return []agent.Event{{Kind: agent.Occurred, Ref: transferCompleteEvent, Args: args}}
}

// faultArgs adds FaultCode and FaultString, as USP has them: 0 for none.
func faultArgs(args map[string]string, prefix string, f *cwmp.Fault) {
	code, text := usp.ErrorCode(0), ""
	if failure := faultIn(f); failure != nil {
		e := commandError(failure)
		code, text = e.Code, e.Msg
	}
	args[prefix+"FaultCode"], args[prefix+"FaultString"] = strconv.Itoa(int(code)), text
}

// autonomousTransfer takes a transfer that the CPE has made by itself (TR-069
// A.3.3.3).
func (b *Bridge) autonomousTransfer(ctx context.Context, s *acs.Session, dev *device, m *cwmp.AutonomousTransferComplete) error {
	failure := faultIn(m.Fault)
	t := Transfer{URL: m.TransferURL}
	args := map[string]string{
		"Command": "", "CommandKey": "", "Requestor": "", "TransferType": "Upload", "Affected": "", "TransferURL": t.shownURL(),
		"StartTime": knownTime(m.StartTime), "CompleteTime": knownTime(m.CompleteTime),
	}
	if m.IsDownload {
		args["TransferType"] = "Download"
	}
	faultArgs(args, "", m.Fault)
	b.log.Info("CPE transferred a file by itself", "device", dev.key, "type", m.FileType, "url", t.shownURL(), "error", failure)
	return b.take(ctx, s, dev, report{mark: mark(m),
		event: []agent.Event{{Kind: agent.Occurred, Ref: transferCompleteEvent, Args: args}},
		note:  func(rec *Record) { rec.Rediscover = rec.Rediscover || failure == nil && m.IsDownload }})
}
