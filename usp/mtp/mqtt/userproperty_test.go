package mqtt

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

// User properties go with the packets that they are for, beside those of USP; what is
// said in CONNECT needs another connection.
func TestUserProperties(t *testing.T) {
	b := startBroker(t, "", packets.Properties{})
	tr := newPerAgent(t, Config{Broker: "tcp://" + b.address, Topic: "usp/agent/{endpoint_id}", Will: &Will{Topic: "gone", Payload: []byte("x")}})
	tr.Host(agent)
	mtptest.Serve(t, tr, mtptest.NewRecorder())
	up(t, tr, agent)
	mtptest.Wait(t, b.connects, "CONNECT")
	published := func() []packets.UserProperty {
		t.Helper()
		up(t, tr, agent)
		if err := tr.Send(t.Context(), agent, controller, mtp.Address{Topic: "c"}, []byte("r")); err != nil {
			t.Fatal(err)
		}
		return mtptest.Wait(t, b.publishes, "PUBLISH").Properties.User
	}
	s := tr.Defaults(agent)
	s.UserProperties = []mtp.UserProperty{{Name: "site", Value: "north", Packets: []string{"PUBLISH", "SUBSCRIBE"}}}
	if err := tr.Configure(agent, s); err != nil {
		t.Fatal(err)
	}
	north := packets.UserProperty{Key: "site", Val: "north"}
	if diff := cmp.Diff([]packets.UserProperty{north}, published()); diff != "" {
		t.Errorf("PUBLISH (-want +got):\n%s", diff)
	}
	s.UserProperties = []mtp.UserProperty{{Name: "site", Value: "north", Packets: []string{"CONNECT"}}, {Name: "why", Value: "lost", Packets: []string{"WILL"}}}
	if err := tr.Configure(agent, s); err != nil {
		t.Fatal(err)
	}
	connect := mtptest.Wait(t, b.connects, "another CONNECT")
	if diff := cmp.Diff([]packets.UserProperty{{Key: "usp-endpoint-id", Val: string(agent)}, north}, connect.Properties.User); diff != "" {
		t.Errorf("CONNECT (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]packets.UserProperty{{Key: "why", Val: "lost"}}, connect.Connect.WillProperties.User); diff != "" {
		t.Errorf("the will (-want +got):\n%s", diff)
	}
	if user := published(); len(user) > 0 {
		t.Errorf("PUBLISH has %v", user)
	}
}

// The packets of an agent's client are counted, across connections.
func TestPacketsAreCounted(t *testing.T) {
	b := startBroker(t, "", packets.Properties{})
	tr := newPerAgent(t, Config{Broker: "tcp://" + b.address, Topic: "usp/agent/{endpoint_id}"})
	tr.Host(agent, agentB)
	h := mtptest.NewRecorder()
	mtptest.Serve(t, tr, h)
	up(t, tr, agent, agentB)
	began := time.Now().Add(-time.Minute)
	if err := tr.Send(t.Context(), agent, controller, mtp.Address{Topic: "c"}, []byte("r")); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish("usp/agent/"+string(agent), []byte("r"), false, 1); err != nil {
		t.Fatal(err)
	}
	mtptest.Wait(t, h.In, "record")
	mtptest.Until(t, "all is acknowledged", func() bool { p, _ := tr.Packets(agent); return p.Sent == 4 && p.Received == 4 })
	mtptest.Until(t, "the broker has the acknowledgement", func() bool { return b.Info.Clone().Inflight == 0 }) // else it delivers again
	tr.Reconnect("os::none")
	tr.Reconnect(agent)
	for range 3 {
		mtptest.Wait(t, b.connects, "CONNECT")
	}
	// Twice CONNECT and SUBSCRIBE, PUBLISH, PUBACK and DISCONNECT; and their answers.
	want := mtp.Packets{Sent: 7, Received: 6, PublishSent: 1, PublishReceived: 1, SubscribeSent: 2}
	var got mtp.Packets
	mtptest.Until(t, "all is counted", func() bool {
		got, _ = tr.Packets(agent)
		return got.Sent == want.Sent && got.Received == want.Received && !got.Established.IsZero()
	})
	if got.LastPublishSent.Before(began) || got.LastPublishReceived.Before(began) || got.Established.Before(began) {
		t.Errorf("times of %+v", got)
	}
	got.LastPublishSent, got.LastPublishReceived, got.Established = time.Time{}, time.Time{}, time.Time{}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if p, _ := tr.Packets(agentB); p.PublishSent+p.PublishReceived != 0 || p.SubscribeSent != 1 {
		t.Errorf("the other agent's are %+v", p)
	}
	if _, ok := tr.Packets("os::none"); ok {
		t.Error("there are counts of no agent")
	}
}
