package test

import (
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
)

// replay boots the CPE of a capture and waits until it is discovered.
func replay(t *testing.T, env *testenv.Env, file string) *testenv.CPE {
	t.Helper()
	recordings, err := cpesim.LoadRecordings("../cwmp/cpesim/testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	r := recordings[0]
	return env.CPEWith(cpesim.Config{Replay: r, Identity: cwmp.DeviceID{SerialNumber: r.Identity.SerialNumber}})
}

// Deviation: Thomson – bind the prefix "soap" to the encoding, pad array sizes, always send the same cwmp:ID, chunk requests, leave a path out of every Inform; discovered and managed all the same
func TestReplayOfDSLGateway(t *testing.T) {
	const ssid, channel = "Device.WiFi.SSID.1.SSID", "Device.WiFi.Radio.1.Channel"
	env := testenv.Start(t, program, testenv.Config{})
	cpe := replay(t, env, "dsl-gateway.capture")
	controller := env.Controller()
	if got := controller.Value(cpe.Agent, ssid); got != "Example & Sons" {
		t.Errorf("the SSID is %q", got)
	}
	if err := controller.TrySet(cpe.Agent, channel, "99"); err == nil || !strings.Contains(err.Error(), "9007") {
		t.Errorf("a channel that the CPE refused when it was captured: %v, want its fault 9007", err)
	}
	controller.Set(cpe.Agent, channel, "6")
	if got := cpe.Value("InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.Channel"); got != "6" {
		t.Errorf("the channel on the CPE is %q", got)
	}
}

// Deviation: MikroTik – no SOAP header and so no cwmp:ID, qualified arguments, instance numbers that start anywhere; discovered and managed all the same
func TestReplayOfSmallRouter(t *testing.T) {
	const users = "Device.Users.User."
	env := testenv.Start(t, program, testenv.Config{})
	cpe := replay(t, env, "small-router.capture")
	controller := env.Controller()
	rows := controller.Instances(cpe.Agent, users)
	if len(rows) != 1 || controller.Value(cpe.Agent, rows[0]+"Username") != "admin" {
		t.Fatalf("the users are %v", rows)
	}
	row := controller.Add(cpe.Agent, users, map[string]string{"Username": "operator"})
	if got := cpe.Value(users + "731.Username"); got != "operator" {
		t.Errorf("on the CPE the user of row 731, as it was numbered when it was captured, is %q", got)
	}
	controller.Delete(cpe.Agent, row)
	if left := controller.Instances(cpe.Agent, users); len(left) != 1 {
		t.Errorf("after Delete the users are %v", left)
	}
}
