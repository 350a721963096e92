package mqtt

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// sharePrefix begins the filter of a shared subscription (MQTT 5, 4.8.2).
const sharePrefix = "$share/"

// maxSubscriptions bounds what a controller may have one agent subscribe to.
const maxSubscriptions = 100

// filters returns what the settings, Listen and the template subscribe to. The
// caller holds t.mu.
func (t *Transport) filters() map[string]byte {
	all, settings := map[string]byte{}, t.standing.Settings()
	switch {
	case t.cfg.single == nil:
		t.inbound(all, t.topic.Expand("+"))
	case settings.Inbox != "":
		t.inbound(all, settings.Inbox)
	}
	for topic := range t.listening {
		t.inbound(all, topic)
	}
	for _, s := range settings.Subscriptions {
		all[t.shared(s.Topic)] = min(s.QoS, 1)
	}
	return all
}

// inbound adds the filters for what is written to a topic: in 3.1.1 that has
// another level, /reply-to=, if the sender tells one (R-MQTT.15).
func (t *Transport) inbound(filters map[string]byte, topic string) {
	filters[t.shared(topic)] = 1
	if t.version != 5 {
		filters[topic+"/+"] = 1
	}
}

func (t *Transport) shared(filter string) string {
	if t.cfg.ShareGroup != "" {
		return sharePrefix + t.cfg.ShareGroup + "/" + filter
	}
	return filter
}

// begin subscribes to all that is wanted, and to what the broker asks for itself
// (R-MQTT.15), and takes over its Response Information (R-MQTT.21). From then on
// changes go to c.
func (t *Transport) begin(c *conn, generation int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.standing.Current(generation); err != nil {
		return err
	}
	filters := t.filters()
	t.responseInfo.Store(nil)
	p := &c.connack.Properties
	for _, u := range p.User {
		if u.Key == "subscribe-topic" && checkFilter(u.Val) == nil {
			filters[t.shared(u.Val)] = 1
		}
	}
	if info := p.ResponseInfo; checkPublishTopic(info) == nil {
		t.responseInfo.Store(&info)
		if t.topic.Match(info) == "" {
			filters[t.shared(info)] = 1
		}
	}
	if len(filters) == 0 {
		return fmt.Errorf("mqtt: no topic to subscribe to is configured") // R-MQTT.16
	}
	t.live = c
	c.subscribe(filters)
	return nil
}

// finish ends what begin began.
func (t *Transport) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live = nil
}

// subscribe asks for topic filters, each with its QoS.
func (c *conn) subscribe(filters map[string]byte) {
	pk := &packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}}
	var names []string
	for f := range filters {
		names = append(names, f)
	}
	slices.Sort(names)
	for _, f := range names {
		pk.Filters = append(pk.Filters, packets.Subscription{
			Filter: f, Qos: filters[f],
			RetainHandling: 2, // what the broker has retained is no message for us: see receive
			// The wildcard covers the topics of native agents, to which we publish
			// ourselves. 3.1.1 has no such option, and a shared subscription must not
			// have it (MQTT 5, 3.8.3.1): there the relay knows its own again.
			NoLocal: c.t.version == 5 && !strings.HasPrefix(f, sharePrefix),
		})
	}
	pk.PacketID = c.ask(names)
	c.control(pk)
}

func (c *conn) unsubscribe(filters []string) { // R-MQTT.34
	pk := &packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: c.ask(nil)}
	for _, f := range filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: f})
	}
	c.control(pk)
}

// firstControlID is above the ids of an Outbox.
const firstControlID = 65_001

// ask returns the id of a packet that the broker answers.
func (c *conn) ask(filters []string) uint16 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nextID++; c.nextID < firstControlID {
		c.nextID = firstControlID
	}
	if filters != nil {
		c.asked[c.nextID] = filters
	}
	return c.nextID
}

// subscribed looks at the broker's answer. Without any topic nothing works
// (R-MQTT.17); one among others is only worth a warning.
func (c *conn) subscribed(pk *packets.Packet, before bool) error {
	c.mu.Lock()
	filters, ok := c.asked[pk.PacketID]
	delete(c.asked, pk.PacketID)
	c.mu.Unlock()
	if !ok || len(pk.ReasonCodes) != len(filters) {
		return fmt.Errorf("mqtt: SUBACK that answers nothing")
	}
	granted := 0
	var refusal error
	for i, code := range pk.ReasonCodes {
		if code < 0x80 {
			granted++
			continue
		}
		refusal = reasonError(code)
		c.t.cfg.Log.Warn("the MQTT broker refuses a subscription", "topic", filters[i], "error", refusal)
	}
	if granted == 0 && !before {
		err := fmt.Errorf("mqtt: the broker refuses every subscription: %w", refusal)
		c.end(err)
		return err
	}
	return nil
}

// Listen takes records at a topic besides the template's; Inbound.Local is then
// endpoint. It implements mtp.Listening.
func (t *Transport) Listen(at mtp.Address, endpoint usp.EndpointID) error {
	if err := checkPublishTopic(at.Topic); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, known := t.listening[at.Topic]
	if t.listening == nil {
		t.listening = map[string]usp.EndpointID{}
	}
	t.listening[at.Topic] = endpoint
	if !known && t.live != nil {
		added := map[string]byte{}
		t.inbound(added, at.Topic)
		t.live.subscribe(added)
	}
	return nil
}

// Unlisten ends what Listen began.
func (t *Transport) Unlisten(at mtp.Address) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.listening[at.Topic]; !known {
		return
	}
	before := t.filters()
	delete(t.listening, at.Topic)
	if t.live != nil {
		t.live.replace(before, t.filters())
	}
}

// Configure gives the connection of a single agent other settings. Topics are
// subscribed to and unsubscribed from on the connection that there is; what is
// said in CONNECT needs another.
func (t *Transport) Configure(s mtp.Settings) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, old := t.filters(), t.standing.Settings()
	t.standing.Change(s)
	if old.Disabled != s.Disabled || old.ClientID != s.ClientID || old.KeepAlive != s.KeepAlive || old.CleanStart != s.CleanStart || reintroduces(old, s) {
		t.renew()
		return
	}
	if t.live != nil {
		t.live.replace(before, t.filters())
	}
}

// again has the connection of a single agent made again.
func (t *Transport) again() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.renew()
}

// renew ends the connection, for another that is made at once. The caller holds t.mu.
func (t *Transport) renew() {
	if t.live != nil {
		go t.live.end(mtp.ErrChanged)
	}
	t.standing.Hurry()
}

// replace subscribes to what is new of filters, and unsubscribes from what is
// gone.
func (c *conn) replace(before, now map[string]byte) {
	var gone []string
	for f := range before {
		if qos, still := now[f]; !still {
			gone = append(gone, f)
		} else if qos == before[f] {
			delete(now, f)
		}
	}
	if len(gone) > 0 {
		slices.Sort(gone)
		c.unsubscribe(gone)
	}
	if len(now) > 0 {
		c.subscribe(now)
	}
}
