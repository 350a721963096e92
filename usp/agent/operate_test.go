package agent

import (
	"testing"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

func operateResults(t *testing.T, body *usppb.Body) []*usppb.OperateResp_OperationResult {
	t.Helper()
	if body.GetResponse().GetOperateResp() == nil {
		t.Fatalf("no OperateResp: %v", body)
	}
	return body.GetResponse().GetOperateResp().GetOperationResults()
}

// TP-469 1.61, 1.62, 1.91 and errors.
func TestOperateSync(t *testing.T) {
	b := newBench(t)
	res := operateResults(t, b.ask(primary, operateReq("Device.Reboot()", "key", true, map[string]string{"Unknown": "x"})))
	if len(res) != 1 || res[0].GetExecutedCommand() != "Device.Reboot()" || res[0].GetReqOutputArgs() == nil || len(res[0].GetReqOutputArgs().GetOutputArgs()) != 0 {
		t.Fatalf("1.61: %v", res)
	}
	if c := b.model.operated; len(c) != 1 || c[0].Key != "key" || c[0].Controller != primary {
		t.Errorf("calls %v", c)
	}
	id := b.deliverRequest(primary, operateReq("Device.Reboot()", "key", false, nil)) // 1.62
	b.settle()
	if len(b.model.operated) != 2 {
		t.Error("1.62: not run")
	}
	select {
	case s := <-b.net.sent:
		t.Errorf("1.62: answer to %s: %v", id, s.msg)
	default:
	}
	b.model.refuse["Reboot()"] = usp.Errorf(usp.ErrCommandFailure, "", "CWMP fault 9002")
	if res = operateResults(t, b.ask(primary, operateReq("Device.Reboot()", "", true, nil))); res[0].GetCmdFailure().GetErrCode() != 7022 {
		t.Errorf("failure: %v", res)
	}
	wantError(t, b.ask(primary, operateReq("Device.Nope()", "", true, nil)), 7026, "Device.Nope()")
	wantError(t, b.ask(primary, operateReq("Device.WiFi.", "", true, nil)), 7026, "Device.WiFi.")
	wantError(t, b.ask(primary, operateReq("Device.LocalAgent.Controller.9.SendOnBoardRequest()", "", true, nil)), 7016, "Device.LocalAgent.Controller.9.SendOnBoardRequest()")
	if res = operateResults(t, b.ask(primary, operateReq(`Device.LocalAgent.Controller.[Enable==false].SendOnBoardRequest()`, "", true, nil))); len(res) != 0 {
		t.Errorf("search without match: %v", res)
	}
}

// TP-469 1.64, 1.65, 1.79, 1.100: the life of an asynchronous operation.
func TestOperateAsync(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "done", "OperationComplete", "Device.SelfTest()", kv{"NotifRetry", "true", true})
	if res := operateResults(t, b.ask(primary, operateReq("Device.SelfTest()", "test100", true, nil))); res[0].GetCmdFailure().GetErrCode() != 7027 {
		t.Fatalf("1.100: %v", res)
	}
	b.silence()
	args := map[string]string{"Seconds": "1"}
	release := make(chan struct{})
	b.model.block, b.model.result = release, map[string]string{"Result": "fine"}
	res := operateResults(t, b.ask(primary, operateReq("Device.SelfTest()", "test64", true, args)))
	row := res[0].GetReqObjPath()
	if row != "Device.LocalAgent.Request.101." {
		t.Fatalf("1.64: %v", res)
	}
	<-b.model.running
	b.model.mu.Lock()
	b.model.block = nil
	b.model.mu.Unlock()
	for param, want := range map[string]string{"Command": "Device.SelfTest()", "CommandKey": "test64", "Originator": string(primary), "Status": "Active"} {
		if v := b.value(row + param); v != want {
			t.Errorf("%s is %q", param, v)
		}
	}
	close(release)
	n, _ := b.notify(primary)
	equalProto(t, n.GetOperComplete(), &usppb.Notify_OperationComplete{
		ObjPath: "Device.", CommandName: "SelfTest()", CommandKey: "test64",
		OperationResp: &usppb.Notify_OperationComplete_ReqOutputArgs{ReqOutputArgs: &usppb.Notify_OperationComplete_OutputArgs{OutputArgs: map[string]string{"Result": "fine"}}},
	})
	b.settle()
	if v := b.value(row + "Status"); v != "!7026" {
		t.Errorf("R-OPR.0: row is still there: %s", v)
	}
	b.deliverRequest(primary, operateReq("Device.SelfTest()", "test65", false, args)) // 1.65
	if n, _ = b.notify(primary); n.GetOperComplete().GetCommandKey() != "test65" {
		t.Errorf("1.65: %v", n)
	}
	b.settle()
	if n := b.store.count(store.Request); n != 0 {
		t.Errorf("%d Request records", n)
	}
}

func TestCancel(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "done", "OperationComplete", "Device.")
	b.model.block = make(chan struct{})
	row := operateResults(t, b.ask(primary, operateReq("Device.SelfTest()", "k", true, map[string]string{"Seconds": "1"})))[0].GetReqObjPath()
	if res := operateResults(t, b.ask(primary, operateReq(row+"Cancel()", "", true, nil))); res[0].GetCmdFailure() != nil {
		t.Fatalf("Cancel: %v", res)
	}
	if n, _ := b.notify(primary); n.GetOperComplete().GetCmdFailure().GetErrCode() != 7023 {
		t.Errorf("got %v", n)
	}
}

// An operation that ran when the bridge stopped is reported as failed, once.
func TestInterruptedOperation(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "done", "OperationComplete", "Device.SelfTest()")
	b.model.block = make(chan struct{})
	operateResults(t, b.ask(primary, operateReq("Device.SelfTest()", "k", true, map[string]string{"Seconds": "1"})))
	b.restart()
	n, _ := b.notify(primary)
	if c := n.GetOperComplete(); c.GetCmdFailure().GetErrCode() != 7022 || c.GetCommandKey() != "k" {
		t.Errorf("got %v", n)
	}
	b.restart()
	b.silence()
	if v := b.value("Device.LocalAgent.RequestNumberOfEntries"); v != "0" {
		t.Errorf("%s requests", v)
	}
}

func TestOperationsAreBounded(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Limits.AgentOperation = 1 })
	b.model.block = make(chan struct{})
	args := map[string]string{"Seconds": "1"}
	operateResults(t, b.ask(primary, operateReq("Device.SelfTest()", "1", true, args)))
	if res := operateResults(t, b.ask(primary, operateReq("Device.SelfTest()", "2", true, args))); res[0].GetCmdFailure().GetErrCode() != 7005 {
		t.Errorf("got %v", res)
	}
}
