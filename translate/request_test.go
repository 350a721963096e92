package translate

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/usp/agent"
)

// What a CPE tells by itself is told to controllers once, also when its
// response gets lost and it tells it again.
func TestReportsOfTheCPE(t *testing.T) {
	for _, c := range []struct {
		name, event string
		act         func(c *cpesim.CPE)
		want        map[string]string
	}{
		{"AutonomousTransferComplete", "TransferComplete!", func(c *cpesim.CPE) {
			c.TransferByItself(cwmp.AutonomousTransferComplete{FileType: firmwareImage, IsDownload: true, TransferURL: "http://u:secret@files.example/x",
				Fault: cwmp.NewFault(cwmp.FaultDownloadCorrupted)})
		}, map[string]string{"Command": "", "CommandKey": "", "Requestor": "", "TransferType": "Download", "Affected": "",
			"TransferURL": "http://u:xxxxx@files.example/x", "StartTime": unknownTime, "CompleteTime": unknownTime,
			"FaultCode": "7022", "FaultString": "the CPE refused: " + cwmp.NewFault(cwmp.FaultDownloadCorrupted).Error()}},
		{"AutonomousDUStateChangeComplete", "DUStateChange!", func(c *cpesim.CPE) {
			c.ChangeByItself(cwmp.DUResult{UUID: "u", Version: "1", CurrentState: "Uninstalled", Resolved: true, OperationPerformed: "Uninstall"})
		}, map[string]string{"UUID": "u", "DeploymentUnitRef": "", "Version": "1", "CurrentState": "Uninstalled", "Resolved": "true",
			"ExecutionUnitRefList": "", "StartTime": unknownTime, "CompleteTime": unknownTime, "OperationPerformed": "Uninstall",
			"Fault.FaultCode": "0", "Fault.FaultString": ""}},
		{"RequestDownload", "RequestDownload!", func(c *cpesim.CPE) {
			c.RequestDownload(firmwareImage, cwmp.Arg{Name: "Version", Value: "2"})
		}, map[string]string{"FileType": firmwareImage, "Argument.1.Name": "Version", "Argument.1.Value": "2"}},
		{"Kicked", "Kicked!", func(c *cpesim.CPE) {
			c.Kick(cwmp.Kicked{Command: "go", Referer: "http://r.example/", Arg: "a", Next: "http://r.example/next"})
		}, map[string]string{"Command": "go", "Referer": "http://r.example/", "Argument": "a", "Next": "http://r.example/next"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newBench(t, &cpesim.Profile{LoseResponses: true})
			for times := 1; times <= 2; times++ {
				c.act(r.cpe)
				r.until("it is told", func() bool { r.inform(); return len(r.heard.all(agent.Occurred, c.event)) > 0 })
				r.inform()
				r.inform()
				told := r.heard.all(agent.Occurred, c.event)
				// The same file or change is not reported again; a user may kick again.
				want := 1
				if c.name == "RequestDownload" || c.name == "Kicked" {
					want = times
				}
				if len(told) != want {
					t.Fatalf("after %d reports told %d times", times, len(told))
				}
				if diff := cmp.Diff(c.want, told[0].Args); diff != "" {
					t.Error(diff)
				}
			}
			node := r.heard.all(agent.Occurred, c.event)[0].Ref.Node
			for name := range c.want {
				if node.Args != nil { // TransferComplete! is declared by the agent
					declares(t, node.Path, node.Args, name)
				}
			}
		})
	}
}

// A report that cannot be stored is not acknowledged: the CPE tells it again.
func TestReportThatCannotBeKept(t *testing.T) {
	r := newBench(t, nil)
	r.heard.mu.Lock()
	r.heard.fail = errors.New("disk full")
	r.heard.mu.Unlock()
	r.cpe.Kick(cwmp.Kicked{Command: "go"})
	if err := r.cpe.Inform(); err == nil {
		t.Error("it was acknowledged")
	}
	r.heard.mu.Lock()
	r.heard.fail = nil
	r.heard.mu.Unlock()
	r.until("it is told", func() bool { r.inform(); return len(r.heard.all(agent.Occurred, "Kicked!")) == 1 })
}

// So it is with the end of an operation, which has not ended before it is told.
func TestEndThatCannotBeKept(t *testing.T) {
	r := newBench(t, nil)
	r.heard.mu.Lock()
	r.heard.fail = errors.New("disk full")
	r.heard.mu.Unlock()
	request := r.detached(download, r.config())
	r.until("the CPE tells of its end", func() bool { r.heard.mu.Lock(); defer r.heard.mu.Unlock(); return r.heard.failed > 0 })
	r.until("it has not ended by that", func() bool {
		op := r.record().operation(request)
		return op != nil && op.pending() && len(r.record().Heard) == 0
	})
	r.heard.mu.Lock()
	r.heard.fail = nil
	r.heard.mu.Unlock()
	r.until("it ends", func() bool { r.inform(); return r.record().operation(request) == nil })
	if told := r.heard.all(agent.Occurred, "TransferComplete!"); len(told) != 1 || r.ended(request).Err != nil {
		t.Errorf("told %+v, ended %+v", told, r.ended(request))
	}
}

// The CPE's kick page leads nowhere but back, and into the CPE itself.
func TestNextURL(t *testing.T) {
	for _, c := range []struct{ referer, next, want string }{
		{"http://shop.example/buy", "http://shop.example/done?x=1", "http://shop.example/done?x=1"},
		{"http://shop.example/buy", "HTTP://SHOP.example/done", "HTTP://SHOP.example/done"},
		{"", "/status.html", "/status.html"},
		{"http://shop.example/buy", "http://evil.example/", ""},
		{"http://shop.example/buy", "https://shop.example/", ""},
		{"http://shop.example/buy", "http://shop.example@evil.example/", ""},
		{"http://shop.example/buy", "http://shop.example:81/", ""},
		{"", "//evil.example/", ""},
		{"", "/\\evil.example/", ""},
		{"", "/\t/evil.example/", ""},
		{"", "javascript:alert(1)", ""},
		{"javascript:x", "javascript:alert(1)", ""},
		{"", "relative", ""},
		{"", "http://", ""},
		{"", "", ""},
	} {
		if got := nextURL(&cwmp.Kicked{Referer: c.referer, Next: c.next}); got != c.want {
			t.Errorf("from %q to %q: %q, want %q", c.referer, c.next, got, c.want)
		}
	}
}
