package mapping

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp"
)

// radio is a CPE whose vendor says things in its own way.
const radio = `
InternetGatewayDevice.LANDevice.1.
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.SSID string home
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.X_V_Power int 200
InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.X_V_Rssi string -61/-92
InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.X_V_Fixed int 3
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.X_V_Servers string 192.0.2.1, 192.0.2.2
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.2.SSID string guests
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.2.X_V_Power int unknown
`

const radioMapping = `mapping: v
root: InternetGatewayDevice.
for: {oui: "00005E"}
objects:
  - target: Device.WiFi.Radio.{i}.
    source: LANDevice.{i}.WLANConfiguration.{i}.
    params:
      TransmitPower:
        inputs: {p: X_V_Power}
        read: int(p) / 2
        write: {p: "int(value) * 2"}
      PossibleChannels:
        inputs: {rssi: X_V_Rssi, p: X_V_Power}
        read: rssi.split('/')
  - target: Device.WiFi.SSID.{i}.
    source: LANDevice.{i}.WLANConfiguration.{i}.
    when: {inputs: {p: X_V_Power, name: SSID}, expr: "p != 'unknown' && name != ''"}
    params: {Name: SSID}
  - target: Device.DNS.Client.Server.{i}.
    source: LANDevice.{i}.WLANConfiguration.{i}.
    each: {list: X_V_Servers, most: 3}
    params:
      DNSServer: {from: X_V_Servers, item: each}
      Type: {const: Static}
`

// onlyRadio has no files but the one given, so that nothing else makes rows.
func onlyRadio(t *testing.T, text string) *Set {
	t.Helper()
	s := gatewaySet(t, "v.yaml", text)
	for _, f := range s.files {
		if f.mapping == "v" {
			return &Set{files: []*file{f}, standard: s.standard}
		}
	}
	t.Fatal("the file is not loaded")
	return nil
}

func radioTree(t *testing.T) *tree.Tree { return device(t, radio) }

func TestExpressions(t *testing.T) {
	s := show(t, onlyRadio(t, radioMapping), radioTree(t))
	for path, want := range map[string]string{
		"Device.WiFi.Radio.1.TransmitPower":    "100",
		"Device.WiFi.Radio.1.PossibleChannels": "-61,-92",
		"Device.WiFi.Radio.2.TransmitPower":    "(absent)", // int("unknown") is no number: nothing is made up
		"Device.WiFi.SSIDNumberOfEntries":      "1",        // by the condition
		"Device.WiFi.SSID.1.Name":              "home",
		"Device.DNS.Client.Server.1.DNSServer": "192.0.2.1",
		"Device.DNS.Client.Server.2.DNSServer": "192.0.2.2",
	} {
		if got := s.get(path); got != want {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}
	if n := len(s.Instances(s.ref("Device.DNS.Client.Server."))); n != 2 {
		t.Errorf("%d rows of a list of two items", n)
	}
}

func TestExpressionsAreWrittenBack(t *testing.T) {
	s := show(t, onlyRadio(t, radioMapping), radioTree(t))
	const wlan = "InternetGatewayDevice.LANDevice.1.WLANConfiguration."
	for _, c := range []struct {
		path, value string
		want        []cwmp.ParameterValue
		code        usp.ErrorCode
	}{
		{path: "Device.WiFi.Radio.1.TransmitPower", value: "50", want: set(wlan+"1.X_V_Power", cwmp.TypeInt, "100")},
		{path: "Device.WiFi.Radio.1.PossibleChannels", value: "1", code: usp.ErrReadOnly},
		{path: "Device.DNS.Client.Server.2.DNSServer", value: "192.0.2.9", want: set(wlan+"1.X_V_Servers", cwmp.TypeString, "192.0.2.1,192.0.2.9")},
		{path: "Device.DNS.Client.Server.2.DNSServer", value: "192.0.2.9,192.0.2.8", code: usp.ErrInvalidValue},
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

// What would not be read back as it was set is refused: the CPE has no such value.
func TestAValueThatDoesNotLeadBackIsRefused(t *testing.T) {
	for _, c := range []struct{ name, rule, value string }{
		{"expression", "{inputs: {p: X_V_Power}, read: int(p) / 2, write: {p: \"(int(value) / 10) * 20\"}}", "55"},
		{"unit", "{from: X_V_Power, mul: 10}", "55"},
	} {
		text := "mapping: v\nroot: InternetGatewayDevice.\nobjects:\n  - target: Device.WiFi.Radio.{i}.\n    source: LANDevice.{i}.WLANConfiguration.{i}.\n    params:\n      TransmitPower: " + c.rule + "\n"
		s := show(t, onlyRadio(t, text), radioTree(t))
		if _, err := s.Write(s.ref("Device.WiFi.Radio.1.TransmitPower"), c.value, nil); err == nil || err.Code != usp.ErrInvalidValue || !strings.Contains(err.Msg, "read back") {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := s.Write(s.ref("Device.WiFi.Radio.1.TransmitPower"), "50", nil); err != nil {
			t.Errorf("%s: a value that leads back: %v", c.name, err)
		}
	}
}

// Explain says why an expression makes no value, and why a value is read-only.
func TestExplainOfExpressions(t *testing.T) {
	s := show(t, onlyRadio(t, radioMapping), radioTree(t))
	if x := s.Explain(s.ref("Device.WiFi.Radio.2.TransmitPower")); !strings.Contains(x.Conversion, "int(p) / 2") || !strings.Contains(x.Conversion, "it fails") {
		t.Errorf("a failing expression is explained as %q", x.Conversion)
	}
	for path, want := range map[string]string{
		"Device.WiFi.Radio.1.TransmitPower":    "",
		"Device.WiFi.Radio.1.PossibleChannels": "the standard has it so",
		"Device.DNS.Client.Server.1.Type":      "the standard has it so",
		"Device.WiFi.SSID.1.Name":              "the standard has it so",
	} {
		if x := s.Explain(s.ref(path)); x.ReadOnly != want {
			t.Errorf("%s is read-only because %q, want %q", path, x.ReadOnly, want)
		}
	}
}

// An expression is bounded in size and in what it may cost, whatever the CPE's
// values are.
func TestExpressionsAreBounded(t *testing.T) {
	if _, err := compileExpression(strings.Repeat("a + ", 1000)+"a", []string{"a"}); err == nil {
		t.Error("an expression of 4,001 characters is taken")
	}
	x, err := compileExpression("a.split('').map(x, a.split('').map(y, x + y).join()).join()", []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := x.eval(map[string]any{"a": strings.Repeat("x", 2000)}); err == nil {
		t.Errorf("four million steps were made, for %d bytes", len(text))
	}
	if got, err := x.eval(map[string]any{"a": "ab"}); err != nil || got != "aaabbabb" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestProblemsOfExpressions(t *testing.T) {
	const head = "mapping: m\nroot: InternetGatewayDevice.\nobjects:\n  - target: Device.WiFi.Radio.{i}.\n    source: LANDevice.{i}.WLANConfiguration.{i}.\n"
	param := func(rule string) string { return head + "    params:\n      TransmitPower: " + rule + "\n" }
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"unknown variable", param("{inputs: {p: X}, read: q}"), []string{"f.yaml:7", "undeclared reference to 'q'"}},
		{"a word of CEL as name", param("{inputs: {type: X}, read: type}"), []string{"f.yaml:7", "another name"}},
		{"syntax", param("{inputs: {p: X}, read: \"p +\"}"), []string{"f.yaml:7", "Syntax error"}},
		{"types", param("{inputs: {p: X}, read: p + 1}"), []string{"f.yaml:7", "no matching overload"}},
		{"result", param("{inputs: {p: X}, read: \"{'a': p}\"}"), []string{"f.yaml:7", "a string, number, boolean or list"}},
		{"no names", param("{inputs: [X], read: x}"), []string{"f.yaml:7", "inputs with names"}},
		{"no read", param("{inputs: {p: X}, write: {p: value}}"), []string{"f.yaml:7", "read, an expression"}},
		{"write of no input", param("{inputs: {p: X}, read: p, write: {q: value}}"), []string{"f.yaml:7", `unknown key "q"`}},
		{"table and expression", param("{inputs: {p: X}, read: p, table: [{when: [a], value: b}]}"), []string{"f.yaml:7", "exclude each other"}},
		{"enum twice", param("{from: X, enum: {A: x, A: y}}"), []string{"f.yaml:7", "twice"}},
		{"row that never counts", param("{inputs: [A, B], table: [{when: [x, \"*\"], value: a}, {when: [x, y], value: b}]}"), []string{"f.yaml:7", "row 2", "never counts"}},
		{"condition of nothing", head + "    when: {is: [a]}\n", []string{"f.yaml:6", "param"}},
		{"condition of both", head + "    when: {param: A, inputs: {a: A}, expr: a == ''}\n", []string{"f.yaml:6", "stands for itself"}},
		{"condition without names", head + "    when: {expr: \"true\"}\n", []string{"f.yaml:6", "inputs with names"}},
		{"each of nothing", head + "    each: {most: 3}\n", []string{"f.yaml:6", "list"}},
		{"each of too many", head + "    each: {list: X, most: 99}\n", []string{"f.yaml:6", "1 to 16"}},
		{"item each without each", param("{from: X, item: each}"), []string{"f.yaml:7", "each in the object"}},
		{"item of parts", param("{from: X, item: 1.5}"), []string{"f.yaml:7", "whole number"}},
		{"example without usp", param("{from: X, examples: [{cpe: a}]}"), []string{"f.yaml:7", "cpe and usp"}},
		{"example back yes", param("{from: X, examples: [{cpe: a, usp: a, back: yes}]}"), []string{"f.yaml:7", "only no"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(files("f.yaml", c.text))
			if err == nil {
				t.Fatalf("no problem was found in\n%s", c.text)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

// Examples beside rules are tried in both directions.
func TestExamples(t *testing.T) {
	const head = "mapping: m\nroot: InternetGatewayDevice.\nobjects:\n  - target: Device.WiFi.Radio.{i}.\n    source: LANDevice.{i}.WLANConfiguration.{i}.\n    params:\n"
	for _, c := range []struct{ name, rule, problem string }{
		{"same value", "TransmitPower: {from: X, examples: [{cpe: \"7\", usp: \"7\"}]}", ""},
		{"enum", "Status: {from: X, enum: {up: Up, \"*\": Down}, examples: [{cpe: up, usp: Up}, {cpe: sleeping, usp: Down, back: no}]}", ""},
		{"enum wrong", "Status: {from: X, enum: {up: Up}, examples: [{cpe: up, usp: Down}]}", `reads as "Up", not "Down"`},
		{"enum not back", "AutoChannelEnable: {from: X, enum: {up: \"true\", \"*\": \"false\"}, examples: [{cpe: x, usp: \"false\"}]}", "back: no"},
		{"unit", "TransmitPower: {from: X, mul: 10, examples: [{cpe: \"7\", usp: \"70\"}]}", ""},
		{"boolean", "Enable: {from: X, not: true, examples: [{cpe: \"1\", usp: \"false\"}, {cpe: \"false\", usp: \"true\"}]}", ""},
		{"item", "TransmitPower: {from: X, item: 2, examples: [{cpe: \"7, 8\", usp: \"8\"}]}", ""},
		{"join", "PossibleChannels: {join: [A, B], examples: [{cpe: {A: \"1\", B: \"\"}, usp: \"1\"}, {cpe: {A: \"1\", B: \"2\"}, usp: \"1,2\"}]}", ""},
		{"derived", "OperatingFrequencyBand: {derive: \"band(Channel, P)\", examples: [{cpe: {Channel: \"36\"}, usp: 5GHz}]}", ""},
		{"table", "Status: {inputs: [A, B], table: [{when: [x, \"*\"], value: Up}, {when: [\"*\", y], value: Down}], examples: [{cpe: {A: x}, usp: Up}, {cpe: {B: y}, usp: Down}]}", ""},
		{"expression", "TransmitPower: {inputs: {p: X}, read: int(p) / 2, write: {p: \"int(value) * 2\"}, examples: [{cpe: \"8\", usp: \"4\"}, {cpe: \"9\", usp: \"4\"}]}", ""},
		{"expression not back", "TransmitPower: {inputs: {p: X}, read: int(p) / 2, write: {p: \"int(value) * 3\"}, examples: [{cpe: \"8\", usp: \"4\"}]}", "read back"},
		{"expression fails", "TransmitPower: {inputs: {p: X}, read: int(p), examples: [{cpe: a, usp: \"4\"}]}", "int"},
		{"unknown source", "TransmitPower: {from: X, examples: [{cpe: {Y: a}, usp: a}]}", "sources X only"},
		{"of several", "OperatingFrequencyBand: {derive: \"band(C, P)\", examples: [{cpe: a, usp: a}]}", "several sources"},
		{"reference", "LowerLayers: {from: X, ref: [\"Device.WiFi.Radio.{i}.\"], examples: [{cpe: a, usp: a}]}", "no examples"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := gatewaySet(t, "m.yaml", head+"      "+c.rule+"\n")
			var problem string
			count := 0
			for _, r := range s.Test() {
				if strings.HasPrefix(r.At, "m.yaml:7") {
					count++
					problem += r.Problem
				}
			}
			if count == 0 {
				t.Fatal("no example was tried")
			}
			if c.problem == "" && problem != "" || !strings.Contains(problem, c.problem) {
				t.Errorf("the problem is %q, want %q", problem, c.problem)
			}
		})
	}
}

// The examples in the embedded files hold.
func TestEmbeddedExamples(t *testing.T) {
	results := gatewaySet(t).Test()
	for _, r := range results {
		if r.Problem != "" {
			t.Errorf("%s: %s: %s: %s", r.At, r.Path, r.Example, r.Problem)
		}
	}
	if len(results) == 0 {
		t.Error("the embedded files have no examples")
	}
}
