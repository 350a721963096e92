package conformance

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/usp"
)

// deleteCases are the tests of the Delete message (1.24 to 1.35, 1.78, 1.90).
func deleteCases() []testCase {
	return []testCase{
		{number: "1.24", title: "Delete, all or nothing: a row", play: func(t *trial) {
			row := t.row(subscriptions)
			t.Delete(whole, row).deleted([]string{row})
			t.unchanged(subscriptions, nil)
		}},
		{number: "1.25", title: "Delete, all or nothing: a row that is not there", play: func(t *trial) {
			t.Delete(whole, t.absent()).deleted(nil)
		}},
		{number: "1.26", title: "Delete, all or nothing: an object that is not supported", play: func(t *trial) {
			t.Delete(whole, invalidObject).refused(usp.ErrInvalidPath).blames(invalidObject, usp.ErrInvalidPath)
		}},
		{number: "1.27", title: "Delete, all or nothing: two rows", play: func(t *trial) {
			one, two := t.row(subscriptions), t.row(subscriptions)
			a := t.Delete(whole, one, two)
			a.deleted([]string{one}, []string{two})
			a.requested(one, two)
			t.unchanged(subscriptions, nil)
		}},
		{number: "1.28", title: "Delete, all or nothing: a row and an object that is not supported", play: func(t *trial) {
			row := t.row(subscriptions)
			t.Delete(whole, row, invalidObject).refused(usp.ErrInvalidPath).blames(invalidObject, usp.ErrInvalidPath)
			t.unchanged(subscriptions, []string{row})
		}},
		{number: "1.29", title: "Delete, as far as possible: a row that is not there", play: func(t *trial) {
			t.Delete(partial, t.absent()).deleted(nil)
		}},
		{number: "1.30", title: "Delete, as far as possible: an object that is not supported", play: func(t *trial) {
			a := t.Delete(partial, invalidObject)
			a.requested(invalidObject)
			a.kept(0, usp.ErrInvalidPath)
		}},
		{number: "1.31", title: "Delete, as far as possible: a row and an object that is not supported", play: func(t *trial) {
			row := t.row(subscriptions)
			a := t.Delete(partial, row, invalidObject)
			a.removed(a.deletions(2)[0], row)
			a.kept(1, usp.ErrInvalidPath)
			t.unchanged(subscriptions, nil)
		}},
		{number: "1.32", title: "Delete, as far as possible: a row and one that is not there", play: func(t *trial) {
			row := t.row(subscriptions)
			t.Delete(partial, row, t.absent()).deleted([]string{row}, nil)
			t.unchanged(subscriptions, nil)
		}},
		{number: "1.33", title: "Delete of a row in a row addressed by unique keys", play: func(t *trial) {
			own := t.own(primaryID)
			row := t.row(own+"BootParameter.", "ParameterName="+softwareVersion)
			path := controllers + `[EndpointID=="` + string(primaryID) + `"&&Alias=="` + t.value(own+"Alias") + `"].BootParameter.` + strings.TrimPrefix(row, own+"BootParameter.")
			a := t.Delete(whole, path)
			a.requested(path)
			a.deleted([]string{row})
			t.unchanged(own+"BootParameter.", nil)
		}},
		{number: "1.34", title: "Delete of all rows by wildcard", play: func(t *trial) {
			one, two := t.row(subscriptions), t.row(subscriptions)
			a := t.Delete(whole, subscriptions+"*.")
			a.requested(subscriptions + "*.")
			a.deleted([]string{one, two})
			t.unchanged(subscriptions, nil)
		}},
		{number: "1.35", title: "Delete of the rows that a search expression matches", play: func(t *trial) {
			table := t.own(primaryID) + "BootParameter."
			on := t.row(table, "Enable=true", "ParameterName="+softwareVersion)
			off := t.row(table, "Enable=false", "ParameterName="+endpointID)
			a := t.Delete(whole, table+"[Enable==true].")
			a.requested(table + "[Enable==true].")
			a.deleted([]string{on})
			t.unchanged(table, []string{off})
		}},
		{number: "1.78", title: "With a controller its subscriptions go", play: func(t *trial) {
			second := t.as(t.field.secondary)
			theirs := second.row(subscriptions, "ID=sub-78")
			ours := t.row(subscriptions, "ID=sub-78")
			row := t.own(secondaryID)
			t.Delete(whole, row).deleted([]string{row})
			t.unchanged(subscriptions, []string{ours})
			if theirs == ours {
				t.Errorf("two subscriptions are %s", ours)
			}
		}},
		{number: "1.90", title: "Delete by a search expression that matches nothing", play: func(t *trial) {
			row := t.row(subscriptions, "Enable=true")
			t.Delete(whole, subscriptions+"[Enable==false].").deleted(nil)
			t.unchanged(subscriptions, []string{row})
		}},
	}
}

// absent returns the path of a row that the agent has not.
func (t *trial) absent() string {
	var most int
	for _, row := range t.rows(subscriptions) {
		n, err := strconv.Atoi(strings.Trim(strings.TrimPrefix(row, subscriptions), "."))
		if err != nil {
			t.Fatalf("%s is no row: %v", row, err)
		}
		most = max(most, n)
	}
	return fmt.Sprintf("%s%d.", subscriptions, most+1000)
}

// requested expects the requested_path of each result.
func (a *answer) requested(paths ...string) {
	a.t.Helper()
	for i, r := range a.deletions(len(paths)) {
		if r.GetRequestedPath() != paths[i] {
			a.t.Errorf("requested_path is %s, want %s", r.GetRequestedPath(), paths[i])
		}
	}
}

// kept expects that a result is a failure.
func (a *answer) kept(i int, want ...usp.ErrorCode) {
	a.t.Helper()
	all := a.response().GetDeleteResp().GetDeletedObjResults()
	f := all[i].GetOperStatus().GetOperFailure()
	if f == nil {
		a.t.Fatalf("the deletion did not fail: %v", all[i])
	}
	a.code(all[i].GetRequestedPath(), f.GetErrCode(), f.GetErrMsg(), want...)
}

// inTable reports whether a path is that of a row of a table.
func inTable(row, table string) bool {
	number, ok := strings.CutPrefix(row, table)
	_, err := strconv.ParseUint(strings.TrimSuffix(number, "."), 10, 32)
	return ok && err == nil
}
