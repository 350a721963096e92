package agent

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// ref finds a concrete element of the test device.
func (b *bench) ref(path string, inst ...uint32) dm.Ref {
	b.t.Helper()
	n := b.model.schema.Lookup(path)
	if n == nil {
		b.t.Fatalf("no node %s", path)
	}
	return dm.Ref{Node: n, Inst: dm.Inst(inst...)}
}

// change is a value change on the device.
func (b *bench) change(path, value string, inst ...uint32) {
	b.t.Helper()
	r := b.ref(path, inst...)
	b.model.mu.Lock()
	b.model.values[r.Path()] = value
	b.model.mu.Unlock()
	b.raise(Event{Kind: ValueChanged, Ref: r, Value: value})
}

func (b *bench) raise(events ...Event) {
	b.t.Helper()
	if err := b.host.Deliver(context.Background(), testAgent, events); err != nil {
		b.t.Fatal(err)
	}
}

// TP-469 1.52, 1.53, 1.84: value changes made through the agent.
func TestValueChange(t *testing.T) {
	b := newBench(t)
	set := func(path, param, value string) {
		t.Helper()
		if body := b.ask(primary, setReq(false, update(path, kv{param, value, true}))); body.GetResponse() == nil {
			t.Fatalf("Set: %v", body)
		}
	}
	s := b.subscribe(primary, "Notify52", "ValueChange", "Device.LocalAgent.Controller.1.ProvisioningCode, Device.WiFi.SSID.[Enable==true].SSID")
	set("Device.LocalAgent.Controller.1.", "ProvisioningCode", "TestValue52")
	n, _ := b.notify(primary)
	equalProto(t, n, &usppb.Notify{SubscriptionId: "Notify52", Notification: &usppb.Notify_ValueChange_{
		ValueChange: &usppb.Notify_ValueChange{ParamPath: "Device.LocalAgent.Controller.1.ProvisioningCode", ParamValue: "TestValue52"}}})
	set("Device.WiFi.SSID.1.", "SSID", "new")
	if n, _ = b.notify(primary); n.GetValueChange().GetParamPath() != "Device.WiFi.SSID.1.SSID" {
		t.Errorf("search path: %v", n)
	}
	set("Device.WiFi.SSID.2.", "SSID", "new")                                 // not enabled
	set("Device.LocalAgent.Controller.1.", "ProvisioningCode", "TestValue52") // no change
	set("Device.WiFi.SSID.1.", "SSID", "new")
	b.silence()
	// The device reports the change that was made through the agent.
	b.change("Device.WiFi.SSID.{i}.SSID", "new", 1)
	b.silence()
	b.change("Device.WiFi.SSID.{i}.SSID", "by others", 1)
	if n, _ = b.notify(primary); n.GetValueChange().GetParamValue() != "by others" {
		t.Errorf("change by others: %v", n)
	}
	b.ask(primary, deleteReq(false, s)) // 1.53
	set("Device.LocalAgent.Controller.1.", "ProvisioningCode", "x")
	b.silence()
}

// TP-469 1.57, 1.58.
func TestObjectCreationAndDeletion(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "created", "ObjectCreation", "Device.LocalAgent.Subscription.,Device.WiFi.SSID.")
	b.subscribe(primary, "deleted", "ObjectDeletion", "Device.LocalAgent.Subscription.*.,Device.WiFi.SSID.*.")
	n, _ := b.notify(primary)
	if c := n.GetObjCreation(); n.GetSubscriptionId() != "created" || c.GetObjPath() != subscriptions+"102." || c.GetUniqueKeys()["ID"] != "deleted" || c.GetUniqueKeys()["Recipient"] != "Device.LocalAgent.Controller.1" {
		t.Errorf("1.57: %v", n)
	}
	three := b.added(primary, create(subscriptions, sub("three")...))
	b.notify(primary)
	b.ask(primary, deleteReq(false, three))
	if n, _ = b.notify(primary); n.GetSubscriptionId() != "deleted" || n.GetObjDeletion().GetObjPath() != three {
		t.Errorf("1.58: %v", n)
	}
	row := b.added(primary, create("Device.WiFi.SSID.", kv{"SSID", "new", true}))
	if n, _ = b.notify(primary); n.GetObjCreation().GetObjPath() != row || n.GetObjCreation().GetUniqueKeys()["Name"] == "" {
		t.Errorf("device row: %v", n)
	}
	b.raise(Event{Kind: ObjectCreated, Ref: b.ref("Device.WiFi.SSID.{i}.Client.", 1, 7)}) // not of this table
	b.raise(Event{Kind: ObjectDeleted, Ref: b.ref("Device.WiFi.SSID.", 2)})
	if n, _ = b.notify(primary); n.GetObjDeletion().GetObjPath() != "Device.WiFi.SSID.2." {
		t.Errorf("device row deleted: %v", n)
	}
	b.silence()
}

func TestNumberOfEntriesChanges(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "n", "ValueChange", "Device.LocalAgent.SubscriptionNumberOfEntries")
	b.added(primary, create(subscriptions, sub("x")...))
	if n, _ := b.notify(primary); n.GetValueChange().GetParamValue() != "2" {
		t.Errorf("got %v", n)
	}
}

func TestEvents(t *testing.T) {
	b := newBench(t)
	b.added(primary, create("Device.LocalAgent.Controller.1.BootParameter.", kv{"Enable", "true", true}, kv{"ParameterName", "Device.DeviceInfo.Manufacturer", true}))
	b.subscribe(primary, "boot", "Event", "Device.Boot!", kv{"Persistent", "true", true})
	b.subscribe(primary, "all", "Event", "Device.", kv{"Persistent", "false", true})
	b.raise(Event{Kind: Occurred, Ref: b.ref("Device.Boot!"), Args: map[string]string{"Cause": "LocalReboot"}})
	n, _ := b.notify(primary)
	equalProto(t, n, &usppb.Notify{SubscriptionId: "boot", Notification: &usppb.Notify_Event_{Event: &usppb.Notify_Event{
		ObjPath: "Device.", EventName: "Boot!", Params: map[string]string{"Cause": "LocalReboot", "ParameterMap": `{"Device.DeviceInfo.Manufacturer":"Acme"}`}}}})
	b.silence()
	if v := b.countSubscriptions(); v != "1" {
		t.Errorf("%s subscriptions after the reboot; the one that does not persist is to go", v)
	}
}

// TP-469 1.54, R-NOT.1: retries until the response, across a restart.
func TestNotifRetry(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "r", "ValueChange", "Device.DeviceInfo.FriendlyName", kv{"NotifRetry", "true", true})
	b.net.setDown(true)
	b.change("Device.DeviceInfo.FriendlyName", "kept")
	if b.store.count(store.Notification) != 1 || b.store.count(store.Due) != 1 {
		t.Fatal("notification is not stored")
	}
	b.restart()
	b.net.setDown(false)
	b.clock.Advance(4 * time.Second)
	b.due()
	b.silence() // the first retry is after 5 to 10 s
	var first string
	for i, wait := range []time.Duration{7, 21, 41, 81} {
		b.clock.Advance(wait * time.Second)
		b.due()
		n, id := b.notify(primary)
		if !n.GetSendResp() || n.GetValueChange().GetParamValue() != "kept" || i > 0 && id != first {
			t.Fatalf("retry %d: %s %v", i+1, id, n)
		}
		first = id
	}
	b.acknowledge(secondary, first)
	if b.store.count(store.Notification) != 1 {
		t.Fatal("another controller's response was taken")
	}
	b.acknowledge(primary, first)
	if b.store.count(store.Notification) != 0 || b.store.count(store.Due) != 0 {
		t.Error("acknowledged notification is still stored")
	}
	b.clock.Advance(time.Hour)
	b.due()
	b.silence()
}

// TP-469 1.56.
func TestNotifExpiration(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "e", "ValueChange", "Device.DeviceInfo.FriendlyName", kv{"NotifRetry", "true", true}, kv{"NotifExpiration", "20", true})
	b.change("Device.DeviceInfo.FriendlyName", "x")
	b.notify(primary)
	b.clock.Advance(11 * time.Second)
	b.due()
	b.notify(primary)
	b.clock.Advance(20 * time.Second)
	b.due()
	b.silence()
	if b.store.count(store.Notification) != 0 || b.store.count(store.Due) != 0 {
		t.Error("expired notification is still stored")
	}
}

// R-NOT.1, R-NOT.2: the table of wait intervals.
func TestRetryWait(t *testing.T) {
	c := &controller{minimumWait: 5 * time.Second, multiplier: 2}
	for retries, least := range []time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 2560, 2560} {
		for range 50 {
			if w := retryWait(c, retries); w < least*time.Second || w > 2*least*time.Second {
				t.Fatalf("retry %d after %v, want %v to %v s", retries+1, w, least, 2*least)
			}
		}
	}
	if w := retryWait(&controller{minimumWait: 65535 * time.Second, multiplier: 65.535}, 50); w <= 0 {
		t.Errorf("largest values: %v", w)
	}
}

// TP-469 1.55.
func TestTimeToLive(t *testing.T) {
	b := newBench(t)
	s := b.subscribe(primary, "ttl", "ValueChange", "Device.DeviceInfo.FriendlyName", kv{"TimeToLive", "20", true})
	if w := b.model.watching(); !slices.Equal(w, []string{"Device.DeviceInfo.FriendlyName"}) {
		t.Errorf("watched %v", w)
	}
	b.clock.Advance(19 * time.Second)
	b.due()
	if v := b.value(s + "ID"); v != "ttl" {
		t.Fatalf("gone too early: %s", v)
	}
	b.clock.Advance(2 * time.Second)
	b.due()
	if v := b.value(s + "ID"); v != "!7026" {
		t.Errorf("still there: %s", v)
	}
	if w := b.model.watching(); len(w) != 0 {
		t.Errorf("still watched: %v", w)
	}
	b.change("Device.DeviceInfo.FriendlyName", "x")
	b.silence()
}

func TestWatch(t *testing.T) {
	b := newBench(t)
	s := b.subscribe(primary, "w", "ValueChange", "Device.WiFi.SSID.*.SSID,Device.DeviceInfo.,Device.LocalAgent.UpTime,Device.WiFi.SSID.1.LowerLayers#*+.Channel")
	b.subscribe(primary, "o", "ObjectCreation", "Device.WiFi.SSID.")
	want := []string{
		"Device.DeviceInfo.FriendlyName", "Device.DeviceInfo.Manufacturer", "Device.DeviceInfo.UpTime", "Device.WiFi.Radio.1.Channel", "Device.WiFi.Radio.2.Channel",
		"Device.WiFi.SSID.1.SSID", "Device.WiFi.SSID.2.SSID", "Device.WiFi.SSIDNumberOfEntries",
	}
	if w := b.model.watching(); !slices.Equal(w, want) {
		t.Errorf("watched\n%v\nwant\n%v", w, want)
	}
	b.ask(primary, setReq(false, update(s, kv{"Enable", "false", true})))
	if w := b.model.watching(); !slices.Equal(w, []string{"Device.WiFi.SSIDNumberOfEntries"}) {
		t.Errorf("watched %v", w)
	}
}

// What a subscription covers is decided when something happens: its parameters in
// rows that a search expression may come to hold for, and in rows added later, are
// watched as well.
func TestWatchCoversWhatMayCome(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "s", "ValueChange", "Device.WiFi.SSID.[Enable==true].SSID", kv{"NotifRetry", "true", true})
	want := []string{"Device.WiFi.SSID.1.SSID", "Device.WiFi.SSID.2.SSID"}
	if w := b.model.watching(); !slices.Equal(w, want) {
		t.Errorf("watched %v, want %v", w, want)
	}
	row := b.added(primary, create("Device.WiFi.SSID.", kv{"SSID", "new", true}, kv{"Enable", "true", true}))
	if w := b.model.watching(); !slices.Equal(w, append(slices.Clone(want), row+"SSID")) {
		t.Errorf("watched %v after a row was added", w)
	}
	b.change("Device.WiFi.SSID.{i}.SSID", "a", 2)
	b.silence()
	b.ask(primary, setReq(false, update("Device.WiFi.SSID.2.", kv{"Enable", "true", true})))
	b.change("Device.WiFi.SSID.{i}.SSID", "b", 2)
	if n, _ := b.notify(primary); n.GetValueChange().GetParamValue() != "b" {
		t.Errorf("a row that the expression came to hold for: %v", n)
	}
	b.ask(primary, deleteReq(false, row))
	if w := b.model.watching(); !slices.Equal(w, want) {
		t.Errorf("watched %v after the row was deleted", w)
	}
}

// TP-469 1.59.
func TestPeriodic(t *testing.T) {
	b := newBench(t)
	b.ask(primary, setReq(false, update("Device.LocalAgent.Controller.1.", kv{"PeriodicNotifInterval", "60", true})))
	if b.store.count(store.Due) != 0 {
		t.Error("something is due though nobody subscribed")
	}
	b.subscribe(primary, "p", "Event", "Device.LocalAgent.Periodic!")
	b.restart()
	for range 3 {
		b.clock.Advance(59 * time.Second)
		b.due()
		b.silence()
		b.clock.Advance(time.Second)
		b.due()
		n, _ := b.notify(primary)
		if e := n.GetEvent(); e.GetObjPath() != "Device.LocalAgent." || e.GetEventName() != "Periodic!" {
			t.Fatalf("got %v", n)
		}
	}
	b.silence()
	b.ask(primary, deleteReq(false, subscriptions+"*."))
	b.clock.Advance(time.Hour)
	b.due()
	b.silence()
	if b.store.count(store.Due) != 0 {
		t.Error("something is still due")
	}
}

func TestPeriodicKeepsStep(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tc := range []struct {
		phase time.Time
		want  string
	}{
		{time.Time{}, "04:04:05"},
		{time.Date(2020, 5, 6, 7, 30, 0, 0, time.UTC), "03:30:00"},
		{time.Date(2030, 5, 6, 7, 30, 0, 0, time.UTC), "03:30:00"},
	} {
		c := &controller{interval: time.Hour, phase: tc.phase}
		if g := c.nextPeriodic(now).Format(time.TimeOnly); g != tc.want {
			t.Errorf("phase %v: %s, want %s", tc.phase, g, tc.want)
		}
	}
}

// TP-469 1.60, 1.101–1.103.
func TestOnBoardRequest(t *testing.T) {
	b := newBench(t)
	row := "Device.LocalAgent.Controller.1."
	b.ask(primary, setReq(false, update(row, kv{"OnBoardingRestartTime", "60", true})))
	run := func() string {
		t.Helper()
		n, id := b.notify(primary)
		o := n.GetOnBoardReq()
		if n.GetSubscriptionId() != "" || !n.GetSendResp() || o.GetOui() != "00259E" || o.GetProductClass() != "HG8245" || o.GetSerialNumber() != "0123456789" || !strings.Contains(o.GetAgentSupportedProtocolVersions(), "1.4") {
			t.Fatalf("got %v", n)
		}
		return id
	}
	res := b.ask(primary, operateReq(row+"SendOnBoardRequest()", "k", true, nil)).GetResponse().GetOperateResp().GetOperationResults()
	if len(res) != 1 || res[0].GetCmdFailure() != nil || res[0].GetExecutedCommand() != row+"SendOnBoardRequest()" {
		t.Fatalf("OperateResp %v", res)
	}
	b.acknowledge(primary, run())
	if v := b.value(row + "OnBoardingComplete"); v != "false" { // 1.101
		t.Errorf("OnBoardingComplete %s", v)
	}
	b.clock.Advance(61 * time.Second) // 1.102
	b.due()
	b.acknowledge(primary, run())
	b.ask(primary, setReq(false, update(row, kv{"OnBoardingComplete", "true", true})))
	b.clock.Advance(time.Hour)
	b.due()
	b.silence()
	b.ask(primary, setReq(false, update(row, kv{"OnBoardingComplete", "false", true}, kv{"OnBoardingRestartTime", "0", true}))) // R-NOT.5.3
	b.acknowledge(primary, run())
	b.clock.Advance(time.Hour) // 1.103
	b.due()
	b.silence()
}

func TestHosted(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.AgentAddress = func(p mtp.Protocol, id usp.EndpointID) mtp.Address {
			return mtp.Address{Protocol: p, Topic: "usp/agent/" + string(id)}
		}
	})
	if err := b.host.Hosted(t.Context(), testAgent); err != nil {
		t.Fatal(err)
	}
	for _, to := range []usp.EndpointID{primary, secondary} {
		c := b.next("Connect", func(s sentRecord) bool { return s.to == to && s.msg == nil })
		if c.record.GetMqttConnect().GetSubscribedTopic() != "usp/agent/"+string(testAgent) {
			t.Errorf("Connect record %v", c.record)
		}
		if n, _ := b.notify(to); n.GetOnBoardReq() == nil {
			t.Errorf("to %s: %v", to, n)
		}
	}
	if b.store.count(store.Notification) != 2 {
		t.Error("OnBoardRequests are not stored")
	}
	if err := b.host.Forget(t.Context(), testAgent); err != nil {
		t.Fatal(err)
	}
	b.clock.Advance(time.Hour)
	b.due()
	b.silence()
	if b.store.count(store.Notification)+b.store.count(store.Due) != 0 {
		t.Error("a forgotten agent has records")
	}
}

// R-MTP.6: after a reboot of its device an agent sends its Connect records again,
// subscribed to or not.
func TestConnectAfterReboot(t *testing.T) {
	for version, want := range map[string]usppb.MQTTConnectRecord_MQTTVersion{"": usppb.MQTTConnectRecord_V5, "3.1.1": usppb.MQTTConnectRecord_V3_1_1} {
		b := newBench(t, func(c *Config) {
			c.AgentAddress = func(p mtp.Protocol, id usp.EndpointID) mtp.Address {
				return mtp.Address{Protocol: p, Topic: "usp/agent/" + string(id), Version: version}
			}
		})
		b.raise(Event{Kind: Occurred, Ref: b.ref("Device.Boot!"), Args: map[string]string{"Cause": "LocalReboot"}})
		for _, to := range []usp.EndpointID{primary, secondary} {
			c := b.next("Connect", func(s sentRecord) bool { return s.to == to && s.msg == nil })
			if c.record.GetMqttConnect() == nil || c.record.GetMqttConnect().GetVersion() != want { // R-MQTT.26a
				t.Errorf("Connect record %v, want version %v", c.record, want)
			}
		}
	}
}

func TestHostedUnknown(t *testing.T) {
	b := newBench(t)
	if err := b.host.Hosted(t.Context(), "os::nobody"); err == nil {
		t.Error("no error")
	}
}

func TestDeliverWithoutSubscriptionsWritesNothing(t *testing.T) {
	b := newBench(t)
	before := b.store.commits
	b.change("Device.DeviceInfo.FriendlyName", "x")
	if b.store.commits != before {
		t.Error("store was written")
	}
}

func TestDeliverFailsWithTheStore(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "r", "ValueChange", "Device.DeviceInfo.FriendlyName", kv{"NotifRetry", "true", true})
	b.store.mu.Lock()
	b.store.fail = errStore
	b.store.mu.Unlock()
	err := b.host.Deliver(t.Context(), testAgent, []Event{{Kind: ValueChanged, Ref: b.ref("Device.DeviceInfo.FriendlyName"), Value: "x"}})
	if err == nil {
		t.Error("no error")
	}
}

func TestWaitingNotificationsAreBounded(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Limits.Notifications = 2 })
	b.subscribe(primary, "r", "ValueChange", "Device.DeviceInfo.FriendlyName", kv{"NotifRetry", "true", true})
	b.net.setDown(true)
	for _, v := range []string{"1", "2", "3", "4"} {
		b.change("Device.DeviceInfo.FriendlyName", v)
	}
	if n := b.store.count(store.Notification); n != 2 {
		t.Errorf("%d notifications wait", n)
	}
	b.restart()
	b.change("Device.DeviceInfo.FriendlyName", "5")
	if n := b.store.count(store.Notification); n != 2 {
		t.Errorf("%d notifications wait after a restart", n)
	}
}

// The built-in controller's subscriptions live on its connection.
func TestBuiltinSubscription(t *testing.T) {
	b := newBench(t, func(c *Config) {
		ws := newFakeTransport(mtp.WebSocket)
		ws.sent = c.Transports[0].(*fakeTransport).sent
		c.Transports = append(c.Transports, ws)
	})
	s := b.subscribe(BuiltinController, "cli", "ValueChange", "Device.DeviceInfo.FriendlyName")
	if b.store.count(store.Subscription) != 0 {
		t.Error("stored")
	}
	b.change("Device.DeviceInfo.FriendlyName", "x")
	n := b.next("Notify", func(s sentRecord) bool { return s.to == BuiltinController && s.msg.GetBody().GetRequest() != nil })
	if n.addr.Conn != "conn-1" || n.msg.GetBody().GetRequest().GetNotify().GetValueChange().GetParamValue() != "x" {
		t.Errorf("got %+v", n)
	}
	b.host.Disconnected(BuiltinController, "", mtp.Address{Protocol: mtp.WebSocket, Conn: "conn-1"})
	b.settle()
	if v := b.value(s + "ID"); v != "!7026" {
		t.Errorf("subscription outlived its connection: %s", v)
	}
	b.change("Device.DeviceInfo.FriendlyName", "y")
	b.silence()
}

func TestPendingRecordIsReadable(t *testing.T) {
	b := newBench(t)
	b.subscribe(primary, "r", "ValueChange", "Device.DeviceInfo.FriendlyName", kv{"NotifRetry", "true", true})
	b.change("Device.DeviceInfo.FriendlyName", "x")
	b.store.Scan(t.Context(), store.Query{Kind: store.Notification}, func(k store.Key, v []byte) bool {
		var p pending
		if err := json.Unmarshal(v, &p); err != nil || p.Controller != primary || p.Subscription != 101 || k.Owner != string(testAgent) {
			t.Errorf("%v: %s: %v", k, v, err)
		}
		return true
	})
}
