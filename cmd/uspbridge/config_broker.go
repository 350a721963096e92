package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/broker"
)

// BrokerConfig is the embedded MQTT broker. It is off unless it listens somewhere.
type BrokerConfig struct {
	Listen          string             `mapstructure:"listen"`
	WebSocketListen string             `mapstructure:"websocket_listen"`
	TLS             ServerTLS          `mapstructure:"tls"`
	Users           string             `mapstructure:"users"` // file, see brokerUser; beside those in the store
	Anonymous       Switch             `mapstructure:"anonymous"`
	Rules           []BrokerRuleConfig `mapstructure:"rules"`
	Clients         Count              `mapstructure:"clients"`
	Sessions        Count              `mapstructure:"sessions"` // of one endpoint
	Queue           Count              `mapstructure:"queue"`    // messages a session may have unacknowledged
	SessionExpiry   Duration           `mapstructure:"session_expiry"`
	KeepAlive       Duration           `mapstructure:"keep_alive"`
}

// BrokerRuleConfig gives endpoints more topics than their own.
type BrokerRuleConfig struct {
	Endpoint  string   `mapstructure:"endpoint"`
	Subscribe []string `mapstructure:"subscribe"`
	Publish   []string `mapstructure:"publish"`
}

func defaultBroker() BrokerConfig {
	return BrokerConfig{TLS: defaultServerTLS, Clients: 2000, Sessions: 8, Queue: 512, SessionExpiry: Duration(time.Hour), KeepAlive: Duration(10 * time.Minute)}
}

func (c BrokerConfig) on() bool { return c.Listen != "" || c.WebSocketListen != "" }

func (c BrokerConfig) rules() (all []broker.Rule) {
	for _, r := range c.Rules {
		all = append(all, broker.Rule(r))
	}
	return all
}

// useBroker has the bridge's MQTT transport use the embedded broker where no other
// is named.
func (l *configLoader) useBroker(c *USPConfig) {
	c.MTP.MQTT.embedded = c.Broker.on() && (c.MTP.MQTT.Broker == "" || !l.present("usp.mtp.mqtt.broker"))
	c.MTP.MQTT.on = c.MTP.MQTT.on || c.MTP.MQTT.embedded
}

func (l *configLoader) checkEmbeddedBroker(c USPConfig) {
	const key = "usp.broker"
	b := c.Broker
	l.checkListen(key+".listen", b.Listen)
	l.checkListen(key+".websocket_listen", b.WebSocketListen)
	if !b.on() {
		if l.present(key) {
			l.wrong(key+".listen", "must be set, for example 127.0.0.1:1883: without it the broker is off and the section's other keys do nothing")
		}
		return
	}
	l.checkServerTLS(key+".tls", b.TLS)
	if b.Users != "" {
		if _, err := readBrokerUsers(b.Users); err != nil {
			l.wrong(key+".users", "%v", err)
		}
	}
	for i, r := range b.rules() {
		if err := r.Check(); err != nil {
			l.wrong(fmt.Sprintf("%s.rules[%d]", key, i), "%v", err)
		}
	}
	for _, v := range []struct {
		name string
		zero bool
	}{{"clients", b.Clients == 0}, {"sessions", b.Sessions == 0}, {"queue", b.Queue == 0}, {"session_expiry", b.SessionExpiry == 0}} {
		if v.zero {
			l.wrong(key+"."+v.name, "must be more than 0")
		}
	}
	if b.Queue > broker.MaxQueue {
		l.invalid(key+".queue", "%d is more than the broker can keep for one client, %d", b.Queue, broker.MaxQueue)
	}
	if b.KeepAlive < Duration(time.Second) || b.KeepAlive > Duration(65535*time.Second) {
		l.invalid(key+".keep_alive", "%v is not 1s to 18h12m15s", b.KeepAlive)
	}
	if c.MTP.MQTT.embedded && !strings.Contains(c.MTP.MQTT.Topic, mtp.EndpointPlaceholder) {
		l.wrong("usp.mtp.mqtt.topic", "%q is for all agents; on the embedded broker each needs its own: put {endpoint_id} into it", c.MTP.MQTT.Topic)
	}
	if c.MTP.MQTT.embedded && c.MTP.MQTT.Version == "3.1.1" {
		l.wrong("usp.mtp.mqtt.version", "the embedded broker tells the bridge who has sent a message by a property that 3.1.1 does not have; leave it out: endpoints may speak either version to it")
	}
}

// brokerUser is one entry of the file that usp.broker.users names:
//
//	native-1:
//	  endpoint: os::00259E-0123456789
//	  hash: $2y$10$…   # bcrypt, as `htpasswd -nB native-1` makes it
type brokerUser struct {
	Endpoint string `yaml:"endpoint"`
	Hash     string `yaml:"hash"`
}

// readBrokerUsers reads what endpoints may log in to the embedded broker with.
func readBrokerUsers(file string) (map[string]broker.Account, error) {
	users, err := readUsers[brokerUser](file, `native-1: {endpoint: "os::00259E-1", hash: $2y$10$…}`)
	if err != nil {
		return nil, err
	}
	accounts := map[string]broker.Account{}
	for name, u := range users {
		a := broker.Account{Username: name, Endpoint: usp.EndpointID(u.Endpoint), Hash: []byte(u.Hash)}
		if err := a.Check(); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		accounts[name] = a
	}
	return accounts, nil
}
