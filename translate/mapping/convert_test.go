package mapping

import (
	"fmt"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// rule makes the converter of one parameter as a mapping file has it.
func ruleOf(t *testing.T, parameter, text string) *param {
	t.Helper()
	doc, err := parseYAML("f.yaml", []byte("mapping: m\nroot: A.\nobjects:\n  - target: Device.X_TEST.\n    source: ''\n    params:\n      "+parameter+": "+text+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := readMapping("f.yaml", doc, testStandard(t))
	if err != nil {
		t.Fatal(err)
	}
	return f.objects[0].params[0]
}

func TestConversions(t *testing.T) {
	for _, c := range []struct {
		rule      string
		typ       dm.Type
		cpe, usp  string
		writeBack string // what usp is written as; "" as cpe, "!" refused
	}{
		{rule: "P", typ: dm.TypeString, cpe: "as it is ", usp: "as it is "},
		{rule: "{from: P, enum: {NoLink: Down, Up: Up}}", typ: dm.TypeString, cpe: "NoLink", usp: "Down"},
		{rule: "{from: P, enum: {NoLink: Down, Disabled: Down}}", typ: dm.TypeString, cpe: "Disabled", usp: "Down", writeBack: "NoLink"},
		{rule: "{from: P, enum: {Up: Up, '*': Unknown}}", typ: dm.TypeString, cpe: "Odd", usp: "Unknown", writeBack: "!"},
		{rule: "{from: P, enum: {Up: Up, '*': Unknown}}", typ: dm.TypeString, cpe: "UP", usp: "Up", writeBack: "Up"},
		{rule: "{from: P, enum: {Auto: '-1'}, open: true}", typ: dm.TypeInt, cpe: "100", usp: "100"},
		{rule: "{from: P, not: true}", typ: dm.TypeBoolean, cpe: "1", usp: "false", writeBack: "true"},
		{rule: "{from: P, mul: 1000}", typ: dm.TypeUnsignedInt, cpe: "54", usp: "54000"},
		{rule: "{from: P, div: 1024}", typ: dm.TypeUnsignedInt, cpe: "2048", usp: "2"},
		{rule: "{from: P, list: {from_sep: '|'}, enum: {a: x}, open: true}", typ: dm.TypeString, cpe: "a|b", usp: "x,b"},
		{rule: "{from: P, list: {}, enum: {a: x}}", typ: dm.TypeString, cpe: "", usp: ""},
		{rule: "{from: P, base64: hex}", typ: dm.TypeHexBinary, cpe: "AQL/", usp: "0102FF"},
		{rule: "{from: P, text: hex}", typ: dm.TypeHexBinary, cpe: "MSFT", usp: "4D534654"},
		{rule: "P", typ: dm.TypeBoolean, cpe: "TRUE", usp: "true", writeBack: "true"},
		{rule: "P", typ: dm.TypeBoolean, cpe: "0", usp: "false", writeBack: "false"},
		{rule: "P", typ: dm.TypeDateTime, cpe: "2026-02-03T04:05:06+01:00", usp: "2026-02-03T03:05:06Z", writeBack: "2026-02-03T03:05:06Z"},
		{rule: "P", typ: dm.TypeDateTime, cpe: "2026-02-03T04:05:06", usp: "2026-02-03T04:05:06Z", writeBack: "2026-02-03T04:05:06Z"},
		{rule: "P", typ: dm.TypeDateTime, cpe: "0000-00-00T00:00:00", usp: unknownTime, writeBack: unknownTime},
		{rule: "P", typ: dm.TypeDateTime, cpe: "11:54::14", usp: unknownTime, writeBack: unknownTime},
	} {
		p := ruleOf(t, "X_P", c.rule)
		if got := p.conv.read(c.cpe, c.typ); got != c.usp {
			t.Errorf("%s reads %q as %q, want %q", c.rule, c.cpe, got, c.usp)
		}
		back, err := p.conv.write(c.usp)
		want := c.writeBack
		if want == "" {
			want = c.cpe
		}
		if want == "!" {
			if err == nil {
				t.Errorf("%s writes %q as %q, want it refused", c.rule, c.usp, back)
			}
			continue
		}
		if err != nil || back != want {
			t.Errorf("%s writes %q as %q (%v), want %q", c.rule, c.usp, back, err, want)
		}
	}
}

// The spellings of date and time met in the field.
//
// Deviation: several CPE – write dates in many spellings, the year 0000, or a port number as dateTime; USP gets ISO 8601, and the unknown time for what is none
func TestDateTime(t *testing.T) {
	for in, want := range map[string]string{
		"2013-10-15T15:48:15.123+0000":  "2013-10-15T15:48:15.123Z",
		"2013-10-15T15:48:15Z":          "2013-10-15T15:48:15Z",
		"Tue Oct 15 15:48:15 UTC 2013":  "2013-10-15T15:48:15Z",
		"0001-01-01T00:00:00":           unknownTime,
		"":                              unknownTime,
		"514":                           unknownTime, // a port number, by Huawei
		" 2013-10-15T15:48:15-05:00 \n": "2013-10-15T20:48:15Z",
	} {
		if got := dateTime(in); got != want {
			t.Errorf("%q is read as %s, want %s", in, got, want)
		}
	}
}

func TestBand(t *testing.T) {
	for _, c := range []struct {
		channel, possible, standard, want string
	}{
		{"6", "", "", "2.4GHz"}, {"36", "", "", "5GHz"}, {"0", "36,40,44", "n", "5GHz"}, {"0", "1-13", "n", "2.4GHz"},
		{"0", "", "a", "5GHz"}, {"0", "", "ac", "5GHz"}, {"0", "", "g-only", "2.4GHz"}, {"0", "", "n", "2.4GHz"}, {"", "", "", "2.4GHz"},
		{"0", "", "11ac", "5GHz"}, {"0", "", "802.11ac", "5GHz"}, {"0", "", "a,n,ac", "5GHz"}, {"0", "", "bgn", "2.4GHz"},
	} {
		if got := band([]string{c.channel, c.possible, c.standard}); got != c.want {
			t.Errorf("channel %q of %q, standard %q: %s, want %s", c.channel, c.possible, c.standard, got, c.want)
		}
	}
}

func TestStandards(t *testing.T) {
	for in, want := range map[string]string{
		"b": "b", "g": "b,g", "n": "n", "bgn": "b,g,n", "g-only": "g", "ac": "ac", "11ac": "ac", "a,n,ac": "a,n,ac", "": "", "b/g/n": "b,g,n", "gn-mixed": "g,n",
		"11ax": "ax", "be": "be", "11be": "be", "n,ax,be": "n,ax,be",
	} {
		if got := standards([]string{in}); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

// What a controller writes is checked before the CPE is asked.
func TestCheckValue(t *testing.T) {
	std := testStandard(t)
	for _, c := range []struct {
		path, value string
		code        usp.ErrorCode
	}{
		{"Device.WiFi.SSID.{i}.Enable", "true", 0},
		{"Device.WiFi.SSID.{i}.Enable", "1", 0},
		{"Device.WiFi.SSID.{i}.Enable", "yes", usp.ErrInvalidType},
		{"Device.WiFi.SSID.{i}.SSID", "home", 0},
		{"Device.WiFi.SSID.{i}.SSID", strings.Repeat("x", 33), usp.ErrInvalidValue},
		{"Device.WiFi.SSID.{i}.SSID", "tab\t, line\n, \r, \x7f and \U0001f4f6", 0},
		{"Device.WiFi.SSID.{i}.SSID", "a\x01b", usp.ErrInvalidValue},
		{"Device.WiFi.SSID.{i}.SSID", "a\uffffb", usp.ErrInvalidValue},
		{"Device.WiFi.Radio.{i}.Channel", "36", 0},
		{"Device.WiFi.Radio.{i}.Channel", "0", usp.ErrInvalidValue},
		{"Device.WiFi.Radio.{i}.Channel", "256", usp.ErrInvalidValue},
		{"Device.WiFi.Radio.{i}.Channel", "-1", usp.ErrInvalidType},
		{"Device.WiFi.Radio.{i}.Channel", "6 ", usp.ErrInvalidType},
		{"Device.PPP.Interface.{i}.ConnectionTrigger", "OnDemand", 0},
		{"Device.PPP.Interface.{i}.ConnectionTrigger", "Sometimes", usp.ErrInvalidValue},
		{"Device.PPP.Interface.{i}.ConnectionTrigger", "X_EXAMPLE_Sometimes", 0},
		{"Device.WiFi.AccessPoint.{i}.Security.EncryptionMode", "TKIP,AES", 0},
		{"Device.WiFi.AccessPoint.{i}.Security.EncryptionMode", "TKIP,ROT13", usp.ErrInvalidValue},
		{"Device.NAT.PortMapping.{i}.ExternalPort", "65536", usp.ErrInvalidValue},
		{"Device.NAT.PortMapping.{i}.Protocol", "TCP", 0},
		{"Device.NAT.PortMapping.{i}.Protocol", "SCTP9", usp.ErrInvalidValue},
		{"Device.DHCPv4.Server.Pool.{i}.Option.{i}.Value", "0AFF", 0},
		{"Device.DHCPv4.Server.Pool.{i}.Option.{i}.Value", "xyz", usp.ErrInvalidType},
	} {
		e := std.elements[c.path]
		if e == nil {
			t.Errorf("Device:2 has no %s", c.path)
			continue
		}
		err := checkValue(c.path, c.value, &binding{node: e.node("P"), std: e})
		code := usp.ErrorCode(0)
		if err != nil {
			code = err.Code
		}
		if code != c.code {
			t.Errorf("%s = %q: %d, want %d (%v)", c.path, c.value, code, c.code, err)
		}
	}
}

// An overlay for certain devices goes before the files for all, parameter by
// parameter.
func TestOverlay(t *testing.T) {
	const overlay = `
mapping: example-hg1
root: InternetGatewayDevice.
for: {oui: "00005[Ee]", product_class: "HG.*"}
ages: {status: 5s}
objects:
  - target: Device.WiFi.SSID.{i}.
    source: LANDevice.{i}.WLANConfiguration.{i}.
    params:
      SSID: {from: SSID, enum: {home: HOME}, open: true}
  - target: Device.Optical.Interface.{i}.
    source: WANDevice.{i}.X_GponInterafceConfig.
    params:
      OpticalSignalLevel: {from: RXPower, mul: 1000}
`
	s := show(t, gatewaySet(t, "hg1.yaml", overlay), gatewayTree(t))
	for path, want := range map[string]string{
		"Device.WiFi.SSID.1.SSID":                       "HOME",
		"Device.WiFi.SSID.1.Enable":                     "true",
		"Device.WiFi.SSID.1.LowerLayers":                "Device.WiFi.Radio.1",
		"Device.Optical.Interface.1.OpticalSignalLevel": "-19000",
		"Device.Optical.InterfaceNumberOfEntries":       "1",
		"Device.WiFi.AccessPoint.1.SSIDReference":       "Device.WiFi.SSID.1",
		"Device.WiFi.SSID.2.SSID":                       "guests",
	} {
		if got := s.get(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if age := s.p.MaxAge(s.ref("Device.WiFi.SSID.1.Status").Node); age.String() != "5s" {
		t.Errorf("status may be %s old", age)
	}
	other, err := gatewaySet(t, "hg1.yaml", overlay).Compile(gatewayTree(t).Template(), Identity{OUI: "00005F", ProductClass: "HG1"})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(other.Mappings(), "example-hg1") || !strings.Contains(s.p.Mappings(), "example-hg1") {
		t.Errorf("in use: %s and %s", other.Mappings(), s.p.Mappings())
	}
}

// Rows and objects can hang on a condition; what they then do not show is raw.
func TestConditions(t *testing.T) {
	const conditional = `
mapping: conditional
root: InternetGatewayDevice.
objects:
  - target: Device.Ethernet.VLANTermination.{i}.
    source: WANDevice.{i}.WANConnectionDevice.{i}.WANIPConnection.{i}.
    when: {param: AddressingType, %s}
    params: {VLANID: X_EXAMPLE_VLAN}
`
	for when, want := range map[string]string{
		"is: [DHCP]": "7", "is: [Static]": "(absent)", "not: [Static]": "7", "not: [DHCP]": "(absent)", "exists: true": "7",
	} {
		s := show(t, gatewaySet(t, "c.yaml", fmt.Sprintf(conditional, when)), gatewayTree(t))
		if got := s.get("Device.Ethernet.VLANTermination.1.VLANID"); got != want {
			t.Errorf("when %s: %s, want %s", when, got, want)
		}
		if lost := unreachable(s, s.tree); len(lost) > 0 {
			t.Errorf("when %s: lost %v", when, lost)
		}
	}
}
