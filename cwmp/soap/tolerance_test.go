package soap_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

var testDevice = cwmp.DeviceID{Manufacturer: "M", OUI: "0011AB", ProductClass: "C", SerialNumber: "S"}

const testDeviceXML = `<DeviceId><Manufacturer>M</Manufacturer><OUI>0011AB</OUI><ProductClass>C</ProductClass><SerialNumber>S</SerialNumber></DeviceId>`

// informWith is an Inform with more arguments than its DeviceId.
func informWith(arguments string) string {
	return envelope("", `<cwmp:Inform>`+testDeviceXML+arguments+`</cwmp:Inform>`)
}

func transferComplete(arguments string) string {
	return envelope("", `<cwmp:TransferComplete>`+arguments+`</cwmp:TransferComplete>`)
}

// typedValue is the one value of oneValue.
func typedValue(typ cwmp.Type, text string) cwmp.ParameterValue {
	return cwmp.ParameterValue{Name: "Device.A", Value: cwmp.Value{Type: typ, Text: text}}
}

const reboot = `<cwmp:RebootResponse/>`

var rebooted = &cwmp.RebootResponse{}

func utf16LE(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteByte(byte(r))
		b.WriteByte(byte(r >> 8))
	}
	return b.String()
}

func TestTolerances(t *testing.T) {
	for _, tt := range tolerances {
		t.Run(tt.name+"/"+tt.what, func(t *testing.T) {
			e, err := soap.Read([]byte(tt.body), tt.contentType, soap.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if d := diff(tt.want, e.Body); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestHeaderTolerances has what an answer's header depends on: the ID, which is
// echoed, and the version, which is kept.
func TestHeaderTolerances(t *testing.T) {
	const head = "<soap-env:Header></soap-env:Header>"
	id := func(inside string) string {
		return strings.Replace(envelope("", reboot), head, "<soap-env:Header>"+inside+"</soap-env:Header>", 1)
	}
	version := func(namespace string) string {
		return strings.Replace(envelope("", reboot), "urn:dslforum-org:cwmp-1-0", namespace, 1)
	}
	tests := []struct {
		name, body string
		want       soap.Envelope
	}{
		// Deviation: several CPE – send no cwmp:ID, an empty one, 0, or always the same word; what came is echoed, and an answer of the one RPC outstanding is its answer without it
		{"no ID", id(""), soap.Envelope{}},
		{"an empty ID", id("<cwmp:ID/>"), soap.Envelope{HasID: true}},
		{"ID 0", id("<cwmp:ID>0</cwmp:ID>"), soap.Envelope{ID: "0", HasID: true}},
		{"an ID with blanks is echoed with them", id("<cwmp:ID> a b </cwmp:ID>"), soap.Envelope{ID: " a b ", HasID: true}},
		{"an ID on a line of its own", id("<cwmp:ID>\n\ta\n</cwmp:ID>"), soap.Envelope{ID: "a", HasID: true}},
		{"an ID without namespace", id("<ID>a</ID>"), soap.Envelope{ID: "a", HasID: true}},
		{"the ID of a namespace of another version", id(`<c:ID xmlns:c="urn:dslforum-org:cwmp-1-2">a</c:ID>`), soap.Envelope{ID: "a", HasID: true}},
		// Deviation: as a precaution – headers that nobody knows, marked with mustUnderstand; they are passed over
		{"headers of others", id(`<x:Y xmlns:x="urn:x" soap-env:mustUnderstand="1"><ID>b</ID></x:Y><cwmp:ID>a</cwmp:ID>`), soap.Envelope{ID: "a", HasID: true}},
		{"numbers that are none", id(`<cwmp:SessionTimeout>long</cwmp:SessionTimeout><cwmp:HoldRequests>0</cwmp:HoldRequests>`), soap.Envelope{}},
		// Deviation: as a precaution – a CWMP namespace with a slash behind it, or a number above 1-4; it is read as the version that is meant, 1.4 at most
		{"version with a slash behind", version("urn:dslforum-org:cwmp-1-2/"), soap.Envelope{Version: cwmp.Version1_2}},
		{"version to come", version("urn:dslforum-org:cwmp-1-7"), soap.Envelope{Version: cwmp.Version1_4}},
		{"version of nobody, on an element that is not qualified", strings.ReplaceAll(version("urn:cwmp"), "cwmp:Reboot", "Reboot"), soap.Envelope{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := soap.Read([]byte(tt.body), "", soap.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			tt.want.Body = rebooted
			if d := diff(&tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestTolerancesListed holds the list in tolerance.go and the rows together.
func TestTolerancesListed(t *testing.T) {
	source, err := os.ReadFile("tolerance.go")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^//\t(\w+) `).FindAllStringSubmatch(string(source), -1) {
		listed[m[1]] = true
	}
	tested := map[string]bool{}
	for _, tt := range tolerances {
		tested[tt.name] = true
	}
	if d := diff(listed, tested); d != "" || len(listed) == 0 {
		t.Errorf("listed and tested tolerances differ: %s", d)
	}
}
