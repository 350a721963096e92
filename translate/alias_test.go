package translate

import (
	"slices"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// addMapping adds a port mapping with an alias.
func (u *unit) addMapping(alias string, required bool) agent.AddResult {
	u.rig.t.Helper()
	m := u.model()
	table, ok := lookup(m.Schema(), "Device.NAT.PortMapping.")
	if !ok {
		u.rig.t.Fatal("no such table")
	}
	return m.Add(u.rig.t.Context(), []agent.NewRow{{Table: table, Params: []agent.Assignment{
		{Param: table.Node.Child("Alias"), Value: alias, Required: required},
		{Param: table.Node.Child("Description"), Value: "of " + alias},
	}}}, false)[0]
}

func (u *unit) aliasOf(row dm.Ref) string {
	u.rig.t.Helper()
	m := u.model()
	return m.Peek([]dm.Ref{{Node: m.Schema().Lookup(row.Node.Path + "Alias"), Inst: row.Inst}})[0].Text
}

// Rows of CPE that have no Alias get one: that which the controller gives when it
// adds the row, else the bridge's own. It stays the row's as long as the row is
// there, also across restarts and discoveries.
func TestAliasesOfCPEWithoutAny(t *testing.T) {
	r := newRig(t, nil)
	u := r.add(cpesim.Config{})
	if access := u.model().Schema().Lookup("Device.NAT.PortMapping.{i}.Alias").Access; access != dm.WriteOnce {
		t.Errorf("access %v, want WriteOnce", access)
	}
	given := u.addMapping("voip", true)
	if given.Err != nil || len(given.Failed) > 0 {
		t.Fatal(given)
	}
	own := u.addMapping("", true)
	if alias := u.aliasOf(own.Row); own.Err != nil || len(alias) < 5 || alias[:4] != "cpe-" {
		t.Fatalf("%v: alias %q", own, alias)
	}
	for _, c := range []struct {
		alias    string
		required bool
		want     usp.ErrorCode
	}{
		{"voip", true, usp.ErrUniqueKeyConflict}, {"voip", false, usp.ErrUniqueKeyConflict},
		{"cpe-77", true, usp.ErrInvalidValue}, {"1st", true, usp.ErrInvalidValue},
	} {
		res := u.addMapping(c.alias, c.required)
		code := usp.ErrorCode(0)
		if res.Err != nil && len(res.Err.Params) > 0 {
			code = res.Err.Params[0].Code
		} else if res.Failed[0] != nil {
			code = res.Failed[0].Code
		}
		if code != c.want || (res.Err != nil) != c.required {
			t.Errorf("alias %q, required %t: %+v", c.alias, c.required, res)
		}
	}
	check := func(when string) {
		t.Helper()
		if alias := u.aliasOf(given.Row); alias != "voip" {
			t.Errorf("%s the alias is %q", when, alias)
		}
	}
	check("at first")
	u.restart()
	check("after a restart")
	if err := r.Refresh(t.Context(), u.record().Endpoint); err != nil {
		t.Fatal(err)
	}
	u.restart()
	check("after a discovery")
	if errs := u.model().Delete(t.Context(), []dm.Ref{given.Row}, false); errs[0] != nil {
		t.Fatal(errs[0])
	}
	if res := u.addMapping("voip", true); res.Err != nil || u.aliasOf(res.Row) != "voip" {
		t.Errorf("the alias of a deleted row is not free: %+v", res)
	}
	if sent := requests[*cwmp.SetParameterValues](u); slices.ContainsFunc(sent, func(m *cwmp.SetParameterValues) bool { return len(m.Values) == 0 }) {
		t.Error("a SetParameterValues without values was sent")
	}
}
