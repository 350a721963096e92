package mapping

// Small devices as vendors build them, each for what it has that others have not.
// See TestVendorTrees.

// ponRouter is a fibre router: a vendor's PON object, a VLAN per connection, IPTV
// bridged through, light in dBm.
const ponRouter = `
InternetGatewayDevice.DeviceInfo.Manufacturer string Example Networks
InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.MACAddress string 00:00:5E:00:53:01
+InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.DHCPServerEnable boolean 1
+InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.IPInterface.1.Enable boolean 1
+InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.IPInterface.1.IPInterfaceIPAddress string 192.168.100.1
InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.1.Status string Up
+InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.1.Enable boolean 1
InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.1.MaxBitRate string 1000
InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.2.Status string NoLink
InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.2.MaxBitRate string Auto
InternetGatewayDevice.WANDevice.1.WANCommonInterfaceConfig.WANAccessType string GPON
InternetGatewayDevice.WANDevice.1.WANCommonInterfaceConfig.PhysicalLinkStatus string Up
InternetGatewayDevice.WANDevice.1.X_GponInterafceConfig.Status string Up
InternetGatewayDevice.WANDevice.1.X_GponInterafceConfig.RXPower string -19.30 dBm
InternetGatewayDevice.WANDevice.1.X_GponInterafceConfig.TXPower string 2.10 dBm
InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPPPConnection.1.ConnectionStatus string Connected
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPPPConnection.1.Enable boolean 1
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPPPConnection.1.Username string user@example.com
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPPPConnection.1.Password string
InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPPPConnection.1.ExternalIPAddress string 198.51.100.7
InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPPPConnection.1.DNSServers string 192.0.2.1,192.0.2.2
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPPPConnection.1.DNSEnabled boolean 1
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPPPConnection.1.NATEnabled boolean 1
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPPPConnection.1.X_HW_VLAN unsignedInt 10
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPPPConnection.1.X_HW_IPv6.IPv6Address.1.IPAddress string 2001:db8::7
InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANIPConnection.1.ConnectionStatus string Disconnected
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANIPConnection.1.Enable boolean 0
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANIPConnection.1.AddressingType string DHCP
+InternetGatewayDevice.Layer3Forwarding.DefaultConnectionService string InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPPPConnection.1.
`

// dslRouter is a VDSL router: line, channel, a PTM and an ATM link.
const dslRouter = `
InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.MACAddress string 00:00:5E:00:53:11
InternetGatewayDevice.LANDevice.1.LANUSBInterfaceConfig.1.Status string Disabled
InternetGatewayDevice.LANDevice.1.LANUSBInterfaceConfig.1.Standard string 2.0
InternetGatewayDevice.WANDevice.1.WANCommonInterfaceConfig.WANAccessType string DSL
+InternetGatewayDevice.WANDevice.1.WANDSLInterfaceConfig.Enable boolean 1
InternetGatewayDevice.WANDevice.1.WANDSLInterfaceConfig.Status string Up
InternetGatewayDevice.WANDevice.1.WANDSLInterfaceConfig.LinkEncapsulationUsed string G.993.2_Annex_K_PTM
InternetGatewayDevice.WANDevice.1.WANDSLInterfaceConfig.UpstreamCurrRate unsignedInt 9999
InternetGatewayDevice.WANDevice.1.WANDSLInterfaceConfig.DownstreamCurrRate unsignedInt 49999
InternetGatewayDevice.WANDevice.1.WANDSLInterfaceConfig.DownstreamMaxRate unsignedInt 61000
InternetGatewayDevice.WANDevice.1.WANDSLInterfaceConfig.DownstreamNoiseMargin int 93
InternetGatewayDevice.WANDevice.1.WANDSLInterfaceConfig.ATURVendor hexBinary 4244434D
InternetGatewayDevice.WANDevice.1.WANDSLInterfaceConfig.Stats.Total.FECErrors unsignedInt 12
InternetGatewayDevice.WANDevice.1.WANDSLInterfaceConfig.Stats.Total.ATUCFECErrors unsignedInt 3
InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPTMLinkConfig.LinkStatus string Up
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPTMLinkConfig.Enable boolean 1
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.Enable boolean 1
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.AddressingType string Static
InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.ConnectionStatus string Connected
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.ExternalIPAddress string 203.0.113.7
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.DefaultGateway string 203.0.113.1
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.RouteProtocolRx string Off
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.ShapingRate int 5000000
InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANDSLLinkConfig.LinkStatus string Down
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANDSLLinkConfig.Enable boolean 1
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANDSLLinkConfig.LinkType string PPPoE
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANDSLLinkConfig.DestinationAddress string PVC:8/35
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANPPPConnection.1.Enable boolean 1
InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANPPPConnection.1.ConnectionStatus string Unconfigured
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANPPPConnection.1.ConnectionTrigger string OnDemand
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.2.WANPPPConnection.1.PPPCompressionProtocol string Van Jacobsen
InternetGatewayDevice.WANDevice.1.WANConnectionDevice.3.WANDSLLinkConfig.LinkStatus string Up
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.3.WANDSLLinkConfig.LinkType string PPPoA
+InternetGatewayDevice.WANDevice.1.WANConnectionDevice.3.WANPPPConnection.1.Enable boolean 1
InternetGatewayDevice.WANDevice.1.WANConnectionDevice.3.WANPPPConnection.1.ConnectionStatus string Connected
`

// officeRouter has classes, queues and bridges of its own, and disks.
const officeRouter = `
InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.MACAddress string 00:00:5E:00:53:31
InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.1.Status string Up
+InternetGatewayDevice.QueueManagement.Enable boolean 1
+InternetGatewayDevice.QueueManagement.DefaultPolicer int -1
+InternetGatewayDevice.QueueManagement.Classification.1.ClassificationEnable boolean 1
InternetGatewayDevice.QueueManagement.Classification.1.ClassificationStatus string Enabled
+InternetGatewayDevice.QueueManagement.Classification.1.ClassificationOrder unsignedInt 1
+InternetGatewayDevice.QueueManagement.Classification.1.ClassInterface string LAN
+InternetGatewayDevice.QueueManagement.Classification.1.ClassPolicer int 5
+InternetGatewayDevice.QueueManagement.Classification.1.ClassApp int 2
+InternetGatewayDevice.QueueManagement.Classification.1.SourceClientID string office
+InternetGatewayDevice.QueueManagement.App.1.AppKey unsignedInt 2
+InternetGatewayDevice.QueueManagement.App.1.AppEnable boolean 1
InternetGatewayDevice.QueueManagement.App.1.AppStatus string Enabled
+InternetGatewayDevice.QueueManagement.Flow.1.FlowEnable boolean 1
+InternetGatewayDevice.QueueManagement.Flow.1.AppIdentifier int 2
+InternetGatewayDevice.QueueManagement.Policer.1.PolicerKey unsignedInt 5
+InternetGatewayDevice.QueueManagement.Policer.1.PolicerEnable boolean 1
InternetGatewayDevice.QueueManagement.Policer.1.PolicerStatus string Enabled
+InternetGatewayDevice.QueueManagement.Queue.1.QueueKey unsignedInt 9
+InternetGatewayDevice.QueueManagement.Queue.1.QueueEnable boolean 1
+InternetGatewayDevice.QueueManagement.Queue.1.QueueInterface string InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.1
+InternetGatewayDevice.QueueManagement.QueueStats.1.Queue int 9
InternetGatewayDevice.Layer2Bridging.MaxBridgeEntries unsignedInt 8
+InternetGatewayDevice.Layer2Bridging.Bridge.1.BridgeKey unsignedInt 4
+InternetGatewayDevice.Layer2Bridging.Bridge.1.BridgeEnable boolean 1
InternetGatewayDevice.Layer2Bridging.Bridge.1.BridgeStatus string Enabled
+InternetGatewayDevice.Layer2Bridging.Bridge.1.BridgeStandard string 802.1Q
+InternetGatewayDevice.Layer2Bridging.Bridge.1.Port.1.PortEnable boolean 1
+InternetGatewayDevice.Layer2Bridging.Bridge.1.Port.1.PortInterface string 17
+InternetGatewayDevice.Layer2Bridging.Bridge.1.VLAN.1.VLANEnable boolean 1
+InternetGatewayDevice.Layer2Bridging.Bridge.1.VLAN.1.VLANName string guests
+InternetGatewayDevice.Layer2Bridging.Bridge.1.VLAN.1.VLANID int 20
+InternetGatewayDevice.Layer2Bridging.Filter.1.FilterEnable boolean 1
InternetGatewayDevice.Layer2Bridging.Filter.1.FilterStatus string Enabled
+InternetGatewayDevice.Layer2Bridging.Filter.1.FilterBridgeReference int 4
+InternetGatewayDevice.Layer2Bridging.Filter.1.ExclusivityOrder unsignedInt 1
+InternetGatewayDevice.Layer2Bridging.Filter.1.FilterInterface string 17
InternetGatewayDevice.Layer2Bridging.AvailableInterface.1.AvailableInterfaceKey unsignedInt 17
InternetGatewayDevice.Layer2Bridging.AvailableInterface.1.InterfaceReference string InternetGatewayDevice.LANDevice.1.LANEthernetInterfaceConfig.1
+InternetGatewayDevice.Services.StorageService.1.Enable boolean 1
InternetGatewayDevice.Services.StorageService.1.PhysicalMedium.1.Name string sda
InternetGatewayDevice.Services.StorageService.1.PhysicalMedium.1.Status string Online
InternetGatewayDevice.Services.StorageService.1.PhysicalMedium.1.Capacity unsignedInt 64000
+InternetGatewayDevice.Firewall.Config string High
InternetGatewayDevice.User.1.Username string admin
`

// setTop is a set-top box of Device:1 (TR-106).
const setTop = `
Device.DeviceSummary string Device:1.4[](Baseline:1), STBService:1.0[1](Baseline:1)
Device.DeviceInfo.Manufacturer string Example Networks
+Device.LAN.AddressingType string DHCP
Device.LAN.IPAddress string 192.168.1.40
Device.LAN.SubnetMask string 255.255.255.0
Device.LAN.DefaultGateway string 192.168.1.1
Device.LAN.DNSServers string 192.168.1.1,192.0.2.53
Device.LAN.MACAddress string 00:00:5E:00:53:41
Device.LAN.Stats.TotalBytesSent unsignedInt 900
+Device.Services.STBService.1.Enable boolean 1
`

// gatewayWithScreen is a gateway that is a set-top box besides.
const gatewayWithScreen = `
InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.MACAddress string 00:00:5E:00:53:51
+InternetGatewayDevice.Services.STBService.1.Enable boolean 1
`
