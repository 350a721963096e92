package test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
)

const (
	pingCommand  = "Device.IP.Diagnostics.IPPing()"
	pingObject   = "Device.IP.Diagnostics.IPPing."
	secondImage  = "Device.DeviceInfo.FirmwareImage.2."
	stagedImage  = "/gateway-9.8.7.bin"
	stagedNumber = "9.8.7"
)

// pings are the arguments of an IPPing() with so many repetitions.
func pings(repetitions string) map[string]string {
	return map[string]string{"Host": "198.51.100.7", "ProtocolVersion": "Any", "NumberOfRepetitions": repetitions, "Timeout": "1000", "DataBlockSize": "64"}
}

// started counts how often the CPE was asked to run IPPing.
func started(cpe *testenv.CPE) (n int) {
	for _, e := range cpe.Journal() {
		if m, ok := e.Request.(*cwmp.SetParameterValues); ok {
			for _, v := range m.Values {
				if v.Name == pingObject+"DiagnosticsState" && v.Value.Text == "Requested" {
					n++
				}
			}
		}
	}
	return n
}

// TestKilledInDiagnostic: a bridge that is killed at any point of a diagnostic has
// the CPE run it once, and its results are told once.
func TestKilledInDiagnostic(t *testing.T) {
	running := func(cpe *testenv.CPE) bool { return started(cpe) == 1 }
	for _, point := range []struct {
		name    string
		profile cpesim.Profile
		offline bool
		reached func(cpe *testenv.CPE) bool
	}{
		{"before the CPE is told", cpesim.Profile{}, true, func(*testenv.CPE) bool { return true }},
		{"before its answer comes", cpesim.Profile{DieAfter: "SetParameterValues", DieOnce: true}, false, running},
		{"while it runs", cpesim.Profile{StuckDiagnostics: true}, false, running},
		{"when it has ended", cpesim.Profile{}, false, func(cpe *testenv.CPE) bool { return cpe.Value(pingObject+"DiagnosticsState") == "Complete" }},
	} {
		t.Run(point.name, func(t *testing.T) {
			env := testenv.Start(t, program, testenv.Config{})
			profile := &cpesim.Profile{}
			cpe := env.CPEWith(cpesim.Config{Model: cpesim.TR181(), Profile: profile})
			controller := env.Controller()
			ended := controller.SubscribeSurely(cpe.Agent, "OperationComplete", pingCommand)
			cpe.Behave(profile, point.profile)
			cpe.SetOnline(!point.offline)
			request := controller.OperateWith(cpe.Agent, pingCommand, "first", pings("7")).GetReqObjPath()
			testenv.Until(t, point.name, func() bool { return point.reached(cpe) })
			env.Kill()
			if point.profile.StuckDiagnostics { // it ends while nobody listens
				cpe.Set(pingObject+"SuccessCount", "7")
				cpe.Set(pingObject+"DiagnosticsState", "Complete")
			}
			env.Restart()
			cpe.SetOnline(true)
			controller = env.Controller()
			testenv.Until(t, "the CPE comes again", func() bool { return cpe.CPE.Inform() == nil })

			if n := controller.Next(ended); n.Key != "first" || n.Error != "" || n.Params["SuccessCount"] != "7" {
				t.Errorf("OperationComplete is %+v", n)
			}
			if n := started(cpe); n != 1 {
				t.Errorf("the CPE was asked %d times", n)
			}
			testenv.Until(t, "the Request row is gone", func() bool { _, err := controller.TryGet(cpe.Agent, request+"Status"); return err != nil })
			// Were the end told again, it would come before that of another.
			cpe.Behave(profile, cpesim.Profile{})
			controller.OperateWith(cpe.Agent, pingCommand, "second", pings("2"))
			if n := controller.Next(ended); n.Key != "second" || n.Params["SuccessCount"] != "2" {
				t.Errorf("then %+v", n)
			}
		})
	}
}

// TestKilledInFetch: a bridge that is killed while it fetches an image begins
// again, and the command ends once.
func TestKilledInFetch(t *testing.T) {
	eachGateway(t, func(t *testing.T, g gateway) {
		content := strings.Repeat("an image of a firmware ", 1000)
		var asked atomic.Int32
		mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) == 1 {
				<-r.Context().Done() // the bridge is killed
				return
			}
			_, _ = w.Write([]byte(content)) // one who has gone does not get it
		}))
		t.Cleanup(mirror.Close)
		env := testenv.Start(t, program, testenv.Config{})
		cpe := env.CPE(g.model())
		controller := env.Controller()
		ended := controller.SubscribeSurely(cpe.Agent, "OperationComplete", secondImage+"Download()")
		controller.OperateWith(cpe.Agent, secondImage+"Download()", "image", imageArgs(mirror.URL, content))
		testenv.Until(t, "the image is asked for", func() bool { return asked.Load() == 1 })
		env.Kill()
		env.Restart()
		controller = env.Controller()
		if got := controller.Value(cpe.Agent, secondImage+"Status"); got != "Downloading" {
			t.Errorf("Status is %s", got)
		}
		testenv.Until(t, "the CPE comes again", func() bool { return cpe.CPE.Inform() == nil })
		if n := controller.Next(ended); n.Key != "image" || n.Error != "" {
			t.Fatalf("OperationComplete is %+v", n)
		}
		testenv.Until(t, "the image is available", func() bool { return controller.Value(cpe.Agent, secondImage+"Status") == "Available" })
		if n := asked.Load(); n != 2 {
			t.Errorf("the image was asked for %d times", n)
		}
	})
}

// imageArgs are those of a Download() that stages an image.
func imageArgs(mirror, content string) map[string]string {
	sum := sha256.Sum256([]byte(content))
	return map[string]string{"URL": mirror + stagedImage, "AutoActivate": "false", "CheckSumAlgorithm": "SHA-256", "CheckSum": hex.EncodeToString(sum[:])}
}

// TestKilledBeforeActivation: an image that was staged before the bridge was killed
// is there to be activated, and an activation that it was killed in ends once. All
// its states are told, each once.
func TestKilledBeforeActivation(t *testing.T) {
	content := strings.Repeat("an image of a firmware ", 1000)
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(content)) // one who has gone does not get it
	}))
	t.Cleanup(mirror.Close)
	eachGateway(t, func(t *testing.T, g gateway) {
		env := testenv.Start(t, program, testenv.Config{})
		cpe := env.CPE(g.model())
		controller := env.Controller()
		downloaded := controller.SubscribeSurely(cpe.Agent, "OperationComplete", secondImage+"Download()")
		activated := controller.SubscribeSurely(cpe.Agent, "OperationComplete", secondImage+"Activate()")
		states := controller.SubscribeSurely(cpe.Agent, "ValueChange", secondImage+"Status")
		controller.OperateWith(cpe.Agent, secondImage+"Download()", "stage", imageArgs(mirror.URL, content))
		if n := controller.Next(downloaded); n.Error != "" {
			t.Fatalf("OperationComplete is %+v", n)
		}
		for state := ""; state != "Available"; {
			if state = controller.Next(states).Value; state != "Downloading" && state != "Validating" && state != "Available" {
				t.Fatalf("Status is told to be %s", state)
			}
		}
		cpe.AwaitIdle()
		env.Kill()
		env.Restart()
		controller = env.Controller()
		if got := controller.Value(cpe.Agent, secondImage+"Status"); got != "Available" {
			t.Fatalf("Status is %s", got)
		}
		told := cpe.Called("Download") + cpe.Called("Reboot")
		controller.OperateWith(cpe.Agent, secondImage+"Activate()", "activate", nil)
		testenv.Until(t, "the CPE has the image", func() bool { return cpe.Value(g.software) == stagedNumber }) // from the bridge, which is killed now
		env.Kill()
		env.Restart()
		controller = env.Controller()
		testenv.Until(t, "the CPE comes again", func() bool { return cpe.CPE.Inform() == nil })
		if n := controller.Next(activated); n.Key != "activate" || n.Error != "" {
			t.Errorf("OperationComplete is %+v", n)
		}
		if n := controller.Next(states); n.Value != "Active" {
			t.Errorf("Status is told to be %s", n.Value)
		}
		if n := cpe.Called("Download") + cpe.Called("Reboot"); n != told+1 {
			t.Errorf("the CPE was told %d times", n-told)
		}
		if v := controller.Value(cpe.Agent, "Device.DeviceInfo.SoftwareVersion"); v != stagedNumber {
			t.Errorf("the CPE runs %s", v)
		}
	})
}

// TestDiagnosticOfTwoControllers: two controllers that ask for the same diagnostic
// at once get each its own results, one after the other.
func TestDiagnosticOfTwoControllers(t *testing.T) {
	env := testenv.Start(t, program, testenv.Config{})
	profile := &cpesim.Profile{}
	cpe := env.CPEWith(cpesim.Config{Model: cpesim.TR181(), Profile: profile})
	one, other := env.Controller(), env.ControllerAs("self::uspbridge-cli")
	toOne, toOther := one.Subscribe(cpe.Agent, "OperationComplete", pingCommand), other.Subscribe(cpe.Agent, "OperationComplete", pingCommand)
	cpe.Behave(profile, cpesim.Profile{StuckDiagnostics: true})

	first := one.OperateWith(cpe.Agent, pingCommand, "one", pings("3")).GetReqObjPath()
	second := other.OperateWith(cpe.Agent, pingCommand, "other", pings("5")).GetReqObjPath()
	if first == second {
		t.Fatalf("both are %s", first)
	}
	testenv.Until(t, "the first runs", func() bool { return started(cpe) == 1 })
	cpe.AwaitIdle()
	if got := cpe.Value(pingObject + "NumberOfRepetitions"); got != "3" {
		t.Errorf("%s repetitions are asked for", got)
	}
	cpe.Behave(profile, cpesim.Profile{})
	cpe.Set(pingObject+"SuccessCount", "3")
	cpe.Set(pingObject+"DiagnosticsState", "Complete")
	cpe.Inform()
	for _, want := range []struct{ key, count string }{{"one", "3"}, {"other", "5"}} { // both are told of both
		for _, end := range []testenv.Notification{one.Next(toOne), other.Next(toOther)} {
			if end.Key != want.key || end.Error != "" || end.Params["SuccessCount"] != want.count {
				t.Errorf("ended %+v, want %v", end, want)
			}
		}
	}
	if n := started(cpe); n != 2 {
		t.Errorf("the CPE was asked %d times", n)
	}
}
