package mapping

import (
	"path"
	"strings"
	"testing"
)

// TestVendorTrees: what controllers see of devices of all kinds contradicts nothing,
// and what makes each kind has its place in Device:2. Each embedded file has its part
// in one of them at least.
func TestVendorTrees(t *testing.T) {
	set := gatewaySet(t)
	shows := map[string]bool{} // embedded files
	for _, c := range []struct {
		name, lines string
		want        map[string]string
	}{
		{"gateway", gateway, map[string]string{"Device.WiFi.SSIDNumberOfEntries": "3"}},
		{"PON", ponRouter, map[string]string{
			"Device.Optical.Interface.1.Status":                  "Up",
			"Device.Optical.Interface.1.OpticalSignalLevel":      "-19300",
			"Device.PPP.Interface.1.LowerLayers":                 "Device.Ethernet.VLANTermination.1",
			"Device.Ethernet.VLANTermination.1.VLANID":           "10",
			"Device.Ethernet.VLANTermination.1.LowerLayers":      "Device.Ethernet.Link.2",
			"Device.Ethernet.Link.2.LowerLayers":                 "Device.Optical.Interface.1",
			"Device.Routing.Router.1.IPv4Forwarding.1.Interface": "Device.IP.Interface.3",
			"Device.DNS.Client.Server.2.DNSServer":               "192.0.2.2",
			"Device.DNS.Client.Status":                           "Enabled",
			"Device.PPP.Interface.1.X_HW_VLAN":                   "10",
			"Device.IP.Interface.3.IPv6Address.1.IPAddress":      "2001:db8::7",
			"Device.Ethernet.Interface.2.MaxBitRate":             "-1",
			"Device.PPP.Interface.1.IPCP.LocalIPAddress":         "198.51.100.7",
			"Device.IP.Interface.2.Status":                       "Down",
			"Device.NAT.InterfaceSetting.1.Status":               "Enabled",
			"Device.InterfaceStackNumberOfEntries":               "12",
		}},
		{"DSL", dslRouter, map[string]string{
			"Device.DSL.Line.1.LinkStatus":                              "Up",
			"Device.DSL.Line.1.DownstreamMaxBitRate":                    "61000",
			"Device.DSL.Line.1.DownstreamNoiseMargin":                   "93",
			"Device.DSL.Line.1.XTURVendor":                              "4244434D",
			"Device.DSL.Channel.1.DownstreamCurrRate":                   "49999",
			"Device.DSL.Channel.1.Stats.Total.XTURFECErrors":            "12",
			"Device.DSL.Channel.1.Stats.Total.XTUCFECErrors":            "3",
			"Device.PTM.Link.1.LowerLayers":                             "Device.DSL.Channel.1",
			"Device.ATM.Link.1.DestinationAddress":                      "8/35",
			"Device.ATM.Link.1.LinkType":                                "EoA",
			"Device.PPP.Interface.1.LowerLayers":                        "Device.Ethernet.Link.3",
			"Device.Ethernet.Link.3.LowerLayers":                        "Device.ATM.Link.1",
			"Device.PPP.Interface.2.LowerLayers":                        "Device.ATM.Link.2",
			"Device.Ethernet.LinkNumberOfEntries":                       "3",
			"Device.PPP.Interface.1.CompressionProtocol":                "Van Jacobson",
			"Device.QoS.Shaper.1.Enable":                                "true",
			"Device.Routing.RIP.InterfaceSetting.1.Enable":              "false",
			"Device.Routing.Router.1.IPv4Forwarding.1.GatewayIPAddress": "203.0.113.1",
		}},
		{"office", officeRouter, map[string]string{
			"Device.QoS.Classification.1.Policer":                      "Device.QoS.Policer.1",
			"Device.QoS.Classification.1.App":                          "Device.QoS.App.1",
			"Device.QoS.Classification.1.Interface":                    "",
			"Device.QoS.Classification.1.SourceClientID":               "6F6666696365",
			"Device.QoS.Flow.1.App":                                    "Device.QoS.App.1",
			"Device.QoS.QueueStats.1.Queue":                            "Device.QoS.Queue.1",
			"Device.QoS.Queue.1.Interface":                             "Device.Ethernet.Interface.1",
			"Device.Bridging.Bridge.1.Standard":                        "802.1Q-2005",
			"Device.Bridging.Bridge.1.Port.1.LowerLayers":              "Device.Ethernet.Interface.1",
			"Device.Bridging.Bridge.1.VLAN.1.VLANID":                   "20",
			"Device.Bridging.Filter.1.Bridge":                          "Device.Bridging.Bridge.1",
			"Device.Bridging.Filter.1.Order":                           "1",
			"Device.Bridging.Filter.1.Interface":                       "Device.Bridging.Bridge.1.Port.1",
			"Device.Services.StorageService.1.PhysicalMedium.1.Status": "Online",
			"Device.Firewall.Enable":                                   "true",
			"Device.Users.User.1.Username":                             "admin",
		}},
		{"voice", strings.ReplaceAll(phone, "~", "InternetGatewayDevice."), map[string]string{"Device.Services.VoiceService.1.SIP.ClientNumberOfEntries": "2"}},
		{"voice under Device.", strings.ReplaceAll(phone, "~", "Device."), map[string]string{"Device.Services.VoiceService.1.SIP.ClientNumberOfEntries": "2"}},
		{"set-top box", setTop, map[string]string{
			"Device.DHCPv4.Client.1.Enable":         "true",
			"Device.IP.Interface.1.Stats.BytesSent": "900",
			"Device.IP.Interface.1.LowerLayers":     "Device.Ethernet.Link.1",
			"Device.DNS.Client.Server.2.DNSServer":  "192.0.2.53",
			"Device.Services.STBService.1.Enable":   "true",
			"Device.Users.UserNumberOfEntries":      "",
		}},
		{"gateway with a screen", gatewayWithScreen, map[string]string{"Device.Services.STBServiceNumberOfEntries": "1"}},
		{"Device:2", "Device.RootDataModelVersion string 2.12\nDevice.Hosts.Host.1.PhysAddress string 00:00:5E:00:53:61\n", map[string]string{"Device.Hosts.Host.1.PhysAddress": "00:00:5E:00:53:61"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := show(t, set, device(t, c.lines))
			for path, want := range c.want {
				if s.p.Schema.Lookup(generic(path)) == nil && want == "" {
					continue // not there at all
				}
				if got := s.get(path); got != want {
					t.Errorf("%s = %q, want %q", path, got, want)
				}
			}
			for _, x := range s.Inconsistencies() {
				t.Errorf("%s = %q: %s (%s)", x.Path, x.Value, x.Text, x.Rule)
			}
			for _, e := range s.p.entries {
				file, _, _ := strings.Cut(e.at, ":")
				shows[file] = true
			}
		})
	}
	for _, f := range set.files {
		if !shows[f.name] {
			t.Errorf("%s has no part in any device here: add one that it is for", path.Base(f.name))
		}
	}
}
