package translate

import (
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/usp"
)

func TestEndpointID(t *testing.T) {
	long := strings.Repeat("x", 45)
	for _, c := range []struct {
		name string
		id   cwmp.DeviceID
		want usp.EndpointID
	}{
		{"three parts", cwmp.DeviceID{OUI: "00259E", ProductClass: "EG8145V5", SerialNumber: "4857"}, "ops::00259E-EG8145V5-4857"},
		// Deviation: several CPE – have no product class; the endpoint ID is of the os scheme
		{"no product class", cwmp.DeviceID{OUI: "00259E", SerialNumber: "4857"}, "os::00259E-4857"},
		// Deviation: 20 of 138 messages – have blanks in the product class; they are escaped in the endpoint ID
		{"blank in the product class", cwmp.DeviceID{OUI: "E48D8C", ProductClass: "hEX lite", SerialNumber: "1"}, "ops::E48D8C-hEX%20lite-1"},
		{"hyphens are kept", cwmp.DeviceID{OUI: "00E04C", ProductClass: "W5-2100G", SerialNumber: "1"}, "ops::00E04C-W5-2100G-1"},
		{"colon and umlaut", cwmp.DeviceID{OUI: "A", ProductClass: "B", SerialNumber: "1:ü"}, "ops::A-B-1%3A%C3%BC"},
		{"too long with product class", cwmp.DeviceID{OUI: "00259E", ProductClass: long, SerialNumber: "4857"}, "os::00259E-4857"},
		{"too long in any case", cwmp.DeviceID{OUI: "00259E", ProductClass: "B", SerialNumber: long}, "uuid::38ef5ccd-a36c-544c-811c-ba1df4f0ea4b"},
		// Deviation: MikroTik CHR – has no serial number; the endpoint ID is a UUID
		{"no serial number", cwmp.DeviceID{OUI: "000000", ProductClass: "CHR"}, "uuid::"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := EndpointTemplate{DefaultEndpointTemplate}.EndpointID(c.id)
			if got != c.want && !(strings.HasPrefix(string(c.want), "uuid::") && strings.HasPrefix(string(got), "uuid::")) {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if again := (EndpointTemplate{DefaultEndpointTemplate}).EndpointID(c.id); again != got {
				t.Errorf("not stable: %s then %s", got, again)
			}
			if err := got.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
	a := EndpointTemplate{DefaultEndpointTemplate}.EndpointID(cwmp.DeviceID{OUI: "A", ProductClass: long + "1", SerialNumber: long + long})
	b := EndpointTemplate{DefaultEndpointTemplate}.EndpointID(cwmp.DeviceID{OUI: "A", ProductClass: long + "2", SerialNumber: long + long})
	if a == b {
		t.Errorf("two devices share %s", a)
	}
}

func TestParseEndpointTemplate(t *testing.T) {
	for _, c := range []struct{ template, wrong string }{
		{"", ""},
		{"ops::{oui}-{product_class}-{serial}", ""},
		{"proto::acme-{serial}", ""},
		{"proto::acme", "no {serial}"},
		{"proto::{serial}-{mac}", "only {oui}"},
		{"{serial}", "scheme:authority:instance"},
	} {
		_, err := ParseEndpointTemplate(c.template)
		if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%q: got error %v, want one with %q", c.template, err, c.wrong)
		}
	}
}
