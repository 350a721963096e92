package mapping

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// What a controller reads of a TR-098 CPE.
func TestGatewayAsDevice2(t *testing.T) {
	s := show(t, gatewaySet(t), gatewayTree(t))
	for _, c := range []struct{ path, want string }{
		{"Device.DeviceInfo.Manufacturer", "Example Networks"},
		{"Device.DeviceInfo.X_EXAMPLE_Led", "true"},
		{"Device.Time.Client.1.Servers", "ntp1.example.com"},
		{"Device.WiFi.SSIDNumberOfEntries", "3"},
		{"Device.WiFi.RadioNumberOfEntries", "2"},
		{"Device.WiFi.SSID.1.SSID", "home"},
		{"Device.WiFi.SSID.2.Enable", "false"},
		{"Device.WiFi.SSID.2.Status", "Down"},
		{"Device.WiFi.SSID.1.LowerLayers", "Device.WiFi.Radio.1"},
		{"Device.WiFi.SSID.2.LowerLayers", "Device.WiFi.Radio.1"},
		{"Device.WiFi.SSID.3.LowerLayers", "Device.WiFi.Radio.2"},
		{"Device.WiFi.SSID.1.Alias", "cpe-1"},
		{"Device.WiFi.SSID.1.X_EXAMPLE_BandSteering", "false"},
		{"Device.WiFi.SSID.2.X_EXAMPLE_BandSteering", "(absent)"},
		{"Device.WiFi.Radio.1.OperatingFrequencyBand", "2.4GHz"},
		{"Device.WiFi.Radio.2.OperatingFrequencyBand", "5GHz"},
		{"Device.WiFi.Radio.2.Channel", "36"},
		{"Device.WiFi.AccessPoint.1.SSIDReference", "Device.WiFi.SSID.1"},
		{"Device.WiFi.AccessPoint.1.Security.ModeEnabled", "WPA2-Personal"},
		{"Device.WiFi.AccessPoint.1.AssociatedDevice.2.MACAddress", "00:00:5E:00:53:22"},
		{"Device.WiFi.AccessPoint.2.AssociatedDeviceNumberOfEntries", "0"},
		{"Device.Ethernet.Interface.1.Status", "Down"},
		{"Device.Ethernet.Interface.1.MaxBitRate", "-1"},
		{"Device.Ethernet.Interface.2.MaxBitRate", "1000"},
		{"Device.Ethernet.Interface.2.Stats.BytesSent", "78"},
		{"Device.Hosts.HostNumberOfEntries", "2"},
		{"Device.Hosts.Host.1.IPAddress", "192.168.1.21"},
		{"Device.Hosts.Host.1.Layer1Interface", "Device.Ethernet.Interface.2"},
		{"Device.Hosts.Host.2.Layer1Interface", ""},
		{"Device.DHCPv4.Server.Enable", "true"},
		{"Device.DHCPv4.Server.Pool.1.MinAddress", "192.168.1.10"},
		{"Device.DHCPv4.Server.Pool.1.StaticAddressNumberOfEntries", "0"},
		{"Device.IP.InterfaceNumberOfEntries", "3"},
		{"Device.NAT.PortMapping.1.ExternalPort", "8080"},
		{"Device.Routing.Router.1.IPv4Forwarding.3.DestIPAddress", "10.0.0.0"},
		{"Device.PPP.Interface.1.Username", "user@example.com"},
		{"Device.X_EXAMPLE_Rules.Rule.4.Name", "drop"},
		{"Device.X_USPBRIDGE_CWMP.Raw.InternetGatewayDevice.ManagementServer.PeriodicInformInterval", "300"},
		{"Device.Optical.Interface.1.OpticalSignalLevel", "-19000"},
		{"Device.X_USPBRIDGE_CWMP.Raw.InternetGatewayDevice.WiFiStuff.Mode", "odd"},
		{"Device.X_USPBRIDGE_CWMP.Raw.InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.PreSharedKey.2.KeyPassphrase", ""},
	} {
		if got := s.get(c.path); got != c.want {
			t.Errorf("%s is %q, want %q", c.path, got, c.want)
		}
	}
}

// References lead to rows that are there, and to the right ones.
func TestReferencesResolve(t *testing.T) {
	s := show(t, gatewaySet(t), gatewayTree(t))
	seen := 0
	for _, line := range s.values() {
		path, value, _ := strings.Cut(line, "=")
		if strings.Contains(path, ".Raw.") || !strings.Contains(value, "Device.") {
			continue
		}
		for ref := range strings.SplitSeq(value, ",") {
			seen++
			schema, inst, _ := tree.Split(cwmp.Path(ref + "."))
			node := s.p.Schema.Lookup(schema)
			if node == nil {
				t.Errorf("%s: the schema has no %s", path, ref)
				continue
			}
			if rows := s.Instances(dm.Ref{Node: node, Inst: inst.Prefix(inst.Len() - 1)}); !slices.Contains(rows, inst.Last()) {
				t.Errorf("%s: %s is not there, only %v", path, ref, rows)
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d references were seen", seen)
	}
}

// No parameter of a CPE is lost: each can be found from some USP path.
func TestEveryParameterIsReachable(t *testing.T) {
	for name, d := range map[string]*tree.Tree{"gateway": gatewayTree(t), "TR-181": routerTree(t), "odd": oddTree(t)} {
		t.Run(name, func(t *testing.T) {
			s := show(t, gatewaySet(t), d)
			for _, path := range unreachable(s, s.tree) {
				t.Errorf("%s is lost", path)
			}
		})
	}
}

// unreachable lists the CPE parameters that no shown USP parameter reads.
func unreachable(s *shown, d *tree.Tree) (lost []string) {
	d.ForEach(func(p tree.ParamID, inst dm.Instance, _ tree.Value) bool {
		for _, ref := range s.Targets(p, inst) {
			if _, _, state := s.Read(ref); state != Absent && slices.Contains(s.Sources(ref, nil), Source{p, inst}) {
				return true
			}
		}
		lost = append(lost, string(tree.Join(d.Template().Param(p).Path, inst)))
		return true
	})
	return lost
}

// router is a TR-181 CPE.
const router = `
Device.DeviceInfo.SoftwareVersion string 2.0
+Device.DeviceInfo.ProvisioningCode string
+Device.ManagementServer.URL string http://acs.example.com/
Device.WiFi.SSIDNumberOfEntries unsignedInt 9
+Device.WiFi.SSID.
+Device.WiFi.SSID.3.
+Device.WiFi.SSID.3.SSID string home
+Device.WiFi.SSID.3.Alias string wlan0
+Device.WiFi.SSID.3.LowerLayers string Device.WiFi.Radio.1
+Device.WiFi.SSID.3.X_TP_Guest boolean 0
Device.WiFi.Radio.1.SupportedFrequencyBands string 2.4GHz
Device.WiFi.AccessPoint.1.AssociatedDevice.724.MACAddress string 00:00:5E:00:53:21
+Device.X_TP_Things.Thing.
+Device.X_TP_Things.Thing.2.Name string lamp
Device.NotInTheStandard.Foo string bar
Device.IP.Diagnostics.IPPing.DiagnosticsState string None
`

func routerTree(t testing.TB) *tree.Tree { return device(t, router) }

// odd has names that clash: an object and a parameter of one name, a table with
// parameters beside its rows, a number for a name, and the bridge's own object.
func oddTree(t testing.TB) *tree.Tree {
	return device(t, `
InternetGatewayDevice.Odd string leaf
InternetGatewayDevice.Odd.Inner string inner
InternetGatewayDevice.Shelf.Label string label
InternetGatewayDevice.Shelf.1.Book string book
InternetGatewayDevice.Box.1.2.Thing string numeral
InternetGatewayDevice.X_USPBRIDGE_CWMP.Stage string fake
InternetGatewayDevice.X_A.B string b
InternetGatewayDevice.X_A-B_C.d string hyphen
InternetGatewayDevice.LANDevice.1.Hosts.Host.1.MACAddress string 00:00:5E:00:53:21
InternetGatewayDevice.LANDevice.1.Hosts.Host.1.IPAddress string 192.168.1.21
InternetGatewayDevice.LANDevice.1.Hosts.Host.2.MACAddress string 00:00:5E:00:53:21
InternetGatewayDevice.LANDevice.1.Hosts.Host.2.IPAddress string 192.168.1.22
`)
}

func TestRouterKeepsItsPaths(t *testing.T) {
	s := show(t, gatewaySet(t), routerTree(t))
	for _, c := range []struct{ path, want string }{
		{"Device.DeviceInfo.SoftwareVersion", "2.0"},
		{"Device.WiFi.SSIDNumberOfEntries", "1"},
		{"Device.WiFi.SSID.3.SSID", "home"},
		{"Device.WiFi.SSID.3.Alias", "wlan0"},
		{"Device.WiFi.SSID.3.LowerLayers", "Device.WiFi.Radio.1"},
		{"Device.WiFi.SSID.3.X_TP_Guest", "false"},
		{"Device.WiFi.Radio.1.Alias", "cpe-1"},
		{"Device.WiFi.AccessPoint.1.AssociatedDevice.724.MACAddress", "00:00:5E:00:53:21"},
		{"Device.X_TP_Things.Thing.2.Name", "lamp"},
		{"Device.X_USPBRIDGE_CWMP.Raw.Device.ManagementServer.URL", "http://acs.example.com/"},
		{"Device.X_USPBRIDGE_CWMP.Raw.Device.NotInTheStandard.Foo", "bar"},
	} {
		if got := s.get(c.path); got != c.want {
			t.Errorf("%s is %q, want %q", c.path, got, c.want)
		}
	}
}

// Access is what the standard and the CPE both allow.
func TestAccess(t *testing.T) {
	s := show(t, gatewaySet(t), gatewayTree(t))
	for _, c := range []struct {
		path string
		want dm.Access
	}{
		{"Device.WiFi.SSID.1.SSID", dm.ReadWrite},
		{"Device.WiFi.SSID.1.Status", dm.ReadOnly},
		{"Device.WiFi.SSID.1.LowerLayers", dm.ReadOnly},
		{"Device.WiFi.Radio.1.OperatingFrequencyBand", dm.ReadOnly},
		{"Device.WiFi.SSID.", dm.ReadOnly},
		{"Device.WiFi.SSID.1.X_EXAMPLE_BandSteering", dm.ReadWrite},
		{"Device.NAT.PortMapping.", dm.AddDelete},
		{"Device.DHCPv4.Server.Pool.1.StaticAddress.", dm.AddDelete},
		{"Device.Routing.Router.1.IPv4Forwarding.", dm.AddDelete},
		{"Device.X_EXAMPLE_Rules.Rule.", dm.AddDelete},
		{"Device.Hosts.Host.", dm.ReadOnly},
		{"Device.WiFi.SSIDNumberOfEntries", dm.ReadOnly},
		{"Device.X_USPBRIDGE_CWMP.Stage", dm.ReadOnly},
	} {
		schema := strings.TrimSuffix(c.path, ".")
		node := s.p.Schema.Lookup(generic(schema))
		if node == nil {
			t.Errorf("the schema has no %s", c.path)
		} else if node.Access != c.want {
			t.Errorf("access of %s is %d, want %d", c.path, node.Access, c.want)
		}
	}
}

func TestWrite(t *testing.T) {
	s := show(t, gatewaySet(t), gatewayTree(t))
	const wlan = "InternetGatewayDevice.LANDevice.1.WLANConfiguration."
	for _, c := range []struct {
		path, value string
		want        []cwmp.ParameterValue
		code        usp.ErrorCode
	}{
		{path: "Device.WiFi.SSID.3.SSID", value: "new", want: set(wlan+"5.SSID", cwmp.TypeString, "new")},
		{path: "Device.WiFi.SSID.1.Enable", value: "false", want: set(wlan+"1.Enable", cwmp.TypeBoolean, "0")},
		{path: "Device.WiFi.SSID.1.Enable", value: "maybe", code: usp.ErrInvalidType},
		{path: "Device.WiFi.Radio.2.Channel", value: "40", want: set(wlan+"5.Channel", cwmp.TypeUnsignedInt, "40")},
		{path: "Device.WiFi.Radio.2.Channel", value: "-1", code: usp.ErrInvalidType},
		{path: "Device.WiFi.SSID.1.Status", value: "Up", code: usp.ErrReadOnly},
		{path: "Device.WiFi.AccessPoint.1.Security.ModeEnabled", value: "WPA-Personal",
			want: append(set(wlan+"1.BeaconType", cwmp.TypeString, "WPA"), set(wlan+"1.WPAAuthenticationMode", cwmp.TypeString, "PSKAuthentication")...)},
		{path: "Device.WiFi.AccessPoint.1.Security.ModeEnabled", value: "None",
			want: append(set(wlan+"1.BeaconType", cwmp.TypeString, "Basic"), set(wlan+"1.BasicEncryptionModes", cwmp.TypeString, "None")...)},
		{path: "Device.WiFi.AccessPoint.1.Security.ModeEnabled", value: "WPA9", code: usp.ErrInvalidValue},
		{path: "Device.Time.Client.1.Servers", value: "a.example.com,b.example.com",
			want: append(set("InternetGatewayDevice.Time.NTPServer1", cwmp.TypeString, "a.example.com"), set("InternetGatewayDevice.Time.NTPServer2", cwmp.TypeString, "b.example.com")...)},
		{path: "Device.Time.Client.1.Servers", value: "a,b,c", code: usp.ErrInvalidValue},
		{path: "Device.Routing.Router.1.IPv4Forwarding.3.Interface", value: "Device.IP.Interface.9", code: usp.ErrInvalidValue},
		{path: "Device.WiFi.SSID.2.X_EXAMPLE_BandSteering", value: "true", code: usp.ErrUnsupportedParameter},
		{path: "Device.X_EXAMPLE_Rules.Rule.4.Name", value: "allow", want: set("InternetGatewayDevice.X_EXAMPLE_Rules.Rule.4.Name", cwmp.TypeString, "allow")},
		{path: "Device.X_USPBRIDGE_CWMP.Raw.InternetGatewayDevice.ManagementServer.PeriodicInformInterval", value: "60",
			want: set("InternetGatewayDevice.ManagementServer.PeriodicInformInterval", cwmp.TypeUnsignedInt, "60")},
	} {
		got, err := s.Write(s.ref(c.path), c.value, nil)
		code := usp.ErrorCode(0)
		if err != nil {
			code, got = err.Code, nil
		}
		if diff := cmp.Diff(c.want, got); diff != "" || code != c.code {
			t.Errorf("%s = %q: code %d, want %d; %v\n%s", c.path, c.value, code, c.code, err, diff)
		}
	}
}

func set(name string, typ cwmp.Type, text string) []cwmp.ParameterValue {
	return []cwmp.ParameterValue{{Name: cwmp.Path(name), Value: cwmp.Value{Type: typ, Text: text}}}
}

// A reference is written as the CPE's path of the row that is named, in the
// spelling that the CPE has it.
func TestWriteReference(t *testing.T) {
	s := show(t, gatewaySet(t), gatewayTree(t))
	ref := s.ref("Device.Routing.Router.1.IPv4Forwarding.3.Interface")
	now, _, _ := s.Read(ref)
	got, err := s.Write(ref, now, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := set("InternetGatewayDevice.Layer3Forwarding.Forwarding.3.Interface", cwmp.TypeString, "InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAges(t *testing.T) {
	s := show(t, gatewaySet(t), gatewayTree(t))
	d := s.tree
	ssid := s.ref("Device.WiFi.SSID.1.SSID")
	if _, at, state := s.Read(ssid); at != readAt || state != Known {
		t.Errorf("read at %d, state %d", at, state)
	}
	p, _ := d.Template().Lookup("InternetGatewayDevice.LANDevice.{i}.WLANConfiguration.{i}.SSID")
	d = d.Clone()
	d.MarkUnsure(p, dm.Inst(1, 1))
	d.MarkAbsent(p, dm.Inst(1, 2))
	next := &shown{View: s.p.View(d, s.n, nil), p: s.p, t: t}
	if _, _, state := next.Read(ssid); state != Unsure {
		t.Errorf("state %d, want unsure", state)
	}
	if got := next.get("Device.WiFi.SSID.2.SSID"); got != "(absent)" {
		t.Errorf("an absent parameter reads as %q", got)
	}
	for path, want := range map[string]string{
		"Device.Ethernet.Interface.1.Stats.BytesSent": "10s", "Device.WiFi.SSID.1.Status": "1m0s",
		"Device.WiFi.SSID.1.SSID": "1h0m0s", "Device.DeviceInfo.Manufacturer": "0s",
	} {
		if got := s.p.MaxAge(s.ref(path).Node).String(); got != want {
			t.Errorf("%s may be %s old, want %s", path, got, want)
		}
	}
}

func TestClassesOfFiles(t *testing.T) {
	const file = "mapping: c\nroot: InternetGatewayDevice.\nages: {counter: 3s}\nclasses: [{match: 'Device.WiFi.SSID.*.SSID', class: counter}, {match: 'Device.DHCPv4.**', class: static}]\n"
	s := show(t, gatewaySet(t, "c.yaml", file), gatewayTree(t))
	for path, want := range map[string]string{
		"Device.WiFi.SSID.1.SSID": "3s", "Device.WiFi.SSID.1.Enable": "1h0m0s", "Device.DHCPv4.Server.Pool.1.MinAddress": "0s",
	} {
		if got := s.p.MaxAge(s.ref(path).Node).String(); got != want {
			t.Errorf("%s may be %s old, want %s", path, got, want)
		}
	}
}

// While a device changes its firmware an agent has nodes of the schema before.
func TestNodesOfAnotherSchema(t *testing.T) {
	old := show(t, gatewaySet(t), gatewayTree(t))
	d := device(t, gateway+"InternetGatewayDevice.AAA string new\nInternetGatewayDevice.DeviceInfo.AdditionalHardwareVersion string x\n")
	now := show(t, gatewaySet(t), d)
	for _, path := range []string{"Device.WiFi.SSID.3.SSID", "Device.WiFi.SSIDNumberOfEntries", "Device.WiFi.SSID.1.X_EXAMPLE_BandSteering"} {
		got, _, _ := now.Read(old.ref(path))
		want, _, _ := now.Read(now.ref(path))
		if got != want || got == "" {
			t.Errorf("%s of the schema before reads %q, want %q", path, got, want)
		}
	}
	if got := now.Instances(old.ref("Device.WiFi.SSID.")); len(got) != 3 {
		t.Errorf("rows %v", got)
	}
	gone := now.ref("Device.DeviceInfo.AdditionalHardwareVersion")
	if _, _, state := old.Read(gone); state != Absent {
		t.Errorf("a parameter that the CPE has not is in state %d", state)
	}
	if _, err := old.Write(gone, "x", nil); err == nil {
		t.Error("a parameter that the CPE has not can be written")
	}
}

// A snapshot is read by many at once.
func TestConcurrentReads(t *testing.T) {
	s := show(t, gatewaySet(t), gatewayTree(t))
	want := s.values()
	v := &shown{View: s.p.View(s.tree, s.n, nil), p: s.p, t: t}
	done := make(chan []string)
	for range 8 {
		go func() { done <- v.values() }()
	}
	for range 8 {
		if diff := cmp.Diff(want, <-done); diff != "" {
			t.Error(diff)
		}
	}
}

func TestSourcesAndTargetsMirrorEachOther(t *testing.T) {
	s := show(t, gatewaySet(t), gatewayTree(t))
	p, _ := s.tree.Template().Lookup("InternetGatewayDevice.LANDevice.{i}.WLANConfiguration.{i}.Status")
	var got []string
	for _, ref := range s.Targets(p, dm.Inst(1, 5)) {
		got = append(got, ref.Path())
		if !slices.Contains(s.Sources(ref, nil), Source{p, dm.Inst(1, 5)}) {
			t.Errorf("%s is not read from what it is a target of", ref.Path())
		}
	}
	for _, want := range []string{"Device.WiFi.SSID.3.Status", "Device.WiFi.AccessPoint.3.Status", "Device.WiFi.Radio.2.Status"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not among the targets %v", want, got)
		}
	}
	count, _ := s.tree.Template().Lookup("InternetGatewayDevice.LANDevice.{i}.Hosts.HostNumberOfEntries")
	if sources := s.Sources(s.ref("Device.Hosts.HostNumberOfEntries"), nil); !slices.Contains(sources, Source{count, dm.Inst(1)}) {
		t.Errorf("a table is watched through %v", sources)
	}
}

func TestRowSource(t *testing.T) {
	s := show(t, gatewaySet(t), gatewayTree(t))
	for _, c := range []struct {
		row, object string
		deletable   bool
	}{
		{"Device.NAT.PortMapping.1.", "InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.PortMapping.1.", true},
		{"Device.WiFi.SSID.3.", "InternetGatewayDevice.LANDevice.1.WLANConfiguration.5.", false},
		{"Device.X_EXAMPLE_Rules.Rule.4.", "InternetGatewayDevice.X_EXAMPLE_Rules.Rule.4.", true},
		{"Device.Routing.Router.1.IPv4Forwarding.3.", "InternetGatewayDevice.Layer3Forwarding.Forwarding.3.", true},
	} {
		object, deletable, ok := s.RowSource(s.ref(c.row))
		if !ok || string(object) != c.object || deletable != c.deletable {
			t.Errorf("%s is %s, deletable %v (%v); want %s, %v", c.row, object, deletable, ok, c.object, c.deletable)
		}
		if ref, ok := s.RowOf(s.ref(c.row).Node, cwmp.Path(c.object)); !ok || ref.Path() != c.row {
			t.Errorf("the row of %s is %s, want %s", c.object, ref.Path(), c.row)
		}
	}
	if _, _, ok := s.RowSource(s.ref("Device.NAT.PortMapping.99.")); ok {
		t.Error("a row that is not there has a source")
	}
}

func TestCreatePlan(t *testing.T) {
	s := show(t, gatewaySet(t), gatewayTree(t))
	const ip = "InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1."
	const ppp = "InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANPPPConnection.1."
	row := func(node, object string) string {
		ref, ok := s.RowOf(s.ref(node).Node, cwmp.Path(object))
		if !ok {
			t.Fatalf("%s has no row of %s", node, object)
		}
		return strings.TrimSuffix(ref.Path(), ".")
	}
	for _, c := range []struct {
		name   string
		table  dm.Ref
		values map[string]string
		want   cwmp.Path
		code   usp.ErrorCode
	}{
		{name: "by the IP connection named", table: s.ref("Device.NAT.PortMapping."), values: map[string]string{"Interface": row("Device.IP.Interface.1.", ip)}, want: ip + "PortMapping."},
		{name: "by the PPP connection named", table: s.ref("Device.NAT.PortMapping."), values: map[string]string{"Interface": row("Device.IP.Interface.1.", ppp)}, want: ppp + "PortMapping."},
		{name: "by a connection that is not there", table: s.ref("Device.NAT.PortMapping."), values: map[string]string{"Interface": "Device.IP.Interface.99"}, code: usp.ErrInvalidValue},
		{name: "on the CPE's default connection", table: s.ref("Device.NAT.PortMapping."), want: ppp + "PortMapping."},
		{name: "in a pool", table: dm.Ref{Node: s.p.Schema.Lookup("Device.DHCPv4.Server.Pool.{i}.StaticAddress.{i}."), Inst: dm.Inst(1)}, want: "InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.DHCPStaticAddress."},
		{name: "in a pool that is not there", table: dm.Ref{Node: s.p.Schema.Lookup("Device.DHCPv4.Server.Pool.{i}.StaticAddress.{i}."), Inst: dm.Inst(7)}, code: usp.ErrObjectDoesNotExist},
		{name: "in a fixed row", table: dm.Ref{Node: s.p.Schema.Lookup("Device.Routing.Router.{i}.IPv4Forwarding.{i}."), Inst: dm.Inst(1)}, want: "InternetGatewayDevice.Layer3Forwarding.Forwarding."},
		{name: "vendor table", table: s.ref("Device.X_EXAMPLE_Rules.Rule."), want: "InternetGatewayDevice.X_EXAMPLE_Rules.Rule."},
		{name: "where the CPE adds none", table: s.ref("Device.WiFi.SSID."), code: usp.ErrNotCreatable},
	} {
		plan, err := s.CreatePlan(c.table, c.values)
		code := usp.ErrorCode(0)
		if err != nil {
			code, plan.AddObject = err.Code, ""
		}
		if plan.AddObject != c.want || code != c.code {
			t.Errorf("%s: AddObject %q, code %d (%v); want %q, %d", c.name, plan.AddObject, code, err, c.want, c.code)
		}
	}
}

func TestExplain(t *testing.T) {
	s := show(t, gatewaySet(t), gatewayTree(t))
	x := s.Explain(s.ref("Device.WiFi.SSID.3.Status"))
	if diff := cmp.Diff([]string{"InternetGatewayDevice.LANDevice.1.WLANConfiguration.5.Status"}, x.CWMPPaths); diff != "" || x.USPValue != "Up" || !strings.Contains(x.Rule, "wifi.yaml:") {
		t.Errorf("%+v\n%s", x, diff)
	}
}

// TestHomes: all that is read from a parameter of the CPE is found from there.
func TestHomes(t *testing.T) {
	s := show(t, gatewaySet(t), gatewayTree(t))
	const wlan = "InternetGatewayDevice.LANDevice.1.WLANConfiguration."
	for path, want := range map[cwmp.Path][]string{
		wlan + "5.Status": {"Device.Bridging.Bridge.1.Port.6.Status", "Device.WiFi.AccessPoint.3.Status", "Device.WiFi.Radio.2.Status", "Device.WiFi.SSID.3.Status"},
		wlan + "9.Status": nil,
		wlan + "5.":       nil,
		"no path..":       nil,
	} {
		value, refs, ok := s.Homes(path)
		var homes []string
		for _, ref := range refs {
			homes = append(homes, ref.Path())
		}
		slices.Sort(homes)
		if diff := cmp.Diff(want, homes); diff != "" || ok != (want != nil) || ok && value != "Up" {
			t.Errorf("%s is %q, %v: %s", path, value, ok, diff)
		}
	}
}

func TestCoverageCounts(t *testing.T) {
	s := show(t, gatewaySet(t), gatewayTree(t))
	r := Coverage(s.p, s.tree)
	if r.Total == 0 || r.Standard+r.Vendor+r.Raw != r.Total || r.Vendor != 4 {
		t.Errorf("%+v", r)
	}
	sum := 0
	for _, g := range r.RawGroups {
		sum += g.Count
	}
	if sum != r.Raw {
		t.Errorf("raw groups make %d of %d", sum, r.Raw)
	}
}
