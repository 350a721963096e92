package cpesim

import (
	"fmt"
	"net"
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

// stateNames are the parameters that start a diagnostic and tell of its end. All
// but the first are rare: TR-098 WANDSLDiagnostics, TR-181 Routing.Babel.
var stateNames = []string{"DiagnosticsState", "LoopDiagnosticsState", "MACTestState"}

func isState(name string) bool { return slices.Contains(stateNames, name) }

// requestDiagnostics queues diagnostics for the end of the session, or calls
// them off.
func (c *CPE) requestDiagnostics(state cwmp.Path, value string) {
	c.pending.Diagnostics = slices.DeleteFunc(c.pending.Diagnostics, func(p cwmp.Path) bool { return p == state })
	if value == "Requested" {
		c.pending.Diagnostics = append(c.pending.Diagnostics, c.tree.ownName(state))
		c.pending.DiagnosticsAt = c.now().Add(c.profile.DiagnosticsTime)
		return
	}
	c.tree.set(state, "None")
}

// resetDiagnostics: another argument makes old results void, and the state
// "None" (TR-098 IPPingDiagnostics, TR-181 IP.Diagnostics). An argument that
// comes in the same RPC as "Requested" does not.
func (c *CPE) resetDiagnostics(argument cwmp.Path) {
	for _, name := range stateNames {
		state := parent(argument) + cwmp.Path(name)
		if n := c.tree.find(state); n != nil && !slices.Contains(c.pending.Diagnostics, state) {
			c.tree.set(state, "None")
		}
	}
}

// dropDiagnostics: a reboot makes diagnostics void that have not ended. c.mu is
// held.
func (c *CPE) dropDiagnostics() {
	for _, state := range c.pending.Diagnostics {
		c.tree.set(state, "None")
	}
	c.pending.Diagnostics = nil
}

// runDiagnostics ends all diagnostics that were requested, with results that
// agree with their arguments, and reports them. c.mu is held.
func (c *CPE) runDiagnostics(now time.Time) {
	if len(c.pending.Diagnostics) == 0 || now.Before(c.pending.DiagnosticsAt) || c.profile.StuckDiagnostics {
		return
	}
	if c.profile.RebootInDiagnostics {
		c.beginBoot()
		return
	}
	for _, state := range c.pending.Diagnostics {
		object := parent(state)
		result := "Complete"
		c.results = map[cwmp.Path]bool{}
		switch name := leaf(object); {
		case name == "CheckCredentialsDiagnostics":
			result = "Credentials_Good"
		case strings.Contains(name, "IPPing"):
			result = c.ping(object)
		case strings.Contains(name, "TraceRoute"):
			result = c.traceRoute(object)
		case strings.Contains(name, "DownloadDiagnostics"), strings.Contains(name, "UploadDiagnostics"):
			result = c.throughput(object, now)
		}
		if result == "Complete" {
			c.fillResults(object, now)
		}
		c.results = nil
		if n := c.tree.find(state); result == "Complete" && n.allowed.check(result) != nil {
			result = "Completed" // TR-143 in TR-098
		}
		c.tree.set(state, result)
		if !c.profile.NoDiagnosticsComplete {
			c.queue(cwmp.Event{Code: cwmp.EventDiagnosticsComplete})
			c.urgent = true
		}
	}
	c.pending.Diagnostics = nil
	c.dirty = true
}

// result writes a result parameter where the CPE has it.
func (c *CPE) result(name cwmp.Path, value int64) {
	if n := c.tree.find(name); n != nil && !n.object {
		c.found(name, strconv.FormatInt(value, 10))
	}
}

// found writes a result and notes that this run has found it.
func (c *CPE) found(name cwmp.Path, text string) {
	c.tree.set(name, text)
	c.results[name] = true
}

func (c *CPE) argument(name cwmp.Path) string {
	if n := c.tree.find(name); n != nil && !n.object {
		return c.value(name, n)
	}
	return ""
}

// reached writes the address of the host that a test was with; names resolve to
// one of the addresses for examples (RFC 5737).
func (c *CPE) reached(object cwmp.Path, host string) {
	if c.tree.find(object+"IPAddressUsed") == nil {
		return
	}
	if net.ParseIP(host) == nil {
		host = fmt.Sprintf("198.51.100.%d", 2+hash64(host)%250)
	}
	c.found(object+"IPAddressUsed", host)
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
	c.reached(object, host)
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
	c.reached(object, host)
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
			"HostAddress": address, "HopErrorCode": "0", "ErrorCode": "0", "HopRTTimes": strconv.Itoa(2 + 3*hop), "RTTimes": strconv.Itoa(2 + 3*hop)} {
			if c.tree.find(row+name) != nil {
				c.found(row+name, value)
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
			c.found(object+name, now.Add(offset).UTC().Format("2006-01-02T15:04:05.000000Z"))
		}
	}
	c.result(object+"TestBytesReceived", bytes)
	c.result(object+"TotalBytesReceived", bytes+52_000)
	c.result(object+"TotalBytesSent", bytes+52_000)
	return "Complete"
}

// resultRows is how many rows a result table gets that is about nothing in
// particular.
const resultRows = 2

// fillResults gives the results that nothing more is known of values of their
// type, others with each run: a test can tell whose they are.
func (c *CPE) fillResults(object cwmp.Path, now time.Time) {
	c.pending.Runs++
	for _, e := range c.tree.walk(object) {
		if e.node.object {
			c.fillTable(e.name)
		}
	}
	for i, e := range c.tree.walk(object) {
		if e.node.object || e.node.writable || c.results[e.name] || strings.HasSuffix(string(e.name), "NumberOfEntries") {
			continue
		}
		c.tree.set(e.name, c.plausible(e, c.pending.Runs*100+i%100, now))
	}
}

// fillTable gives an empty result table its rows.
func (c *CPE) fillTable(table cwmp.Path) {
	if c.tree.model.rows[generic(table)+"{i}."] == nil {
		return
	}
	for _, e := range c.tree.walk(table) {
		if _, row := rowNumber(table, e.name); row {
			return
		}
	}
	for range resultRows {
		if c.tree.addRow(table) != 0 {
			c.recount(table, +1, true)
		}
	}
}

// plausible is a value of a parameter's type.
func (c *CPE) plausible(e entry, run int, now time.Time) string {
	if a := e.node.allowed; a != nil && len(a.values) > 0 {
		return a.values[run%len(a.values)]
	}
	switch e.node.typ {
	case cwmp.TypeBoolean:
		return "true"
	case cwmp.TypeInt, cwmp.TypeUnsignedInt, cwmp.TypeLong, cwmp.TypeUnsignedLong:
		return strconv.Itoa(run)
	case cwmp.TypeDecimal:
		return strconv.Itoa(run) + ".5"
	case cwmp.TypeDateTime:
		return now.UTC().Format("2006-01-02T15:04:05.000000Z")
	case cwmp.TypeHexBinary:
		return fmt.Sprintf("%08X", run)
	case cwmp.TypeBase64:
		return "cmVzdWx0"
	}
	return "result " + strconv.Itoa(run)
}
