package cpesim

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/capture"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

// The captures of these tests: two written by hand after what CPE do, and a
// simulated CPE's at a bridge.
const (
	dslGateway    = "testdata/dsl-gateway.capture"    // TR-098, XML of the first years
	smallRouter   = "testdata/small-router.capture"   // TR-181, no SOAP header, Status 1, rows from 724 on
	fibreTerminal = "testdata/fibre-terminal.capture" // TR-181, with the habits of TestReplayedHabits
)

func loadOne(t testing.TB, file string) *Recording {
	t.Helper()
	recordings, err := LoadRecordings(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(recordings) != 1 {
		t.Fatalf("%s has %d devices, want 1", file, len(recordings))
	}
	return recordings[0]
}

// recordedMessages returns the messages of a capture.
func recordedMessages(t testing.TB, file string) (messages []*capture.Message) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := capture.NewReader(f, file)
	for {
		line, err := r.Next()
		if errors.Is(err, io.EOF) {
			return messages
		}
		if err != nil {
			t.Fatal(err)
		}
		if m, ok := line.(*capture.Message); ok {
			messages = append(messages, m)
		}
	}
}

// own blanks what is the session's own in a message: its ID, and where the CPE and
// its ACS are.
func own(t testing.TB, body string) string {
	t.Helper()
	out, err := capture.Rewrite([]byte(body), func(t capture.Text) (string, bool) {
		switch {
		case t.In == "Header" && t.Element == "ID", t.Text == capture.Mask:
			return "", true
		case strings.HasSuffix(t.Parameter, "ManagementServer.URL"), strings.HasSuffix(t.Parameter, "ManagementServer.Username"),
			strings.HasSuffix(t.Parameter, "ManagementServer.Password"), strings.HasSuffix(t.Parameter, "ManagementServer.ConnectionRequestURL"):
			return "", true
		}
		return "", false
	})
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return string(out)
}

// TestReplayIsLiteral: who asks a replayed CPE what was asked when it was captured
// gets the same bytes, faults included.
func TestReplayIsLiteral(t *testing.T) {
	for _, file := range []string{dslGateway, smallRouter, fibreTerminal} {
		t.Run(file, func(t *testing.T) {
			b := newBench(t, Config{Replay: loadOne(t, file)})
			recorded := recordedMessages(t, file)
			compared := 0
			for i, m := range recorded {
				if m.From != capture.ACS || i+1 == len(recorded) || !strings.HasSuffix(recorded[i+1].RPC, "Response") && recorded[i+1].RPC != "Fault" {
					continue
				}
				request, err := soap.Read(m.Bytes(), "", soap.DefaultLimits())
				if err != nil {
					t.Fatal(err)
				}
				b.acs.ask(t, b.cpe, request.Body)
				want := own(t, string(recorded[i+1].Bytes()))
				if !slices.ContainsFunc(b.acs.posts, func(p post) bool { return p.body != "" && own(t, p.body) == want }) {
					t.Errorf("%s was answered\n%s\nwhen it was captured, and now\n%s", m.RPC, recorded[i+1].Body, b.acs.posts[len(b.acs.posts)-1].body)
				}
				compared++
			}
			if compared < 3 {
				t.Errorf("only %d answers compared", compared)
			}
		})
	}
}

// TestReplayedHabits: how a CPE departs from the standard is known from its
// capture, for the requests that are not in it.
func TestReplayedHabits(t *testing.T) {
	for file, want := range map[string]*Profile{
		fibreTerminal: {Status1Always: true, BooleansAsDigits: true, OnlyCWMP1_0: true, NoCookie: true, UnnamedFaults: true,
			MaxValueNames: 6}, // it took 8; 6 are the most that it was seen to take
		dslGateway:  {BooleansAsDigits: true, OnlyCWMP1_0: true, RefuseWith: map[string]cwmp.FaultCode{"ScheduleInform": cwmp.FaultMethodNotSupported}},
		smallRouter: {Status1Always: true, CloseAfterEachResponse: true},
	} {
		if diff := cmp.Diff(want, loadOne(t, file).profile); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

// TestReplayedInform: the Inform is the captured one, with the session's own events
// in it.
func TestReplayedInform(t *testing.T) {
	b := newBench(t, Config{Replay: loadOne(t, dslGateway)})
	if err := b.cpe.Inform(cwmp.Event{Code: cwmp.EventPeriodic}); err != nil {
		t.Fatal(err)
	}
	wantEvents(t, b.acs.next(t), cwmp.EventPeriodic)
	var inform string
	for _, p := range b.acs.posts {
		if strings.Contains(p.body, "2 PERIODIC") {
			inform = p.body
		}
	}
	for _, want := range []string{`<RetryCount>00<`, `<MaxEnvelopes>2<`, `<CurrentTime>1970-01-01T00:01:12<`, `<Event soap:arrayType="cwmp:EventStruct[1]">`,
		`ParameterValueStruct[0008]`, `>.ExternalIPAddress<`, `<SerialNumber>CP0512ABCD7<`, "\n <soap_env:Header>\n", b.cpe.ConnectionRequestURL()} {
		if !strings.Contains(inform, want) {
			t.Errorf("no %q in\n%s", want, inform)
		}
	}
}

// TestReplayedHTTP: a replayed CPE speaks HTTP as the captured one did.
func TestReplayedHTTP(t *testing.T) {
	inform := func(a *scriptedACS) post {
		return a.posts[slices.IndexFunc(a.posts, func(p post) bool { return p.body != "" })]
	}
	b := newBench(t, Config{Replay: loadOne(t, dslGateway)})
	p := inform(b.acs)
	if !p.chunked || p.header.Get("Content-Type") != "text/xml" || p.header.Get("SOAPAction") != `"cwmp"` || p.header.Get("User-Agent") != "DSL500-CWMP/1.0" {
		t.Errorf("the DSL gateway sends %+v", p)
	}
	b = newBench(t, Config{Replay: loadOne(t, smallRouter)})
	p = inform(b.acs)
	if _, named := p.header["User-Agent"]; named || p.chunked || p.header.Get("Content-Type") != "text/xml; encoding=utf-8" || p.header.Get("Connection") != "close" {
		t.Errorf("the small router sends %+v", p)
	}
	if last := b.acs.cookies[len(b.acs.cookies)-1]; !strings.HasPrefix(last, `$Version="0"; session=`) {
		t.Errorf("the small router returns the cookie as %q", last)
	}
	if len(b.acs.remotes) < 2 {
		t.Error("the small router keeps its connection")
	}
}

// TestReplayAfterChanges: what was changed is seen in the captured answers, and
// where rows came or went the answer is that of the tree.
func TestReplayAfterChanges(t *testing.T) {
	const channel = "InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.Channel"
	b := newBench(t, Config{Replay: loadOne(t, dslGateway)})
	set := func(text string) cwmp.Message {
		return &cwmp.SetParameterValues{Values: []cwmp.ParameterValue{{Name: channel, Value: cwmp.Value{Type: cwmp.TypeUnsignedInt, Text: text}}}}
	}
	answers := b.acs.ask(t, b.cpe, set("99"), set("6"), &cwmp.GetParameterValues{Names: []cwmp.Path{"InternetGatewayDevice."}},
		&cwmp.ScheduleInform{DelaySeconds: 99}, &cwmp.GetParameterAttributes{Names: []cwmp.Path{"InternetGatewayDevice.DeviceInfo."}})
	if f := wantFault(t, answers[0], cwmp.FaultInvalidArguments); len(f.Parameters) != 1 || f.Parameters[0].Code != cwmp.FaultInvalidParameterValue {
		t.Errorf("the captured fault is %+v", f)
	}
	if _, ok := answers[1].(*cwmp.SetParameterValuesResponse); !ok {
		t.Errorf("a value that was not captured is answered with %v", answers[1])
	}
	wantFault(t, answers[3], cwmp.FaultMethodNotSupported)
	attributes := answers[4].(*cwmp.GetParameterAttributesResponse).Attributes
	if i := slices.IndexFunc(attributes, func(a cwmp.ParameterAttributes) bool { return strings.HasSuffix(string(a.Name), ".SoftwareVersion") }); i < 0 || attributes[i].Notification != cwmp.NotificationActive {
		t.Errorf("the attributes are %v", attributes)
	}
	var wire string
	for _, p := range b.acs.posts {
		if strings.Contains(p.body, "GetParameterValuesResponse") {
			wire = p.body
		}
	}
	if !strings.Contains(wire, `<Value xsi:type="xsd:unsigendInt">6</Value>`) || !strings.Contains(wire, "<Value xsi:type=\"xsd:string\">Example & Sons</Value>") {
		t.Errorf("after the change the captured answer is\n%s", wire)
	}
}

// TestReplayOfRows: a row gets the number it had when it was captured, the next one
// the next, with what a row has in it.
func TestReplayOfRows(t *testing.T) {
	const table = "Device.Users.User."
	b := newBench(t, Config{Replay: loadOne(t, smallRouter)})
	get := &cwmp.GetParameterValues{Names: []cwmp.Path{table}}
	answers := b.acs.ask(t, b.cpe, get, &cwmp.AddObject{Object: table}, &cwmp.AddObject{Object: table}, get,
		&cwmp.DeleteObject{Object: table + "731."}, &cwmp.GetParameterNames{Path: table, NextLevel: true})
	var got []string
	for _, a := range answers {
		switch a := a.(type) {
		case *cwmp.GetParameterValuesResponse:
			for _, v := range a.Values {
				got = append(got, string(v.Name)+"="+v.Value.Text)
			}
		case *cwmp.GetParameterNamesResponse:
			for _, p := range a.Parameters {
				got = append(got, string(p.Name))
			}
		default:
			got = append(got, a.RPC())
			if add, ok := a.(*cwmp.AddObjectResponse); ok && (add.Status != 1 || add.InstanceNumber != map[int]uint32{4: 731, 5: 732}[len(got)]) {
				t.Errorf("AddObject is answered with %+v", add)
			}
		}
	}
	row := func(n, enable, name string) []string {
		return []string{table + n + ".Enable=" + enable, table + n + ".Password=", table + n + ".Username=" + name}
	}
	want := slices.Concat(row("724", "true", "admin"), []string{"AddObjectResponse", "AddObjectResponse"},
		row("724", "true", "admin"), row("731", "false", "user731"), row("732", "false", "user731"),
		[]string{"DeleteObjectResponse", table + "724.", table + "732."})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestReplayShowsNoMore: what the simulator needs and the captured CPE did not
// have is not shown.
func TestReplayShowsNoMore(t *testing.T) {
	b := newBench(t, Config{Replay: loadOne(t, smallRouter)})
	const added = "Device.DeviceInfo.ProvisioningCode"
	if _, ok := b.cpe.Get(added); !ok {
		t.Fatalf("%s is there: this test shows nothing", added)
	}
	answers := b.acs.ask(t, b.cpe, &cwmp.GetParameterValues{Names: []cwmp.Path{added}}, &cwmp.GetParameterValues{Names: []cwmp.Path{"Device.DeviceInfo."}},
		&cwmp.SetParameterValues{Values: []cwmp.ParameterValue{{Name: added, Value: cwmp.Value{Type: cwmp.TypeString, Text: "x"}}}})
	wantFault(t, answers[0], cwmp.FaultInvalidParameterName)
	if n := len(answers[1].(*cwmp.GetParameterValuesResponse).Values); n != 6 {
		t.Errorf("DeviceInfo has %d parameters, captured were 6", n)
	}
	wantFault(t, answers[2], cwmp.FaultInvalidArguments)
}

// TestReplayedFleet: of several CPE after one capture the first has its serial
// number, the others numbers like it.
func TestReplayedFleet(t *testing.T) {
	acs := newACS(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	serials := make(chan string, 3)
	go func() {
		for range 3 {
			serials <- (<-acs.informs).DeviceID.SerialNumber
		}
		cancel()
	}()
	if _, err := Run(ctx, RunConfig{ACSURL: acs.URL, Count: 3, Replay: dslGateway, Duration: patience}); err != nil {
		t.Fatal(err)
	}
	got := []string{<-serials, <-serials, <-serials}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"CP051000001", "CP051000002", "CP0512ABCD7"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestRecordingRefuses: a capture that cannot be played back says why.
func TestRecordingRefuses(t *testing.T) {
	const header = `{"capture":1}` + "\n"
	const session = `{"session":1,"at":"2026-03-01T12:00:00Z","device":{"manufacturer":"","oui":"00AA01","product_class":"","serial_number":"1"}}` + "\n"
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "f.capture: no session is in it"},
		{"no session", header, "f.capture: no session is in it"},
		{"no parameters", header + session, "f.capture: 00AA01--1: parameter tree: no parameters"},
		{"a line", header + session + "x", "f.capture:3: no line of a capture"},
	} {
		if _, err := ReadRecordings(strings.NewReader(tt.text), "f.capture"); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s…", tt.name, err, tt.want)
		}
	}
}

// FuzzReadRecordings: no capture panics; one that is read can be played back.
func FuzzReadRecordings(f *testing.F) {
	for _, file := range []string{dslGateway, smallRouter, fibreTerminal} {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	fleet, err := NewFleet(FleetConfig{Clock: newClock()})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { closeFleet(f, fleet) })
	f.Fuzz(func(t *testing.T, text string) {
		recordings, err := ReadRecordings(strings.NewReader(text), "fuzz")
		if err != nil {
			return
		}
		c := newCPE(fleet, Config{Replay: recordings[0], ACSURL: "http://127.0.0.1/"})
		c.mu.Lock()
		defer c.mu.Unlock()
		s := newSession(c)
		for _, m := range []cwmp.Message{&cwmp.GetParameterNames{}, &cwmp.GetParameterValues{Names: []cwmp.Path{""}}} {
			if _, fault := s.respond(&soap.Envelope{Body: m}); fault != nil && fault.Code == 0 {
				t.Fatalf("a fault without a code: %v", fault)
			}
		}
	})
}

// TestStyles: what a captured CPE does with HTTP that most do not is done again.
func TestStyles(t *testing.T) {
	const head = `{"capture":1}` + "\n" + `{"session":1,"at":"2026-03-01T12:00:00Z","device":{"manufacturer":"","oui":"00AA01","product_class":"","serial_number":"1"}}` + "\n"
	const inform = `"from":"cpe","body":"<E:Envelope xmlns:E='http://schemas.xmlsoap.org/soap/envelope/'><E:Body><Inform><DeviceId><OUI>00AA01</OUI>` +
		`<SerialNumber>1</SerialNumber></DeviceId><ParameterList><P><Name>Device.DeviceInfo.SoftwareVersion</Name><Value>1</Value></P></ParameterList></Inform></E:Body></E:Envelope>"}`
	for name, message := range map[string]string{
		"HTTP/1.0":     `{"session":1,"ms":0,"protocol":"HTTP/1.0","headers":["Content-Type: text/html"],`,
		"100-continue": `{"session":1,"ms":0,"headers":["Expect: 100-continue","Transfer-Encoding: chunked"],`,
	} {
		t.Run(name, func(t *testing.T) {
			recordings, err := ReadRecordings(strings.NewReader(head+message+inform), name)
			if err != nil {
				t.Fatal(err)
			}
			p := newBench(t, Config{Replay: recordings[0]}).acs.posts[0]
			switch name {
			case "HTTP/1.0":
				if p.protocol != "HTTP/1.0" || p.header.Get("Content-Type") != "text/html" || p.chunked {
					t.Errorf("sent is %+v", p)
				}
			case "100-continue":
				if _, typed := p.header["Content-Type"]; typed || p.header.Get("Expect") != "100-continue" || !p.chunked {
					t.Errorf("sent is %+v", p)
				}
			}
		})
	}
}
