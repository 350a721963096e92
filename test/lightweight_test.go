package test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
)

// TestLightweightNotification: a CPE that opens no session for a value change tells
// it in one datagram, and who has subscribed is notified. One that is signed with
// another password changes nothing.
func TestLightweightNotification(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users.yaml")
	if err := os.WriteFile(users, []byte("cpe: {password: secret}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	listen := testenv.FreeAddressOn(t, "udp", "127.0.0.1")
	env := testenv.Start(t, program, testenv.Config{Keys: map[string]any{
		"cwmp.auth.mode": "digest", "cwmp.auth.users": users,
		"cwmp.lightweight_notification.listen": listen, "cwmp.lightweight_notification.address": listen,
	}})
	const ssid = "Device.WiFi.SSID.1.SSID"
	cpe := env.CPEWith(cpesim.Config{Model: cpesim.TR181(), Username: "cpe", Password: "secret", Profile: &cpesim.Profile{NoAttributes: true}})
	controller := env.Controller()
	changes := controller.Subscribe(cpe.Agent, "ValueChange", ssid)
	testenv.Until(t, "the CPE has refused to notify by itself", func() bool {
		return env.Metric(`uspbridge_cwmp_rpc_total{outcome="fault",rpc="SetParameterAttributes"}`) > 0
	})
	cpe.AwaitIdle()
	count := func(outcome string) float64 {
		return env.Metric(`uspbridge_lightweight_notifications_total{outcome="` + outcome + `"}`)
	}
	notify := func(value string) {
		t.Helper()
		cpe.Set(ssid, value)
		if err := cpe.Notify(ssid); err != nil {
			t.Fatal(err)
		}
	}
	sessions := env.Metric("uspbridge_cwmp_informs_total")
	notify("told in a datagram")
	if got := controller.Next(changes); got.Value != "told in a datagram" || got.Path != ssid {
		t.Errorf("notified of %+v", got)
	}
	if n := env.Metric("uspbridge_cwmp_informs_total"); n != sessions || count("taken") != 1 {
		t.Errorf("%v sessions were opened for it, %v datagrams taken", n-sessions, count("taken"))
	}

	cpe.Set("Device.ManagementServer.Password", "guess")
	notify("forged")
	testenv.Until(t, "the forged notification is refused", func() bool { return count("refused") == 1 })
	cpe.Set("Device.ManagementServer.Password", "secret")
	notify("true again")
	if got := controller.Next(changes); got.Value != "true again" {
		t.Errorf("notified of %+v", got)
	}
}
