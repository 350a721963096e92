package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ran is what one run of the program left.
type ran struct {
	code           int
	stdout, stderr string
}

func runApp(ctx context.Context, environ []string, args ...string) ran {
	var stdout, stderr bytes.Buffer
	a := &app{program: "uspbridge", stdout: &stdout, stderr: &stderr, environ: environ}
	code := a.run(ctx, args)
	return ran{code, stdout.String(), stderr.String()}
}

// nobody is an address at which nothing listens.
const nobody = "127.0.0.1:1"

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bridge.yaml")
	if err := os.WriteFile(bad, []byte("cwmp: {deadlin: 1s}"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty, nameless := filepath.Join(dir, "empty"), filepath.Join(dir, "tree.csv")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	const tree = "Parameter,Object,Writable,Value,Value type\nDevice.DeviceInfo.ProductClass,false,false,X,xsd:string\n"
	if err := os.WriteFile(nameless, []byte(tree), 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	nothing := filepath.Join(dir, "nothing")
	if err := os.WriteFile(nothing, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	other := httptest.NewServer(http.NotFoundHandler()) // a server that is no bridge
	defer other.Close()
	plain := other.Listener.Addr().String()
	tests := []struct {
		args   string
		code   int
		stderr string // is in it
	}{
		{"", 2, "needs a subcommand: add, broker, certificate, delete"},
		{"--help", 0, ""},
		{"version", 0, ""},
		{"--version", 2, "unknown flag: --version; it is a command: uspbridge version"},
		{"--devise", 2, "unknown flag: --devise\n"},
		{"version now", 2, "takes no arguments, got 1"},
		{"devices", 2, `unknown command "devices"; did you mean "device"? (there are add, `},
		{"device", 2, "uspbridge device needs a subcommand"},
		{"device lst", 2, `did you mean "list"?`},
		{"device show", 2, "takes one endpoint id, got 0 arguments"},
		{"device show a b", 2, "got 2 arguments"},
		{"device capture", 2, "takes one endpoint id or pattern"},
		{"device capture os::1-2 --sessions -1", 2, "cannot be negative"},
		{"device capture os::1-2 --console http://" + nobody, 1, "start one with `uspbridge serve`"},
		{"device capture box", 2, "or a pattern such as 'ops::00259E-*'"},
		{"device list --limit x", 2, `--limit "x": want a whole number`},
		{"device list --timeout 0s", 2, "--timeout 0s: want more than 0"},
		{"get --to os::1-2 --timeout -1s Device.", 2, "--timeout -1s: want more than 0"},
		{"device list --timeout 5", 2, `--timeout "5": want a duration, for example 30s`},
		{"device list --limt 5", 2, `unknown flag: --limt; did you mean "--limit"?`},
		{"device list --limit -1", 2, "is negative"},
		{"device list --nonsense", 2, "unknown flag: --nonsense"},
		{"device list --console http://" + nobody, 1, "start one with `uspbridge serve`"},
		{"device list --console https://" + plain, 1, "uspbridge: the console at https://" + plain + " cannot be asked: http: server gave HTTP response to HTTPS client; --console says"},
		{"device list --console http://" + plain, 1, "does not answer as a uspbridge console: \"404 page not found\"; name the console"},
		{"get --to os::1-2 --bridge ws://" + plain + " Device.", 1, "answered 404 Not Found: \"404 page not found\"; --bridge names the bridge's WebSocket server with its path"},
		{"get --to os::1-2 --bridge wss://" + plain + "/usp Device.", 1, "uspbridge: no TLS session with wss://" + plain + "/usp: tls: first record does not look like a TLS handshake; it speaks no TLS: name it by a URL that begins with ws://"},
		{"get --to os::1-2 Device.\xff", 2, "is not UTF-8"},
		{"device list --console ::", 2, "--console \"::\": want a URL that begins with http:// or https://"},
		{"device list --console 127.0.0.1:7549", 2, "for example http://127.0.0.1:7549"},
		{"device capture os::1-2 --console ws://" + nobody, 2, "--console"},
		{"get --to os::1-2 --bridge http://" + nobody + "/usp Device.", 2, "for example ws://127.0.0.1:7548/usp or unix:///"},
		{"get --to os::1-2 --bridge " + nobody + " Device.", 2, "want a URL that begins with ws:// or wss://"},
		{"get --to os::1-2 --bridge unix://usp.sock Device.", 2, "--bridge: \"usp.sock\" is not an absolute path"},
		{"get --to os::1-2 --bridge unix://" + dir + "/usp.sock Device.", 1, "start one with `uspbridge serve`"},
		{"get Device.", 2, "name the agent with --to"},
		{"get --to nobody Device.", 2, "--to: endpoint id"},
		{"get --to os::1-2", 2, "takes at least one path"},
		{"get --to os::1-2 --bridge ws://" + nobody + "/usp Device.", 1, "start one with `uspbridge serve`"},
		{"set --to os::1-2 Device.X", 2, `"Device.X" is not PATH=VALUE`},
		{"set --to os::1-2 X=1", 2, `"X" is not the path of a parameter`},
		{"add --to os::1-2 Device.X", 2, "its path ends in a dot"},
		{"add --to os::1-2 Device.LocalAgent.Subscription. NotifType=Event", 2, "`uspbridge subscribe` adds one and waits"},
		{"add --to os::1-2 Device.X. Y", 2, `"Y" is not NAME=VALUE`},
		{"add --to os::1-2 Device.X. Y=1 Y=2", 2, "Y is given twice"},
		{"operate --to os::1-2 Device.Reboot", 2, "its path ends in ()"},
		{"subscribe --to os::1-2 --type Valuechange Device.X", 2, `did you mean "ValueChange"?`},
		{"subscribe --to os::1-2 --count -1 Device.X", 2, "cannot be negative"},
		{"mapping check " + dir + "/missing", 1, "no such file"},
		{"mapping check " + bad, 1, "bridge.yaml:1"},
		{"mapping check " + empty, 1, "no mapping file or device profile to check"},
		{"mapping test " + empty, 1, "uspbridge: " + empty + ": there is no mapping file"},
		{"mapping check --device os::1-2", 1, "takes a CSV file of a device's parameters"},
		{"broker user add native", 2, "with --endpoint"},
		{"mapping coverage neither", 1, "neither a file nor an endpoint id"},
		{"mapping coverage " + empty, 1, "is a directory"},
		{"mapping coverage " + nothing, 1, "is empty; want a capture of a device"},
		{"mapping coverage " + nameless + " --mappings " + dir + "/missing", 1, "mapping files: stat"},
		{"mapping explain os::1-2 Device.WiFi.SSID.*.SSID", 1, "one element"},
		{"simulate", 2, "name the ACS with --acs"},
		{"simulate --acs http://x/ --model tr069", 2, "use tr098, tr181 or mixed"},
		{"simulate --acs http://x/ --count 0", 2, "want at least 1"},
		{"simulate --acs http://x/ --count 100000000", 2, "at most 200000"},
		{"simulate --acs http://x/ --ramp -1s", 2, "cannot be negative"},
		{"simulate --acs nowhere", 2, "for example http://127.0.0.1:7547/"},
		{"simulate --acs http://x/ --tree " + nameless, 1, "takes --oui"},
		{"serve --data_dir=" + dir + "/var --cwmp.listen=" + taken.Addr().String(), 1, "with --cwmp.listen\n"},
		{"serve --data_dir=" + dir + "/var --cwmp.listen=127.0.0.1:0 --usp.mtp.websocket.listen=127.0.0.1:0 --console.listen=" + taken.Addr().String(), 1, "with --console.listen\n"},
		{"serve --data_dir=" + dir + "/var --console.listen= --cwmp.listen=127.0.0.1:0 --usp.mtp.websocket.listen=" + taken.Addr().String(), 1, "with --usp.mtp.websocket.listen\n"},
		{"serve --data_dir=" + dir + "/var --cwmp.listen=192.0.2.1:7547", 1, "no interface of this machine has that address"},
		{"serve extra", 2, "takes no arguments"},
		{"serve --config " + dir + "/missing.yaml", 1, "start without --config"},
		{"serve --config " + dir, 1, "is a directory; --config names one file"},
		{"serve --config " + bad, 1, `bridge.yaml:1: cwmp.deadlin: unknown key; did you mean "deadline"?`},
		{"serve --cwmp.deadline=soon", 1, "flag --cwmp.deadline"},
		{"serve --cwmp.deadlin=1s", 2, `unknown flag: --cwmp.deadlin; did you mean "--cwmp.deadline"?`},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			got := runApp(t.Context(), nil, strings.Fields(tt.args)...)
			if got.code != tt.code || !strings.Contains(got.stderr, tt.stderr) {
				t.Errorf("exit %d, want %d with %q in:\n%s", got.code, tt.code, tt.stderr, got.stderr)
			}
			if tt.code == 2 && !strings.Contains(got.stderr, "--help` for how to use it") {
				t.Errorf("wrong usage does not say where the help is:\n%s", got.stderr)
			}
		})
	}
}

// TestJSONErrors: with --json also failures are JSON.
func TestJSONErrors(t *testing.T) {
	got := runApp(t.Context(), nil, "device", "list", "--json", "--console", "http://"+nobody)
	var e struct{ Error string }
	if err := json.Unmarshal([]byte(got.stderr), &e); err != nil || got.code != 1 || e.Error == "" || got.stdout != "" {
		t.Errorf("exit %d, stdout %q, stderr %q: want 1 and {\"error\": …}", got.code, got.stdout, got.stderr)
	}
}

func TestVersion(t *testing.T) {
	var b buildInfo
	got := runApp(t.Context(), nil, "version", "--json")
	if err := json.Unmarshal([]byte(got.stdout), &b); err != nil || b.Go == "" || !slices.Contains(b.USPVersions, "1.4") {
		t.Errorf("%s: %v", got.stdout, err)
	}
}

func TestParseAssignment(t *testing.T) {
	tests := []struct {
		text string
		want assignment
	}{
		{"Device.A.B=c", assignment{"Device.A.", "B", "c"}},
		{"Device.A.B=", assignment{"Device.A.", "B", ""}},
		{"Device.A.B=x=y.z", assignment{"Device.A.", "B", "x=y.z"}},
		{`Device.A.[B=="1.2"&&C!=3].D=4`, assignment{`Device.A.[B=="1.2"&&C!=3].`, "D", "4"}},
		{`Device.A.[B=="]="].D=4`, assignment{`Device.A.[B=="]="].`, "D", "4"}},
		{"Device.A.*.LowerLayers#1+.Name=x", assignment{"Device.A.*.LowerLayers#1+.", "Name", "x"}},
	}
	for _, tt := range tests {
		got, err := parseAssignment(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("%s = %+v, %v; want %+v", tt.text, got, err, tt.want)
		}
	}
}

// TestNewSet: one update an object, required unless partial.
func TestNewSet(t *testing.T) {
	msg, err := newSet([]string{"Device.A.X=1", "Device.B.Y=2", "Device.A.Z=3"}, false)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range msg.GetUpdateObjs() {
		for _, p := range o.GetParamSettings() {
			got = append(got, o.GetObjPath()+p.GetParam()+"="+p.GetValue())
			if !p.GetRequired() {
				t.Errorf("%s is not required", p.GetParam())
			}
		}
	}
	if diff := cmp.Diff([]string{"Device.A.X=1", "Device.A.Z=3", "Device.B.Y=2"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestComparePaths(t *testing.T) {
	want := []string{"Device.A.", "Device.A.1.", "Device.A.2.", "Device.A.10.", "Device.A.10.B", "Device.A.C", "Device.B."}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, comparePaths)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPrintable: what a device says cannot steer the terminal.
func TestPrintable(t *testing.T) {
	tests := []struct{ text, want string }{
		{"home net", "home net"}, {"Grüße", "Grüße"}, {"", ""},
		{"\x1b[2J", `"\x1b[2J"`}, {"a\nb", `"a\nb"`}, {"\xff", `"\xff"`},
	}
	for _, tt := range tests {
		if got := printable(tt.text); got != tt.want {
			t.Errorf("printable(%q) = %s, want %s", tt.text, got, tt.want)
		}
	}
}

func TestReadResponses(t *testing.T) {
	failed := func(code usp.ErrorCode, path string) pathError { return pathError{path, code, "no"} }
	tests := []struct {
		name      string
		got, want any
	}{
		{"Get", readGetResp(&usppb.GetResp{ReqPathResults: []*usppb.GetResp_RequestedPathResult{
			{RequestedPath: "Device.A.", ResolvedPathResults: []*usppb.GetResp_ResolvedPathResult{
				{ResolvedPath: "Device.A.", ResultParams: map[string]string{"X": "1", "B.1.Y": "2"}}}},
			{RequestedPath: "Device.None", ErrCode: 7026, ErrMsg: "no"},
		}}), getResult{map[string]string{"Device.A.X": "1", "Device.A.B.1.Y": "2"}, []pathError{failed(7026, "Device.None")}}},

		{"Set, all failed", readSetResp(&usppb.SetResp{UpdatedObjResults: []*usppb.SetResp_UpdatedObjectResult{
			{RequestedPath: "Device.A.", OperStatus: &usppb.SetResp_UpdatedObjectResult_OperationStatus{
				OperStatus: &usppb.SetResp_UpdatedObjectResult_OperationStatus_OperFailure{
					OperFailure: &usppb.SetResp_UpdatedObjectResult_OperationStatus_OperationFailure{ErrCode: 7021, ErrMsg: "no",
						UpdatedInstFailures: []*usppb.SetResp_UpdatedInstanceFailure{{AffectedPath: "Device.A.",
							ParamErrs: []*usppb.SetResp_ParameterError{{Param: "X", ErrCode: 7012, ErrMsg: "no"}}}}}}}},
		}}), setResult{map[string]string{}, []pathError{failed(7012, "Device.A.X")}}},

		{"Set, one failed", readSetResp(&usppb.SetResp{UpdatedObjResults: []*usppb.SetResp_UpdatedObjectResult{
			{RequestedPath: "Device.A.", OperStatus: &usppb.SetResp_UpdatedObjectResult_OperationStatus{
				OperStatus: &usppb.SetResp_UpdatedObjectResult_OperationStatus_OperSuccess{
					OperSuccess: &usppb.SetResp_UpdatedObjectResult_OperationStatus_OperationSuccess{
						UpdatedInstResults: []*usppb.SetResp_UpdatedInstanceResult{{AffectedPath: "Device.A.",
							UpdatedParams: map[string]string{"X": "1"},
							ParamErrs:     []*usppb.SetResp_ParameterError{{Param: "Y", ErrCode: 7013, ErrMsg: "no"}}}}}}}},
		}}), setResult{map[string]string{"Device.A.X": "1"}, []pathError{failed(7013, "Device.A.Y")}}},

		{"Add", readAddResp(&usppb.AddResp{CreatedObjResults: []*usppb.AddResp_CreatedObjectResult{
			{RequestedPath: "Device.A.", OperStatus: &usppb.AddResp_CreatedObjectResult_OperationStatus{
				OperStatus: &usppb.AddResp_CreatedObjectResult_OperationStatus_OperSuccess{
					OperSuccess: &usppb.AddResp_CreatedObjectResult_OperationStatus_OperationSuccess{
						InstantiatedPath: "Device.A.3.", UniqueKeys: map[string]string{"Alias": "cpe-3"}}}}},
			{RequestedPath: "Device.B.", OperStatus: &usppb.AddResp_CreatedObjectResult_OperationStatus{
				OperStatus: &usppb.AddResp_CreatedObjectResult_OperationStatus_OperFailure{
					OperFailure: &usppb.AddResp_CreatedObjectResult_OperationStatus_OperationFailure{ErrCode: 7019, ErrMsg: "no"}}}},
		}}), addResult{[]createdRow{{"Device.A.3.", map[string]string{"Alias": "cpe-3"}}}, []pathError{failed(7019, "Device.B.")}}},

		{"Delete", readDeleteResp(&usppb.DeleteResp{DeletedObjResults: []*usppb.DeleteResp_DeletedObjectResult{
			{RequestedPath: "Device.A.*.", OperStatus: &usppb.DeleteResp_DeletedObjectResult_OperationStatus{
				OperStatus: &usppb.DeleteResp_DeletedObjectResult_OperationStatus_OperSuccess{
					OperSuccess: &usppb.DeleteResp_DeletedObjectResult_OperationStatus_OperationSuccess{
						AffectedPaths:      []string{"Device.A.1."},
						UnaffectedPathErrs: []*usppb.DeleteResp_UnaffectedPathError{{UnaffectedPath: "Device.A.2.", ErrCode: 7024, ErrMsg: "no"}}}}}},
		}}), deleteResult{[]string{"Device.A.1."}, []pathError{failed(7024, "Device.A.2.")}}},

		{"Operate", readOperateResp(&usppb.OperateResp{OperationResults: []*usppb.OperateResp_OperationResult{
			{ExecutedCommand: "Device.Reboot()", OperationResp: &usppb.OperateResp_OperationResult_ReqOutputArgs{
				ReqOutputArgs: &usppb.OperateResp_OperationResult_OutputArgs{OutputArgs: map[string]string{"A": "b"}}}},
			{ExecutedCommand: "Device.X()", OperationResp: &usppb.OperateResp_OperationResult_ReqObjPath{ReqObjPath: "Device.LocalAgent.Request.1"}},
			{ExecutedCommand: "Device.Y()", OperationResp: &usppb.OperateResp_OperationResult_CmdFailure{
				CmdFailure: &usppb.OperateResp_OperationResult_CommandFailure{ErrCode: 7022, ErrMsg: "no"}}},
		}}), operateResult{[]operation{{"Device.Reboot()", "", map[string]string{"A": "b"}, true, false},
			{"Device.X()", "Device.LocalAgent.Request.1", nil, false, false}}, []pathError{failed(7022, "Device.Y()")}}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestOperationEnds: the end of an asynchronous command finds its operation.
func TestOperationEnds(t *testing.T) {
	r := operateResult{Operations: []operation{{Command: "Device.A.1.Do()", Request: "Device.LocalAgent.Request.1."}}}
	r.ended(&usppb.Notify_OperationComplete{ObjPath: "Device.A.2.", CommandName: "Do()"})
	if r.open() != 1 {
		t.Error("ended by the end of another")
	}
	r.ended(&usppb.Notify_OperationComplete{ObjPath: "Device.A.1.", CommandName: "Do()",
		OperationResp: &usppb.Notify_OperationComplete_CmdFailure{CmdFailure: &usppb.Notify_OperationComplete_CommandFailure{ErrCode: 7022, ErrMsg: "no"}}})
	if r.open() != 0 || len(r.Errors) != 1 {
		t.Errorf("%+v: want ended with one error", r)
	}
	var printed bytes.Buffer
	if printOperations(&printed, r); printed.Len() != 0 {
		t.Errorf("what failed is printed as %q", printed.String())
	}
}

func TestReadNotify(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	value := "v"
	tests := []struct {
		msg  *usppb.Notify
		want notification
	}{
		{&usppb.Notify{Notification: &usppb.Notify_ValueChange_{ValueChange: &usppb.Notify_ValueChange{ParamPath: "Device.A", ParamValue: "v"}}},
			notification{Type: "ValueChange", Path: "Device.A", Value: &value}},
		{&usppb.Notify{Notification: &usppb.Notify_ObjDeletion{ObjDeletion: &usppb.Notify_ObjectDeletion{ObjPath: "Device.A.1."}}},
			notification{Type: "ObjectDeletion", Path: "Device.A.1."}},
		{&usppb.Notify{Notification: &usppb.Notify_ObjCreation{ObjCreation: &usppb.Notify_ObjectCreation{ObjPath: "Device.A.1.", UniqueKeys: map[string]string{"K": "1"}}}},
			notification{Type: "ObjectCreation", Path: "Device.A.1.", Args: map[string]string{"K": "1"}}},
		{&usppb.Notify{Notification: &usppb.Notify_Event_{Event: &usppb.Notify_Event{ObjPath: "Device.", EventName: "Boot!", Params: map[string]string{"Cause": "LocalReboot"}}}},
			notification{Type: "Event", Path: "Device.Boot!", Args: map[string]string{"Cause": "LocalReboot"}}},
	}
	for _, tt := range tests {
		tt.want.Time = "2026-03-01T12:00:00Z"
		if diff := cmp.Diff(tt.want, readNotify(tt.msg, at)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// oneDevice is a console.Fleet of one device.
type oneDevice struct{ console.DeviceDetail }

func (d oneDevice) List(context.Context, console.ListQuery) ([]console.DeviceSummary, string, error) {
	return []console.DeviceSummary{d.DeviceSummary}, "", nil
}
func (d oneDevice) Show(context.Context, string) (console.DeviceDetail, error) {
	return d.DeviceDetail, nil
}
func (d oneDevice) Refresh(context.Context, string) error { return nil }
func (d oneDevice) Forget(context.Context, string) error  { return nil }
func (d oneDevice) Explain(_ context.Context, _, path string) (console.Explanation, error) {
	if strings.HasPrefix(path, "InternetGatewayDevice.") {
		return console.Explanation{Path: path, Value: "house", Homes: []console.Home{
			{Path: "Device.SSID", Value: "home", Writable: true, Rule: "wifi.yaml:3"}, {Path: "Device.Raw", Error: "not read yet", Rule: "built in"}}}, nil
	}
	return console.Explanation{Path: path, Value: "home", Rule: "wifi.yaml:3", Sources: []console.Source{{Path: "IGD.SSID", Value: "home"}}}, nil
}
func (d oneDevice) Coverage(context.Context, string) (console.Report, error) {
	return console.Report{Total: 4, Standard: 3, Raw: 1, RawGroups: []console.Group{{Path: "IGD.X.", Count: 1}}}, nil
}
func (d oneDevice) Audit(context.Context, string, int) ([]console.AuditEntry, error) { return nil, nil }
func (d oneDevice) Capture(_ context.Context, q console.CaptureQuery, line func([]byte) error) error {
	for _, l := range []string{`{"capture":1}`, `{"session":1,"at":"2026-03-01T12:00:00Z","device":{}}`, `{"note":"it did not come"}`,
		`{"session":1,"from":"cpe"}`, `{"session":1,"from":"acs"}`, `{"session":1,"end":"ok"}`} {
		if q.Endpoint == "os::silent-1" && strings.Contains(l, "session") {
			continue
		}
		if err := line([]byte(l + "\n")); err != nil {
			return err
		}
	}
	return nil
}

// TestDeviceCommands runs the commands that ask the console, for people and as
// JSON.
func TestDeviceCommands(t *testing.T) {
	const token = "0123456789abcdef"
	device := oneDevice{console.DeviceDetail{DeviceSummary: console.DeviceSummary{Endpoint: "os::1-2", Manufacturer: "M", Discovered: true,
		RootDataModel: "TR-098", Stage: "bridged"}, Parameters: 812, Reachability: "by connection request"}}
	c, err := console.New(console.Config{Token: token, Fleet: device, Ready: func() []console.Check { return nil }, Gatherer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(c.Handler())
	t.Cleanup(func() {
		srv.Close()
		srv.CloseClientConnections()
	})
	environ := []string{envConsole + "=" + srv.URL, envToken + "=" + token}
	tests := []struct {
		args string
		want []string // in the text for people
		json string   // a key of the JSON
	}{
		{"device list", []string{"os::1-2", "TR-098", "bridged"}, `"endpoint"`},
		{"device show os::1-2", []string{"os::1-2", "812 parameters", "by connection request"}, `"parameters"`},
		{"device refresh os::1-2", []string{"was read: 812 parameters"}, `"parameters"`},
		{"device capture os::1-2 --output " + t.TempDir() + "/box.capture", []string{"1 sessions, 2 messages in "}, `"messages"`},
		{"device forget os::1-2", []string{"is forgotten"}, `"forgotten"`},
		{"mapping coverage os::1-2", []string{"75.0 %", "IGD.X."}, `"raw_groups"`},
		{"mapping explain os::1-2 Device.X", []string{"wifi.yaml:3", "IGD.SSID"}, `"sources"`},
		{"mapping explain os::1-2 InternetGatewayDevice.X", []string{"on the CPE  InternetGatewayDevice.X", "house", "Device.SSID  home          read and write  wifi.yaml:3", "not read yet"}, `"homes"`},
	}
	for _, tt := range tests {
		got := runApp(t.Context(), environ, strings.Fields(tt.args)...)
		for _, want := range tt.want {
			if got.code != 0 || !strings.Contains(got.stdout, want) {
				t.Errorf("%s: exit %d %s, want %q in:\n%s", tt.args, got.code, got.stderr, want, got.stdout)
			}
		}
		got = runApp(t.Context(), environ, append(strings.Fields(tt.args), "--json")...)
		if got.code != 0 || !json.Valid([]byte(got.stdout)) || !strings.Contains(got.stdout, tt.json) {
			t.Errorf("%s --json: exit %d, want %s in:\n%s%s", tt.args, got.code, tt.json, got.stdout, got.stderr)
		}
	}
	if got := runApp(t.Context(), environ[:1], "device", "list"); got.code != 1 || !strings.Contains(got.stderr, "--token") {
		t.Errorf("without token: exit %d: %s", got.code, got.stderr)
	}
}

// TestTreeFile: coverage of a file needs no bridge.
func TestTreeFile(t *testing.T) {
	const csv = `Parameter,Object,Writable,Value,Value type
DeviceID.Manufacturer,false,false,Example,xsd:string
DeviceID.OUI,false,false,00D09E,xsd:string
InternetGatewayDevice,true,false,,
InternetGatewayDevice.DeviceInfo,true,false,,
InternetGatewayDevice.DeviceInfo.SoftwareVersion,false,false,1.2,xsd:string
InternetGatewayDevice.DeviceInfo.X_EXAMPLE_Mode,false,true,1,xsd:string
InternetGatewayDevice.Nonsense,true,false,,
InternetGatewayDevice.Nonsense.A,false,true,1,xsd:string
InternetGatewayDevice.Nonsense.B,false,true,1,xsd:string
`
	file := filepath.Join(t.TempDir(), "tree.csv")
	if err := os.WriteFile(file, []byte(csv), 0o600); err != nil {
		t.Fatal(err)
	}
	got := runApp(t.Context(), nil, "mapping", "coverage", file, "--json")
	var r console.Report
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
		t.Fatalf("exit %d, %s: %v", got.code, got.stderr, err)
	}
	want := console.Report{Total: 4, Standard: 1, Vendor: 1, Raw: 2,
		RawGroups: []console.Group{{Path: "InternetGatewayDevice.Nonsense.", Count: 2}},
		RawNames:  []string{"InternetGatewayDevice.Nonsense.A", "InternetGatewayDevice.Nonsense.B"}}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTreeFileRefused(t *testing.T) {
	tests := []struct{ csv, want string }{
		{"", "head line"},
		{"a,b\n", `no column "parameter"`},
		{"Parameter,Object,Writable,Value\n", "no parameter"},
		{"Parameter,Object,Writable,Value\n\"x\n", "quote"},
	}
	for _, tt := range tests {
		if _, err := readTreeFile(strings.NewReader(tt.csv)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.csv, err, tt.want)
		}
	}
}

// TestMappingCheck: files are checked over the embedded ones, problems told with
// their line.
func TestMappingCheck(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.yaml")
	const text = "mapping: mine\nroot: InternetGatewayDevice.\nobjects:\n  - target: Device.DeviceInfo.\n    source: DeviceInfo.\n    params: {Description: Description}\n"
	if err := os.WriteFile(good, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := runApp(t.Context(), nil, "mapping", "check", dir); got.code != 0 || !strings.Contains(got.stdout, "mine") {
		t.Errorf("directory: exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte(strings.Replace(text, "params:", "parms:", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := runApp(t.Context(), nil, "mapping", "check", good); got.code != 0 {
		t.Errorf("a good file beside a bad one: exit %d: %s", got.code, got.stderr)
	}
	got := runApp(t.Context(), nil, "mapping", "check", bad, "--json")
	var r checked
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || got.code != 1 || r.OK || len(r.Problems) == 0 || !strings.Contains(r.Problems[0], "bad.yaml:6") {
		t.Errorf("bad file: exit %d, %v:\n%s%s", got.code, err, got.stdout, got.stderr)
	}
}

// checkMappingText reports what is wrong with a mapping file of the documents.
func checkMappingText(text string) error {
	dir, err := os.MkdirTemp("", "mapping")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "documented.yaml"), []byte(text), 0o600); err != nil {
		return err
	}
	_, err = loadMappings(dir)
	return err
}
