package test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
)

// fate is how a CPE behaves in an upgrade, and what has to come of it.
type fate struct {
	name    string
	profile cpesim.Profile
	runs    bool   // the new firmware
	failure string // in the OperationComplete; "" for success
}

// fates are dealt out in turn: a third of the fleet has something wrong with it.
func fates() []fate {
	return []fate{
		{"as the standard has it", cpesim.Profile{}, true, ""},
		{"tells before it boots", cpesim.Profile{TransferCompleteBeforeBoot: true}, true, ""},
		{"refuses", cpesim.Profile{RefuseWith: map[string]cwmp.FaultCode{"Download": cwmp.FaultRequestDenied}}, false, "CWMP fault 9001"},
		{"no command key", cpesim.Profile{EmptyCommandKey: true, NoTransferEvents: true}, true, ""},
		{"fails", cpesim.Profile{FailTransfers: cwmp.FaultDownloadCorrupted}, false, "CWMP fault 9018"},
		{"answer lost", cpesim.Profile{DieAfter: "Download", DieOnce: true}, true, ""},
		{"told twice", cpesim.Profile{LoseResponses: true}, true, ""},
		{"power lost in the transfer", cpesim.Profile{DieInTransfer: true}, false, "not told of its end"},
		{"done at once", cpesim.Profile{InstantTransfers: true}, true, ""},
	}
}

// TestFirmwareFleet: a fleet is upgraded through USP, part of which has something
// wrong with it. Each upgrade ends once, in a state that is what the CPE runs, and
// the image is fetched once for all.
func TestFirmwareFleet(t *testing.T) {
	const size, version = 50, "9.9.1"
	content := strings.Repeat("an image of a firmware ", 10_000)
	var asked atomic.Int32
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write([]byte(content)) // one who has gone does not get it
	}))
	t.Cleanup(mirror.Close)
	sum := sha256.Sum256([]byte(content))
	args := map[string]string{"URL": mirror.URL + "/gateway-" + version + ".bin", "AutoActivate": "true",
		"CheckSumAlgorithm": "SHA-256", "CheckSum": hex.EncodeToString(sum[:])}

	env := testenv.Start(t, program, testenv.Config{Keys: map[string]any{"cwmp.files.token_life": "5s"}})
	controller := env.Controller()
	type member struct {
		*testenv.CPE
		fate  fate
		g     gateway
		ended string
	}
	var fleet []member
	for i := range size {
		m := member{fate: fates()[i%len(fates())], g: gateways()[i/len(fates())%2]}
		m.CPE = env.Boot(cpesim.Config{Model: m.g.model(), Profile: &m.fate.profile})
		fleet = append(fleet, m)
	}
	for i := range fleet {
		fleet[i].AwaitDiscovery()
		fleet[i].ended = controller.SubscribeSurely(fleet[i].Agent, "OperationComplete", "Device.DeviceInfo.FirmwareImage.2.Download()")
	}
	for _, m := range fleet {
		controller.OperateWith(m.Agent, "Device.DeviceInfo.FirmwareImage.2.Download()", string(m.Agent), args)
	}
	for _, m := range fleet {
		what := fmt.Sprintf("%s, %s, %s", m.Agent, m.g.name, m.fate.name)
		n := controller.Next(m.ended)
		if n.Key != string(m.Agent) || (n.Error == "") != (m.fate.failure == "") || !strings.Contains(n.Error, m.fate.failure) {
			t.Errorf("%s: OperationComplete is %+v", what, n)
		}
		testenv.Until(t, what+" runs what it should", func() bool {
			runs := controller.Value(m.Agent, "Device.DeviceInfo.SoftwareVersion") == version
			return m.Online() && (m.Value(m.g.software) == version) == m.fate.runs && runs == m.fate.runs
		})
		active := map[bool]string{true: "2", false: "1"}[m.fate.runs]
		testenv.Until(t, what+": the active image is known", func() bool {
			return controller.Value(m.Agent, "Device.DeviceInfo.ActiveFirmwareImage") == "Device.DeviceInfo.FirmwareImage."+active
		})
		if got := controller.Value(m.Agent, "Device.DeviceInfo.FirmwareImage.2.Status"); m.fate.runs != (got == "Active") || !m.fate.runs && got != "InstallationFailed" {
			t.Errorf("%s: the image's Status is %s", what, got)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the image was fetched %d times", n)
	}
}
