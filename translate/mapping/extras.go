package mapping

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// surroundings adds the fixed rows that rows of files lie in and no file names,
// such as Device.Routing.Router.1.
func (c *compiler) surroundings() {
	for _, e := range slices.Clone(c.entries) {
		outer := parentTable(e.target)
		if outer == "" || e.copied || e.table == nil {
			continue
		}
		depth := strings.Count(outer, "{i}")
		around := e.fixed[:depth]
		if slices.Contains(around, 0) || slices.ContainsFunc(c.tab(outer).entries, func(o *entry) bool { return slices.Equal(o.fixed, around) }) {
			continue
		}
		c.enter(&entry{at: e.at, rule: &object{noCreate: true}, target: outer, fixed: around, source: string(c.template.RootPath())})
	}
}

// standardExtras adds what the bridge knows better than the CPE: the counts of
// rows, and aliases where the CPE has none.
func (c *compiler) standardExtras() {
	c.surroundings()
	for _, path := range slices.Sorted(maps.Keys(c.tabs)) {
		std := c.std.elements[path]
		if std == nil {
			continue
		}
		t := c.tabs[path]
		if std.count != "" {
			n := c.node(strings.TrimSuffix(path, t.node.Name+".{i}.") + std.count)
			n.Kind, n.Access, n.Change, n.Type = dm.Param, dm.ReadOnly, dm.ValueChangeAllowed, dm.TypeUnsignedInt
			c.binds[n].count = t
		}
		if c.std.elements[path+"Alias"] != nil {
			n := c.node(path + "Alias")
			if !c.binds[n].sourced() {
				n.Access = dm.ReadOnly
				if t.node.Access == dm.AddDelete {
					n.Access = dm.WriteOnce
				}
			}
			c.binds[n].alias = true
		}
	}
}

// countOf returns the CPE's NumberOfEntries parameter of a table.
func (p *Program) countOf(id tree.TableID) (tree.ParamID, bool) {
	path := strings.TrimSuffix(p.template.Tables[id].Path, ".{i}.")
	i := strings.LastIndexByte(path, '.')
	if i < 0 {
		return 0, false
	}
	object, name := path[:i+1], path[i+1:]
	for _, count := range []string{name + "NumberOfEntries", "LAN" + name + "NumberOfEntries", irregularCounts[name]} {
		if q, ok := p.template.Lookup(object + count); ok && count != "" {
			return q, true
		}
	}
	return 0, false
}

// irregularCounts are the counts that TR-098 names in their own way.
var irregularCounts = map[string]string{
	"AssociatedDevice": "TotalAssociations", "Forwarding": "ForwardNumberOfEntries",
	"LANEthernetInterfaceConfig": "LANEthernetInterfaceNumberOfEntries",
	"LANUSBInterfaceConfig":      "LANUSBInterfaceNumberOfEntries",
	"WANConnectionDevice":        "WANConnectionNumberOfEntries",
	"DHCPConditionalServingPool": "DHCPConditionalPoolNumberOfEntries",
	"Line":                       "NumberOfLines", // this one and the next three: TR-104
	"Button":                     "NumberOfButtons",
	"EventSubscribe":             "SIPEventSubscribeNumberOfElements",
	"ResponseMap":                "SIPResponseMapNumberOfElements",
}

// ownNodes adds what the bridge itself serves.
func (c *compiler) ownNodes() {
	for _, path := range []string{"Device.Reboot()", "Device.FactoryReset()", "Device.Boot!"} {
		e, name := c.std.elements[path], strings.TrimPrefix(path, "Device.")
		c.bindNode("Device.", e.node(name), &binding{std: e, own: name})
	}
	c.rpcNodes()
	own := c.node(ownPath)
	for _, name := range []string{"Stage", "CWMPVersion", "RootDataModel", "LastInform", "LastSession", "Reachable", "ReachableBy", "NextInform",
		"CacheAge", "Mapping", "Profiles", "Learnt", "SupportedRPCs", "UnsupportedRPCs", "RefusedSettings", "Notifications", "Discovery"} {
		// They are made when they are asked for: nothing tells when they change.
		n := &dm.Node{Name: name, Kind: dm.Param, Type: dm.TypeString, Change: dm.ValueChangeWillIgnore}
		switch name {
		case "LastInform", "LastSession", "NextInform":
			n.Type = dm.TypeDateTime
		case "CacheAge":
			n.Type = dm.TypeUnsignedInt
		}
		c.ownNode(own, n, "X_USPBRIDGE_CWMP.")
	}
	c.ownNode(own, &dm.Node{Name: "Refresh()", Kind: dm.Command, Async: true}, "X_USPBRIDGE_CWMP.")
	c.commandNodes()
}

// ownNode adds a node that the bridge serves, known to it as prefix + name.
func (c *compiler) ownNode(parent, n *dm.Node, prefix string) {
	parent.Children = append(parent.Children, n)
	c.binds[n] = &binding{node: n, own: prefix + n.Name}
}

// classNames are the classes of freshness.
var classNames = [...]string{"static", "config", "status", "counter"}

func defaultAges() map[string]time.Duration {
	return map[string]time.Duration{"static": 0, "config": time.Hour, "status": time.Minute, "counter": 10 * time.Second}
}

// class returns a parameter's class of freshness: as a file has it, else by what
// the parameter is.
func (c *compiler) class(n *dm.Node) string {
	for _, rule := range c.classes {
		if rule.match.MatchString(n.Path) {
			return rule.class
		}
	}
	switch {
	case strings.Contains(n.Path, ".Stats."):
		return "counter"
	case n.Access == dm.ReadWrite || n.Access == dm.WriteOnce:
		return "config"
	case strings.HasPrefix(n.Path, "Device.DeviceInfo.") && strings.Count(n.Path, ".") == 2 && n.Name != "UpTime":
		return "static"
	}
	return "status"
}
