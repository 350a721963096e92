package agent

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

const subscriptions = "Device.LocalAgent.Subscription."

func sub(id string, more ...kv) []kv {
	return append([]kv{
		{param: "Enable", value: "true"}, {param: "ID", value: id}, {param: "NotifType", value: "ValueChange"},
		{param: "ReferenceList", value: "Device.LocalAgent.SoftwareVersion", required: true},
	}, more...)
}

func addResults(t *testing.T, body *usppb.Body) []*usppb.AddResp_CreatedObjectResult {
	t.Helper()
	if body.GetResponse().GetAddResp() == nil {
		t.Fatalf("no AddResp: %v", body)
	}
	return body.GetResponse().GetAddResp().GetCreatedObjResults()
}

// wantError checks an Error message: the parameters at fault, by whole path.
func wantError(t *testing.T, body *usppb.Body, code uint32, paths ...string) {
	t.Helper()
	e := body.GetError()
	if e == nil || code != 0 && e.GetErrCode() != code || e.GetErrMsg() == "" {
		t.Fatalf("want Error %d, got %v", code, body)
	}
	if len(e.GetParamErrs()) != len(paths) {
		t.Fatalf("want errors of %v, got %v", paths, e)
	}
	for i, p := range e.GetParamErrs() {
		if p.GetParamPath() != paths[i] || p.GetErrCode() == 0 || p.GetErrMsg() == "" {
			t.Errorf("want error of %s, got %v", paths[i], p)
		}
	}
}

func (b *bench) countSubscriptions() string {
	return b.value("Device.LocalAgent.SubscriptionNumberOfEntries")
}

// TP-469 1.1, 1.2, 1.5, 1.81.
func TestAddSucceeds(t *testing.T) {
	for _, partial := range []bool{false, true} {
		b := newBench(t)
		res := addResults(t, b.ask(primary, addReq(partial, create(subscriptions, sub("one")...), create(subscriptions, kv{param: "Enable", value: "1"}))))
		if len(res) != 2 {
			t.Fatalf("results %v", res)
		}
		ids := map[string]bool{}
		for _, r := range res {
			ok := r.GetOperStatus().GetOperSuccess()
			if ok == nil || len(ok.GetParamErrs()) != 0 || len(ok.GetUniqueKeys()) != 3 || ok.GetUniqueKeys()["Recipient"] != "Device.LocalAgent.Controller.1" {
				t.Fatalf("partial %v: %v", partial, r)
			}
			ids[ok.GetUniqueKeys()["ID"]] = true
			if v := b.value(ok.GetInstantiatedPath() + "Enable"); v != "true" {
				t.Errorf("Enable is %q", v)
			}
		}
		if len(ids) != 2 || !ids["one"] {
			t.Errorf("ids %v", ids)
		}
		if v := b.countSubscriptions(); v != "2" {
			t.Errorf("NumberOfEntries %s", v)
		}
	}
}

// TP-469 1.3, 1.4, 1.6, 1.7, 1.88 and what is like them: nothing is created.
func TestAddFailsWhole(t *testing.T) {
	for _, tc := range []struct {
		name string
		objs []*usppb.Add_CreateObject
		code uint32
		path string
	}{
		{"1.3 required parameter", []*usppb.Add_CreateObject{create(subscriptions, kv{"Enable", "InvalidValue", true})}, 7021, subscriptions + "Enable"},
		{"1.4 invalid object", []*usppb.Add_CreateObject{create("Device.LocalAgent.InvalidObject.", sub("x")...)}, 7026, "Device.LocalAgent.InvalidObject."},
		{"1.6 one invalid of two", []*usppb.Add_CreateObject{create(subscriptions, sub("x")...), create("Device.LocalAgent.InvalidObject.")}, 7026, "Device.LocalAgent.InvalidObject."},
		{"1.7 one fails of two", []*usppb.Add_CreateObject{create(subscriptions, kv{"Enable", "InvalidValue", true}), create(subscriptions, sub("x")...)}, 7021, subscriptions + "Enable"},
		{"1.88 unique key", []*usppb.Add_CreateObject{create(subscriptions, kv{"ID", strings.Repeat("x", 65), false})}, 7021, subscriptions + "ID"},
		{"not a table", []*usppb.Add_CreateObject{create("Device.LocalAgent.")}, 7018, "Device.LocalAgent."},
		{"rows cannot be created", []*usppb.Add_CreateObject{create("Device.WiFi.Radio.")}, 7019, "Device.WiFi.Radio."},
		{"unsupported required", []*usppb.Add_CreateObject{create(subscriptions, kv{"Nope", "1", true})}, 7021, subscriptions + "Nope"},
		{"path syntax", []*usppb.Add_CreateObject{create("Device..")}, 7008, "Device.."},
		{"parent is not there", []*usppb.Add_CreateObject{create("Device.LocalAgent.Controller.9.BootParameter.")}, 7016, "Device.LocalAgent.Controller.9.BootParameter."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			wantError(t, b.ask(primary, addReq(false, tc.objs...)), tc.code, tc.path)
			if v := b.countSubscriptions(); v != "0" {
				t.Errorf("%s subscriptions were created", v)
			}
		})
	}
}

// TP-469 1.8, 1.9: what can be created is.
func TestAddAllowPartial(t *testing.T) {
	b := newBench(t)
	res := addResults(t, b.ask(primary, addReq(true,
		create(subscriptions, sub("nine")...),
		create(subscriptions, sub("nine")...),
		create(subscriptions, kv{"Enable", "InvalidValue", true}),
		create("Device.LocalAgent.InvalidObject."),
		create(subscriptions, sub("ten", kv{"Nope", "1", false}, kv{"TimeToLive", "-1", false})...),
	)))
	var codes []uint32
	for _, r := range res {
		codes = append(codes, r.GetOperStatus().GetOperFailure().GetErrCode())
	}
	if len(codes) != 5 || codes[0] != 0 || codes[1] != 7025 || codes[2] != 7021 || codes[3] != 7026 || codes[4] != 0 {
		t.Fatalf("codes %v", codes)
	}
	if errs := res[4].GetOperStatus().GetOperSuccess().GetParamErrs(); len(errs) != 2 || errs[0].GetErrCode() != 7010 || errs[1].GetErrCode() != 7011 {
		t.Errorf("parameter errors %v", errs)
	}
	if v := b.countSubscriptions(); v != "2" {
		t.Errorf("%s subscriptions", v)
	}
}

// TP-469 1.10, 1.33, 1.35, 1.95: tables within rows.
func TestBootParameters(t *testing.T) {
	b := newBench(t)
	key := `Device.LocalAgent.Controller.[EndpointID=="proto::controller-1"].BootParameter.`
	res := addResults(t, b.ask(primary, addReq(false, create(key, kv{"Enable", "true", true}, kv{"ParameterName", "Device.LocalAgent.EndpointID", true}))))
	if ok := res[0].GetOperStatus().GetOperSuccess(); ok.GetInstantiatedPath() != "Device.LocalAgent.Controller.1.BootParameter.101." || len(ok.GetUniqueKeys()) != 2 {
		t.Fatalf("1.10: %v", res)
	}
	res = addResults(t, b.ask(primary, addReq(false, create(`Device.LocalAgent.Controller.*.BootParameter.`, kv{"ParameterName", "Device.X", true}))))
	if len(res) != 2 || res[0].GetOperStatus().GetOperSuccess() == nil || res[1].GetOperStatus().GetOperSuccess() == nil {
		t.Fatalf("1.95: %v", res)
	}
	del := b.ask(primary, deleteReq(false, "Device.LocalAgent.Controller.1.BootParameter.[Enable==true].")).GetResponse().GetDeleteResp().GetDeletedObjResults()
	if p := del[0].GetOperStatus().GetOperSuccess().GetAffectedPaths(); len(p) != 1 || p[0] != "Device.LocalAgent.Controller.1.BootParameter.101." {
		t.Fatalf("1.35: %v", del)
	}
	if v := b.value("Device.LocalAgent.Controller.1.BootParameterNumberOfEntries"); v != "1" {
		t.Errorf("BootParameterNumberOfEntries %s", v)
	}
}

// TP-469 1.11–1.23.
func TestSet(t *testing.T) {
	b := newBench(t)
	one := b.added(primary, create(subscriptions, sub("one")...))
	two := b.added(primary, create(subscriptions, sub("two")...))
	ask := func(partial bool, objs ...*usppb.Set_UpdateObject) *usppb.Body {
		return b.ask(primary, setReq(partial, objs...))
	}
	results := func(body *usppb.Body) []*usppb.SetResp_UpdatedObjectResult {
		if body.GetResponse().GetSetResp() == nil {
			t.Fatalf("no SetResp: %v", body)
		}
		return body.GetResponse().GetSetResp().GetUpdatedObjResults()
	}
	for _, partial := range []bool{false, true} { // 1.11, 1.12, 1.13
		for _, r := range results(ask(partial, update(one, kv{"NotifRetry", "true", true}), update(two, kv{"NotifRetry", "1", true}))) {
			ok := r.GetOperStatus().GetOperSuccess().GetUpdatedInstResults()
			if len(ok) != 1 || ok[0].GetAffectedPath() != r.GetRequestedPath() || len(ok[0].GetUpdatedParams()) != 1 || ok[0].GetUpdatedParams()["NotifRetry"] != "true" {
				t.Fatalf("1.11: %v", r)
			}
		}
	}
	wantError(t, ask(false, update(one, kv{"InvalidParameter", "x", true})), 7021, one+"InvalidParameter") // 1.14
	wantError(t, ask(false, update(one, kv{"NotifRetry", "false", true}), update(two, kv{"InvalidParameter", "x", true})), 7021, two+"InvalidParameter")
	if v := b.value(one + "NotifRetry"); v != "true" { // 1.15
		t.Errorf("1.15: NotifRetry changed to %s", v)
	}
	res := results(ask(true, update(one, kv{"NotifRetry", "false", true}), update(two, kv{"InvalidParameter", "x", true}))) // 1.16
	if f := res[1].GetOperStatus().GetOperFailure().GetUpdatedInstFailures(); res[0].GetOperStatus().GetOperSuccess() == nil || len(f) != 1 || f[0].GetAffectedPath() != two || f[0].GetParamErrs()[0].GetParam() != "InvalidParameter" {
		t.Errorf("1.16: %v", res)
	}
	res = results(ask(true, update(one, kv{"NotifRetry", "true", true}, kv{"InvalidParameter", "x", false}))) // 1.17
	if ok := res[0].GetOperStatus().GetOperSuccess().GetUpdatedInstResults()[0]; len(ok.GetUpdatedParams()) != 1 || len(ok.GetParamErrs()) != 1 || ok.GetParamErrs()[0].GetErrCode() != 7010 {
		t.Errorf("1.17: %v", res)
	}
	res = results(ask(false, update(`Device.LocalAgent.Subscription.[Alias=="cpe-101"].`, kv{"NotifRetry", "false", true}))) // 1.18
	if ok := res[0].GetOperStatus().GetOperSuccess().GetUpdatedInstResults(); len(ok) != 1 || ok[0].GetAffectedPath() != one {
		t.Errorf("1.18: %v", res)
	}
	res = results(ask(false, update(subscriptions+"*.", kv{"NotifRetry", "true", true}))) // 1.19
	if ok := res[0].GetOperStatus().GetOperSuccess().GetUpdatedInstResults(); len(ok) != 2 {
		t.Errorf("1.19: %v", res)
	}
	wantError(t, ask(false, update(subscriptions+"*.", kv{"InvalidParameter", "x", true})), 7021, one+"InvalidParameter", two+"InvalidParameter") // 1.20
	res = results(ask(true, update(subscriptions+"*.", kv{"Enable", "InvalidValue", true})))                                                      // 1.21
	if f := res[0].GetOperStatus().GetOperFailure().GetUpdatedInstFailures(); len(f) == 0 || f[0].GetParamErrs()[0].GetErrCode() != 7011 || b.value(one+"Enable") != "true" {
		t.Errorf("1.21: %v", res)
	}
	res = results(ask(false, update(`Device.LocalAgent.Subscription.[Recipient=="InvalidValue"].`, kv{"NotifRetry", "true", true}))) // 1.23
	if ok := res[0].GetOperStatus().GetOperSuccess(); ok == nil || len(ok.GetUpdatedInstResults()) != 0 {
		t.Errorf("1.23: %v", res)
	}
	wantError(t, ask(false, update(one, kv{"ID", "add96-NEW", true})), 7021, one+"ID")   // 1.96
	wantError(t, ask(false, update(one, kv{"Alias", "other", true})), 7021, one+"Alias") // 1.104
	wantError(t, ask(false, update(subscriptions+"99.", kv{"Enable", "true", true})), 7016, subscriptions+"99.")
	wantError(t, ask(false, update(subscriptions, kv{"Enable", "true", true})), 7016, subscriptions)
	wantError(t, ask(false, update("Device.LocalAgent.", kv{"UpTime", "1", true})), 7021, "Device.LocalAgent.UpTime")
}

// A Set that crosses the agent's own objects and the device's is one change.
func TestSetAllOrNothing(t *testing.T) {
	b := newBench(t)
	b.model.refuse["Channel"] = usp.Errorf(usp.ErrInvalidValue, "", "CWMP fault 9007")
	own := update("Device.LocalAgent.Controller.1.", kv{"ProvisioningCode", "p", true})
	wantError(t, b.ask(primary, setReq(false, own, update("Device.WiFi.Radio.*.", kv{"Channel", "1", true}), update("Device.DeviceInfo.", kv{"FriendlyName", "new", true}))),
		7021, "Device.WiFi.Radio.1.Channel", "Device.WiFi.Radio.2.Channel")
	if v := b.value("Device.LocalAgent.Controller.1.ProvisioningCode"); v != "" {
		t.Errorf("own object was changed to %q", v)
	}
	if v := b.value("Device.DeviceInfo.FriendlyName"); v != "box" {
		t.Errorf("device was changed to %q", v)
	}
	res := b.ask(primary, setReq(true, own, update("Device.WiFi.Radio.*.", kv{"Channel", "1", true}), update("Device.DeviceInfo.", kv{"FriendlyName", "new", true}))).GetResponse().GetSetResp().GetUpdatedObjResults()
	if res[0].GetOperStatus().GetOperSuccess() == nil || res[1].GetOperStatus().GetOperFailure() == nil || res[2].GetOperStatus().GetOperSuccess() == nil {
		t.Errorf("allow_partial: %v", res)
	}
	if b.value("Device.LocalAgent.Controller.1.ProvisioningCode") != "p" || b.value("Device.DeviceInfo.FriendlyName") != "new" {
		t.Error("what could be changed was not")
	}
}

// TP-469 1.24–1.34, 1.78, 1.90.
func TestDelete(t *testing.T) {
	b := newBench(t)
	results := func(body *usppb.Body) []*usppb.DeleteResp_DeletedObjectResult {
		if body.GetResponse().GetDeleteResp() == nil {
			t.Fatalf("no DeleteResp: %v", body)
		}
		return body.GetResponse().GetDeleteResp().GetDeletedObjResults()
	}
	affected := func(r *usppb.DeleteResp_DeletedObjectResult) []string {
		if r.GetOperStatus().GetOperSuccess() == nil {
			t.Fatalf("failed: %v", r)
		}
		return r.GetOperStatus().GetOperSuccess().GetAffectedPaths()
	}
	one := b.added(primary, create(subscriptions, sub("one")...))
	wantError(t, b.ask(primary, deleteReq(false, one, "Device.LocalAgent.InvalidObject.")), 7026, "Device.LocalAgent.InvalidObject.") // 1.26, 1.28
	if v := b.countSubscriptions(); v != "1" {
		t.Fatalf("1.28: %s subscriptions left", v)
	}
	if p := affected(results(b.ask(primary, deleteReq(false, one)))[0]); len(p) != 1 || p[0] != one { // 1.24
		t.Errorf("1.24: %v", p)
	}
	if p := affected(results(b.ask(primary, deleteReq(false, one)))[0]); len(p) != 0 { // 1.25, 1.29
		t.Errorf("1.25: %v", p)
	}
	two := b.added(primary, create(subscriptions, sub("two")...))
	if two == one {
		t.Errorf("instance number of %s was used again", one)
	}
	res := results(b.ask(primary, deleteReq(true, two, "Device.LocalAgent.InvalidObject.", one))) // 1.31, 1.32
	if len(affected(res[0])) != 1 || res[1].GetOperStatus().GetOperFailure().GetErrCode() != 7026 || len(affected(res[2])) != 0 {
		t.Errorf("1.31: %v", res)
	}
	b.added(primary, create(subscriptions, sub("three")...))
	b.added(primary, create(subscriptions, sub("four")...))
	if p := affected(results(b.ask(primary, deleteReq(false, subscriptions+"*.")))[0]); len(p) != 2 { // 1.34
		t.Errorf("1.34: %v", p)
	}
	if p := affected(results(b.ask(primary, deleteReq(false, subscriptions+"[Enable==false].")))[0]); len(p) != 0 { // 1.90
		t.Errorf("1.90: %v", p)
	}
	for path, code := range map[string]uint32{"Device.LocalAgent.": 7018, subscriptions: 7024, "Device.LocalAgent.MTP.1.": 7024, "Device.Reboot()": 7026} {
		wantError(t, b.ask(primary, deleteReq(false, path)), code, path)
	}
	// 1.78
	b.added(secondaryFull(b), create(subscriptions, sub("theirs")...))
	b.ask(primary, deleteReq(false, "Device.LocalAgent.Controller.2."))
	if v := b.countSubscriptions(); v != "0" {
		t.Errorf("1.78: %s subscriptions without a controller", v)
	}
}

// secondaryFull gives the second controller full access.
func secondaryFull(b *bench) usp.EndpointID {
	b.t.Helper()
	b.ask(primary, setReq(false, update("Device.LocalAgent.Controller.2.", kv{"AssignedRole", "Device.LocalAgent.ControllerTrust.Role.1", true})))
	return secondary
}

func TestDeviceRows(t *testing.T) {
	b := newBench(t)
	row := b.added(primary, create("Device.WiFi.SSID.", kv{"SSID", "new", true}))
	if row != "Device.WiFi.SSID.11." || b.value(row+"SSID") != "new" {
		t.Fatalf("row %s", row)
	}
	b.model.refuse["Delete"] = usp.Errorf(usp.ErrDeleteFailure, "", "CWMP fault 9002")
	wantError(t, b.ask(primary, deleteReq(false, row)), 7024, row)
	res := b.ask(primary, deleteReq(true, row)).GetResponse().GetDeleteResp().GetDeletedObjResults()[0]
	if u := res.GetOperStatus().GetOperSuccess().GetUnaffectedPathErrs(); len(u) != 1 || u[0].GetUnaffectedPath() != row {
		t.Errorf("R-DEL.3: %v", res)
	}
	delete(b.model.refuse, "Delete")
	if b.ask(primary, deleteReq(false, row)).GetResponse() == nil || b.value(row+"SSID") != "!7026" {
		t.Error("row is still there")
	}
}

func TestChangesSurviveRestart(t *testing.T) {
	b := newBench(t)
	if n := b.store.count(store.Controller) + b.store.count(store.AgentState); n != 0 {
		t.Fatalf("an agent without changes has %d records", n)
	}
	one := b.added(primary, create(subscriptions, sub("one", kv{"TimeToLive", "0", false})...))
	boot := b.added(primary, create("Device.LocalAgent.Controller.1.BootParameter.", kv{"ParameterName", "Device.X", true}))
	ctl := b.added(primary, create("Device.LocalAgent.Controller.", kv{"EndpointID", "proto::third", true}, kv{"Enable", "true", true}))
	b.ask(primary, setReq(false, update("Device.LocalAgent.Controller.1.", kv{"ProvisioningCode", "here", true}), update("Device.LocalAgent.ControllerTrust.", kv{"SecuredRoles", "", true})))
	b.ask(primary, deleteReq(false, "Device.LocalAgent.Controller.2."))
	gone := b.added(primary, create(subscriptions, sub("gone")...))
	b.ask(primary, deleteReq(false, gone))
	before := got(b.ask(primary, getReq("Device.LocalAgent.")).GetResponse().GetGetResp().GetReqPathResults()[0])
	b.restart()
	after := got(b.ask(primary, getReq("Device.LocalAgent.")).GetResponse().GetGetResp().GetReqPathResults()[0])
	if before != after {
		t.Errorf("before\n%s\n\nafter\n%s", before, after)
	}
	for _, p := range []string{one + "ID=one", boot + "ParameterName=Device.X", ctl + "EndpointID=proto::third", "Device.LocalAgent.Controller.1.ProvisioningCode=here"} {
		if !strings.Contains(after, p) {
			t.Errorf("%s is missing", p)
		}
	}
	if strings.Contains(after, "Device.LocalAgent.Controller.2.") {
		t.Error("deleted controller is back")
	}
	if next := b.added(primary, create(subscriptions, sub("next")...)); next == gone {
		t.Errorf("instance number of %s was used again after a restart", gone)
	}
}

// The numbers of configured controllers do not depend on their order.
func TestConfiguredControllersKeepTheirNumbers(t *testing.T) {
	b := newBench(t)
	c := b.cfg.Controllers
	b.cfg.Controllers = []ControllerConfig{{EndpointID: "proto::new"}, c[1], c[0]}
	b.restart()
	for path, want := range map[string]string{"1": "proto::controller-1", "2": "proto::controller-2", "3": "proto::new"} {
		if v := b.value("Device.LocalAgent.Controller." + path + ".EndpointID"); v != want {
			t.Errorf("controller %s is %s, want %s", path, v, want)
		}
	}
}

func TestAnswerIsSentOnlyWhenStored(t *testing.T) {
	b := newBench(t)
	b.store.mu.Lock()
	b.store.fail = errStore
	b.store.mu.Unlock()
	if e := b.ask(primary, addReq(true, create(subscriptions, sub("x")...))).GetError(); e.GetErrCode() != 7003 || !strings.Contains(e.GetErrMsg(), "disk full") {
		t.Errorf("got %v", e)
	}
	if v := b.countSubscriptions(); v != "0" {
		t.Errorf("%s subscriptions though nothing was stored", v)
	}
}

func TestAudit(t *testing.T) {
	b := newBench(t)
	b.ask(primary, setReq(true, update("Device.WiFi.", kv{"Passphrase", "hunter2", true}), update("Device.DeviceInfo.", kv{"FriendlyName", "n", true})))
	b.ask(primary, operateReq("Device.Reboot()", "k", true, nil))
	var records []AuditRecord
	b.store.Scan(t.Context(), store.Query{Kind: store.Audit, Owner: string(testAgent)}, func(_ store.Key, v []byte) bool {
		var r AuditRecord
		if err := json.Unmarshal(v, &r); err != nil {
			t.Error(err)
		}
		if strings.Contains(string(v), "hunter2") {
			t.Errorf("secret in audit record: %s", v)
		}
		records = append(records, r)
		return true
	})
	if len(records) != 2 || records[0].Controller != primary || records[0].Action != "Set" || len(records[0].Changes) != 2 || records[0].Changes[1].Params["FriendlyName"] != "n" || records[1].Changes[0].Path != "Device.Reboot()" {
		t.Errorf("records %+v", records)
	}
}

func TestRowsAreBounded(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Limits.Rows, c.Limits.Value = 2, 100 })
	b.added(primary, create(subscriptions, sub("1")...))
	b.added(primary, create(subscriptions, sub("2")...))
	wantError(t, b.ask(primary, addReq(false, create(subscriptions, sub("3")...))), 7005, subscriptions)
	wantError(t, b.ask(primary, setReq(false, update("Device.LocalAgent.Controller.1.MTP.1.", kv{"MQTT.Topic", strings.Repeat("x", 101), true}))), 7021, "Device.LocalAgent.Controller.1.MTP.1.MQTT.Topic")
}
