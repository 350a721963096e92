package conformance

import (
	"testing"

	"github.com/uspbridge/uspbridge/usp"
)

// addCases are the tests of the Add message (1.1 to 1.10, 1.81, 1.88, 1.95, 1.96,
// 1.104).
func addCases() []testCase {
	return []testCase{
		{number: "1.1", title: "Add, all or nothing: a row with good settings", play: func(t *trial) { addOne(t, whole, "add1") }},
		{number: "1.2", title: "Add, as far as possible: a row with good settings", play: func(t *trial) { addOne(t, partial, "add2") }},
		{number: "1.3", title: "Add, all or nothing: a required setting is bad", play: func(t *trial) {
			before := t.rows(subscriptions)
			t.Add(whole, create(subscriptions, "*Enable=InvalidValue", "ID=add3", "NotifType=ValueChange", "ReferenceList="+softwareVersion)).
				refused(usp.ErrRequiredParameterFailed).blames(subscriptions+"Enable", usp.ErrInvalidType)
			t.unchanged(subscriptions, before)
		}},
		{number: "1.4", title: "Add, all or nothing: a table that is not supported", play: func(t *trial) {
			before := t.rows(subscriptions)
			t.Add(whole, create(invalidObject, "Enable=true", "ID=add4", "NotifType=ValueChange", "ReferenceList="+softwareVersion)).
				refused(usp.ErrInvalidPath).blames(invalidObject, usp.ErrInvalidPath)
			t.unchanged(subscriptions, before)
		}},
		{number: "1.5", title: "Add, all or nothing: two rows with good settings", play: func(t *trial) {
			rows := t.Add(whole,
				create(subscriptions, "Enable=true", "ID=add51", "NotifType=ValueChange", "*ReferenceList="+softwareVersion),
				create(subscriptions, "Enable=true", "ID=add52", "NotifType=ValueChange", "*ReferenceList="+endpointID),
			).created(subscriptionKeys, subscriptionKeys)
			t.holds(rows[0], "Enable=true", "ID=add51", "NotifType=ValueChange", "ReferenceList="+softwareVersion)
			t.holds(rows[1], "Enable=true", "ID=add52", "NotifType=ValueChange", "ReferenceList="+endpointID)
		}},
		{number: "1.6", title: "Add, all or nothing: a good row and a table that is not supported", play: func(t *trial) {
			before := t.rows(subscriptions)
			t.Add(whole,
				create(subscriptions, "Enable=true", "ID=add61", "NotifType=ValueChange", "*ReferenceList="+softwareVersion),
				create(invalidObject, "Enable=true", "ID=add62", "NotifType=ValueChange", "*ReferenceList="+endpointID),
			).refused(usp.ErrInvalidPath).blames(invalidObject, usp.ErrInvalidPath)
			t.unchanged(subscriptions, before)
		}},
		{number: "1.7", title: "Add, all or nothing: a required setting of one of two rows is bad", play: func(t *trial) {
			before := t.rows(subscriptions)
			t.Add(whole,
				create(subscriptions, "*Enable=InvalidValue", "ID=add71", "NotifType=ValueChange", "*ReferenceList="+softwareVersion),
				create(subscriptions, "Enable=true", "ID=add72", "NotifType=ValueChange"),
			).refused(usp.ErrRequiredParameterFailed).blames(subscriptions+"Enable", usp.ErrInvalidType)
			t.unchanged(subscriptions, before)
		}},
		{number: "1.8", title: "Add, as far as possible: a required setting of the only row is bad", play: func(t *trial) {
			before := t.rows(subscriptions)
			a := t.Add(partial, create(subscriptions, "*Enable=InvalidValue", "ID=add8", "NotifType=ValueChange", "*ReferenceList="+softwareVersion))
			a.failure(results(a, a.response().GetAddResp().GetCreatedObjResults(), 1)[0], usp.ErrRequiredParameterFailed)
			t.unchanged(subscriptions, before)
		}},
		{number: "1.9", title: "Add, as far as possible: a required setting of one of two rows is bad", play: addOneOfTwo},
		{number: "1.10", title: "Add to a table in a row addressed by unique keys", play: func(t *trial) {
			own := t.own(primaryID)
			row := t.Add(whole, create(controllers+`[EndpointID=="`+string(primaryID)+`"&&Alias=="`+t.value(own+"Alias")+`"].BootParameter.`,
				"Enable=true", "ParameterName="+softwareVersion)).created(bootParameterKeys)[0]
			t.under(row, own+"BootParameter.")
			t.holds(row, "Enable=true", "ParameterName="+softwareVersion)
		}},
		{number: "1.81", title: "Unique keys that an Add leaves out are made up", play: keysMadeUp},
		{number: "1.88", title: "Add: the value of a unique key is bad, though it is not required", play: func(t *trial) {
			before := t.rows(subscriptions)
			t.Add(whole, create(subscriptions, "Enable=True", "Alias=88InvalidAlias", "NotifType=ValueChange", "ReferenceList="+softwareVersion)).
				refused(usp.ErrRequiredParameterFailed, usp.ErrInvalidValue)
			t.unchanged(subscriptions, before)
		}},
		{number: "1.95", title: "Add to the tables in all rows that a search expression matches", play: func(t *trial) {
			a := t.Add(whole, create(controllers+"[Enable==true].BootParameter.", "Enable=true", "ParameterName="+softwareVersion))
			var made []string
			for _, r := range a.response().GetAddResp().GetCreatedObjResults() {
				made = append(made, a.success(r, bootParameterKeys))
			}
			if len(made) != len(t.rows(controllers)) {
				t.Errorf("rows were created in %v, want one for each controller", made)
			}
			get := t.Get(controllers + "*.BootParameter.")
			get.resolved(get.got(1)[0], controllers+"*.BootParameter.", made...)
		}},
		{number: "1.96", title: "A unique key that is not functional cannot be changed", play: func(t *trial) {
			row := t.row(subscriptions, "ID=add96")
			t.Set(whole, change(row, "*ID=add96-NEW")).refused(usp.ErrRequiredParameterFailed, usp.ErrReadOnly).blames(row+"ID", usp.ErrReadOnly)
			t.holds(row, "ID=add96")
		}},
		{number: "1.104", title: "A parameter that can be written once cannot be set", play: func(t *trial) {
			row := t.row(subscriptions, "Alias=test-1-104")
			t.Set(whole, change(row, "*Alias=test-1-104-new-alias")).refused(usp.ErrRequiredParameterFailed, usp.ErrReadOnly).blames(row+"Alias", usp.ErrReadOnly)
			t.holds(row, "Alias=test-1-104")
		}},
	}
}

func addOne(t *trial, allowPartial bool, id string) {
	row := t.Add(allowPartial, create(subscriptions, "Enable=true", "ID="+id, "NotifType=ValueChange", "*ReferenceList="+softwareVersion)).
		created(subscriptionKeys)[0]
	t.holds(row, "Enable=true", "ID="+id, "NotifType=ValueChange", "ReferenceList="+softwareVersion)
}

func addOneOfTwo(t *trial) {
	before := t.rows(subscriptions)
	a := t.Add(partial,
		create(subscriptions, "Enable=true", "ID=add91", "NotifType=ValueChange", "ReferenceList="+softwareVersion),
		create(subscriptions, "Enable=true", "ID=add91", "NotifType=ValueChange", "ReferenceList="+softwareVersion, "*InvalidParameter=IrrelevantValue"))
	r := results(a, a.response().GetAddResp().GetCreatedObjResults(), 2)
	row := a.success(r[0], subscriptionKeys)
	a.failure(r[1], usp.ErrRequiredParameterFailed)
	t.unchanged(subscriptions, append(before, row))
	t.holds(row, "Enable=true", "ID=add91", "NotifType=ValueChange", "ReferenceList="+softwareVersion)
}

func keysMadeUp(t *trial) {
	a := t.Add(whole,
		create(subscriptions, "Enable=true", "NotifType=ValueChange", "ReferenceList="+softwareVersion),
		create(subscriptions, "Enable=true", "NotifType=ValueChange", "ReferenceList="+endpointID))
	a.created(subscriptionKeys, subscriptionKeys)
	r := a.response().GetAddResp().GetCreatedObjResults()
	first, second := r[0].GetOperStatus().GetOperSuccess().GetUniqueKeys(), r[1].GetOperStatus().GetOperSuccess().GetUniqueKeys()
	if first["Alias"] == second["Alias"] || first["ID"] == second["ID"] || first["Recipient"] != second["Recipient"] {
		t.Errorf("unique keys are %v and %v; Alias and ID must differ, Recipient must not", first, second)
	}
}

// under expects that a path is one of an object in a table.
func (t *trial) under(row, table string) {
	t.Helper()
	if !inTable(row, table) {
		t.Errorf("%s is no row of %s", row, table)
	}
}

// TestInTable: what is a row of a table.
func TestInTable(t *testing.T) {
	for row, want := range map[string]bool{"Device.A.1.": true, "Device.A.": false, "Device.A.1.B.1.": false, "Device.B.1.": false} {
		if inTable(row, "Device.A.") != want {
			t.Errorf("inTable(%s, Device.A.) is %v", row, !want)
		}
	}
}
