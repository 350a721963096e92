package cpesim

import (
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

// Profile is how a CPE departs from the standard. The zero Profile conforms.
// Each field names one habit of real CPE, so that a test says what it is about.
type Profile struct {
	// Status1Always answers SetParameterValues, AddObject and DeleteObject with
	// Status 1, "committed but not yet applied", though it was applied: easycwmp.
	Status1Always bool
	// BooleansAsDigits writes booleans as 1 and 0, as most CPE do.
	BooleansAsDigits bool
	// OnlyCWMP1_0 lets Config.Version be 1.0, which is its zero value: CPE of the
	// first years.
	OnlyCWMP1_0 bool
	// NoCookie never returns a cookie: cwmp-sim, AMIT.
	NoCookie bool
	// MaxValueNames above 0 refuses a GetParameterValues of more names with
	// 9004: CPE with small buffers (Grandstream gives 9002 at 32 names).
	MaxValueNames int
	// RefuseEmptyPath refuses GetParameterNames and GetParameterValues of the
	// empty path with 9005: Sagemcom.
	RefuseEmptyPath bool
	// NoAttributes answers 9000 to Get- and SetParameterAttributes.
	NoAttributes bool
	// DenyActiveNotification answers 9009 to any active notification.
	DenyActiveNotification bool
	// UnnamedFaults leaves SetParameterValuesFault out of a refusal, so that
	// only the outer 9003 is seen.
	UnnamedFaults bool
	// CloseAfterEachResponse opens a new TCP connection for each POST of a
	// session: HTTP 1.0 stacks.
	CloseAfterEachResponse bool
	// SlowResponse is waited before each RPC is answered.
	SlowResponse time.Duration
	// DieAt is the name of an RPC at which the CPE loses its connection without
	// an answer, each time; the RPC is not carried out.
	DieAt string
	// DieAfter is the name of an RPC that the CPE carries out and then loses its
	// connection before the answer, each time: CPE that restart their WAN
	// interface to apply a setting.
	DieAfter string
	// RebootAt is the name of an RPC at which the CPE's power fails, each time;
	// it comes back with "1 BOOT".
	RebootAt string
	// RetryEvery above 0 is when a failed session is tried again, whatever the
	// back-off and the ACS's Retry-After: TP-Link, every 5 s.
	RetryEvery time.Duration
	// RefuseWith maps the name of an RPC to the fault that always answers it.
	RefuseWith map[string]cwmp.FaultCode
	// BusyConnectionRequests answers 503 while a session is open, rather than
	// opening another session afterwards; TR-069 3.2.2.1 allows both.
	BusyConnectionRequests bool
	// PeriodicAfterSession reports a connection request that came during a session
	// as "2 PERIODIC" in place of "6 CONNECTION REQUEST": several vendors.
	PeriodicAfterSession bool
	// NoSTUNIntegrity never sends MESSAGE-INTEGRITY: STUN clients of the time
	// before TR-111.
	NoSTUNIntegrity bool
	// NoConnectionRequest closes the connection of each connection request: a
	// CPE behind NAT.
	NoConnectionRequest bool
	// DieOnce makes DieAt and DieAfter happen the first time only: a line that
	// breaks.
	DieOnce bool
	// LoseResponses loses the ACS's response to the first report of each kind, so
	// that the CPE tells it again in another session.
	LoseResponses bool
	// FaultsAsStatus answers a refused AddObject with a success of instance 0
	// and the fault's code as Status.
	FaultsAsStatus bool
	// NoTransferQueue answers 9000 to GetQueuedTransfers, GetAllQueuedTransfers
	// and CancelTransfer: CPE of CWMP 1.0, and many later ones.
	NoTransferQueue bool
	// InstantTransfers carries a Download or Upload out before it is answered, with
	// Status 0; no TransferComplete follows (TR-069 A.3.2.8 allows it).
	InstantTransfers bool
	// NoTransferComplete never tells of the end of a transfer.
	NoTransferComplete bool
	// NoTransferEvents leaves "7 TRANSFER COMPLETE" and the "M" event out of the
	// Inform before a TransferComplete.
	NoTransferEvents bool
	// EmptyCommandKey leaves the CommandKey of a TransferComplete empty.
	EmptyCommandKey bool
	// WrongCommandKey, if set, is the CommandKey of each TransferComplete.
	WrongCommandKey string
	// UnknownTransferTimes gives year-0001 times in a TransferComplete (TR-069
	// allows it for times that are not known).
	UnknownTransferTimes bool
	// TransferCompleteBeforeBoot tells of a firmware download before it is booted.
	TransferCompleteBeforeBoot bool
	// FailTransfers is the fault with which each transfer ends, 0 for success.
	FailTransfers cwmp.FaultCode
	// DieInTransfer loses power during each transfer, and forgets it.
	DieInTransfer bool
	// KeepsOldFirmware tells of success when a firmware was transferred, boots, and
	// runs what it ran before.
	KeepsOldFirmware bool
	// DiagnosticsTime is how long a diagnostic takes, after the session that it
	// was requested in.
	DiagnosticsTime time.Duration
	// StuckDiagnostics never come to an end.
	StuckDiagnostics bool
	// NoDiagnosticsComplete ends diagnostics without "8 DIAGNOSTICS COMPLETE".
	NoDiagnosticsComplete bool
	// RebootInDiagnostics loses power when a diagnostic has begun.
	RebootInDiagnostics bool
	// PreemptiveBasic sends Basic credentials before it is asked (TR-069 3.4.4
	// recommends it over TLS).
	PreemptiveBasic bool
	// EmptyBasicFirst sends Basic credentials of an empty user and password until
	// it is asked for better ones.
	EmptyBasicFirst bool
	// OnlyMD5 overlooks digest challenges of other algorithms: CPE of before RFC
	// 7616.
	OnlyMD5 bool
	// NoQOP answers digest challenges as RFC 2069 has it, though qop was offered.
	NoQOP bool
	// NonceCountStuck leaves nc at 00000001.
	NonceCountStuck bool
	// KeepNonce answers the last session's digest challenge unasked in the next.
	KeepNonce bool
	// AlgorithmSpelling is what the algorithm parameter of digest answers has in
	// it, in place of what was challenged; "-" leaves the parameter out.
	AlgorithmSpelling string
	// NewConnectionAfter401 closes the connection after a 401: Fritz!Box.
	NewConnectionAfter401 bool
	// PeriodicFirstContact opens the first session with "2 PERIODIC" in place of
	// "0 BOOTSTRAP" and "1 BOOT": genieacs-sim, and CPE that were provisioned.
	PeriodicFirstContact bool

	Answers
}
