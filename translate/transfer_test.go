package translate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
)

const (
	download = "Device.X_USPBRIDGE_CWMP.Download()"
	upload   = "Device.X_USPBRIDGE_CWMP.Upload()"
	image    = "hg200-5.2.0.bin"
	version  = "Device.DeviceInfo.SoftwareVersion"
)

// firmware are the arguments of a firmware download from the bridge's files.
func (r *bench) firmware() map[string]string {
	r.file(image, "a firmware image")
	return map[string]string{"FileType": firmwareImage, "URL": "file:" + image}
}

func (r *bench) config() map[string]string {
	r.file("config.xml", "a configuration")
	return map[string]string{"FileType": "3 Vendor Configuration File", "URL": "config.xml"}
}

// However a CPE tells of the end of a firmware download, it ends once, with
// the new version known, and TransferComplete! tells of it.
func TestFirmwareDownload(t *testing.T) {
	for _, c := range []struct {
		name     string
		profile  *cpesim.Profile
		evidence string
		told     int // TransferComplete! events
		sends    int
	}{
		{"as the standard has it", nil, "TransferComplete", 1, 1},
		// Deviation: field CPE – TransferComplete with an empty CommandKey; it is that of the only transfer
		{"no CommandKey", &cpesim.Profile{EmptyCommandKey: true, NoTransferEvents: true}, "TransferComplete", 1, 1},
		// Deviation: field CPE – TransferComplete with another CommandKey; the Inform's "M Download" event or the only transfer decides
		{"wrong CommandKey", &cpesim.Profile{WrongCommandKey: "12345"}, "TransferComplete", 1, 1},
		// Deviation: field CPE – no "7 TRANSFER COMPLETE" and no "M Download" in the Inform; the TransferComplete alone counts
		{"no event", &cpesim.Profile{NoTransferEvents: true}, "TransferComplete", 1, 1},
		// Deviation: field CPE – TransferComplete before the reboot; it is taken, and the tree read again after it
		{"told before the reboot", &cpesim.Profile{TransferCompleteBeforeBoot: true}, "TransferComplete", 1, 1},
		// Deviation: field CPE – year-0001 times; passed on as unknown
		{"unknown times", &cpesim.Profile{UnknownTransferTimes: true}, "TransferComplete", 1, 1},
		{"done before it is answered", &cpesim.Profile{InstantTransfers: true}, "DownloadResponse", 0, 1},
		{"told twice, since the response got lost", &cpesim.Profile{LoseResponses: true}, "TransferComplete", 1, 1},
		{"answer lost, transfer in the queue", &cpesim.Profile{DieAfter: "Download", DieOnce: true}, "TransferComplete", 1, 1},
		{"request lost, nothing in the queue", &cpesim.Profile{DieAt: "Download", DieOnce: true}, "TransferComplete", 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newBench(t, c.profile)
			request := r.detached(download, r.firmware())
			r.until("the CPE runs the new version", func() bool { r.inform(); v, _ := r.cpe.Get(version); return v == "5.2.0" && r.cpe.Online() })
			r.until("it ends", func() bool { r.inform(); return r.record().operation(request) == nil })
			end := r.ended(request)
			if end.Err != nil || end.Args["Evidence"] != c.evidence {
				t.Errorf("ended %v with %v", end.Err, end.Args)
			}
			if got := r.calls("Download"); got != c.sends {
				t.Errorf("the CPE has carried Download out %d times, want %d", got, c.sends)
			}
			told := r.heard.all(agent.Occurred, "TransferComplete!")
			if len(told) != c.told {
				t.Fatalf("told %d times: %+v", len(told), told)
			}
			for _, ev := range told {
				if ev.Args["Command"] != download || ev.Args["CommandKey"] != "usp-key" || ev.Args["Requestor"] != "proto::c" ||
					ev.Args["TransferURL"] != "file:"+image || ev.Args["FaultCode"] != "0" {
					t.Errorf("TransferComplete! with %v", ev.Args)
				}
			}
			r.until("the new version is known", func() bool { r.inform(); return r.record().DiscoveredSW == "5.2.0" })
			r.noGrants()
		})
	}
}

// noGrants waits until no token is good for anything any more: what is known of an
// operation is ahead of the store.
func (r *bench) noGrants() {
	r.t.Helper()
	r.until("the grants are gone", func() bool {
		left := 0
		err := r.store.Scan(r.t.Context(), store.Query{Kind: store.FileGrant}, func(store.Key, []byte) bool {
			left++
			return true
		})
		if err != nil {
			r.t.Fatal(err)
		}
		return left == 0
	})
}

// Deviation: field CPE – no TransferComplete at all; another SoftwareVersion after the reboot tells that a firmware has arrived
func TestFirmwareWithoutTransferComplete(t *testing.T) {
	r := newBench(t, &cpesim.Profile{NoTransferComplete: true, NoTransferQueue: true})
	request := r.detached(download, r.firmware())
	r.until("the new version is known", func() bool { return r.record().Software == "5.2.0" })
	r.inform()
	if op := r.record().operation(request); op == nil || op.State != OperationAccepted {
		t.Fatalf("it ended without leaving time to tell: %+v", op)
	}
	r.pass(reportTime)
	if end := r.ended(request); end.Err != nil || end.Args["Evidence"] != "SoftwareVersion" {
		t.Errorf("ended %v with %v", end.Err, end.Args)
	}
}

// A transfer of whose end the CPE never tells ends as a failure that says so.
func TestTransferNeverEnds(t *testing.T) {
	r := newBench(t, &cpesim.Profile{NoTransferComplete: true})
	request := r.detached(download, r.config())
	r.until("the CPE has fetched the file", func() bool {
		return strings.Contains(r.audit(), `"action":"FileDownload"`) && r.record().operation(request).State == OperationAccepted
	})
	r.pass(r.bridge.cfg.Files.Life)
	if end := r.ended(request); usp.AsError(end.Err, "").Code != usp.ErrCommandFailure || !strings.Contains(end.Err.Error(), "not told of its end") {
		t.Errorf("ended %v", end.Err)
	}
	r.noGrants()
}

// audit returns the audit records that the bridge has written of the device.
func (r *bench) audit() string {
	r.t.Helper()
	var all strings.Builder
	err := r.store.Scan(r.t.Context(), store.Query{Kind: store.Audit}, func(_ store.Key, v []byte) bool { all.Write(v); return true })
	if err != nil {
		r.t.Fatal(err)
	}
	return all.String()
}

// A CPE that takes its time is waited for as long as it has the transfer in its
// queue.
func TestTransferStillQueued(t *testing.T) {
	r := newBench(t, nil)
	args := r.config()
	args["DelaySeconds"] = "3600"
	request := r.detached(download, args)
	r.until("the CPE has it", func() bool { return r.record().operation(request).State == OperationAccepted })
	r.pass(time.Hour + r.bridge.cfg.Files.Life)
	op := r.record().operation(request)
	if op == nil || op.State != OperationAccepted || !op.Deadline.After(r.clock.now()) {
		t.Errorf("given up: %+v", op)
	}
}

// What the session broke over is sent again once, where looking at the CPE
// tells that it does not have it, and then given up.
func TestTransferLostTwice(t *testing.T) {
	r := newBench(t, &cpesim.Profile{DieAt: "Download"})
	request := r.detached(download, r.config())
	r.until("it ends", func() bool { r.inform(); return r.record().operation(request) == nil })
	if end := r.ended(request); end.Err == nil || !strings.Contains(end.Err.Error(), "sent 2 times") {
		t.Errorf("ended %v", end.Err)
	}
}

// Deviation: field CPE – cannot list its transfers; after a lost answer it gets time to tell of the end before it is told again
func TestTransferLostWithoutQueue(t *testing.T) {
	r := newBench(t, &cpesim.Profile{DieAt: "Download", DieOnce: true, NoTransferQueue: true})
	request := r.detached(download, r.config())
	r.until("the session broke", func() bool { return r.record().operation(request).State == OperationSent })
	r.inform()
	r.inform()
	if n := r.calls("Download"); n != 0 {
		t.Fatalf("told again at once")
	}
	r.pass(settleTime)
	if end := r.ended(request); end.Err != nil {
		t.Errorf("ended %v", end.Err)
	}
}

// Each fault with which a CPE refuses a transfer, or ends one, is told as an
// error with the fault in it.
func TestTransferFaults(t *testing.T) {
	r := newBench(t, nil)
	var codes []cwmp.FaultCode
	for code := cwmp.FaultRequestDenied; code <= cwmp.FaultCancelNotPermitted; code++ {
		codes = append(codes, code)
	}
	codes = append(codes, cwmp.FaultMethodNotSupported) // the last: Download is not sent any more then
	for _, code := range codes {
		fault := fmt.Sprintf("CWMP fault %d", code)
		told := len(r.heard.all(agent.Occurred, "TransferComplete!"))
		r.behave(cpesim.Profile{FailTransfers: code})
		if end := r.ended(r.detached(download, r.config())); end.Err == nil || !strings.Contains(end.Err.Error(), fault) {
			t.Errorf("failed with %d: ended %v", code, end.Err)
		}
		if now := r.heard.all(agent.Occurred, "TransferComplete!")[told:]; len(now) != 1 || now[0].Args["FaultCode"] == "0" || !strings.Contains(now[0].Args["FaultString"], fault) {
			t.Errorf("failed with %d: told %+v", code, now)
		}
		r.behave(cpesim.Profile{RefuseWith: map[string]cwmp.FaultCode{"Download": code}})
		if end := r.ended(r.detached(download, r.config())); end.Err == nil || !strings.Contains(end.Err.Error(), fault) {
			t.Errorf("refused with %d: ended %v", code, end.Err)
		}
	}
}

func TestUpload(t *testing.T) {
	r := newBench(t, nil)
	end := r.ended(r.detached(upload, map[string]string{"FileType": "2 Vendor Log File", "Username": "u", "Password": "p"}))
	if end.Err != nil {
		t.Fatal(end.Err)
	}
	text, err := os.ReadFile(filepath.Join(r.dir, "files", end.Args["File"]))
	if err != nil || !strings.Contains(string(text), "2 Vendor Log File") || !strings.HasPrefix(end.Args["File"], "uploads/ops::") {
		t.Errorf("%q has %q, %v", end.Args["File"], text, err)
	}
	if !strings.Contains(r.audit(), `"action":"FileUpload"`) {
		t.Errorf("audit: %s", r.audit())
	}
	if told := r.heard.all(agent.Occurred, "TransferComplete!"); len(told) != 1 || told[0].Args["TransferType"] != "Upload" {
		t.Errorf("told %+v", told)
	}
}

// A URL of elsewhere goes to the CPE untouched.
func TestForeignURL(t *testing.T) {
	r := newBench(t, nil)
	const address = "http://u:p@127.0.0.1:1/x?a=b"
	end := r.ended(r.detached(download, map[string]string{"FileType": "3 Vendor Configuration File", "URL": address, "FileSize": "7",
		"TargetFileName": "t", "SuccessURL": "http://s.example/", "FailureURL": "http://f.example/"}))
	if end.Err == nil || !strings.Contains(end.Err.Error(), "9015") {
		t.Errorf("ended %v", end.Err)
	}
	for _, e := range r.cpe.Journal() {
		if m, ok := e.Request.(*cwmp.Download); ok && (m.URL != address || m.FileSize != 7 || m.TargetFileName != "t" || m.SuccessURL != "http://s.example/" || m.FailureURL != "http://f.example/") {
			t.Errorf("the CPE was told %+v", m)
		}
	}
	if told := r.heard.all(agent.Occurred, "TransferComplete!"); len(told) != 1 || strings.Contains(told[0].Args["TransferURL"], ":p@") {
		t.Errorf("told %+v", told)
	}
}

func TestTransferArguments(t *testing.T) {
	r := newBench(t, nil)
	r.file("config.xml", "x")
	for _, c := range []struct {
		command string
		args    map[string]string
		says    string
	}{
		{download, map[string]string{"URL": "config.xml"}, "FileType"},
		{download, map[string]string{"FileType": firmwareImage, "URL": "no.bin"}, "no file"},
		{download, map[string]string{"FileType": firmwareImage, "URL": "../store"}, "leads out"},
		{download, map[string]string{"FileType": firmwareImage, "URL": "file:///etc/passwd"}, "leads out"},
		{download, map[string]string{"FileType": firmwareImage, "URL": "file:uploads/ops::other/config"}, "another device"},
		{download, map[string]string{"FileType": firmwareImage, "URL": "mailto:x"}, "neither a URL nor"},
		{download, map[string]string{"FileType": firmwareImage, "URL": "config.xml", "DelaySeconds": "-1"}, "DelaySeconds"},
		{download, map[string]string{"FileType": firmwareImage, "URL": "http://x/" + strings.Repeat("x", 300)}, "256"},
		{upload, map[string]string{"FileType": "2 Vendor Log File", "URL": "file:../../x"}, "leads out"},
		{"Device.X_USPBRIDGE_CWMP.ScheduleDownload()", map[string]string{"FileType": firmwareImage, "URL": "config.xml"}, "time windows"},
		{"Device.X_USPBRIDGE_CWMP.ScheduleDownload()", map[string]string{"FileType": firmwareImage, "URL": "config.xml",
			"TimeWindow.1.Start": "10", "TimeWindow.1.End": "10"}, "ends before"},
	} {
		_, _, err := r.operate(c.command, c.args)
		if e := usp.AsError(err, ""); err == nil || e.Code != usp.ErrInvalidCommandArguments || !strings.Contains(e.Msg, c.says) {
			t.Errorf("%s %v: %v", c.command, c.args, err)
		}
	}
}

func TestScheduleDownload(t *testing.T) {
	r := newBench(t, nil)
	args := r.config()
	args["TimeWindow.1.Start"], args["TimeWindow.1.End"] = "0", "600"
	if end := r.ended(r.detached("Device.X_USPBRIDGE_CWMP.ScheduleDownload()", args)); end.Err != nil {
		t.Errorf("ended %v", end.Err)
	}
	for _, e := range r.cpe.Journal() {
		if m, ok := e.Request.(*cwmp.ScheduleDownload); ok && (len(m.TimeWindows) != 1 || m.TimeWindows[0].WindowMode != "1 At Any Time" || m.TimeWindows[0].MaxRetries != -1) {
			t.Errorf("the CPE was told %+v", m)
		}
	}
}

// Canceling: on the CPE where it has the transfer, else just so; a CPE that
// refuses lets it go on.
func TestCancelTransfer(t *testing.T) {
	delayed := func(r *bench) map[string]string {
		args := r.config()
		args["DelaySeconds"] = "3600"
		return args
	}
	accepted := func(r *bench, request uint32) {
		r.until("the CPE has it", func() bool { return r.record().operation(request).State == OperationAccepted })
	}
	t.Run("on the CPE", func(t *testing.T) {
		r := newBench(t, nil)
		request := r.detached(download, delayed(r))
		accepted(r, request)
		if err := r.model().Cancel(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		if end := r.ended(request); usp.AsError(end.Err, "").Code != usp.ErrCommandCanceled || r.calls("CancelTransfer") != 1 {
			t.Errorf("ended %v, CancelTransfer %d times", end.Err, r.calls("CancelTransfer"))
		}
	})
	t.Run("by the command, with the controller's key", func(t *testing.T) {
		r := newBench(t, nil)
		request := r.detached(download, delayed(r))
		accepted(r, request)
		if _, out, err := r.operate("Device.X_USPBRIDGE_CWMP.GetQueuedTransfers()", nil); err != nil || out["Transfer.1.CommandKey"] != "usp-key" ||
			out["Transfer.1.Request"] != fmt.Sprintf("Device.LocalAgent.Request.%d.", request) {
			t.Errorf("queue %v, %v", out, err)
		}
		if _, _, err := r.operate("Device.X_USPBRIDGE_CWMP.CancelTransfer()", map[string]string{"CommandKey": "usp-key"}); err != nil {
			t.Fatal(err)
		}
		if end := r.ended(request); usp.AsError(end.Err, "").Code != usp.ErrCommandCanceled {
			t.Errorf("ended %v", end.Err)
		}
	})
	t.Run("not told yet", func(t *testing.T) {
		r := newBench(t, nil)
		r.cpe.SetOnline(false)
		request := r.detached(download, delayed(r))
		if err := r.model().Cancel(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		if end := r.ended(request); usp.AsError(end.Err, "").Code != usp.ErrCommandCanceled {
			t.Errorf("ended %v", end.Err)
		}
		r.cpe.SetOnline(true)
		r.inform()
		if r.calls("Download") != 0 {
			t.Error("the CPE was told of a canceled transfer")
		}
	})
	t.Run("refused", func(t *testing.T) {
		r := newBench(t, &cpesim.Profile{RefuseWith: map[string]cwmp.FaultCode{"CancelTransfer": cwmp.FaultCancelNotPermitted}})
		request := r.detached(download, delayed(r))
		accepted(r, request)
		if err := r.model().Cancel(t.Context(), request); err == nil || !strings.Contains(err.Error(), "9021") {
			t.Errorf("Cancel: %v", err)
		}
		if !r.model().Detached(request) {
			t.Error("it does not go on")
		}
	})
}

// A CPE that does not come is waited for as long as it may take to inform.
func TestTransferToAbsentCPE(t *testing.T) {
	r := newBench(t, nil)
	r.cpe.SetOnline(false)
	request := r.detached(download, r.config())
	r.pass(contactLife - time.Minute)
	if !r.model().Detached(request) {
		t.Fatal("given up too early")
	}
	r.pass(time.Hour)
	if end := r.ended(request); end.Err == nil || !strings.Contains(end.Err.Error(), "not come") {
		t.Errorf("ended %v", end.Err)
	}
}

func TestOperationsAreBounded(t *testing.T) {
	r := newBench(t, nil)
	r.cpe.SetOnline(false)
	args := r.config()
	for range maxOperations {
		r.detached(download, args)
	}
	if _, _, err := r.operate(download, args); usp.AsError(err, "").Code != usp.ErrResourcesExceeded {
		t.Errorf("one more: %v", err)
	}
}

// The bridge dies at each point of a download; another goes on from there, and
// nothing is done or told twice.
func TestRestartInTransfer(t *testing.T) {
	t.Run("before the CPE is told", func(t *testing.T) {
		r := newBench(t, nil)
		r.cpe.SetOnline(false)
		request := r.detached(download, r.firmware())
		r.restart()
		r.cpe.SetOnline(true)
		r.inform()
		r.endsOnce(request, 1)
	})
	t.Run("before it answers", func(t *testing.T) {
		r := newBench(t, &cpesim.Profile{SlowResponse: 30 * time.Millisecond})
		request := r.detached(download, r.firmware())
		r.until("it is sent", func() bool { op := r.record().operation(request); return op != nil && op.State == OperationSent })
		r.restart()
		r.until("it ends", func() bool { r.inform(); return r.record().operation(request) == nil })
		r.endsOnce(request, 1)
	})
	t.Run("after it has answered", func(t *testing.T) {
		r := newBench(t, nil)
		args := r.firmware()
		args["DelaySeconds"] = "1"
		request := r.detached(download, args)
		r.until("it is accepted", func() bool { op := r.record().operation(request); return op.State == OperationAccepted })
		r.restart()
		r.endsOnce(request, 1)
	})
	t.Run("before the agent is told", func(t *testing.T) {
		r := newBench(t, nil)
		r.heard.mu.Lock()
		r.heard.fail = errors.New("killed") // nothing gets through to the agent any more
		r.heard.mu.Unlock()
		request := r.detached(download, r.config())
		r.until("the CPE has fetched the file", func() bool { return strings.Contains(r.audit(), `"action":"FileDownload"`) })
		r.end()
		r.heard.mu.Lock()
		r.heard.fail = nil
		r.heard.mu.Unlock()
		r.start()
		r.until("it ends", func() bool { r.inform(); return r.record().operation(request) == nil })
		r.endsOnce(request, 1)
	})
}

func (r *bench) endsOnce(request uint32, downloads int) {
	r.t.Helper()
	if end := r.ended(request); end.Err != nil {
		r.t.Errorf("ended %v", end.Err)
	}
	if n := r.calls("Download"); n != downloads {
		r.t.Errorf("the CPE has carried Download out %d times, want %d", n, downloads)
	}
}

// What the agent could not be told is told again later.
func TestEndIsToldAgain(t *testing.T) {
	r := newBench(t, nil)
	r.cpe.SetOnline(false)
	request := r.detached(download, r.config())
	r.heard.mu.Lock()
	r.heard.fail = errors.New("the store is full")
	r.heard.mu.Unlock()
	if err := r.model().Cancel(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if !r.model().Detached(request) {
		t.Fatal("forgotten before it was told")
	}
	r.heard.mu.Lock()
	r.heard.fail = nil
	r.heard.mu.Unlock()
	r.restart()
	r.pass(tellAgain)
	r.ended(request)
}

// Neither the store nor what an operator is shown has the credentials of a
// transfer, nor a token; the CPE gets them, also after a restart.
func TestTransferSecrets(t *testing.T) {
	r := newBench(t, nil)
	r.cpe.SetOnline(false)
	args := r.config()
	args["Username"], args["Password"] = "somebody", "battery staple"
	own := r.detached(download, args)
	r.detached(download, map[string]string{"FileType": "3 Vendor Configuration File", "URL": "http://u:horse@127.0.0.1:1/x"})
	r.showsNo("battery", "horse")
	r.restart()
	r.cpe.SetOnline(true)
	r.inform()
	r.until("the file is fetched", func() bool { return strings.Contains(r.audit(), `"action":"FileDownload"`) })
	r.showsNo("battery", "horse")
	r.until("both end", func() bool { return len(r.record().Operations) == 0 })
	for _, ev := range r.heard.all(agent.OperationEnded, "") {
		if ev.Request == own && ev.Err != nil {
			t.Errorf("ended %v", ev.Err)
		}
	}
	for _, e := range r.cpe.Journal() {
		if m, ok := e.Request.(*cwmp.Download); ok && m.Username != "somebody" && m.URL != "http://u:horse@127.0.0.1:1/x" {
			t.Errorf("the CPE was told %+v", m)
		}
	}
}

func (r *bench) showsNo(secrets ...string) {
	r.t.Helper()
	shown, err := r.bridge.Show(r.t.Context(), r.record().Endpoint)
	if err != nil {
		r.t.Fatal(err)
	}
	text := string(shown.Record.encode())
	for kind := store.Kind(1); kind < store.Kinds; kind++ {
		if err := r.store.Scan(r.t.Context(), store.Query{Kind: kind}, func(_ store.Key, v []byte) bool { text += string(v); return true }); err != nil {
			r.t.Fatal(err)
		}
	}
	for _, s := range secrets {
		if strings.Contains(text, s) {
			r.t.Errorf("%q can be read", s)
		}
	}
}
