package translate

import (
	"context"
	"errors"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/usp/agent"
)

// isolation sends a refused set of writes in parts, where the CPE does not say
// which of them it refuses and the request allows some to fail: what must come
// together goes together, what may fail alone is halved until the culprits are
// found.
type isolation struct {
	b   *Bridge
	cpe acs.Caller
	dev *device
}

// divisible reports whether part of the writes may fail without the others: they
// are of several objects that may fail alone, or some are not required.
func divisible(live []*pendingWrite, allowPartial bool) bool {
	if len(live) < 2 {
		return false
	}
	for _, w := range live {
		if !w.required || allowPartial && w.update != live[0].update {
			return true
		}
	}
	return false
}

// unnamed reports whether a fault names none of the parameters to be written.
func unnamed(live []*pendingWrite, fault *cwmp.Fault) bool {
	for _, w := range live {
		for _, p := range fault.Parameters {
			for _, v := range w.values {
				if v.Name == p.Name {
					return false
				}
			}
		}
	}
	return true
}

// run writes what can be written; what the CPE refuses has its error then.
func (x *isolation) run(ctx context.Context, live []*pendingWrite, results []agent.UpdateResult, allowPartial bool) error {
	var groups [][]*pendingWrite // required writes that succeed or fail together
	var optional []*pendingWrite
	at := make(map[int]int)
	for _, w := range live {
		object := 0
		if allowPartial {
			object = w.update
		}
		switch i, known := at[object]; {
		case !w.required:
			optional = append(optional, w)
		case known:
			groups[i] = append(groups[i], w)
		default:
			at[object] = len(groups)
			groups = append(groups, []*pendingWrite{w})
		}
	}
	failed := make(map[int]bool)
	for _, group := range groups {
		refused, err := x.send(ctx, group)
		if err != nil {
			return err
		}
		for _, w := range group {
			failed[w.update] = failed[w.update] || refused
		}
		if refused && !allowPartial {
			return nil
		}
	}
	var left []*pendingWrite
	for _, w := range optional {
		if !failed[w.update] && results[w.update].Err == nil {
			left = append(left, w)
		}
	}
	return x.halve(ctx, left)
}

// halve writes what may fail one by one, in as few calls as that takes.
func (x *isolation) halve(ctx context.Context, writes []*pendingWrite) error {
	if len(writes) == 0 {
		return nil
	}
	refused, err := x.send(ctx, writes)
	if err != nil || !refused || len(writes) == 1 {
		return err
	}
	for _, w := range writes {
		w.err = nil
	}
	half := len(writes) / 2
	if err := x.halve(ctx, writes[:half]); err != nil {
		return err
	}
	return x.halve(ctx, writes[half:])
}

// send writes together; a refusal is the error of each.
func (x *isolation) send(ctx context.Context, writes []*pendingWrite) (refused bool, err error) {
	values := joinValues(writes)
	status, err := setValues(ctx, x.cpe, values)
	var fault *cwmp.Fault
	if errors.As(err, &fault) {
		for _, w := range writes {
			w.err = uspError(fault, w.ref.Path())
		}
		return true, nil
	} else if err != nil {
		x.b.unsure(x.dev, values)
		return false, err
	}
	return false, x.b.written(ctx, x.dev, values, status)
}
