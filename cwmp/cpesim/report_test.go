package cpesim

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
)

// What happens at the device itself is reported in a session of its own, with
// the event of TR-069 table 7.
func TestReports(t *testing.T) {
	results := []cwmp.DUResult{{UUID: "u", CurrentState: "Uninstalled", OperationPerformed: "Uninstall"}}
	for _, c := range []struct {
		name  string
		act   func(c *CPE)
		event cwmp.EventCode
		want  cwmp.Message
	}{
		{"transfer", func(c *CPE) {
			c.TransferByItself(cwmp.AutonomousTransferComplete{FileType: firmware, IsDownload: true})
		},
			cwmp.EventAutonomousTransfer, &cwmp.AutonomousTransferComplete{FileType: firmware, IsDownload: true, Fault: &cwmp.Fault{}}},
		{"software modules", func(c *CPE) { c.ChangeByItself(results...) },
			cwmp.EventAutonomousDUStateChange, &cwmp.AutonomousDUStateChangeComplete{Results: []cwmp.DUResult{{UUID: "u", CurrentState: "Uninstalled", OperationPerformed: "Uninstall", Fault: &cwmp.Fault{}}}}},
		{"request for a file", func(c *CPE) { c.RequestDownload(firmware, cwmp.Arg{Name: "Version", Value: "2"}) },
			cwmp.EventRequestDownload, &cwmp.RequestDownload{FileType: firmware, Args: []cwmp.Arg{{Name: "Version", Value: "2"}}}},
		{"kick", func(c *CPE) { c.Kick(cwmp.Kicked{Command: "go", Next: "/next"}) },
			cwmp.EventKicked, &cwmp.Kicked{Command: "go", Next: "/next"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, Config{PeriodicInform: 1000 * time.Hour, Profile: &Profile{LoseResponses: true}})
			c.act(b.cpe)
			wantEvents(t, b.acs.next(t), c.event)
			if diff := cmp.Diff(c.want, normal(b.acs.request(t))); diff != "" {
				t.Error(diff)
			}
			b.settle(t)
			b.acs.ask(t, b.cpe) // the response was lost: it is told again, without the back-off
			if diff := cmp.Diff(c.want, normal(b.acs.request(t))); diff != "" {
				t.Error(diff)
			}
			b.settle(t)
			b.acs.ask(t, b.cpe)
			if len(b.acs.requests) != 0 {
				t.Errorf("told once more: %v", b.acs.requests)
			}
			if c.name == "kick" && b.cpe.NextURL() != "/next" {
				t.Errorf("the kick led to %q", b.cpe.NextURL())
			}
		})
	}
}

// normal makes a fault of code 0 comparable: it is none.
func normal(m cwmp.Message) cwmp.Message {
	switch r := m.(type) {
	case *cwmp.AutonomousTransferComplete:
		r.Fault = &cwmp.Fault{}
		r.StartTime, r.CompleteTime = "", ""
	case *cwmp.AutonomousDUStateChangeComplete:
		for i := range r.Results {
			r.Results[i].Fault, r.Results[i].StartTime, r.Results[i].CompleteTime = &cwmp.Fault{}, "", ""
		}
	}
	return m
}

func TestChangeDUState(t *testing.T) {
	b := newBench(t, Config{PeriodicInform: 1000 * time.Hour})
	b.acs.ask(t, b.cpe, &cwmp.ChangeDUState{CommandKey: "k", Operations: []cwmp.DUOperation{
		{Kind: "Install", URL: "http://files.example.net/a.pkg", UUID: "d9e24f6c-0fa5-5a7c-9eb9-9c3e1a1b0a11"}}})
	wantEvents(t, b.acs.next(t), cwmp.EventDUStateChange, cwmp.EventMChangeDUState)
	done := b.acs.request(t).(*cwmp.DUStateChangeComplete)
	if done.CommandKey != "k" || len(done.Results) != 1 || done.Results[0].CurrentState != "Installed" || !done.Results[0].Resolved {
		t.Errorf("got %+v", done)
	}
}

func TestOptionsAndVouchers(t *testing.T) {
	b := newBench(t, Config{})
	answers := b.acs.ask(t, b.cpe, &cwmp.GetOptions{}, &cwmp.GetOptions{OptionName: "Voice"}, &cwmp.GetOptions{OptionName: "No"},
		&cwmp.SetVouchers{Vouchers: []string{"AAAA"}}, &cwmp.SetVouchers{Vouchers: []string{"no base64"}})
	if o := answers[0].(*cwmp.GetOptionsResponse).Options; len(o) != 2 {
		t.Errorf("options %v", o)
	}
	if o := answers[1].(*cwmp.GetOptionsResponse).Options; len(o) != 1 || o[0].OptionName != "Voice" {
		t.Errorf("option %v", o)
	}
	wantFault(t, answers[2], cwmp.FaultInvalidArguments)
	if _, ok := answers[3].(*cwmp.SetVouchersResponse); !ok {
		t.Errorf("vouchers: %v", answers[3])
	}
	wantFault(t, answers[4], cwmp.FaultInvalidArguments)
}

// Each misbehaviour of transfers is what its name says.
func TestTransferMisbehaviour(t *testing.T) {
	image := &cwmp.Download{CommandKey: "up", FileType: firmware, URL: "http://files.example.net/hg200-5.2.0.bin"}
	config := &cwmp.Download{CommandKey: "up", FileType: "3 Vendor Configuration File", URL: "http://files.example.net/c"}
	t.Run("NoTransferComplete", func(t *testing.T) {
		b := newBench(t, Config{PeriodicInform: 1000 * time.Hour, Profile: &Profile{NoTransferComplete: true}})
		b.acs.ask(t, b.cpe, image)
		wait(t, "the CPE to boot", func() bool { return !b.cpe.Online() })
		b.settle(t)
		b.clock.advance(time.Minute)
		wantEvents(t, b.acs.next(t), cwmp.EventBoot, cwmp.EventValueChange)
		b.settle(t)
		if len(b.acs.requests) != 0 {
			t.Errorf("told: %v", b.acs.requests)
		}
	})
	t.Run("EmptyCommandKey, NoTransferEvents, UnknownTransferTimes", func(t *testing.T) {
		b := newBench(t, Config{PeriodicInform: 1000 * time.Hour, Profile: &Profile{EmptyCommandKey: true, NoTransferEvents: true, UnknownTransferTimes: true}})
		b.acs.ask(t, b.cpe, config)
		wantEvents(t, b.acs.next(t))
		if done := b.acs.told(t); done.CommandKey != "" || done.CompleteTime != unknownTime {
			t.Errorf("TransferComplete %+v", done)
		}
	})
	t.Run("TransferCompleteBeforeBoot", func(t *testing.T) {
		b := newBench(t, Config{PeriodicInform: 1000 * time.Hour, Profile: &Profile{TransferCompleteBeforeBoot: true}})
		b.acs.ask(t, b.cpe, image)
		b.acs.told(t)
		wait(t, "the CPE to boot", func() bool { return !b.cpe.Online() })
	})
	t.Run("InstantTransfers", func(t *testing.T) {
		b := newBench(t, Config{PeriodicInform: 1000 * time.Hour, Profile: &Profile{InstantTransfers: true}})
		if r := b.acs.ask(t, b.cpe, config)[0].(*cwmp.DownloadResponse); r.Status != 0 || r.CompleteTime == unknownTime {
			t.Errorf("answer %+v", r)
		}
	})
	t.Run("NoTransferQueue", func(t *testing.T) {
		b := newBench(t, Config{Profile: &Profile{NoTransferQueue: true}})
		wantFault(t, b.acs.ask(t, b.cpe, &cwmp.GetQueuedTransfers{})[0], cwmp.FaultMethodNotSupported)
	})
	t.Run("FaultsAsStatus", func(t *testing.T) {
		b := newBench(t, Config{Profile: &Profile{FaultsAsStatus: true}})
		if r := b.acs.ask(t, b.cpe, &cwmp.AddObject{Object: "Device.No."})[0].(*cwmp.AddObjectResponse); r.Status != 9005 || r.InstanceNumber != 0 {
			t.Errorf("answer %+v", r)
		}
	})
	t.Run("DieAfter", func(t *testing.T) {
		b := newBench(t, Config{PeriodicInform: 1000 * time.Hour, Profile: &Profile{DieAfter: "Reboot", DieOnce: true}})
		b.acs.set(func() { b.acs.queue = []cwmp.Message{&cwmp.Reboot{CommandKey: "r"}} })
		if err := b.cpe.Inform(); err == nil {
			t.Error("the session did not break")
		}
		if b.cpe.Called("Reboot") != 1 {
			t.Error("it was not carried out")
		}
	})
}

// A simulated CPE really fetches and stores files, takes a broken download up
// again, and authenticates.
func TestHTTPTransfer(t *testing.T) {
	const content = "0123456789"
	var broken atomic.Bool
	var stored atomic.Value
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/file":
			if broken.CompareAndSwap(false, true) {
				w.Header().Set("Content-Length", "10")
				io.WriteString(w, content[:4])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			if r.Header.Get("Range") != "bytes=4-" {
				t.Errorf("Range %q", r.Header.Get("Range"))
			}
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
		case "/secret":
			if u, p, _ := r.BasicAuth(); u != "u" || p != "p" {
				w.Header().Set("WWW-Authenticate", "Basic realm=x")
				w.WriteHeader(http.StatusUnauthorized)
			}
		case "/put":
			body, _ := io.ReadAll(r.Body)
			stored.Store(r.Method + " " + string(body))
		default:
			http.NotFound(w, r)
		}
	}))
	defer files.Close()
	transfer := HTTPTransfer(nil)
	for _, c := range []struct {
		name string
		t    TransferRequest
		want cwmp.FaultCode
	}{
		{"resumed", TransferRequest{URL: files.URL + "/file", FileSize: 10}, 0},
		{"authenticated", TransferRequest{URL: files.URL + "/secret", Username: "u", Password: "p"}, 0},
		{"wrong password", TransferRequest{URL: files.URL + "/secret", Username: "u", Password: "x"}, cwmp.FaultTransferAuthentication},
		{"another size", TransferRequest{URL: files.URL + "/secret", Username: "u", Password: "p", FileSize: 10}, cwmp.FaultDownloadCorrupted},
		{"not there", TransferRequest{URL: files.URL + "/no"}, cwmp.FaultDownloadAccess},
		{"nobody there", TransferRequest{URL: "http://127.0.0.1:1/"}, cwmp.FaultDownloadContact},
		{"other scheme", TransferRequest{URL: "tftp://127.0.0.1/x"}, cwmp.FaultTransferProtocol},
		{"upload", TransferRequest{URL: files.URL + "/put", Upload: true, FileType: "2 Vendor Log File"}, 0},
		{"upload refused", TransferRequest{URL: files.URL + "/no", Upload: true}, cwmp.FaultUploadFailure},
	} {
		fault := transfer(t.Context(), c.t)
		if got := cwmp.FaultCode(0); fault != nil && fault.Code != c.want || fault == nil && c.want != got {
			t.Errorf("%s: fault %v, want %d", c.name, fault, c.want)
		}
	}
	if got, _ := stored.Load().(string); !strings.HasPrefix(got, "PUT # 2 Vendor Log File of ") {
		t.Errorf("stored %q", got)
	}
}
