package conformance

import (
	"fmt"
	"strings"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// The commands that cases run.
const (
	reboot  = "Device.Reboot()"
	refresh = "Device.X_USPBRIDGE_CWMP.Refresh()" // asynchronous: reads the whole CPE again
	timer   = "Device.ScheduleTimer()"

	traceRoute = "Device.IP.Diagnostics.TraceRoute()"
)

// operateCases are the tests of the Operate message (1.61 to 1.65, 1.79, 1.80,
// 1.91, 1.92, 1.100).
func operateCases() []testCase {
	return append([]testCase{
		{number: "1.61", title: "Operate of a command that ends at once, with response", play: func(t *trial) {
			r := t.Operate(reboot, "test61").operated(reboot)
			if r.GetReqOutputArgs() == nil || len(r.GetReqOutputArgs().GetOutputArgs()) > 0 {
				t.Errorf("the result is %v, want no output arguments", r)
			}
			t.rebooted()
		}},
		{number: "1.62", title: "Operate of a command that ends at once, without response", play: func(t *trial) {
			id := t.OperateSilently(reboot, "test62")
			t.rebooted()
			t.unanswered(id)
		}},
		{number: "1.64", title: "Operate of an asynchronous command, with response", play: func(t *trial) {
			t.subscribe("operate64", "OperationComplete", refresh)
			t.requested(t.Operate(refresh, "test64").operated(refresh))
			t.completed(t.notice("operate64"), refresh, "test64")
		}},
		{number: "1.65", title: "Operate of an asynchronous command, without response", play: func(t *trial) {
			t.subscribe("operate65", "OperationComplete", refresh)
			id := t.OperateSilently(refresh, "test65")
			t.completed(t.notice("operate65"), refresh, "test65")
			t.unanswered(id)
		}},
		{number: "1.79", timed: true, title: "Operate with arguments", play: func(t *trial) {
			delay := t.seconds(30, 2)
			t.subscribe("operate79", "OperationComplete", timer)
			t.requested(t.Operate(timer, "test79", fmt.Sprintf("DelaySeconds=%d", delay)).operated(timer))
			t.completed(t.longNotice("operate79", delay).notify(), timer, "test79")
		}},
		{number: "1.80", title: "GetSupportedProtocol", play: func(t *trial) {
			a := t.ask(usppb.Header_GET_SUPPORTED_PROTO, &usppb.Request{ReqType: &usppb.Request_GetSupportedProtocol{
				GetSupportedProtocol: &usppb.GetSupportedProtocol{ControllerSupportedProtocolVersions: "1.0,1.1,1.2,1.3,1.4"}}})
			if got := a.response().GetGetSupportedProtocolResp().GetAgentSupportedProtocolVersions(); !strings.Contains(","+got+",", ",1.4,") {
				t.Errorf("the agent's versions are %q", got)
			}
		}},
		{number: "1.91", title: "Operate with an argument that the command has not", play: func(t *trial) {
			t.requested(t.Operate(timer, "", "DelaySeconds=10", "InvalidArgument=2").operated(timer))
		}},
		{number: "1.92", title: "Operate without arguments that have defaults", play: func(t *trial) {
			t.subscribe("operate92", "OperationComplete", traceRoute)
			t.requested(t.Operate(traceRoute, "before", "Host=198.51.100.7", "ProtocolVersion=Any", "NumberOfTries=1", "Timeout=100").operated(traceRoute))
			t.completed(t.notice("operate92"), traceRoute, "before")
			t.requested(t.Operate(traceRoute, "test92", "Host=198.51.100.7", "ProtocolVersion=Any").operated(traceRoute))
			t.completed(t.notice("operate92"), traceRoute, "test92")
			for name, want := range map[string]string{"NumberOfTries": "3", "Timeout": "5000"} {
				if got := t.cpe.Value(t.field.gateway.traceRoute() + name); got != want {
					t.Errorf("the CPE has made its test with %s %s, want %s", name, got, want)
				}
			}
		}},
		{number: "1.100", title: "Operate without an argument that is mandatory", play: func(t *trial) {
			t.subscribe("operate100", "OperationComplete", timer)
			a := t.Operate(timer, "test100")
			f := a.operated(timer).GetCmdFailure()
			a.code(timer, f.GetErrCode(), f.GetErrMsg(), usp.ErrInvalidCommandArguments)
			t.unchanged(requests, nil)
			if left := t.waiting("operate100"); len(left) > 0 {
				t.Errorf("the command completed: %v", left[0].msg)
			}
		}},
	}, append(
		without(notApplicable, "deprecated by the plan in favour of 1.79; the command is no longer in the data model", map[string]string{
			"1.63": "Operate with arguments, of the timer of a controller",
		}),
		without(notApplicable, "deleted from the plan", map[string]string{"1.69": "GetInstances of the root"})...)...)
}

// rebooted waits until the CPE has rebooted, once, and its agent answers.
func (t *trial) rebooted() {
	t.Helper()
	t.until("the CPE has rebooted", func() bool { return t.cpe.Called("Reboot") == 1 })
	t.cpe.AwaitIdle()
	t.value(endpointID)
}

// unanswered expects that a request had no answer up to now.
func (t *trial) unanswered(id string) {
	t.Helper()
	t.value(endpointID) // an answer of before has arrived by now
	if got := t.arrived(func(r received) bool { return r.msg.GetHeader().GetMsgId() == id }); len(got) > 0 {
		t.Errorf("the request was answered: %v", got[0].msg)
	}
}

// requested expects that an operation has a row in the Request table.
func (t *trial) requested(r *usppb.OperateResp_OperationResult) string {
	t.Helper()
	row := r.GetReqObjPath()
	if !inTable(row, requests) {
		t.Fatalf("the result is %v, want a row of %s", r, requests)
	}
	return row
}

// completed expects a notification to tell that an operation has succeeded.
func (t *trial) completed(n *usppb.Notify, command, key string) {
	t.Helper()
	o := n.GetOperComplete()
	if o.GetObjPath()+o.GetCommandName() != command || o.GetCommandKey() != key || o.GetReqOutputArgs() == nil {
		t.Errorf("notified of %v, want the completion of %s, %q", n, command, key)
	}
}
