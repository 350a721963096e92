package mapping

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// generated is a CPE that has every third parameter of Device:2, of which it lets
// every second be set, and every second table be added to.
func generated(t testing.TB, s *Set, phase int) *tree.Tree {
	t.Helper()
	paths := make([]string, 0, len(s.standard.elements))
	for p := range s.standard.elements {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	b := tree.NewBuilder("Device.")
	list := []cwmp.Path{"Device."}
	for i, p := range paths {
		e := s.standard.elements[p]
		name := cwmp.Path(strings.ReplaceAll(p, "{i}", "1"))
		switch {
		case strings.Count(p, "{i}") > dm.MaxDepth:
			continue
		case e.kind == dm.Table:
			table := cwmp.Path(strings.TrimSuffix(string(name), "1."))
			b.Add(cwmp.ParameterInfo{Name: table, Writable: i%2 == 0}, cwmp.TypeUnknown)
		case e.kind != dm.Param || i%3 != phase:
			continue
		default:
			b.Add(cwmp.ParameterInfo{Name: name, Writable: i%2 == 0}, cwmp.TypeString)
		}
		list = append(list, name)
	}
	d := tree.New(b.Template())
	for _, name := range list {
		d.Add(name)
	}
	return d
}

// The supported data model is what the standard has, as far as the CPE has it:
// types, access, arguments and unique keys are the standard's, less what the CPE
// does not grant.
func TestSupportedDataModelIsTheStandards(t *testing.T) {
	s := gatewaySet(t)
	devices := map[string]*tree.Tree{"gateway": gatewayTree(t), "router": routerTree(t), "odd": oddTree(t)}
	for phase := range 3 {
		devices[fmt.Sprint("generated ", phase)] = generated(t, s, phase)
	}
	for name, d := range devices {
		t.Run(name, func(t *testing.T) {
			shown := show(t, s, d)
			checked := 0
			walk(shown.p.Schema.Root, func(n *dm.Node) {
				e := s.standard.elements[n.Path]
				if e == nil || e.kind != n.Kind {
					return
				}
				checked++
				checkSupported(t, shown, n, e)
			})
			if checked < 5 {
				t.Errorf("%d elements are the standard's", checked)
			}
		})
	}
}

func walk(n *dm.Node, f func(*dm.Node)) {
	f(n)
	for _, c := range n.Children {
		walk(c, f)
	}
}

func checkSupported(t *testing.T, s *shown, n *dm.Node, e *element) {
	t.Helper()
	switch n.Kind {
	case dm.Param:
		if n.Type != e.typ {
			t.Errorf("%s has type %v, want %v", n.Path, n.Type, e.typ)
		}
		given := n.Name == "Alias" && n.Access == dm.WriteOnce // by the bridge
		if n.Access != dm.ReadOnly && n.Access != e.access && !given {
			t.Errorf("%s has access %v, the standard %v", n.Path, n.Access, e.access)
		}
		if n.Access == dm.ReadWrite && !writableSource(s, n) {
			t.Errorf("%s can be written, the CPE lets nothing of it be set", n.Path)
		}
		if n.Change == dm.ValueChangeUnknown {
			t.Errorf("%s does not tell whether changes are notified", n.Path)
		}
	case dm.Command:
		if !slices.Equal(n.InArgs, e.in) || !slices.Equal(n.OutArgs, e.out) || n.Async != e.async {
			t.Errorf("%s takes %v, returns %v, async %t", n.Path, n.InArgs, n.OutArgs, n.Async)
		}
	case dm.Event:
		if !slices.Equal(n.Args, e.out) {
			t.Errorf("%s has arguments %v, want %v", n.Path, n.Args, e.out)
		}
	case dm.Table:
		if n.Access != dm.ReadOnly && n.Access != e.access {
			t.Errorf("%s has access %v, the standard %v", n.Path, n.Access, e.access)
		}
		if !slices.EqualFunc(n.Unique, e.unique, slices.Equal) {
			t.Errorf("%s has keys %v, want %v", n.Path, n.Unique, e.unique)
		}
	}
}

// writableSource reports whether any rule of a parameter has a source that the CPE
// lets be set.
func writableSource(s *shown, n *dm.Node) bool {
	return slices.ContainsFunc(s.p.binding(n).by, func(b bound) bool {
		return slices.ContainsFunc(b.refs, func(r reference) bool { return r.param >= 0 && s.p.template.Param(r.param).Writable })
	})
}

// What the standard has deleted by now, and the CPE still has, is supported.
func TestDeletedParametersAreKept(t *testing.T) {
	s := gatewaySet(t)
	const path = "Device.DSL.Line.{i}.StandardsSupported"
	if e := s.standard.elements[path]; e == nil || e.live {
		t.Fatalf("%s is not deleted: %+v", path, e)
	}
	d := show(t, s, device(t, "Device.\nDevice.DSL.Line.1.\nDevice.DSL.Line.1.StandardsSupported string G.992.1_Annex_A\n"))
	if got := d.get("Device.DSL.Line.1.StandardsSupported"); got != "G.992.1_Annex_A" {
		t.Errorf("got %q", got)
	}
}

// Counters always change, and secrets are not told: their changes are ignored, and
// GetSupportedDM says so (TR-369 ValueChangeType).
func TestWhatChangesAreTold(t *testing.T) {
	s := show(t, gatewaySet(t), device(t, `Device.
Device.Ethernet.Interface.1.
Device.Ethernet.Interface.1.Status string Up
Device.Ethernet.Interface.1.Stats.BytesSent unsignedLong 1
Device.Hosts.HostNumberOfEntries unsignedInt 0
`))
	for path, want := range map[string]dm.ValueChange{
		"Device.Ethernet.Interface.{i}.Status":          dm.ValueChangeAllowed,
		"Device.Ethernet.Interface.{i}.Stats.BytesSent": dm.ValueChangeWillIgnore,
		"Device.Ethernet.InterfaceNumberOfEntries":      dm.ValueChangeAllowed,
		"Device.X_USPBRIDGE_CWMP.LastInform":            dm.ValueChangeWillIgnore,
	} {
		if n := s.p.Schema.Lookup(path); n == nil || n.Change != want {
			t.Errorf("%s: %+v, want %d", path, n, want)
		}
	}
}
