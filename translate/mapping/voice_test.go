package mapping

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
)

// phone is a voice service of TR-104 with a profile of two lines, under a root.
const phone = `
~Services.VoiceService.1.Capabilities.Codecs.1.Codec string G.711MuLaw
~Services.VoiceService.1.Capabilities.Codecs.2.Codec string G.729
~Services.VoiceService.1.PhyInterface.1.InterfaceID unsignedInt 11
~Services.VoiceService.1.PhyInterface.1.PhyPort string FXS1
~Services.VoiceService.1.PhyInterface.2.InterfaceID unsignedInt 12
~Services.VoiceService.1.PhyInterface.2.PhyPort string FXS2
+~Services.VoiceService.1.VoiceProfile.1.Enable string Enabled
+~Services.VoiceService.1.VoiceProfile.1.Name string main
+~Services.VoiceService.1.VoiceProfile.1.DTMFMethod string RFC2833
+~Services.VoiceService.1.VoiceProfile.1.SIP.RegistrarServer string registrar.example.com
+~Services.VoiceService.1.VoiceProfile.1.RTP.LocalPortMin unsignedInt 5000
+~Services.VoiceService.1.VoiceProfile.1.Tone.Description.1.EntryID unsignedInt 40
+~Services.VoiceService.1.VoiceProfile.1.Tone.Description.1.ToneName string dial
+~Services.VoiceService.1.VoiceProfile.1.Tone.Event.1.ToneID unsignedInt 40
+~Services.VoiceService.1.VoiceProfile.1.Tone.Event.1.Function string Dial
+~Services.VoiceService.1.VoiceProfile.1.Line.1.Enable string Quiescent
+~Services.VoiceService.1.VoiceProfile.1.Line.1.DirectoryNumber string 100
+~Services.VoiceService.1.VoiceProfile.1.Line.1.PhyReferenceList string 11,12
~Services.VoiceService.1.VoiceProfile.1.Line.1.CallState string InCall
+~Services.VoiceService.1.VoiceProfile.1.Line.1.SIP.AuthUserName string alice
+~Services.VoiceService.1.VoiceProfile.1.Line.1.SIP.URI string sip:alice@example.com
+~Services.VoiceService.1.VoiceProfile.1.Line.1.CallingFeatures.CallForwardOnNoAnswerRingCount unsignedInt 3
+~Services.VoiceService.1.VoiceProfile.1.Line.1.VoiceProcessing.TransmitGain int -3
~Services.VoiceService.1.VoiceProfile.1.NumberOfLines unsignedInt 2
~Services.VoiceService.1.VoiceProfile.1.ButtonMap.Button.1.ButtonName string #1
~Services.VoiceService.1.VoiceProfile.1.Line.1.Ringer.Description.1.RingPattern unsignedInt 30
~Services.VoiceService.1.VoiceProfile.1.Line.1.Ringer.Pattern.1.EntryID unsignedInt 30
~Services.VoiceService.1.VoiceProfile.1.Line.1.Codec.List.1.Codec string G.729
~Services.VoiceService.1.VoiceProfile.1.Line.1.Stats.IncomingCallsReceived unsignedInt 9
+~Services.VoiceService.1.VoiceProfile.1.Line.2.Enable string Disabled
+~Services.VoiceService.1.VoiceProfile.1.Line.2.DirectoryNumber string 101
+~Services.VoiceService.1.VoiceProfile.1.Line.2.SIP.AuthUserName string bob
`

// A TR-104 service is the same VoiceService:2 under both roots.
func TestVoice(t *testing.T) {
	for _, root := range []string{"InternetGatewayDevice.", "Device."} {
		t.Run(root, func(t *testing.T) {
			s := show(t, gatewaySet(t), device(t, strings.ReplaceAll(phone, "~", root)))
			const at = "Device.Services.VoiceService.1."
			for path, want := range map[string]string{
				"SIP.Network.1.RegistrarServer":                                      "registrar.example.com",
				"POTS.FXS.2.VoiceProcessing.TransmitGain":                            "-3",
				"Terminal.1.ButtonMap.Button.1.ButtonName":                           "#1",
				"Terminal.1.Ringer.Description.1.RingPattern":                        at + "Terminal.1.Ringer.Pattern.1",
				"SIP.Network.1.Enable":                                               "true",
				"SIP.Network.1.VoIPProfile":                                          at + "VoIPProfile.1",
				"VoIPProfile.1.DTMFMethod":                                           "RFC4733",
				"VoIPProfile.1.RTP.LocalPortMin":                                     "5000",
				"CallControl.Line.1.Enable":                                          "false", // no new calls
				"CallControl.Line.1.QuiescentMode":                                   "true",
				"CallControl.Line.1.CallStatus":                                      "Connected",
				"CallControl.Line.1.Provider":                                        at + "SIP.Client.1",
				"CallControl.Line.1.CallingFeatures":                                 at + "CallControl.CallingFeatures.Set.1",
				"CallControl.Line.1.Stats.IncomingCalls.CallsReceived":               "9",
				"CallControl.Line.2.Enable":                                          "false",
				"CallControl.CallingFeatures.Set.1.CallForwardOnNoAnswerRingTimeout": "18",
				"CallControl.IncomingMapNumberOfEntries":                             "2",
				"CallControl.IncomingMap.2.Extension":                                at + "CallControl.Extension.2",
				"CallControl.IncomingMap.2.Line":                                     at + "CallControl.Line.1",
				"CallControl.Extension.1.Provider":                                   at + "POTS.FXS.1",
				"POTS.FXS.2.Name":                                                    "FXS2",
				"SIP.Client.2.AuthUserName":                                          "bob",
				"SIP.Client.1.RegisterURI":                                           "sip:alice@example.com",
				"SIP.Client.1.Network":                                               at + "SIP.Network.1",
				"CodecProfile.1.Codec":                                               at + "Capabilities.Codec.2",
				"Tone.EventProfile.1.Event.1.Tone":                                   at + "Tone.Description.1",
			} {
				if got := s.get(at + path); got != want {
					t.Errorf("%s = %q, want %q", path, got, want)
				}
			}
			for _, c := range []struct {
				path, value, sets string // "": it is refused
			}{
				{"CallControl.Line.1.QuiescentMode", "false", "VoiceProfile.1.Line.1.Enable=Disabled"},
				{"CallControl.Line.1.Enable", "true", "VoiceProfile.1.Line.1.Enable=Enabled"},
				{"CallControl.Line.2.QuiescentMode", "true", "VoiceProfile.1.Line.2.Enable=Quiescent"},
				{"VoIPProfile.1.Enable", "false", "VoiceProfile.1.Enable=Disabled"},
				{"VoIPProfile.1.QuiescentMode", "true", ""}, // would turn off what is on
			} {
				got, err := s.Write(s.ref(at+c.path), c.value, nil)
				name, value, _ := strings.Cut(c.sets, "=")
				want := set(root+"Services.VoiceService.1."+name, cwmp.TypeString, value)
				if c.sets == "" {
					want = nil
				}
				if diff := cmp.Diff(want, got); diff != "" || (err == nil) != (c.sets != "") {
					t.Errorf("%s = %s: %v\n%s", c.path, c.value, err, diff)
				}
			}
			for _, x := range s.Inconsistencies() {
				if !x.Own {
					t.Errorf("%s = %q: %s (%s)", x.Path, x.Value, x.Text, x.Rule)
				}
			}
		})
	}
}

// What controllers see of the first profile and line alone has a standard home there, and
// is raw in others.
func TestCoverageOfTheFirstOfSeveral(t *testing.T) {
	const profiles = "InternetGatewayDevice.Services.VoiceService.1.VoiceProfile."
	for _, c := range []struct {
		path     string
		standard bool
	}{
		{"1.Region string EU", true},
		{"2.Region string EU", false},
		{"1.Line.1.Ringer.EventNumberOfEntries unsignedInt 1", true},
		{"1.Line.2.Ringer.EventNumberOfEntries unsignedInt 0", false},
		{"1.ButtonMap.NumberOfButtons unsignedInt 1", true}, // they are in the row of a phone
		{"2.ButtonMap.NumberOfButtons unsignedInt 0", false},
	} {
		before := strings.Join([]string{
			strings.ReplaceAll(phone, "~", "InternetGatewayDevice."), profiles + "1.Line.1.Ringer.Event.1.Function string CallWaiting",
			profiles + "1.ButtonMap.Button.1.ButtonName string 1", ""}, "\n")
		cover := func(lines string) Report {
			s := show(t, gatewaySet(t), device(t, lines))
			return Coverage(s.p, s.tree)
		}
		was, is := cover(before), cover(before+profiles+c.path+"\n")
		if got := is.Standard > was.Standard; got != c.standard || is.Total != was.Total+1 {
			t.Errorf("%s: standard %v, want %v", c.path, got, c.standard)
		}
	}
}

// A Device:1 host has the one interface of its LAN object, with all that Device:2 has
// on top of it.
func TestDevice1(t *testing.T) {
	s := show(t, gatewaySet(t), device(t, `
Device.DeviceSummary string Device:1.4[](Baseline:1)
Device.DeviceInfo.Manufacturer string Example
+Device.LAN.AddressingType string DHCP
+Device.LAN.IPAddress string 192.0.2.7
Device.LAN.MACAddress string 00:00:5E:00:53:01
+Device.LAN.DNSServers string 192.0.2.1,192.0.2.2
Device.LAN.Stats.TotalBytesSent unsignedInt 7
`))
	for path, want := range map[string]string{
		"Device.DeviceInfo.Manufacturer":                "Example",
		"Device.IP.Interface.1.IPv4Address.1.IPAddress": "192.0.2.7",
		"Device.IP.Interface.1.LowerLayers":             "Device.Ethernet.Link.1",
		"Device.IP.Interface.1.Stats.BytesSent":         "7",
		"Device.DHCPv4.Client.1.Status":                 "Enabled",
		"Device.DHCPv4.Client.1.Interface":              "Device.IP.Interface.1",
		"Device.DNS.Client.Server.2.DNSServer":          "192.0.2.2",
		"Device.InterfaceStackNumberOfEntries":          "2",
	} {
		if got := s.get(path); got != want {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}
	for _, x := range s.Inconsistencies() {
		t.Errorf("%s = %q: %s (%s)", x.Path, x.Value, x.Text, x.Rule)
	}
}
