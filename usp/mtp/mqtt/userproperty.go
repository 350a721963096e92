package mqtt

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/uspbridge/uspbridge/usp/mtp"
)

// maxUserBytes bounds the user properties that a controller may have one agent send,
// together: they go with each packet.
const maxUserBytes = 16 << 10

// endpointProperty says who connects (R-MQTT.13).
const endpointProperty = "usp-endpoint-id"

// userPackets are the packets that are sent with user properties, by their names in
// Device.MQTT.Client.{i}.UserProperty.{i}.PacketType.
var userPackets = map[string]byte{
	mtp.ConnectPacket: packets.Connect, mtp.PublishPacket: packets.Publish, mtp.SubscribePacket: packets.Subscribe,
	mtp.UnsubscribePacket: packets.Unsubscribe, mtp.DisconnectPacket: packets.Disconnect,
}

// checkUserProperties reports why properties cannot be sent.
func checkUserProperties(version byte, list []mtp.UserProperty) error {
	if len(list) > 0 && version != 5 {
		return errors.New("mqtt: 3.1.1 has no user properties")
	}
	size := 0
	for _, p := range list {
		size += len(p.Name) + len(p.Value)
		for _, s := range []string{p.Name, p.Value} {
			if len(s) > 65535 || !utf8.ValidString(s) || slices.Contains([]byte(s), 0) {
				return fmt.Errorf("mqtt: user property %.40q: its name and value are UTF-8 without NUL", p.Name)
			}
		}
		if p.Name == endpointProperty {
			return fmt.Errorf("mqtt: user property %s: its value is the agent's endpoint id", p.Name)
		}
	}
	if size > maxUserBytes {
		return fmt.Errorf("mqtt: user properties of %d bytes, at most %d are sent with each packet", size, maxUserBytes)
	}
	return nil
}

// user returns the user properties that a controller wants in packets of a name.
func user(s mtp.Settings, name string) (list []packets.UserProperty) {
	for _, p := range s.UserProperties {
		if slices.Contains(p.Packets, name) {
			list = append(list, packets.UserProperty{Key: p.Name, Val: p.Value})
		}
	}
	return list
}

// adorn adds to a packet the user properties that it is to have.
func (t *Transport) adorn(pk *packets.Packet) {
	if t.cfg.single == nil || t.version != 5 {
		return
	}
	s := t.standing.Settings()
	if len(s.UserProperties) == 0 {
		return
	}
	for name, kind := range userPackets {
		if kind == pk.FixedHeader.Type {
			pk.Properties.User = append(pk.Properties.User, user(s, name)...)
		}
	}
	if pk.FixedHeader.Type == packets.Connect && pk.Connect.WillFlag {
		pk.Connect.WillProperties.User = user(s, mtp.WillPacket)
	}
}

// reintroduces reports whether other settings have user properties that are said in
// CONNECT alone.
func reintroduces(before, now mtp.Settings) bool {
	return slices.ContainsFunc([]string{mtp.ConnectPacket, mtp.WillPacket}, func(name string) bool {
		return !slices.Equal(user(before, name), user(now, name))
	})
}
