package mapping

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// A CPE of TR-098 with commands: at the root, in a row, and in one of several
// objects.
const operable = `
InternetGatewayDevice.DeviceInfo.SoftwareVersion string 1.0
+InternetGatewayDevice.IPPingDiagnostics.DiagnosticsState string None
+InternetGatewayDevice.IPPingDiagnostics.Host string x
+InternetGatewayDevice.IPPingDiagnostics.Interface string y
+InternetGatewayDevice.IPPingDiagnostics.NumberOfRepetitions unsignedInt 4
InternetGatewayDevice.IPPingDiagnostics.SuccessCount unsignedInt 0
+InternetGatewayDevice.WANDevice.3.WANConnectionDevice.1.WANPPPConnection.7.Enable boolean 1
+InternetGatewayDevice.WANDevice.3.WANConnectionDevice.1.WANPPPConnection.7.Name string ppp
+InternetGatewayDevice.WANDevice.3.WANConnectionDevice.1.WANPPPConnection.7.Reset boolean 0
+InternetGatewayDevice.WANDevice.3.WANDSLDiagnostics.LoopDiagnosticsState string None
+InternetGatewayDevice.WANDevice.4.WANDSLDiagnostics.LoopDiagnosticsState string None
`

// value returns what is set of one parameter.
func (in *Invocation) value(name cwmp.Path) string {
	for _, v := range append(slices.Clone(in.Args), in.Start) {
		if v.Name == name {
			return v.Value.Text
		}
	}
	return ""
}

func TestInvoke(t *testing.T) {
	v := show(t, gatewaySet(t), device(t, operable))
	ref := func(path string, inst ...uint32) dm.Ref {
		t.Helper()
		node := v.p.Schema.Lookup(path)
		if node == nil {
			t.Fatalf("there is no %s", path)
		}
		return dm.Ref{Node: node, Inst: dm.Inst(inst...)}
	}
	ping := "InternetGatewayDevice.IPPingDiagnostics."
	in, ok, err := v.Invoke(ref("Device.IP.Diagnostics.IPPing()"), map[string]string{"Host": "h", "NumberOfRepetitions": "2", "Interface": "Device.PPP.Interface.1"})
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	for name, want := range map[string]string{"DiagnosticsState": "Requested", "Host": "h", "NumberOfRepetitions": "2",
		"Interface": "InternetGatewayDevice.WANDevice.3.WANConnectionDevice.1.WANPPPConnection.7"} {
		if got := in.value(cwmp.Path(ping + name)); got != want {
			t.Errorf("%s is set to %q, want %q", name, got, want)
		}
	}
	if in.Start.Name != cwmp.Path(ping+"DiagnosticsState") || !in.Diagnostic {
		t.Errorf("started by %+v", in.Start)
	}
	in, _, err = v.Invoke(ref("Device.PPP.Interface.{i}.Reset()", 1), nil)
	if err != nil || in.Start.Name != "InternetGatewayDevice.WANDevice.3.WANConnectionDevice.1.WANPPPConnection.7.Reset" || in.Start.Value.Text != "1" || in.Diagnostic {
		t.Errorf("Reset() is %+v, %v", in, err)
	}
	in, _, err = v.Invoke(ref("Device.DSL.Diagnostics.ADSLLineTest()"), map[string]string{"Interface": "Device.PPP.Interface.1."})
	if err != nil || in.Object != "InternetGatewayDevice.WANDevice.3.WANDSLDiagnostics." {
		t.Errorf("ADSLLineTest() is %+v, %v", in, err)
	}
}

// What a CPE cannot be told is refused by name, unless it asks for nothing.
func TestInvokeRefuses(t *testing.T) {
	v := show(t, gatewaySet(t), device(t, operable))
	for _, c := range []struct {
		command string
		args    map[string]string
		want    string // begin of the refusal; "" for none
	}{
		{"Device.IP.Diagnostics.IPPing()", map[string]string{"ProtocolVersion": "Any"}, ""},
		{"Device.IP.Diagnostics.IPPing()", map[string]string{"ProtocolVersion": "IPv6"}, "ProtocolVersion: "},
		{"Device.IP.Diagnostics.IPPing()", map[string]string{"NumberOfRepetitions": "-1"}, "NumberOfRepetitions: "},
		{"Device.IP.Diagnostics.IPPing()", map[string]string{"Interface": "Device.PPP.Interface.9"}, "Interface: "},
		{"Device.IP.Diagnostics.IPPing()", map[string]string{"Nonsense": "1"}, ""}, // TR-369 R-OPR.6
		{"Device.DSL.Diagnostics.ADSLLineTest()", nil, "Interface: "},
		{"Device.DSL.Diagnostics.ADSLLineTest()", map[string]string{"Interface": "Device.Nothing.1"}, "Interface: "},
	} {
		_, _, err := v.Invoke(dm.Ref{Node: v.p.Schema.Lookup(c.command)}, c.args)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s %v: %v", c.command, c.args, err)
		case c.want != "" && (err == nil || err.Code != usp.ErrInvalidCommandArguments || !strings.HasPrefix(err.Msg, c.want)):
			t.Errorf("%s %v: %v, want %s", c.command, c.args, err, c.want)
		}
	}
}

// Result rows are numbered from 1, each table in each row around it for itself.
func TestOutput(t *testing.T) {
	c := &rowCounter{numbers: map[resultRow]int{}, last: map[resultRow]int{}}
	var got []string
	for _, in := range []dm.Instance{dm.Inst(7, 3), dm.Inst(7, 9), dm.Inst(12, 3), dm.Inst(7, 3)} {
		got = append(got, c.place("A.{i}.B.{i}.C", in))
	}
	got = append(got, c.place("A.{i}.D", dm.Inst(12)), c.place("E", dm.Inst()))
	if diff := cmp.Diff([]string{"A.1.B.1.C", "A.1.B.2.C", "A.2.B.1.C", "A.1.B.1.C", "A.2.D", "E"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	v := show(t, gatewaySet(t), device(t, operable))
	out, whole := v.Output(v.p.Schema.Lookup("Device.IP.Diagnostics.IPPing()"), "InternetGatewayDevice.IPPingDiagnostics.", []cwmp.ParameterValue{
		{Name: "InternetGatewayDevice.IPPingDiagnostics.DiagnosticsState", Value: cwmp.Value{Text: "Error_Internal"}},
		{Name: "InternetGatewayDevice.IPPingDiagnostics.SuccessCount", Value: cwmp.Value{Text: "3"}},
		{Name: "InternetGatewayDevice.IPPingDiagnostics.X_Own", Value: cwmp.Value{Text: "4"}},
		{Name: "InternetGatewayDevice.Other.SuccessCount", Value: cwmp.Value{Text: "5"}},
	})
	if diff := cmp.Diff(map[string]string{"Status": "Error_Internal", "SuccessCount": "3"}, out); diff != "" || !whole {
		t.Errorf("whole %t (-want +got):\n%s", whole, diff)
	}
}

// A state is told in the words of the command's Status.
func TestStatusWords(t *testing.T) {
	elements := gatewaySet(t).standard.elements
	for _, c := range []struct{ command, state, want string }{
		{"Device.IP.Diagnostics.DownloadDiagnostics()", "Completed", "Complete"},
		{"Device.MoCA.Interface.{i}.Aca.Aca()", "Error_BadChannel", "failBADCHANNEL"},
		{"Device.WiFi.Radio.{i}.InitiateCCAMeasurement()", "Complete", "Success"},
		{"Device.Users.CheckCredentialsDiagnostics()", "Credentials_Bad_Password_Incorrect", "Credentials_Bad_Requested_Password_Incorrect"},
		{"Device.IP.Diagnostics.IPPing()", "X_Vendor_Error", "X_Vendor_Error"},
	} {
		if got := elements[c.command].output("Status").status(c.state); got != c.want {
			t.Errorf("%s: %s is told as %q, want %q", c.command, c.state, got, c.want)
		}
	}
}

// Both tables name only what Device:2 has.
func TestTablesAreOfTheStandard(t *testing.T) {
	std := gatewaySet(t).standard
	for _, s := range std.served {
		e := std.elements[s.Command]
		if e == nil || e.kind != dm.Command {
			t.Errorf("%s is no command", s.Command)
			continue
		}
		for root, h := range s.homes {
			for _, a := range h.In {
				if e.input(a.Name) == nil {
					t.Errorf("%s has no argument %s (%s)", s.Command, a.Name, root)
				}
			}
			for _, a := range h.Out {
				if e.output(a.Name) == nil {
					t.Errorf("%s has no result %s (%s)", s.Command, a.Name, root)
				}
			}
		}
	}
	for _, s := range std.events {
		if e := std.elements[s.Event]; e == nil || e.kind != dm.Event {
			t.Errorf("%s is no event", s.Event)
		}
	}
}
