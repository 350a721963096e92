package agent

import (
	"errors"
	"strconv"
	"strings"
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

// What is missing is told at once, not one argument with each try (R-OPR.5).
func TestOperateWithoutMandatoryArguments(t *testing.T) {
	b := newBench(t)
	for _, tt := range []struct {
		args map[string]string
		want string
	}{
		{nil, "Device.Ping() lacks mandatory arguments: Host, Timeout"},
		{map[string]string{"Host": "h", "DSCP": "0"}, "Device.Ping() lacks mandatory arguments: Timeout"},
	} {
		res := operateResults(t, b.ask(primary, operateReq("Device.Ping()", "key", true, tt.args)))
		if fail := res[0].GetCmdFailure(); fail.GetErrCode() != 7027 || fail.GetErrMsg() != tt.want {
			t.Errorf("%v: %v, want %q", tt.args, res, tt.want)
		}
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

// An operation that the Model takes over keeps its Request row, over a restart
// too, until the Model tells of its end; the end is notified once.
func TestOperateDetached(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "done", "OperationComplete", "Device.SelfTest()", kv{"NotifRetry", "true", true})
	b.model.detach = true
	args := map[string]string{"Seconds": "1"}
	row := operateResults(t, b.ask(primary, operateReq("Device.SelfTest()", "k", true, args)))[0].GetReqObjPath()
	b.settle()
	if c := b.model.operated[0]; "Device.LocalAgent.Request."+strconv.Itoa(int(c.Request))+"." != row {
		t.Fatalf("the Model was given Request %d for %s", c.Request, row)
	}
	b.restart()
	b.silence()
	if v := b.value(row + "Status"); v != "Active" {
		t.Fatalf("Status is %s after a restart", v)
	}
	args = map[string]string{"Result": "fine", "Text": "\xff"}
	ended := []Event{{Kind: OperationEnded, Request: b.model.operated[0].Request, Args: args}}
	for range 2 { // the Model has died before it could note that it has told
		if err := b.host.Deliver(t.Context(), testAgent, ended); err != nil {
			t.Fatal(err)
		}
	}
	n, id := b.notify(primary)
	if c := n.GetOperComplete(); c.GetCommandKey() != "k" || c.GetReqOutputArgs().GetOutputArgs()["Result"] != "fine" {
		t.Errorf("got %v", n)
	}
	if args["Text"] != "\xff" {
		t.Error("the Model's own map was changed")
	}
	b.acknowledge(primary, id)
	b.silence()
	b.restart()
	b.silence()
	if v := b.value(row + "Status"); v != "!7026" {
		t.Errorf("the row is still there: %s", v)
	}
}

// The end of a detached operation and what it is told with are durable together
// or not at all.
func TestDetachedEndThatCannotBeStored(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "done", "OperationComplete", "Device.SelfTest()")
	b.model.detach = true
	operateResults(t, b.ask(primary, operateReq("Device.SelfTest()", "k", true, map[string]string{"Seconds": "1"})))
	b.settle()
	ended := []Event{{Kind: OperationEnded, Request: b.model.operated[0].Request, Err: usp.Errorf(usp.ErrCommandFailure, "", "CWMP fault 9018")}}
	b.store.fail = errStore
	if err := b.host.Deliver(t.Context(), testAgent, ended); !errors.Is(err, errStore) {
		t.Fatalf("Deliver returned %v", err)
	}
	b.store.fail = nil
	b.silence()
	if err := b.host.Deliver(t.Context(), testAgent, ended); err != nil {
		t.Fatal(err)
	}
	if n, _ := b.notify(primary); n.GetOperComplete().GetCmdFailure().GetErrMsg() != "CWMP fault 9018" {
		t.Errorf("got %v", n)
	}
}

// Cancel() of a detached operation goes to the Model, which may refuse.
func TestCancelDetached(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "done", "OperationComplete", "Device.")
	b.model.detach = true
	row := operateResults(t, b.ask(primary, operateReq("Device.SelfTest()", "k", true, map[string]string{"Seconds": "1"})))[0].GetReqObjPath()
	b.settle()
	b.model.refuse["Cancel()"] = usp.Errorf(usp.ErrCommandFailure, "", "CWMP fault 9021")
	if res := operateResults(t, b.ask(primary, operateReq(row+"Cancel()", "", true, nil))); res[0].GetCmdFailure().GetErrMsg() != "CWMP fault 9021" {
		t.Errorf("refused Cancel: %v", res)
	}
	if v := b.value(row + "Status"); v != "Active" {
		t.Errorf("Status is %s after a refused Cancel", v)
	}
	delete(b.model.refuse, "Cancel()")
	if res := operateResults(t, b.ask(primary, operateReq(row+"Cancel()", "", true, nil))); res[0].GetCmdFailure() != nil {
		t.Fatalf("Cancel: %v", res)
	}
	b.restart()
	if v := b.value(row + "Status"); v != "Canceling" || len(b.model.canceled) != 1 {
		t.Errorf("Status is %s, canceled %v", v, b.model.canceled)
	}
	ended := []Event{{Kind: OperationEnded, Request: b.model.canceled[0], Err: usp.Errorf(usp.ErrCommandCanceled, "", "canceled")}}
	if err := b.host.Deliver(t.Context(), testAgent, ended); err != nil {
		t.Fatal(err)
	}
	if n, _ := b.notify(primary); n.GetOperComplete().GetCmdFailure().GetErrCode() != 7023 {
		t.Errorf("got %v", n)
	}
}

// A Cancel() that comes while the Model takes the operation over reaches it.
func TestCancelWhileDetaching(t *testing.T) {
	b := newBench(t)
	b.model.detach, b.model.block, b.model.deaf = true, make(chan struct{}), true
	row := operateResults(t, b.ask(primary, operateReq("Device.SelfTest()", "k", true, map[string]string{"Seconds": "1"})))[0].GetReqObjPath()
	<-b.model.running
	if res := operateResults(t, b.ask(primary, operateReq(row+"Cancel()", "", true, nil))); res[0].GetCmdFailure() != nil {
		t.Fatalf("Cancel: %v", res)
	}
	close(b.model.block)
	b.settle()
	if len(b.model.canceled) != 1 || b.model.canceled[0] != b.model.operated[0].Request {
		t.Errorf("canceled %v", b.model.canceled)
	}
}

// Secrets among the arguments of a command are not in the audit trail.
func TestOperateAuditHidesSecrets(t *testing.T) {
	got := auditArgs(map[string]string{"URL": "ftp://u:secret@files.example/x", "Password": "secret", "Operation.1.Password": "secret", "Voucher.1.Voucher": "secret", "Value": "secret", "Seconds": "1",
		"SuccessURL": "https://files.example/x?token=secret", "Reference": "Device.A.?b"}, []string{"Value"})
	for name, v := range got {
		if strings.Contains(v, "secret") {
			t.Errorf("%s is %q", name, v)
		}
	}
	if got["Seconds"] != "1" || got["Reference"] != "Device.A.?b" {
		t.Errorf("what is no secret is %q and %q", got["Seconds"], got["Reference"])
	}
}

// A durable command is in the Model's hands before it is answered: a bridge that
// dies behind the answer does not fail it. One that the Model refuses fails at
// once.
func TestOperateDurable(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "done", "OperationComplete", "Device.Upgrade()")
	b.model.detach = true
	b.model.mu.Lock()
	b.model.atOperate = func() {
		if n := len(b.net.sent); n != 0 {
			t.Errorf("%d records were sent before the Model had the operation", n)
		}
	}
	b.model.mu.Unlock()
	row := operateResults(t, b.ask(primary, operateReq("Device.Upgrade()", "k", true, nil)))[0].GetReqObjPath()
	if row == "" || !b.model.Detached(b.model.operated[0].Request) {
		t.Fatalf("answered with %q before it was taken over", row)
	}
	b.restart()
	b.silence()
	b.model.refuse["Upgrade()"] = usp.Errorf(usp.ErrInvalidCommandArguments, "", "no such file")
	operateResults(t, b.ask(primary, operateReq("Device.Upgrade()", "l", true, nil)))
	if n, _ := b.notify(primary); n.GetOperComplete().GetCommandKey() != "l" || n.GetOperComplete().GetCmdFailure().GetErrCode() != 7027 {
		t.Errorf("got %v", n)
	}
	if n := b.host.operations.Load(); n != 0 {
		t.Errorf("%d operations are counted as running", n)
	}
}
