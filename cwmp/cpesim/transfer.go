package cpesim

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

// TransferRequest is one file that a CPE fetches or stores.
type TransferRequest struct {
	CPE                cwmp.DeviceID
	Upload             bool
	URL                string
	Username, Password string
	FileType           string
	FileSize           uint32 // of a download, as the ACS has told; 0: not told
}

// transfer is a Download or Upload that waits for its time.
type transfer struct {
	At             time.Time      `json:"at"`
	Event          cwmp.EventCode `json:"event"` // which "M …" tells its end
	CommandKey     string         `json:"commandKey"`
	FileType       string         `json:"fileType"`
	URL            string         `json:"url"`
	Username       string         `json:"username,omitempty"`
	Password       string         `json:"password,omitempty"`
	TargetFileName string         `json:"targetFileName,omitempty"`
	FileSize       uint32         `json:"fileSize,omitempty"`
}

// maxTransfers bounds the queue; TR-069 A.3.2.8 asks for three at least.
const maxTransfers = 16

// queueTransfer takes a transfer on if the CPE can make it.
func (c *CPE) queueTransfer(t transfer) *cwmp.Fault {
	target, err := url.Parse(t.URL)
	if err != nil || target.Host == "" {
		return cwmp.Faultf(cwmp.FaultInvalidArguments, "Invalid arguments: %q is no URL", t.URL)
	}
	if !slices.Contains([]string{"http", "https", "ftp", "tftp"}, target.Scheme) {
		return cwmp.NewFault(cwmp.FaultTransferProtocol)
	}
	if len(c.pending.Transfers) >= maxTransfers {
		return cwmp.NewFault(cwmp.FaultResourcesExceeded)
	}
	c.pending.Transfers = append(c.pending.Transfers, t)
	c.dirty = true
	return nil
}

// after is when something DelaySeconds from now is due.
func (c *CPE) after(seconds uint32) time.Time {
	return c.now().Add(time.Duration(seconds) * time.Second)
}

// download: TR-069 A.3.2.8. Status 1: the file is fetched after the session.
func (c *CPE) download(m *cwmp.Download) (cwmp.Message, *cwmp.Fault) {
	if fault := c.queueTransfer(transfer{At: c.after(m.DelaySeconds), Event: cwmp.EventMDownload, CommandKey: m.CommandKey,
		FileType: m.FileType, URL: m.URL, Username: m.Username, Password: m.Password,
		TargetFileName: m.TargetFileName, FileSize: m.FileSize}); fault != nil {
		return nil, fault
	}
	if c.profile.InstantTransfers {
		c.arrived(c.takeLast())
		return &cwmp.DownloadResponse{StartTime: c.stamp(), CompleteTime: c.stamp()}, nil
	}
	return &cwmp.DownloadResponse{Status: 1, StartTime: unknownTime, CompleteTime: unknownTime}, nil
}

// scheduleDownload: TR-069 A.4.1.8; the file is fetched at the start of the
// first window.
func (c *CPE) scheduleDownload(m *cwmp.ScheduleDownload) (cwmp.Message, *cwmp.Fault) {
	if len(m.TimeWindows) == 0 || len(m.TimeWindows) > 2 || m.TimeWindows[0].WindowEnd <= m.TimeWindows[0].WindowStart {
		return nil, cwmp.Faultf(cwmp.FaultInvalidArguments, "Invalid arguments: want one or two time windows that end after they start")
	}
	if fault := c.queueTransfer(transfer{At: c.after(m.TimeWindows[0].WindowStart), Event: cwmp.EventMScheduleDownload,
		CommandKey: m.CommandKey, FileType: m.FileType, URL: m.URL, Username: m.Username, Password: m.Password,
		TargetFileName: m.TargetFileName, FileSize: m.FileSize}); fault != nil {
		return nil, fault
	}
	return &cwmp.ScheduleDownloadResponse{}, nil
}

// upload: TR-069 A.4.1.5.
func (c *CPE) upload(m *cwmp.Upload) (cwmp.Message, *cwmp.Fault) {
	if fault := c.queueTransfer(transfer{At: c.after(m.DelaySeconds), Event: cwmp.EventMUpload, CommandKey: m.CommandKey,
		FileType: m.FileType, URL: m.URL, Username: m.Username, Password: m.Password}); fault != nil {
		return nil, fault
	}
	if c.profile.InstantTransfers {
		c.takeLast()
		return &cwmp.UploadResponse{StartTime: c.stamp(), CompleteTime: c.stamp()}, nil
	}
	return &cwmp.UploadResponse{Status: 1, StartTime: unknownTime, CompleteTime: unknownTime}, nil
}

// takeLast takes the transfer that was queued last out of the queue.
func (c *CPE) takeLast() transfer {
	last := len(c.pending.Transfers) - 1
	t := c.pending.Transfers[last]
	c.pending.Transfers = c.pending.Transfers[:last]
	return t
}

func (c *CPE) stamp() string { return c.now().UTC().Format(time.RFC3339) }

const unknownTime = "0001-01-01T00:00:00Z"

// cancelTransfer: TR-069 A.4.1.9; a key that nothing has is no error.
func (c *CPE) cancelTransfer(m *cwmp.CancelTransfer) (cwmp.Message, *cwmp.Fault) {
	c.pending.Transfers = slices.DeleteFunc(c.pending.Transfers, func(t transfer) bool { return t.CommandKey == m.CommandKey })
	c.dirty = true
	return &cwmp.CancelTransferResponse{}, nil
}

// The states of queued transfers (TR-069 A.4.1.7).
const (
	transferWaits = 1
	transferEnded = 3
)

func (c *CPE) getQueuedTransfers() (cwmp.Message, *cwmp.Fault) {
	response := &cwmp.GetQueuedTransfersResponse{}
	for _, t := range c.pending.Transfers {
		response.Transfers = append(response.Transfers, cwmp.QueuedTransfer{CommandKey: t.CommandKey, State: transferWaits})
	}
	for _, done := range c.pending.Completed {
		response.Transfers = append(response.Transfers, cwmp.QueuedTransfer{CommandKey: done.CommandKey, State: transferEnded})
	}
	return response, nil
}

func (c *CPE) getAllQueuedTransfers() (cwmp.Message, *cwmp.Fault) {
	response := &cwmp.GetAllQueuedTransfersResponse{}
	for _, t := range c.pending.Transfers {
		response.Transfers = append(response.Transfers, cwmp.AllQueuedTransfer{CommandKey: t.CommandKey, State: transferWaits,
			IsDownload: t.Event != cwmp.EventMUpload, FileType: t.FileType, FileSize: t.FileSize, TargetFileName: t.TargetFileName})
	}
	return response, nil
}

// scheduleInform: TR-069 A.4.1.2 asks for a delay above zero.
func (c *CPE) scheduleInform(m *cwmp.ScheduleInform) (cwmp.Message, *cwmp.Fault) {
	if m.DelaySeconds == 0 {
		return nil, cwmp.Faultf(cwmp.FaultInvalidArguments, "Invalid arguments: DelaySeconds is 0")
	}
	if len(c.pending.Schedules) >= maxTransfers {
		return nil, cwmp.NewFault(cwmp.FaultResourcesExceeded)
	}
	c.pending.Schedules = append(c.pending.Schedules, schedule{At: c.after(m.DelaySeconds), CommandKey: cloneString(m.CommandKey)})
	c.dirty = true
	return &cwmp.ScheduleInformResponse{}, nil
}

// perform makes a transfer that is due and keeps its end for the ACS; a firmware
// that arrived is booted.
func (c *CPE) perform(ctx context.Context, t transfer) {
	start := c.now()
	var fault *cwmp.Fault
	switch {
	case c.profile.DieInTransfer:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pending.Transfers = slices.DeleteFunc(c.pending.Transfers, func(other transfer) bool { return other == t })
		c.beginBoot()
		return
	case c.profile.FailTransfers != 0:
		fault = cwmp.NewFault(c.profile.FailTransfers)
	case c.fleet.config.Transfer != nil:
		fault = c.fleet.config.Transfer(ctx, TransferRequest{CPE: c.identity, Upload: t.Event == cwmp.EventMUpload, URL: t.URL,
			Username: t.Username, Password: t.Password, FileType: t.FileType, FileSize: t.FileSize})
		if ctx.Err() != nil {
			return // stays queued: the simulator ends, the CPE does not
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	at := slices.Index(c.pending.Transfers, t)
	if at < 0 {
		return // cancelled meanwhile
	}
	c.pending.Transfers = slices.Delete(c.pending.Transfers, at, at+1)
	c.complete(t, fault, start)
	if fault == nil {
		c.arrived(t)
	}
}

// complete keeps the end of a transfer for the ACS. c.mu is held.
func (c *CPE) complete(t transfer, fault *cwmp.Fault, start time.Time) {
	c.dirty = true
	if c.profile.NoTransferComplete {
		return
	}
	done := cwmp.TransferComplete{CommandKey: t.CommandKey, Fault: fault, StartTime: unknownTime, CompleteTime: unknownTime}
	if fault == nil && !c.profile.UnknownTransferTimes {
		done.StartTime, done.CompleteTime = start.UTC().Format(time.RFC3339), c.stamp()
	}
	if c.profile.EmptyCommandKey || c.profile.WrongCommandKey != "" {
		done.CommandKey = c.profile.WrongCommandKey
	}
	c.pending.Completed = append(c.pending.Completed, done)
	c.pending.CompletedBy = append(c.pending.CompletedBy, t.Event)
	c.urgent = true
}
