package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWaysConfig: how CPE are woken, as it is read from a file.
func TestWaysConfig(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users.yaml")
	if err := os.WriteFile(users, []byte("u: {password: p}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := load(`
cwmp:
  auth: {mode: digest, users: `+users+`}
  lightweight_notification: {listen: ":8765", address: "acs.example:8765"}
  connection_request:
    max_concurrent: 1000
    stun: {listen: ":3478", address: "stun.example:3478", min_keepalive: 20s, max_keepalive: 2m}
    xmpp:
      server: "xmpps://xmpp.example"
      domain: example.com
      username: acs
      password: secret
      device: {username: "{oui}-{serial}", password: pw, server: "xmpp.example:5222"}
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := cfg.CWMP.ConnectionRequest
	want := defaultConnectionRequest()
	want.MaxConcurrent = 1000
	want.STUN = STUNConfig{":3478", "stun.example:3478", Duration(20 * time.Second), Duration(2 * time.Minute)}
	want.XMPP = XMPPConfig{Server: "xmpps://xmpp.example", Domain: "example.com", Username: "acs", Password: "secret", Resource: "uspbridge",
		Device: XMPPDeviceConfig{"{oui}-{serial}", "pw", "xmpp.example:5222"}}
	if c != want {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	if s := wakeSettings(cfg.CWMP); s.XMPPJID != "acs@example.com/uspbridge" || s.STUNAddress != "stun.example:3478" || s.NotifyAddress != "acs.example:8765" {
		t.Errorf("CPE are told %+v", s)
	}
	if address, direct, err := xmppServer(c.XMPP.Server); address != "xmpp.example:5223" || !direct || err != nil {
		t.Errorf("the XMPP server is %s, direct TLS %v, %v", address, direct, err)
	}
}

func TestWaysConfigProblems(t *testing.T) {
	const stun, xmpp = "cwmp: {connection_request: {stun: {", "cwmp: {connection_request: {xmpp: {"
	for name, tt := range map[string]struct{ yaml, want string }{
		"no address":           {stun + "listen: ':3478'}}}", "cwmp.connection_request.stun.address: must be set"},
		"address without host": {stun + "listen: ':3478', address: ':3478'}}}", `cwmp.connection_request.stun.address: ":3478" is not a host and port`},
		"address alone":        {stun + "address: 'h:3478'}}}", "stun.address: is set, but cwmp.connection_request.stun.listen is empty"},
		"keep-alive":           {stun + "min_keepalive: 2m}}}", "min_keepalive must be at least 1s and max_keepalive not less"},
		"no server":            {xmpp + "domain: d}}}", "cwmp.connection_request.xmpp.server: must be set"},
		"not a server":         {xmpp + "server: 'h:5222', domain: d, username: u, password: p}}}", "is not an XMPP server"},
		"no password":          {xmpp + "server: 'xmpp://h', domain: d, username: u}}}", "xmpp.password: must not be empty"},
		"half a device":        {xmpp + "server: 'xmpp://h', domain: d, username: u, password: p, device: {username: d}}}}", "xmpp.device: username and password"},
		"device placeholder":   {xmpp + "server: 'xmpp://h', domain: d, username: u, password: p, device: {username: '{mac}', password: p}}}}", `"{mac}": only {oui}`},
		"no authentication":    {"cwmp: {lightweight_notification: {listen: ':1', address: 'h:1'}}", "needs cwmp.auth.mode basic or digest"},
		"no concurrency":       {"cwmp: {connection_request: {max_concurrent: 0}}", "cwmp.connection_request.max_concurrent: must be more than 0"},
	} {
		if _, _, err := load(tt.yaml, nil); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "bridge.yaml:1") {
			t.Errorf("%s: %v, want %q with its line", name, err, tt.want)
		}
	}
}
