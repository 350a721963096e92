package translate

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/translate/tree"
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

// The alias of an Add is the row's from when it is first seen: also if that is by a
// listing or a discovery, since the session broke behind AddObject, or the bridge
// was killed there.
func TestAliasOfAnAddThatIsCutOff(t *testing.T) {
	for name, discovered := range map[string]bool{"listed": false, "discovered": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			u := r.add(cpesim.Config{})
			dev, err := r.devices.acquire(t.Context(), u.key)
			if err != nil {
				t.Fatal(err)
			}
			table, _ := lookup(u.model().Schema(), portMappings)
			w := &creation{row: agent.NewRow{Table: table, Params: []agent.Assignment{{Param: table.Node.Child("Alias"), Value: "voip"}}}}
			if w.plan, w.result.Err = dev.state.Load().See(r.now).CreatePlan(table, nil); w.result.Err != nil {
				t.Fatal(w.result.Err)
			}
			before := u.model().Instances(table)
			lost := &cpe{answer: func(req cwmp.Message) (cwmp.Message, error) {
				if _, add := req.(*cwmp.AddObject); add {
					_, err := u.AddRow(string(w.plan.AddObject))
					return nil, errors.Join(acs.ErrSessionLost, err)
				}
				return &cwmp.GetParameterNamesResponse{}, nil
			}}
			if err := r.addObject(t.Context(), lost, dev, w); !errors.Is(err, acs.ErrSessionLost) {
				t.Fatal(err)
			}
			err = r.run(t.Context(), dev, func(ctx context.Context, s *acs.Session) error {
				if discovered {
					return r.rediscover(ctx, s, dev)
				}
				schema, inst, _ := tree.Split(w.plan.AddObject + "1.")
				return r.relistTable(ctx, s, dev, relisted{schema, inst.Prefix(inst.Len() - 1), w.plan.AddObject, "1"})
			})
			r.devices.release(dev)
			if err != nil {
				t.Fatal(err)
			}
			rows := slices.DeleteFunc(u.model().Instances(table), func(n uint32) bool { return slices.Contains(before, n) })
			if len(rows) != 1 {
				t.Fatalf("new rows %v", rows)
			}
			row := dm.Ref{Node: table.Node, Inst: table.Inst.Append(rows[0])}
			for range 2 {
				if alias := u.aliasOf(row); alias != "voip" {
					t.Errorf("the alias is %q", alias)
				}
				u.restart()
				if err := u.session(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
