package mapping

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// hotspot is a CPE most of whose Device:2 values stand in several of its objects:
// two networks on one radio, hosts that are stations, connections one of which is
// the default and one of which is passed through.
const hotspot = `
+InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.DHCPServerEnable boolean 1
InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.DHCPConditionalPoolNumberOfEntries unsignedInt 2
+InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.UseAllocatedWAN string Passthrough
+InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.AssociatedConnection string InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANPPPConnection.1
InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.Channel unsignedInt 0
InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.ChannelsInUse string 11
InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.Standard string n
InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.Status string Disabled
InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.APWMMParameter.1.AIFSN unsignedInt 3
InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.APWMMParameter.4.AIFSN unsignedInt 2
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.WEPKeyIndex unsignedInt 2
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.WEPKey.1.WEPKey string
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.WEPKey.2.WEPKey string
InternetGatewayDevice.LANDevice.1.WLANConfiguration.2.Channel unsignedInt 11
InternetGatewayDevice.LANDevice.1.WLANConfiguration.2.Standard string n
InternetGatewayDevice.LANDevice.1.WLANConfiguration.2.Status string Up
InternetGatewayDevice.LANDevice.1.WLANConfiguration.2.AssociatedDevice.1.AssociatedDeviceMACAddress string 00:00:5e:00:53:aa
InternetGatewayDevice.LANDevice.1.Hosts.Host.1.MACAddress string 00:00:5E:00:53:BB
InternetGatewayDevice.LANDevice.1.Hosts.Host.1.AddressSource string Static
InternetGatewayDevice.LANDevice.1.Hosts.Host.2.MACAddress string 00:00:5E:00:53:AA
InternetGatewayDevice.LANDevice.1.Hosts.Host.2.IPAddress string 192.168.1.21
InternetGatewayDevice.LANDevice.1.Hosts.Host.2.AddressSource string DHCP
+InternetGatewayDevice.Layer3Forwarding.DefaultConnectionService string InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANPPPConnection.2
+InternetGatewayDevice.Layer3Forwarding.Forwarding.
InternetGatewayDevice.Layer3Forwarding.Forwarding.7.DestIPAddress string 10.0.0.0
InternetGatewayDevice.Layer3Forwarding.Forwarding.7.StaticRoute boolean 0
InternetGatewayDevice.Layer3Forwarding.Forwarding.7.Interface string InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANPPPConnection.1
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.AddressingType string Static
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.DefaultGateway string 203.0.113.1
InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANPPPConnection.1.ConnectionStatus string Connected
InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANPPPConnection.2.ConnectionStatus string Connected
`

// TestSynthesis: what Device:2 has and TR-098 has not follows from what is there.
func TestSynthesis(t *testing.T) {
	s := show(t, gatewaySet(t), device(t, hotspot))
	for path, want := range map[string]string{
		"Device.WiFi.Radio.1.Status":                                   "Up", // of the second network
		"Device.WiFi.Radio.1.Channel":                                  "11",
		"Device.WiFi.AccessPoint.1.AC.1.AccessCategory":                "BE",
		"Device.WiFi.AccessPoint.1.AC.4.AccessCategory":                "VO",
		"Device.Hosts.Host.1.AssociatedDevice":                         "",
		"Device.Hosts.Host.2.AssociatedDevice":                         "Device.WiFi.AccessPoint.2.AssociatedDevice.1",
		"Device.DHCPv4.Server.Pool.1.Order":                            "3",
		"Device.DHCPv4.Server.Pool.1.ClientNumberOfEntries":            "1",
		"Device.DHCPv4.Server.Pool.1.Client.1.Chaddr":                  "00:00:5E:00:53:AA",
		"Device.DHCPv4.Server.Pool.1.Client.1.IPv4Address.1.IPAddress": "192.168.1.21",
		"Device.Routing.Router.1.IPv4ForwardingNumberOfEntries":        "3",
		"Device.Routing.Router.1.IPv4Forwarding.7.Origin":              "IPCP",
		"Device.Routing.Router.1.IPv4Forwarding.8.Interface":           "Device.IP.Interface.4",
		"Device.Routing.Router.1.IPv4Forwarding.9.GatewayIPAddress":    "203.0.113.1",
		"Device.PPP.Interface.1.IPCP.PassthroughEnable":                "true",
		"Device.PPP.Interface.2.IPCP.PassthroughEnable":                "false",
		"Device.PPP.Interface.1.IPCP.PassthroughDHCPPool":              "Device.DHCPv4.Server.Pool.1",
		"Device.PPP.Interface.2.IPCP.PassthroughDHCPPool":              "",
		"Device.DHCPv4.Client.1.PassthroughEnable":                     "false",
	} {
		if got := s.get(path); got != want {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}

	const lan = "InternetGatewayDevice.LANDevice.1.LANHostConfigManagement."
	const second = "InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANPPPConnection.2"
	for _, c := range []struct {
		path, value string
		want        []cwmp.ParameterValue
	}{
		{"Device.PPP.Interface.2.IPCP.PassthroughEnable", "true", set(lan+"AssociatedConnection", cwmp.TypeString, second)},
		{"Device.PPP.Interface.2.IPCP.PassthroughDHCPPool", "Device.DHCPv4.Server.Pool.1", set(lan+"AssociatedConnection", cwmp.TypeString, second)},
		{"Device.PPP.Interface.1.IPCP.PassthroughDHCPPool", "", set(lan+"AssociatedConnection", cwmp.TypeString, "")},
		{"Device.PPP.Interface.1.IPCP.PassthroughEnable", "false", set(lan+"UseAllocatedWAN", cwmp.TypeString, "Normal")},
		{"Device.WiFi.AccessPoint.1.Security.WEPKey", "0011223344", set("InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.WEPKey.2.WEPKey", cwmp.TypeString, "0011223344")},
		{"Device.Routing.Router.1.IPv4Forwarding.8.Interface", "Device.IP.Interface.3",
			set("InternetGatewayDevice.Layer3Forwarding.DefaultConnectionService", cwmp.TypeString, strings.Replace(second, "WANPPPConnection.2", "WANPPPConnection.1", 1))},
	} {
		got, err := s.Write(s.ref(c.path), c.value, nil)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s = %q: %v\n%s", c.path, c.value, err, diff)
		}
	}
	if sets, err := s.Write(s.ref("Device.PPP.Interface.2.IPCP.PassthroughDHCPPool"), "Device.DHCPv4.Server.Pool.9", nil); err == nil {
		t.Errorf("a pool that is not there sets %v", sets)
	}
}

// TestTold: a value that any of several rows tells is read anew with each of them, and
// a change of each is one of the value.
func TestTold(t *testing.T) {
	s := show(t, gatewaySet(t), device(t, hotspot))
	ref := s.ref("Device.WiFi.Radio.1.Status")
	sources := s.Sources(ref, nil)
	if len(sources) != 2 {
		t.Errorf("it is read from %v", sources)
	}
	for _, x := range sources {
		if !slices.Contains(s.Targets(x.Param, x.Inst), dm.Ref{Node: ref.Node, Inst: ref.Inst}) {
			t.Errorf("a change in %v is not seen", x.Inst)
		}
	}
}

// TestTwinsKeepTheirNumbers: two hosts of one address are two rows, whatever comes
// before them.
func TestTwinsKeepTheirNumbers(t *testing.T) {
	const twins = `
InternetGatewayDevice.LANDevice.1.Hosts.Host.5.MACAddress string 00:00:5E:00:53:01
InternetGatewayDevice.LANDevice.1.Hosts.Host.6.MACAddress string 00:00:5E:00:53:01
`
	set := gatewaySet(t)
	s := show(t, set, device(t, twins))
	more := device(t, "InternetGatewayDevice.LANDevice.1.Hosts.Host.2.MACAddress string 00:00:5E:00:53:02"+twins).Onto(s.p.Template())
	_, created, deleted, _ := s.p.Reconcile(more, s.n)
	hosts := s.ref("Device.Hosts.Host.").Node
	for _, r := range slices.Concat(created, deleted) {
		if r.Node == hosts && r.Inst != dm.Inst(3) {
			t.Errorf("row %d came or went", r.Inst.Last())
		}
	}
}

// TestOverlaysKeepTheRows: a file that adds a parameter to a row of another file need
// not say again what the row is.
func TestOverlaysKeepTheRows(t *testing.T) {
	const overlay = `mapping: mine
root: InternetGatewayDevice.
for: {oui: "00005E"}
objects:
  - target: Device.WiFi.Radio.{i}.
    source: LANDevice.{i}.WLANConfiguration.{i}.
    params: {GuardInterval: X_Guard}
  - target: Device.DHCPv4.Server.Pool.{i}.Client.{i}.
    source: LANDevice.{i}.Hosts.Host.{i}.
    params: {Alias: X_Name}
`
	plain := show(t, gatewaySet(t), device(t, hotspot))
	lines := hotspot + "InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.X_Guard string Auto\n"
	s := show(t, gatewaySet(t, "mine.yaml", overlay), device(t, lines))
	if got := s.get("Device.WiFi.Radio.1.GuardInterval"); got != "Auto" {
		t.Errorf("the parameter is %s", got)
	}
	for _, table := range []string{"Device.WiFi.Radio.", "Device.DHCPv4.Server.Pool.1.Client."} {
		want, got := plain.Instances(plain.ref(table)), s.Instances(s.ref(table))
		if !slices.Equal(got, want) {
			t.Errorf("%s has the rows %v, without the overlay %v", table, got, want)
		}
	}
}
