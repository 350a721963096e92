package cwmp

// EventCode is an Inform event code (TR-069 table 7), as on the wire.
type EventCode string

// The standard event codes.
const (
	EventBootstrap               EventCode = "0 BOOTSTRAP"
	EventBoot                    EventCode = "1 BOOT"
	EventPeriodic                EventCode = "2 PERIODIC"
	EventScheduled               EventCode = "3 SCHEDULED"
	EventValueChange             EventCode = "4 VALUE CHANGE"
	EventKicked                  EventCode = "5 KICKED"
	EventConnectionRequest       EventCode = "6 CONNECTION REQUEST"
	EventTransferComplete        EventCode = "7 TRANSFER COMPLETE"
	EventDiagnosticsComplete     EventCode = "8 DIAGNOSTICS COMPLETE"
	EventRequestDownload         EventCode = "9 REQUEST DOWNLOAD"
	EventAutonomousTransfer      EventCode = "10 AUTONOMOUS TRANSFER COMPLETE"
	EventDUStateChange           EventCode = "11 DU STATE CHANGE COMPLETE"
	EventAutonomousDUStateChange EventCode = "12 AUTONOMOUS DU STATE CHANGE COMPLETE"
	EventWakeup                  EventCode = "13 WAKEUP"
	EventHeartbeat               EventCode = "14 HEARTBEAT"
	EventMReboot                 EventCode = "M Reboot"
	EventMScheduleInform         EventCode = "M ScheduleInform"
	EventMDownload               EventCode = "M Download"
	EventMScheduleDownload       EventCode = "M ScheduleDownload"
	EventMUpload                 EventCode = "M Upload"
	EventMChangeDUState          EventCode = "M ChangeDUState"
)

// Event is EventStruct: why the CPE informs.
type Event struct {
	Code       EventCode
	CommandKey string
}
