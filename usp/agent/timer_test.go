package agent

import (
	"testing"
	"time"
)

const timerCommand = "Device.ScheduleTimer()"

// Of a timer nothing runs: it is a Request row that completes when its time has
// come, after a restart too.
func TestScheduleTimer(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "done", "OperationComplete", timerCommand)
	row := operateResults(t, b.ask(primary, operateReq(timerCommand, "k", true, map[string]string{"DelaySeconds": "30", "Unknown": "x"})))[0].GetReqObjPath()
	b.clock.Advance(29 * time.Second)
	b.due()
	b.restart()
	b.silence()
	if v := b.value(row + "Status"); v != "Active" {
		t.Fatalf("Status is %s", v)
	}
	b.clock.Advance(2 * time.Second)
	b.due()
	n, _ := b.notify(primary)
	if c := n.GetOperComplete(); c.GetCommandName() != "ScheduleTimer()" || c.GetObjPath() != "Device." || c.GetCommandKey() != "k" || c.GetReqOutputArgs() == nil {
		t.Errorf("got %v", n)
	}
	if v := b.value(row + "Status"); v != "!7026" {
		t.Errorf("the row is still there: %s", v)
	}
	b.clock.Advance(time.Minute)
	b.due()
	b.silence()
}

// A timer that is canceled completes at once, with 7023, and no second time.
func TestCancelTimer(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "done", "OperationComplete", timerCommand)
	row := operateResults(t, b.ask(primary, operateReq(timerCommand, "k", true, map[string]string{"DelaySeconds": "30"})))[0].GetReqObjPath()
	if res := operateResults(t, b.ask(primary, operateReq(row+"Cancel()", "", true, nil))); res[0].GetCmdFailure() != nil {
		t.Fatalf("Cancel: %v", res)
	}
	b.due()
	if n, _ := b.notify(primary); n.GetOperComplete().GetCmdFailure().GetErrCode() != 7023 {
		t.Errorf("got %v", n)
	}
	b.clock.Advance(time.Minute)
	b.due()
	b.silence()
}

func TestScheduleTimerArguments(t *testing.T) {
	b := newBench(t)
	for _, args := range []map[string]string{nil, {"DelaySeconds": "0"}, {"DelaySeconds": "-1"}, {"DelaySeconds": "soon"}, {"DelaySeconds": "4294967296"}} {
		if res := operateResults(t, b.ask(primary, operateReq(timerCommand, "", true, args))); res[0].GetCmdFailure().GetErrCode() != 7027 {
			t.Errorf("%v: %v", args, res)
		}
	}
	if v := b.value("Device.LocalAgent.RequestNumberOfEntries"); v != "0" {
		t.Errorf("%s requests are there", v)
	}
}
