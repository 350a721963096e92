package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
)

// misbehaving are habits that a capture has to show for its replay to have them.
func misbehaving() *cpesim.Profile {
	return &cpesim.Profile{
		BooleansAsDigits: true, OnlyCWMP1_0: true, Status1Always: true, UnnamedFaults: true, NoAttributes: true, NoCookie: true,
		MaxValueNames: 40, RefuseEmptyPath: true,
	}
}

// TestCaptureAndReplay: a CPE that was captured and is played back against a
// bridge that never saw it is found to have the same tree, and answers a
// controller in the same way.
func TestCaptureAndReplay(t *testing.T) {
	const secret = "correct horse"
	const channel = "Device.WiFi.Radio.1.Channel"
	const beacon = "Device.X_USPBRIDGE_CWMP.Raw.InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.BeaconType"
	file := filepath.Join(t.TempDir(), "gateway.capture")

	env := testenv.Start(t, program, testenv.Config{})
	cpe := env.CPEWith(cpesim.Config{Model: cpesim.TR098(), Profile: misbehaving()})
	controller := env.Controller()
	whole := shown(controller, cpe.Agent)
	done := startCapture(t, env, file, string(cpe.Agent), "--refresh")
	awaitSession(t, file)
	refusal := controller.TrySet(cpe.Agent, beacon, "nonsense")
	if refusal == nil {
		t.Fatal("a beacon type that the CPE does not have was accepted")
	}
	controller.Set(cpe.Agent, channel, "11")
	controller.Set(cpe.Agent, "Device.WiFi.AccessPoint.1.Security.KeyPassphrase", secret)
	done()
	if text, err := os.ReadFile(file); err != nil || strings.Contains(string(text), secret) || !strings.Contains(string(text), "KeyPassphrase") {
		t.Errorf("the capture tells the passphrase, or not that one was set (%v)", err)
	}

	recordings, err := cpesim.LoadRecordings(file)
	if err != nil {
		t.Fatal(err)
	}
	fresh := testenv.Start(t, program, testenv.Config{})
	again := fresh.CPEWith(cpesim.Config{Replay: recordings[0], Identity: cwmp.DeviceID{SerialNumber: cpe.Identity().SerialNumber}})
	if again.Agent != cpe.Agent {
		t.Errorf("the replayed CPE is %s, captured was %s", again.Agent, cpe.Agent)
	}
	controller = fresh.Controller()
	if diff := cmp.Diff(whole, shown(controller, again.Agent)); diff != "" {
		t.Errorf("captured (-) and replayed (+):\n%s", diff)
	}
	if err := controller.TrySet(again.Agent, beacon, "nonsense"); err == nil || err.Error() != refusal.Error() {
		t.Errorf("the refusal is now %v, when it was captured %v", err, refusal)
	}
	controller.Set(again.Agent, channel, "6")
	if got := controller.Value(again.Agent, channel); got != "6" {
		t.Errorf("the channel that was set is %q", got)
	}
	row := addPortMapping(controller, again, "8080")
	controller.Delete(again.Agent, row)
}

// startCapture begins a capture and returns when it runs. done ends it.
func startCapture(t *testing.T, env *testenv.Env, file string, args ...string) (done func()) {
	t.Helper()
	cmd := env.Command(append([]string{"device", "capture", "--output", file}, args...)...)
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, file, `"capture":1`)
	return func() {
		t.Helper()
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil || !strings.Contains(output.String(), " messages in "+file) {
			t.Fatalf("device capture: %v\n%s", err, output.String())
		}
	}
}

// awaitSession waits until a session has ended in a capture.
func awaitSession(t *testing.T, file string) {
	t.Helper()
	await(t, file, `"end":"ok"`)
}

func await(t *testing.T, file, text string) {
	t.Helper()
	testenv.Until(t, file+" has "+text, func() bool {
		content, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(content), text)
	})
}

// moving are the parameters of a CPE that change all the time.
var moving = regexp.MustCompile(`(Bytes|Packets)(Sent|Received)$|LocalTime$|LeaseTimeRemaining$|Up[Tt]ime$`)

// shown is what a controller sees of a CPE, but for what the bridge itself says of
// it or set on it, and what changes all the time.
func shown(controller *testenv.Controller, agent usp.EndpointID) map[string]string {
	values := controller.Get(agent, "Device.")
	for path := range values {
		bridges := strings.HasPrefix(path, "Device.X_USPBRIDGE_CWMP.") && !strings.HasPrefix(path, "Device.X_USPBRIDGE_CWMP.Raw.") ||
			strings.HasPrefix(path, "Device.LocalAgent.") || strings.Contains(path, ".ManagementServer.")
		if bridges || moving.MatchString(path) {
			delete(values, path)
		}
	}
	return values
}

// TestCaptureOfStrangers: who captures by a pattern sees the first contact of a
// device that nobody knew, its whole discovery, and no other device.
func TestCaptureOfStrangers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new.capture")
	env := testenv.Start(t, program, testenv.Config{})
	known := env.CPE(cpesim.TR181())
	done := startCapture(t, env, file, "ops::*-NEW1")
	known.Inform()
	stranger := env.CPEWith(cpesim.Config{Model: cpesim.TR098(), Identity: cwmp.DeviceID{SerialNumber: "NEW1"}})
	awaitSession(t, file)
	done()
	recordings, err := cpesim.LoadRecordings(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(recordings) != 1 || recordings[0].Identity != stranger.Identity() || recordings[0].Model().Parameters() < 900 {
		t.Errorf("captured are %d devices, first %+v", len(recordings), recordings[0].Identity)
	}
}
