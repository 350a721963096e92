package mtp

import (
	"time"

	"github.com/uspbridge/uspbridge/usp"
)

// PerEndpoint is implemented by transports over a broker that give each hosted
// endpoint a connection of its own, with the settings that a controller has given
// it in Device.MQTT.Client.{i}. or Device.STOMP.Connection.{i}. A transport whose
// one connection carries all agents does not implement it: its settings are the
// operator's.
type PerEndpoint interface {
	// Check reports why settings cannot work.
	Check(s Settings) error
	// Configure gives the connection of an endpoint other settings; it connects
	// again if it has to (R-MQTT.33, R-STOMP.8). It fails where Check does, and then
	// changes nothing. It may be called before Host.
	Configure(endpoint usp.EndpointID, s Settings) error
	// Connection tells how the connection of an endpoint stands. ok is false for
	// an endpoint that is not hosted.
	Connection(endpoint usp.EndpointID) (c Connection, ok bool)
	// Defaults returns the settings that an endpoint has before Configure.
	Defaults(endpoint usp.EndpointID) Settings
}

// Reconnecting is implemented by transports of which a controller may have an
// endpoint's own connection made again.
type Reconnecting interface {
	// Reconnect has it made again at once. What is on its way is sent before or on the
	// next. It does nothing for an endpoint that is not hosted.
	Reconnect(endpoint usp.EndpointID)
}

// Settings are what may differ from one endpoint's connection to another's.
// Passwords are not among them: a controller sets none, the operator does.
type Settings struct {
	Disabled bool
	Inbox    string // topic or destination the endpoint listens at; from the template by default

	// MQTT
	ClientID       string // "": the broker assigns one
	KeepAlive      time.Duration
	CleanStart     bool
	Subscriptions  []Subscription // beside Inbox
	UserProperties []UserProperty // beside those that USP has

	// STOMP
	VirtualHost                        string
	HeartbeatOutgoing, HeartbeatExpect time.Duration // what we can do and what we want; 0: none
}

// Subscription is a topic filter that a controller has added to a connection.
type Subscription struct {
	Topic string
	QoS   byte
}

// UserProperty is what a controller has an endpoint say in packets of MQTT 5.
type UserProperty struct {
	Name, Value string
	Packets     []string
}

// The packets that may have a UserProperty.
const (
	ConnectPacket     = "CONNECT"
	WillPacket        = "WILL" // the will in CONNECT
	PublishPacket     = "PUBLISH"
	SubscribePacket   = "SUBSCRIBE"
	UnsubscribePacket = "UNSUBSCRIBE"
	DisconnectPacket  = "DISCONNECT"
)

// Counting is implemented by transports that count the packets of MQTT.
type Counting interface {
	// Packets returns the counts of the client over which an endpoint is connected. ok
	// is false if there is none.
	Packets(endpoint usp.EndpointID) (p Packets, ok bool)
}

// Packets are the counts of an MQTT client since the program began, across its
// connections.
type Packets struct {
	Sent, Received                       uint64
	PublishSent, PublishReceived         uint64
	SubscribeSent, UnsubscribeSent       uint64
	ConnectionErrors, PublishErrors      uint64
	LastPublishSent, LastPublishReceived time.Time // zero: never
	Established                          time.Time // of the connection that stands; zero for none
}

// Connection is the state of one endpoint's connection.
type Connection struct {
	Up        bool
	LastError string
	Trouble   Trouble // what kind of error that is
	ClientID  string  // as the broker has it
	Inbox     string  // where records for the endpoint are to be sent
	// Incoming and Outgoing are the heart-beats agreed with the broker (STOMP).
	Incoming, Outgoing time.Duration
	Since              time.Time // of the last change of Up
}
