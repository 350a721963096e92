package tree

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

func TestSplitAndJoin(t *testing.T) {
	for _, c := range []struct {
		path   cwmp.Path
		schema string
		inst   dm.Instance
		ok     bool
	}{
		{"Device.DeviceInfo.UpTime", "Device.DeviceInfo.UpTime", dm.Inst(), true},
		{"InternetGatewayDevice.LANDevice.1.WLANConfiguration.2.SSID", "InternetGatewayDevice.LANDevice.{i}.WLANConfiguration.{i}.SSID", dm.Inst(1, 2), true},
		{"Device.Hosts.Host.724.", "Device.Hosts.Host.{i}.", dm.Inst(724), true},
		{"Device.Hosts.Host.", "Device.Hosts.Host.", dm.Inst(), true},
		{"Device.X_HW_5G.Band", "Device.X_HW_5G.Band", dm.Inst(), true},
		{"Device.Time.NTPServer1", "Device.Time.NTPServer1", dm.Inst(), true},
		{"Device.A.4294967295.B", "Device.A.{i}.B", dm.Inst(4294967295), true},
		{"Device.A.4294967296.B", "Device.A.4294967296.B", dm.Inst(), true}, // no instance number
		// Deviation: Thomson – sends ".ExternalIPAddress" without its path; it is no parameter of the tree
		{".ExternalIPAddress", "", dm.Inst(), false},
		{"Device..X", "", dm.Inst(), false},
		{"", "", dm.Inst(), false},
		{"A.1.B.1.C.1.D.1.E.1.F.1.G.1.H.1.I.1.J", "", dm.Inst(), false}, // deeper than any table
	} {
		schema, inst, ok := Split(c.path)
		if ok != c.ok || ok && (schema != c.schema || inst != c.inst) {
			t.Errorf("Split(%q) = %q %v %v, want %q %v %v", c.path, schema, inst, ok, c.schema, c.inst, c.ok)
		}
		if ok && Join(schema, inst) != c.path {
			t.Errorf("Join(%q, %v) = %q, want %q", schema, inst, Join(schema, inst), c.path)
		}
	}
}

// hosts is a small device: two single parameters and two nested tables.
func hosts(t testing.TB) *Template {
	t.Helper()
	b := NewBuilder("Device.")
	for _, n := range []cwmp.ParameterInfo{
		{Name: "Device.DeviceInfo.UpTime"}, {Name: "Device.DeviceInfo.ProvisioningCode", Writable: true},
		{Name: "Device.WiFi.AccessPoint.", Writable: true},
		{Name: "Device.WiFi.AccessPoint.1.Enable", Writable: true},
		{Name: "Device.WiFi.AccessPoint.1.Security.ModeEnabled"},
		{Name: "Device.WiFi.AccessPoint.2.AssociatedDevice.7.MACAddress"},
		{Name: "Device.Hosts."},
	} {
		b.Add(n, cwmp.TypeString)
	}
	return b.Template()
}

func TestTemplate(t *testing.T) {
	tpl := hosts(t)
	var tables []string
	for _, tab := range tpl.Tables {
		tables = append(tables, fmt.Sprintf("%s in %d, depth %d, add %v, %d parameters", tab.Path, tab.Parent, tab.Depth, tab.CanAdd, len(tab.Params)))
	}
	want := []string{
		" in 0, depth 0, add false, 2 parameters",
		"Device.WiFi.AccessPoint.{i}. in 0, depth 1, add true, 2 parameters",
		"Device.WiFi.AccessPoint.{i}.AssociatedDevice.{i}. in 1, depth 2, add false, 1 parameters",
	}
	if diff := cmp.Diff(want, tables); diff != "" {
		t.Error(diff)
	}
	back, err := DecodeTemplate(tpl.Encode(nil))
	if err != nil {
		t.Fatal(err)
	}
	if back.ID() != tpl.ID() {
		t.Errorf("id %s after a round trip, %s before", back.ID(), tpl.ID())
	}
	if !tpl.HasObject("Device.Hosts.") || tpl.HasObject("Device.Time.") {
		t.Error("objects without parameters are not kept")
	}
}

// A writable object is a table without rows, unless it has other children: some
// CPE tell every object to be writable.
//
// Deviation: several CPE – tell every object to be writable; only those that look like tables are tables
func TestWritableObjects(t *testing.T) {
	b := NewBuilder("Device.")
	for _, n := range []cwmp.ParameterInfo{
		{Name: "Device.NAT.PortMapping.", Writable: true},
		{Name: "Device.UserInterface.", Writable: true},
		{Name: "Device.UserInterface.Language", Writable: true},
	} {
		b.Add(n, cwmp.TypeUnknown)
	}
	tpl := b.Template()
	if id, ok := tpl.LookupTable("Device.NAT.PortMapping.{i}."); !ok || !tpl.Tables[id].CanAdd {
		t.Error("a writable object without children is no table that rows can be added to")
	}
	if _, ok := tpl.LookupTable("Device.UserInterface.{i}."); ok {
		t.Error("a writable object with parameters is a table")
	}
}

func TestTemplatesAreSharedWhereOneCoversTheOther(t *testing.T) {
	big := hosts(t)
	b := NewBuilder("Device.")
	b.Add(cwmp.ParameterInfo{Name: "Device.WiFi.AccessPoint.5.Enable"}, cwmp.TypeUnknown)
	small := b.Template()
	if !big.Covers(small) {
		t.Error("a device with less is not covered")
	}
	if small.Covers(big) {
		t.Error("a device with more is covered")
	}
	b.Add(cwmp.ParameterInfo{Name: "Device.Time.Enable", Writable: true}, cwmp.TypeBoolean)
	other := b.Template()
	if big.Covers(other) {
		t.Error("a device with another parameter is covered")
	}
	if both := big.Extend(other); !both.Covers(big) || !both.Covers(other) {
		t.Error("the extended template does not cover both")
	}
}

func filled(t testing.TB, tpl *Template) *Tree {
	t.Helper()
	tree := New(tpl)
	set := func(path cwmp.Path, text string, at uint32) {
		schema, inst, _ := Split(path)
		p, ok := tpl.Lookup(schema)
		if !ok {
			t.Fatalf("%s is not in the template", path)
		}
		tree.Set(p, inst, text, at)
	}
	set("Device.DeviceInfo.UpTime", "100", 50)
	set("Device.WiFi.AccessPoint.2.Enable", "1", 60)
	set("Device.WiFi.AccessPoint.1.Enable", "0", 60)
	set("Device.WiFi.AccessPoint.2.AssociatedDevice.9.MACAddress", "00:00:5E:00:53:09", 61)
	set("Device.WiFi.AccessPoint.2.AssociatedDevice.7.MACAddress", "00:00:5E:00:53:07", 61)
	tree.Add("Device.DeviceInfo.ProvisioningCode")
	return tree
}

func dump(tree *Tree) (out []string) {
	tree.ForEach(func(p ParamID, inst dm.Instance, v Value) bool {
		out = append(out, fmt.Sprintf("%s=%s@%d/%d", Join(tree.Template().Param(p).Path, inst), v.Text, v.At, v.State))
		return true
	})
	return out
}

func TestTreeKeepsRowsAndValues(t *testing.T) {
	tree := filled(t, hosts(t))
	want := []string{
		"Device.DeviceInfo.ProvisioningCode=@0/1",
		"Device.DeviceInfo.UpTime=100@50/2",
		"Device.WiFi.AccessPoint.1.Enable=0@60/2",
		"Device.WiFi.AccessPoint.2.Enable=1@60/2",
		"Device.WiFi.AccessPoint.2.AssociatedDevice.7.MACAddress=00:00:5E:00:53:07@61/2",
		"Device.WiFi.AccessPoint.2.AssociatedDevice.9.MACAddress=00:00:5E:00:53:09@61/2",
	}
	if diff := cmp.Diff(want, dump(tree)); diff != "" {
		t.Error(diff)
	}
	back, err := Decode(tree.Template(), tree.Encode(nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, dump(back)); diff != "" {
		t.Errorf("after a round trip:\n%s", diff)
	}
	aps, _ := tree.Template().LookupTable("Device.WiFi.AccessPoint.{i}.")
	stations, _ := tree.Template().LookupTable("Device.WiFi.AccessPoint.{i}.AssociatedDevice.{i}.")
	if got := tree.Rows(stations, dm.Inst(2)); !cmp.Equal(got, []uint32{7, 9}) {
		t.Errorf("rows %v, want 7 and 9", got)
	}
	next := tree.Clone()
	next.RemoveRow(aps, dm.Inst(2))
	if next.HasRow(stations, dm.Inst(2, 7)) || !tree.HasRow(stations, dm.Inst(2, 7)) {
		t.Error("removing a row must take the rows in it, and must not touch the tree it was cloned from")
	}
}

func TestACloneDoesNotChangeItsOriginal(t *testing.T) {
	tree := filled(t, hosts(t))
	before := dump(tree)
	next := tree.Clone()
	p, _ := tree.Template().Lookup("Device.DeviceInfo.UpTime")
	if !next.Set(p, dm.Inst(), "200", 70) || next.Set(p, dm.Inst(), "200", 80) {
		t.Error("Set must report a new value, and only that")
	}
	next.AddRow(1, dm.Inst(3))
	next.MarkUnsure(p, dm.Inst())
	if diff := cmp.Diff(before, dump(tree)); diff != "" {
		t.Error(diff)
	}
	if v, _ := next.Value(p, dm.Inst()); v != (Value{"200", 80, Unsure}) {
		t.Errorf("got %v", v)
	}
}

// Any tree reads back as it was written.
func TestTreeRoundTrip(t *testing.T) {
	tpl := hosts(t)
	rapid.Check(t, func(t *rapid.T) {
		tree := New(tpl)
		for range rapid.IntRange(0, 40).Draw(t, "values") {
			p := ParamID(rapid.IntRange(0, len(tpl.Params)-1).Draw(t, "parameter"))
			var inst dm.Instance
			for range tpl.Tables[tpl.Param(p).Table].Depth {
				inst = inst.Append(rapid.Uint32().Draw(t, "instance"))
			}
			tree.Set(p, inst, rapid.String().Draw(t, "text"), rapid.Uint32().Draw(t, "at"))
		}
		back, err := Decode(tpl, tree.Encode(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(dump(tree), dump(back)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzDecode(f *testing.F) {
	tpl := hosts(f)
	f.Add(filled(f, tpl).Encode(nil))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, err := Decode(tpl, b)
		if err == nil {
			dump(tree)
			tree.Encode(nil)
		}
	})
}

func FuzzDecodeTemplate(f *testing.F) {
	f.Add(hosts(f).Encode(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if tpl, err := DecodeTemplate(b); err == nil {
			New(tpl).Encode(nil)
		}
	})
}

// gateway is a tree of 800 parameters in 60 rows.
func gateway() *Tree {
	b := NewBuilder("Device.")
	name := func(row, p int) cwmp.Path {
		return cwmp.Path(fmt.Sprintf("Device.Table%d.%d.Parameter%d", row%10, row/10+1, p))
	}
	for row := range 60 {
		for p := range 14 {
			b.Add(cwmp.ParameterInfo{Name: name(row, p)}, cwmp.TypeString)
		}
	}
	tree := New(b.Template())
	for row := range 60 {
		for p := range 14 {
			schema, inst, _ := Split(name(row, p))
			id, _ := tree.Template().Lookup(schema)
			tree.Set(id, inst, fmt.Sprint("value", row*p), 1_790_000_000)
		}
	}
	return tree
}

func BenchmarkEncode(b *testing.B) {
	tree := gateway()
	b.ReportAllocs()
	for b.Loop() {
		tree.Encode(nil)
	}
	b.ReportMetric(float64(len(tree.Encode(nil))), "stored-bytes")
	b.ReportMetric(float64(tree.Size()), "memory-bytes")
}

func BenchmarkDecode(b *testing.B) {
	tree := gateway()
	blob := tree.Encode(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(tree.Template(), blob); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCloneAndSet(b *testing.B) {
	tree := gateway()
	b.ReportAllocs()
	for b.Loop() {
		tree.Clone().Set(3, dm.Inst(1), "x", 1)
	}
}
