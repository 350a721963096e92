package test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
)

// natAgent is the agent of the CPE at home.
const natAgent = usp.EndpointID("ops::00005E-HG200-NAT000001")

// everythingLive is a mapping file by which no value is young enough for the
// cache.
const everythingLive = `
mapping: live
root: Device.
for: {product_class: "HG200"}
ages: {config: 1ns, status: 1ns, counter: 1ns}
`

// mappingDir returns a directory with one mapping file.
func mappingDir(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "test.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// startBehindNAT starts a bridge outside of a NAT and a simulated CPE behind it,
// as a process of its own, and waits until the CPE is discovered.
func startBehindNAT(t *testing.T, nat *testenv.NAT, keys map[string]any) *testenv.Env {
	t.Helper()
	acs := testenv.FreeAddressOn(t, "tcp", nat.Outside)
	keys["cwmp.listen"] = acs
	env := testenv.Start(t, program, testenv.Config{Keys: keys})
	nat.AtHome(program, "simulate", "--acs", "http://"+acs+"/", "--model", "tr181", "--serial-prefix", "NAT", "--listen", net.JoinHostPort(nat.Inside, "0"))
	env.AwaitDiscovery(natAgent)
	return env
}

// TestBehindNAT: a CPE behind a real NAT that has nothing but HTTP is served when
// it informs; who wants it before is told why, and when.
func TestBehindNAT(t *testing.T) {
	nat := testenv.NewNAT(t)
	env := startBehindNAT(t, nat, map[string]any{"cwmp.deadline": "2s", "cwmp.connection_request.timeout": "1s", "cwmp.inform_interval": "20m"})
	controller := env.Controller()
	err := controller.TrySet(natAgent, "Device.WiFi.SSID.1.SSID", "never")
	if err == nil {
		t.Fatal("a CPE that nobody can reach was written to")
	}
	for _, text := range []string{err.Error(), env.Reachability(natAgent), controller.Value(natAgent, "Device.X_USPBRIDGE_CWMP.Reachable")} {
		for _, want := range []string{"behind NAT: its address " + nat.Inside + " is private", "informs from " + nat.Gateway, "no STUN server", "next Inform, expected before"} {
			if !strings.Contains(text, want) {
				t.Errorf("%q does not say %q", text, want)
			}
		}
	}
	if all := controller.Get(natAgent, "Device.WiFi.SSID.1."); all["Device.WiFi.SSID.1.SSID"] == "" || all["Device.WiFi.SSID.1.SSID"] == "never" {
		t.Errorf("from the cache come %v", all)
	}
}

// TestSTUN: a CPE behind a real NAT keeps a binding open to the bridge's STUN
// server, and is woken through it, also right after the bridge was killed.
func TestSTUN(t *testing.T) {
	nat := testenv.NewNAT(t)
	stun := testenv.FreeAddressOn(t, "udp", nat.Outside)
	env := startBehindNAT(t, nat, map[string]any{
		"cwmp.connection_request.stun.listen": stun, "cwmp.connection_request.stun.address": stun,
		"cwmp.connection_request.stun.min_keepalive": "1s", "cwmp.connection_request.stun.max_keepalive": "5s",
		"mappings.dir": mappingDir(t, everythingLive),
	})
	bound := func() bool { return env.Metric("uspbridge_stun_bindings") == 1 }
	testenv.Until(t, "the CPE keeps a binding open", bound)
	controller := env.Controller()
	if told := controller.Value(natAgent, "Device.X_USPBRIDGE_CWMP.Raw.Device.ManagementServer.UDPConnectionRequestAddress"); !strings.HasPrefix(told, nat.Gateway+":") {
		t.Errorf("the CPE tells the address %q, want one of %s", told, nat.Gateway)
	}
	if nat := controller.Value(natAgent, "Device.X_USPBRIDGE_CWMP.Raw.Device.ManagementServer.NATDetected"); nat != "true" {
		t.Errorf("NATDetected is %s", nat)
	}
	env.AwaitDiscovery(natAgent) // it is in no session
	controller.Set(natAgent, "Device.WiFi.SSID.1.SSID", "woken")
	const woken = `uspbridge_connection_requests_total{kind="udp",outcome="accepted"}`
	if n := env.Metric(woken); n == 0 {
		t.Error("the CPE was not woken by UDP")
	}
	before := env.Metric(`uspbridge_parameter_reads_total{source="cpe"}`)
	if got := controller.Value(natAgent, "Device.WiFi.SSID.1.SSID"); got != "woken" || env.Metric(`uspbridge_parameter_reads_total{source="cpe"}`) <= before {
		t.Errorf("read live: %q, %v parameters read from the CPE", got, env.Metric(`uspbridge_parameter_reads_total{source="cpe"}`)-before)
	}
	if got := env.Reachability(natAgent); !strings.Contains(got, "by connection request: UDP") {
		t.Errorf("reachability: %s", got)
	}

	env.Kill()
	env.Restart()
	controller = env.Controller()
	controller.Set(natAgent, "Device.WiFi.SSID.1.SSID", "woken again")
	if n := env.Metric(woken); n == 0 {
		t.Error("after the restart the CPE was not woken by UDP")
	}
}
