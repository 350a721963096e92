package translate

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
)

// Deployment units: ChangeDUState (TR-069 A.4.1.10) and what the CPE tells of
// them.

// changeDUState takes ChangeDUState() over.
func (b *Bridge) changeDUState(ctx context.Context, dev *device, call agent.Call) error {
	a := arguments{call.Args, nil}
	var changes []cwmp.DUOperation
	for _, p := range a.rows("Operation", maxOperations, "Kind", "URL", "UUID") {
		op := cwmp.DUOperation{
			Kind: a.text(p + "Kind"), URL: a.text(p + "URL"), UUID: a.text(p + "UUID"), Username: a.text(p + "Username"),
			Password: a.text(p + "Password"), Version: a.text(p + "Version"), ExecutionEnvRef: a.text(p + "ExecutionEnvRef"),
		}
		op.ExecutionEnvRef = b.cpeRow(dev, op.ExecutionEnvRef)
		switch {
		case op.Kind != "Install" && op.Kind != "Update" && op.Kind != "Uninstall":
			a.wrong(p+"Kind", "%.40q: want Install, Update or Uninstall", op.Kind)
		case op.Kind == "Install" && op.URL == "":
			a.wrong(p+"URL", "is needed to install")
		case op.Kind != "Install" && op.UUID == "" && (op.Kind == "Uninstall" || op.URL == ""):
			a.wrong(p+"UUID", "is needed: it says which unit is meant")
		}
		changes = append(changes, op)
	}
	if len(changes) == 0 {
		a.wrong("Operation.1.Kind", "no operation is given")
	}
	if a.err != nil {
		return a.err
	}
	return b.detach(ctx, dev, call, &Operation{Changes: changes})
}

// duStateChanged takes the end of a ChangeDUState (TR-069 A.4.2.2).
func (b *Bridge) duStateChanged(ctx context.Context, s *acs.Session, dev *device, m *cwmp.DUStateChangeComplete) error {
	rec := dev.state.Load().rec
	op, said := rec.duChangeOf(m.CommandKey), mark(m)
	results := slices.Clone(m.Results[:min(len(m.Results), maxReported)])
	for i := range results {
		if op != nil && i < len(op.Changes) && results[i].OperationPerformed == "" {
			results[i].OperationPerformed = op.Changes[i].Kind // results come in the order of the operations
		}
	}
	r := report{mark: said, twice: op != nil, event: b.duEvents(dev, results), op: op,
		note: func(rec *Record) { rec.Rediscover = true }}
	if op != nil {
		r.result = b.duResult(dev, op, results)
	}
	return b.take(ctx, s, dev, r)
}

// duChangeOf returns the operation that a DUStateChangeComplete ends.
func (r *Record) duChangeOf(key string) *Operation {
	var pending []*Operation
	for _, op := range r.Operations {
		if op.Transfer != nil || !op.pending() {
			continue
		}
		if op.Key == key {
			return op
		}
		pending = append(pending, op)
	}
	if key == "" && len(pending) == 1 {
		return pending[0]
	}
	return nil
}

// duResult returns the outcome of a ChangeDUState: a failure if every operation
// of it has failed, else what became of each.
func (b *Bridge) duResult(dev *device, op *Operation, results []cwmp.DUResult) *OperationResult {
	args := map[string]string{}
	var failures int
	for i := range results {
		prefix := fmt.Sprintf("Result.%d.", i+1)
		for name, v := range b.duArgs(dev, &results[i]) {
			if name != "OperationPerformed" {
				args[prefix+name] = v
			}
		}
		if faultIn(results[i].Fault) != nil {
			failures++
		}
	}
	if failures > 0 && failures == len(results) {
		return failedBy(results[0].Fault)
	}
	if len(results) == 0 {
		return &OperationResult{Code: usp.ErrCommandFailure, Text: "the CPE told of the end without a result"}
	}
	if op.standard() {
		return &OperationResult{Args: b.unitOutput(dev, op, &results[0])}
	}
	return &OperationResult{Args: args}
}

// unitOutput returns the output arguments of a command of Device:2 that changed one
// deployment unit.
func (b *Bridge) unitOutput(dev *device, op *Operation, r *cwmp.DUResult) map[string]string {
	if op.Changes[0].Kind != "Install" {
		return nil
	}
	env := op.Changes[0].ExecutionEnvRef
	if now := dev.state.Load().cpeValue(cwmp.Path(strings.TrimSuffix(r.DeploymentUnitRef, ".") + ".ExecutionEnvRef")); now != "" {
		env = now
	}
	return map[string]string{"UUID": r.UUID, "Version": r.Version, "ExecEnvRef": b.uspRow(dev.state.Load(), env)}
}

// autonomousDUs takes changes that the CPE has made by itself (TR-069 A.4.2.4).
func (b *Bridge) autonomousDUs(ctx context.Context, s *acs.Session, dev *device, m *cwmp.AutonomousDUStateChangeComplete) error {
	return b.take(ctx, s, dev, report{mark: mark(m), event: b.duEvents(dev, m.Results[:min(len(m.Results), maxReported)]),
		note: func(rec *Record) { rec.Rediscover = true }})
}

// duEvents returns a DUStateChange! for each result.
func (b *Bridge) duEvents(dev *device, results []cwmp.DUResult) (events []agent.Event) {
	for i := range results {
		events = append(events, dev.state.Load().occurred(b.duArgs(dev, &results[i]),
			"Device.SoftwareModules.DUStateChange!", "Device.X_USPBRIDGE_CWMP.DUStateChange!")...)
	}
	return events
}

// duArgs returns a result in the words of TR-181 DUStateChange!.
func (b *Bridge) duArgs(dev *device, r *cwmp.DUResult) map[string]string {
	s := dev.state.Load()
	var units []string
	for unit := range strings.SplitSeq(r.ExecutionUnitRefList, ",") {
		if unit = strings.TrimSpace(unit); unit != "" {
			units = append(units, b.uspRow(s, unit))
		}
	}
	args := map[string]string{
		"UUID": r.UUID, "DeploymentUnitRef": b.uspRow(s, r.DeploymentUnitRef), "Version": r.Version, "CurrentState": r.CurrentState,
		"Resolved": strconv.FormatBool(r.Resolved), "ExecutionUnitRefList": strings.Join(units, ","),
		"StartTime": knownTime(r.StartTime), "CompleteTime": knownTime(r.CompleteTime), "OperationPerformed": r.OperationPerformed,
	}
	faultArgs(args, "Fault.", r.Fault)
	return args
}

// uspRow returns the USP path of a row that a CPE names, the CPE's own if it is
// not known: a unit that was just installed is in no table yet.
func (b *Bridge) uspRow(s *snapshot, object string) string {
	if s.program == nil {
		return object
	}
	ref, ok := lookup(s.program.Schema, object)
	if !ok || ref.Inst.Len() == 0 {
		return object
	}
	if row, ok := s.See(b.now).RowOf(ref.Node, cwmp.Path(strings.TrimSuffix(object, ".")+".")); ok {
		return strings.TrimSuffix(row.Path(), ".")
	}
	return object
}
