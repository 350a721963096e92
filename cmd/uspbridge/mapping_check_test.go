package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDevicesAreConsistent: what controllers see of the simulated CPE, and of captured
// ones, contradicts nothing.
func TestDevicesAreConsistent(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("..", "..", "cwmp", "cpesim", "testdata", "*.capture"))
	if err != nil || len(names) == 0 {
		t.Fatalf("captures: %v, %v", names, err)
	}
	for _, model := range simulatedModels {
		names = append(names, modelFile(model))
	}
	for _, name := range names {
		got := runApp(t.Context(), nil, "mapping", "check", "--device", name)
		if got.code != 0 || got.stdout != name+": consistent\n" {
			t.Errorf("%s: exit %d:\n%s%s", name, got.code, got.stdout, got.stderr)
		}
	}
}

// TestCheckOfADevice: what a mapping makes wrong fails, what the CPE has wrong is
// told.
func TestCheckOfADevice(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const head = "Parameter,Object,Writable,Value,Value type\n"
	device := write("tree.csv", head+"InternetGatewayDevice.DeviceInfo.X_Text,false,false,abc,xsd:string\nInternetGatewayDevice.Time.Enable,false,true,1,xsd:boolean\n"+
		"InternetGatewayDevice.Time.Status,false,false,Asleep,xsd:string\n")
	mappings := write("mine.yaml", "mapping: mine\nroot: InternetGatewayDevice.\nfor: {product_class: '.*'}\nobjects:\n  - target: Device.Time.\n    source: Time.\n    params: {Status: Status}\n")

	got := runApp(t.Context(), nil, "mapping", "check", mappings, "--device", device)
	if got.code != 0 || !strings.Contains(got.stdout, `Device.Time.Status = "Asleep": "Asleep" is not one of`) || !strings.Contains(got.stdout, "the CPE has it so") {
		t.Errorf("the CPE's own value: exit %d:\n%s%s", got.code, got.stdout, got.stderr)
	}

	write("mine.yaml", "mapping: mine\nroot: InternetGatewayDevice.\nfor: {product_class: '.*'}\nobjects:\n  - target: Device.Time.\n    source: Time.\n    params: {Status: {inputs: {s: Status}, read: s + 'ing'}}\n")
	got = runApp(t.Context(), nil, "mapping", "check", mappings, "--device", device, "--json")
	var r checked
	if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || got.code != 1 || r.OK || len(r.Devices) != 1 || r.Devices[0].Inconsistencies[0].Rule != "mine.yaml:7" {
		t.Errorf("a mapping's value: exit %d, %v, %+v:\n%s%s", got.code, err, r, got.stdout, got.stderr)
	}

	var two strings.Builder
	for _, name := range []string{"dsl-gateway.capture", "small-router.capture"} {
		capture, err := os.ReadFile(filepath.Join("..", "..", "cwmp", "cpesim", "testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		two.Write(capture)
	}
	got = runApp(t.Context(), nil, "mapping", "check", "--device", write("two.capture", two.String()))
	if got.code != 1 || !strings.Contains(got.stderr, "two.capture: there are 2 devices in the capture; one is wanted") {
		t.Errorf("two devices: exit %d:\n%s%s", got.code, got.stdout, got.stderr)
	}
	if got := runApp(t.Context(), nil, "mapping", "check"); got.code != 2 {
		t.Errorf("nothing to check: exit %d", got.code)
	}
}
