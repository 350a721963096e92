package capture

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAnonymise: who it is, is replaced by the same throughout; what a device is
// and how its network is laid out stays.
func TestAnonymise(t *testing.T) {
	a := newAnonymiser()
	id := a.device(deviceOf(device))
	if id.SerialNumber != "ANON000001" || id.OUI != "00AA01" || id.ProductClass != "Box" {
		t.Errorf("the device is %+v", id)
	}
	tests := []struct{ name, value, want string }{
		{"Device.DeviceInfo.SerialNumber", "AC1234567", "ANON000001"},
		{"Device.DeviceInfo.SoftwareVersion", "10.0.0.138", "10.0.0.138"},
		{"Device.ManagementServer.ConnectionRequestURL", "http://100.64.3.4:7547/AC1234567", "http://198.18.0.1:7547/ANON000001"},
		{"Device.IP.Interface.1.IPv4Address.1.IPAddress", "100.64.3.4", "198.18.0.1"},
		{"Device.IP.Interface.1.IPv4Address.1.SubnetMask", "255.255.255.0", "255.255.255.0"},
		{"Device.DHCPv4.Server.Pool.1.MinAddress", "192.168.1.64", "192.168.1.64"},
		{"Device.IP.Interface.1.IPv6Address.1.IPAddress", "2003:ab::1", "2001:db8::1"},
		{"Device.WiFi.SSID.1.BSSID", "00:AA:01:12:34:56", "00:AA:01:00:00:01"},
		{"Device.Hosts.Host.1.PhysAddress", "00-aa-01-12-34-56", "00-aa-01-00-00-01"},
		{"Device.WiFi.SSID.1.SSID", "Family Miller", "ssid-1"},
		{"Device.WiFi.SSID.2.SSID", "Family Miller", "ssid-1"},
		{"Device.PPP.Interface.1.Username", "miller@isp.example", "name-1"},
		{"Device.WiFi.SSID.1.Status", "Up", "Up"},
		{"Device.X.Password", Mask, Mask},
	}
	for _, tt := range tests {
		got := string(a.body([]byte(envelope(values(value(tt.name, tt.value))))))
		if diff := cmp.Diff(envelope(values(value(tt.name, tt.want))), got); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
	}
}

// TestAnonymisedCapture: nothing of the capture names the device, its header
// neither.
func TestAnonymisedCapture(t *testing.T) {
	var hub Hub
	c, err := hub.Start(Options{Wanted: "ops::00AA01-Box-AC1234567", Anonymise: true, Sessions: 1, Match: wantOnly("AC1234567")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := hub.Session(device, "100.64.3.4:5000")
	s.Record(fromCPE(0, "100.64.3.4:5000", envelope(`<cwmp:Inform><DeviceId><SerialNumber>AC1234567</SerialNumber></DeviceId></cwmp:Inform>`), "User-Agent", "box/AC1234567"))
	s.End("ok")
	got := all(t, c)
	if strings.Contains(got, "AC1234567") || strings.Contains(got, "100.64.3.4") || strings.Count(got, "ANON000001") != 4 {
		t.Errorf("the device is named in\n%s", got)
	}
}
