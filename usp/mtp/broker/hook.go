package broker

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp/flood"
)

// SenderProperty is the user property of a message by which the broker names the
// endpoint that has sent it. It is there only if that is proven, and what a client
// itself writes into it is taken out.
const SenderProperty = "uspbridge-sender"

// subscribeProperty names the topics that an endpoint shall subscribe to (TR-369
// R-MQTT.15).
const subscribeProperty = "subscribe-topic"

// peer is what is known of a client. own is the program itself.
type peer struct {
	known
	*rights
	own     bool
	before  *mochi.Client // that had the session, until it is taken over; nil: none
	largest atomic.Int64  // payload of what it has unacknowledged, or more
}

// hook is where mochi asks what a client may do.
type hook struct {
	mochi.HookBase
	*sessions
	broker *Broker
	login  *login
}

func newHook(b *Broker, l *login) *hook {
	return &hook{broker: b, login: l, sessions: newSessions()}
}

// ID names the hook.
func (*hook) ID() string { return "uspbridge" }

// Provides lists what mochi asks.
func (*hook) Provides(what byte) bool {
	return bytes.IndexByte([]byte{
		mochi.OnConnect, mochi.OnConnectAuthenticate, mochi.OnSessionEstablished, mochi.OnACLCheck, mochi.OnPacketEncode, mochi.OnPublish, mochi.OnPublishDropped,
		mochi.OnQosDropped, mochi.OnWill, mochi.OnDisconnect, mochi.OnClientExpired,
	}, what) >= 0
}

// OnConnect settles who the client is. Nobody shares a session with another
// endpoint: the client id is one of the endpoint's own.
func (h *hook) OnConnect(cl *mochi.Client, pk packets.Packet) error {
	// What mochi puts into aliases does not arrive if the message that would have
	// told them is dropped.
	cl.Properties.Props.TopicAliasMaximum = 0
	withoutQuota(cl)
	if cl.Net.Listener == listenerOwn {
		h.enter(cl, &peer{own: true}, 0)
		return nil
	}
	p, err := h.admit(cl, pk)
	if err != nil {
		return h.refuse(cl, pk, err)
	}
	if !h.enter(cl, p, h.broker.cfg.MaxSessions) {
		h.broker.warn("an endpoint has too many sessions at the MQTT broker", "endpoint", p.endpoint)
		return h.refuse(cl, pk, packets.ErrQuotaExceeded)
	}
	h.bound(cl)
	h.broker.cfg.Log.Debug("MQTT client", "endpoint", p.endpoint, "proven", p.proven, "client id", pk.Connect.ClientIdentifier, "remote", cl.Net.Remote)
	return nil
}

// withoutQuota turns off mochi's count of what a client may still be sent. Looking
// for what waits for it, mochi takes a read lock twice, which never ends if somebody
// publishes to the client in between; and it forgets what it sends from there. full
// bounds the same.
func withoutQuota(cl *mochi.Client) { cl.State.Inflight.ResetSendQuota(0) }

// OnSessionEstablished is called before anything is read from the client. Where it
// has taken over a session mochi has set the quota anew.
func (h *hook) OnSessionEstablished(cl *mochi.Client, _ packets.Packet) {
	withoutQuota(cl)
	h.taken(cl)
}

func (h *hook) admit(cl *mochi.Client, pk packets.Packet) (*peer, error) {
	c, ok := cl.Net.Conn.(*conn)
	if !ok {
		return nil, fmt.Errorf("a connection of type %T", cl.Net.Conn)
	}
	s := shown{chain: c.chain, clientID: pk.Connect.ClientIdentifier, hasName: pk.Connect.UsernameFlag,
		username: string(pk.Connect.Username), password: pk.Connect.Password}
	s.remote, s.local = addressOf(c.RemoteAddr())
	for _, u := range pk.Properties.User {
		if u.Key == endpointProperty {
			s.claimed = usp.EndpointID(u.Val)
		}
	}
	who, err := h.login.identify(s)
	if err != nil {
		return nil, err
	}
	p := &peer{known: who, rights: h.broker.rightsOf(who.endpoint)}
	if pk.Connect.WillFlag && !p.mayPublish(pk.Connect.WillTopic) {
		return nil, packets.ErrNotAuthorized
	}
	return p, nil
}

// refuse answers a CONNECT that is not taken.
func (h *hook) refuse(cl *mochi.Client, pk packets.Packet, err error) error {
	code := packets.ErrUnspecifiedError
	if !errors.As(err, &code) {
		h.broker.cfg.Log.Error("a login at the MQTT broker cannot be checked", "error", err)
	}
	h.broker.metrics.refuse("login")
	h.broker.warn("an MQTT client was refused", "remote", cl.Net.Remote, "user", shorten(string(pk.Connect.Username)), "reason", code.Reason)
	if sent := h.broker.server.SendConnack(cl, code, false, nil); sent != nil {
		return errors.Join(err, sent)
	}
	return err
}

// bound gives a client a keep-alive where it has none or too long a one. MQTT 3.1.1
// cannot tell it; there TCP's own finds those that are gone.
func (h *hook) bound(cl *mochi.Client) {
	longest := uint16(h.broker.cfg.KeepAlive / time.Second)
	if cl.Properties.ProtocolVersion >= 5 && (cl.State.Keepalive == 0 || cl.State.Keepalive > longest) {
		cl.State.Keepalive, cl.State.ServerKeepalive = longest, true
	}
}

// OnConnectAuthenticate lets in who OnConnect has admitted.
func (h *hook) OnConnectAuthenticate(cl *mochi.Client, _ packets.Packet) bool {
	return h.peer(cl) != nil
}

// OnDisconnect forgets a client whose session ends with its connection, or has gone
// over to another connection.
func (h *hook) OnDisconnect(cl *mochi.Client, _ error, expire bool) {
	if expire || cl.IsTakenOver() {
		h.forget(cl)
	}
}

// OnClientExpired forgets a session that was kept long enough; mochi leaves its
// subscriptions.
func (h *hook) OnClientExpired(cl *mochi.Client) {
	h.broker.server.UnsubscribeClient(cl)
	cl.ClearInflights()
	h.forget(cl)
}

// OnACLCheck tells whether a client may publish on a topic, or subscribe to and
// hear what a filter or topic says.
func (h *hook) OnACLCheck(cl *mochi.Client, topic string, write bool) bool {
	p := h.peer(cl)
	switch {
	case p == nil:
		return false
	case p.own:
		return true
	case write && p.mayPublish(topic), !write && p.maySubscribe(topic):
		return true
	}
	h.broker.metrics.refuse("topic")
	h.broker.warn("an MQTT topic was refused", "endpoint", p.endpoint, "topic", shorten(topic), "publish", write)
	return false
}

func shorten(topic string) string { return topic[:min(len(topic), 200)] }

// OnPacketEncode tells a client in CONNACK where to listen, and what there is not.
func (h *hook) OnPacketEncode(cl *mochi.Client, pk packets.Packet) packets.Packet {
	if pk.FixedHeader.Type == packets.Connack || pk.FixedHeader.Type == packets.Publish {
		pk.Mods.DisallowProblemInfo = false // MQTT-3.1.2-29 leaves these their user properties
	}
	if pk.FixedHeader.Type == packets.Publish {
		giveReplyTo(cl, &pk)
	}
	if pk.FixedHeader.Type != packets.Connack || pk.ReasonCode != packets.CodeSuccess.Code {
		return pk
	}
	props := &pk.Properties
	props.MaximumPacketSize = uint32(h.broker.maxPacket())
	props.RetainAvailable, props.RetainAvailableFlag = 0, true
	if p := h.peer(cl); p != nil && !p.own {
		props.User = append(props.User, packets.UserProperty{Key: subscribeProperty, Val: p.rights.own}) // R-MQTT.15
		props.ResponseInfo = p.rights.own                                                                // R-MQTT.12, to those that ask
	}
	return pk
}

// OnPublish lets a message pass that its sender may send, with the sender's name.
func (h *hook) OnPublish(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	p := h.peer(cl)
	if p == nil {
		return pk, packets.ErrRejectPacket
	}
	takeReplyTo(cl, &pk)
	if code := h.judge(p, &pk); code != packets.CodeSuccess {
		return pk, h.reject(cl, p, pk, code)
	}
	h.broker.metrics.published.Add(1)
	h.broker.metrics.bytes.Add(uint64(len(pk.Payload)))
	if cl.Properties.ProtocolVersion >= 5 && pk.FixedHeader.Qos == 1 && h.unheard(pk.TopicName) {
		return pk, packets.CodeNoMatchingSubscribers // the sender is told so
	}
	return pk, nil
}

// unheard reports whether nobody has subscribed to a topic.
func (h *hook) unheard(topic string) bool {
	s := h.broker.server.Topics.Subscribers(topic)
	return len(s.Subscriptions) == 0 && len(s.Shared) == 0
}

// judge returns why a message is not taken, and names its sender in it.
func (h *hook) judge(p *peer, pk *packets.Packet) packets.Code {
	if !p.own {
		switch {
		case !h.broker.withinRates(p.endpoint, len(pk.Payload)):
			h.broker.metrics.refuse("rate")
			return packets.ErrMessageRateTooHigh
		case !p.mayReplyTo(pk.Properties.ResponseTopic):
			h.broker.metrics.refuse("topic")
			return packets.ErrNotAuthorized
		}
	}
	pk.Properties.User = h.signed(p, pk.Properties.User)
	if !h.awaitRoom(pk, p.own) {
		h.broker.metrics.refuse("queue")
		return packets.ErrQuotaExceeded
	}
	return packets.CodeSuccess
}

// signed returns the user properties of a message with the name of its sender, which
// only the broker writes.
func (*hook) signed(p *peer, user []packets.UserProperty) []packets.UserProperty {
	user = slices.DeleteFunc(user, func(u packets.UserProperty) bool { return u.Key == SenderProperty })
	if p.proven {
		user = append(user, packets.UserProperty{Key: SenderProperty, Val: string(p.endpoint)})
	}
	return user
}

// reject refuses a message as its protocol allows. MQTT 3.1.1 knows no refusal and
// mochi none of QoS 2: there the connection is closed. Who sends too fast is cut off
// in any case.
func (h *hook) reject(cl *mochi.Client, p *peer, pk packets.Packet, code packets.Code) error {
	switch {
	case code == packets.ErrMessageRateTooHigh || pk.FixedHeader.Qos > 0 && (cl.Properties.ProtocolVersion < 5 || pk.FixedHeader.Qos > 1):
		h.broker.warn("an MQTT client was cut off", "endpoint", p.endpoint, "reason", code.Reason)
		_ = h.broker.server.DisconnectClient(cl, code) // it returns the reason
	case pk.FixedHeader.Qos > 0:
		return code
	}
	return packets.ErrRejectPacket
}

// OnWill names the sender of a will as that of any message.
func (h *hook) OnWill(cl *mochi.Client, will mochi.Will) (mochi.Will, error) {
	p := h.peer(cl)
	if p == nil {
		return mochi.Will{}, nil
	}
	will.User = h.signed(p, will.User)
	return will, nil
}

// OnPublishDropped cuts a client off that takes messages of QoS 0 too slowly.
func (h *hook) OnPublishDropped(cl *mochi.Client, _ packets.Packet) {
	h.broker.metrics.dropped.Add(1)
	if p := h.peer(cl); p != nil && !p.own {
		h.broker.metrics.cut.Add(1)
		go cl.Stop(errSlow) // it may wait for the connection
	}
}

// OnQosDropped counts messages that nobody took in time.
func (h *hook) OnQosDropped(_ *mochi.Client, pk packets.Packet) { h.broker.metrics.dropped.Add(1) }

// maxRoomWait is how long who publishes is held up by one that does not keep up.
const maxRoomWait = 2 * time.Second

// awaitRoom reports whether those that a message is for can hold it. mochi
// acknowledges a message before it knows. Only the sender waits, and the program
// itself, which sends for many, does not.
func (h *hook) awaitRoom(pk *packets.Packet, own bool) bool {
	if pk.FixedHeader.Qos == 0 {
		return true
	}
	for wait, waited := time.Millisecond, time.Duration(0); ; wait *= 2 {
		if h.room(pk) {
			return true
		}
		if own || waited >= maxRoomWait || !h.broker.pause(wait) {
			return false
		}
		waited += wait
	}
}

func (h *hook) room(pk *packets.Packet) bool {
	for id := range h.broker.server.Topics.Subscribers(pk.TopicName).Subscriptions {
		if cl, ok := h.broker.server.Clients.Get(id); ok && h.full(cl, len(pk.Payload)) {
			return false
		}
	}
	return true
}

// full reports whether a session has as much unacknowledged as it may.
func (h *hook) full(cl *mochi.Client, more int) bool {
	p := h.peer(cl)
	if p == nil {
		return false // mochi gives it nothing
	}
	n, most, bound := cl.State.Inflight.Len(), h.broker.cfg.MaxQueue, int64(h.broker.cfg.MaxPending)
	if theirs := int(cl.Properties.Props.ReceiveMaximum); theirs > 0 {
		// Those who publish at the same time do not see each other's: some is left
		// for them.
		most = min(most, theirs-theirs/4)
	}
	if p.own {
		bound = ownPending
	}
	if n >= most {
		return true
	}
	// The bytes are counted only where they may be too many.
	largest := max(p.largest.Load(), int64(more))
	if int64(n+1)*largest > bound {
		var held int64
		largest = int64(more)
		for _, m := range cl.State.Inflight.GetAll(false) {
			held += int64(len(m.Payload))
			largest = max(largest, int64(len(m.Payload)))
		}
		if n > 0 && held+int64(more) > bound {
			return true
		}
	}
	p.largest.Store(largest)
	return false
}

// withinRates takes one message out of an endpoint's allowance.
func (b *Broker) withinRates(id usp.EndpointID, n int) bool { return flood.Take(b.rates, id, n) }
