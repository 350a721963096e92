package translate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/translate/tree"
)

// scripted is a CPE made of a list of names, with values of a type each.
type scripted struct {
	names  []cwmp.Path
	values map[cwmp.Path]cwmp.Value // of those not there: their name
	refuse func(req cwmp.Message) error
	calls  int
}

func (s *scripted) Call(_ context.Context, req cwmp.Message) (cwmp.Message, error) {
	s.calls++
	if s.refuse != nil {
		if err := s.refuse(req); err != nil {
			return nil, err
		}
	}
	switch m := req.(type) {
	case *cwmp.GetParameterNames:
		out := &cwmp.GetParameterNamesResponse{}
		for _, n := range s.names {
			if strings.HasPrefix(string(n), string(m.Path)) {
				out.Parameters = append(out.Parameters, cwmp.ParameterInfo{Name: n})
			}
		}
		if out.Parameters == nil {
			return nil, cwmp.NewFault(cwmp.FaultInvalidParameterName)
		}
		return out, nil
	case *cwmp.GetParameterValues:
		out := &cwmp.GetParameterValuesResponse{}
		for _, n := range m.Names {
			if !slices.Contains(s.names, n) {
				return nil, cwmp.NewFault(cwmp.FaultInvalidParameterName)
			}
			v, ok := s.values[n]
			if !ok {
				v = cwmp.Value{Type: cwmp.TypeString, Text: string(n)}
			}
			out.Values = append(out.Values, cwmp.ParameterValue{Name: n, Value: v})
		}
		return out, nil
	}
	return nil, cwmp.NewFault(cwmp.FaultMethodNotSupported)
}

// discovered runs a discovery and returns it with its tree.
func discovered(t *testing.T, cpe *scripted, root, second cwmp.Path) (*discovery, *tree.Tree) {
	t.Helper()
	d, err := discover(t.Context(), cpe, plan{root: root, second: second, ways: mapping.Ways(), now: time.Unix(1_800_000_000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return d, d.tree(d.template(), d.started)
}

func TestRootsThatAreNotWhatTheInformSays(t *testing.T) {
	const igd, dev = "InternetGatewayDevice.", "Device."
	for _, c := range []struct {
		name         string
		names        []cwmp.Path
		root, second cwmp.Path // of the Inform
		want         cwmp.Path
	}{
		// Deviation: Google Fiber – informs with InternetGatewayDevice and answers with Device; what is found counts.
		{"the other root", []cwmp.Path{dev + "A.B", dev + "A.C"}, igd, "", dev},
		// Deviation: some CPE – have both roots; both are read.
		{"both, as the Inform shows", []cwmp.Path{igd + "A.B", igd + "A.C", dev + "D.E"}, igd, dev, igd},
		// Deviation: some CPE – have objects of Device:2 inside InternetGatewayDevice; they are read like any other.
		{"Device:2 inside", []cwmp.Path{igd + "DeviceInfo.UpTime", igd + "WiFi.Radio.1.Channel"}, igd, "", igd},
		// Deviation: MikroTik – instance numbers begin at 724 and have holes; they are taken as they are.
		{"numbers from 724", []cwmp.Path{dev + "Hosts.Host.724.IPAddress", dev + "Hosts.Host.1000.IPAddress", dev + "Hosts.Host.4294967295.IPAddress"}, dev, "", dev},
	} {
		cpe := &scripted{names: c.names}
		d, tr := discovered(t, cpe, c.root, c.second)
		if diff := cmp.Diff(slices.Sorted(slices.Values(c.names)), slices.Sorted(maps.Keys(known(tr)))); d.root != c.want || diff != "" {
			t.Errorf("%s: root %s, want %s; parameters (-want +got):\n%s", c.name, d.root, c.want, diff)
		}
		if cpe.calls > 5 {
			t.Errorf("%s: %d calls", c.name, cpe.calls)
		}
		set, err := mapping.Load()
		if err != nil {
			t.Fatal(err)
		}
		program, err := set.Compile(d.template(), mapping.Identity{})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		numbers, _, _, _ := program.Reconcile(tr, mapping.NewNumbers())
		if r := mapping.Coverage(program, tr); r.Total != len(c.names) || r.Standard+r.Vendor+r.Raw != r.Total || numbers == nil {
			t.Errorf("%s: controllers find %+v of %d parameters", c.name, r, len(c.names))
		}
	}
}

// Deviation: many CPE – values that are not of their type; they are kept as they are, with the type the CPE gives.
func TestValuesOfWrongTypes(t *testing.T) {
	values := map[cwmp.Path]cwmp.Value{
		"Device.A.Number": {Type: cwmp.TypeUnsignedInt, Text: "0.00 dBm"}, "Device.A.Big": {Type: cwmp.TypeUnsignedInt, Text: "18446744073709551616"},
		"Device.A.Flag": {Type: cwmp.TypeBoolean, Text: "Accept"}, "Device.A.Time": {Type: cwmp.TypeDateTime, Text: "514"}, "Device.A.None": {Text: ""},
	}
	cpe := &scripted{names: slices.Sorted(maps.Keys(values)), values: values}
	d, tr := discovered(t, cpe, "Device.", "")
	for name, v := range values {
		if got := known(tr)[name]; got != v.Text {
			t.Errorf("%s is %q, want %q", name, got, v.Text)
		}
		if p, _ := d.template().Lookup(string(name)); d.template().Param(p).Type != v.Type {
			t.Errorf("%s is of type %v, want %v", name, d.template().Param(p).Type, v.Type)
		}
	}
}

// A row that goes while the tree is read costs its own values only, and one that
// comes is found when the table is listed next.
func TestATreeThatChangesWhileItIsRead(t *testing.T) {
	cpe := &scripted{names: []cwmp.Path{"Device.Hosts.HostNumberOfEntries"}}
	for i := range 300 {
		cpe.names = append(cpe.names, cwmp.Path(fmt.Sprintf("Device.Hosts.Host.%d.IPAddress", i+1)))
	}
	all := slices.Clone(cpe.names)
	cpe.refuse = func(req cwmp.Message) error {
		if _, reads := req.(*cwmp.GetParameterValues); reads && len(cpe.names) == len(all) {
			cpe.names = slices.Delete(cpe.names, 17, 18)
		}
		return nil
	}
	d, tr := discovered(t, cpe, "Device.", "")
	if len(known(tr)) != len(all)-1 || len(d.absent) != 1 || d.absent[0] != all[17] {
		t.Errorf("%d values, absent %v; want %d and %s", len(known(tr)), d.absent, len(all)-1, all[17])
	}
	if cpe.calls > 24 {
		t.Errorf("%d calls", cpe.calls)
	}
}

// What a CPE names is bounded: an answer of too many names, and a tree that goes
// on for ever.
func TestTreesWithoutEnd(t *testing.T) {
	huge := make([]cwmp.Path, maxNames+1)
	for i := range huge {
		huge[i] = cwmp.Path(fmt.Sprintf("Device.X.P%d", i))
	}
	_, err := discover(t.Context(), &scripted{names: huge}, plan{root: "Device.", ways: mapping.Ways()})
	if err == nil || !strings.Contains(err.Error(), "100001 parameters, at most 100000") {
		t.Errorf("too many names: %v", err)
	}
	endless := &cpe{answer: func(req cwmp.Message) (cwmp.Message, error) {
		m, ok := req.(*cwmp.GetParameterNames)
		if !ok || !m.NextLevel {
			return nil, cwmp.NewFault(cwmp.FaultInternalError)
		}
		return &cwmp.GetParameterNamesResponse{Parameters: []cwmp.ParameterInfo{{Name: m.Path + "A."}}}, nil
	}}
	_, err = discover(t.Context(), endless, plan{root: "Device.", ways: mapping.Ways()})
	if err == nil || !strings.Contains(err.Error(), "no end") || endless.calls > 4*maxLevelCalls {
		t.Errorf("an endless tree: %v after %d calls", err, endless.calls)
	}
}

// A list without objects says nothing of tables: rows of those that it shows are
// presumed to be addable, as far as the CPE does not deny it.
func TestTablesOfAListWithoutObjects(t *testing.T) {
	leaves := []cwmp.ParameterInfo{{Name: "Device.A.B"}, {Name: "Device.T.2.C", Writable: true}, {Name: "Device.T.2.U.7.D"}, {Name: "Device.T.3.C"}}
	want := append(slices.Clone(leaves), []cwmp.ParameterInfo{{Name: "Device.T.", Writable: true}, {Name: "Device.T.2.", Writable: true},
		{Name: "Device.T.2.U.", Writable: true}, {Name: "Device.T.2.U.7.", Writable: true}, {Name: "Device.T.3.", Writable: true}}...)
	if diff := cmp.Diff(want, withTables(slices.Clone(leaves))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	named := append(slices.Clone(leaves), cwmp.ParameterInfo{Name: "Device.T."})
	if got := withTables(slices.Clone(named)); len(got) != len(named) {
		t.Errorf("a list with objects has got %d more", len(got)-len(named))
	}
}

func benchmarkDiscover(b *testing.B, size int) {
	list := make([]cwmp.ParameterInfo, size)
	there := make(map[cwmp.Path]cwmp.Value, size)
	for i := range list {
		list[i].Name = cwmp.Path(fmt.Sprintf("InternetGatewayDevice.LANDevice.%d.X_T.%d.P%d", i/1000+1, i/10%100+1, i%10))
		there[list[i].Name] = cwmp.Value{Type: cwmp.TypeString, Text: "value"}
	}
	answering := &answers{names: list, values: there}
	b.ReportAllocs()
	for b.Loop() {
		d, err := discover(b.Context(), answering, plan{root: "InternetGatewayDevice.", ways: mapping.Ways(), now: time.Unix(1_800_000_000, 0)})
		if err != nil || len(d.values) != len(list) {
			b.Fatalf("%d of %d values, %v", len(d.values), len(list), err)
		}
		d.tree(d.template(), d.started)
	}
}

// answers is a CPE that costs nothing beside its answers.
type answers struct {
	names  []cwmp.ParameterInfo
	values map[cwmp.Path]cwmp.Value
}

func (a *answers) Call(_ context.Context, req cwmp.Message) (cwmp.Message, error) {
	if _, ok := req.(*cwmp.GetParameterNames); ok {
		return &cwmp.GetParameterNamesResponse{Parameters: slices.Clone(a.names)}, nil
	}
	out := &cwmp.GetParameterValuesResponse{}
	for _, n := range req.(*cwmp.GetParameterValues).Names {
		out.Values = append(out.Values, cwmp.ParameterValue{Name: n, Value: a.values[n]})
	}
	return out, nil
}

func BenchmarkDiscover800(b *testing.B)  { benchmarkDiscover(b, 800) }
func BenchmarkDiscover9000(b *testing.B) { benchmarkDiscover(b, 9000) }
