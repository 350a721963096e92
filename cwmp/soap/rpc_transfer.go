package soap

import (
	"github.com/uspbridge/uspbridge/cwmp"
)

// Reboots, file transfers and scheduled work (TR-069 A.3.2.8 to A.3.2.10,
// A.3.3.2, A.3.3.3, A.4.1, A.4.2).

var rebootRPCs = []codec{
	rpc[cwmp.Reboot](
		text("CommandKey", func(m *cwmp.Reboot) *string { return &m.CommandKey })),
	rpc[cwmp.RebootResponse](),
	rpc[cwmp.FactoryReset](),
	rpc[cwmp.FactoryResetResponse](),
	rpc[cwmp.ScheduleInform](
		number("DelaySeconds", func(m *cwmp.ScheduleInform) *uint32 { return &m.DelaySeconds }),
		text("CommandKey", func(m *cwmp.ScheduleInform) *string { return &m.CommandKey })),
	rpc[cwmp.ScheduleInformResponse](),
}

var timeWindowMembers = fields[cwmp.TimeWindow]{
	number("WindowStart", func(m *cwmp.TimeWindow) *uint32 { return &m.WindowStart }),
	number("WindowEnd", func(m *cwmp.TimeWindow) *uint32 { return &m.WindowEnd }),
	token("WindowMode", func(m *cwmp.TimeWindow) *string { return &m.WindowMode }),
	text("UserMessage", func(m *cwmp.TimeWindow) *string { return &m.UserMessage }),
	number("MaxRetries", func(m *cwmp.TimeWindow) *int { return &m.MaxRetries }),
}

var argMembers = fields[cwmp.Arg]{
	token("Name", func(m *cwmp.Arg) *string { return &m.Name }),
	text("Value", func(m *cwmp.Arg) *string { return &m.Value }),
}

var transferRPCs = []codec{
	rpc[cwmp.Download](
		text("CommandKey", func(m *cwmp.Download) *string { return &m.CommandKey }),
		token("FileType", func(m *cwmp.Download) *string { return &m.FileType }),
		token("URL", func(m *cwmp.Download) *string { return &m.URL }),
		text("Username", func(m *cwmp.Download) *string { return &m.Username }),
		text("Password", func(m *cwmp.Download) *string { return &m.Password }),
		number("FileSize", func(m *cwmp.Download) *uint32 { return &m.FileSize }),
		text("TargetFileName", func(m *cwmp.Download) *string { return &m.TargetFileName }),
		number("DelaySeconds", func(m *cwmp.Download) *uint32 { return &m.DelaySeconds }),
		token("SuccessURL", func(m *cwmp.Download) *string { return &m.SuccessURL }),
		token("FailureURL", func(m *cwmp.Download) *string { return &m.FailureURL })),
	rpc[cwmp.DownloadResponse](
		number("Status", func(m *cwmp.DownloadResponse) *int { return &m.Status }),
		dateTime("StartTime", func(m *cwmp.DownloadResponse) *string { return &m.StartTime }),
		dateTime("CompleteTime", func(m *cwmp.DownloadResponse) *string { return &m.CompleteTime })),
	rpc[cwmp.Upload](
		text("CommandKey", func(m *cwmp.Upload) *string { return &m.CommandKey }),
		token("FileType", func(m *cwmp.Upload) *string { return &m.FileType }),
		token("URL", func(m *cwmp.Upload) *string { return &m.URL }),
		text("Username", func(m *cwmp.Upload) *string { return &m.Username }),
		text("Password", func(m *cwmp.Upload) *string { return &m.Password }),
		number("DelaySeconds", func(m *cwmp.Upload) *uint32 { return &m.DelaySeconds })),
	rpc[cwmp.UploadResponse](
		number("Status", func(m *cwmp.UploadResponse) *int { return &m.Status }),
		dateTime("StartTime", func(m *cwmp.UploadResponse) *string { return &m.StartTime }),
		dateTime("CompleteTime", func(m *cwmp.UploadResponse) *string { return &m.CompleteTime })),
	rpc[cwmp.ScheduleDownload](
		text("CommandKey", func(m *cwmp.ScheduleDownload) *string { return &m.CommandKey }),
		token("FileType", func(m *cwmp.ScheduleDownload) *string { return &m.FileType }),
		token("URL", func(m *cwmp.ScheduleDownload) *string { return &m.URL }),
		text("Username", func(m *cwmp.ScheduleDownload) *string { return &m.Username }),
		text("Password", func(m *cwmp.ScheduleDownload) *string { return &m.Password }),
		number("FileSize", func(m *cwmp.ScheduleDownload) *uint32 { return &m.FileSize }),
		text("TargetFileName", func(m *cwmp.ScheduleDownload) *string { return &m.TargetFileName }),
		array("TimeWindowList", "TimeWindowStruct", timeWindowMembers,
			func(m *cwmp.ScheduleDownload) *[]cwmp.TimeWindow { return &m.TimeWindows }, nil)),
	rpc[cwmp.ScheduleDownloadResponse](),
	rpc[cwmp.TransferComplete](append(append([]field[cwmp.TransferComplete]{
		text("CommandKey", func(m *cwmp.TransferComplete) *string { return &m.CommandKey })},
		faultFields("FaultStruct", func(m *cwmp.TransferComplete) **cwmp.Fault { return &m.Fault })...),
		dateTime("StartTime", func(m *cwmp.TransferComplete) *string { return &m.StartTime }),
		dateTime("CompleteTime", func(m *cwmp.TransferComplete) *string { return &m.CompleteTime }))...),
	rpc[cwmp.TransferCompleteResponse](),
	rpc[cwmp.AutonomousTransferComplete](append(append([]field[cwmp.AutonomousTransferComplete]{
		token("AnnounceURL", func(m *cwmp.AutonomousTransferComplete) *string { return &m.AnnounceURL }),
		token("TransferURL", func(m *cwmp.AutonomousTransferComplete) *string { return &m.TransferURL }),
		boolean("IsDownload", func(m *cwmp.AutonomousTransferComplete) *bool { return &m.IsDownload }),
		token("FileType", func(m *cwmp.AutonomousTransferComplete) *string { return &m.FileType }),
		number("FileSize", func(m *cwmp.AutonomousTransferComplete) *uint32 { return &m.FileSize }),
		text("TargetFileName", func(m *cwmp.AutonomousTransferComplete) *string { return &m.TargetFileName })},
		faultFields("FaultStruct", func(m *cwmp.AutonomousTransferComplete) **cwmp.Fault { return &m.Fault })...),
		dateTime("StartTime", func(m *cwmp.AutonomousTransferComplete) *string { return &m.StartTime }),
		dateTime("CompleteTime", func(m *cwmp.AutonomousTransferComplete) *string { return &m.CompleteTime }))...),
	rpc[cwmp.AutonomousTransferCompleteResponse](),
	rpc[cwmp.RequestDownload](
		token("FileType", func(m *cwmp.RequestDownload) *string { return &m.FileType }),
		array("FileTypeArg", "ArgStruct", argMembers, func(m *cwmp.RequestDownload) *[]cwmp.Arg { return &m.Args }, nil)),
	rpc[cwmp.RequestDownloadResponse](),
}

var queuedTransferMembers = fields[cwmp.QueuedTransfer]{
	text("CommandKey", func(m *cwmp.QueuedTransfer) *string { return &m.CommandKey }),
	number("State", func(m *cwmp.QueuedTransfer) *int { return &m.State }),
}

var allQueuedTransferMembers = fields[cwmp.AllQueuedTransfer]{
	text("CommandKey", func(m *cwmp.AllQueuedTransfer) *string { return &m.CommandKey }),
	number("State", func(m *cwmp.AllQueuedTransfer) *int { return &m.State }),
	boolean("IsDownload", func(m *cwmp.AllQueuedTransfer) *bool { return &m.IsDownload }),
	token("FileType", func(m *cwmp.AllQueuedTransfer) *string { return &m.FileType }),
	number("FileSize", func(m *cwmp.AllQueuedTransfer) *uint32 { return &m.FileSize }),
	text("TargetFileName", func(m *cwmp.AllQueuedTransfer) *string { return &m.TargetFileName }),
}

var transferQueueRPCs = []codec{
	rpc[cwmp.CancelTransfer](
		text("CommandKey", func(m *cwmp.CancelTransfer) *string { return &m.CommandKey })),
	rpc[cwmp.CancelTransferResponse](),
	rpc[cwmp.GetQueuedTransfers](),
	rpc[cwmp.GetQueuedTransfersResponse](
		array("TransferList", "QueuedTransferStruct", queuedTransferMembers,
			func(m *cwmp.GetQueuedTransfersResponse) *[]cwmp.QueuedTransfer { return &m.Transfers }, nil)),
	rpc[cwmp.GetAllQueuedTransfers](),
	rpc[cwmp.GetAllQueuedTransfersResponse](
		array("TransferList", "AllQueuedTransferStruct", allQueuedTransferMembers,
			func(m *cwmp.GetAllQueuedTransfersResponse) *[]cwmp.AllQueuedTransfer { return &m.Transfers }, nil)),
}
