package cpesim

import (
	"slices"
	"strconv"

	"github.com/uspbridge/uspbridge/cwmp"
)

// change writes a value that something other than the ACS has changed, and
// keeps it for the ACS as the parameter's notification attribute says: active
// opens a session, passive waits for the next (TR-069 A.3.2.4). c.mu is held.
func (c *CPE) change(name cwmp.Path, n *node, value string) {
	if c.value(name, n) == value {
		return
	}
	c.tree.set(name, value)
	c.notice(name, n)
	c.written(name)
}

// notice queues a value change that has happened.
func (c *CPE) notice(name cwmp.Path, n *node) {
	notification, _ := c.tree.attribute(name, n)
	if notification == cwmp.NotificationOff {
		return
	}
	if !slices.Contains(c.pending.Changed, name) {
		c.pending.Changed = append(c.pending.Changed, c.tree.ownName(name))
	}
	c.dirty = true
	if notification == cwmp.NotificationActive {
		c.urgent = true
	}
}

// recount keeps the parameter that counts a table's rows right after a row came
// or went. Only a change that the ACS did not make itself is noticed.
func (c *CPE) recount(table cwmp.Path, delta int64, local bool) {
	counter := c.tree.model.counter(table)
	if counter == "" {
		return
	}
	n := c.tree.find(counter)
	if n == nil {
		return
	}
	count, err := strconv.ParseInt(c.value(counter, n), 10, 64)
	if err != nil {
		count = 0 // a real tree's counter may be empty; it counts from here on
	}
	c.tree.set(counter, strconv.FormatInt(max(count+delta, 0), 10))
	if local {
		c.notice(counter, n)
	}
}

// events returns what the next Inform reports, with the value changes and the
// transfers whose end has not been told.
func (c *CPE) events() []cwmp.Event {
	events := slices.Clone(c.pending.Events)
	if len(c.pending.Changed) > 0 {
		events = append(events, cwmp.Event{Code: cwmp.EventValueChange})
	}
	for i, done := range c.pending.Completed {
		if c.profile.NoTransferEvents {
			break
		}
		if i == 0 {
			events = append(events, cwmp.Event{Code: cwmp.EventTransferComplete})
		}
		events = append(events, cwmp.Event{Code: c.pending.CompletedBy[i], CommandKey: done.CommandKey})
	}
	for _, r := range c.pending.Reports {
		events = append(events, r.events()...)
	}
	return dedupe(events)
}

// dedupe keeps the first of equal events.
func dedupe(events []cwmp.Event) []cwmp.Event {
	kept := events[:0]
	for _, e := range events {
		if !slices.Contains(kept, e) {
			kept = append(kept, e)
		}
	}
	return kept
}

// inform builds the Inform of a session that begins. c.mu is held.
func (c *CPE) inform() *cwmp.Inform {
	m := &cwmp.Inform{DeviceID: c.identity, Events: c.events(), MaxEnvelopes: 1, RetryCount: c.retries,
		CurrentTime: c.now().UTC().Format("2006-01-02T15:04:05Z")}
	add := func(name cwmp.Path) {
		n := c.tree.find(name)
		if n == nil || n.object || n.concealed || slices.ContainsFunc(m.ParameterList, func(p cwmp.ParameterValue) bool { return p.Name == name }) {
			return
		}
		m.ParameterList = append(m.ParameterList, cwmp.ParameterValue{Name: name, Value: c.wire(name, n)})
	}
	root := c.tree.model.root
	for _, name := range forcedInform {
		add(root + name)
	}
	if address := c.defaultAddress(); address != "" {
		add(address)
	}
	for _, name := range c.pending.Changed {
		add(name)
	}
	c.profile.underInformRoot(m.ParameterList)
	return m
}

// forcedInform are the parameters of each Inform, of TR-098 and TR-181 (those
// that a tree does not have are left out).
var forcedInform = [...]cwmp.Path{
	"DeviceSummary", "RootDataModelVersion", "DeviceInfo.SpecVersion", "DeviceInfo.HardwareVersion",
	"DeviceInfo.SoftwareVersion", "DeviceInfo.ProvisioningCode", "ManagementServer.ConnectionRequestURL",
	"ManagementServer.ParameterKey", "ManagementServer.AliasBasedAddressing",
}

// defaultAddress returns the external address of TR-098's default connection:
// the one Layer3Forwarding names, else the first there is.
func (c *CPE) defaultAddress() cwmp.Path {
	root := c.tree.model.root
	if root != "InternetGatewayDevice." {
		return ""
	}
	service := root + "Layer3Forwarding.DefaultConnectionService"
	if n := c.tree.find(service); n != nil {
		if address := cwmp.Path(c.value(service, n)) + ".ExternalIPAddress"; c.tree.find(address) != nil {
			return address
		}
	}
	for _, e := range c.tree.walk(root + "WANDevice.") {
		if !e.node.object && leaf(e.name) == "ExternalIPAddress" {
			return e.name
		}
	}
	return ""
}

// report is what an Inform under way tells; it is out of the queues meanwhile,
// so that the same thing happening again is told again.
type report struct {
	events  []cwmp.Event
	changed []cwmp.Path
}

// takeReport moves what waits out of the queues. c.mu is held.
func (c *CPE) takeReport() report {
	r := report{c.pending.Events, c.pending.Changed}
	c.pending.Events, c.pending.Changed = nil, nil
	return r
}

// putBack queues a report again whose Inform was not acknowledged: events are
// kept until they are delivered (TR-069 3.7.1.5). c.mu is held.
func (c *CPE) putBack(r report) {
	c.pending.Events = dedupe(append(r.events, c.pending.Events...))
	for _, name := range c.pending.Changed {
		if !slices.Contains(r.changed, name) {
			r.changed = append(r.changed, name)
		}
	}
	c.pending.Changed = r.changed
}
