package conformance

import (
	"slices"
	"strings"
)

// instancesCases are the tests of the GetInstances message (1.66 to 1.71, 1.83).
func instancesCases() []testCase {
	return []testCase{
		{number: "1.66", title: "GetInstances of a table, first level only", play: func(t *trial) {
			t.nestedRow()
			got := t.Instances(oneOnly, controllers).instances()
			if len(got) == 0 {
				t.Error("there are no controllers")
			}
			for _, i := range got {
				t.under(i.GetInstantiatedObjPath(), controllers)
			}
		}},
		{number: "1.67", title: "GetInstances of a table, all levels", play: func(t *trial) {
			nested := t.nestedRow()
			var got []string
			for _, i := range t.Instances(allLevels, controllers).instances() {
				got = append(got, i.GetInstantiatedObjPath())
				if len(i.GetUniqueKeys()) == 0 {
					t.Errorf("%s has no unique_keys", i.GetInstantiatedObjPath())
				}
			}
			want := append(t.rows(controllers), append(t.rows(controllers+"*.MTP."), nested)...)
			if !same(got, want) {
				t.Errorf("the instances are %v, want %v", got, want)
			}
		}},
		{number: "1.68", title: "GetInstances of two tables", play: func(t *trial) {
			a := t.Instances(oneOnly, controllers, "Device.LocalAgent.MTP.")
			r := results(a, a.response().GetGetInstancesResp().GetReqPathResults(), 2)
			for i, table := range []string{controllers, "Device.LocalAgent.MTP."} {
				if r[i].GetRequestedPath() != table || r[i].GetErrCode() != 0 || len(r[i].GetCurrInsts()) == 0 {
					t.Errorf("result %d is %v, want instances of %s", i, r[i], table)
				}
			}
		}},
		{number: "1.70", title: "GetInstances by wildcard", play: func(t *trial) {
			row := t.row(t.own(secondaryID)+"MTP.", "Protocol="+t.freeProtocol())
			if got := t.rows(controllers + "*.MTP."); !slices.Contains(got, row) {
				t.Errorf("the instances are %v, want %s too", got, row)
			}
		}},
		{number: "1.71", title: "GetInstances by search expression", play: func(t *trial) {
			own := t.own(primaryID)
			row := t.nestedRow()
			got := t.Instances(allLevels, controllers+`[Alias=="`+t.value(own+"Alias")+`"].BootParameter.`).instances()
			if len(got) != 1 || got[0].GetInstantiatedObjPath() != row || !strings.HasPrefix(row, own) {
				t.Errorf("the instances are %v, want %s", got, row)
			}
		}},
		{number: "1.83", title: "GetInstances by a search expression that matches nothing", play: func(t *trial) {
			t.nestedRow()
			if got := t.Instances(allLevels, controllers+`[Alias=="nobody"].BootParameter.`).instances(); len(got) > 0 {
				t.Errorf("the instances are %v", got)
			}
		}},
	}
}

// nestedRow adds a row in a row.
func (t *trial) nestedRow() string {
	t.Helper()
	return t.row(t.own(primaryID)+"BootParameter.", "Enable=true", "ParameterName="+softwareVersion)
}

// freeProtocol returns a transport by which the controllers are not reached.
func (t *trial) freeProtocol() string {
	if t.field.over == "MQTT" {
		return "STOMP"
	}
	return "MQTT"
}
