package cpesim

import (
	"slices"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
)

const (
	ssid     = "Device.WiFi.SSID.1.SSID"
	enable   = "Device.WiFi.SSID.1.Enable"
	mappings = "Device.NAT.PortMapping."
	mapCount = "Device.NAT.PortMappingNumberOfEntries"
)

func value(name string, typ cwmp.Type, text string) cwmp.ParameterValue {
	return cwmp.ParameterValue{Name: cwmp.Path(name), Value: cwmp.Value{Type: typ, Text: text}}
}

func TestGetParameterNames(t *testing.T) {
	b := newBench(t, Config{})
	tests := []struct {
		name  string
		ask   cwmp.GetParameterNames
		fault cwmp.FaultCode
		has   []cwmp.ParameterInfo
		lacks []cwmp.Path
	}{
		{"whole tree", cwmp.GetParameterNames{}, 0, []cwmp.ParameterInfo{{Name: "Device."}, {Name: ssid, Writable: true}, {Name: mappings, Writable: true}}, nil},
		{"next level of nothing is the root", cwmp.GetParameterNames{NextLevel: true}, 0, []cwmp.ParameterInfo{{Name: "Device."}}, []cwmp.Path{"Device.WiFi."}},
		{"subtree with its object", cwmp.GetParameterNames{Path: mappings}, 0,
			[]cwmp.ParameterInfo{{Name: mappings, Writable: true}, {Name: mappings + "1.", Writable: true}, {Name: mappings + "1.Protocol", Writable: true}, {Name: mappings + "1.Status"}},
			[]cwmp.Path{mapCount}},
		{"next level without its object", cwmp.GetParameterNames{Path: "Device.NAT.", NextLevel: true}, 0,
			[]cwmp.ParameterInfo{{Name: mappings, Writable: true}, {Name: mapCount}}, []cwmp.Path{"Device.NAT.", mappings + "1."}},
		{"one parameter", cwmp.GetParameterNames{Path: ssid}, 0, []cwmp.ParameterInfo{{Name: ssid, Writable: true}}, nil},
		{"next level of a parameter", cwmp.GetParameterNames{Path: ssid, NextLevel: true}, cwmp.FaultInvalidArguments, nil, nil},
		{"no such object", cwmp.GetParameterNames{Path: "Device.Nothing."}, cwmp.FaultInvalidParameterName, nil, nil},
		{"object without dot", cwmp.GetParameterNames{Path: "Device.NAT"}, cwmp.FaultInvalidParameterName, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answer := b.acs.ask(t, b.cpe, &tt.ask)[0]
			if tt.fault != 0 {
				wantFault(t, answer, tt.fault)
				return
			}
			got := answer.(*cwmp.GetParameterNamesResponse).Parameters
			for _, want := range tt.has {
				if !slices.Contains(got, want) {
					t.Errorf("%+v is missing from %d names", want, len(got))
				}
			}
			for _, p := range got {
				if slices.Contains(tt.lacks, p.Name) {
					t.Errorf("%s should not be there", p.Name)
				}
			}
		})
	}
}

func TestGetParameterValues(t *testing.T) {
	b := newBench(t, Config{})
	if err := b.cpe.Set("Device.WiFi.AccessPoint.1.Security.KeyPassphrase", "secret-secret"); err != nil {
		t.Fatal(err)
	}
	answers := b.acs.ask(t, b.cpe,
		&cwmp.GetParameterValues{Names: []cwmp.Path{ssid, mappings + "1."}},
		&cwmp.GetParameterValues{Names: []cwmp.Path{"Device.WiFi.AccessPoint.1.Security.KeyPassphrase"}},
		&cwmp.GetParameterValues{Names: []cwmp.Path{""}},
		&cwmp.GetParameterValues{Names: []cwmp.Path{ssid, "Device.No"}})
	got := answers[0].(*cwmp.GetParameterValuesResponse).Values
	if !slices.Contains(got, value(ssid, cwmp.TypeString, "Example-2G")) || !slices.Contains(got, value(mappings+"1.Enable", cwmp.TypeBoolean, "true")) {
		t.Errorf("values %v", got)
	}
	if got := answers[1].(*cwmp.GetParameterValuesResponse).Values; len(got) != 1 || got[0].Value.Text != "" {
		t.Errorf("a passphrase reads back as %v", got)
	}
	if got := answers[2].(*cwmp.GetParameterValuesResponse).Values; len(got) != TR181().Parameters() {
		t.Errorf("the whole tree has %d values, want %d", len(got), TR181().Parameters())
	}
	wantFault(t, answers[3], cwmp.FaultInvalidParameterName)
}

func TestSetParameterValuesRefuses(t *testing.T) {
	b := newBench(t, Config{})
	tests := []struct {
		name string
		set  cwmp.ParameterValue
		code cwmp.FaultCode
	}{
		{"unknown parameter", value("Device.No", cwmp.TypeString, "x"), cwmp.FaultInvalidParameterName},
		{"object", value("Device.WiFi.", cwmp.TypeString, "x"), cwmp.FaultInvalidParameterName},
		{"read-only", value("Device.DeviceInfo.SerialNumber", cwmp.TypeString, "x"), cwmp.FaultNonWritableParameter},
		{"other type", value(enable, cwmp.TypeString, "true"), cwmp.FaultInvalidParameterType},
		{"no boolean", value(enable, cwmp.TypeBoolean, "maybe"), cwmp.FaultInvalidParameterValue},
		{"not in the enumeration", value(mappings+"1.Protocol", cwmp.TypeString, "SCTP"), cwmp.FaultInvalidParameterValue},
		{"out of range", value("Device.Ethernet.VLANTermination.1.VLANID", cwmp.TypeUnsignedInt, "5000"), cwmp.FaultInvalidParameterValue},
		{"too long", value(ssid, cwmp.TypeString, strings.Repeat("x", 33)), cwmp.FaultInvalidParameterValue},
		{"state that only the CPE writes", value("Device.IP.Diagnostics.IPPing.DiagnosticsState", cwmp.TypeString, "Complete"), cwmp.FaultInvalidParameterValue},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			good := value("Device.WiFi.SSID.2.SSID", cwmp.TypeString, "must-not-stay")
			f := wantFault(t, b.acs.ask(t, b.cpe, &cwmp.SetParameterValues{Values: []cwmp.ParameterValue{good, tt.set}, ParameterKey: "k"})[0], cwmp.FaultInvalidArguments)
			if len(f.Parameters) != 1 || f.Parameters[0].Name != tt.set.Name || f.Parameters[0].Code != tt.code {
				t.Errorf("details %+v, want %s: %d", f.Parameters, tt.set.Name, tt.code)
			}
			if got, _ := b.cpe.Get("Device.WiFi.SSID.2.SSID"); got != "Example-5G" {
				t.Errorf("the refused RPC changed another parameter to %q", got)
			}
			if got, _ := b.cpe.Get("Device.ManagementServer.ParameterKey"); got != "" {
				t.Errorf("the refused RPC left ParameterKey %q", got)
			}
		})
	}
	t.Run("same name twice", func(t *testing.T) {
		twice := []cwmp.ParameterValue{value(ssid, cwmp.TypeString, "a"), value(ssid, cwmp.TypeString, "b")}
		wantFault(t, b.acs.ask(t, b.cpe, &cwmp.SetParameterValues{Values: twice})[0], cwmp.FaultInvalidArguments)
	})
}

func TestSetParameterValues(t *testing.T) {
	b := newBench(t, Config{})
	answer := b.acs.ask(t, b.cpe, &cwmp.SetParameterValues{ParameterKey: "key-1", Values: []cwmp.ParameterValue{
		value(ssid, cwmp.TypeString, "Fjord ü"), value(enable, cwmp.TypeBoolean, "0"), value("Device.WiFi.SSID.2.SSID", cwmp.TypeUnknown, "untyped")}})[0]
	if r, ok := answer.(*cwmp.SetParameterValuesResponse); !ok || r.Status != 0 {
		t.Fatalf("answer %v", answer)
	}
	for path, want := range map[string]string{ssid: "Fjord ü", enable: "false", "Device.WiFi.SSID.2.SSID": "untyped", "Device.ManagementServer.ParameterKey": "key-1"} {
		if got, _ := b.cpe.Get(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if n := b.cpe.Called("SetParameterValues"); n != 1 {
		t.Errorf("the journal has %d SetParameterValues", n)
	}
}

func TestAddAndDeleteObject(t *testing.T) {
	b := newBench(t, Config{})
	add := func() uint32 {
		t.Helper()
		r, ok := b.acs.ask(t, b.cpe, &cwmp.AddObject{Object: mappings, ParameterKey: "added"})[0].(*cwmp.AddObjectResponse)
		if !ok {
			t.Fatal("AddObject was refused")
		}
		return r.InstanceNumber
	}
	remove := func(row cwmp.Path) {
		t.Helper()
		if r, ok := b.acs.ask(t, b.cpe, &cwmp.DeleteObject{Object: row})[0].(*cwmp.DeleteObjectResponse); !ok || r.Status != 0 {
			t.Fatalf("DeleteObject %s was refused", row)
		}
	}
	if n := add(); n != 3 {
		t.Fatalf("the first new row is %d, want 3", n)
	}
	if got, _ := b.cpe.Get(mappings + "3.Protocol"); got != "TCP" {
		t.Errorf("a new row's Protocol is %q, want the declared TCP", got)
	}
	if got, _ := b.cpe.Get(mapCount); got != "3" {
		t.Errorf("%s is %s, want 3", mapCount, got)
	}
	if got, _ := b.cpe.Get("Device.ManagementServer.ParameterKey"); got != "added" {
		t.Errorf("ParameterKey %q", got)
	}
	if err := b.cpe.Set(mappings+"3.Description", "mine"); err != nil {
		t.Fatal(err)
	}
	remove(mappings + "3.")
	remove(mappings + "1.")
	if got, _ := b.cpe.Get(mapCount); got != "1" {
		t.Errorf("%s is %s, want 1", mapCount, got)
	}
	if _, there := b.cpe.Get(mappings + "1.Protocol"); there {
		t.Error("a deleted row of the model is still there")
	}
	if n := add(); n != 4 {
		t.Errorf("the next row is %d: an instance number came again", n)
	}
	names := b.acs.ask(t, b.cpe, &cwmp.GetParameterNames{Path: mappings, NextLevel: true})[0].(*cwmp.GetParameterNamesResponse).Parameters
	if want := []cwmp.ParameterInfo{{Name: mappings + "2.", Writable: true}, {Name: mappings + "4.", Writable: true}}; !slices.Equal(names, want) {
		t.Errorf("rows %v, want %v", names, want)
	}
}

func TestNestedRows(t *testing.T) {
	b := newBench(t, Config{Model: TR098()})
	const table = "InternetGatewayDevice.WANDevice.1.WANConnectionDevice."
	answers := b.acs.ask(t, b.cpe, &cwmp.AddObject{Object: table}, &cwmp.AddObject{Object: table + "2.WANPPPConnection."},
		&cwmp.AddObject{Object: table + "2.WANPPPConnection.1.PortMapping."}, &cwmp.GetParameterNames{Path: table + "2."})
	for i, answer := range answers[:3] {
		if _, ok := answer.(*cwmp.AddObjectResponse); !ok {
			t.Fatalf("AddObject %d: %v", i, answer)
		}
	}
	if got, _ := b.cpe.Get(table + "2.WANPPPConnectionNumberOfEntries"); got != "1" {
		t.Errorf("the nested counter is %q", got)
	}
	names := answers[3].(*cwmp.GetParameterNamesResponse).Parameters
	if !slices.ContainsFunc(names, func(p cwmp.ParameterInfo) bool {
		return p.Name == table+"2.WANPPPConnection.1.PortMapping.1.ExternalPort"
	}) {
		t.Errorf("the nested row is not listed among %d names", len(names))
	}
	b.acs.ask(t, b.cpe, &cwmp.DeleteObject{Object: table + "2."})
	if len(b.cpe.tree.added) != 0 {
		t.Errorf("rows %v outlive the row they were in", b.cpe.tree.added)
	}
}

func TestObjectsThatCannotChange(t *testing.T) {
	b := newBench(t, Config{})
	for _, request := range []cwmp.Message{
		&cwmp.AddObject{Object: "Device.Hosts.Host."},      // the CPE's own table
		&cwmp.AddObject{Object: "Device.WiFi."},            // no table
		&cwmp.AddObject{Object: mappings + "1."},           // a row
		&cwmp.AddObject{Object: "Device.NAT.PortMapping"},  // no partial path
		&cwmp.AddObject{Object: "Device.None."},            // nothing
		&cwmp.DeleteObject{Object: "Device.Hosts.Host.1."}, // the CPE's own row
		&cwmp.DeleteObject{Object: mappings},               // a table
		&cwmp.DeleteObject{Object: mappings + "77."},       // no such row
	} {
		wantFault(t, b.acs.ask(t, b.cpe, request)[0], cwmp.FaultInvalidParameterName)
	}
}

func TestAttributes(t *testing.T) {
	b := newBench(t, Config{})
	const upTime = "Device.DeviceInfo.UpTime"
	set := func(name cwmp.Path, n cwmp.Notification) cwmp.Message {
		return b.acs.ask(t, b.cpe, &cwmp.SetParameterAttributes{Entries: []cwmp.SetParameterAttributesEntry{{Name: name, NotificationChange: true, Notification: n}}})[0]
	}
	get := func(name cwmp.Path) cwmp.ParameterAttributes {
		t.Helper()
		r, ok := b.acs.ask(t, b.cpe, &cwmp.GetParameterAttributes{Names: []cwmp.Path{name}})[0].(*cwmp.GetParameterAttributesResponse)
		if !ok || len(r.Attributes) == 0 {
			t.Fatalf("no attributes of %s", name)
		}
		return r.Attributes[0]
	}
	if a := get(ssid); a.Notification != cwmp.NotificationOff || !slices.Equal(a.AccessList, []string{"Subscriber"}) {
		t.Errorf("attributes at first %+v", a)
	}
	if a := get("Device.DeviceInfo.SoftwareVersion"); a.Notification != cwmp.NotificationActive {
		t.Errorf("SoftwareVersion is not forced to active: %+v", a)
	}
	set(ssid, cwmp.NotificationPassive)
	if a := get(ssid); a.Notification != cwmp.NotificationPassive {
		t.Errorf("attributes after setting %+v", a)
	}
	wantFault(t, set(upTime, cwmp.NotificationActive), cwmp.FaultNotificationRequestRejected)
	wantFault(t, set("Device.No", cwmp.NotificationActive), cwmp.FaultInvalidParameterName)
	set("Device.WiFi.SSID.", cwmp.NotificationActive)
	if a := get("Device.WiFi.SSID.2.SSID"); a.Notification != cwmp.NotificationActive {
		t.Errorf("a partial path did not reach the parameters: %+v", a)
	}
	if a := get("Device.WiFi.SSID.1.Stats.BytesSent"); a.Notification != cwmp.NotificationOff {
		t.Errorf("a counter took active notification: %+v", a)
	}
}

func TestUnknownRPCAndMethods(t *testing.T) {
	b := newBench(t, Config{})
	answers := b.acs.ask(t, b.cpe, &cwmp.RequestDownload{FileType: "x"}, &cwmp.GetRPCMethods{})
	wantFault(t, answers[0], cwmp.FaultMethodNotSupported)
	if m := answers[1].(*cwmp.GetRPCMethodsResponse).Methods; !slices.Contains(m, "SetParameterValues") || !slices.Contains(m, "ChangeDUState") || slices.Contains(m, "RequestDownload") {
		t.Errorf("methods %v", m)
	}
}
