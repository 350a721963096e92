package agent

import (
	"testing"

	"github.com/uspbridge/uspbridge/usp/dm"
)

// What TriggerConfigSettings has of the agent's own is set when the change that
// pulled the trigger is answered; what it has of the device, soon after.
func TestTriggerConfig(t *testing.T) {
	b := newBench(t)
	s := b.subscribe(primary, "t", "ValueChange", "Device.LocalAgent.Controller.1.ProvisioningCode", kv{"TriggerAction", "Config", true})
	set := func(settings string) {
		t.Helper()
		b.ask(primary, setReq(false, update(s, kv{"TriggerConfigSettings", settings, true})))
	}
	provision := func(code string) {
		t.Helper()
		b.ask(primary, setReq(false, update("Device.LocalAgent.Controller.1.", kv{"ProvisioningCode", code, true})))
	}
	set("Device.LocalAgent.Controller.[EndpointID==\"" + string(secondary) + "\"].ControllerCode=a%2Cb=c")
	provision("1")
	if v := b.value("Device.LocalAgent.Controller.2.ControllerCode"); v != "a,b=c" {
		t.Errorf("ControllerCode is %q", v)
	}
	set("Device.WiFi.SSID.1.SSID=triggered")
	provision("2")
	b.settle()
	if v := b.value("Device.WiFi.SSID.1.SSID"); v != "triggered" {
		t.Errorf("SSID is %q", v)
	}
	b.silence()
}

// Triggers pull no triggers: two subscriptions that change what the other refers
// to come to an end.
func TestTriggersDoNotPullEachOther(t *testing.T) {
	b := newBench(t)
	code := func(n string) string { return "Device.LocalAgent.Controller." + n + ".ControllerCode" }
	for _, c := range [][3]string{{"one", code("1"), code("2") + "=from one"}, {"two", code("2"), code("1") + "=from two"}} {
		b.subscribe(primary, c[0], "ValueChange", c[1], kv{"TriggerAction", "NotifyAndConfig", true}, kv{"TriggerConfigSettings", c[2], true})
	}
	b.ask(primary, setReq(false, update("Device.LocalAgent.Controller.1.", kv{"ControllerCode", "x", true})))
	b.settle()
	if one, two := b.value(code("1")), b.value(code("2")); one != "x" || two != "from one" {
		t.Errorf("the codes are %q and %q", one, two)
	}
}

// A trigger does what its recipient may, and a device's own event pulls it too.
func TestTriggerRights(t *testing.T) {
	b := newBench(t)
	b.allow("Device.LocalAgent.Subscription.", "rwxn", "rwxn", "rwxn", "rwxn")
	b.allow("Device.DeviceInfo.", "r--n", "r--n", "r--n", "r--n")
	b.subscribe(secondary, "t", "ValueChange", "Device.DeviceInfo.FriendlyName",
		kv{"TriggerAction", "Config", true}, kv{"TriggerConfigSettings", "Device.WiFi.SSID.1.SSID=triggered", true})
	before := b.value("Device.WiFi.SSID.1.SSID")
	b.change("Device.DeviceInfo.FriendlyName", "new")
	b.settle()
	if v := b.value("Device.WiFi.SSID.1.SSID"); v != before {
		t.Errorf("SSID is %q", v)
	}
}

func TestTriggerSettingValues(t *testing.T) {
	for item, ok := range map[string]bool{
		"Device.A.B=":              true,
		"Device.A.B=x=y":           true,
		`Device.A.[B=="x"].C=1`:    true,
		"Device.A.B":               false,
		"Device.A.=1":              false,
		"Device.A.B()=1":           false,
		"":                         false,
		"=":                        false,
		`Device.A.[B=="x"].C`:      false,
		"Device.A.B=see [1]. Then": true,
	} {
		if err := triggerSetting(item); (err == nil) != ok {
			t.Errorf("%q: %v", item, err)
		}
	}
}

// A controller is told of the ends of transfers that its policy wants.
func TestTransferCompletePolicy(t *testing.T) {
	wanted := func(filter, fault string) bool {
		ev := Event{Kind: Occurred, Args: map[string]string{"FaultCode": fault}}
		ev.Ref.Node = &dm.Node{Path: transferEvent}
		return transferWanted(ev)(&controller{transfers: filter})
	}
	for _, c := range []struct {
		filter, fault string
		want          bool
	}{
		{"Both", "0", true}, {"Both", "7022", true}, {"Success", "0", true}, {"Success", "7022", false},
		{"Failure", "", false}, {"Failure", "7022", true},
	} {
		if got := wanted(c.filter, c.fault); got != c.want {
			t.Errorf("ResultTypeFilter %s, FaultCode %q: %v", c.filter, c.fault, got)
		}
	}
}
