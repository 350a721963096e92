package cwmp_test

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/uspbridge/uspbridge/cwmp"
)

// Deviation: several CPE – have blanks, hyphens or an OUI in lower case in their identity; the key of a device keeps them apart byte for byte
func TestDeviceKey(t *testing.T) {
	tests := []struct {
		name string
		id   cwmp.DeviceID
		want cwmp.DeviceKey
	}{
		{"plain", cwmp.DeviceID{Manufacturer: "M", OUI: "00D09E", ProductClass: "Router_2.0", SerialNumber: "S1"}, "00D09E-Router_2.0-S1"},
		{"the manufacturer does not matter", cwmp.DeviceID{Manufacturer: "N", OUI: "00D09E", ProductClass: "Router_2.0", SerialNumber: "S1"}, "00D09E-Router_2.0-S1"},
		{"no product class", cwmp.DeviceID{OUI: "00D09E", SerialNumber: "S1"}, "00D09E--S1"},
		{"blank and separator", cwmp.DeviceID{OUI: "00D09E", ProductClass: "Speed Touch-7", SerialNumber: "ä%"}, "00D09E-Speed%20Touch%2D7-%C3%A4%25"},
		{"case is kept", cwmp.DeviceID{OUI: "00d09e", ProductClass: "r", SerialNumber: "s"}, "00d09e-r-s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.id.Key(); got != tt.want {
				t.Errorf("key %s, want %s", got, tt.want)
			}
		})
	}
}

// TestDeviceKeyUnique: two CPE have the same key only if all three parts are equal.
func TestDeviceKeyUnique(t *testing.T) {
	part := rapid.StringOf(rapid.SampledFrom([]rune("aA-%2D. ä")))
	rapid.Check(t, func(t *rapid.T) {
		a := cwmp.DeviceID{OUI: part.Draw(t, "OUI"), ProductClass: part.Draw(t, "class"), SerialNumber: part.Draw(t, "serial")}
		b := cwmp.DeviceID{OUI: part.Draw(t, "OUI"), ProductClass: part.Draw(t, "class"), SerialNumber: part.Draw(t, "serial")}
		if (a == b) != (a.Key() == b.Key()) {
			t.Fatalf("%+v and %+v have keys %s and %s", a, b, a.Key(), b.Key())
		}
	})
}

func TestPath(t *testing.T) {
	tests := []struct {
		path    cwmp.Path
		partial bool
		root    cwmp.Path
	}{
		{"", true, ""},
		{"Device.", true, "Device."},
		{"InternetGatewayDevice.DeviceInfo.UpTime", false, "InternetGatewayDevice."},
		{".ExternalIPAddress", false, "."},
		{"Device", false, ""},
	}
	for _, tt := range tests {
		if got := tt.path.IsPartial(); got != tt.partial {
			t.Errorf("%q partial: %v", tt.path, got)
		}
		if got := tt.path.Root(); got != tt.root {
			t.Errorf("root of %q: %q, want %q", tt.path, got, tt.root)
		}
	}
}

// Deviation: as a precaution – the CWMP namespace of a version to come, or with something behind its number; it is read as the version that is meant, 1.4 at most
func TestVersionOfNamespace(t *testing.T) {
	tests := []struct {
		namespace string
		want      cwmp.Version
		ok        bool
	}{
		{"urn:dslforum-org:cwmp-1-0", cwmp.Version1_0, true},
		{"urn:dslforum-org:cwmp-1-2", cwmp.Version1_2, true},
		{" urn:dslforum-org:cwmp-1-4\n", cwmp.Version1_4, true},
		{"urn:dslforum-org:cwmp-1-0/", cwmp.Version1_0, true},
		{"urn:dslforum-org:cwmp-1-01", cwmp.Version1_1, true},
		{"urn:dslforum-org:cwmp-1-5", cwmp.Version1_4, true},
		{"urn:dslforum-org:cwmp-1-10", cwmp.Version1_4, true},
		{"urn:dslforum-org:cwmp-1-", 0, false},
		{"urn:dslforum-org:cwmp-1-x", 0, false},
		{"urn:dslforum-org:cwmp-2-0", 0, false},
		{"", 0, false},
	}
	for _, tt := range tests {
		if v, ok := cwmp.VersionOfNamespace(tt.namespace); v != tt.want || ok != tt.ok {
			t.Errorf("%q is %v %v, want %v %v", tt.namespace, v, ok, tt.want, tt.ok)
		}
	}
	for v := cwmp.Version1_0; v <= cwmp.Version1_4; v++ {
		if got, ok := cwmp.VersionOfNamespace(v.Namespace()); got != v || !ok {
			t.Errorf("%v reads back as %v", v, got)
		}
	}
}

func TestInformParameterAndEvent(t *testing.T) {
	m := &cwmp.Inform{Events: []cwmp.Event{{Code: cwmp.EventBoot}}, ParameterList: []cwmp.ParameterValue{
		{Name: ".ExternalIPAddress", Value: cwmp.Value{Text: "1"}},
		{Name: "InternetGatewayDevice.DeviceInfo.SoftwareVersion", Value: cwmp.Value{Text: "2"}}}}
	if v, ok := m.Parameter("DeviceInfo.SoftwareVersion"); !ok || v.Text != "2" {
		t.Errorf("SoftwareVersion is %v %v", v, ok)
	}
	if _, ok := m.Parameter("SoftwareVersion"); ok {
		t.Error("a path that is not directly below the root was found")
	}
	if !m.HasEvent(cwmp.EventBoot) || m.HasEvent(cwmp.EventPeriodic) {
		t.Error("HasEvent does not tell BOOT from PERIODIC")
	}
}

func TestFault(t *testing.T) {
	f := &cwmp.Fault{Code: cwmp.FaultInvalidArguments, Text: "Invalid arguments",
		Parameters: []cwmp.ParameterFault{{Name: "Device.A", Code: 9007, Text: "too long"}}}
	var found *cwmp.Fault
	if !errors.As(fmt.Errorf("set: %w", f), &found) || found != f {
		t.Error("a wrapped fault is not found")
	}
	if got, want := f.Error(), "CWMP fault 9003: Invalid arguments; Device.A: 9007 too long"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
}

// TestFaultIs: a fault is found by its code behind any wrapping, and by no other.
func TestFaultIs(t *testing.T) {
	err := fmt.Errorf("get: %w", &cwmp.Fault{Code: cwmp.FaultInvalidArguments, Parameters: []cwmp.ParameterFault{{Code: cwmp.FaultInvalidParameterName}}})
	if !errors.Is(err, cwmp.FaultInvalidArguments) {
		t.Error("a fault is not found by its code")
	}
	if errors.Is(err, cwmp.FaultInternalError) || errors.Is(err, cwmp.FaultInvalidParameterName) {
		t.Error("a fault is found by a code that is not its own")
	}
	if !errors.Is(&cwmp.Fault{Code: 9800}, cwmp.FaultCode(9800)) {
		t.Error("a vendor's fault is not found by its code")
	}
	for code, want := range map[cwmp.FaultCode]string{9005: "CWMP fault 9005: Invalid parameter name", 9800: "CWMP fault 9800"} {
		if got := code.Error(); got != want {
			t.Errorf("error %q, want %q", got, want)
		}
	}
}

// TestFaultCodes: every code of the standard has its wording, and no vendor's has.
func TestFaultCodes(t *testing.T) {
	for code := cwmp.FaultCode(0); code < 10000; code++ {
		standard := code >= cwmp.FaultMethodNotSupported && code <= cwmp.FaultInvalidDUStateVersionExists ||
			code >= cwmp.FaultACSMethodNotSupported && code <= cwmp.FaultACSIncompatible
		if (code.Text() != "") != standard {
			t.Errorf("%d has text %q", uint16(code), code.Text())
		}
		if code.ByACS() != (code/1000 == 8) {
			t.Errorf("%d by the ACS: %v", uint16(code), code.ByACS())
		}
	}
}
