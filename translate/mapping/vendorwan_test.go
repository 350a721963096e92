package mapping

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
)

const (
	vendorConnections = "InternetGatewayDevice.WANDevice.1.WANConnectionDevice."
	vendorPPP         = vendorConnections + "1.WANPPPConnection.1."
)

// vendorWAN is a WAN with a PPP connection and, beside it on the same link, an IP
// connection that no vendor's parameter is of.
func vendorWAN(more ...string) string {
	lines := []string{
		"InternetGatewayDevice.WANDevice.1.WANCommonInterfaceConfig.WANAccessType string GPON",
		"InternetGatewayDevice.WANDevice.1.WANCommonInterfaceConfig.PhysicalLinkStatus string Up",
		"+" + vendorPPP + "Enable boolean 1", vendorPPP + "ConnectionStatus string Connected", vendorPPP + "Name string internet",
		"+" + vendorConnections + "1.WANIPConnection.2.Enable boolean 1", vendorConnections + "1.WANIPConnection.2.ConnectionStatus string Connected",
	}
	return strings.Join(append(lines, more...), "\n") + "\n"
}

// TestVendorsVLAN: a vendor's VLAN id is an interface between the link and the
// connection that it is of, and of no connection beside that; written, it is the
// vendor's parameter that is set.
func TestVendorsVLAN(t *testing.T) {
	link := vendorConnections + "1."
	for _, c := range []struct {
		name  string
		lines []string
		id    string // the vendor's parameter; "": there is no VLAN
		both  bool   // it is of the WANConnectionDevice, so of all its connections
	}{
		{"Huawei", []string{"+" + vendorPPP + "X_HW_VLAN unsignedInt 10", "+" + vendorPPP + "X_HW_PRI unsignedInt 5"}, vendorPPP + "X_HW_VLAN", false},
		{"Huawei untagged", []string{"+" + vendorPPP + "X_HW_VLAN unsignedInt 0"}, "", false},
		{"ZTE", []string{"+" + vendorPPP + "X_ZTE-COM_VLANID unsignedInt 10", "+" + vendorPPP + "X_ZTE-COM_VLANEnable unsignedInt 1", "+" + vendorPPP + "X_ZTE-COM_8021P unsignedInt 5"}, vendorPPP + "X_ZTE-COM_VLANID", false},
		{"ZTE turned off", []string{"+" + vendorPPP + "X_ZTE-COM_VLANID unsignedInt 10", "+" + vendorPPP + "X_ZTE-COM_VLANEnable unsignedInt 0"}, "", false},
		{"China Mobile", []string{"+" + vendorPPP + "X_CMCC_VLANIDMark unsignedInt 10", "+" + vendorPPP + "X_CMCC_VLANMode unsignedInt 2", "+" + vendorPPP + "X_CMCC_802-1pMark unsignedInt 5"}, vendorPPP + "X_CMCC_VLANIDMark", false},
		{"China Mobile transparent", []string{"+" + vendorPPP + "X_CMCC_VLANIDMark unsignedInt 10", "+" + vendorPPP + "X_CMCC_VLANMode unsignedInt 1"}, "", false},
		{"China Telecom", []string{"+" + link + "X_CT-COM_WANGponLinkConfig.VLANIDMark unsignedInt 10", "+" + link + "X_CT-COM_WANGponLinkConfig.Mode unsignedInt 2", "+" + link + "X_CT-COM_WANGponLinkConfig.802-1pMark unsignedInt 5"}, link + "X_CT-COM_WANGponLinkConfig.VLANIDMark", true},
		{"FiberHome", []string{"+" + link + "X_FH_WANGponLinkConfig.VLANIDMark unsignedInt 10", "+" + link + "X_FH_WANGponLinkConfig.Mode unsignedInt 2", "+" + link + "X_FH_WANGponLinkConfig.802-1pMark unsignedInt 5"}, link + "X_FH_WANGponLinkConfig.VLANIDMark", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := show(t, gatewaySet(t), device(t, vendorWAN(c.lines...)))
			const vlan, below = "Device.Ethernet.VLANTermination.1", "Device.Ethernet.Link.1"
			want := map[string]string{"Device.PPP.Interface.1.LowerLayers": below, "Device.IP.Interface.1.LowerLayers": below}
			if c.name == "Huawei untagged" {
				want["Device.PPP.Interface.1.X_HW_VLAN"] = "0" // where it can be set
			}
			if c.id != "" {
				want["Device.PPP.Interface.1.LowerLayers"] = vlan
				for name, value := range map[string]string{"VLANID": "10", "VLANPriority": "5", "Status": "Up", "LowerLayers": below} {
					want[vlan+"."+name] = value
				}
			}
			if c.both {
				want["Device.IP.Interface.1.LowerLayers"] = vlan
			}
			for path, value := range want {
				if got := s.get(path); got != value {
					t.Errorf("%s = %q, want %q", path, got, value)
				}
			}
			if c.id != "" {
				got, err := s.Write(s.ref(vlan+".VLANID"), "20", nil)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(set(c.id, cwmp.TypeUnsignedInt, "20"), got); diff != "" {
					t.Error(diff)
				}
			}
			for _, x := range s.Inconsistencies() {
				t.Errorf("%s = %q: %s (%s)", x.Path, x.Value, x.Text, x.Rule)
			}
		})
	}
}

// TestVendorsIPv6: vendors' switches, addresses and prefixes are at the IP interface of
// their connection.
func TestVendorsIPv6(t *testing.T) {
	const ip = "Device.IP.Interface.2."
	for _, c := range []struct {
		name          string
		lines         []string
		enable        string
		set           string // to what it is set
		sets, to      string // what is set for that; "": it is refused
		address, from string
	}{
		{"Huawei", []string{"+" + vendorPPP + "X_HW_IPv6Enable boolean true",
			"+" + vendorPPP + "X_HW_IPv6.IPv6Address.1.IPAddress string 2001:db8::7", "+" + vendorPPP + "X_HW_IPv6.IPv6Address.1.Origin string AutoConfigured",
			"+" + vendorPPP + "X_HW_IPv6.IPv6Prefix.1.Prefix string 2001:db8:1::/56", "+" + vendorPPP + "X_HW_IPv6.IPv6Prefix.1.Origin string PrefixDelegation",
		}, "true", "false", vendorPPP + "X_HW_IPv6Enable", "false", "2001:db8::7", "AutoConfigured"},
		{"Nokia", []string{"+" + vendorPPP + "X_ALU-COM_IPMode unsignedInt 3",
			"+" + vendorPPP + "X_ALU-COM_IPv6IPAddress string 2001:db8::7", "+" + vendorPPP + "X_ALU-COM_IPv6IPAddressOrigin string DHCPv6",
			"+" + vendorPPP + "X_ALU-COM_IPv6Prefix string 2001:db8:1::/56", vendorPPP + "X_ALU-COM_IPv6PrefixOrigin string PrefixDelegation",
		}, "true", "false", vendorPPP + "X_ALU-COM_IPMode", "1", "2001:db8::7", "DHCPv6"},
		{"ZTE", []string{"+" + vendorPPP + "X_ZTE-COM_IPMode string Both"}, "true", "false", vendorPPP + "X_ZTE-COM_IPMode", "IPv4", "", ""},
		{"China Mobile, IPv6 alone", []string{"+" + vendorPPP + "X_CMCC_IPMode int 2"}, "true", "false", "", "", "", ""},
		{"FiberHome", []string{"+" + vendorPPP + "X_FH_IPMode string 1", "+" + vendorPPP + "X_FH_IPv6Prefix string"}, "false", "true", vendorPPP + "X_FH_IPMode", "3", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := show(t, gatewaySet(t), device(t, vendorWAN(c.lines...)))
			want := map[string]string{"IPv6Enable": c.enable}
			if c.address != "" {
				want["IPv6Address.1.IPAddress"], want["IPv6Address.1.Origin"] = c.address, c.from
				want["IPv6Prefix.1.Prefix"], want["IPv6Prefix.1.Origin"] = "2001:db8:1::/56", "PrefixDelegation"
			}
			for path, value := range want {
				if got := s.get(ip + path); got != value {
					t.Errorf("%s = %q, want %q", ip+path, got, value)
				}
			}
			got, err := s.Write(s.ref(ip+"IPv6Enable"), c.set, nil)
			if c.sets == "" {
				if err == nil {
					t.Errorf("IPv6Enable = %s sets %v, though the CPE would have no IP at all", c.set, got)
				}
			} else if err != nil {
				t.Error(err)
			} else if text := fmt.Sprint(got); !strings.Contains(text, c.sets) || !strings.Contains(text, " "+c.to+"}") {
				t.Errorf("IPv6Enable = %s sets %s, want %s = %s", c.set, text, c.sets, c.to)
			}
			for _, x := range s.Inconsistencies() {
				t.Errorf("%s = %q: %s (%s)", x.Path, x.Value, x.Text, x.Rule)
			}
		})
	}
}

// TestVendorsIPv4: whether a connection has IPv4 is said as far as it is known.
func TestVendorsIPv4(t *testing.T) {
	const ip, absent = "Device.IP.Interface.2.", "(absent)"
	for _, c := range []struct {
		name   string
		lines  []string
		v4, v6 string // v6 "": no vendor's parameter of it
	}{
		{"nothing is said", nil, "true", ""},
		{"Huawei's switch", []string{"+" + vendorPPP + "X_HW_IPv4Enable boolean 0", "+" + vendorPPP + "X_HW_IPv6Enable boolean 1"}, "false", "true"},
		{"IPv6 alone", []string{"+" + vendorPPP + "X_CT-COM_IPMode int 2"}, "false", "true"},
		{"the same by two names", []string{"+" + vendorPPP + "X_CMCC_IPMode int 2", "+" + vendorPPP + "X_CT-COM_IPMode int 2"}, "false", "true"},
		{"a mode that nobody knows", []string{"+" + vendorPPP + "X_CMCC_IPMode int 0"}, absent, absent},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := show(t, gatewaySet(t), device(t, vendorWAN(c.lines...)))
			if got := s.get(ip + "IPv4Enable"); got != c.v4 {
				t.Errorf("IPv4Enable %q, want %q", got, c.v4)
			}
			if c.v6 == "" {
				return
			}
			if got := s.get(ip + "IPv6Enable"); got != c.v6 {
				t.Errorf("IPv6Enable %q, want %q", got, c.v6)
			}
		})
	}
}
