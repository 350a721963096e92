package mapping

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/uspbridge/uspbridge/mappings"
)

// files is a folder of mapping files, given as name, text, name, text …
func files(pairs ...string) fs.FS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return m
}

func testStandard(t testing.TB) *standard {
	t.Helper()
	std, err := parseStandard(mappings.Device2)
	if err != nil {
		t.Fatal(err)
	}
	return std
}

func TestEmbeddedFilesLoad(t *testing.T) {
	s, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tr181", "tr098-wifi", "tr098-lan", "tr098-wan"} {
		if !strings.Contains(" "+strings.Join(s.Names(), " ")+" ", " "+name+" ") {
			t.Errorf("mapping %s is not among %v", name, s.Names())
		}
	}
}

// Every problem names the file and the line, and what to write instead where
// that can be guessed.
func TestProblemsAreToldWithFileAndLine(t *testing.T) {
	const head = "mapping: m\nroot: InternetGatewayDevice.\n"
	const object = head + "objects:\n  - target: Device.WiFi.SSID.{i}.\n    source: LANDevice.{i}.WLANConfiguration.{i}.\n"
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"empty file", "", []string{"f.yaml", "empty"}},
		{"not a map", "- a\n", []string{"f.yaml:1", "map is expected"}},
		{"broken YAML", "mapping: [\n", []string{"f.yaml", "line"}},
		{"unknown key", head + "objekts: []\n", []string{"f.yaml:3", `unknown key "objekts"`, "objects"}},
		{"repeated key", head + "root: Device.\n", []string{"f.yaml:3", "root", "twice"}},
		{"no name", "root: Device.\n", []string{"f.yaml", "mapping", "missing"}},
		{"root without dot", "mapping: m\nroot: Device\n", []string{"f.yaml:2", "dot"}},
		{"bad selector", head + "for: {oui: \"[\"}\n", []string{"f.yaml:3", "for.oui"}},
		{"unknown selector", head + "for: {serial: x}\n", []string{"f.yaml:3", "serial", "product_class"}},
		{"bad age", head + "ages: {status: soon}\n", []string{"f.yaml:3", "ages.status", "soon"}},
		{"unknown class", head + "ages: {fast: 1s}\n", []string{"f.yaml:3", "fast", "counter"}},
		{"bad class rule", head + "classes: [{match: Device.X}]\n", []string{"f.yaml:3", "match and class"}},
		{"unknown class in a rule", head + "classes: [{match: Device.X, class: fast}]\n", []string{"f.yaml:3", "fast", "counter"}},
		{"too many by aliases", head + "objects:\n  - &o {target: Device.X_T., source: A., params: {" + manyParams(600) + "}}\n" + strings.Repeat("  - *o\n", 100), []string{"more than"}},
		{"unknown target", head + "objects:\n  - target: Device.Wifi.SSID.{i}.\n    source: X.\n", []string{"f.yaml:4", "Device.Wifi.SSID.{i}.", "did you mean Device.WiFi.SSID.{i}.?"}},
		{"no target", head + "objects:\n  - source: X.\n", []string{"f.yaml:4", "target"}},
		{"source without dot", head + "objects:\n  - target: Device.Time.\n    source: Time\n", []string{"f.yaml:5", "dot"}},
		{"unknown parameter", object + "    params:\n      SSSID: SSID\n", []string{"f.yaml:7", "Device.WiFi.SSID.{i}.SSSID"}},
		{"parameter of another object", object + "    params:\n      Channel: Channel\n", []string{"f.yaml:7", "did you mean Device.WiFi."}},
		{"parameter twice", object + "    params:\n      SSID: A\n      SSID: B\n", []string{"f.yaml:8", "SSID", "twice"}},
		{"misspelt parameter", object + "    params:\n      Enabel: Enable\n", []string{"f.yaml:7", "did you mean Device.WiFi.SSID.{i}.Enable?"}},
		{"unknown conversion", object + "    params:\n      SSID: {from: SSID, upper: true}\n", []string{"f.yaml:7", `"upper"`}},
		{"no source", object + "    params:\n      SSID: {not: true}\n", []string{"f.yaml:7", "exactly one of"}},
		{"two sources", object + "    params:\n      SSID: {from: SSID, const: x}\n", []string{"f.yaml:7", "exactly one of"}},
		{"multiply by nothing", object + "    params:\n      SSID: {from: SSID, mul: 0}\n", []string{"f.yaml:7", "number"}},
		{"unknown function", object + "    params:\n      SSID: {derive: guess(SSID)}\n", []string{"f.yaml:7", "guess"}},
		{"no function", object + "    params:\n      SSID: {derive: SSID}\n", []string{"f.yaml:7", "name(Parameter"}},
		{"reference to nothing", object + "    params:\n      LowerLayers: {from: X, ref: [\"Device.Radio.{i}.\"]}\n", []string{"f.yaml:7", "Device.Radio.{i}."}},
		{"cells", object + "    params:\n      SSID:\n        inputs: [A, B]\n        table:\n          - {when: [x], value: y}\n", []string{"f.yaml:8", "1 cells for 2 inputs"}},
		{"constant of another type", object + "    params:\n      Enable: {const: \"on\"}\n", []string{"f.yaml:7", `"on" is no boolean`}},
		{"value that Device:2 has not", object + "    params:\n      Status: {from: Status, enum: {Up: Working}}\n", []string{"f.yaml:7", `"Working" is not one of Up, Down`}},
		{"value of a table", object + "    params:\n      Status:\n        inputs: [A]\n        table: [{when: [x], value: Asleep}]\n", []string{"f.yaml:7", `"Asleep" is not one of`}},
		{"any of a constant", object + "    params:\n      SSID: {const: x, any: x}\n", []string{"f.yaml:7", "any goes with from"}},
		{"around without dot", object + "    around: LANDevice.{i}\n", []string{"f.yaml:6", "dot"}},
		{"setting which row it is", object + "    params:\n      SSID: {inputs: {n: \"{i}\", s: SSID}, read: s + n, write: {n: value}}\n", []string{"f.yaml:7", `unknown key "n"`}},
		{"access", object + "    params:\n      SSID: {from: SSID, access: none}\n", []string{"f.yaml:7", "readOnly"}},
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

func manyParams(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "X_%d: A,", i)
	}
	return b.String()
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	_, err := Load(files(
		"a.yaml", "mapping: a\nroot: Device.\nobjects:\n  - target: Device.Nowhere.\n    source: X.\n  - target: Device.Time.\n    source: Time.\n    params: {Nothing: A, Never: B}\n",
		"b.yaml", "mapping: b\nroot: Device.\nwhat: 1\n",
	))
	if err == nil {
		t.Fatal("no problem was found")
	}
	for _, want := range []string{"a.yaml:4", "Nothing", "Never", "b.yaml:3"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestAFileOfTheSameNameReplacesTheEmbeddedOne(t *testing.T) {
	s, err := Load(files("mine.yaml", "mapping: tr098-wifi\nroot: InternetGatewayDevice.\nobjects: []\n"))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, f := range s.files {
		if f.mapping == "tr098-wifi" {
			count++
			if f.name != "mine.yaml" {
				t.Errorf("%s is in use", f.name)
			}
		}
	}
	if count != 1 {
		t.Errorf("%d files are named tr098-wifi", count)
	}
}

func TestTwoFilesOfOneFolderMustNotHaveOneName(t *testing.T) {
	const text = "mapping: m\nroot: Device.\nobjects: []\n"
	_, err := Load(files("a.yaml", text, "b.yaml", text))
	if err == nil || !strings.Contains(err.Error(), "a.yaml") || !strings.Contains(err.Error(), "b.yaml") {
		t.Errorf("got %v", err)
	}
}

// The table of the standard: what the rest of the package relies on.
func TestStandardTable(t *testing.T) {
	std := testStandard(t)
	ssid := std.elements["Device.WiFi.SSID.{i}."]
	if ssid == nil || ssid.count != "SSIDNumberOfEntries" || len(ssid.unique) == 0 {
		t.Fatalf("Device.WiFi.SSID.{i}. is %+v", ssid)
	}
	status := std.elements["Device.WiFi.SSID.{i}.Status"]
	if status == nil || !strings.Contains(strings.Join(status.enum, " "), "LowerLayerDown") {
		t.Errorf("Status is %+v", status)
	}
	if key := std.elements["Device.WiFi.AccessPoint.{i}.Security.KeyPassphrase"]; key == nil || !key.secured {
		t.Errorf("KeyPassphrase is %+v", key)
	}
	ping := std.elements["Device.IP.Diagnostics.IPPing()"]
	if ping == nil || !ping.async || len(ping.in) == 0 || len(ping.out) == 0 {
		t.Errorf("IPPing() is %+v", ping)
	}
	if boot := std.elements["Device.Boot!"]; boot == nil || len(boot.out) == 0 {
		t.Errorf("Boot! is %+v", boot)
	}
	if std.elements["Device.Services.VoiceService.{i}."] == nil {
		t.Error("services are missing")
	}
}

func FuzzLoad(f *testing.F) {
	std, err := parseStandard(mappings.Device2)
	if err != nil {
		f.Fatal(err)
	}
	err = fs.WalkDir(mappings.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(mappings.Files, name)
		f.Add(b)
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("mapping: m\nroot: Device.\nobjects:\n- &a {target: Device.Time., source: '', params: {Enable: {from: [A, B], enum: {'*': x}}}}\n- *a\n"))
	f.Add([]byte("mapping: m\nroot: A.\nobjects: [1, {same: 2}, {key: {derive: band()}}, {params: [3]}]"))
	template := gatewayTree(f).Template()
	f.Fuzz(func(t *testing.T, b []byte) {
		doc, err := parseYAML("f.yaml", b)
		if err != nil {
			return
		}
		s := &Set{standard: std}
		if err := s.add("f.yaml", doc, map[string]string{}); err != nil {
			return
		}
		// What loads must also compile.
		s.Profile(Identity{})
		if _, err := s.Compile(template, Identity{}); err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
	})
}
