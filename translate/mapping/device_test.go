package mapping

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// readAt is when the values of test devices were read, in unix seconds.
const readAt = 1_790_000_000

// device makes a tree of lines "path type value", "path" without a value, and
// objects and rows "path.". A path that begins with "+" can be written to, with
// a row deleted, with a table's path be added to.
func device(t testing.TB, lines string) *tree.Tree {
	t.Helper()
	var infos []cwmp.ParameterInfo
	values := map[cwmp.Path]cwmp.Value{}
	for line := range strings.Lines(lines) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		name, writable := strings.CutPrefix(fields[0], "+")
		infos = append(infos, cwmp.ParameterInfo{Name: cwmp.Path(name), Writable: writable})
		if len(fields) > 1 {
			values[cwmp.Path(name)] = cwmp.Value{Type: cwmp.ParseType(fields[1]), Text: strings.Join(fields[2:], " ")}
		}
	}
	b := tree.NewBuilder(infos[0].Name.Root())
	for _, info := range infos {
		b.Add(info, values[info.Name].Type)
	}
	d := tree.New(b.Template())
	for _, info := range infos {
		d.Add(info.Name)
		if v, ok := values[info.Name]; ok {
			schema, inst, _ := tree.Split(info.Name)
			p, _ := d.Template().Lookup(schema)
			d.Set(p, inst, v.Text, readAt)
		}
	}
	return d
}

// gateway is a TR-098 CPE with two bands, a WAN of each kind, hosts, vendor
// objects and things that no mapping knows.
const gateway = `
InternetGatewayDevice.DeviceInfo.Manufacturer string Example Networks
InternetGatewayDevice.DeviceInfo.SoftwareVersion string 1.2.3
InternetGatewayDevice.DeviceInfo.UpTime unsignedInt 4711
+InternetGatewayDevice.DeviceInfo.ProvisioningCode string TLCO.GRP2
+InternetGatewayDevice.DeviceInfo.X_EXAMPLE_Led boolean 1
+InternetGatewayDevice.ManagementServer.PeriodicInformInterval unsignedInt 300
+InternetGatewayDevice.Time.NTPServer1 string ntp1.example.com
+InternetGatewayDevice.Time.NTPServer2 string
InternetGatewayDevice.LANDeviceNumberOfEntries unsignedInt 1
InternetGatewayDevice.LANDevice.1.
InternetGatewayDevice.LANDevice.1.LANWLANConfigurationNumberOfEntries unsignedInt 3
+InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.DHCPServerEnable boolean 1
+InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.MinAddress string 192.168.1.10
InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.MACAddress string 00:00:5E:00:53:01
+InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.DHCPStaticAddress.
+InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.IPInterface.1.Enable boolean 1
+InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.IPInterface.1.IPInterfaceIPAddress string 192.168.1.1
InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.1.Status string NoLink
InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.1.MaxBitRate string Auto
InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.1.Stats.BytesSent unsignedInt 77
InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.2.Status string Up
InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.2.MaxBitRate string 1000
InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.2.Stats.BytesSent unsignedInt 78
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.SSID string home
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.Enable boolean 1
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.Channel unsignedInt 6
InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.Standard string n
InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.Status string Up
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.BeaconType string 11i
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.BasicEncryptionModes string None
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.IEEE11iAuthenticationMode string PSKAuthentication
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.WPAAuthenticationMode string EAPAuthentication
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.PreSharedKey.1.KeyPassphrase string
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.PreSharedKey.2.KeyPassphrase string
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.X_EXAMPLE_BandSteering boolean 0
InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.AssociatedDevice.1.AssociatedDeviceMACAddress string 00:00:5E:00:53:21
InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.AssociatedDevice.2.AssociatedDeviceMACAddress string 00:00:5E:00:53:22
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.2.SSID string guests
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.2.Enable boolean 0
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.2.Channel unsignedInt 6
InternetGatewayDevice.LANDevice.1.WLANConfiguration.2.Standard string n
InternetGatewayDevice.LANDevice.1.WLANConfiguration.2.Status string Disabled
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.5.SSID string home-5G
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.5.Enable boolean 1
+InternetGatewayDevice.LANDevice.1.WLANConfiguration.5.Channel unsignedInt 36
InternetGatewayDevice.LANDevice.1.WLANConfiguration.5.Standard string ac
InternetGatewayDevice.LANDevice.1.WLANConfiguration.5.Status string Up
InternetGatewayDevice.LANDevice.1.Hosts.HostNumberOfEntries unsignedInt 2
InternetGatewayDevice.LANDevice.1.Hosts.Host.1.MACAddress string 00:00:5E:00:53:21
InternetGatewayDevice.LANDevice.1.Hosts.Host.1.IPAddress string 192.168.1.21
InternetGatewayDevice.LANDevice.1.Hosts.Host.1.Layer2Interface string InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.2
InternetGatewayDevice.LANDevice.1.Hosts.Host.2.MACAddress string 00:00:5E:00:53:22
InternetGatewayDevice.LANDevice.1.Hosts.Host.2.IPAddress string 192.168.1.22
InternetGatewayDevice.LANDevice.1.Hosts.Host.2.Layer2Interface string
+InternetGatewayDevice.Layer3Forwarding.DefaultConnectionService string InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANPPPConnection.1
+InternetGatewayDevice.Layer3Forwarding.Forwarding.
+InternetGatewayDevice.Layer3Forwarding.Forwarding.3.
+InternetGatewayDevice.Layer3Forwarding.Forwarding.3.Enable boolean 1
+InternetGatewayDevice.Layer3Forwarding.Forwarding.3.DestIPAddress string 10.0.0.0
+InternetGatewayDevice.Layer3Forwarding.Forwarding.3.Interface string InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.
InternetGatewayDevice.WANDevice.1.X_GponInterafceConfig.RXPower int -19
InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnectionNumberOfEntries unsignedInt 1
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.Enable boolean 1
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.AddressingType string DHCP
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.NATEnabled boolean 1
InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.ConnectionStatus string Connected
InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.ExternalIPAddress string 198.51.100.7
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.X_EXAMPLE_VLAN unsignedInt 7
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.PortMapping.
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.PortMapping.1.
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.PortMapping.1.PortMappingEnabled boolean 1
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.PortMapping.1.ExternalPort unsignedInt 8080
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.PortMapping.1.InternalClient string 192.168.1.21
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANPPPConnection.1.Enable boolean 1
InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANPPPConnection.1.ConnectionStatus string Connected
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANPPPConnection.1.Username string user@example.com
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANPPPConnection.1.NATEnabled boolean 0
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANPPPConnection.1.PortMapping.
+InternetGatewayDevice.X_EXAMPLE_Rules.Rule.
+InternetGatewayDevice.X_EXAMPLE_Rules.Rule.4.
+InternetGatewayDevice.X_EXAMPLE_Rules.Rule.4.Name string drop
InternetGatewayDevice.WiFiStuff.Mode string odd
`

func gatewayTree(t testing.TB) *tree.Tree { return device(t, gateway) }

func gatewaySet(t testing.TB, more ...string) *Set {
	t.Helper()
	s, err := Load(files(more...))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// shown is a device with its program, numbers and view.
type shown struct {
	*View
	p *Program
	n *Numbers
	t testing.TB
}

// show compiles and reconciles a device seen for the first time.
func show(t testing.TB, s *Set, d *tree.Tree) *shown {
	t.Helper()
	id := Identity{Manufacturer: "Example", OUI: "00005E", ProductClass: "HG1"}
	d = d.Onto(s.Presume(d.Template(), id))
	p, err := s.Compile(d.Template(), id)
	if err != nil {
		t.Fatal(err)
	}
	n, _, _, _ := p.Reconcile(d, NewNumbers())
	return &shown{View: p.View(d, n, time.Now), p: p, n: n, t: t}
}

// ref returns the element of a path with instance numbers.
func (s *shown) ref(path string) dm.Ref {
	s.t.Helper()
	schema, inst, ok := tree.Split(cwmp.Path(path))
	if !ok {
		s.t.Fatalf("%s is no path", path)
	}
	node := s.p.Schema.Lookup(schema)
	if node == nil {
		s.t.Fatalf("the schema has no %s", schema)
	}
	return dm.Ref{Node: node, Inst: inst}
}

// get returns a value, with a mark for the states in which there is none.
func (s *shown) get(path string) string {
	s.t.Helper()
	text, _, state := s.Read(s.ref(path))
	switch state {
	case Absent:
		return "(absent)"
	case Unread:
		return "(unread)"
	}
	return text
}

// values lists every parameter that the view shows, as path=value.
func (s *shown) values() (out []string) {
	var walk func(n *dm.Node, inst dm.Instance)
	walk = func(n *dm.Node, inst dm.Instance) {
		if n.Kind == dm.Param {
			ref := dm.Ref{Node: n, Inst: inst}
			if text, _, state := s.Read(ref); state != Absent {
				out = append(out, fmt.Sprintf("%s=%s", ref.Path(), text))
			}
		}
		for _, c := range n.Children {
			if c.Kind != dm.Table {
				walk(c, inst)
				continue
			}
			for _, i := range s.Instances(dm.Ref{Node: c, Inst: inst}) {
				walk(c, inst.Append(i))
			}
		}
	}
	walk(s.p.Schema.Root, dm.Instance{})
	return out
}
