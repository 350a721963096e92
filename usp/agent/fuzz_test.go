package agent

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// FuzzMessage hands arbitrary messages of a controller with full access to an
// agent: each ends, and none meets a defect.
func FuzzMessage(f *testing.F) {
	for _, req := range []*usppb.Request{
		getReq("Device.", `Device.WiFi.SSID.[LowerLayers+.Channel>3].LowerLayers#*+.`),
		addReq(true, create(subscriptions, sub("x")...), create("Device.WiFi.SSID.", kv{"SSID", "x", true})),
		setReq(true, update("Device.LocalAgent.Controller.*.", kv{"MTP.1.Enable", "true", false}, kv{"AssignedRole", ",", true})),
		deleteReq(true, subscriptions+"*.", "Device.LocalAgent.Controller.*.MTP.*."),
		operateReq("Device.LocalAgent.Request.*.Cancel()", "k", true, nil),
		instancesReq(false, "Device."), supportedReq(false, true, true, true, true, "Device.WiFi.SSID.{i}.", "Device.WiFi.SSID.1."),
	} {
		b, err := proto.Marshal(&usppb.Msg{Header: &usppb.Header{MsgId: "m"}, Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: req}}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		b := newBench(t, func(c *Config) { c.Limits.Rows, c.Limits.Paths, c.Limits.Matches = 8, 8, 200 })
		b.model.running = make(chan struct{}, 10000)
		rec, err := proto.Marshal(&usppb.Record{Version: "1.3", FromId: string(primary), ToId: string(testAgent),
			RecordType: &usppb.Record_NoSessionContext{NoSessionContext: &usppb.NoSessionContextRecord{Payload: msg}}})
		if err != nil {
			t.Skip()
		}
		r, err := record.Unwrap(rec, record.Limits{})
		if err != nil {
			t.Skip()
		}
		b.host.process(testAgent, &inbound{Inbound: mtp.Inbound{Reply: mtp.Address{Protocol: mtp.MQTT, Topic: "t"}}, record: r})
		b.settle()
		if n := testutil.ToFloat64(b.host.metrics.refused.WithLabelValues(refusedDefect)); n != 0 {
			t.Fatal("defect")
		}
	})
}

// FuzzRestore reads arbitrary records of the store.
func FuzzRestore(f *testing.F) {
	f.Add(byte(store.Controller), "1.MTP.1", []byte(`{"Enable":"true","Nope":"x"}`))
	f.Add(byte(store.AgentState), nextRecord, []byte(`{"Device.LocalAgent.Controller.1.MTP.":7}`))
	f.Add(byte(store.AgentState), "ControllerTrust.Role.1.Permission.1", []byte(`null`))
	f.Fuzz(func(t *testing.T, kind byte, name string, value []byte) {
		b := newBench(t)
		k := store.Key{Kind: store.Kind(kind), Owner: string(testAgent), Name: name}
		var batch store.Batch
		batch.Put(k, value)
		if err := b.store.Commit(context.Background(), &batch); err != nil {
			t.Fatal(err)
		}
		st, err := b.host.load(context.Background(), testAgent)
		if err == nil {
			st.index(b.host.spec)
		}
	})
}

// FuzzDue reads arbitrary names of due records.
func FuzzDue(f *testing.F) {
	f.Add("0000019b7d1c0000", "n/os::a/k1")
	f.Fuzz(func(t *testing.T, owner, name string) {
		e, ok := parseDue(store.Key{Kind: store.Due, Owner: owner, Name: name})
		if ok && e.what+"/"+string(e.agent)+"/"+e.rest != name {
			t.Errorf("%q read as %+v", name, e)
		}
	})
}

// FuzzSplitList checks that a list without brackets is split at each comma.
func FuzzSplitList(f *testing.F) {
	f.Add(`Device.A.[X=="a,b"].B, Device.C.`)
	f.Fuzz(func(t *testing.T, list string) {
		for _, item := range splitList(list) {
			if len(item) > len(list) {
				t.Errorf("%q has item %q", list, item)
			}
		}
	})
}
