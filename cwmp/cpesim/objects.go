package cpesim

import (
	"github.com/uspbridge/uspbridge/cwmp"
)

// maxAddedRows bounds what AddObject may make one CPE keep.
const maxAddedRows = 1000

// addObject: TR-069 A.3.2.6.
func (c *CPE) addObject(m *cwmp.AddObject) (cwmp.Message, *cwmp.Fault) {
	if !m.Object.IsPartial() || !c.tree.isTable(m.Object) {
		return nil, cwmp.Faultf(cwmp.FaultInvalidParameterName, "Invalid parameter name: %s takes no new instances", m.Object)
	}
	if len(c.tree.added) >= maxAddedRows {
		return nil, cwmp.Faultf(cwmp.FaultResourcesExceeded, "Resources exceeded: %d objects were added", maxAddedRows)
	}
	number := c.tree.addRow(m.Object)
	if number == 0 {
		return nil, cwmp.Faultf(cwmp.FaultResourcesExceeded, "Resources exceeded: %s has no room", m.Object)
	}
	c.recount(m.Object, +1, false)
	c.setParameterKey(m.ParameterKey)
	return &cwmp.AddObjectResponse{InstanceNumber: number, Status: c.status()}, nil
}

// deleteObject: TR-069 A.3.2.7.
func (c *CPE) deleteObject(m *cwmp.DeleteObject) (cwmp.Message, *cwmp.Fault) {
	n := c.tree.find(m.Object)
	if n == nil || !n.object || !isInstance(leaf(m.Object)) {
		return nil, cwmp.Faultf(cwmp.FaultInvalidParameterName, "Invalid parameter name: there is no object instance %s", m.Object)
	}
	if !n.writable {
		return nil, cwmp.Faultf(cwmp.FaultInvalidParameterName, "Invalid parameter name: %s cannot be deleted", m.Object)
	}
	c.tree.deleteRow(m.Object)
	c.recount(parent(m.Object), -1, false)
	c.setParameterKey(m.ParameterKey)
	return &cwmp.DeleteObjectResponse{Status: c.status()}, nil
}
