package agent

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// attempt is one thing that a controller may or may not do. It returns "ok", what
// it was shown, or the code of its failure.
type attempt struct {
	name string
	try  func(b *bench) string
}

// failure is the error code of an answer to a change, "ok" if it has none.
func failure(body *usppb.Body) string {
	if e := body.GetError(); e != nil {
		return fmt.Sprint(e.GetErrCode())
	}
	return "ok"
}

// attempts are all ways in which a controller can touch a table, a command and an
// event of the device.
func attempts() []attempt {
	instances := func(b *bench, path string) string {
		r := b.ask(secondary, instancesReq(false, path)).GetResponse().GetGetInstancesResp().GetReqPathResults()[0]
		if r.GetErrCode() != 0 {
			return fmt.Sprint(r.GetErrCode())
		}
		var keys []string
		for _, c := range r.GetCurrInsts() {
			keys = append(keys, fmt.Sprint(len(c.GetUniqueKeys())))
		}
		return "rows with keys " + strings.Join(keys, ",")
	}
	supported := func(b *bench, path string) string {
		r := b.ask(secondary, supportedReq(true, true, true, true, true, path)).GetResponse().GetGetSupportedDmResp().GetReqObjResults()[0]
		if r.GetErrCode() != 0 {
			return fmt.Sprint(r.GetErrCode())
		}
		o := r.GetSupportedObjs()[0]
		text := fmt.Sprintf("%v, %d keys", o.GetAccess(), len(o.GetUniqueKeySets()))
		for _, p := range o.GetSupportedParams() {
			if p.GetParamName() == "SSID" {
				text += ", " + p.GetAccess().String()
			}
		}
		for _, c := range o.GetSupportedCommands() {
			text += ", " + c.GetCommandName()
		}
		for _, e := range o.GetSupportedEvents() {
			text += ", " + e.GetEventName()
		}
		return text
	}
	told := func(kind, reference string, ev func(b *bench) Event) func(b *bench) string {
		return func(b *bench) string {
			b.subscribe(secondary, kind, kind, reference, kv{param: "Persistent", value: "true"})
			b.raise(ev(b))
			b.settle()
			found := "-"
			for len(b.net.sent) > 0 {
				s := <-b.net.sent
				if n := s.msg.GetBody().GetRequest().GetNotify(); n != nil && s.to == secondary {
					found = "told"
					if v := n.GetValueChange(); v != nil {
						found = "told " + v.GetParamValue()
					}
					if c := n.GetObjCreation(); c != nil {
						found = fmt.Sprintf("told, %d keys", len(c.GetUniqueKeys()))
					}
				}
			}
			return found
		}
	}
	return []attempt{
		{"Get a parameter", func(b *bench) string { return b.seen("Device.WiFi.SSID.1.SSID") }},
		{"Get an object", func(b *bench) string { return b.seen("Device.WiFi.Radio.1.") }},
		{"Get by search", func(b *bench) string { return b.seen(`Device.WiFi.SSID.[SSID=="home"].Name`) }},
		{"Get by reference", func(b *bench) string { return b.seen("Device.WiFi.SSID.1.LowerLayers+.Name") }},
		{"GetInstances", func(b *bench) string { return instances(b, "Device.WiFi.SSID.") }},
		{"GetInstances of a row", func(b *bench) string { return instances(b, "Device.WiFi.SSID.1.") }},
		{"GetSupportedDM", func(b *bench) string { return supported(b, "Device.WiFi.SSID.{i}.") }},
		{"GetSupportedDM of a command", func(b *bench) string { return supported(b, "Device.Reboot()") }},
		{"Set", func(b *bench) string {
			return failure(b.ask(secondary, setReq(false, update("Device.WiFi.SSID.1.", kv{"SSID", "x", true}))))
		}},
		{"Add", func(b *bench) string { return failure(b.ask(secondary, addReq(false, create("Device.WiFi.SSID.")))) }},
		{"Add with a parameter", func(b *bench) string {
			return failure(b.ask(secondary, addReq(false, create("Device.WiFi.SSID.", kv{"SSID", "x", true}))))
		}},
		{"Delete", func(b *bench) string { return failure(b.ask(secondary, deleteReq(false, "Device.WiFi.SSID.2."))) }},
		{"Operate", func(b *bench) string {
			body := b.ask(secondary, operateReq("Device.Reboot()", "", true, nil))
			if f := body.GetResponse().GetOperateResp().GetOperationResults(); len(f) == 1 && f[0].GetCmdFailure() != nil {
				return fmt.Sprint(f[0].GetCmdFailure().GetErrCode())
			}
			return failure(body)
		}},
		{"ValueChange", told("ValueChange", "Device.WiFi.SSID.", func(b *bench) Event {
			return Event{Kind: ValueChanged, Ref: b.ref("Device.WiFi.SSID.{i}.SSID", 1), Value: "y"}
		})},
		{"ValueChange of what is secured", told("ValueChange", "Device.WiFi.Passphrase", func(b *bench) Event {
			return Event{Kind: ValueChanged, Ref: b.ref("Device.WiFi.Passphrase"), Value: "y"}
		})},
		{"ObjectCreation", told("ObjectCreation", "Device.WiFi.SSID.", func(b *bench) Event {
			return Event{Kind: ObjectCreated, Ref: b.ref("Device.WiFi.SSID.{i}.", 2)}
		})},
		{"ObjectDeletion", told("ObjectDeletion", "Device.WiFi.SSID.", func(b *bench) Event {
			return Event{Kind: ObjectDeleted, Ref: b.ref("Device.WiFi.SSID.{i}.", 2)}
		})},
		{"Event", told("Event", "Device.Boot!", func(b *bench) Event {
			return Event{Kind: Occurred, Ref: b.ref("Device.Boot!"), Args: map[string]string{"Cause": "LocalReboot"}}
		})},
	}
}

// TestRightsByMessage: each right alone, and what it lets a controller do with
// every message. What is not named is refused as without any right.
func TestRightsByMessage(t *testing.T) {
	none := map[string]string{
		"Get a parameter": "!7026", "Get an object": "!7026", "Get by search": "", "Get by reference": "!7026",
		"GetInstances": "7026", "GetInstances of a row": "7026", "GetSupportedDM": "7026", "GetSupportedDM of a command": "7026",
		"Set": "7026", "Add": "7026", "Add with a parameter": "7026", "Delete": "7026", "Operate": "7026",
		"ValueChange": "-", "ValueChange of what is secured": "-", "ObjectCreation": "-", "ObjectDeletion": "-", "Event": "-",
	}
	read := "Device.WiFi.SSID.1.SSID=home"
	for _, tc := range []struct {
		name, flags string // of Param, Obj, InstantiatedObj, CommandEvent
		want        map[string]string
	}{
		{"none", "---- ---- ---- ----", nil},
		{"Param r", "r--- ---- ---- ----", map[string]string{"Get a parameter": read, "Get by reference": "Device.WiFi.Radio.1.Name=radio0",
			"Set": "7006"}},
		{"Param w", "-w-- ---- ---- ----", map[string]string{"Set": "ok"}},
		{"Param n", "---n ---- ---- ----", map[string]string{"ValueChange": "told y", "ValueChange of what is secured": "told "}},
		{"Obj r", "---- r--- ---- ----", map[string]string{"Get an object": "", "GetInstances": "rows with keys ", "GetInstances of a row": "7016",
			"GetSupportedDM": "OBJ_READ_ONLY, 0 keys", "Set": "7021", "Add": "7006", "Add with a parameter": "7006", "Delete": "7006"}},
		{"Obj w", "---- -w-- ---- ----", map[string]string{"Add": "ok", "Add with a parameter": "7021",
			"GetInstances": "7026", "Delete": "7026"}},
		{"Obj n", "---- ---n ---- ----", map[string]string{"ObjectCreation": "told, 0 keys"}},
		{"InstantiatedObj r", "---- ---- r--- ----", map[string]string{"GetInstances": "rows with keys 0,0,0", "GetInstances of a row": "rows with keys 0,0"}},
		{"InstantiatedObj w", "---- ---- -w-- ----", map[string]string{"Delete": "ok"}},
		{"InstantiatedObj n", "---- ---- ---n ----", map[string]string{"ObjectDeletion": "told"}},
		{"CommandEvent r", "---- ---- ---- r---", map[string]string{"Operate": "7006", "GetSupportedDM of a command": "OBJ_READ_ONLY, 0 keys, Reboot()"}},
		{"CommandEvent x", "---- ---- ---- --x-", map[string]string{"Operate": "ok"}},
		{"CommandEvent n", "---- ---- ---- ---n", map[string]string{"Event": "told"}},
		{"flags without a meaning", "--x- --x- --x- -w--", nil},
		{"read", "r--- r--- r--- r---", map[string]string{
			"Get a parameter": read, "Get an object": "Device.WiFi.Radio.1.Channel=6\nDevice.WiFi.Radio.1.Name=radio0",
			"Get by search": "Device.WiFi.SSID.1.Name=wlan0", "Get by reference": "Device.WiFi.Radio.1.Name=radio0",
			"GetInstances": "rows with keys 2,0,2", "GetInstances of a row": "rows with keys 2,0",
			"GetSupportedDM": "OBJ_READ_ONLY, 2 keys, PARAM_READ_ONLY", "GetSupportedDM of a command": "OBJ_READ_ONLY, 0 keys, Reboot()",
			"Set": "7006", "Add": "7006", "Add with a parameter": "7006", "Delete": "7006", "Operate": "7006",
		}},
		{"all", "rwxn rwxn rwxn rwxn", map[string]string{
			"Get a parameter": read, "Get an object": "Device.WiFi.Radio.1.Channel=6\nDevice.WiFi.Radio.1.Name=radio0",
			"Get by search": "Device.WiFi.SSID.1.Name=wlan0", "Get by reference": "Device.WiFi.Radio.1.Name=radio0",
			"GetInstances": "rows with keys 2,0,2", "GetInstances of a row": "rows with keys 2,0",
			"GetSupportedDM": "OBJ_ADD_DELETE, 2 keys, PARAM_READ_WRITE", "GetSupportedDM of a command": "OBJ_READ_ONLY, 0 keys, Reboot()",
			"Set": "ok", "Add": "ok", "Add with a parameter": "ok", "Delete": "ok", "Operate": "ok",
			"ValueChange": "told y", "ValueChange of what is secured": "told ", "ObjectCreation": "told, 2 keys", "ObjectDeletion": "told", "Event": "told",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, a := range attempts() {
				b := newBench(t)
				f := strings.Fields(tc.flags)
				b.allow("Device.WiFi.,Device.Reboot(),Device.Boot!", f[0], f[1], f[2], f[3])
				b.allow("Device.LocalAgent.Subscription.", "rw--", "rw--", "r---", "----")
				want, named := tc.want[a.name]
				if !named {
					want = none[a.name]
				}
				if got := a.try(b); got != want {
					t.Errorf("%s: got %q, want %q", a.name, got, want)
				}
			}
		})
	}
}

// A row that a controller may know of is all that it learns of a table, whichever
// message asks.
func TestRightsOnOneRow(t *testing.T) {
	b := newBench(t)
	b.allow("Device.WiFi.SSID.2.", "rw-n", "r---", "rw-n", "----")
	for path, want := range map[string]string{
		"Device.WiFi.SSID.*.SSID": "Device.WiFi.SSID.2.SSID=guest", "Device.WiFi.SSID.1.SSID": "!7026", "Device.WiFi.SSID.9.SSID": "!7026",
		"Device.WiFi.SSID.": "!7026", `Device.WiFi.SSID.[Name!="x"].Enable`: "Device.WiFi.SSID.2.Enable=false",
		`Device.WiFi.SSID.[Name=="wlan0"].Enable`: "!7026",
	} {
		if got := b.seen(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	set := b.ask(secondary, setReq(false, update("Device.WiFi.SSID.*.", kv{"SSID", "x", true}))).GetResponse().GetSetResp().GetUpdatedObjResults()
	if r := set[0].GetOperStatus().GetOperSuccess().GetUpdatedInstResults(); len(r) != 1 || r[0].GetAffectedPath() != "Device.WiFi.SSID.2." {
		t.Errorf("Set: %v", set)
	}
	rows := b.ask(secondary, instancesReq(true, "Device.WiFi.SSID.")).GetResponse().GetGetInstancesResp().GetReqPathResults()[0].GetCurrInsts()
	if len(rows) != 1 || rows[0].GetInstantiatedObjPath() != "Device.WiFi.SSID.2." {
		t.Errorf("GetInstances: %v", rows)
	}
	wantError(t, b.ask(secondary, setReq(false, update("Device.WiFi.SSID.1.", kv{"SSID", "x", true}))), 7026, "Device.WiFi.SSID.1.")
	wantError(t, b.ask(secondary, deleteReq(false, "Device.WiFi.SSID.1.")), 7026, "Device.WiFi.SSID.1.")
	sup := b.ask(secondary, supportedReq(true, true, true, true, true, "Device.WiFi.SSID.{i}.")).GetResponse().GetGetSupportedDmResp().GetReqObjResults()[0]
	if sup.GetErrCode() != 0 || sup.GetSupportedObjs()[0].GetAccess() != usppb.GetSupportedDMResp_OBJ_DELETE_ONLY {
		t.Errorf("GetSupportedDM: %v", sup)
	}
	del := b.ask(secondary, deleteReq(false, "Device.WiFi.SSID.*.")).GetResponse().GetDeleteResp().GetDeletedObjResults()
	if got := del[0].GetOperStatus().GetOperSuccess().GetAffectedPaths(); len(got) != 1 || got[0] != "Device.WiFi.SSID.2." {
		t.Errorf("Delete: %v", del)
	}
}

// A search tells nothing of parameters that may not be read: neither their values
// nor their types.
func TestSearchTellsNothing(t *testing.T) {
	b := newBench(t)
	b.allow("Device.WiFi.", "r---", "r---", "r---", "----")
	b.allow("Device.WiFi.SSID.*.SSID,Device.WiFi.SSID.*.Stats.", "----", "----", "----", "----")
	b.allow("Device.WiFi.SSID.*.LowerLayers", "----", "----", "----", "----")
	for _, expr := range []string{`SSID=="home"`, `SSID!="home"`, `SSID>"a"`, "Stats.BytesSent>0", `Stats.BytesSent>"x"`, "LowerLayers+.Channel>0"} {
		if got := b.seen("Device.WiFi.SSID.[" + expr + "].Enable"); got != "" {
			t.Errorf("%s: %s", expr, got)
		}
	}
}

// TP-469 2.23, 2.24 for the right to create: what a search path matches is refused
// table by table.
func TestAddWhereCreationIsNotAllowedEverywhere(t *testing.T) {
	b := newBench(t)
	b.allow("Device.LocalAgent.Controller.", "rw--", "rw--", "rw--", "----")
	b.allow("Device.LocalAgent.Controller.1.BootParameter.", "rw--", "r---", "rw--", "----")
	boot := create("Device.LocalAgent.Controller.*.BootParameter.", kv{"ParameterName", "Device.DeviceInfo.UpTime", true})
	wantError(t, b.ask(secondary, addReq(false, boot)), 7006, "Device.LocalAgent.Controller.1.BootParameter.")
	res := addResults(t, b.ask(secondary, addReq(true, boot)))
	if len(res) != 2 || res[0].GetOperStatus().GetOperFailure().GetErrCode() != 7006 || res[1].GetOperStatus().GetOperSuccess() == nil {
		t.Errorf("as far as possible: %v", res)
	}
}

// Boot! carries those boot parameters that its receiver may read, whoever asked
// for them.
func TestBootParametersAreThoseOfTheReceiver(t *testing.T) {
	b := newBench(t)
	b.allow("Device.LocalAgent.Subscription.", "rw--", "rw--", "r---", "----")
	b.allow("Device.Boot!", "----", "----", "----", "---n")
	for _, p := range []string{"Device.DeviceInfo.UpTime", "Device.WiFi.SSID.1.SSID", "Device.WiFi.Passphrase"} {
		b.added(primary, create("Device.LocalAgent.Controller.2.BootParameter.", kv{"Enable", "true", true}, kv{"ParameterName", p, true}))
	}
	b.subscribe(secondary, "boot", "Event", "Device.Boot!", kv{param: "Persistent", value: "true"})
	b.raise(Event{Kind: Occurred, Ref: b.ref("Device.Boot!")})
	n, _ := b.notify(secondary)
	if got := n.GetEvent().GetParams()["ParameterMap"]; got != `{"Device.DeviceInfo.UpTime":"77"}` {
		t.Errorf("ParameterMap %s", got)
	}
}

// A subscription outlives the roles it was made under; what it tells follows them,
// also what waits to be sent again.
func TestNotificationsFollowTheRole(t *testing.T) {
	b := newBench(t)
	b.allow("Device.LocalAgent.Subscription.", "rw--", "rw--", "r---", "----")
	right := b.allow("Device.WiFi.SSID.", "r--n", "r---", "r---", "----")
	b.subscribe(secondary, "s", "ValueChange", "Device.WiFi.SSID.*.SSID", kv{"NotifRetry", "true", true})
	b.change("Device.WiFi.SSID.{i}.SSID", "a", 1)
	if n, _ := b.notify(secondary); n.GetValueChange().GetParamValue() != "a" {
		t.Fatalf("got %v", n)
	}
	b.ask(primary, deleteReq(false, right))
	b.change("Device.WiFi.SSID.{i}.SSID", "b", 1)
	b.clock.Advance(time.Hour)
	b.due()
	b.silence()
	left, err := b.host.loadWaiting(context.Background(), testAgent)
	if err != nil || left.count != 0 {
		t.Errorf("%d notifications wait, %v", left.count, err)
	}
}

// TriggerConfigSettings are applied with the rights of the subscription's
// recipient, so nobody of fewer rights may write them.
func TestTriggersOfOthers(t *testing.T) {
	b := newBench(t)
	b.allow("Device.LocalAgent.Subscription.", "rw--", "rw--", "rw--", "----")
	row := b.subscribe(primary, "p", "ValueChange", "Device.DeviceInfo.UpTime")
	trigger := setReq(false, update(row, kv{"TriggerAction", "Config", true}, kv{"TriggerConfigSettings", "Device.WiFi.SSID.1.SSID=stolen", true}))
	wantError(t, b.ask(secondary, trigger), 7006, row+"TriggerAction")
	if body := b.ask(secondary, setReq(false, update(row, kv{"Enable", "false", true}))); failure(body) != "ok" {
		t.Errorf("what is no trigger: %v", body)
	}
	own := b.subscribe(secondary, "s", "ValueChange", "Device.DeviceInfo.UpTime")
	trigger.GetSet().UpdateObjs[0].ObjPath = own
	if body := b.ask(secondary, trigger); failure(body) != "ok" {
		t.Errorf("its own: %v", body)
	}
}

// The example of TR-369 "A Controller's Role": each role decides by the permission
// of highest Order, and what they allow is added up.
func TestUnionOfRoles(t *testing.T) {
	b := newBench(t)
	const table = "Device.LocalAgent.ControllerTrust.Role."
	role := func(name string, permissions ...[3]string) string {
		row := b.added(primary, create(table, kv{"Name", name, true}, kv{"Enable", "true", true}))
		for _, p := range permissions {
			b.added(primary, create(row+"Permission.", kv{"Enable", "true", true}, kv{"Targets", p[0], true}, kv{"Order", p[1], true}, kv{"Param", p[2], true}))
		}
		return strings.TrimSuffix(row, ".")
	}
	a := role("A", [3]string{"Device.LocalAgent", "3", "r---"}, [3]string{"Device.LocalAgent.Controller", "55", "r-xn"})
	c := role("B", [3]string{"Device.LocalAgent", "20", "r---"}, [3]string{"Device.LocalAgent.Controller", "78", "----"})
	b.ask(primary, setReq(false, update("Device.LocalAgent.Controller.2.", kv{"AssignedRole", a + "," + c, true})))
	got := b.access(secondary)
	param := dm.Ref{Node: b.host.spec.schema.Lookup(controllerTable + "Enable"), Inst: dm.Inst(1)}
	if r := got.on(param); r&(readParam|notifyParam) != readParam|notifyParam || r&writeParam != 0 {
		t.Errorf("rights on a parameter of the table: %b", r)
	}
	b.ask(primary, setReq(false, update("Device.LocalAgent.Controller.2.", kv{"AssignedRole", c, true})))
	if r := b.access(secondary).on(param); r != 0 {
		t.Errorf("with role B alone: %b", r)
	}
	b.ask(primary, setReq(false, update(c+".", kv{"Enable", "false", true})))
	if r := b.access(secondary).on(dm.Ref{Node: b.host.spec.schema.Lookup("Device.LocalAgent.EndpointID")}); r != 0 {
		t.Errorf("with a role that is not enabled: %b", r)
	}
}

// A banned controller is not answered and not told anything; the banned role goes
// with no other.
func TestBannedRole(t *testing.T) {
	b := newBench(t)
	banned := strings.TrimSuffix(b.added(primary, create("Device.LocalAgent.ControllerTrust.Role.", kv{"Name", "Banned", true}, kv{"Enable", "true", true})), ".")
	b.ask(primary, setReq(false, update("Device.LocalAgent.ControllerTrust.", kv{"BannedRole", banned, true})))
	b.allow("Device.LocalAgent.Subscription.", "rw--", "rw--", "r---", "----")
	b.allow("Device.DeviceInfo.UpTime", "r--n", "r---", "r---", "----")
	b.subscribe(secondary, "s", "ValueChange", "Device.DeviceInfo.UpTime")
	both := setReq(false, update("Device.LocalAgent.Controller.2.", kv{"AssignedRole", rolePath(untrustedRole) + "," + banned, true}))
	wantError(t, b.ask(primary, both), 7021, "Device.LocalAgent.Controller.2.AssignedRole")
	b.ask(primary, setReq(false, update("Device.LocalAgent.Controller.2.", kv{"AssignedRole", banned, true})))
	b.change("Device.DeviceInfo.UpTime", "78")
	b.deliverRequest(secondary, getReq("Device.DeviceInfo.UpTime"))
	b.settle()
	for len(b.net.sent) > 0 {
		if s := <-b.net.sent; s.to == secondary {
			t.Errorf("sent to the banned controller: %v", s.msg)
		}
	}
	if g := b.value("Device.LocalAgent.Controller.2.Enable"); g != "true" {
		t.Errorf("Enable is %s", g)
	}
}

// What a role or certificate that is deleted was referred to as is referred to no
// more (TR-106 3.2.4). Who loses the last role is untrusted.
func TestReferencesToDeletedRoles(t *testing.T) {
	b := newBench(t)
	const trust = "Device.LocalAgent.ControllerTrust."
	row := b.added(primary, create(trust+"Role.", kv{"Name", "Gone", true}, kv{"Enable", "true", true}))
	ref := strings.TrimSuffix(row, ".")
	challenge := b.added(primary, create(trust+"Challenge.", kv{"Role", row, true}))
	b.ask(primary, setReq(false,
		update(trust, kv{"SecuredRoles", rolePath(fullAccessRole) + "," + row, true}),
		update("Device.LocalAgent.Controller.2.", kv{"AssignedRole", ref, true})))
	if g := b.value(trust + "SecuredRoles"); g != rolePath(fullAccessRole)+","+ref {
		t.Errorf("SecuredRoles %q", g)
	}
	b.ask(primary, deleteReq(false, row))
	for path, want := range map[string]string{
		trust + "SecuredRoles": rolePath(fullAccessRole), challenge + "Role": "", "Device.LocalAgent.Controller.2.AssignedRole": rolePath(untrustedRole),
	} {
		if got := b.value(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}
