package main

import (
	"net/url"
	"strconv"
	"time"

	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// What agents show of the brokers in Device.MQTT. and Device.STOMP. The transports
// have checked the URLs, and have the same defaults.

// The waits of mtp.Backoff's zero value, with which brokers are connected to.
const (
	brokerRetryFirst = time.Second
	brokerRetryMost  = time.Minute
	brokerRetryTimes = 2000 // thousandths
)

// brokers returns what is configured of the transports over brokers that are on.
func (c *MTPConfig) brokers() map[mtp.Protocol]agent.Broker {
	all := map[mtp.Protocol]agent.Broker{}
	if c.MQTT.on {
		b := brokerAt(c.MQTT.Broker, map[string]int{"tcp": 1883, "mqtt": 1883, "ws": 80, "wss": 443}, 8883)
		b.Transports = []string{"TCP/IP", "TLS", "WebSocket", "WebSocketTLS"}
		b.Version, b.Versions = string(c.MQTT.Version), []string{"3.1.1", "5.0"}
		if b.Username = c.MQTT.Username; c.MQTT.QoS != "0" {
			b.QoS = 1
		}
		b.Shared = mtp.Settings{ClientID: c.MQTT.ClientID, KeepAlive: time.Duration(c.MQTT.KeepAlive)}
		all[mtp.MQTT] = b
	}
	if c.STOMP.on {
		b := brokerAt(c.STOMP.Broker, map[string]int{"tcp": 61613, "stomp": 61613}, 61614)
		b.Username = c.STOMP.Login
		beat := time.Duration(c.STOMP.HeartBeat)
		b.Shared = mtp.Settings{VirtualHost: c.STOMP.Host, HeartbeatOutgoing: beat, HeartbeatExpect: beat}
		all[mtp.STOMP] = b
	}
	return all
}

// brokerAt reads a broker's URL; ports are those of some schemes, secure that of
// the others.
func brokerAt(broker string, ports map[string]int, secure int) agent.Broker {
	b := agent.Broker{RetryFirst: brokerRetryFirst, RetryMost: brokerRetryMost, RetryMultiplier: brokerRetryTimes}
	u, err := url.Parse(broker)
	if err != nil {
		return b // the transport does not start with it
	}
	b.Host = u.Hostname()
	var plain bool
	if b.Port, plain = ports[u.Scheme]; !plain {
		b.Port = secure
	}
	if port, err := strconv.Atoi(u.Port()); err == nil {
		b.Port = port
	}
	b.Encrypted = !plain || u.Scheme == "wss"
	switch b.Transport = "TCP/IP"; {
	case u.Scheme == "ws":
		b.Transport = "WebSocket"
	case u.Scheme == "wss":
		b.Transport = "WebSocketTLS"
	case b.Encrypted:
		b.Transport = "TLS"
	}
	return b
}
