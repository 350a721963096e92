package main

import (
	"testing"

	"github.com/uspbridge/uspbridge/usp/mtp"
)

// Agents show the broker that the configuration names.
func TestBrokersShown(t *testing.T) {
	for _, c := range []struct {
		url, host string
		port      int
		transport string
	}{
		{"tcp://broker.example", "broker.example", 1883, "TCP/IP"},
		{"mqtts://broker.example:1234", "broker.example", 1234, "TLS"},
		{"ssl://[2001:db8::1]", "2001:db8::1", 8883, "TLS"},
		{"ws://broker.example/mqtt", "broker.example", 80, "WebSocket"},
		{"wss://broker.example/mqtt", "broker.example", 443, "WebSocketTLS"},
	} {
		b := (&MTPConfig{MQTT: MQTTConfig{on: true, Broker: c.url}}).brokers()[mtp.MQTT]
		if b.Host != c.host || b.Port != c.port || b.Transport != c.transport || b.Encrypted != (c.transport == "TLS" || c.transport == "WebSocketTLS") {
			t.Errorf("%s: %+v", c.url, b)
		}
	}
	if b := (&MTPConfig{STOMP: STOMPConfig{on: true, Broker: "stomps://s.example"}}).brokers()[mtp.STOMP]; b.Port != 61614 || !b.Encrypted {
		t.Errorf("STOMP: %+v", b)
	}
	if all := (&MTPConfig{}).brokers(); len(all) != 0 {
		t.Errorf("nothing is on: %v", all)
	}
}
