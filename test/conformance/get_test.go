package conformance

import (
	"slices"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// getCases are the tests of the Get message without search expressions (1.36 to
// 1.45, 1.85, 1.87, 1.89).
func getCases() []testCase {
	return append([]testCase{
		{number: "1.36", title: "Get of a parameter", play: func(t *trial) {
			a := t.Get(endpointID)
			a.one(a.got(1)[0], endpointID, localAgent, "EndpointID", string(t.agent))
		}},
		{number: "1.37", title: "Get of two parameters of one object", play: func(t *trial) {
			a := t.Get(endpointID, softwareVersion)
			r := a.got(2)
			a.one(r[0], endpointID, localAgent, "EndpointID", string(t.agent))
			version := a.resolved(r[1], softwareVersion, localAgent)[localAgent]
			if len(version) != 1 || version["SoftwareVersion"] == "" {
				t.Errorf("SoftwareVersion is %v", version)
			}
		}},
		{number: "1.38", title: "Get of parameters of two objects", play: func(t *trial) {
			row := t.row(subscriptions, "Enable=true")
			a := t.Get(endpointID, row+"Enable")
			r := a.got(2)
			a.one(r[0], endpointID, localAgent, "EndpointID", string(t.agent))
			a.one(r[1], row+"Enable", row, "Enable", "true")
		}},
		{number: "1.39", title: "Get of an object", play: func(t *trial) {
			row := t.row(subscriptions)
			a := t.Get(localAgent)
			all := a.values(a.got(1)[0], localAgent)
			if all[localAgent]["EndpointID"] != string(t.agent) {
				t.Errorf("the object's own parameters are %v", all[localAgent])
			}
			for _, object := range []string{row, t.own(primaryID), "Device.LocalAgent.MTP.1.", roles + "1.Permission.1."} {
				if len(all[object]) == 0 {
					t.Errorf("nothing of %s is there", object)
				}
			}
		}},
		{number: "1.40", title: "Get of a row", play: func(t *trial) {
			row := t.row(subscriptions, "ID=get40")
			a := t.Get(row)
			a.subscription(a.resolved(a.got(1)[0], row, row)[row])
		}},
		{number: "1.41", title: "Get of a parameter that is not supported", play: func(t *trial) {
			a := t.Get(localAgent + "InvalidParameter")
			a.unresolved(a.got(1)[0], localAgent+"InvalidParameter", usp.ErrInvalidPath)
		}},
		{number: "1.42", title: "Get of a parameter and one that is not supported", play: func(t *trial) {
			a := t.Get(endpointID, localAgent+"InvalidParameter")
			r := a.got(2)
			a.one(r[0], endpointID, localAgent, "EndpointID", string(t.agent))
			a.unresolved(r[1], localAgent+"InvalidParameter", usp.ErrInvalidPath)
		}},
		{number: "1.43", title: "Get of a row addressed by unique keys", play: func(t *trial) {
			row := t.row(subscriptions, "ID=get43", "Enable=true")
			path := subscriptions + `[Recipient=="` + t.value(row+"Recipient") + `"&&ID=="get43"].Enable`
			a := t.Get(path)
			a.one(a.got(1)[0], path, row, "Enable", "true")
		}},
		{number: "1.44", title: "Get of one parameter of all rows by wildcard", play: func(t *trial) {
			one, two := t.row(subscriptions, "Enable=true"), t.row(subscriptions)
			a := t.Get(subscriptions + "*.Enable")
			all := a.resolved(a.got(1)[0], subscriptions+"*.Enable", one, two)
			if len(all[one]) != 1 || all[one]["Enable"] != "true" || len(all[two]) != 1 || all[two]["Enable"] != "false" {
				t.Errorf("Get returned %v", all)
			}
		}},
		{number: "1.45", title: "Get of all rows by wildcard", play: func(t *trial) {
			one, two := t.row(subscriptions), t.row(subscriptions)
			a := t.Get(subscriptions + "*.")
			for _, params := range a.resolved(a.got(1)[0], subscriptions+"*.", one, two) {
				a.subscription(params)
			}
		}},
		{number: "1.87", title: "Get of a table without rows", play: func(t *trial) {
			a := t.Get(subscriptions)
			a.resolved(a.got(1)[0], subscriptions)
		}},
		{number: "1.89", title: "Get down to a depth", play: getDepth},
	}, without(notApplicable, "the plan has left it for a later issue", map[string]string{
		"1.85": "Get of a row that is not there, by instance number",
	})...)
}

// one expects a result of one parameter.
func (a *answer) one(r *usppb.GetResp_RequestedPathResult, requested, object, name, value string) {
	a.t.Helper()
	params := a.resolved(r, requested, object)[object]
	if got, ok := params[name]; !ok || got != value || len(params) != 1 {
		a.t.Errorf("%s returned %v, want %s %q", requested, params, name, value)
	}
}

// subscription expects the parameters of a row of the Subscription table, all of
// those that the profile Subscriptions:1 has.
func (a *answer) subscription(params map[string]string) {
	a.t.Helper()
	for _, name := range []string{"Alias", "Enable", "ID", "Recipient", "CreationDate", "NotifType", "ReferenceList", "Persistent", "NotifRetry"} {
		if _, ok := params[name]; !ok {
			a.t.Errorf("there is no %s in %v", name, params)
		}
	}
}

func getDepth(t *trial) {
	permission := roles + "1.Permission.1."
	for _, c := range []struct {
		depth uint32
		want  []string
		not   []string
	}{
		{1, []string{localAgent}, []string{"Device.LocalAgent.MTP.1.", roles + "1.", permission}},
		{2, []string{localAgent, "Device.LocalAgent.MTP.1.", "Device.LocalAgent.ControllerTrust."}, []string{permission}},
		{0, []string{localAgent, "Device.LocalAgent.MTP.1.", "Device.LocalAgent.ControllerTrust.", roles + "1.", permission}, nil},
	} {
		a := t.GetDepth(c.depth, localAgent)
		all := a.values(a.got(1)[0], localAgent)
		for _, object := range c.want {
			if len(all[object]) == 0 {
				t.Errorf("max_depth %d: nothing of %s is there", c.depth, object)
			}
		}
		for _, object := range c.not {
			if len(all[object]) != 0 {
				t.Errorf("max_depth %d: %s is there", c.depth, object)
			}
		}
		if c.depth == 1 && len(all) != 1 {
			t.Errorf("max_depth 1 returned %d objects", len(all))
		}
	}
}

// searchCases are the tests of Get with search expressions (1.46 to 1.51, 1.82,
// 1.86).
func searchCases() []testCase {
	cases := []testCase{
		{number: "1.82", title: "Get by a search expression in a table without rows", play: func(t *trial) {
			a := t.Get(subscriptions + "[Enable==true].")
			a.resolved(a.got(1)[0], subscriptions+"[Enable==true].")
		}},
		{number: "1.86", title: "Get by a search expression that matches nothing", play: func(t *trial) {
			t.row(subscriptions)
			a := t.Get(subscriptions + "[Enable==true].")
			a.resolved(a.got(1)[0], subscriptions+"[Enable==true].")
		}},
	}
	for _, c := range []struct {
		number, title, expression string
		rows                      []string
		match                     []int
	}{
		{"1.46", "equal", "Enable==true", []string{"Enable=true", "Enable=false"}, []int{0}},
		{"1.47", "not equal", "Enable!=true", []string{"Enable=true", "Enable=false"}, []int{1}},
		{"1.48", "greater", "NotifExpiration>10", expirations, []int{2}},
		{"1.49", "less", "NotifExpiration<10", expirations, []int{0}},
		{"1.50", "greater or equal", "NotifExpiration>=10", expirations, []int{1, 2}},
		{"1.51", "less or equal", "NotifExpiration<=10", expirations, []int{0, 1}},
	} {
		cases = append(cases, testCase{number: c.number, title: "Get by a search expression: " + c.title, play: func(t *trial) {
			var match []string
			for i, settings := range c.rows {
				if row := t.row(subscriptions, settings); slices.Contains(c.match, i) {
					match = append(match, row)
				}
			}
			path := subscriptions + "[" + c.expression + "]."
			a := t.Get(path)
			for _, params := range a.resolved(a.got(1)[0], path, match...) {
				a.subscription(params)
			}
		}})
	}
	return cases
}

var expirations = []string{"NotifExpiration=5", "NotifExpiration=10", "NotifExpiration=20"}
