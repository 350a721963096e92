package mapping

import (
	"testing"
)

const twoHosts = `
Device.Hosts.HostNumberOfEntries unsignedInt 2
Device.Hosts.Host.1.PhysAddress string 00:00:5E:00:53:01
+Device.Hosts.Host.1.Active boolean 1
Device.Hosts.Host.1.IPv4Address.1.IPAddress string 192.0.2.1
Device.Hosts.Host.2.PhysAddress string 00:00:5E:00:53:02
Device.Hosts.Host.2.IPv4Address.1.IPAddress string 192.0.2.2
Device.Hosts.Host.2.AssociatedDevice string Device.WiFi.AccessPoint.1.AssociatedDevice.1.
Device.WiFi.AccessPoint.1.AssociatedDevice.1.MACAddress string 00:00:5E:00:53:02
`

const renumbered = `
Device.Hosts.HostNumberOfEntries unsignedInt 2
Device.Hosts.Host.1.PhysAddress string 00:00:5E:00:53:02
Device.Hosts.Host.1.IPv4Address.1.IPAddress string 192.0.2.2
Device.Hosts.Host.1.AssociatedDevice string Device.WiFi.AccessPoint.1.AssociatedDevice.4.
Device.Hosts.Host.2.PhysAddress string 00:00:5E:00:53:01
Device.Hosts.Host.2.IPv4Address.1.IPAddress string 192.0.2.1
Device.WiFi.AccessPoint.1.AssociatedDevice.4.MACAddress string 00:00:5E:00:53:02
`

// Deviation: CPE with Device:2 – hosts and stations have other numbers after a boot;
// controllers see each under the number it had, with all that is in it and all that
// refers to it.
func TestHostsOfDevice2KeepTheirNumbers(t *testing.T) {
	s := show(t, gatewaySet(t), device(t, twoHosts))
	check := func(s *shown) {
		t.Helper()
		for path, want := range map[string]string{
			"Device.Hosts.HostNumberOfEntries":                        "2",
			"Device.Hosts.Host.1.PhysAddress":                         "00:00:5E:00:53:01",
			"Device.Hosts.Host.2.PhysAddress":                         "00:00:5E:00:53:02",
			"Device.Hosts.Host.1.IPv4Address.1.IPAddress":             "192.0.2.1",
			"Device.Hosts.Host.2.IPv4Address.1.IPAddress":             "192.0.2.2",
			"Device.Hosts.Host.2.AssociatedDevice":                    "Device.WiFi.AccessPoint.1.AssociatedDevice.1",
			"Device.WiFi.AccessPoint.1.AssociatedDevice.1.MACAddress": "00:00:5E:00:53:02",
		} {
			if got := s.get(path); got != want {
				t.Errorf("%s = %q, want %q", path, got, want)
			}
		}
		for _, x := range s.Inconsistencies() {
			t.Errorf("%s = %q: %s", x.Path, x.Value, x.Text)
		}
	}
	check(s)
	d := device(t, renumbered).Onto(s.p.Template())
	n, created, deleted, _ := s.p.Reconcile(d, s.n)
	if len(created)+len(deleted) > 0 {
		t.Errorf("created %v, deleted %v", created, deleted)
	}
	check(&shown{View: s.p.View(d, n, nil), p: s.p, n: n, t: t})
}
