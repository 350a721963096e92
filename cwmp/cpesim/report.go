package cpesim

import (
	"slices"

	"github.com/uspbridge/uspbridge/cwmp"
)

// ownReport is an RPC that a CPE has for its ACS besides TransferComplete; one
// of its members is set.
type ownReport struct {
	Autonomous       *cwmp.AutonomousTransferComplete      `json:"autonomous,omitempty"`
	DUChange         *cwmp.DUStateChangeComplete           `json:"duChange,omitempty"`
	AutonomousChange *cwmp.AutonomousDUStateChangeComplete `json:"autonomousChange,omitempty"`
	RequestDownload  *cwmp.RequestDownload                 `json:"requestDownload,omitempty"`
	Kicked           *cwmp.Kicked                          `json:"kicked,omitempty"`
}

func (r ownReport) message() cwmp.Message {
	switch {
	case r.Autonomous != nil:
		return r.Autonomous
	case r.DUChange != nil:
		return r.DUChange
	case r.AutonomousChange != nil:
		return r.AutonomousChange
	case r.RequestDownload != nil:
		return r.RequestDownload
	}
	return r.Kicked
}

// events are what an Inform tells of the report (TR-069 table 7).
func (r ownReport) events() []cwmp.Event {
	switch {
	case r.Autonomous != nil:
		return []cwmp.Event{{Code: cwmp.EventAutonomousTransfer}}
	case r.DUChange != nil:
		return []cwmp.Event{{Code: cwmp.EventDUStateChange}, {Code: cwmp.EventMChangeDUState, CommandKey: r.DUChange.CommandKey}}
	case r.AutonomousChange != nil:
		return []cwmp.Event{{Code: cwmp.EventAutonomousDUStateChange}}
	case r.RequestDownload != nil:
		return []cwmp.Event{{Code: cwmp.EventRequestDownload}}
	}
	return []cwmp.Event{{Code: cwmp.EventKicked}}
}

// reports queues a report and opens a session for it. c.mu is held.
func (c *CPE) reports(r ownReport) {
	c.pending.Reports = append(c.pending.Reports, r)
	c.urgent, c.dirty = true, true
}

// told takes a report out of the queue that the ACS has answered. It reports
// false if the answer gets lost.
func (c *CPE) told(answer cwmp.Message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.profile.LoseResponses && c.first(answer.RPC()) {
		return false
	}
	c.dirty = true
	if _, transfer := answer.(*cwmp.TransferCompleteResponse); transfer {
		c.pending.Completed, c.pending.CompletedBy = c.pending.Completed[1:], c.pending.CompletedBy[1:]
		return true
	}
	if kicked, ok := answer.(*cwmp.KickedResponse); ok {
		c.nextURL = kicked.NextURL
	}
	c.pending.Reports = slices.Delete(c.pending.Reports, 0, 1)
	return true
}

// diesNow reports whether the CPE dies at an RPC at which its profile has it
// die, for the first time or again.
func (c *CPE) diesNow(rpc string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.profile.DieOnce || c.first(rpc)
}

// first reports whether something that happens once happens now. c.mu is held.
func (c *CPE) first(what string) bool {
	if c.lost == nil {
		c.lost = map[string]bool{}
	}
	before := c.lost[what]
	c.lost[what] = true
	return !before
}

// TransferByItself is a file transfer that nobody has ordered (TR-069 A.3.3.3).
func (c *CPE) TransferByItself(m cwmp.AutonomousTransferComplete) {
	c.mu.Lock()
	defer c.finishLocal()
	c.reports(ownReport{Autonomous: &m})
}

// ChangeByItself is a change of software modules that nobody has ordered
// (TR-069 A.4.2.4).
func (c *CPE) ChangeByItself(results ...cwmp.DUResult) {
	c.mu.Lock()
	defer c.finishLocal()
	c.reports(ownReport{AutonomousChange: &cwmp.AutonomousDUStateChangeComplete{Results: results}})
}

// RequestDownload asks the ACS for a file (TR-069 A.4.2.1).
func (c *CPE) RequestDownload(fileType string, args ...cwmp.Arg) {
	c.mu.Lock()
	defer c.finishLocal()
	c.reports(ownReport{RequestDownload: &cwmp.RequestDownload{FileType: fileType, Args: args}})
}

// Kick is somebody at the CPE's "kick" page (TR-069 A.4.2.3).
func (c *CPE) Kick(m cwmp.Kicked) {
	c.mu.Lock()
	defer c.finishLocal()
	c.reports(ownReport{Kicked: &m})
}

// NextURL returns where the last kick led.
func (c *CPE) NextURL() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nextURL
}
