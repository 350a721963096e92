package translate

import (
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/usp/agent"
)

// An activation that fails is tried again as often as its window allows, then in
// the next window; the command ends once.
func TestImageRetries(t *testing.T) {
	for _, c := range []struct {
		name    string
		retries string // of the first window
		attempt int    // in the first window
		mended  bool   // before the second window
	}{
		{"none", "0", 1, true},
		{"one", "1", 2, true},
		{"as the agent likes", "", 1 + ownRetries, true},
		{"in vain", "0", 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, m := newBenchOf(t, cpesim.Config{Model: cpesim.TR098(), Profile: &cpesim.Profile{}}), newMirror(t)
			if end := r.ended(r.detached(images+"2.Download()", m.args(false))); end.Err != nil {
				t.Fatal(end.Err)
			}
			fails := cpesim.Profile{FailTransfers: cwmp.FaultDownloadFailure,
				RefuseWith: map[string]cwmp.FaultCode{"ScheduleDownload": cwmp.FaultMethodNotSupported}}
			r.behave(fails)
			windows := map[string]string{
				"TimeWindow.1.Start": "0", "TimeWindow.1.End": "3600", "TimeWindow.1.Mode": "AnyTime",
				"TimeWindow.2.Start": "20000", "TimeWindow.2.End": "23600", "TimeWindow.2.Mode": "AnyTime", "TimeWindow.2.MaxRetries": "0"}
			if c.retries != "" {
				windows["TimeWindow.1.MaxRetries"] = c.retries
			}
			request := r.detached(images+"2.Activate()", windows)
			for n := 1; n <= c.attempt; n++ {
				failed := func() bool {
					op := r.record().operation(request)
					return r.calls("Download") == n && op.State == OperationWaiting && op.early(r.clock.now())
				}
				r.until("an attempt has failed", failed)
				if n < c.attempt {
					r.pass(retryPause + time.Second)
				}
			}
			if from := r.record().operation(request).Image.From; from.Sub(r.clock.now()) < time.Hour {
				t.Fatalf("the next attempt is at %v", from)
			}
			if got := r.value(images + "2.BootFailureLog"); !strings.Contains(got, "9010") {
				t.Errorf("BootFailureLog is %q", got)
			}
			if got := r.value(images + "2.Status"); got != "Available" {
				t.Errorf("Status is %s between the windows", got)
			}
			if c.mended {
				r.behave(cpesim.Profile{})
			}
			r.pass(20000 * time.Second)
			if end := r.ended(request); (end.Err == nil) != c.mended {
				t.Errorf("ended %v", end.Err)
			}
			if n := r.calls("Download"); n != c.attempt+1 {
				t.Errorf("the CPE was told %d times, want %d", n, c.attempt+1)
			}
			if n := len(r.heard.all(agent.Occurred, "TransferComplete!")); n != 1 { // of the Download()
				t.Errorf("TransferComplete! was told %d times", n)
			}
			r.noGrants()
		})
	}
}
