package translate

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/dm"
)

const images = "Device.DeviceInfo.FirmwareImage."

// mirror is a server of images, which counts what it is asked for.
type mirror struct {
	*httptest.Server
	content string
	asked   atomic.Int32
	handler atomic.Pointer[http.HandlerFunc] // in place of the content
}

func newMirror(t *testing.T) *mirror {
	m := &mirror{content: strings.Repeat("firmware ", 4096)}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.asked.Add(1)
		if h := m.handler.Load(); h != nil {
			(*h)(w, r)
			return
		}
		if _, err := w.Write([]byte(m.content)); err != nil {
			return
		}
	}))
	t.Cleanup(m.Close)
	return m
}

func (m *mirror) answer(h http.HandlerFunc) { m.handler.Store(&h) }

// args are those of a Download() of version 6.1.0 from the mirror.
func (m *mirror) args(auto bool) map[string]string {
	sum := sha256.Sum256([]byte(m.content))
	args := map[string]string{"URL": m.URL + "/hg200-6.1.0.bin", "AutoActivate": "false", "CheckSumAlgorithm": "SHA-256", "CheckSum": hex.EncodeToString(sum[:])}
	if auto {
		args["AutoActivate"] = "true"
	}
	return args
}

// gateways are the two kinds of CPE: one has no table of images, so that the
// bridge keeps one for it, the other has two slots.
func eachGateway(t *testing.T, play func(t *testing.T, r *bench, m *mirror)) {
	for name, model := range map[string]*cpesim.Model{"TR-098": cpesim.TR098(), "TR-181": cpesim.TR181()} {
		t.Run(name, func(t *testing.T) {
			play(t, newBenchOf(t, cpesim.Config{Model: model, Profile: &cpesim.Profile{}}), newMirror(t))
		})
	}
}

// value reads a parameter as controllers see it now.
func (r *bench) value(path string) string {
	r.t.Helper()
	m := r.model()
	ref, ok := lookup(m.Schema(), path)
	if !ok {
		r.t.Fatalf("the device has no %s", path)
	}
	v := m.Get(r.t.Context(), []dm.Ref{ref})[0]
	if v.Err != nil {
		r.t.Fatal(v.Err)
	}
	return v.Text
}

// upgraded waits until the new version is known, and the tree read again.
func (r *bench) upgraded(version string) {
	r.t.Helper()
	r.until("version "+version+" is known", func() bool { return r.record().DiscoveredSW == version && r.acs.Sessions() == 0 })
}

// An image that activates itself runs when the command has ended; the row that it
// was downloaded to is the active one.
func TestImageAutoActivate(t *testing.T) {
	eachGateway(t, func(t *testing.T, r *bench, m *mirror) {
		if end := r.ended(r.detached(images+"2.Download()", m.args(true))); end.Err != nil || len(end.Args) > 0 {
			t.Fatalf("ended %v with %v", end.Err, end.Args)
		}
		r.upgraded("6.1.0")
		for path, want := range map[string]string{"2.Status": "Active", "2.Version": "6.1.0", "2.Available": "true"} {
			if got := r.value(images + path); got != want {
				t.Errorf("%s is %q, want %q", path, got, want)
			}
		}
		if got := r.value("Device.DeviceInfo.ActiveFirmwareImage"); got != images+"2" {
			t.Errorf("ActiveFirmwareImage is %s", got)
		}
		told := r.heard.all(agent.Occurred, "TransferComplete!")
		if len(told) != 1 || told[0].Args["Affected"] != images+"2" || told[0].Args["TransferURL"] != m.URL+"/hg200-6.1.0.bin" || told[0].Args["FaultCode"] != "0" {
			t.Errorf("TransferComplete! %+v", told)
		}
		if boot := r.heard.all(agent.Occurred, "Boot!"); len(boot) == 0 || boot[len(boot)-1].Args["FirmwareUpdated"] != "true" {
			t.Errorf("Boot! %+v", boot)
		}
		r.noGrants()
	})
}

// An image that does not activate itself stays where it is until it is activated,
// and the one before can be activated again where it is still kept.
func TestImageActivate(t *testing.T) {
	for name, windows := range map[string]map[string]string{
		"at once":               nil,
		"immediately":           {"TimeWindow.1.Start": "0", "TimeWindow.1.End": "60", "TimeWindow.1.Mode": "Immediately"},
		"two windows, any time": {"TimeWindow.1.Start": "0", "TimeWindow.1.End": "60", "TimeWindow.1.Mode": "AnyTime", "TimeWindow.2.Start": "100", "TimeWindow.2.End": "160", "TimeWindow.2.Mode": "AnyTime"},
	} {
		t.Run(name, func(t *testing.T) {
			eachGateway(t, func(t *testing.T, r *bench, m *mirror) {
				before := r.record().Software
				if end := r.ended(r.detached(images+"2.Download()", m.args(false))); end.Err != nil {
					t.Fatal(end.Err)
				}
				r.until("the image is available", func() bool { return r.acs.Sessions() == 0 && r.value(images+"2.Status") == "Available" })
				if v, _ := r.cpe.Get(string(r.record().Root) + "DeviceInfo.SoftwareVersion"); v != before {
					t.Fatalf("the CPE runs %s already", v)
				}
				if end := r.ended(r.detached(images+"2.Activate()", windows)); end.Err != nil {
					t.Fatal(end.Err)
				}
				r.upgraded("6.1.0")
				if got := r.value("Device.DeviceInfo.ActiveFirmwareImage"); got != images+"2" {
					t.Errorf("ActiveFirmwareImage is %s", got)
				}
				if got := len(r.heard.all(agent.Occurred, "TransferComplete!")); got != 1 {
					t.Errorf("TransferComplete! was told %d times", got)
				}
			})
		})
	}
}

// An image that is not what it should be never reaches the CPE.
func TestImageThatIsWrong(t *testing.T) {
	eachGateway(t, func(t *testing.T, r *bench, m *mirror) {
		args := m.args(true)
		args["CheckSum"] = strings.Repeat("00", 32)
		end := r.ended(r.detached(images+"2.Download()", args))
		if end.Err == nil || !strings.Contains(end.Err.Error(), "not valid") {
			t.Errorf("ended %v", end.Err)
		}
		if n := r.calls("Download"); n != 0 {
			t.Errorf("the CPE was told %d times", n)
		}
		told := r.heard.all(agent.Occurred, "TransferComplete!")
		if len(told) != 1 || told[0].Args["FaultCode"] != "7022" || !strings.Contains(told[0].Args["FaultString"], "SHA-256") {
			t.Errorf("TransferComplete! %+v", told)
		}
		if got := r.value(images + "2.Status"); got != "ValidationFailed" {
			t.Errorf("Status is %s", got)
		}
	})
}

// What goes wrong before the CPE is told, or there, is in the status and the error.
func TestImageFailures(t *testing.T) {
	for _, c := range []struct {
		name    string
		profile cpesim.Profile
		mirror  http.HandlerFunc
		args    map[string]string
		want    string
		status  ImageStatus
	}{
		{"no such file", cpesim.Profile{}, http.NotFound, nil, "404", ImageDownloadFailed},
		{"cut off", cpesim.Profile{}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("half"))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, nil, "not come whole", ImageDownloadFailed},
		{"another size", cpesim.Profile{}, nil, map[string]string{"FileSize": "17"}, "not 17", ImageValidationFailed},
		{"the CPE refuses", cpesim.Profile{RefuseWith: map[string]cwmp.FaultCode{"Download": cwmp.FaultResourcesExceeded}}, nil, nil, "CWMP fault 9004", ImageInstallationFailed},
		{"the CPE fails", cpesim.Profile{FailTransfers: cwmp.FaultDownloadCorrupted}, nil, nil, "CWMP fault 9018", ImageInstallationFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, m := newBenchOf(t, cpesim.Config{Model: cpesim.TR098(), Profile: &cpesim.Profile{}}), newMirror(t)
			r.behave(c.profile)
			if c.mirror != nil {
				m.answer(c.mirror)
			}
			args := m.args(true)
			for k, v := range c.args {
				args[k] = v
			}
			if end := r.ended(r.detached(images+"2.Download()", args)); end.Err == nil || !strings.Contains(end.Err.Error(), c.want) {
				t.Errorf("ended %v, want %q", end.Err, c.want)
			}
			if got := r.value(images + "2.Status"); got != string(c.status) {
				t.Errorf("Status is %s, want %s", got, c.status)
			}
			if got := r.value("Device.DeviceInfo.ActiveFirmwareImage"); got != images+"1" {
				t.Errorf("ActiveFirmwareImage is %s", got)
			}
			if got := r.value(images + "2.BootFailureLog"); !strings.Contains(got, c.want) {
				t.Errorf("BootFailureLog is %q", got)
			}
		})
	}
}

// A CPE that tells of success and runs what it ran before is told as that.
func TestImageThatDoesNotRun(t *testing.T) {
	r, m := newBenchOf(t, cpesim.Config{Model: cpesim.TR098(), Profile: &cpesim.Profile{KeepsOldFirmware: true}}), newMirror(t)
	if end := r.ended(r.detached(images+"2.Download()", m.args(true))); end.Err != nil {
		t.Fatal(end.Err)
	}
	r.until("it has booted", func() bool { r.inform(); return r.value(images+"2.Status") == "Active" })
	if got := r.value(images + "2.BootFailureLog"); !strings.Contains(got, "SoftwareVersion") {
		t.Errorf("BootFailureLog is %q", got)
	}
}

// Deviation: field CPE – no TransferComplete; the new SoftwareVersion is the proof
func TestImageWithoutTransferComplete(t *testing.T) {
	r, m := newBenchOf(t, cpesim.Config{Model: cpesim.TR098(), Profile: &cpesim.Profile{NoTransferComplete: true, NoTransferQueue: true}}), newMirror(t)
	request := r.detached(images+"2.Download()", m.args(true))
	r.upgraded("6.1.0")
	r.inform()
	r.pass(reportTime)
	if end := r.ended(request); end.Err != nil {
		t.Error(end.Err)
	}
	if got := r.value(images + "2.Status"); got != "Active" {
		t.Errorf("Status is %s", got)
	}
}

// What the CPE knows nothing of yet is just not done; what it has in its queue is
// taken out of it.
func TestImageCanceled(t *testing.T) {
	eachGateway(t, func(t *testing.T, r *bench, m *mirror) {
		if end := r.ended(r.detached(images+"2.Download()", m.args(false))); end.Err != nil {
			t.Fatal(end.Err)
		}
		r.until("the image is available", func() bool { return r.value(images+"2.Status") == "Available" })
		request := r.detached(images+"2.Activate()", map[string]string{"TimeWindow.1.Start": "120", "TimeWindow.1.End": "500", "TimeWindow.1.Mode": "AnyTime"})
		if r.record().Root != "Device." { // else the bridge waits itself
			r.until("the CPE has it", func() bool { return r.record().operation(request).State == OperationAccepted })
		}
		if _, _, err := r.operate(images+"2.Activate()", nil); usp.AsError(err, "").Code != usp.ErrResourcesExceeded {
			t.Errorf("a second Activate(): %v", err)
		}
		if err := r.model().Cancel(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		if end := r.ended(request); usp.AsError(end.Err, "").Code != usp.ErrCommandCanceled {
			t.Errorf("ended %v", end.Err)
		}
		if got := r.value(images + "2.Status"); got != "Available" {
			t.Errorf("Status is %s", got)
		}
		if n := r.calls("Reboot"); n != 0 {
			t.Error("the CPE was rebooted")
		}
	})
}

// A window that the bridge keeps itself: nothing is said before it, and nothing
// after.
func TestImageWindowOfBridge(t *testing.T) {
	window := map[string]string{"TimeWindow.1.Start": "600", "TimeWindow.1.End": "1200", "TimeWindow.1.Mode": "AnyTime",
		"TimeWindow.2.Start": "5000", "TimeWindow.2.End": "6000", "TimeWindow.2.Mode": "AnyTime"}
	r, m := newBenchOf(t, cpesim.Config{Model: cpesim.TR098(), Profile: &cpesim.Profile{}}), newMirror(t)
	if end := r.ended(r.detached(images+"2.Download()", m.args(false))); end.Err != nil {
		t.Fatal(end.Err)
	}
	// Deviation: many CPE – answer 9000 to ScheduleDownload; the bridge waits in their place
	r.behave(cpesim.Profile{RefuseWith: map[string]cwmp.FaultCode{"ScheduleDownload": cwmp.FaultMethodNotSupported}})
	request := r.detached(images+"2.Activate()", window)
	r.until("the CPE has refused", func() bool { op := r.record().operation(request); return op.Transfer.RPC == "Download" })
	r.inform()
	if n := r.calls("Download"); n != 0 {
		t.Fatal("the CPE was told before the window")
	}
	r.cpe.SetOnline(false)
	r.pass(1300 * time.Second)
	if op := r.record().operation(request); op == nil || op.State != OperationWaiting || !op.early(r.clock.now()) {
		t.Fatalf("after the first window: %+v", op)
	}
	r.cpe.SetOnline(true)
	r.pass(3800 * time.Second)
	if end := r.ended(request); end.Err != nil {
		t.Error(end.Err)
	}
	r.upgraded("6.1.0")
}

// A fleet that is to have one image fetches it once, whatever ends in between.
func TestImageOutlivesBridge(t *testing.T) {
	r, m := newBenchOf(t, cpesim.Config{Model: cpesim.TR098(), Profile: &cpesim.Profile{}}), newMirror(t)
	gone := make(chan struct{})
	m.answer(func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done(); close(gone) })
	request := r.detached(images+"2.Download()", m.args(true))
	r.until("the image is asked for", func() bool { return m.asked.Load() == 1 })
	if got := r.value(images + "2.Status"); got != "Downloading" {
		t.Errorf("Status is %s", got)
	}
	r.restart()
	<-gone
	m.handler.Store(nil)
	r.pass(fetchAgain)
	if end := r.ended(request); end.Err != nil {
		t.Fatal(end.Err)
	}
	r.upgraded("6.1.0")
	if end := r.ended(r.detached(images+"1.Download()", m.args(false))); end.Err != nil {
		t.Fatal(end.Err)
	}
	if n := m.asked.Load(); n != 2 { // one of them was cut off
		t.Errorf("fetched %d times", n)
	}
}

// Neither URL nor password of an image's server is in the record, and the CPE is
// not told them.
func TestImageSecrets(t *testing.T) {
	r, m := newBenchOf(t, cpesim.Config{Model: cpesim.TR098(), Profile: &cpesim.Profile{}}), newMirror(t)
	m.answer(func(w http.ResponseWriter, req *http.Request) {
		if user, password, ok := req.BasicAuth(); !ok || user != "mirror" || password != "secret-word" {
			w.Header().Set("WWW-Authenticate", `Basic realm="images"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(m.content))
	})
	args := m.args(true)
	args["URL"], args["Username"], args["Password"] = args["URL"]+"?key=secret-word", "mirror", "secret-word"
	r.cpe.SetOnline(false)
	request := r.detached(images+"2.Download()", args)
	r.until("the bridge has it", func() bool { return r.record().operation(request).State == OperationWaiting })
	if text := string(r.record().encode()); strings.Contains(text, "secret-word") {
		t.Errorf("in the record: %s", text)
	}
	r.cpe.SetOnline(true)
	r.inform()
	if end := r.ended(request); end.Err != nil {
		t.Fatal(end.Err)
	}
	for _, e := range r.cpe.Journal() {
		if d, ok := e.Request.(*cwmp.Download); ok && (strings.Contains(d.URL, "secret-word") || d.Username != "" || d.Password != "") {
			t.Errorf("the CPE was told %+v", d)
		}
	}
}

// What cannot be downloaded or activated is refused.
func TestImageRefusals(t *testing.T) {
	eachGateway(t, func(t *testing.T, r *bench, m *mirror) {
		for _, c := range []struct {
			command string
			args    map[string]string
			want    string
			code    usp.ErrorCode
		}{
			{"2.Download()", map[string]string{"URL": "ftp://files.example.net/x", "AutoActivate": "true"}, "URL: ", usp.ErrInvalidCommandArguments},
			{"2.Download()", map[string]string{"URL": m.URL, "AutoActivate": "perhaps"}, "AutoActivate: ", usp.ErrInvalidCommandArguments},
			{"2.Download()", map[string]string{"URL": m.URL, "AutoActivate": "true", "CheckSumAlgorithm": "CRC"}, "CheckSumAlgorithm: ", usp.ErrInvalidCommandArguments},
			{"2.Download()", map[string]string{"URL": m.URL, "AutoActivate": "true", "CheckSumAlgorithm": "SHA-1", "CheckSum": "00"}, "CheckSum: ", usp.ErrInvalidCommandArguments},
			{"2.Download()", map[string]string{"URL": "file:../x", "AutoActivate": "true"}, "URL: ", usp.ErrInvalidCommandArguments},
			{"1.Download()", map[string]string{"URL": m.URL, "AutoActivate": "false"}, "runs this image", usp.ErrCommandFailure},
			{"1.Activate()", nil, "runs this image", usp.ErrCommandFailure},
			{"2.Activate()", map[string]string{"TimeWindow.1.Start": "5", "TimeWindow.1.Mode": "AnyTime"}, "TimeWindow.1.End: ", usp.ErrInvalidCommandArguments},
			{"2.Activate()", map[string]string{"TimeWindow.1.Start": "5", "TimeWindow.1.End": "4", "TimeWindow.1.Mode": "AnyTime"}, "TimeWindow.1.End: ", usp.ErrInvalidCommandArguments},
			{"2.Activate()", map[string]string{"TimeWindow.1.Start": "5", "TimeWindow.1.End": "9", "TimeWindow.1.Mode": "Never"}, "TimeWindow.1.Mode: ", usp.ErrInvalidCommandArguments},
		} {
			_, _, err := r.operate(images+c.command, c.args)
			if e := usp.AsError(err, ""); e == nil || e.Code != c.code || !strings.Contains(e.Msg, c.want) {
				t.Errorf("%s %v: %v, want %d %s", c.command, c.args, err, c.code, c.want)
			}
		}
	})
}

// An activation ends when the CPE runs the image, though the bridge has missed the
// Inform of the boot.
func TestImageBootMissed(t *testing.T) {
	r, m := newBenchOf(t, cpesim.Config{Model: cpesim.TR181(), Profile: &cpesim.Profile{}}), newMirror(t)
	if end := r.ended(r.detached(images+"2.Download()", m.args(true))); end.Err != nil {
		t.Fatal(end.Err)
	}
	r.upgraded("6.1.0")
	const request = 99
	dev, err := r.bridge.devices.acquire(t.Context(), r.cpe.Identity().Key())
	if err != nil {
		t.Fatal(err)
	}
	now := r.clock.now()
	r.bridge.amend(dev, func(rec *Record) {
		rec.Operations = append(rec.Operations, &Operation{Request: request, Command: images + "2.Activate()", Key: newCommandKey(),
			State: OperationAccepted, Told: now, Deadline: now.Add(time.Hour), Image: &ImageTask{Row: 2, Object: images + "2", Activate: true}})
	})
	r.bridge.devices.release(dev)
	r.inform()
	if end := r.ended(request); end.Err != nil {
		t.Error(end.Err)
	}
}
