package mapping

import "github.com/uspbridge/uspbridge/usp/dm"

// duStateChange is the standard's event for software modules. A device without
// them has it under ownPath.
const duStateChange = "Device.SoftwareModules.DUStateChange!"

// commandNodes adds the RPCs of TR-069 that have no standard command, and the
// events of the CPE's own RPCs, under ownPath. All are asynchronous: the CPE has
// to be called first, which can take as long as its deadline.
func (c *compiler) commandNodes() {
	own := c.node(ownPath)
	for _, n := range rpcCommands() {
		n.Kind, n.Async = dm.Command, true
		switch n.Name {
		case "Download()", "ScheduleDownload()", "Upload()", "ChangeDUState()":
			n.Durable = true
		}
		c.ownNode(own, n, "X_USPBRIDGE_CWMP.")
	}
	events := rpcEvents()
	std := c.std.elements[duStateChange]
	if c.nodes["Device.SoftwareModules."] != nil { // an event alone must not make the object appear
		c.ownNode(c.node("Device.SoftwareModules."), std.node("DUStateChange!"), "")
	} else {
		events = append(events, std.node("DUStateChange!"))
	}
	for _, n := range events {
		n.Kind = dm.Event
		c.ownNode(own, n, "X_USPBRIDGE_CWMP.")
	}
}

// The names of arguments are those of TR-069 annex A; those of time windows are
// as in TR-181 FirmwareImage.{i}.Activate().
var (
	fileArgs    = []string{"FileType", "URL", "Username", "Password"}
	times       = []string{"StartTime", "CompleteTime", "Evidence"}
	windowNames = []string{"TimeWindow.{i}.Start", "TimeWindow.{i}.End", "TimeWindow.{i}.Mode", "TimeWindow.{i}.UserMessage", "TimeWindow.{i}.MaxRetries"}
)

func rpcCommands() []*dm.Node {
	return []*dm.Node{
		{Name: "GetRPCMethods()", OutArgs: []string{"Method.{i}.Name"}},
		{Name: "Download()", InArgs: with(fileArgs, "FileSize", "TargetFileName", "DelaySeconds", "SuccessURL", "FailureURL"),
			Required: []string{"FileType", "URL"}, OutArgs: times},
		{Name: "ScheduleDownload()", InArgs: with(with(fileArgs, "FileSize", "TargetFileName"), windowNames...),
			Required: []string{"FileType", "URL"}, OutArgs: times},
		{Name: "Upload()", InArgs: with(fileArgs, "DelaySeconds"), Required: []string{"FileType"}, OutArgs: with(times, "File")},
		{Name: "ScheduleInform()", InArgs: []string{"DelaySeconds", "CommandKey"}, Required: []string{"DelaySeconds"}},
		{Name: "GetQueuedTransfers()", OutArgs: []string{"Transfer.{i}.CommandKey", "Transfer.{i}.State", "Transfer.{i}.Request"}},
		{Name: "GetAllQueuedTransfers()", OutArgs: []string{"Transfer.{i}.CommandKey", "Transfer.{i}.State", "Transfer.{i}.Request",
			"Transfer.{i}.IsDownload", "Transfer.{i}.FileType", "Transfer.{i}.FileSize", "Transfer.{i}.TargetFileName"}},
		{Name: "CancelTransfer()", InArgs: []string{"CommandKey"}, Required: []string{"CommandKey"}},
		{Name: "ChangeDUState()", InArgs: []string{"Operation.{i}.Kind", "Operation.{i}.URL", "Operation.{i}.UUID", "Operation.{i}.Username",
			"Operation.{i}.Password", "Operation.{i}.ExecutionEnvRef", "Operation.{i}.Version"},
			OutArgs: []string{"Result.{i}.UUID", "Result.{i}.DeploymentUnitRef", "Result.{i}.Version", "Result.{i}.CurrentState", "Result.{i}.Resolved",
				"Result.{i}.ExecutionUnitRefList", "Result.{i}.StartTime", "Result.{i}.CompleteTime", "Result.{i}.Fault.FaultCode", "Result.{i}.Fault.FaultString"}},
		{Name: "GetOptions()", InArgs: []string{"OptionName"}, OutArgs: []string{"Option.{i}.OptionName", "Option.{i}.VoucherSN", "Option.{i}.State",
			"Option.{i}.Mode", "Option.{i}.StartDate", "Option.{i}.ExpirationDate", "Option.{i}.IsTransferable"}},
		{Name: "SetVouchers()", InArgs: []string{"Voucher.{i}.Voucher"}},
	}
}

func rpcEvents() []*dm.Node {
	return []*dm.Node{
		{Name: "RequestDownload!", Args: []string{"FileType", "Argument.{i}.Name", "Argument.{i}.Value"}},
		{Name: "Kicked!", Args: []string{"Command", "Referer", "Argument", "Next"}},
	}
}

func with(names []string, more ...string) []string {
	return append(names[:len(names):len(names)], more...)
}
