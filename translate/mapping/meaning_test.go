package mapping

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
)

// TestMeaning: what has a name in both models, or nearly, and another meaning or form in
// each, is shown where its meaning is.
func TestMeaning(t *testing.T) {
	const (
		wlan  = "InternetGatewayDevice.LANDevice.1.WLANConfiguration.1."
		wan   = "InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1."
		ppp   = "InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPPPConnection.1."
		line  = "InternetGatewayDevice.Services.VoiceService.1.VoiceProfile.1.Line.1."
		voice = "Device.Services.VoiceService.1.CallControl."
	)
	for _, c := range []struct {
		why, lines, path, want string
	}{
		{"rates that stations may use", wlan + "PossibleDataTransmitRates string 6,54\n" + wlan + "OperationalDataTransmitRates string 6,54,150",
			"Device.WiFi.Radio.1.OperationalDataTransmitRates", "6,54"},
		{"all rates", wlan + "PossibleDataTransmitRates string 6,54\n" + wlan + "OperationalDataTransmitRates string 6,54,150",
			"Device.WiFi.Radio.1.SupportedDataTransmitRates", "6,54,150"},
		{"no automatic channel", wlan + "Channel unsignedInt 6", "Device.WiFi.Radio.1.AutoChannelSupported", "(absent)"},
		{"a bandwidth has channels of its own", wlan + "PossibleChannels string 36,40,44,48;36,44", "Device.WiFi.Radio.1.PossibleChannels", "36,40,44,48"},
		{"what a server has not told", wan + "AddressingType string Static\n" + wan + "ExternalIPAddress string 192.0.2.1",
			"Device.DHCPv4.Client.1.IPAddress", ""},
		{"the time client has more to say than the time", "InternetGatewayDevice.Time.Status string Error_FailedToSynchronize\nInternetGatewayDevice.Time.NTPServer1 string ntp.example.com",
			"Device.Time.Client.1.Status", "Error_FailedToSynchronize"},
		{"a link without object of its own", ppp + "Enable boolean 1\nInternetGatewayDevice.WANDevice.1.WANCommonInterfaceConfig.PhysicalLinkStatus string Up",
			"Device.Ethernet.Link.1.Status", "Up"},
		{"any protocol", ppp + "PPPAuthenticationProtocol string AUTO_AUTH", "Device.PPP.Interface.1.AuthenticationProtocol", "(absent)"},
		{"another routing protocol", wan + "RouteProtocolRx string OSPF", "Device.Routing.RIP.InterfaceSetting.1.Enable", "false"},
		{"caller ID sent, not shown", line + "CallingFeatures.CallerIDEnable boolean 1\n" + line + "CallingFeatures.CallWaitingEnable boolean 1",
			voice + "CallingFeatures.Set.1.CallerIDEnable", "(absent)"},
		{"calls in both directions", line + "Stats.IncomingCallsFailed unsignedInt 1\n" + line + "Stats.CallsDropped unsignedInt 9",
			voice + "Line.1.Stats.IncomingCalls.CallsDropped", "(absent)"},
		{"a filter without order", "InternetGatewayDevice.Layer2Bridging.Filter.1.ExclusivityOrder unsignedInt 0", "Device.Bridging.Filter.1.Order", "(absent)"},
		{"no traffic class", "InternetGatewayDevice.QueueManagement.DefaultTrafficClass int -1", "Device.QoS.DefaultTrafficClass", "(absent)"},
		{"the gateway of a host with a static address", "Device.DeviceSummary string Device:1.4[](Baseline:1)\nDevice.LAN.AddressingType string Static\nDevice.LAN.DefaultGateway string 192.0.2.1",
			"Device.Routing.Router.1.IPv4Forwarding.1.GatewayIPAddress", "192.0.2.1"},
		{"the default route", "InternetGatewayDevice.Layer3Forwarding.Forwarding.1.DestIPAddress string 0.0.0.0", "Device.Routing.Router.1.IPv4Forwarding.1.DestIPAddress", ""},
	} {
		t.Run(c.why, func(t *testing.T) {
			s, got := show(t, gatewaySet(t), device(t, c.lines)), "(absent)"
			if s.p.Schema.Lookup(generic(c.path)) != nil {
				got = s.get(c.path)
			}
			if got != c.want {
				t.Errorf("%s = %q, want %q", c.path, got, c.want)
			}
		})
	}
}

// TestSetAsItIs: of what a value says less than the CPE's, as that a firewall is on, the
// CPE keeps the rest when it is set as it is.
func TestSetAsItIs(t *testing.T) {
	for _, c := range []struct{ source, has, path, value string }{
		{"InternetGatewayDevice.Firewall.Config", "High", "Device.Firewall.Enable", "true"},
		{"InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.RouteProtocolRx", "RIPv1", "Device.Routing.RIP.InterfaceSetting.1.Enable", "true"},
		{"InternetGatewayDevice.QueueManagement.Queue.1.QueueInterface", "WAN", "Device.QoS.Queue.1.AllInterfaces", "false"},
		{"Device.LAN.AddressingType", "AutoIP", "Device.DHCPv4.Client.1.Enable", "false"},
	} {
		s := show(t, gatewaySet(t), device(t, "+"+c.source+" string "+c.has))
		if got := s.get(c.path); got != c.value {
			t.Errorf("%s is %s where the CPE has %s, want %s", c.path, got, c.has, c.value)
		}
		got, err := s.Write(s.ref(c.path), c.value, nil)
		if diff := cmp.Diff(set(c.source, cwmp.TypeString, c.has), got); diff != "" || err != nil {
			t.Errorf("%s = %s: %v\n%s", c.path, c.value, err, diff)
		}
	}
}
