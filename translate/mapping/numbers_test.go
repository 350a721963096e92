package mapping

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

const hostTable = "InternetGatewayDevice.LANDevice.{i}.Hosts.Host.{i}."

// hostsOf makes a CPE whose host rows have these MAC addresses, numbered from 1.
func hostsOf(t testing.TB, macs ...string) *tree.Tree {
	lines := "InternetGatewayDevice.LANDevice.1.LANHostConfigManagement.MACAddress string 00:00:5E:00:53:01\n"
	for i, mac := range macs {
		row := string(tree.Join(hostTable, dm.Inst(1, uint32(i+1))))
		lines += row + "MACAddress string " + mac + "\n" + row + "HostName string host-" + mac + "\n"
	}
	return device(t, lines)
}

// hostNumbers reconciles a CPE with these hosts and returns number=MAC of each.
func hostNumbers(t testing.TB, n *Numbers, macs ...string) (out []string, next *Numbers, created, deleted []string) {
	t.Helper()
	set := gatewaySet(t)
	d := hostsOf(t, macs...)
	d = d.Onto(set.Presume(d.Template(), Identity{}))
	p, err := set.Compile(d.Template(), Identity{})
	if err != nil {
		t.Fatal(err)
	}
	next, c, del, _ := p.Reconcile(d, n)
	v := p.View(d, next, nil)
	node := p.Schema.Lookup("Device.Hosts.Host.{i}.")
	if node == nil {
		return nil, next, pathsOf(c), pathsOf(del)
	}
	for _, i := range v.Instances(dm.Ref{Node: node}) {
		mac, _, _ := v.Read(dm.Ref{Node: node.Child("PhysAddress"), Inst: dm.Inst(i)})
		out = append(out, dm.Ref{Node: node, Inst: dm.Inst(i)}.Path()+mac)
	}
	return out, next, pathsOf(c), pathsOf(del)
}

// pathsOf lists host rows only.
func pathsOf(refs []dm.Ref) (paths []string) {
	for _, r := range refs {
		if p := r.Path(); strings.HasPrefix(p, "Device.Hosts.Host.") {
			paths = append(paths, p)
		}
	}
	return paths
}

// A host keeps its number by its MAC address, wherever the CPE puts it; a number
// is never given to another.
//
// Deviation: several CPE – renumber hosts and stations at a reboot; they keep the numbers that controllers know, by their MAC address
func TestHostsKeepTheirNumbers(t *testing.T) {
	steps := []struct {
		macs             []string
		want             []string
		created, deleted []string
	}{
		{macs: []string{"A", "B", "C"}, want: []string{"Device.Hosts.Host.1.A", "Device.Hosts.Host.2.B", "Device.Hosts.Host.3.C"},
			created: []string{"Device.Hosts.Host.1.", "Device.Hosts.Host.2.", "Device.Hosts.Host.3."}},
		{macs: []string{"C", "A", "B"}, want: []string{"Device.Hosts.Host.1.A", "Device.Hosts.Host.2.B", "Device.Hosts.Host.3.C"}},
		{macs: []string{"C", "A"}, want: []string{"Device.Hosts.Host.1.A", "Device.Hosts.Host.3.C"},
			deleted: []string{"Device.Hosts.Host.2."}},
		{macs: []string{"D", "A", "C"}, want: []string{"Device.Hosts.Host.1.A", "Device.Hosts.Host.3.C", "Device.Hosts.Host.4.D"},
			created: []string{"Device.Hosts.Host.4."}},
		{macs: []string{"B", "D"}, want: []string{"Device.Hosts.Host.2.B", "Device.Hosts.Host.4.D"},
			created: []string{"Device.Hosts.Host.2."}, deleted: []string{"Device.Hosts.Host.1.", "Device.Hosts.Host.3."}},
		{macs: []string{"B", "B"}, want: []string{"Device.Hosts.Host.2.B", "Device.Hosts.Host.5.B"},
			created: []string{"Device.Hosts.Host.5."}, deleted: []string{"Device.Hosts.Host.4."}},
	}
	n := NewNumbers()
	for i, s := range steps {
		var got, created, deleted []string
		got, n, created, deleted = hostNumbers(t, n, s.macs...)
		slices.Sort(deleted)
		if diff := cmp.Diff(s.want, got); diff != "" {
			t.Errorf("step %d: rows\n%s", i, diff)
		}
		if diff := cmp.Diff(s.created, created); diff != "" {
			t.Errorf("step %d: created\n%s", i, diff)
		}
		if diff := cmp.Diff(s.deleted, deleted); diff != "" {
			t.Errorf("step %d: deleted\n%s", i, diff)
		}
		back, err := DecodeNumbers(n.Encode())
		if err != nil {
			t.Fatal(err)
		}
		n = back // as after a restart
	}
}

// A row created where one was deleted is another row, though the CPE gives it
// the same number.
//
// Deviation: several CPE – give the number of a deleted row to a new one; controllers see a new number
func TestADeletedRowsNumberIsNotUsedAgain(t *testing.T) {
	s := show(t, gatewaySet(t), gatewayTree(t))
	const mapping = cwmp.Path("InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.PortMapping.1.")
	schema, inst, _ := tree.Split(mapping)
	table, _ := s.tree.Template().LookupTable(schema)
	without := s.tree.Clone()
	without.RemoveRow(table, inst)
	n, _, deleted, changed := s.p.Reconcile(without, s.n)
	if !changed || len(deleted) == 0 {
		t.Fatalf("the removed row is not told: %v", deleted)
	}
	again, created, _, _ := s.p.Reconcile(s.tree, n)
	ref, ok := s.p.View(s.tree, again, nil).RowOf(s.ref("Device.NAT.PortMapping.").Node, mapping)
	if !ok || ref.Inst.Last() == 1 {
		t.Errorf("the new row is %s of %v", ref.Path(), created)
	}
	if same, c, d, changed := s.p.Reconcile(s.tree, again); changed || len(c)+len(d) > 0 || same != again {
		t.Error("reconciling the same tree again changes something")
	}
}

// Rows come and go in tables that have the CPE's numbers too.
func TestRowsWithTheCPEsNumbersAreTold(t *testing.T) {
	set := gatewaySet(t)
	s := show(t, set, routerTree(t))
	next := s.tree.Clone()
	next.Add("Device.WiFi.SSID.1.SSID")
	thing, inst, _ := tree.Split("Device.X_TP_Things.Thing.2.")
	table, _ := next.Template().LookupTable(thing)
	next.RemoveRow(table, inst)
	_, created, deleted, changed := s.p.Reconcile(next, s.n)
	var got []string
	for _, r := range created {
		got = append(got, "+"+r.Path())
	}
	for _, r := range deleted {
		got = append(got, "-"+r.Path())
	}
	if diff := cmp.Diff([]string{"+Device.WiFi.SSID.1.", "-Device.X_TP_Things.Thing.2."}, got); diff != "" || !changed {
		t.Error(diff)
	}
}

// Whatever hosts come and go, a number stands for one MAC address for ever.
func TestANumberStandsForOneHostForEver(t *testing.T) {
	set := gatewaySet(t)
	base := hostsOf(t, "A")
	p, err := set.Compile(base.Template(), Identity{})
	if err != nil {
		t.Fatal(err)
	}
	host := p.Schema.Lookup("Device.Hosts.Host.{i}.")
	rapid.Check(t, func(t *rapid.T) {
		n, owner := NewNumbers(), map[uint32]string{}
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			d := base.Clone()
			table, _ := d.Template().LookupTable(hostTable)
			d.RemoveRow(table, dm.Inst(1, 1))
			mac, _ := d.Template().Lookup(hostTable + "MACAddress")
			for i, m := range rapid.SliceOfNDistinct(rapid.StringMatching("[A-F]"), 0, 6, rapid.ID).Draw(t, "hosts") {
				d.Set(mac, dm.Inst(1, uint32(i+1)), m, readAt)
			}
			n, _, _, _ = p.Reconcile(d, n)
			v := p.View(d, n, nil)
			for _, i := range v.Instances(dm.Ref{Node: host}) {
				text, _, _ := v.Read(dm.Ref{Node: host.Child("PhysAddress"), Inst: dm.Inst(i)})
				if had, ok := owner[i]; ok && had != text {
					t.Fatalf("number %d was %s and is %s", i, had, text)
				}
				owner[i] = text
			}
		}
	})
}

// Numbers outlive a mapping file that is changed and changed back.
func TestNumbersOutliveAChangeOfTheMapping(t *testing.T) {
	d := gatewayTree(t)
	s := show(t, gatewaySet(t), d)
	before := s.get("Device.Hosts.Host.1.PhysAddress")
	gone := show(t, gatewaySet(t, "lan.yaml", "mapping: tr098-lan\nroot: InternetGatewayDevice.\nobjects: []\n"), d)
	n, _, _, _ := gone.p.Reconcile(gone.tree, s.n)
	n, _, _, _ = s.p.Reconcile(s.tree, n)
	back := &shown{View: s.p.View(s.tree, n, nil), p: s.p, t: t}
	if got := back.get("Device.Hosts.Host.1.PhysAddress"); got != before {
		t.Errorf("host 1 is %s, was %s", got, before)
	}
}

func FuzzDecodeNumbers(f *testing.F) {
	s := show(f, gatewaySet(f), gatewayTree(f))
	f.Add(s.n.Encode())
	f.Add([]byte{formatNumbers, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := DecodeNumbers(b)
		if err != nil {
			return
		}
		again, err := DecodeNumbers(n.Encode())
		if err != nil || len(again.tables) != len(n.tables) {
			t.Fatalf("%v", err)
		}
	})
}
