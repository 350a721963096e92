package mapping

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/usp"
)

// shaper is a CPE whose classes name policers by their keys, queues by their
// numbers, and interfaces by paths; and whose statistics sample parameters.
const shaper = `
+InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.1.Enable boolean 1
InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.1.Stats.BytesSent unsignedInt 7
+InternetGatewayDevice.QueueManagement.DefaultQueue int 2
InternetGatewayDevice.QueueManagement.Queue.1.
+InternetGatewayDevice.QueueManagement.Queue.1.QueueEnable boolean 1
InternetGatewayDevice.QueueManagement.Queue.2.
+InternetGatewayDevice.QueueManagement.Queue.2.QueueEnable boolean 1
+InternetGatewayDevice.QueueManagement.Queue.2.QueueInterface string InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.1
+InternetGatewayDevice.QueueManagement.Classification.1.ClassPolicer int 17
+InternetGatewayDevice.QueueManagement.Classification.2.ClassPolicer int -1
InternetGatewayDevice.QueueManagement.Policer.3.PolicerKey unsignedInt 17
InternetGatewayDevice.QueueManagement.Policer.3.PolicerStatus string Enabled
InternetGatewayDevice.QueueManagement.Policer.4.PolicerStatus string Enabled
InternetGatewayDevice.QueueManagement.Policer.4.PolicerKey unsignedInt 18
+InternetGatewayDevice.PeriodicStatistics.SampleSet.1.Parameter.1.Reference string InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.1.Stats.BytesSent
+InternetGatewayDevice.PeriodicStatistics.SampleSet.1.Parameter.2.Reference string InternetGatewayDevice.Nowhere.Value
`

// References by key and by number, and to anything at all, lead to what controllers
// see.
func TestLookups(t *testing.T) {
	s := show(t, gatewaySet(t), device(t, shaper))
	for path, want := range map[string]string{
		"Device.QoS.DefaultQueue":                                     "Device.QoS.Queue.2",
		"Device.QoS.Queue.2.Interface":                                "Device.Ethernet.Interface.1",
		"Device.QoS.Queue.2.AllInterfaces":                            "false",
		"Device.QoS.Classification.1.Policer":                         "Device.QoS.Policer.3",
		"Device.QoS.Classification.2.Policer":                         "",
		"Device.QoS.PolicerNumberOfEntries":                           "2",
		"Device.PeriodicStatistics.SampleSet.1.Parameter.1.Reference": "Device.Ethernet.Interface.1.Stats.BytesSent",
		"Device.PeriodicStatistics.SampleSet.1.Parameter.2.Reference": "",
	} {
		if got := s.get(path); got != want {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}
	const class = "InternetGatewayDevice.QueueManagement.Classification."
	for _, c := range []struct {
		path, value string
		want        []cwmp.ParameterValue
		code        usp.ErrorCode
	}{
		{path: "Device.QoS.Classification.1.Policer", value: "Device.QoS.Policer.4", want: set(class+"1.ClassPolicer", cwmp.TypeInt, "18")},
		{path: "Device.QoS.Classification.1.Policer", value: "", want: set(class+"1.ClassPolicer", cwmp.TypeInt, "-1")},
		{path: "Device.QoS.Classification.1.Policer", value: "Device.QoS.Policer.9", code: usp.ErrInvalidValue},
		{path: "Device.QoS.DefaultQueue", value: "Device.QoS.Queue.1", want: set("InternetGatewayDevice.QueueManagement.DefaultQueue", cwmp.TypeInt, "1")},
		{path: "Device.PeriodicStatistics.SampleSet.1.Parameter.2.Reference", value: "Device.Ethernet.Interface.1.Stats.BytesSent",
			want: set("InternetGatewayDevice.PeriodicStatistics.SampleSet.1.Parameter.2.Reference", cwmp.TypeString, "InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.1.Stats.BytesSent")},
		{path: "Device.PeriodicStatistics.SampleSet.1.Parameter.2.Reference", value: "Device.Nowhere.Value", code: usp.ErrInvalidValue},
	} {
		got, err := s.Write(s.ref(c.path), c.value, nil)
		code := usp.ErrorCode(0)
		if err != nil {
			code, got = err.Code, nil
		}
		if diff := cmp.Diff(c.want, got); diff != "" || code != c.code {
			t.Errorf("%s = %q: code %d, want %d; %v\n%s", c.path, c.value, code, c.code, err, diff)
		}
	}
}

// Lists of several connections that have an item in common make one row of it.
func TestItemsInCommonAreOneRow(t *testing.T) {
	const connections = `
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.DNSServers string 192.0.2.1, 192.0.2.2
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.2.DNSServers string 192.0.2.2,0.0.0.0,192.0.2.3
`
	s := show(t, gatewaySet(t), device(t, connections))
	var got []string
	for _, n := range s.Instances(s.ref("Device.DNS.Client.Server.")) {
		got = append(got, s.get("Device.DNS.Client.Server."+string('0'+rune(n))+".DNSServer"))
	}
	if diff := cmp.Diff([]string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}, got); diff != "" {
		t.Error(diff)
	}
}

// What is alike keeps its names and its numbers, and what a rule of its own says goes
// before.
func TestAlike(t *testing.T) {
	const storage = `
InternetGatewayDevice.Services.StorageService.1.PhysicalMedium.2.Model string Disk
+InternetGatewayDevice.Services.StorageService.1.LogicalVolume.1.Folder.4.Name string music
InternetGatewayDevice.Services.StorageService.1.LogicalVolume.1.PhysicalReference string InternetGatewayDevice.Services.StorageService.1.PhysicalMedium.2
+InternetGatewayDevice.CaptivePortal.CaptivePortalURL string http://192.0.2.1/
+InternetGatewayDevice.CaptivePortal.Enable boolean 1
+InternetGatewayDevice.Firewall.Config string Off
`
	s := show(t, gatewaySet(t), device(t, storage))
	for path, want := range map[string]string{
		"Device.Services.StorageService.1.PhysicalMedium.2.Model":            "Disk",
		"Device.Services.StorageService.1.LogicalVolume.1.Folder.4.Name":     "music",
		"Device.Services.StorageService.1.LogicalVolume.1.PhysicalReference": "Device.Services.StorageService.1.PhysicalMedium.2",
		"Device.CaptivePortal.URL":                                           "http://192.0.2.1/",
		"Device.CaptivePortal.Enable":                                        "true",
		"Device.Firewall.Enable":                                             "false",
	} {
		if got := s.get(path); got != want {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}
}
