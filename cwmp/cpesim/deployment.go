package cpesim

import (
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/uspbridge/uspbridge/cwmp"
)

// duChange is a ChangeDUState that has not been carried out yet.
type duChange struct {
	CommandKey string             `json:"commandKey"`
	Operations []cwmp.DUOperation `json:"operations"`
}

// changeDUState: TR-069 A.4.1.10; it is carried out after the session.
func (c *CPE) changeDUState(m *cwmp.ChangeDUState) (cwmp.Message, *cwmp.Fault) {
	if len(c.pending.Changes) >= maxTransfers {
		return nil, cwmp.NewFault(cwmp.FaultResourcesExceeded)
	}
	c.pending.Changes = append(c.pending.Changes, duChange{m.CommandKey, slices.Clone(m.Operations)})
	c.dirty = true
	return &cwmp.ChangeDUStateResponse{}, nil
}

// runChanges carries out the ChangeDUStates that wait, and reports on them. c.mu
// is held.
func (c *CPE) runChanges() {
	for _, change := range c.pending.Changes {
		done := &cwmp.DUStateChangeComplete{CommandKey: change.CommandKey}
		for i, op := range change.Operations {
			done.Results = append(done.Results, c.operateDU(i, op))
		}
		c.reports(ownReport{DUChange: done})
	}
	c.pending.Changes = nil
}

var duStates = map[string]string{"Install": "Installed", "Update": "Installed", "Uninstall": "Uninstalled"}

func (c *CPE) operateDU(i int, op cwmp.DUOperation) cwmp.DUResult {
	r := cwmp.DUResult{UUID: op.UUID, Version: op.Version, CurrentState: duStates[op.Kind], Resolved: true,
		DeploymentUnitRef: fmt.Sprintf("%sSoftwareModules.DeploymentUnit.%d", c.tree.model.root, i+1), StartTime: c.stamp(), CompleteTime: c.stamp()}
	if code := c.profile.FailTransfers; code != 0 {
		r.CurrentState, r.Resolved, r.Fault = "Failed", false, cwmp.NewFault(code)
	}
	return r
}

// getOptions: TR-069 A.4.1.6. The CPE has the one option that it has a voucher
// for.
func (c *CPE) getOptions(m *cwmp.GetOptions) (cwmp.Message, *cwmp.Fault) {
	answer := &cwmp.GetOptionsResponse{}
	for i, name := range []string{"Voice", "Storage"} {
		if m.OptionName == "" || m.OptionName == name {
			answer.Options = append(answer.Options, cwmp.Option{OptionName: name, VoucherSN: uint32(i + 1), State: 1, Mode: 1, StartDate: unknownTime})
		}
	}
	if len(answer.Options) == 0 {
		return nil, cwmp.Faultf(cwmp.FaultInvalidArguments, "Invalid arguments: no option %q", m.OptionName)
	}
	return answer, nil
}

// setVouchers: TR-069 A.4.1.7. A voucher's signature is not looked at.
func (c *CPE) setVouchers(m *cwmp.SetVouchers) (cwmp.Message, *cwmp.Fault) {
	for _, v := range m.Vouchers {
		if _, err := base64.StdEncoding.DecodeString(v); err != nil {
			return nil, cwmp.Faultf(cwmp.FaultInvalidArguments, "Invalid arguments: a voucher is not base64")
		}
	}
	return &cwmp.SetVouchersResponse{}, nil
}
