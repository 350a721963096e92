package cpesim

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// request waits for an RPC that a CPE sends.
func (a *scriptedACS) request(t *testing.T) cwmp.Message {
	t.Helper()
	var m cwmp.Message
	wait(t, "an RPC of the CPE", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.requests) == 0 {
			return false
		}
		m, a.requests = a.requests[0], a.requests[1:]
		return true
	})
	return m
}

// told waits for the TransferComplete that a CPE sends.
func (a *scriptedACS) told(t *testing.T) *cwmp.TransferComplete {
	t.Helper()
	return a.request(t).(*cwmp.TransferComplete)
}

func TestFirmwareDownload(t *testing.T) {
	b := newBench(t, Config{PeriodicInform: 1000 * time.Hour})
	answer := b.acs.ask(t, b.cpe, &cwmp.Download{CommandKey: "up", FileType: firmware, URL: "http://files.example.net/hg200-5.2.0.bin", DelaySeconds: 30})[0]
	if r, ok := answer.(*cwmp.DownloadResponse); !ok || r.Status != 1 {
		t.Fatalf("answer %v", answer)
	}
	b.settle(t)
	b.clock.advance(30 * time.Second)
	wait(t, "the CPE to boot its new firmware", func() bool { return !b.cpe.Online() })
	b.settle(t)
	b.clock.advance(time.Minute)
	m := b.acs.next(t)
	wantEvents(t, m, cwmp.EventBoot, cwmp.EventValueChange, cwmp.EventTransferComplete, cwmp.EventMDownload)
	if v, _ := reportedValue(m, "Device.DeviceInfo.SoftwareVersion"); v != "5.2.0" {
		t.Errorf("SoftwareVersion %q", v)
	}
	done := b.acs.told(t)
	if done.CommandKey != "up" || (done.Fault != nil && done.Fault.Code != 0) || done.CompleteTime != "2026-03-01T12:00:30Z" {
		t.Errorf("TransferComplete %+v", done)
	}
	b.settle(t)
	b.acs.ask(t, b.cpe)
	if n := len(b.acs.requests); n != 0 {
		t.Errorf("the end was told %d times more", n)
	}
}

func TestTransfersThatFail(t *testing.T) {
	b := newBench(t, Config{PeriodicInform: 1000 * time.Hour, Profile: &Profile{FailTransfers: cwmp.FaultDownloadCorrupted}})
	answers := b.acs.ask(t, b.cpe,
		&cwmp.Download{URL: "gopher://files.example.net/x"},
		&cwmp.Download{URL: "no URL"},
		&cwmp.ScheduleDownload{URL: "http://files.example.net/x"},
		&cwmp.Download{CommandKey: "bad", FileType: firmware, URL: "http://files.example.net/6.0.bin"})
	wantFault(t, answers[0], cwmp.FaultTransferProtocol)
	wantFault(t, answers[1], cwmp.FaultInvalidArguments)
	wantFault(t, answers[2], cwmp.FaultInvalidArguments)
	wantEvents(t, b.acs.next(t), cwmp.EventTransferComplete, cwmp.EventMDownload)
	if done := b.acs.told(t); done.Fault == nil || done.Fault.Code != cwmp.FaultDownloadCorrupted {
		t.Errorf("TransferComplete %+v", done)
	}
	if v, _ := b.cpe.Get("Device.DeviceInfo.SoftwareVersion"); v != "5.1.3" {
		t.Errorf("the failed download installed %q", v)
	}
}

func TestQueuedTransfers(t *testing.T) {
	b := newBench(t, Config{PeriodicInform: 1000 * time.Hour})
	answers := b.acs.ask(t, b.cpe,
		&cwmp.Upload{CommandKey: "log", FileType: "2 Vendor Log File", URL: "http://files.example.net/log", DelaySeconds: 60},
		&cwmp.ScheduleDownload{CommandKey: "night", FileType: "3 Vendor Configuration File", URL: "http://files.example.net/c",
			TimeWindows: []cwmp.TimeWindow{{WindowStart: 120, WindowEnd: 600, WindowMode: "1 At Any Time"}}},
		&cwmp.Download{CommandKey: "no", FileType: firmware, URL: "http://files.example.net/f", DelaySeconds: 10},
		&cwmp.CancelTransfer{CommandKey: "no"},
		&cwmp.GetQueuedTransfers{}, &cwmp.GetAllQueuedTransfers{})
	if q := answers[4].(*cwmp.GetQueuedTransfersResponse).Transfers; len(q) != 2 || q[0].CommandKey != "log" || q[0].State != transferWaits {
		t.Errorf("queued %+v", q)
	}
	if q := answers[5].(*cwmp.GetAllQueuedTransfersResponse).Transfers; len(q) != 2 || q[0].IsDownload || !q[1].IsDownload {
		t.Errorf("all queued %+v", q)
	}
	b.settle(t)
	b.clock.advance(60 * time.Second)
	wantEvents(t, b.acs.next(t), cwmp.EventTransferComplete, cwmp.EventMUpload)
	b.acs.told(t)
	b.settle(t)
	b.clock.advance(60 * time.Second)
	wantEvents(t, b.acs.next(t), cwmp.EventTransferComplete, cwmp.EventMScheduleDownload)
}

func TestTransferFunctionAndHeldRequests(t *testing.T) {
	acs := newACS(t)
	asked := make(chan TransferRequest) // unbuffered: the transfer lasts until the ACS has been told what to do next
	f := startFleet(t, FleetConfig{Transfer: func(_ context.Context, r TransferRequest) *cwmp.Fault {
		asked <- r
		return nil
	}})
	c, err := f.Add(Config{ACSURL: acs.URL, Model: TR181()})
	if err != nil {
		t.Fatal(err)
	}
	acs.next(t)
	wait(t, "the first session to end", func() bool { return f.Stats().Sessions == 1 })
	acs.ask(t, c, &cwmp.Download{FileType: "3 Vendor Configuration File", URL: "https://files.example.net/c", Username: "u", Password: "p"})
	acs.set(func() { acs.hold = 1; acs.queue = []cwmp.Message{&cwmp.GetRPCMethods{}} })
	if r := <-asked; r.URL != "https://files.example.net/c" || r.Username != "u" || r.Upload || r.CPE != c.Identity() {
		t.Errorf("transfer %+v", r)
	}
	m := acs.next(t)
	wantEvents(t, m, cwmp.EventTransferComplete, cwmp.EventMDownload)
	wait(t, "the held session's RPC", func() bool { return c.Called("GetRPCMethods") == 1 })
	acs.mu.Lock()
	held := len(acs.requests)
	acs.mu.Unlock()
	if held != 0 {
		t.Error("the TransferComplete was sent though the ACS held requests")
	}
	if err := c.Inform(); err != nil { // without the back-off
		t.Fatal(err)
	}
	acs.told(t)
}

func TestNextVersion(t *testing.T) {
	for version, want := range map[string]string{"1.2.9": "1.2.10", "v1": "v2", "": ".1", "abc": "abc.1", "1.0-rc": "1.1-rc"} {
		if got := nextVersion(version); got != want {
			t.Errorf("nextVersion(%q) = %q, want %q", version, got, want)
		}
	}
}

func TestDiagnostics(t *testing.T) {
	tests := []struct {
		name   string
		model  *Model
		object string
		set    map[string]string
		want   map[string]string
	}{
		{"ping", TR181(), "Device.IP.Diagnostics.IPPing.", map[string]string{"Host": "198.51.100.7", "NumberOfRepetitions": "7"},
			map[string]string{"DiagnosticsState": "Complete", "SuccessCount": "7", "FailureCount": "0"}},
		{"ping of no name", TR098(), "InternetGatewayDevice.IPPingDiagnostics.", map[string]string{"Host": "a.invalid"},
			map[string]string{"DiagnosticsState": "Error_CannotResolveHostName", "SuccessCount": "0"}},
		{"trace route", TR098(), "InternetGatewayDevice.TraceRouteDiagnostics.", map[string]string{"Host": "198.51.100.7"},
			map[string]string{"DiagnosticsState": "Complete", "RouteHopsNumberOfEntries": "3", "RouteHops.3.HopHostAddress": "198.51.100.7"}},
		{"download", TR181(), "Device.IP.Diagnostics.DownloadDiagnostics.", map[string]string{"DownloadURL": "http://files.example.net/100M"},
			map[string]string{"DiagnosticsState": "Complete", "TestBytesReceived": "25000000", "EOMTime": "2026-03-01T12:00:00.000000Z"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Config{Model: tt.model, PeriodicInform: 1000 * time.Hour})
			set := &cwmp.SetParameterValues{Values: []cwmp.ParameterValue{value(tt.object+"DiagnosticsState", cwmp.TypeString, "Requested")}}
			for name, text := range tt.set {
				set.Values = append(set.Values, value(tt.object+name, tt.model.find(cwmp.Path(tt.object+name)).typ, text))
			}
			if f, refused := b.acs.ask(t, b.cpe, set)[0].(*cwmp.Fault); refused {
				t.Fatal(f)
			}
			wantEvents(t, b.acs.next(t), cwmp.EventDiagnosticsComplete)
			for name, want := range tt.want {
				if got, _ := b.cpe.Get(tt.object + name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			var argument string
			for argument = range tt.set {
				break
			}
			b.settle(t)
			other := strings.Replace(tt.set[argument], "198.51.100.7", "198.51.100.8", 1)
			b.acs.ask(t, b.cpe, &cwmp.SetParameterValues{Values: []cwmp.ParameterValue{value(tt.object+argument, tt.model.find(cwmp.Path(tt.object+argument)).typ, other)}})
			if got, _ := b.cpe.Get(tt.object + "DiagnosticsState"); got != "None" {
				t.Errorf("state %q after an argument was set", got)
			}
		})
	}
}
