package agent

import (
	"context"
	"testing"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

const permissions = "Device.LocalAgent.ControllerTrust.Role.2.Permission."

// allow gives the untrusted role, which the second controller has, a permission.
func (b *bench) allow(targets, param, obj, inst, command string) string {
	return b.added(primary, create(permissions, kv{"Enable", "true", true}, kv{"Targets", targets, true}, kv{"Param", param, true},
		kv{"Obj", obj, true}, kv{"InstantiatedObj", inst, true}, kv{"CommandEvent", command, true}))
}

// access is what a controller may do on the agent's device.
func (b *bench) access(of usp.EndpointID) *access {
	b.t.Helper()
	a, err := b.host.agents.acquire(context.Background(), testAgent)
	if err != nil {
		b.t.Fatal(err)
	}
	defer b.host.agents.release(a)
	d, err := b.host.open(context.Background(), a)
	if err != nil {
		b.t.Fatal(err)
	}
	return d.index().controllers[of].roles.in(d)
}

func (b *bench) seen(path string) string {
	b.t.Helper()
	return b.seenBy(secondary, path)
}

func (b *bench) seenBy(by usp.EndpointID, path string) string {
	b.t.Helper()
	return got(b.ask(by, getReq(path)).GetResponse().GetGetResp().GetReqPathResults()[0])
}

// The untrusted role sees what the device is, and nothing else.
func TestUntrustedRole(t *testing.T) {
	b := newBench(t)
	if g := b.seen("Device.DeviceInfo.Manufacturer"); g != "Device.DeviceInfo.Manufacturer=Acme" {
		t.Errorf("DeviceInfo: %s", g)
	}
	for _, p := range []string{"Device.WiFi.", "Device.WiFi.SSID.1.SSID", "Device.LocalAgent.EndpointID", "Device."} {
		if g := b.seen(p); g != "!7026" { // R-GET.1
			t.Errorf("%s: %s", p, g)
		}
	}
	if g := b.seen(`Device.WiFi.SSID.[SSID=="home"].Name`); g != "" {
		t.Errorf("search: %s", g)
	}
	dm := b.ask(secondary, supportedReq(false, true, true, true, true, "Device.DeviceInfo.", "Device.WiFi.")).GetResponse().GetGetSupportedDmResp().GetReqObjResults()
	if dm[0].GetErrCode() != 0 || dm[1].GetErrCode() != 7026 { // R-GSP.0
		t.Errorf("GetSupportedDM: %v", dm)
	}
	wantError(t, b.ask(secondary, setReq(false, update("Device.DeviceInfo.", kv{"FriendlyName", "x", true}))), 7006, "Device.DeviceInfo.FriendlyName")
	wantError(t, b.ask(secondary, operateReq("Device.Reboot()", "", true, nil)), 7026, "Device.Reboot()")
	if len(b.model.operated) != 0 {
		t.Error("command was run")
	}
}

// TP-469 2.11–2.16, 2.21: each right alone, on the agent's and the device's
// objects.
func TestPermissions(t *testing.T) {
	b := newBench(t)
	b.allow("Device.WiFi.", "r---", "r---", "r---", "----")
	if g := b.seen("Device.WiFi.SSID.1.SSID"); g != "Device.WiFi.SSID.1.SSID=home" {
		t.Errorf("read: %s", g)
	}
	add := addReq(false, create("Device.WiFi.SSID."))
	wantError(t, b.ask(secondary, add), 7006, "Device.WiFi.SSID.")
	wantError(t, b.ask(secondary, deleteReq(false, "Device.WiFi.SSID.1.")), 7006, "Device.WiFi.SSID.1.")
	wantError(t, b.ask(secondary, setReq(false, update("Device.WiFi.SSID.1.", kv{"SSID", "x", true}))), 7006, "Device.WiFi.SSID.1.SSID")

	b.allow("Device.WiFi.SSID.", "rw--", "rw--", "rw--", "----")
	if body := b.ask(secondary, add); body.GetResponse() == nil {
		t.Errorf("add: %v", body)
	}
	if body := b.ask(secondary, setReq(false, update("Device.WiFi.SSID.1.", kv{"SSID", "x", true}))); body.GetResponse() == nil {
		t.Errorf("set: %v", body)
	}
	// A permission of higher Order for one row, and for one parameter of all.
	b.allow("Device.WiFi.SSID.1.", "r---", "r---", "r---", "----")
	b.allow("Device.WiFi.SSID.*.Name", "----", "r---", "r---", "----")
	wantError(t, b.ask(secondary, setReq(false, update("Device.WiFi.SSID.1.", kv{"SSID", "y", true}))), 7006, "Device.WiFi.SSID.1.SSID")
	if body := b.ask(secondary, setReq(false, update("Device.WiFi.SSID.2.", kv{"SSID", "y", true}))); body.GetResponse() == nil {
		t.Errorf("set of the other row: %v", body)
	}
	if g := b.seen("Device.WiFi.SSID.2.Name"); g != "!7026" {
		t.Errorf("hidden parameter: %s", g)
	}
	if g := b.seen(`Device.WiFi.SSID.[Name=="wlan1"].SSID`); g != "!7026" {
		t.Errorf("hidden parameter in an expression: %s", g) // R-GIN.0
	}
	if keys := b.ask(secondary, instancesReq(true, "Device.WiFi.SSID.2.")).GetResponse(); keys == nil {
		t.Error("no answer")
	}
	for _, c := range b.ask(secondary, instancesReq(true, "Device.WiFi.SSID.")).GetResponse().GetGetInstancesResp().GetReqPathResults()[0].GetCurrInsts() {
		if _, shown := c.GetUniqueKeys()["Name"]; shown { // R-GIN.1
			t.Errorf("hidden key shown: %v", c)
		}
	}
	if body := b.ask(secondary, deleteReq(false, "Device.WiFi.SSID.2.")); body.GetResponse() == nil {
		t.Errorf("delete: %v", body)
	}
}

// TP-469 2.17, 2.18.
func TestPermissionToOperate(t *testing.T) {
	b := newBench(t)
	b.allow("Device.Reboot()", "----", "r---", "r---", "r---")
	res := b.ask(secondary, operateReq("Device.Reboot()", "", true, nil)).GetResponse().GetOperateResp().GetOperationResults()
	if len(res) != 1 || res[0].GetCmdFailure().GetErrCode() != 7006 {
		t.Errorf("not allowed: %v", res)
	}
	b.allow("Device.Reboot()", "----", "r---", "r---", "r-x-")
	res = b.ask(secondary, operateReq("Device.Reboot()", "", true, nil)).GetResponse().GetOperateResp().GetOperationResults()
	if res[0].GetCmdFailure() != nil || len(b.model.operated) != 1 {
		t.Errorf("allowed: %v", res)
	}
}

// TP-469 2.19, 2.20: no notification without the right.
func TestPermissionToNotify(t *testing.T) {
	b := newBench(t)
	b.allow("Device.LocalAgent.Subscription.", "rwxn", "rwxn", "rwxn", "rwxn")
	b.allow("Device.DeviceInfo.", "r---", "r---", "r---", "r---")
	b.subscribe(secondary, "s", "ValueChange", "Device.DeviceInfo.FriendlyName")
	b.change("Device.DeviceInfo.FriendlyName", "quiet")
	b.silence()
	b.allow("Device.DeviceInfo.FriendlyName", "r--n", "r---", "r---", "r---")
	b.change("Device.DeviceInfo.FriendlyName", "loud")
	if n, _ := b.notify(secondary); n.GetValueChange().GetParamValue() != "loud" {
		t.Errorf("got %v", n)
	}
}

// TP-469 2.27: secured parameters, with two roles on one controller.
func TestSecuredRole(t *testing.T) {
	b := newBench(t)
	role := b.added(primary, create("Device.LocalAgent.ControllerTrust.Role.", kv{"Name", "Secrets", true}, kv{"Enable", "true", true}))
	b.added(primary, create(role+"Permission.", kv{"Enable", "true", true}, kv{"Targets", "Device.WiFi.", true}, kv{"Param", "r---", true}, kv{"Obj", "r---", true}))
	b.ask(primary, setReq(false, update("Device.LocalAgent.Controller.2.", kv{"AssignedRole", "Device.LocalAgent.ControllerTrust.Role.2," + role, true})))
	if g := b.seen("Device.WiFi.Passphrase"); g != "Device.WiFi.Passphrase=" {
		t.Errorf("before: %s", g)
	}
	b.ask(primary, setReq(false, update("Device.LocalAgent.ControllerTrust.", kv{"SecuredRoles", role, true})))
	if g := b.seen("Device.WiFi.Passphrase"); g != "Device.WiFi.Passphrase=secret" {
		t.Errorf("with the role: %s", g)
	}
	if g := b.seen("Device.DeviceInfo.Manufacturer"); g != "Device.DeviceInfo.Manufacturer=Acme" {
		t.Errorf("union of roles: %s", g)
	}
	if g := b.value("Device.WiFi.Passphrase"); g != "" {
		t.Errorf("without the role: %s", g)
	}
}

func TestRoleReferencesAreChecked(t *testing.T) {
	b := newBench(t)
	wantError(t, b.ask(primary, setReq(false, update("Device.LocalAgent.Controller.2.", kv{"AssignedRole", "Device.LocalAgent.ControllerTrust.Role.77", true}))),
		7021, "Device.LocalAgent.Controller.2.AssignedRole")
	wantError(t, b.ask(primary, addReq(false, create(permissions, kv{"Param", "rx", true}))), 7021, permissions+"Param")
	wantError(t, b.ask(primary, addReq(false, create(permissions, kv{"Targets", "Device..", true}))), 7021, permissions+"Targets")
}

// A controller that is added without a role is untrusted.
func TestAddedControllerIsUntrusted(t *testing.T) {
	b := newBench(t)
	ctl := b.added(primary, create("Device.LocalAgent.Controller.", kv{"EndpointID", "proto::third", true}, kv{"Enable", "true", true}))
	if v := b.value(ctl + "AssignedRole"); v != rolePath(untrustedRole) {
		t.Errorf("role %q", v)
	}
	var body *usppb.Body = b.ask("proto::third", getReq("Device.WiFi."))
	if got(body.GetResponse().GetGetResp().GetReqPathResults()[0]) != "!7026" {
		t.Errorf("got %v", body)
	}
}
