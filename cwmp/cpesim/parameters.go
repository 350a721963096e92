package cpesim

import (
	"cmp"
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
)

// cloneString keeps a value of a message without keeping the message.
func cloneString(s string) string { return strings.Clone(s) }

// wire returns a value as the CPE sends it.
func (c *CPE) wire(name cwmp.Path, n *node) cwmp.Value {
	v := cwmp.Value{Type: n.typ}
	if n.hidden {
		return v
	}
	v.Text = c.value(name, n)
	if c.profile.ReportsStrings {
		v.Type = cwmp.TypeString
	}
	if n.typ == cwmp.TypeBoolean && c.profile.BooleansAsDigits {
		switch v.Text {
		case "true":
			v.Text = "1"
		case "false":
			v.Text = "0"
		}
	}
	return v
}

// resolve finds a path of a Get: a parameter, or a partial path with all that
// is below it; nil if there is nothing by that name.
func (c *CPE) resolve(path cwmp.Path) []entry {
	if path.IsPartial() {
		return slices.DeleteFunc(c.tree.walk(path), func(e entry) bool { return e.node.concealed })
	}
	if n := c.tree.find(path); n != nil && !n.concealed {
		return []entry{{c.tree.ownName(path), n}}
	}
	return nil
}

// getParameterNames: TR-069 A.3.2.3.
func (c *CPE) getParameterNames(m *cwmp.GetParameterNames) (cwmp.Message, *cwmp.Fault) {
	if m.Path == "" && c.profile.RefuseEmptyPath {
		return nil, cwmp.NewFault(cwmp.FaultInvalidParameterName)
	}
	if m.Path == "" && c.profile.EmptyPathIsNothing || !m.NextLevel && c.profile.NoSubtrees {
		return &cwmp.GetParameterNamesResponse{}, nil
	}
	if m.NextLevel && !m.Path.IsPartial() {
		return nil, cwmp.Faultf(cwmp.FaultInvalidArguments, "Invalid arguments: NextLevel is true and %s is a parameter", m.Path)
	}
	entries := c.resolve(m.Path)
	if len(entries) == 0 {
		return nil, cwmp.Faultf(cwmp.FaultInvalidParameterName, "Invalid parameter name: %s", m.Path)
	}
	response := &cwmp.GetParameterNamesResponse{}
	for _, e := range entries {
		if m.NextLevel && !c.profile.WholeSubtrees && !nextLevel(m.Path, e.name) {
			continue
		}
		response.Parameters = append(response.Parameters, cwmp.ParameterInfo{Name: e.name, Writable: e.node.writable})
	}
	response.Parameters = c.profile.say(response.Parameters)
	return response, nil
}

// nextLevel reports whether name is a child of the object, itself not included.
func nextLevel(object, name cwmp.Path) bool {
	rest := strings.TrimSuffix(string(name[len(object):]), ".")
	return rest != "" && !strings.Contains(rest, ".")
}

// getParameterValues: TR-069 A.3.2.2. One unknown name refuses all.
func (c *CPE) getParameterValues(m *cwmp.GetParameterValues) (cwmp.Message, *cwmp.Fault) {
	if limit := c.profile.MaxValueNames; limit > 0 && len(m.Names) > limit {
		return nil, cwmp.Faultf(cmp.Or(c.profile.ManyNamesFault, cwmp.FaultResourcesExceeded), "Resources exceeded: %d names, at most %d", len(m.Names), limit)
	}
	response := &cwmp.GetParameterValuesResponse{}
	for _, name := range m.Names {
		if name == "" && c.profile.RefuseEmptyPath {
			return nil, cwmp.NewFault(cwmp.FaultInvalidParameterName)
		}
		entries := c.resolve(name)
		if len(entries) == 0 {
			return nil, cwmp.Faultf(cwmp.FaultInvalidParameterName, "Invalid parameter name: %s", name)
		}
		response.Values = slices.Grow(response.Values, len(entries))
		for _, e := range entries {
			if !e.node.object {
				response.Values = append(response.Values, cwmp.ParameterValue{Name: e.name, Value: c.wire(e.name, e.node)})
			}
		}
	}
	response.Values = c.profile.thin(response.Values)
	return response, nil
}

// setParameterValues: TR-069 A.3.2.1. All values are checked before one is
// written.
func (c *CPE) setParameterValues(m *cwmp.SetParameterValues) (cwmp.Message, *cwmp.Fault) {
	if limit := c.profile.MaxSetValues; limit > 0 && len(m.Values) > limit {
		return nil, cwmp.Faultf(cmp.Or(c.profile.ManyValuesFault, cwmp.FaultResourcesExceeded), "Resources exceeded: %d values, at most %d", len(m.Values), limit)
	}
	if c.now().Before(c.bootedAt.Add(c.profile.DenyAfterBoot)) {
		return nil, cwmp.NewFault(cwmp.FaultRequestDenied)
	}
	nodes := make([]*node, len(m.Values))
	seen := make(map[cwmp.Path]bool, len(m.Values))
	fault := cwmp.NewFault(cwmp.FaultInvalidArguments)
	for i, p := range m.Values {
		if seen[p.Name] {
			return nil, cwmp.Faultf(cwmp.FaultInvalidArguments, "Invalid arguments: %s is set twice", p.Name)
		}
		seen[p.Name] = true
		n, code, text := c.checkSet(p)
		if code != 0 {
			fault.Parameters = append(fault.Parameters, cwmp.ParameterFault{Name: p.Name, Code: code, Text: text})
		}
		nodes[i] = n
	}
	if len(fault.Parameters) > 0 {
		if c.profile.UnnamedFaults {
			fault.Parameters = nil
		}
		return nil, fault
	}
	for i, p := range m.Values {
		c.assign(p.Name, nodes[i], cloneString(canonical(nodes[i].typ, p.Value.Text)))
	}
	c.setParameterKey(m.ParameterKey)
	return &cwmp.SetParameterValuesResponse{Status: c.status()}, nil
}

// checkSet finds the parameter to be set, or says why it cannot be.
func (c *CPE) checkSet(p cwmp.ParameterValue) (*node, cwmp.FaultCode, string) {
	n := c.tree.find(p.Name)
	if n == nil || n.object || n.concealed {
		return nil, cwmp.FaultInvalidParameterName, cwmp.FaultInvalidParameterName.Text()
	}
	if code := c.profile.RefuseToSet[p.Name]; code != 0 {
		return nil, code, code.Text()
	}
	if !c.profile.spelling(p) {
		return nil, cwmp.FaultInvalidParameterValue, "Invalid parameter value: " + p.Value.Text
	}
	if !n.writable {
		return nil, cwmp.FaultNonWritableParameter, cwmp.FaultNonWritableParameter.Text()
	}
	// A value without a type is taken as the declared one; some ACS leave it out.
	if p.Value.Type != cwmp.TypeUnknown && p.Value.Type != n.typ {
		return nil, cwmp.FaultInvalidParameterType, "Invalid parameter type: want " + n.typ.XSD() + ", got " + p.Value.Type.XSD()
	}
	text := canonical(n.typ, p.Value.Text)
	err := cmp.Or(checkType(n.typ, text), n.allowed.check(text))
	if err == nil && isState(leaf(p.Name)) {
		err = checkDiagnosticsRequest(text)
	}
	if err != nil {
		return nil, cwmp.FaultInvalidParameterValue, "Invalid parameter value: " + err.Error()
	}
	return n, 0, ""
}

// assign writes a value that the ACS sets, and lets it take effect.
func (c *CPE) assign(name cwmp.Path, n *node, text string) {
	before := c.value(name, n)
	c.tree.set(name, text)
	if isState(leaf(name)) {
		c.requestDiagnostics(name, text)
		return
	}
	c.resetDiagnostics(name)
	if before != text {
		c.written(name)
	}
}

// getParameterAttributes: TR-069 A.3.2.5.
func (c *CPE) getParameterAttributes(m *cwmp.GetParameterAttributes) (cwmp.Message, *cwmp.Fault) {
	if c.profile.NoAttributes {
		return nil, cwmp.NewFault(cwmp.FaultMethodNotSupported)
	}
	response := &cwmp.GetParameterAttributesResponse{}
	for _, name := range m.Names {
		entries := c.resolve(name)
		if len(entries) == 0 {
			return nil, cwmp.Faultf(cwmp.FaultInvalidParameterName, "Invalid parameter name: %s", name)
		}
		for _, e := range entries {
			if e.node.object {
				continue
			}
			notification, access := c.tree.attribute(e.name, e.node)
			response.Attributes = append(response.Attributes, cwmp.ParameterAttributes{Name: e.name, Notification: notification, AccessList: access})
		}
	}
	return response, nil
}

// setParameterAttributes: TR-069 A.3.2.4. All or nothing, as SetParameterValues.
func (c *CPE) setParameterAttributes(m *cwmp.SetParameterAttributes) (cwmp.Message, *cwmp.Fault) {
	if c.profile.NoAttributes {
		return nil, cwmp.NewFault(cwmp.FaultMethodNotSupported)
	}
	if limit := c.profile.MaxSetAttributes; limit > 0 && len(m.Entries) > limit {
		return nil, cwmp.Faultf(cwmp.FaultResourcesExceeded, "Resources exceeded: %d entries, at most %d", len(m.Entries), limit)
	}
	resolved := make([][]entry, len(m.Entries))
	for i, set := range m.Entries {
		resolved[i] = c.resolve(set.Name)
		if len(resolved[i]) == 0 {
			return nil, cwmp.Faultf(cwmp.FaultInvalidParameterName, "Invalid parameter name: %s", set.Name)
		}
		if set.NotificationChange && (set.Notification < cwmp.NotificationOff || set.Notification > 6) {
			return nil, cwmp.Faultf(cwmp.FaultInvalidArguments, "Invalid arguments: Notification %d of %s", set.Notification, set.Name)
		}
		// An active notification asked for by the parameter's own name is refused
		// for what changes all the time; under a partial path such parameters are
		// passed over.
		if set.NotificationChange && set.Notification == cwmp.NotificationActive && !set.Name.IsPartial() &&
			(resolved[i][0].node.denies || c.profile.DenyActiveNotification) {
			return nil, cwmp.Faultf(cwmp.FaultNotificationRequestRejected, "Notification request rejected: %s", set.Name)
		}
	}
	if c.profile.IgnoreAttributes {
		return &cwmp.SetParameterAttributesResponse{}, nil
	}
	for i, set := range m.Entries {
		for _, e := range resolved[i] {
			if !e.node.object {
				c.setAttribute(e, set)
			}
		}
	}
	c.dirty = true
	return &cwmp.SetParameterAttributesResponse{}, nil
}

func (c *CPE) setAttribute(e entry, set cwmp.SetParameterAttributesEntry) {
	a, before := c.tree.attributes[e.name]
	if !before {
		a = c.tree.model.attributes[e.name]
	}
	if set.NotificationChange && !(set.Notification == cwmp.NotificationActive && e.node.denies) {
		a.Notification = set.Notification
	}
	if set.AccessListChange {
		a.AccessSet, a.AccessList = true, nil
		for _, who := range set.AccessList {
			a.AccessList = append(a.AccessList, cloneString(who))
		}
	}
	if c.tree.attributes == nil {
		c.tree.attributes = make(map[cwmp.Path]attribute)
	}
	if a.Notification == cwmp.NotificationOff && !a.AccessSet {
		delete(c.tree.attributes, e.name)
		return
	}
	c.tree.attributes[e.name] = a
}
