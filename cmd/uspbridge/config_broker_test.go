package main

import (
	"strings"
	"testing"
)

// hashOfTheirs is the bcrypt of a password.
const hashOfTheirs = "$2a$10$Rr89iEpwWES5jri3LPQzquC79b6WTwphytJA9o33DtsXC/2QFyNZ6"

// TestBrokerIsUsed: the bridge's MQTT transport is on with the embedded broker, and
// uses it where no other is named.
func TestBrokerIsUsed(t *testing.T) {
	const on = "usp: {broker: {listen: '127.0.0.1:0'}"
	for yaml, want := range map[string]struct{ on, embedded bool }{
		"":                                   {},
		"usp: {mtp: {mqtt: {version: 5.0}}}": {on: true},
		on + "}":                             {true, true},
		"usp: {broker: {websocket_listen: ':0'}}":               {true, true},
		on + ", mtp: {mqtt: {topic: 'a/{endpoint_id}'}}}":       {true, true},
		on + ", mtp: {mqtt: {broker: ''}}}":                     {true, true},
		on + ", mtp: {mqtt: {broker: 'tcp://broker.example'}}}": {on: true},
		on + ", mtp: {mqtt: {broker: 'tcp://127.0.0.1:1883'}}}": {on: true},
	} {
		cfg, _, err := load(yaml, nil)
		if err != nil {
			t.Errorf("%s: %v", yaml, err)
			continue
		}
		if m := cfg.USP.MTP.MQTT; m.on != want.on || m.embedded != want.embedded {
			t.Errorf("%s: on %t, embedded %t", yaml, m.on, m.embedded)
		}
	}
}

func TestBrokerConfigProblems(t *testing.T) {
	users := func(text string) string {
		file := textFile(t, text)
		return "usp: {broker: {listen: ':1', users: " + file + "}}"
	}
	const on = "usp: {broker: {listen: ':1', "
	for name, tt := range map[string]struct{ yaml, want string }{
		"off":            {"usp: {broker: {anonymous: true}}", "usp.broker.listen: must be set"},
		"address":        {"usp: {broker: {listen: '1883'}}", `usp.broker.listen: "1883" is not an address`},
		"half of TLS":    {on + "tls: {cert: a.pem}}}", "usp.broker.tls: cert and key must both be set"},
		"shared topic":   {on + "queue: 5}, mtp: {mqtt: {topic: a}}}", `usp.mtp.mqtt.topic: "a" is for all agents; on the embedded broker each needs its own`},
		"3.1.1":          {on + "queue: 5}, mtp: {mqtt: {version: 3.1.1}}}", "usp.mtp.mqtt.version: the embedded broker tells the bridge who has sent a message by a property that 3.1.1 does not have"},
		"rule":           {on + "rules: [{endpoint: '*'}]}}", "usp.broker.rules[0]: the rule for * gives no topic"},
		"filter":         {on + "rules: [{endpoint: '*', publish: ['a/#/b']}]}}", "is not a topic filter"},
		"nothing":        {on + "clients: 0}}", "usp.broker.clients: must be more than 0"},
		"queue":          {on + "queue: 5000}}", "usp.broker.queue: 5000 is more than"},
		"keep-alive":     {on + "keep_alive: 0s}}", "usp.broker.keep_alive: 0s is not"},
		"no users":       {users(""), "no user in it"},
		"unknown key":    {users("a: {password: x}"), "line 1: field password not found"},
		"no hash":        {users("a: {endpoint: 'os::1', hash: secret}"), "user a: not a bcrypt hash"},
		"no endpoint":    {users("a: {hash: '" + hashOfTheirs + "'}"), "user a: endpoint id"},
		"burst":          {"usp: {limits: {records_per_second: 10, burst: 5}}", "usp.limits.burst: 5 is less than usp.limits.records_per_second, 10"},
		"burst of bytes": {"usp: {limits: {bytes_burst: 1MiB}}", "usp.limits.bytes_burst: 1MiB is less than one record may have, 5MiB"},
	} {
		if _, _, err := load(tt.yaml, nil); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "bridge.yaml:1") {
			t.Errorf("%s: %v, want %q with its line", name, err, tt.want)
		}
	}
}

func TestBrokerUsersFile(t *testing.T) {
	all, err := readBrokerUsers(textFile(t, "a: {endpoint: 'os::00259E-1', hash: '"+hashOfTheirs+"'}"))
	if a := all["a"]; err != nil || len(all) != 1 || a.Endpoint != "os::00259E-1" || a.Username != "a" || string(a.Hash) != hashOfTheirs {
		t.Errorf("read %+v, %v", all, err)
	}
}
