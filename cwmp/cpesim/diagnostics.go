package cpesim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

// checkDiagnosticsRequest: an ACS may only ask for diagnostics or call them off;
// the other states are the CPE's to write.
func checkDiagnosticsRequest(state string) error {
	switch state {
	case "Requested", "Canceled", "None":
		return nil
	}
	return fmt.Errorf("DiagnosticsState %q cannot be requested", state)
}

// requestDiagnostics queues diagnostics for the end of the session, or calls
// them off.
func (c *CPE) requestDiagnostics(state cwmp.Path, value string) {
	c.pending.Diagnostics = slices.DeleteFunc(c.pending.Diagnostics, func(p cwmp.Path) bool { return p == state })
	if value == "Requested" {
		c.pending.Diagnostics = append(c.pending.Diagnostics, c.tree.ownName(state))
		return
	}
	c.tree.set(state, "None")
}

// resetDiagnostics: another argument makes old results void, and the state
// "None" (TR-098 IPPingDiagnostics, TR-181 IP.Diagnostics). An argument that
// comes in the same RPC as "Requested" does not.
func (c *CPE) resetDiagnostics(argument cwmp.Path) {
	state := parent(argument) + "DiagnosticsState"
	if n := c.tree.find(state); n != nil && !slices.Contains(c.pending.Diagnostics, state) {
		c.tree.set(state, "None")
	}
}

// runDiagnostics ends all diagnostics that were requested, with results that
// agree with their arguments, and reports them. c.mu is held.
func (c *CPE) runDiagnostics(now time.Time) {
	for _, state := range c.pending.Diagnostics {
		object := parent(state)
		result := "Complete"
		switch name := leaf(object); {
		case strings.Contains(name, "Ping"):
			result = c.ping(object)
		case strings.Contains(name, "TraceRoute"):
			result = c.traceRoute(object)
		case strings.Contains(name, "DownloadDiagnostics"), strings.Contains(name, "UploadDiagnostics"):
			result = c.throughput(object, now)
		}
		c.tree.set(state, result)
		c.queue(cwmp.Event{Code: cwmp.EventDiagnosticsComplete})
		c.urgent = true
	}
	if len(c.pending.Diagnostics) > 0 {
		c.pending.Diagnostics = nil
		c.dirty = true
	}
}

// result writes a result parameter where the CPE has it.
func (c *CPE) result(name cwmp.Path, value int64) {
	if n := c.tree.find(name); n != nil && !n.object {
		c.tree.set(name, strconv.FormatInt(value, 10))
	}
}

func (c *CPE) argument(name cwmp.Path) string {
	if n := c.tree.find(name); n != nil && !n.object {
		return c.value(name, n)
	}
	return ""
}

// ping answers each repetition; the names that RFC 6761 reserves for it do not
// resolve.
func (c *CPE) ping(object cwmp.Path) string {
	host := c.argument(object + "Host")
	if host == "" || strings.HasSuffix(host, ".invalid") {
		return "Error_CannotResolveHostName"
	}
	repetitions, err := strconv.ParseInt(c.argument(object+"NumberOfRepetitions"), 10, 64)
	if err != nil || repetitions < 1 {
		repetitions = 1
	}
	average := int64(4 + hash64(host)%40)
	c.result(object+"SuccessCount", repetitions)
	c.result(object+"FailureCount", 0)
	c.result(object+"AverageResponseTime", average)
	c.result(object+"MinimumResponseTime", average-2)
	c.result(object+"MaximumResponseTime", average+5)
	c.result(object+"AverageResponseTimeDetailed", average*1000)
	c.result(object+"MinimumResponseTimeDetailed", average*1000-1700)
	c.result(object+"MaximumResponseTimeDetailed", average*1000+4200)
	return "Complete"
}

// traceRoute finds three hops: the access router, one in between, the host.
func (c *CPE) traceRoute(object cwmp.Path) string {
	host := c.argument(object + "Host")
	if host == "" || strings.HasSuffix(host, ".invalid") {
		return "Error_CannotResolveHostName"
	}
	c.result(object+"ResponseTime", int64(4+hash64(host)%40))
	table := object + "RouteHops."
	if c.tree.find(table) == nil {
		return "Complete"
	}
	for _, e := range c.tree.walk(table) {
		if _, row := rowNumber(table, e.name); row {
			c.tree.deleteRow(e.name)
			c.recount(table, -1, true)
		}
	}
	for hop, address := range []string{expand("{gateway}", c.identity, c.seed), "198.51.100.1", host} {
		number := c.tree.addRow(table)
		if number == 0 {
			break
		}
		c.recount(table, +1, true)
		row := table + cwmp.Path(strconv.FormatUint(uint64(number), 10)) + "."
		for name, value := range map[cwmp.Path]string{"HopHost": address, "Host": address, "HopHostAddress": address,
			"HostAddress": address, "HopRTTimes": strconv.Itoa(2 + 3*hop), "RTTimes": strconv.Itoa(2 + 3*hop)} {
			if c.tree.find(row+name) != nil {
				c.tree.set(row+name, value)
			}
		}
	}
	return "Complete"
}

// throughput is a TR-143 transfer of two seconds.
func (c *CPE) throughput(object cwmp.Path, now time.Time) string {
	target := c.argument(object + "DownloadURL")
	if target == "" {
		target = c.argument(object + "UploadURL")
	}
	if target == "" {
		return "Error_InitConnectionFailed"
	}
	const bytes = 25_000_000
	for name, offset := range map[cwmp.Path]time.Duration{"TCPOpenRequestTime": -2100 * time.Millisecond,
		"TCPOpenResponseTime": -2080 * time.Millisecond, "ROMTime": -2050 * time.Millisecond,
		"BOMTime": -2 * time.Second, "EOMTime": 0} {
		if c.tree.find(object+name) != nil {
			c.tree.set(object+name, now.Add(offset).UTC().Format("2006-01-02T15:04:05.000000Z"))
		}
	}
	c.result(object+"TestBytesReceived", bytes)
	c.result(object+"TotalBytesReceived", bytes+52_000)
	c.result(object+"TotalBytesSent", bytes+52_000)
	return "Complete"
}
