package mqtt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

func TestAssignedClientIDIsKept(t *testing.T) { // R-MQTT.9, R-MQTT.11
	b := startBroker(t, "", packets.Properties{})
	tr := newTransport(t, Config{Broker: "tcp://" + b.address, Topic: "usp/agent/{endpoint_id}"})
	mtptest.Serve(t, tr, mtptest.NewRecorder())
	mtptest.Wait(t, b.connects, "CONNECT")
	var id string
	for _, cl := range b.Clients.GetAll() {
		if !cl.Net.Inline {
			id = cl.ID
			cl.Stop(errors.New("test"))
		}
	}
	if again := mtptest.Wait(t, b.connects, "second CONNECT"); id == "" || again.Connect.ClientIdentifier != id {
		t.Errorf("second CONNECT as %q, want %q", again.Connect.ClientIdentifier, id)
	}
}

// keptIDs are ClientIds that outlive a transport.
type keptIDs struct {
	mu  sync.Mutex
	ids map[string]string
}

func (k *keptIDs) Assigned(_ context.Context, broker string, e usp.EndpointID) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ids[string(e)+"@"+broker], nil
}

func (k *keptIDs) Keep(_ context.Context, broker string, e usp.EndpointID, id string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ids[string(e)+"@"+broker] = id
	return nil
}

func (k *keptIDs) of(e usp.EndpointID) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	for of, id := range k.ids {
		if strings.HasPrefix(of, string(e)+"@") {
			return id
		}
	}
	return ""
}

// An assigned ClientId is that of the next process, until the broker does not take it.
func TestAssignedClientIDOutlivesTheProcess(t *testing.T) { // R-MQTT.9, R-MQTT.11
	const (
		assignsOne = "\x20\x09\x00\x00\x06\x12\x00\x03one"
		assignsTwo = "\x20\x09\x00\x00\x06\x12\x00\x03two"
		refuses    = "\x20\x03\x00\x85\x00"
	)
	l := listen(t)
	kept := &keptIDs{ids: map[string]string{}}
	for _, process := range []struct {
		connects [][2]string // the ClientId of CONNECT, and what the broker says
		kept     string
	}{
		{[][2]string{{"", assignsOne}}, "one"},
		{[][2]string{{"one", refuses}, {"", assignsTwo}}, "two"},
		{[][2]string{{"two", refuses}}, ""},
	} {
		tr := newTransport(t, Config{Broker: "tcp://" + l.Addr().String(), Topic: "usp/agent/{endpoint_id}", ClientIDs: kept})
		stop := mtptest.Start(t, tr, mtptest.NewRecorder())
		for _, c := range process.connects {
			p, connect := accept(t, l)
			if id := connect.Connect.ClientIdentifier; id != c[0] {
				t.Errorf("CONNECT as %q, want %q", id, c[0])
			}
			p.say(c[1])
		}
		mtptest.Until(t, fmt.Sprintf("%q is kept", process.kept), func() bool { return kept.of("self::uspbridge") == process.kept })
		stop()
	}
}

// What was assigned to an agent goes with it.
func TestAssignedClientIDIsForgotten(t *testing.T) {
	b := startBroker(t, "", packets.Properties{})
	kept := &keptIDs{ids: map[string]string{}}
	tr := newPerAgent(t, Config{Broker: "tcp://" + b.address, Topic: "usp/agent/{endpoint_id}", ClientIDs: kept})
	s := tr.Defaults(agent)
	s.ClientID = ""
	if err := tr.Configure(agent, s); err != nil {
		t.Fatal(err)
	}
	tr.Host(agent)
	mtptest.Serve(t, tr, mtptest.NewRecorder())
	up(t, tr, agent)
	if c, _ := tr.Connection(agent); c.ClientID == "" || kept.of(agent) != c.ClientID {
		t.Errorf("%q is kept, want %q", kept.of(agent), c.ClientID)
	}
	tr.Unhost(agent)
	if id := kept.of(agent); id != "" {
		t.Errorf("%q is kept", id)
	}
}
