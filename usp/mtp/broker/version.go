package broker

import (
	"math"
	"strings"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Endpoints that speak different versions of MQTT understand each other here: where
// answers go is a property in 5.0 and the end of the topic in 3.1.1 (TR-369 R-MQTT.23,
// R-MQTT.24). Inside the broker it is a property. TR-369 has endpoints take a
// difference for an error (R-MQTT.26a) because other brokers leave it as it is.

// takeReplyTo turns the topic of a 3.1.1 client's message into what 5.0 has.
func takeReplyTo(cl *mochi.Client, pk *packets.Packet) {
	if cl.Properties.ProtocolVersion >= 5 {
		return
	}
	if topic, reply, has := strings.Cut(pk.TopicName, replyTo); has && topic != "" {
		pk.TopicName, pk.Properties.ResponseTopic = topic, unescape(reply)
	}
}

// giveReplyTo is the reverse, for a 3.1.1 client that has subscribed to such topics: one
// that listens at its own topic alone does without.
func giveReplyTo(cl *mochi.Client, pk *packets.Packet) {
	if cl.Properties.ProtocolVersion >= 5 || pk.Properties.ResponseTopic == "" {
		return
	}
	topic := pk.TopicName + replyTo + escape(pk.Properties.ResponseTopic)
	if len(topic) > math.MaxUint16 {
		return
	}
	for filter := range cl.State.Subscriptions.GetAll() {
		if rest, shared := strings.CutPrefix(filter, "$share/"); shared {
			_, filter, _ = strings.Cut(rest, "/")
		}
		if covers(filter, topic) {
			pk.TopicName = topic
			return
		}
	}
}

// escape is the reverse of unescape.
func escape(topic string) string {
	return strings.NewReplacer("%2F", "%252F", "/", "%2F").Replace(topic)
}
