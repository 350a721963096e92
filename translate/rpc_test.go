package translate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
)

const own = "Device.X_USPBRIDGE_CWMP."

// Each RPC of TR-069 that has no standard command has one of the bridge's, with
// its arguments in the supported data model.
func TestRPCCommands(t *testing.T) {
	r := newBench(t, nil)
	for _, c := range []struct {
		command string
		args    map[string]string
		sent    cwmp.Message
		out     map[string]string // nil: none is looked at
	}{
		{"GetRPCMethods()", nil, &cwmp.GetRPCMethods{}, nil},
		{"ScheduleInform()", map[string]string{"DelaySeconds": "3600", "CommandKey": "k"}, &cwmp.ScheduleInform{DelaySeconds: 3600, CommandKey: "k"}, map[string]string{}},
		{"GetQueuedTransfers()", nil, &cwmp.GetQueuedTransfers{}, map[string]string{}},
		{"GetAllQueuedTransfers()", nil, &cwmp.GetAllQueuedTransfers{}, map[string]string{}},
		{"CancelTransfer()", map[string]string{"CommandKey": "another's"}, &cwmp.CancelTransfer{CommandKey: "another's"}, map[string]string{}},
		{"GetOptions()", map[string]string{"OptionName": "Voice"}, &cwmp.GetOptions{OptionName: "Voice"}, map[string]string{
			"Option.1.OptionName": "Voice", "Option.1.VoucherSN": "1", "Option.1.State": "1", "Option.1.Mode": "1", "Option.1.StartDate": unknownTime,
			"Option.1.ExpirationDate": unknownTime, "Option.1.IsTransferable": "false"}},
		{"SetVouchers()", map[string]string{"Voucher.1.Voucher": "AAAA", "Voucher.2.Voucher": "BBBB"}, &cwmp.SetVouchers{Vouchers: []string{"AAAA", "BBBB"}}, map[string]string{}},
	} {
		t.Run(c.command, func(t *testing.T) {
			_, out, err := r.operate(own+c.command, c.args)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.out, out); c.out != nil && len(c.out)+len(out) > 0 && diff != "" {
				t.Error(diff)
			}
			journal := r.cpe.Journal()
			if diff := cmp.Diff(c.sent, journal[len(journal)-1].Request); diff != "" {
				t.Error(diff)
			}
			node := r.model().Schema().Lookup(own + c.command)
			for name := range c.args {
				declares(t, node.Path, node.InArgs, name)
			}
			for name := range out {
				declares(t, node.Path, node.OutArgs, name)
			}
			if !node.Async {
				t.Error("it is not asynchronous")
			}
		})
	}
	_, out, err := r.operate(own+"GetRPCMethods()", nil)
	if err != nil || out["Method.1.Name"] != "GetRPCMethods" {
		t.Errorf("methods %v, %v", out, err)
	}
}

// declares fails the test if an argument is not in the supported data model.
func declares(t *testing.T, command string, declared []string, name string) {
	t.Helper()
	parts := strings.Split(name, ".")
	for i := range parts {
		if strings.Trim(parts[i], "0123456789") == "" {
			parts[i] = "{i}"
		}
	}
	schema := strings.Join(parts, ".")
	for _, d := range declared {
		if d == schema {
			return
		}
	}
	t.Errorf("%s does not declare %s", command, schema)
}

// A refusal of each RPC has the fault in it, for all faults of TR-069.
func TestRPCFaults(t *testing.T) {
	r := newBench(t, nil)
	code := cwmp.FaultMethodNotSupported
	for _, c := range []struct {
		command string
		args    map[string]string
	}{
		{"Device.Reboot()", nil}, {"Device.FactoryReset()", nil}, {own + "GetRPCMethods()", nil},
		{own + "ScheduleInform()", map[string]string{"DelaySeconds": "1"}}, {own + "GetQueuedTransfers()", nil},
		{own + "GetAllQueuedTransfers()", nil}, {own + "CancelTransfer()", map[string]string{"CommandKey": "k"}},
		{own + "GetOptions()", nil}, {own + "SetVouchers()", map[string]string{"Voucher.1.Voucher": "AAAA"}},
	} {
		rpc := strings.TrimSuffix(c.command[strings.LastIndexByte(c.command, '.')+1:], "()")
		r.behave(cpesim.Profile{RefuseWith: map[string]cwmp.FaultCode{rpc: code}})
		_, _, err := r.operate(c.command, c.args)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("CWMP fault %d", code)) {
			t.Errorf("%s refused with %d: %v", rpc, code, err)
		}
		code++
	}
}

func TestRPCArguments(t *testing.T) {
	r := newBench(t, nil)
	for _, c := range []struct {
		command string
		args    map[string]string
	}{
		{"ScheduleInform()", map[string]string{"DelaySeconds": "0"}},
		{"ScheduleInform()", map[string]string{"DelaySeconds": "soon"}},
		{"ScheduleInform()", map[string]string{"DelaySeconds": "1", "CommandKey": strings.Repeat("k", 33)}},
		{"ScheduleInform()", map[string]string{"DelaySeconds": "1", "CommandKey": "a\x01b"}},
		{"SetVouchers()", nil},
		{"SetVouchers()", map[string]string{"Voucher.1.Voucher": "no base64"}},
		{"ChangeDUState()", nil},
		{"ChangeDUState()", map[string]string{"Operation.1.Kind": "Explode", "Operation.1.URL": "x"}},
		{"ChangeDUState()", map[string]string{"Operation.1.Kind": "Install"}},
		{"ChangeDUState()", map[string]string{"Operation.1.Kind": "Uninstall"}},
	} {
		_, _, err := r.operate(own+c.command, c.args)
		if usp.AsError(err, "").Code != usp.ErrInvalidCommandArguments {
			t.Errorf("%s %v: %v", c.command, c.args, err)
		}
	}
}

// What may have been done is not done again unasked; what does no harm is.
func TestRPCWhoseAnswerIsLost(t *testing.T) {
	r := newBench(t, &cpesim.Profile{DieAfter: "ScheduleInform", DieOnce: true})
	if err := r.insist(own+"ScheduleInform()", map[string]string{"DelaySeconds": "3600"}); err == nil || !strings.Contains(err.Error(), "may have acted") {
		t.Errorf("got %v", err)
	}
	if n := r.calls("ScheduleInform"); n != 1 {
		t.Errorf("carried out %d times", n)
	}
	r = newBench(t, &cpesim.Profile{DieAt: "GetOptions", DieOnce: true})
	if err := r.insist(own+"GetOptions()", nil); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestChangeDUState(t *testing.T) {
	const uuid = "d9e24f6c-0fa5-5a7c-9eb9-9c3e1a1b0a11"
	install := map[string]string{"Operation.1.Kind": "Install", "Operation.1.URL": "http://files.example/a.pkg", "Operation.1.UUID": uuid,
		"Operation.1.Username": "u", "Operation.1.Password": "p"}
	for _, c := range []struct {
		name    string
		profile *cpesim.Profile
		code    usp.ErrorCode
		says    string
		sends   int
	}{
		{"done", nil, 0, "", 1},
		{"told twice", &cpesim.Profile{LoseResponses: true}, 0, "", 1},
		{"answer lost", &cpesim.Profile{DieAfter: "ChangeDUState", DieOnce: true}, 0, "", 1},
		{"failed", &cpesim.Profile{FailTransfers: cwmp.FaultSystemResourcesExceeded}, usp.ErrCommandFailure, "9027", 1},
		{"refused", &cpesim.Profile{RefuseWith: map[string]cwmp.FaultCode{"ChangeDUState": cwmp.FaultResourcesExceeded}}, usp.ErrResourcesExceeded, "9004", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newBench(t, c.profile)
			request := r.detached(own+"ChangeDUState()", install)
			r.until("it ends", func() bool { r.inform(); return r.record().operation(request) == nil })
			end := r.ended(request)
			if c.code == 0 && (end.Err != nil || end.Args["Result.1.UUID"] != uuid || end.Args["Result.1.CurrentState"] != "Installed") {
				t.Errorf("ended %v with %v", end.Err, end.Args)
			}
			if c.code != 0 && (usp.AsError(end.Err, "").Code != c.code || !strings.Contains(end.Err.Error(), c.says)) {
				t.Errorf("ended %v, want %d with %s", end.Err, c.code, c.says)
			}
			if n := r.calls("ChangeDUState"); n != c.sends {
				t.Errorf("the CPE was told %d times", n)
			}
			told := r.heard.all(agent.Occurred, "DUStateChange!")
			if refused := c.name == "refused"; refused != (len(told) == 0) || len(told) > 1 || !refused && (told[0].Args["UUID"] != uuid || told[0].Args["OperationPerformed"] != "Install") {
				t.Errorf("told %+v", told)
			}
		})
	}
}
