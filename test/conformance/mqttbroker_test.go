package conformance

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

// mqttBroker is an MQTT broker that tells what the bridge sends, and does what a
// case wants of it.
type mqttBroker struct {
	mochi.HookBase
	t       testing.TB
	server  *mochi.Server
	address string
	secure  string // address of the listener with TLS, "" without

	mu      sync.Mutex
	script  mqttScript
	bridge  map[*mochi.Client]bool
	sent    []mqttPacket
	changed chan struct{} // closed and made anew with each packet
}

// mqttScript is how a broker departs from the usual.
type mqttScript struct {
	connack      packets.Properties // of the answer to CONNECT, besides what it has
	refuse       int                // so many connections
	refuseTopics bool
}

// mqttPacket is one that the bridge has sent.
type mqttPacket struct {
	packets.Packet
	at time.Time
}

func newMQTTBroker(t testing.TB, script mqttScript, c *certificate) *mqttBroker {
	t.Helper()
	b := &mqttBroker{t: t, script: script, bridge: map[*mochi.Client]bool{}, changed: make(chan struct{})}
	b.server = mochi.New(&mochi.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	plain := listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:0"})
	steps := []error{b.server.AddHook(new(auth.AllowHook), nil), b.server.AddHook(b, nil), b.server.AddHook(new(mtptest.NoQuota), nil), b.server.AddListener(plain)}
	if c != nil {
		pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
		secure := listeners.NewTCP(listeners.Config{ID: "tls", Address: "127.0.0.1:0", TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}})
		steps = append(steps, err, b.server.AddListener(secure))
		b.secure = secure.Address()
	}
	if err := errors.Join(append(steps, b.server.Serve())...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.server.Close(); err != nil {
			t.Errorf("MQTT broker: %v", err)
		}
	})
	b.address = plain.Address()
	return b
}

// Provides tells the server which of the hook's methods there are.
func (b *mqttBroker) Provides(event byte) bool {
	return slices.Contains([]byte{mochi.OnConnect, mochi.OnPacketRead, mochi.OnPacketEncode}, event)
}

// OnPacketRead notes what the bridge sends. It is known by its CONNECT, which the
// controllers of the tests send without properties.
func (b *mqttBroker) OnPacketRead(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if pk.FixedHeader.Type == packets.Connect && len(pk.Properties.User) > 0 {
		b.bridge[cl] = true
	}
	if b.bridge[cl] {
		b.sent = append(b.sent, mqttPacket{pk, time.Now()})
		close(b.changed)
		b.changed = make(chan struct{})
	}
	return pk, nil
}

// OnConnect refuses connections if it is to.
func (b *mqttBroker) OnConnect(cl *mochi.Client, _ packets.Packet) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.bridge[cl] || b.script.refuse == 0 {
		return nil
	}
	b.script.refuse--
	return packets.ErrServerUnavailable
}

// OnPacketEncode changes what the broker answers the bridge.
func (b *mqttBroker) OnPacketEncode(cl *mochi.Client, pk packets.Packet) packets.Packet {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.bridge[cl] {
		return pk
	}
	switch {
	case pk.FixedHeader.Type == packets.Connack:
		pk.Properties.User = append(pk.Properties.User, b.script.connack.User...)
		pk.Properties.ResponseInfo = b.script.connack.ResponseInfo
		if b.script.connack.ServerKeepAliveFlag {
			pk.Properties.ServerKeepAlive, pk.Properties.ServerKeepAliveFlag = b.script.connack.ServerKeepAlive, true
		}
	case pk.FixedHeader.Type == packets.Suback && b.script.refuseTopics:
		for i := range pk.ReasonCodes {
			pk.ReasonCodes[i] = packets.ErrNotAuthorized.Code
		}
	}
	return pk
}

// next takes the first packet of a kind that the bridge has sent, and drops those
// before it.
func (b *mqttBroker) next(kind byte) mqttPacket {
	b.t.Helper()
	over := time.After(testenv.Patience)
	for {
		b.mu.Lock()
		for i, pk := range b.sent {
			if pk.FixedHeader.Type == kind {
				b.sent = b.sent[i+1:]
				b.mu.Unlock()
				return pk
			}
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-over:
			b.t.Fatalf("the bridge sent no packet of type %d within %v", kind, testenv.Patience)
		}
	}
}

// seen returns the packets of a kind that the bridge has sent and nobody took.
func (b *mqttBroker) seen(kind byte) (found []mqttPacket) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, pk := range b.sent {
		if pk.FixedHeader.Type == kind {
			found = append(found, pk)
		}
	}
	return found
}

// become changes the script.
func (b *mqttBroker) become(s mqttScript) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.script = s
}

// cut ends the bridge's connection: with a DISCONNECT packet, or without a word.
func (b *mqttBroker) cut(politely bool) {
	b.t.Helper()
	b.mu.Lock()
	var clients []*mochi.Client
	for cl := range b.bridge {
		if !cl.Closed() {
			clients = append(clients, cl)
		}
	}
	b.mu.Unlock()
	for _, cl := range clients {
		if politely {
			// It has to return an error: the connection is over.
			_ = b.server.DisconnectClient(cl, packets.ErrServerShuttingDown)
		} else {
			cl.Stop(errors.New("cut"))
		}
	}
}

// behind brings up a bridge behind a broker of its own and returns the case as
// played there.
func (t *trial) behind(script mqttScript, keys map[string]any) (*mqttBroker, *trial) {
	t.Helper()
	b := newMQTTBroker(t.T, script, nil)
	return b, newField(t.T, &field{gateway: t.field.gateway, over: mtp.MQTT, broker: b.address}, keys).start(t.T)
}
