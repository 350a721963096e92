package main

import (
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/usp/mtp"
)

// Connections says whose the connections to a broker are.
type Connections string

// The ways to connect to a broker.
const (
	sharedConnections Connections = "shared"    // one for all agents
	perAgent          Connections = "per-agent" // one for each
)

// UnmarshalText takes one of the ways.
func (c *Connections) UnmarshalText(b []byte) error { return choose(c, b, sharedConnections, perAgent) }

// QoS is how records are published: "0" at most once, "1" at least once.
type QoS string

// UnmarshalText takes what USP has (R-MQTT.20).
func (q *QoS) UnmarshalText(b []byte) error { return choose(q, b, "0", "1") }

// WillConfig is what an MQTT broker publishes when it loses the connection. An
// empty topic is none.
type WillConfig struct {
	Topic   string  `mapstructure:"topic"`
	Payload string  `mapstructure:"payload"`
	QoS     WillQoS `mapstructure:"qos"`
	Retain  Switch  `mapstructure:"retain"`
}

// WillQoS is the quality of service of a last will.
type WillQoS string

// UnmarshalText takes all that MQTT has.
func (q *WillQoS) UnmarshalText(b []byte) error { return choose(q, b, "0", "1", "2") }

// checkMQTTConnections looks at what depends on whose the connections are.
func (l *configLoader) checkMQTTConnections(c MQTTConfig) {
	const key = "usp.mtp.mqtt."
	if k := time.Duration(c.KeepAlive); k%time.Second != 0 || k == 0 || k > 65535*time.Second {
		l.invalid(key+"keep_alive", "%v is not 1 to 65535 whole seconds", k)
	}
	if time.Duration(c.SessionExpiry) == 0 {
		l.invalid(key+"session_expiry", "must be more than 0: what is sent while the bridge is away is lost otherwise")
	}
	if strings.ContainsAny(c.Will.Topic, "+#") {
		l.invalid(key+"will.topic", "%q is not a topic; wildcards are not allowed", c.Will.Topic)
	}
	if c.Will.Topic == "" && c.Will.Payload != "" {
		l.wrong(key+"will.payload", "needs a will.topic")
	}
	l.checkPlaceholders(c.Connections, key, map[string]string{
		"client_id": c.ClientID, "username": c.Username, "will.topic": c.Will.Topic, "will.payload": c.Will.Payload,
	})
	if c.Connections != perAgent {
		return
	}
	l.checkOwnAddress(key+"topic", c.Topic)
	if c.ClientID != "" && !strings.Contains(c.ClientID, mtp.EndpointPlaceholder) {
		l.wrong(key+"client_id", "%q would be that of all agents, of which the broker keeps one connected; put {endpoint_id} into it, or leave it empty", c.ClientID)
	}
}

// checkSTOMPConnections is checkMQTTConnections for STOMP.
func (l *configLoader) checkSTOMPConnections(c STOMPConfig) {
	const key = "usp.mtp.stomp."
	l.checkPlaceholders(c.Connections, key, map[string]string{"login": c.Login})
	if c.Connections == perAgent {
		l.checkOwnAddress(key+"destination", c.Destination)
	}
}

// checkPlaceholders allows {endpoint_id} where each agent has its own connection.
func (l *configLoader) checkPlaceholders(c Connections, section string, values map[string]string) {
	for name, v := range values {
		if c != perAgent && strings.Contains(v, mtp.EndpointPlaceholder) {
			l.wrong(section+name, "{endpoint_id} can stand here only with connections: per-agent")
		}
	}
}

func (l *configLoader) checkOwnAddress(key, template string) {
	if !strings.Contains(template, mtp.EndpointPlaceholder) {
		l.wrong(key, "%q is for all agents; with connections: per-agent it needs {endpoint_id}", template)
	}
}
