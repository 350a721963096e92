package test

import (
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
)

// xmppConnected is 1 while the bridge is connected to the XMPP server.
const xmppConnected = "uspbridge_xmpp_connected"

// startXMPP starts an XMPP server, a bridge that is connected to it, and a CPE
// that takes no connection requests by HTTP, and waits until it can be woken.
func startXMPP(t *testing.T) (*testenv.Prosody, *testenv.Env, *testenv.Controller, *testenv.CPE) {
	t.Helper()
	prosody := testenv.NewProsody(t, map[string]string{"acs": "secret of the ACS", "00005e-test0001": "secret of CPE"})
	const section = "cwmp.connection_request.xmpp."
	env := testenv.Start(t, program, testenv.Config{CPETLS: prosody.Trusting(), Keys: map[string]any{
		"cwmp.deadline": "2s", "cwmp.connection_request.timeout": "500ms",
		section + "server": "xmpp://" + prosody.Address, section + "domain": testenv.XMPPDomain, section + "tls.ca": prosody.CA,
		section + "username": "acs", section + "password": "secret of the ACS",
		section + "device.username": "{oui}-{serial}", section + "device.password": "secret of CPE", section + "device.server": prosody.Address,
	}})
	cpe := env.CPEWith(cpesim.Config{Model: cpesim.TR181(), Profile: &cpesim.Profile{NoConnectionRequest: true}})
	controller := env.Controller()
	awaitXMPP(t, env, controller, cpe)
	return prosody, env, controller, cpe
}

// awaitXMPP waits until the CPE has told its Jabber id and is in no session.
func awaitXMPP(t *testing.T, env *testenv.Env, controller *testenv.Controller, cpe *testenv.CPE) {
	t.Helper()
	testenv.Until(t, "the bridge is connected to the XMPP server", func() bool { return env.Metric(xmppConnected) == 1 })
	testenv.Until(t, "the CPE is connected to the XMPP server", func() bool {
		status, _ := cpe.Get("Device.XMPP.Connection.1.Status")
		return status == "Enabled"
	})
	testenv.Until(t, "the CPE can be woken by XMPP", func() bool {
		return strings.Contains(controller.Value(cpe.Agent, "Device.X_USPBRIDGE_CWMP.ReachableBy"), "XMPP")
	})
	cpe.AwaitIdle()
}

// TestXMPP: a CPE that cannot be reached by HTTP is given an account on a real XMPP
// server and woken over it; what can go wrong is told.
func TestXMPP(t *testing.T) {
	t.Parallel() // starting a server is mostly waiting
	prosody, env, controller, cpe := startXMPP(t)
	const ssid = "Device.WiFi.SSID.1.SSID"
	fails := func(what, want string) {
		t.Helper()
		testenv.Until(t, what+": "+want, func() bool { // the server needs a moment to notice
			err := controller.TrySet(cpe.Agent, ssid, "never")
			if err == nil {
				t.Fatalf("%s: the CPE was written to", what)
			}
			return strings.Contains(err.Error(), want)
		})
	}
	if got := cpe.Value("Device.ManagementServer.ConnReqJabberID"); got != "00005e-test0001@xmpp.test/cwmp" {
		t.Errorf("the CPE's Jabber id is %q", got)
	}
	testenv.Until(t, "the CPE is woken by XMPP", func() bool { // it may be in a session that it has opened itself
		controller.Set(cpe.Agent, ssid, "woken")
		cpe.AwaitIdle()
		return env.Metric(`uspbridge_connection_requests_total{kind="xmpp",outcome="accepted"}`) > 0
	})
	if got := cpe.Value(ssid); got != "woken" {
		t.Errorf("on the CPE the SSID is %q", got)
	}

	cpe.SetOnline(false)
	fails("CPE offline", "is not connected by XMPP")
	cpe.SetOnline(true)
	awaitXMPP(t, env, controller, cpe)

	cpe.Set("Device.ManagementServer.ConnectionRequestPassword", "another")
	fails("wrong password", "user name or password is wrong")
	cpe.Inform() // it is given the right one again
	controller.Set(cpe.Agent, ssid, "right again")

	cpe.Set("Device.ManagementServer.ConnReqAllowedJabberIDs", "somebody@xmpp.test")
	fails("our Jabber id is not allowed", "ConnReqAllowedJabberIDs")
	cpe.Set("Device.ManagementServer.ConnReqAllowedJabberIDs", "acs@xmpp.test")

	prosody.Stop()
	testenv.Until(t, "the bridge notices", func() bool { return env.Metric(xmppConnected) == 0 })
	fails("server down", "not connected to the XMPP server")
	prosody.Start()
	awaitXMPP(t, env, controller, cpe)
	controller.Set(cpe.Agent, ssid, "after the restart")
	if got := cpe.Value(ssid); got != "after the restart" {
		t.Errorf("on the CPE the SSID is %q", got)
	}
}
