package agent

import (
	"testing"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/path"
)

// A ReferenceList has what notifications of its NotifType can come of.
func TestSubscribable(t *testing.T) {
	const none, notATable, wrong = usp.ErrorCode(0), usp.ErrNotATable, usp.ErrInvalidValue
	types := [...]string{valueChange, objectCreation, objectDeletion, operationComplete, eventNotification}
	schema := newBench(t).model.schema
	for _, c := range []struct {
		ref  string
		want [len(types)]usp.ErrorCode // by types
	}{
		{"Device.", [...]usp.ErrorCode{none, none, none, none, none}},
		{"Device.DeviceInfo.", [...]usp.ErrorCode{none, notATable, notATable, none, none}},
		{"Device.DeviceInfo.UpTime", [...]usp.ErrorCode{none, notATable, notATable, wrong, wrong}},
		{"Device.DeviceInfo.UpTime.", [...]usp.ErrorCode{wrong, wrong, wrong, wrong, wrong}},
		{"Device.WiFi.", [...]usp.ErrorCode{none, none, none, none, none}},
		{"Device.WiFi.SSID.", [...]usp.ErrorCode{none, none, none, none, none}},
		{"Device.WiFi.SSID", [...]usp.ErrorCode{none, none, none, none, none}},
		{"Device.WiFi.SSID.1", [...]usp.ErrorCode{none, none, none, none, none}},
		{"Device.WiFi.SSID.*.Client.", [...]usp.ErrorCode{none, none, none, none, none}},
		{"Device.WiFi.SSID.[Enable==true].Stats.", [...]usp.ErrorCode{none, notATable, notATable, none, none}},
		{"Device.WiFi.SSID.[Enable==true].Name", [...]usp.ErrorCode{none, notATable, notATable, wrong, wrong}},
		{"Device.WiFi.SSID.1.LowerLayers#*+.Channel", [...]usp.ErrorCode{none, notATable, notATable, wrong, wrong}},
		{"Device.DeviceInfo.2.UpTime", [...]usp.ErrorCode{notATable, notATable, notATable, notATable, notATable}},
		{"Device.Reboot()", [...]usp.ErrorCode{wrong, notATable, notATable, none, wrong}},
		{"Device.Boot!", [...]usp.ErrorCode{wrong, notATable, notATable, wrong, none}},
		// of another firmware
		{"Device.Other.", [...]usp.ErrorCode{none, none, none, none, none}},
		{"Device.Other.Name", [...]usp.ErrorCode{none, notATable, notATable, wrong, wrong}},
		{"Device.Other.*.Run()", [...]usp.ErrorCode{wrong, notATable, notATable, none, wrong}},
		{"Device.Other.1.Ran!", [...]usp.ErrorCode{wrong, notATable, notATable, wrong, none}},
	} {
		p, err := path.Parse(c.ref)
		if err != nil {
			t.Fatal(err)
		}
		for i, kind := range types {
			got := usp.ErrorCode(0)
			if err := subscribable(schema, p, kind); err != nil {
				got = err.Code
			}
			if got != c.want[i] {
				t.Errorf("%s of %s: %d, want %d", kind, c.ref, got, c.want[i])
			}
		}
	}
}

// What can never fire fails as a wrong value does (R-ADD.3, R-ADD.4, R-SET.2): a
// required one takes the row with it, another is left out and told.
func TestSubscriptionsThatCannotFire(t *testing.T) {
	b := newBench(t)
	row := func(required bool) []kv {
		return []kv{{param: "ID", value: "x"}, {param: "ReferenceList", value: friendlyName, required: required}, {param: "NotifType", value: "Event"}}
	}
	wantError(t, b.ask(primary, addReq(false, create(subscriptions, row(true)...))), uint32(usp.ErrRequiredParameterFailed), subscriptions+"ReferenceList")

	ok := addResults(t, b.ask(primary, addReq(false, create(subscriptions, row(false)...))))[0].GetOperStatus().GetOperSuccess()
	if errs := ok.GetParamErrs(); len(errs) != 1 || errs[0].GetParam() != "ReferenceList" || errs[0].GetErrCode() != uint32(usp.ErrInvalidValue) {
		t.Fatalf("%v", ok)
	}
	path := ok.GetInstantiatedPath()
	if list := b.value(path + "ReferenceList"); list != "" {
		t.Errorf("ReferenceList is %q", list)
	}

	path = b.subscribe(primary, "v", "ValueChange", friendlyName)
	wantError(t, b.ask(primary, setReq(false, update(path, kv{"NotifType", "ObjectCreation", true}))), uint32(usp.ErrRequiredParameterFailed), path+"NotifType")
	wantError(t, b.ask(primary, setReq(false, update(path, kv{"ReferenceList", "Device.Boot!", true}))), uint32(usp.ErrRequiredParameterFailed), path+"ReferenceList")
	if kind, list := b.value(path+"NotifType"), b.value(path+"ReferenceList"); kind != "ValueChange" || list != friendlyName {
		t.Errorf("%s of %s", kind, list)
	}
	if b.ask(primary, setReq(false, update(path, kv{"NotifType", "Event", true}, kv{"ReferenceList", "Device.Boot!", true}))).GetError() != nil {
		t.Error("both together do not fit")
	}
}
