package conformance

import (
	"slices"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// accessCases are the tests of section 2 but for those of permissions.
func accessCases() []testCase {
	return slices.Concat([]testCase{
		{number: "2.1", title: "A record that says that it comes from the agent itself", play: func(t *trial) {
			t.forged(t.agent, t.agent)
		}},
		{number: "2.2", title: "A record for somebody else", play: func(t *trial) {
			t.forged(t.controller.id, t.agent+"0")
		}},
		{number: "2.9", title: "A controller that was given no role has the untrusted role", play: func(t *trial) {
			row := t.row(controllers, "Enable=true", "EndpointID=proto::conformance-untrusted")
			if got, want := t.value(row+"AssignedRole"), t.value("Device.LocalAgent.ControllerTrust.UntrustedRole"); got != want || want == "" {
				t.Errorf("AssignedRole is %q, UntrustedRole %q", got, want)
			}
		}},
		{number: "2.10", title: "A role can be added", play: func(t *trial) {
			row := t.Add(whole, create(roles, "Enable=true", "Name=Trusted")).created([]string{"Alias", "Name"})[0]
			t.under(row, roles)
			t.holds(row, "Enable=true", "Name=Trusted")
		}},
		{number: "2.27", title: "A secured parameter is shown to secured roles only", play: func(t *trial) {
			second := t.as(t.field.secondary)
			role := second.role(t)
			if got := second.value(securedParameter); got != "" {
				t.Errorf("a role that is not secured reads %q", got)
			}
			t.put("Device.LocalAgent.ControllerTrust.", "*SecuredRoles="+role)
			if got := second.value(securedParameter); got != securedValue {
				t.Errorf("a secured role reads %q, want %q", got, securedValue)
			}
		}},
	},
		without(notApplicable, "deprecated by the plan", map[string]string{
			"2.3": "A controller without certificate", "2.4": "A controller whose certificate has another name", "2.5": "A self-signed certificate",
		}),
		[]testCase{
			{number: "2.7", title: "A record with a bad signature", play: badSignature},
			{number: "2.8", title: "An expired certificate", play: expiredCertificate},
		},
		without(notApplicable, "conditional on an agent that cannot find out the time: the bridge's host has a clock", map[string]string{
			"2.6": "An expired certificate while the time is not known",
		}))
}

// securedParameter is on the CPE; the model of the gateways has it besides what is
// built in.
const (
	securedParameter = "Device.DeviceInfo.X_EXAMPLE_AdminSecret"
	securedValue     = "swordfish"
)

// forged sends a Get in a record with other addresses, which nobody answers.
func (t *trial) forged(from, to usp.EndpointID) {
	t.Helper()
	msg := &usppb.Msg{
		Header: &usppb.Header{MsgId: "forged", MsgType: usppb.Header_GET},
		Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: &usppb.Request{
			ReqType: &usppb.Request_Get{Get: &usppb.Get{ParamPaths: []string{endpointID}}}}}},
	}
	b, err := record.WrapMsg(from, to, usp.RecordVersion, msg)
	if err != nil {
		t.Fatal(err)
	}
	t.postRecord(b)
	t.unanswered("forged")
}

// role makes a role of its own for a controller, in which everything is allowed
// until permissions of higher order say otherwise, and returns a reference to it.
func (t *trial) role(admin *trial) string {
	t.Helper()
	row := admin.row(roles, "Enable=true", "Name="+string(t.controller.id))
	admin.row(row+"Permission.", "Enable=true", "Order=1", "Targets=Device.",
		"Param=rwxn", "Obj=rwxn", "InstantiatedObj=rwxn", "CommandEvent=rwxn")
	reference := row[:len(row)-1]
	admin.put(admin.own(t.controller.id), "*AssignedRole="+reference)
	return reference
}
