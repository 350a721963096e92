package translate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
)

// Operate implements agent.Model.
func (m *model) Operate(ctx context.Context, call agent.Call) (map[string]string, error) {
	m, release, err := m.hold(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if name, own := m.state().program.Own(call.Command.Node); own {
		run := commands[name]
		if run == nil {
			return nil, usp.Errorf(usp.ErrCommandFailure, call.Command.Path(), "the bridge does not serve this command")
		}
		if err := m.state().program.CheckArguments(call.Command.Node, call.Args); err != nil {
			return nil, err
		}
		return run(m.bridge, ctx, m.dev, call)
	}
	in, ok, refused := m.state().See(m.bridge.now).Invoke(call.Command, call.Args)
	switch {
	case refused != nil:
		return nil, refused
	case !ok:
		return nil, usp.Errorf(usp.ErrCommandFailure, call.Command.Path(), "the CPE has no way to run this command")
	case !in.Diagnostic:
		return nil, m.bridge.trigger(ctx, m.dev, in)
	case !call.Command.Node.Async:
		return m.bridge.diagnoseNow(ctx, m.dev, call, in)
	}
	return nil, m.bridge.operateDiagnostic(ctx, m.dev, call, in)
}

// trigger writes the parameter that a command is on the CPE. What it may have
// changed is read again before it is told.
func (b *Bridge) trigger(ctx context.Context, dev *device, in *mapping.Invocation) error {
	values := append(in.Args, in.Start)
	sent := false
	err := b.run(ctx, dev, func(ctx context.Context, s *acs.Session) error {
		sent = true
		_, err := setValues(ctx, s, values)
		return err
	})
	switch {
	case sent && (errors.Is(err, acs.ErrSessionLost) || errors.Is(err, context.DeadlineExceeded)):
		return usp.Errorf(usp.ErrCommandFailure, "", "the CPE has not answered: it may have acted on it or not (%w)", err)
	case err != nil:
		return argumentError(err)
	}
	b.unsureBelow(dev, in.Object)
	return nil
}

// unsureBelow notes that the parameters of an object may have other values than
// are known.
func (b *Bridge) unsureBelow(dev *device, object cwmp.Path) {
	t := dev.state.Load().tree
	schema, inst, ok := tree.Split(object)
	if !ok {
		return
	}
	var values []cwmp.ParameterValue
	from, to := t.Template().Under(schema)
	for p := from; p < to; p++ {
		if _, there := t.Value(p, inst); there {
			values = append(values, cwmp.ParameterValue{Name: tree.Join(t.Template().Param(p).Path, inst)})
		}
	}
	b.unsure(dev, values)
}

// diagnoseEvery is how often the state of a diagnostic is asked for whose
// controller waits for its end.
const diagnoseEvery = time.Second

// diagnoseNow runs one of the few diagnostics that USP has as commands that end at
// once: it waits for the CPE, as long as a live operation may take.
func (b *Bridge) diagnoseNow(ctx context.Context, dev *device, call agent.Call, in *mapping.Invocation) (map[string]string, error) {
	op := &Operation{Command: call.Command.Path(), Diagnostic: &Diagnostic{Object: in.Object, State: in.Start.Name, Args: in.Args}}
	b.sealArguments(dev.key, op)
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Deadline)
	defer cancel()
	err := b.run(ctx, dev, func(ctx context.Context, s *acs.Session) error {
		now, err := b.diagnosticValues(ctx, s, dev, []cwmp.Path{in.Start.Name})
		if err != nil {
			return err
		}
		if mapping.Running(now[in.Start.Name]) {
			return usp.Errorf(usp.ErrResourcesExceeded, "", "the CPE runs a diagnostic with %s already; try again when it has ended", in.Object)
		}
		return b.request(ctx, s, dev, in.Start.Name, in.Args)
	})
	if err != nil {
		return nil, argumentError(err)
	}
	again := time.NewTicker(diagnoseEvery)
	defer again.Stop()
	for {
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, usp.Errorf(usp.ErrCommandFailure, "", "the CPE has not come to an end within %v", b.cfg.Deadline)
		}
		if out, ended, err := b.resultNow(ctx, dev, op); ended || err != nil {
			return out, err
		}
	}
}

// resultNow asks for the results of a diagnostic, if it has ended.
func (b *Bridge) resultNow(ctx context.Context, dev *device, op *Operation) (out map[string]string, ended bool, err error) {
	var state string
	var values []cwmp.ParameterValue
	err = b.run(ctx, dev, func(ctx context.Context, s *acs.Session) error {
		now, err := b.diagnosticValues(ctx, s, dev, []cwmp.Path{op.Diagnostic.State})
		if state = now[op.Diagnostic.State]; err != nil || mapping.Running(state) {
			return err
		}
		values, err = b.readBelow(ctx, s, dev, op.Diagnostic.Object)
		return err
	})
	switch {
	case err != nil:
		return nil, false, commandError(err)
	case mapping.Running(state):
		return nil, false, nil
	case mapping.Off(state):
		return nil, false, usp.Errorf(usp.ErrCommandFailure, "", "the CPE has no results: it has rebooted, or another manager has called the test off")
	}
	result := b.diagnosed(dev, op, values)
	if err := result.err(); err != nil {
		return nil, false, err
	}
	return result.Args, true, nil
}

// readBelow reads all parameters below an object.
func (b *Bridge) readBelow(ctx context.Context, cpe acs.Caller, dev *device, object cwmp.Path) ([]cwmp.ParameterValue, error) {
	names, err := parameterNames(ctx, cpe, object, false)
	if err != nil {
		return nil, fmt.Errorf("names below %s: %w", object, err)
	}
	rec := dev.state.Load().rec
	r, err := readValues(ctx, cpe, leaves(names), lessOf(rec.MaxNames, b.profile(rec).MaxNames))
	if err != nil {
		return nil, err
	}
	return r.values, b.absorb(ctx, dev, r)
}
