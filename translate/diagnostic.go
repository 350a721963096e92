package translate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
)

// Diagnostics (TR-069 A.3.2.1, TR-143): the arguments and DiagnosticsState are
// written in one SetParameterValues, the CPE runs the test when the session has
// ended, says "8 DIAGNOSTICS COMPLETE", and its results are read. A CPE has one
// object for a kind of test, which everybody uses who manages it: of one object
// one operation runs at a time, others wait in the order they came.

// Diagnostic is the diagnostic of an Operation.
type Diagnostic struct {
	Object  cwmp.Path             `json:"object"` // ends in "."
	State   cwmp.Path             `json:"state"`  // the parameter that starts it and tells of its end
	Args    []cwmp.ParameterValue `json:"-"`      // see Operation.Secret
	Omitted []cwmp.Path           `json:"omitted,omitempty"`
}

// The patience with diagnostics.
const (
	// diagnosticTime is how long one may take beyond what its arguments say:
	// the longest tests of a line take some minutes.
	diagnosticTime = 15 * time.Minute
	// firstPoll and pollEvery are when the CPE is asked for the state of one of
	// whose end it has not told: many CPE never do.
	firstPoll = 20 * time.Second
	pollEvery = time.Minute
	// maxArguments bounds the CPE's own values of arguments that are kept.
	maxArguments = 256
)

// awaits reports whether an operation waits for its turn at a diagnostic object.
func (r *Record) awaits(object cwmp.Path) bool {
	return slices.ContainsFunc(r.Operations, func(op *Operation) bool {
		return op.State == OperationWaiting && op.Diagnostic != nil && op.Diagnostic.Object == object
	})
}

// turn reports whether it is an operation's turn at its diagnostic object.
func (r *Record) turn(op *Operation) bool {
	for _, other := range r.Operations {
		switch {
		case other.Request == op.Request:
			return true
		case other.State != OperationEnded && other.Diagnostic != nil && other.Diagnostic.Object == op.Diagnostic.Object:
			return false
		}
	}
	return false
}

// diagnose carries a diagnostic on.
func (b *Bridge) diagnose(ctx context.Context, cpe acs.Caller, dev *device, op *Operation) error {
	if op.State == OperationWaiting {
		if !dev.state.Load().rec.turn(op) {
			return nil
		}
		return b.startDiagnostic(ctx, cpe, dev, op)
	}
	return b.watchDiagnostic(ctx, cpe, dev, op)
}

// startDiagnostic has the CPE run a diagnostic, unless another manager has it run
// one with the same object: then it waits for that one's end.
func (b *Bridge) startDiagnostic(ctx context.Context, cpe acs.Caller, dev *device, op *Operation) error {
	args, err := b.openArguments(dev.key, op)
	if err != nil {
		_, err = b.end(ctx, dev, op.Request, failedBy(err))
		return err
	}
	now, err := b.diagnosticValues(ctx, cpe, dev, append(namesOf(args), append(op.Diagnostic.Omitted, op.Diagnostic.State)...))
	if err != nil {
		return err
	}
	if state := now[op.Diagnostic.State]; mapping.Running(state) && op.State == OperationWaiting {
		if b.now().Sub(op.Asked) > diagnosticTime {
			b.giveUp(ctx, dev, op, fmt.Sprintf("another manager of the CPE has it run a diagnostic with %s, which has not ended within %v", op.Diagnostic.Object, diagnosticTime))
			return nil
		}
		return b.postpone(ctx, dev, op, b.now().Add(pollEvery))
	}
	changed, err := b.changeOperation(ctx, dev, op.Request, &store.Batch{}, func(rec *Record, op *Operation) bool {
		d := *op.Diagnostic
		args = rec.completed(&d, args, now)
		d.Args, op.Diagnostic = args, &d
		b.sealArguments(dev.key, op)
		op.send(rec, b.now(), diagnosticTime+longestTest(args))
		op.NotBefore = b.now().Add(firstPoll)
		return true
	})
	if err != nil || !changed {
		return err
	}
	err = b.request(ctx, cpe, dev, op.Diagnostic.State, args)
	switch {
	case errors.Is(err, acs.ErrSessionLost):
		return err
	case err != nil:
		_, err = b.end(ctx, dev, op.Request, &OperationResult{Code: argumentError(err).Code, Text: argumentError(err).Msg})
		return err
	}
	return b.accept(ctx, dev, op.Request)
}

// completed returns the arguments with the CPE's own values for those that were
// left out: an earlier diagnostic may have left another there. What is about to be
// overwritten for the first time is that.
func (r *Record) completed(d *Diagnostic, args []cwmp.ParameterValue, now map[cwmp.Path]string) []cwmp.ParameterValue {
	own := maps.Clone(r.Arguments)
	for _, a := range args {
		text, there := now[a.Name]
		if _, kept := own[a.Name]; there && !kept && text != a.Value.Text && len(own) < maxArguments {
			if own == nil {
				own = map[cwmp.Path]string{}
			}
			own[a.Name] = text
		}
	}
	r.Arguments = own
	for _, name := range d.Omitted {
		if text, kept := own[name]; kept && now[name] != text {
			args = append(args, cwmp.ParameterValue{Name: name, Value: cwmp.Value{Type: cwmp.TypeUnknown, Text: text}})
		}
	}
	return args
}

// request sets the arguments of a diagnostic and starts it. A CPE that does not
// bear so many values at once gets what starts it last.
func (b *Bridge) request(ctx context.Context, cpe acs.Caller, dev *device, state cwmp.Path, args []cwmp.ParameterValue) error {
	rec := dev.state.Load().rec
	values := append(slices.Clone(args), cwmp.ParameterValue{Name: state, Value: cwmp.Value{Type: cwmp.TypeString, Text: mapping.Requested}})
	t := dev.state.Load().tree.Template()
	for i, v := range values {
		if p, _, ok := locate(dev.state.Load().tree, v.Name); ok && v.Value.Type == cwmp.TypeUnknown {
			values[i].Value.Type = t.Param(p).Type
		}
	}
	if most := lessOf(b.profile(rec).MaxValues, rec.MaxValues); most > 0 && most < len(values) {
		if _, err := setValues(ctx, cpe, values[:len(args)]); err != nil {
			return err
		}
		values = values[len(args):]
	}
	_, err := setValues(ctx, cpe, values)
	return err
}

// argumentError is commandError where the CPE names what it refuses: a parameter
// that is an argument.
func argumentError(err error) *usp.Error {
	e := commandError(err)
	var f *cwmp.Fault
	if errors.As(err, &f) && len(f.Parameters) > 0 {
		name := string(f.Parameters[0].Name)
		e = &usp.Error{Code: usp.ErrInvalidCommandArguments, Cause: err,
			Msg: fmt.Sprintf("%s: the CPE refused it: CWMP fault %d %s", name[strings.LastIndexByte(name, '.')+1:], f.Parameters[0].Code, f.Parameters[0].Text)}
	}
	return e
}

// longestTest is how long a test takes by its arguments.
func longestTest(args []cwmp.ParameterValue) (longest time.Duration) {
	for _, a := range args {
		n, err := strconv.ParseUint(a.Value.Text, 10, 32)
		if name := string(a.Name); err == nil && (strings.HasSuffix(name, "Duration") || strings.HasSuffix(name, "SampleInterval")) {
			longest += time.Duration(n) * time.Second
		}
	}
	return longest
}

func namesOf(values []cwmp.ParameterValue) []cwmp.Path {
	names := make([]cwmp.Path, len(values))
	for i, v := range values {
		names[i] = v.Name
	}
	return names
}

// diagnosticValues reads parameters of a diagnostic; those that the CPE does not
// have are missing.
func (b *Bridge) diagnosticValues(ctx context.Context, cpe acs.Caller, dev *device, names []cwmp.Path) (map[cwmp.Path]string, error) {
	rec := dev.state.Load().rec
	r, err := readValues(ctx, cpe, names, lessOf(rec.MaxNames, b.profile(rec).MaxNames))
	if err != nil {
		return nil, err
	}
	texts := make(map[cwmp.Path]string, len(r.values))
	for _, v := range r.values {
		texts[v.Name] = v.Value.Text
	}
	return texts, nil
}

// watchDiagnostic looks what has become of a diagnostic that the CPE was asked
// for.
func (b *Bridge) watchDiagnostic(ctx context.Context, cpe acs.Caller, dev *device, op *Operation) error {
	d := op.Diagnostic
	now, err := b.diagnosticValues(ctx, cpe, dev, []cwmp.Path{d.State})
	if err != nil {
		return err
	}
	state, there := now[d.State]
	switch {
	case !there:
		b.giveUp(ctx, dev, op, fmt.Sprintf("the CPE has no %s any more", d.State))
	case mapping.Running(state) && !op.Deadline.After(b.now()):
		if err := b.stopDiagnostic(ctx, cpe, d.State); err != nil && !isFault(err) {
			return err
		}
		b.giveUp(ctx, dev, op, "the CPE has not come to an end with it in time; it was called off")
	case mapping.Running(state):
		if !op.NotBefore.After(b.now()) {
			return b.postpone(ctx, dev, op, b.now().Add(pollEvery))
		}
	case mapping.Off(state) && dev.isStopping(op.Request):
		// Cancel() has called it off, and ends it.
	case mapping.Off(state) && op.State == OperationSent && op.Sends < maxSends:
		return b.startDiagnostic(ctx, cpe, dev, op) // its session broke before the CPE had it
	case mapping.Off(state):
		b.giveUp(ctx, dev, op, dev.state.Load().rec.whyOff(op))
	default:
		return b.takeResults(ctx, cpe, dev, op)
	}
	return nil
}

// whyOff says why a diagnostic is neither running nor done.
func (r *Record) whyOff(op *Operation) string {
	if r.LastBoot.After(op.Told) {
		return "the CPE has rebooted while it ran, and has no results"
	}
	return "the CPE has no results: another manager of the CPE has called it off or changed it"
}

// takeResults reads what a diagnostic has found, and ends it.
func (b *Bridge) takeResults(ctx context.Context, cpe acs.Caller, dev *device, op *Operation) error {
	values, err := b.readBelow(ctx, cpe, dev, op.Diagnostic.Object)
	var result *OperationResult
	switch {
	case isFault(err):
		result = failedBy(err)
	case err != nil:
		return err
	default:
		result = b.diagnosed(dev, op, values)
	}
	_, err = b.end(ctx, dev, op.Request, result)
	return err
}

// diagnosed is the outcome of a diagnostic that has ended: its output arguments,
// among them a Status that can be an error; or a failure if they are those of
// another's.
func (b *Bridge) diagnosed(dev *device, op *Operation, values []cwmp.ParameterValue) *OperationResult {
	args, err := b.openArguments(dev.key, op)
	if err != nil {
		return failedBy(err)
	}
	now := make(map[cwmp.Path]string, len(values))
	for _, v := range values {
		now[v.Name] = v.Value.Text
	}
	for _, a := range args {
		if text, read := now[a.Name]; read && text != "" && !sameText(text, a.Value.Text) {
			return &OperationResult{Code: usp.ErrCommandFailure,
				Text: fmt.Sprintf("another manager of the CPE has changed %s meanwhile: the results are not those of this command", a.Name)}
		}
	}
	s := dev.state.Load()
	ref, ok := lookup(s.program.Schema, op.Command)
	if !ok {
		return &OperationResult{Code: usp.ErrCommandFailure, Text: "the CPE has another firmware by now, which does not have the command"}
	}
	out, whole := s.See(b.now).Output(ref.Node, op.Diagnostic.Object, values)
	if !whole {
		b.log.Warn("a diagnostic has more results than are passed on", "device", dev.key, "command", op.Command, "passed", len(out))
	}
	return &OperationResult{Args: out}
}

// sameText compares a value with what was set: CPE spell booleans and paths in
// their own way.
func sameText(now, set string) bool {
	truth := func(s string) string {
		switch strings.ToLower(s) {
		case "1", "true":
			return "true"
		case "0", "false":
			return "false"
		}
		return strings.TrimSuffix(s, ".")
	}
	return truth(now) == truth(set)
}

// callOff stops a diagnostic that the CPE has.
func (b *Bridge) callOff(ctx context.Context, dev *device, d *Diagnostic) error {
	err := b.run(ctx, dev, func(ctx context.Context, s *acs.Session) error { return b.stopDiagnostic(ctx, s, d.State) })
	if err != nil {
		return commandError(err)
	}
	return nil
}

// stops notes that a diagnostic is being canceled, so that nobody takes it for
// called off by another.
func (dev *device) stops(request uint32, on bool) {
	dev.mu.Lock()
	defer dev.mu.Unlock()
	if !on {
		delete(dev.stopping, request)
		return
	}
	if dev.stopping == nil {
		dev.stopping = map[uint32]bool{}
	}
	dev.stopping[request] = true
}

func (dev *device) isStopping(request uint32) bool {
	dev.mu.Lock()
	defer dev.mu.Unlock()
	return dev.stopping[request]
}

// stopDiagnostic writes the state that stops a diagnostic: Canceled where the CPE
// knows it, which is optional, else None.
func (b *Bridge) stopDiagnostic(ctx context.Context, cpe acs.Caller, state cwmp.Path) (err error) {
	for _, word := range []string{"Canceled", "None"} {
		_, err = setValues(ctx, cpe, []cwmp.ParameterValue{{Name: state, Value: cwmp.Value{Type: cwmp.TypeString, Text: word}}})
		if !isFault(err) {
			return err
		}
	}
	return err
}

// operateDiagnostic takes a diagnostic over.
func (b *Bridge) operateDiagnostic(ctx context.Context, dev *device, call agent.Call, in *mapping.Invocation) error {
	return b.detach(ctx, dev, call, &Operation{Diagnostic: &Diagnostic{Object: in.Object, State: in.Start.Name, Args: in.Args, Omitted: in.Omitted}})
}
