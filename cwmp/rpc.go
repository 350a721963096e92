package cwmp

import "time"

// Message is one RPC request, response or fault: the body of an envelope.
// RPC returns the element's local name, e.g. "GetParameterValuesResponse".
type Message interface{ RPC() string }

// Since returns the first version of CWMP whose schema has the message, in both
// directions. A CPE of an older version is not asked for it unless it says that it
// knows it: it may not know the RPC by that name. An answer goes out in the version
// of its request all the same, since whoever sent the request knows it.
func Since(m Message) Version {
	switch m.(type) {
	case *GetAllQueuedTransfers, *GetAllQueuedTransfersResponse,
		*AutonomousTransferComplete, *AutonomousTransferCompleteResponse:
		return Version1_1
	case *ScheduleDownload, *ScheduleDownloadResponse, *CancelTransfer, *CancelTransferResponse,
		*ChangeDUState, *ChangeDUStateResponse, *DUStateChangeComplete, *DUStateChangeCompleteResponse,
		*AutonomousDUStateChangeComplete, *AutonomousDUStateChangeCompleteResponse:
		return Version1_2
	}
	return Version1_0
}

// Inform opens a session (TR-069 A.3.3.1).
type Inform struct {
	DeviceID      DeviceID
	Events        []Event
	MaxEnvelopes  int
	CurrentTime   string // as written: CPE clocks are often unset or without a zone
	RetryCount    int
	ParameterList []ParameterValue
}

// HasEvent reports whether the Inform carries the event.
func (m *Inform) HasEvent(code EventCode) bool {
	for _, e := range m.Events {
		if e.Code == code {
			return true
		}
	}
	return false
}

// Parameter returns the value of the Inform's parameter with that name after
// its root, e.g. "ManagementServer.ConnectionRequestURL".
func (m *Inform) Parameter(afterRoot string) (Value, bool) {
	for _, p := range m.ParameterList {
		if string(p.Name[len(p.Name.Root()):]) == afterRoot {
			return p.Value, true
		}
	}
	return Value{}, false
}

// RPCs from ACS to CPE and their responses (TR-069 A.3.2, A.4.1), and from CPE
// to ACS (A.3.3, A.4.2).
type (
	InformResponse struct{ MaxEnvelopes int }

	GetRPCMethods         struct{}
	GetRPCMethodsResponse struct{ Methods []string }

	GetParameterNames struct {
		Path      Path
		NextLevel bool
	}
	GetParameterNamesResponse struct{ Parameters []ParameterInfo }

	GetParameterValues         struct{ Names []Path }
	GetParameterValuesResponse struct{ Values []ParameterValue }

	SetParameterValues struct {
		Values       []ParameterValue
		ParameterKey string
	}
	SetParameterValuesResponse struct{ Status int } // 0 applied, 1 committed but not yet applied

	GetParameterAttributes         struct{ Names []Path }
	GetParameterAttributesResponse struct{ Attributes []ParameterAttributes }
	SetParameterAttributes         struct{ Entries []SetParameterAttributesEntry }
	SetParameterAttributesResponse struct{}

	AddObject struct {
		Object       Path // partial path of the table, ends in '.'
		ParameterKey string
	}
	AddObjectResponse struct {
		InstanceNumber uint32
		Status         int
	}
	DeleteObject struct {
		Object       Path // path of the row, ends in '.'
		ParameterKey string
	}
	DeleteObjectResponse struct{ Status int }

	Reboot               struct{ CommandKey string }
	RebootResponse       struct{}
	FactoryReset         struct{}
	FactoryResetResponse struct{}

	Download struct {
		CommandKey, FileType, URL, Username, Password string
		FileSize                                      uint32
		TargetFileName                                string
		DelaySeconds                                  uint32
		SuccessURL, FailureURL                        string
	}
	DownloadResponse struct {
		Status                  int
		StartTime, CompleteTime string
	}
	Upload struct {
		CommandKey, FileType, URL, Username, Password string
		DelaySeconds                                  uint32
	}
	UploadResponse struct {
		Status                  int
		StartTime, CompleteTime string
	}

	TimeWindow struct {
		WindowStart, WindowEnd uint32 // seconds from receipt
		WindowMode             string
		UserMessage            string
		MaxRetries             int
	}
	ScheduleDownload struct {
		CommandKey, FileType, URL, Username, Password string
		FileSize                                      uint32
		TargetFileName                                string
		TimeWindows                                   []TimeWindow
	}
	ScheduleDownloadResponse struct{}
	ScheduleInform           struct {
		DelaySeconds uint32
		CommandKey   string
	}
	ScheduleInformResponse struct{}
	CancelTransfer         struct{ CommandKey string }
	CancelTransferResponse struct{}

	QueuedTransfer struct {
		CommandKey string
		State      int // 1 not yet started, 2 in progress, 3 completed
	}
	GetQueuedTransfers         struct{}
	GetQueuedTransfersResponse struct{ Transfers []QueuedTransfer }
	AllQueuedTransfer          struct {
		CommandKey     string
		State          int
		IsDownload     bool
		FileType       string
		FileSize       uint32
		TargetFileName string
	}
	GetAllQueuedTransfers         struct{}
	GetAllQueuedTransfersResponse struct{ Transfers []AllQueuedTransfer }

	DUOperation struct {
		Kind                                                    string // "Install", "Update" or "Uninstall"
		URL, UUID, Username, Password, ExecutionEnvRef, Version string
	}
	ChangeDUState struct {
		CommandKey string
		Operations []DUOperation
	}
	ChangeDUStateResponse struct{}

	Option struct {
		OptionName                string
		VoucherSN                 uint32
		State, Mode               int
		StartDate, ExpirationDate string
		IsTransferable            bool
	}
	GetOptions          struct{ OptionName string }
	GetOptionsResponse  struct{ Options []Option }
	SetVouchers         struct{ Vouchers []string } // base64 of each signed voucher
	SetVouchersResponse struct{}

	// TransferComplete tells the end of a Download, Upload or
	// ScheduleDownload. Fault is nil, or has code 0, on success.
	TransferComplete struct {
		CommandKey              string
		Fault                   *Fault
		StartTime, CompleteTime string
	}
	TransferCompleteResponse   struct{}
	AutonomousTransferComplete struct {
		AnnounceURL, TransferURL string
		IsDownload               bool
		FileType                 string
		FileSize                 uint32
		TargetFileName           string
		Fault                    *Fault
		StartTime, CompleteTime  string
	}
	AutonomousTransferCompleteResponse struct{}

	DUResult struct {
		OperationPerformed      string // AutonomousDUStateChangeComplete only
		UUID, DeploymentUnitRef string
		Version, CurrentState   string
		Resolved                bool
		ExecutionUnitRefList    string
		StartTime, CompleteTime string
		Fault                   *Fault
	}
	DUStateChangeComplete struct {
		CommandKey string
		Results    []DUResult
	}
	DUStateChangeCompleteResponse           struct{}
	AutonomousDUStateChangeComplete         struct{ Results []DUResult }
	AutonomousDUStateChangeCompleteResponse struct{}

	Arg             struct{ Name, Value string }
	RequestDownload struct {
		FileType string
		Args     []Arg
	}
	RequestDownloadResponse struct{}
	Kicked                  struct{ Command, Referer, Arg, Next string }
	KickedResponse          struct{ NextURL string }
)

// UnknownTime is "the time is not known" in CWMP dateTime values (TR-106 3.2).
var UnknownTime = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)

// RPC implements Message; each returns the name of its element.
func (*Inform) RPC() string                             { return "Inform" }
func (*InformResponse) RPC() string                     { return "InformResponse" }
func (*GetRPCMethods) RPC() string                      { return "GetRPCMethods" }
func (*GetRPCMethodsResponse) RPC() string              { return "GetRPCMethodsResponse" }
func (*GetParameterNames) RPC() string                  { return "GetParameterNames" }
func (*GetParameterNamesResponse) RPC() string          { return "GetParameterNamesResponse" }
func (*GetParameterValues) RPC() string                 { return "GetParameterValues" }
func (*GetParameterValuesResponse) RPC() string         { return "GetParameterValuesResponse" }
func (*SetParameterValues) RPC() string                 { return "SetParameterValues" }
func (*SetParameterValuesResponse) RPC() string         { return "SetParameterValuesResponse" }
func (*GetParameterAttributes) RPC() string             { return "GetParameterAttributes" }
func (*GetParameterAttributesResponse) RPC() string     { return "GetParameterAttributesResponse" }
func (*SetParameterAttributes) RPC() string             { return "SetParameterAttributes" }
func (*SetParameterAttributesResponse) RPC() string     { return "SetParameterAttributesResponse" }
func (*AddObject) RPC() string                          { return "AddObject" }
func (*AddObjectResponse) RPC() string                  { return "AddObjectResponse" }
func (*DeleteObject) RPC() string                       { return "DeleteObject" }
func (*DeleteObjectResponse) RPC() string               { return "DeleteObjectResponse" }
func (*Reboot) RPC() string                             { return "Reboot" }
func (*RebootResponse) RPC() string                     { return "RebootResponse" }
func (*FactoryReset) RPC() string                       { return "FactoryReset" }
func (*FactoryResetResponse) RPC() string               { return "FactoryResetResponse" }
func (*Download) RPC() string                           { return "Download" }
func (*DownloadResponse) RPC() string                   { return "DownloadResponse" }
func (*Upload) RPC() string                             { return "Upload" }
func (*UploadResponse) RPC() string                     { return "UploadResponse" }
func (*ScheduleDownload) RPC() string                   { return "ScheduleDownload" }
func (*ScheduleDownloadResponse) RPC() string           { return "ScheduleDownloadResponse" }
func (*ScheduleInform) RPC() string                     { return "ScheduleInform" }
func (*ScheduleInformResponse) RPC() string             { return "ScheduleInformResponse" }
func (*CancelTransfer) RPC() string                     { return "CancelTransfer" }
func (*CancelTransferResponse) RPC() string             { return "CancelTransferResponse" }
func (*GetQueuedTransfers) RPC() string                 { return "GetQueuedTransfers" }
func (*GetQueuedTransfersResponse) RPC() string         { return "GetQueuedTransfersResponse" }
func (*GetAllQueuedTransfers) RPC() string              { return "GetAllQueuedTransfers" }
func (*GetAllQueuedTransfersResponse) RPC() string      { return "GetAllQueuedTransfersResponse" }
func (*ChangeDUState) RPC() string                      { return "ChangeDUState" }
func (*ChangeDUStateResponse) RPC() string              { return "ChangeDUStateResponse" }
func (*GetOptions) RPC() string                         { return "GetOptions" }
func (*GetOptionsResponse) RPC() string                 { return "GetOptionsResponse" }
func (*SetVouchers) RPC() string                        { return "SetVouchers" }
func (*SetVouchersResponse) RPC() string                { return "SetVouchersResponse" }
func (*TransferComplete) RPC() string                   { return "TransferComplete" }
func (*TransferCompleteResponse) RPC() string           { return "TransferCompleteResponse" }
func (*AutonomousTransferComplete) RPC() string         { return "AutonomousTransferComplete" }
func (*AutonomousTransferCompleteResponse) RPC() string { return "AutonomousTransferCompleteResponse" }
func (*DUStateChangeComplete) RPC() string              { return "DUStateChangeComplete" }
func (*DUStateChangeCompleteResponse) RPC() string      { return "DUStateChangeCompleteResponse" }
func (*AutonomousDUStateChangeComplete) RPC() string    { return "AutonomousDUStateChangeComplete" }
func (*AutonomousDUStateChangeCompleteResponse) RPC() string {
	return "AutonomousDUStateChangeCompleteResponse"
}
func (*RequestDownload) RPC() string         { return "RequestDownload" }
func (*RequestDownloadResponse) RPC() string { return "RequestDownloadResponse" }
func (*Kicked) RPC() string                  { return "Kicked" }
func (*KickedResponse) RPC() string          { return "KickedResponse" }
func (*Fault) RPC() string                   { return "Fault" }
