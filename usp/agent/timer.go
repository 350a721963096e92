package agent

import (
	"context"
	"maps"
	"strconv"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Device.ScheduleTimer() is an operation of which nothing runs: it is a row of the
// Request table and an entry of the due index, and so outlives a restart.

// timerDelay reads the argument of ScheduleTimer().
func timerDelay(args map[string]string) (time.Duration, *usp.Error) {
	n, err := strconv.ParseUint(args["DelaySeconds"], 10, 32)
	if err != nil || n == 0 {
		return 0, usp.Errorf(usp.ErrInvalidCommandArguments, "", "DelaySeconds %q is no number of seconds from 1", shorten(args["DelaySeconds"]))
	}
	return time.Duration(n) * time.Second, nil
}

// waitOf returns how long a command waits that does nothing else, 0 for others.
func (h *Host) waitOf(call Call) (time.Duration, *usp.Error) {
	if cmd := h.spec.commands[call.Command.Node]; cmd != nil && cmd.wait != nil {
		return cmd.wait(call.Args)
	}
	return 0, nil
}

// setTimer lets the timer of a Request row run out at a time.
func (s *state) setTimer(request uint32, at time.Time) {
	s.timers = maps.Clone(s.timers)
	if s.timers == nil {
		s.timers = map[uint32]int64{}
	}
	s.timers[request] = at.UnixMilli()
}

func (s *state) unsetTimer(request uint32) {
	if _, there := s.timers[request]; there {
		s.timers = maps.Clone(s.timers)
		delete(s.timers, request)
	}
}

// cancelTimer lets a timer run out now, and reports whether the row is one. What
// its end is called, the Status of the row tells then.
func (tx *txn) cancelTimer(request uint32) bool {
	if _, there := tx.next.timers[request]; !there {
		return false
	}
	tx.next = tx.next.edit()
	tx.next.setTimer(request, tx.host.cfg.Now())
	return true
}

// timerOver completes the operation of a timer.
func (h *Host) timerOver(ctx context.Context, e dueEntry) error {
	n, err := strconv.ParseUint(e.rest, 10, 32)
	if err != nil {
		return h.drop(ctx, e)
	}
	err = h.locked(ctx, e.agent, func(d *device, tx *txn) error {
		k := rowKey{h.classes.request, dm.Inst(uint32(n))}
		if tx.base.timers[uint32(n)] != e.at.UnixMilli() {
			return nil // canceled before it ran out
		}
		var outcome error
		if tx.base.named(k, "Status") == requestCanceling {
			outcome = usp.Errorf(usp.ErrCommandCanceled, "", "canceled by a controller")
		}
		command := dm.Ref{Node: d.schema.Lookup(tx.base.named(k, "Command"))}
		return h.completeRequest(ctx, tx.a, k, command, tx.base.named(k, "CommandKey"), nil, outcome)
	})
	if err != nil {
		return err
	}
	return h.drop(ctx, e)
}
