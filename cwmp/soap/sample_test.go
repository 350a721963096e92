package soap_test

import (
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
)

// sample is a message that is valid since a version of CWMP: that of its RPC,
// or that of its values if from is later.
type sample struct {
	what string
	from cwmp.Version
	m    cwmp.Message
}

const sampleUUID = "12345678-9abc-4DEF-8123-456789abcdef"

// length returns a text of n characters, as long as the schema allows.
func length(n int) string { return strings.Repeat("<é", n/2) }

// sampleValues has every type of value, and text that needs escaping.
var sampleValues = []cwmp.ParameterValue{
	{Name: "Device.Text", Value: cwmp.Value{Type: cwmp.TypeString, Text: " <a href=\"x\">&amp;]]>\r\n\tä€😀 "}},
	{Name: "Device.Empty", Value: cwmp.Value{Type: cwmp.TypeString}},
	{Name: "Device.Int", Value: cwmp.Value{Type: cwmp.TypeInt, Text: "-2147483648"}},
	{Name: "Device.UnsignedInt", Value: cwmp.Value{Type: cwmp.TypeUnsignedInt, Text: "4294967295"}},
	{Name: "Device.Long", Value: cwmp.Value{Type: cwmp.TypeLong, Text: "-9223372036854775808"}},
	{Name: "Device.UnsignedLong", Value: cwmp.Value{Type: cwmp.TypeUnsignedLong, Text: "18446744073709551615"}},
	{Name: "Device.Boolean", Value: cwmp.Value{Type: cwmp.TypeBoolean, Text: "1"}},
	{Name: "Device.DateTime", Value: cwmp.Value{Type: cwmp.TypeDateTime, Text: "2024-02-29T12:00:00.123456Z"}},
	{Name: "Device.UnknownTime", Value: cwmp.Value{Type: cwmp.TypeDateTime, Text: "0001-01-01T00:00:00Z"}},
	{Name: "Device.Base64", Value: cwmp.Value{Type: cwmp.TypeBase64, Text: "QUJD"}},
	{Name: "Device.HexBinary", Value: cwmp.Value{Type: cwmp.TypeHexBinary, Text: "00fF"}},
	{Name: "Device.Decimal", Value: cwmp.Value{Type: cwmp.TypeDecimal, Text: "-1.5"}},
	{Name: cwmp.Path(length(256)), Value: cwmp.Value{Text: "of unknown type"}},
}

// samples have each message with the least and with the most that its schema
// lets it hold, and every choice that it has.
var samples = []sample{
	{"least", 0, &cwmp.Inform{DeviceID: cwmp.DeviceID{OUI: "00D09E"}}},
	{"most", 0, &cwmp.Inform{
		DeviceID:     cwmp.DeviceID{Manufacturer: length(64), OUI: "00D09E", ProductClass: length(64), SerialNumber: length(64)},
		Events:       sampleEvents("0 BOOTSTRAP", "1 BOOT", "2 PERIODIC", "3 SCHEDULED", "4 VALUE CHANGE", "5 KICKED", "6 CONNECTION REQUEST", "7 TRANSFER COMPLETE", "8 DIAGNOSTICS COMPLETE", "9 REQUEST DOWNLOAD", "M Reboot", "M ScheduleInform", "M Download", "M Upload", "M X_00D09E_Do", "X 00D09E Anything"),
		MaxEnvelopes: 1, CurrentTime: "2024-02-29T12:00:00+01:00", RetryCount: 2147483647, ParameterList: sampleValues}},
	{"events of 1.2", cwmp.Version1_2, &cwmp.Inform{DeviceID: cwmp.DeviceID{OUI: "00D09E"}, Events: sampleEvents(
		"10 AUTONOMOUS TRANSFER COMPLETE", "11 DU STATE CHANGE COMPLETE", "12 AUTONOMOUS DU STATE CHANGE COMPLETE", "13 WAKEUP", "14 HEARTBEAT", "M ScheduleDownload", "M ChangeDUState", "X VENDOR Anything")}},
	{"least", 0, &cwmp.InformResponse{}},
	{"most", 0, &cwmp.InformResponse{MaxEnvelopes: 1}},

	{"least", 0, &cwmp.GetRPCMethods{}},
	{"least", 0, &cwmp.GetRPCMethodsResponse{Methods: []string{""}}},
	{"most", 0, &cwmp.GetRPCMethodsResponse{Methods: []string{"Inform", length(64)}}},

	{"least", 0, &cwmp.GetParameterNames{}},
	{"most", 0, &cwmp.GetParameterNames{Path: "Device.", NextLevel: true}},
	{"least", 0, &cwmp.GetParameterNamesResponse{}},
	{"most", 0, &cwmp.GetParameterNamesResponse{Parameters: []cwmp.ParameterInfo{{Name: "Device.", Writable: true}, {Name: "Device.A"}}}},
	{"least", 0, &cwmp.GetParameterValues{Names: []cwmp.Path{""}}},
	{"most", 0, &cwmp.GetParameterValues{Names: []cwmp.Path{"Device.", cwmp.Path(length(256))}}},
	{"least", 0, &cwmp.GetParameterValuesResponse{}},
	{"most", 0, &cwmp.GetParameterValuesResponse{Values: sampleValues}},
	{"least", 0, &cwmp.SetParameterValues{}},
	{"most", 0, &cwmp.SetParameterValues{Values: sampleValues, ParameterKey: length(32)}},
	{"least", 0, &cwmp.SetParameterValuesResponse{}},
	{"most", 0, &cwmp.SetParameterValuesResponse{Status: 1}},
	{"least", 0, &cwmp.GetParameterAttributes{Names: []cwmp.Path{""}}},
	{"most", 0, &cwmp.GetParameterAttributes{Names: []cwmp.Path{"Device.", "Device.A"}}},
	{"least", 0, &cwmp.GetParameterAttributesResponse{}},
	{"most", 0, &cwmp.GetParameterAttributesResponse{Attributes: []cwmp.ParameterAttributes{{Name: "Device.A"},
		{Name: "Device.B", Notification: cwmp.NotificationPassive}, {Name: "Device.C", Notification: cwmp.NotificationActive, AccessList: []string{"Subscriber"}}}}},
	{"lightweight notifications", cwmp.Version1_2, &cwmp.GetParameterAttributesResponse{Attributes: []cwmp.ParameterAttributes{{Name: "Device.A", Notification: 6}}}},
	{"least", 0, &cwmp.SetParameterAttributes{Entries: []cwmp.SetParameterAttributesEntry{{}}}},
	{"most", 0, &cwmp.SetParameterAttributes{Entries: []cwmp.SetParameterAttributesEntry{{Name: "Device.A", NotificationChange: true, Notification: cwmp.NotificationActive},
		{Name: "Device.", NotificationChange: true, AccessListChange: true, AccessList: []string{"Subscriber", "Subscriber"}}}}},
	{"lightweight notifications", cwmp.Version1_2, &cwmp.SetParameterAttributes{Entries: []cwmp.SetParameterAttributesEntry{{Name: "Device.A", NotificationChange: true, Notification: 3}}}},
	{"least", 0, &cwmp.SetParameterAttributesResponse{}},

	{"least", 0, &cwmp.AddObject{Object: "."}},
	{"most", 0, &cwmp.AddObject{Object: "Device.NAT.PortMapping.", ParameterKey: length(32)}},
	{"least", 0, &cwmp.AddObjectResponse{InstanceNumber: 1}},
	{"most", 0, &cwmp.AddObjectResponse{InstanceNumber: 4294967295, Status: 1}},
	{"least", 0, &cwmp.DeleteObject{Object: "."}},
	{"most", 0, &cwmp.DeleteObject{Object: "Device.NAT.PortMapping.1.", ParameterKey: length(32)}},
	{"least", 0, &cwmp.DeleteObjectResponse{}},
	{"most", 0, &cwmp.DeleteObjectResponse{Status: 1}},

	{"least", 0, &cwmp.Reboot{}},
	{"most", 0, &cwmp.Reboot{CommandKey: length(32)}},
	{"least", 0, &cwmp.RebootResponse{}},
	{"least", 0, &cwmp.FactoryReset{}},
	{"least", 0, &cwmp.FactoryResetResponse{}},
	{"least", 0, &cwmp.ScheduleInform{}},
	{"most", 0, &cwmp.ScheduleInform{DelaySeconds: 4294967295, CommandKey: length(32)}},
	{"least", 0, &cwmp.ScheduleInformResponse{}},

	{"least", 0, &cwmp.Download{FileType: "1 Firmware Upgrade Image"}},
	{"most", 0, &cwmp.Download{CommandKey: length(32), FileType: "X 00D09E File", URL: length(256), Username: length(256), Password: length(256),
		FileSize: 4294967295, TargetFileName: length(256), DelaySeconds: 4294967295, SuccessURL: length(256), FailureURL: length(256)}},
	{"file type of 1.2", cwmp.Version1_2, &cwmp.Download{FileType: "5 Ringer File"}},
	{"least", 0, &cwmp.DownloadResponse{}},
	{"most", 0, &cwmp.DownloadResponse{Status: 1, StartTime: "2024-02-29T12:00:00", CompleteTime: "2024-02-29T12:00:01Z"}},
	{"least", 0, &cwmp.Upload{FileType: "1 Vendor Configuration File"}},
	{"most", 0, &cwmp.Upload{CommandKey: length(32), FileType: "X 00D09E File", URL: length(256), Username: length(256), Password: length(256), DelaySeconds: 4294967295}},
	{"file type with an instance", cwmp.Version1_2, &cwmp.Upload{FileType: "4 Vendor Log File 2"}},
	{"least", 0, &cwmp.UploadResponse{}},
	{"most", 0, &cwmp.UploadResponse{Status: 1, StartTime: "2024-02-29T12:00:00", CompleteTime: "2024-02-29T12:00:01Z"}},
	{"least", 0, &cwmp.ScheduleDownload{FileType: "1 Firmware Upgrade Image", TimeWindows: []cwmp.TimeWindow{{WindowMode: "1 At Any Time"}}}},
	{"most", 0, &cwmp.ScheduleDownload{CommandKey: length(32), FileType: "X VENDOR File", URL: length(256), Username: length(256), Password: length(256), FileSize: 4294967295, TargetFileName: length(256),
		TimeWindows: []cwmp.TimeWindow{{WindowStart: 1, WindowEnd: 4294967295, WindowMode: "4 Confirmation Needed", UserMessage: length(256), MaxRetries: -1}, {WindowMode: "X VENDOR Mode"}}}},
	{"least", 0, &cwmp.ScheduleDownloadResponse{}},
	{"least", 0, &cwmp.CancelTransfer{}},
	{"most", 0, &cwmp.CancelTransfer{CommandKey: length(32)}},
	{"least", 0, &cwmp.CancelTransferResponse{}},
	{"least", 0, &cwmp.GetQueuedTransfers{}},
	{"least", 0, &cwmp.GetQueuedTransfersResponse{}},
	{"most", 0, &cwmp.GetQueuedTransfersResponse{Transfers: []cwmp.QueuedTransfer{{State: 1}, {State: 2}, {CommandKey: length(32), State: 3}}}},
	{"least", 0, &cwmp.GetAllQueuedTransfers{}},
	{"least", 0, &cwmp.GetAllQueuedTransfersResponse{}},
	{"most", 0, &cwmp.GetAllQueuedTransfersResponse{Transfers: []cwmp.AllQueuedTransfer{{State: 1, FileType: "2 Web Content"},
		{CommandKey: length(32), State: 3, IsDownload: true, FileType: "4 Vendor Log File", FileSize: 4294967295, TargetFileName: length(256)}}}},

	{"least", 0, &cwmp.TransferComplete{}},
	{"most", 0, &cwmp.TransferComplete{CommandKey: length(32), Fault: &cwmp.Fault{Code: 9012, Text: length(256)}, StartTime: "2024-02-29T12:00:00Z", CompleteTime: "2024-02-29T12:00:01Z"}},
	{"fault of 1.1", cwmp.Version1_1, &cwmp.TransferComplete{Fault: cwmp.NewFault(cwmp.FaultDownloadAuthentication)}},
	{"fault of 1.2, foreseen in 1.1", cwmp.Version1_1, &cwmp.TransferComplete{Fault: cwmp.NewFault(cwmp.FaultDownloadTimeWindow)}},
	{"fault of a vendor", cwmp.Version1_1, &cwmp.TransferComplete{Fault: &cwmp.Fault{Code: 9899}}},
	{"least", 0, &cwmp.TransferCompleteResponse{}},
	{"least", 0, &cwmp.AutonomousTransferComplete{FileType: "2 Web Content"}},
	{"most", 0, &cwmp.AutonomousTransferComplete{AnnounceURL: length(1024), TransferURL: length(1024), IsDownload: true, FileType: "4 Vendor Log File", FileSize: 4294967295,
		TargetFileName: length(256), Fault: &cwmp.Fault{Code: 9010, Text: length(256)}, StartTime: "2024-02-29T12:00:00Z", CompleteTime: "2024-02-29T12:00:01Z"}},
	{"least", 0, &cwmp.AutonomousTransferCompleteResponse{}},
	{"least", 0, &cwmp.RequestDownload{FileType: "2 Web Content"}},
	{"most", 0, &cwmp.RequestDownload{FileType: "X 00D09E File", Args: []cwmp.Arg{{}, {Name: length(64), Value: length(256)}}}},
	{"least", 0, &cwmp.RequestDownloadResponse{}},
	{"least", 0, &cwmp.Kicked{}},
	{"most", 0, &cwmp.Kicked{Command: length(32), Referer: length(64), Arg: length(256), Next: length(1024)}},
	{"least", 0, &cwmp.KickedResponse{}},
	{"most", 0, &cwmp.KickedResponse{NextURL: length(1024)}},

	{"least", 0, &cwmp.ChangeDUState{Operations: []cwmp.DUOperation{{Kind: "Update"}}}},
	{"most", 0, &cwmp.ChangeDUState{CommandKey: length(32), Operations: []cwmp.DUOperation{
		{Kind: "Install", URL: "http://files.example/" + strings.Repeat("a", 1003), UUID: sampleUUID, Username: length(256), Password: length(256), ExecutionEnvRef: length(256)},
		{Kind: "Update", URL: "http://files.example/a", UUID: sampleUUID, Username: length(256), Password: length(256), Version: length(32)},
		{Kind: "Uninstall", UUID: sampleUUID, ExecutionEnvRef: length(256), Version: length(32)},
		{URL: "http://files.example/a"}}}},
	{"least", 0, &cwmp.ChangeDUStateResponse{}},
	{"least", 0, &cwmp.DUStateChangeComplete{Results: []cwmp.DUResult{{UUID: sampleUUID, CurrentState: "Failed"}}}},
	{"most", 0, &cwmp.DUStateChangeComplete{CommandKey: length(32), Results: []cwmp.DUResult{sampleResult(""), sampleResult("Install")}}},
	{"least", 0, &cwmp.DUStateChangeCompleteResponse{}},
	{"least", 0, &cwmp.AutonomousDUStateChangeComplete{Results: []cwmp.DUResult{{UUID: sampleUUID, CurrentState: "Uninstalled"}}}},
	{"most", 0, &cwmp.AutonomousDUStateChangeComplete{Results: []cwmp.DUResult{sampleResult("Install"), sampleResult("Update")}}},
	{"least", 0, &cwmp.AutonomousDUStateChangeCompleteResponse{}},

	{"least", 0, &cwmp.GetOptions{}},
	{"most", 0, &cwmp.GetOptions{OptionName: length(64)}},
	{"least", 0, &cwmp.GetOptionsResponse{}},
	{"most", 0, &cwmp.GetOptionsResponse{Options: []cwmp.Option{{}, {OptionName: length(64), VoucherSN: 4294967295, State: 3, Mode: 2,
		StartDate: "2024-02-29T12:00:00Z", ExpirationDate: "2024-03-01T12:00:00Z", IsTransferable: true}}}},
	{"least", 0, &cwmp.SetVouchers{Vouchers: []string{""}}},
	{"most", 0, &cwmp.SetVouchers{Vouchers: []string{"QUJD", "QQ=="}}},
	{"least", 0, &cwmp.SetVouchersResponse{}},

	{"of the CPE, least", 0, &cwmp.Fault{Code: 9000}},
	{"of the CPE, most", 0, &cwmp.Fault{Code: cwmp.FaultInvalidArguments, Text: "<&>", Parameters: []cwmp.ParameterFault{
		{Name: "Device.A", Code: cwmp.FaultInvalidParameterValue, Text: "<&>"}, {Name: "Device.B", Code: 9800}}}},
	{"of the ACS", 0, cwmp.NewFault(cwmp.FaultACSRetryRequest)},
	{"of a vendor's CPE", 0, &cwmp.Fault{Code: 9899}},
	{"of a vendor's ACS", 0, &cwmp.Fault{Code: 8899}},
	{"of 1.1", cwmp.Version1_1, cwmp.NewFault(cwmp.FaultACSIncompatible)},
	{"of 1.2, foreseen in 1.1", cwmp.Version1_1, cwmp.NewFault(cwmp.FaultInvalidDUStateVersionExists)},
	{"no RPC", 0, nil},
}

func sampleEvents(codes ...cwmp.EventCode) (events []cwmp.Event) {
	for _, c := range codes {
		events = append(events, cwmp.Event{Code: c, CommandKey: length(32)})
	}
	return events
}

func sampleResult(operation string) cwmp.DUResult {
	return cwmp.DUResult{OperationPerformed: operation, UUID: sampleUUID, DeploymentUnitRef: "Device.SoftwareModules.DeploymentUnit.1", Version: length(32),
		CurrentState: "Installed", Resolved: true, ExecutionUnitRefList: "Device.SoftwareModules.ExecutionUnit.1,Device.SoftwareModules.ExecutionUnit.2",
		StartTime: "2024-02-29T12:00:00Z", CompleteTime: "2024-02-29T12:00:01Z", Fault: cwmp.NewFault(cwmp.FaultInvalidDUStateUpgrade)}
}
