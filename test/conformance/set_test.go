package conformance

import (
	"github.com/uspbridge/uspbridge/usp"
)

// setCases are the tests of the Set message (1.11 to 1.23).
func setCases() []testCase {
	return []testCase{
		{number: "1.11", title: "Set, all or nothing: a required parameter", play: func(t *trial) { setOne(t, whole) }},
		{number: "1.12", title: "Set, as far as possible: a required parameter", play: func(t *trial) { setOne(t, partial) }},
		{number: "1.13", title: "Set, all or nothing: required parameters of two rows", play: func(t *trial) {
			one, two := t.row(subscriptions), t.row(subscriptions)
			a := t.Set(whole, change(one, "*NotifRetry=true"), change(two, "*NotifRetry=true"))
			r := a.updates(2)
			a.updated(r[0], []string{one}, "NotifRetry")
			a.updated(r[1], []string{two}, "NotifRetry")
			t.holds(one, "NotifRetry=true")
			t.holds(two, "NotifRetry=true")
		}},
		{number: "1.14", title: "Set, all or nothing: a required parameter that is not supported", play: func(t *trial) {
			row := t.row(subscriptions)
			t.Set(whole, change(row, "*InvalidParameter=IrrelevantValue")).
				refused(usp.ErrRequiredParameterFailed).blames(row+"InvalidParameter", usp.ErrUnsupportedParameter)
			t.lacks(row, "InvalidParameter")
		}},
		{number: "1.15", title: "Set, all or nothing: a required parameter of one of two rows is not supported", play: func(t *trial) {
			one, two := t.row(subscriptions), t.row(subscriptions)
			t.Set(whole, change(one, "*NotifRetry=true"), change(two, "*InvalidParameter=IrrelevantValue")).
				refused(usp.ErrRequiredParameterFailed).blames(two+"InvalidParameter", usp.ErrUnsupportedParameter)
			t.holds(one, "NotifRetry=false")
			t.lacks(one, "InvalidParameter")
			t.lacks(two, "InvalidParameter")
		}},
		{number: "1.16", title: "Set, as far as possible: a required parameter of one of two rows is not supported", play: func(t *trial) {
			one, two := t.row(subscriptions), t.row(subscriptions)
			a := t.Set(partial, change(one, "*NotifRetry=true"), change(two, "*InvalidParameter=IrrelevantValue"))
			r := a.updates(2)
			a.updated(r[0], []string{one}, "NotifRetry")
			a.notUpdated(r[1], []string{two}, "InvalidParameter", usp.ErrUnsupportedParameter)
			t.holds(one, "NotifRetry=true")
		}},
		{number: "1.17", title: "Set, as far as possible: one of two parameters, not required, is not supported", play: setOneOfTwo},
		{number: "1.18", title: "Set of a row addressed by unique keys", play: func(t *trial) {
			row := t.row(subscriptions, "ID=set18")
			a := t.Set(whole, change(subscriptions+`[Recipient=="`+t.value(row+"Recipient")+`"&&ID=="set18"].`, "*NotifRetry=true"))
			a.updated(a.updates(1)[0], []string{row}, "NotifRetry")
			t.holds(row, "NotifRetry=true")
		}},
		{number: "1.19", title: "Set of all rows by wildcard, all or nothing", play: func(t *trial) {
			one, two := t.row(subscriptions), t.row(subscriptions)
			a := t.Set(whole, change(subscriptions+"*.", "*NotifRetry=true"))
			a.updated(a.updates(1)[0], []string{one, two}, "NotifRetry")
			t.holds(one, "NotifRetry=true")
			t.holds(two, "NotifRetry=true")
		}},
		{number: "1.20", title: "Set of all rows by wildcard, all or nothing: a required parameter is not supported", play: func(t *trial) {
			rows := []string{t.row(subscriptions), t.row(subscriptions)}
			e := t.Set(whole, change(subscriptions+"*.", "*InvalidParameter=IrrelevantValue")).refused(usp.ErrRequiredParameterFailed)
			if len(e.GetParamErrs()) == 0 {
				t.Errorf("the Error has no param_errs: %v", e.Error)
			}
			for _, p := range e.GetParamErrs() {
				if p.GetParamPath() != rows[0]+"InvalidParameter" && p.GetParamPath() != rows[1]+"InvalidParameter" {
					t.Errorf("param_path is %s", p.GetParamPath())
				}
				e.a.code(p.GetParamPath(), p.GetErrCode(), p.GetErrMsg(), usp.ErrUnsupportedParameter)
			}
			for _, row := range rows {
				t.lacks(row, "InvalidParameter")
			}
		}},
		{number: "1.21", title: "Set of all rows by wildcard, as far as possible: a required value is bad", play: func(t *trial) {
			one, two := t.row(subscriptions), t.row(subscriptions)
			a := t.Set(partial, change(subscriptions+"*.", "*Enable=InvalidValue"))
			a.notUpdated(a.updates(1)[0], []string{one, two}, "Enable", usp.ErrInvalidType)
			t.holds(one, "Enable=false")
			t.holds(two, "Enable=false")
		}},
		{number: "1.22", title: "Set of the rows that a search expression matches", play: func(t *trial) {
			match, other := t.row(subscriptions, "NotifExpiration=10"), t.row(subscriptions)
			a := t.Set(whole, change(subscriptions+"[NotifExpiration>0].", "*NotifRetry=true"))
			a.updated(a.updates(1)[0], []string{match}, "NotifRetry")
			t.holds(match, "NotifRetry=true")
			t.holds(other, "NotifRetry=false")
		}},
		{number: "1.23", title: "Set by a search path that matches nothing", play: func(t *trial) {
			t.row(subscriptions)
			a := t.Set(partial, change(subscriptions+`[Recipient=="InvalidValue"].`, "*NotifRetry=true"))
			a.updated(a.updates(1)[0], nil)
		}},
	}
}

func setOne(t *trial, allowPartial bool) {
	row := t.row(subscriptions)
	a := t.Set(allowPartial, change(row, "*NotifRetry=true"))
	a.updated(a.updates(1)[0], []string{row}, "NotifRetry")
	t.holds(row, "NotifRetry=true")
}

func setOneOfTwo(t *trial) {
	row := t.row(subscriptions)
	a := t.Set(partial, change(row, "NotifRetry=true", "InvalidParameter=IrrelevantValue"))
	ok := results(a, a.updates(1)[0].GetOperStatus().GetOperSuccess().GetUpdatedInstResults(), 1)[0]
	if ok.GetAffectedPath() != row || len(ok.GetUpdatedParams()) != 1 || ok.GetUpdatedParams()["NotifRetry"] != "true" {
		t.Errorf("updated are %v of %s, want NotifRetry of %s", ok.GetUpdatedParams(), ok.GetAffectedPath(), row)
	}
	e := results(a, ok.GetParamErrs(), 1)[0]
	if e.GetParam() != "InvalidParameter" {
		t.Errorf("param is %s", e.GetParam())
	}
	a.code(e.GetParam(), e.GetErrCode(), e.GetErrMsg(), usp.ErrUnsupportedParameter)
	t.holds(row, "NotifRetry=true")
}

// lacks expects that an object has no such parameter.
func (t *trial) lacks(object, name string) {
	t.Helper()
	a := t.Get(object)
	if _, there := a.values(a.got(1)[0], object)[object][name]; there {
		t.Errorf("%s has a parameter %s", object, name)
	}
}
