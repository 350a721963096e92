package agent

import (
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/path"
)

// What Targets can say (Device.LocalAgent.ControllerTrust.Role.{i}.Permission.{i}.
// Targets), each shown by what the controller then sees of a table.
func TestTargets(t *testing.T) {
	const ssids = "Device.WiFi.SSID.*.SSID"
	home, guest := "Device.WiFi.SSID.1.SSID=home", "Device.WiFi.SSID.2.SSID=guest"
	both := home + "\n" + guest
	for _, tc := range []struct{ name, targets, get, want string }{
		{"everything", "Device.", ssids, both},
		{"everything, as TR-369 writes it", "Device", ssids, both},
		{"object", "Device.WiFi.", ssids, both},
		{"object without a final dot", "Device.WiFi", ssids, both},
		{"list", "Device.DeviceInfo., Device.WiFi.SSID.2.", ssids, guest},
		{"table", "Device.WiFi.SSID.", ssids, both},
		{"row", "Device.WiFi.SSID.2.", ssids, guest},
		{"row that is not there", "Device.WiFi.SSID.7.", ssids, ""},
		{"all rows", "Device.WiFi.SSID.*.", ssids, both},
		{"parameter of all rows", "Device.WiFi.SSID.,Device.WiFi.SSID.*.SSID", ssids, both},
		{"search", "Device.WiFi.SSID.[Enable==true].", ssids, home},
		{"search for two things", `Device.WiFi.SSID.[Enable==true&&Name=="wlan1"].`, ssids, ""},
		{"search in a sub-object", "Device.WiFi.SSID.[Stats.BytesSent<100].", ssids, guest},
		{"unique key", `Device.WiFi.SSID.[Name=="wlan1"].`, ssids, guest},
		{"search with a comma", `Device.WiFi.SSID.[Name=="a,b"].,Device.WiFi.SSID.1.`, ssids, home},
		{"search for what the device has not", "Device.WiFi.SSID.[Nope==1].", ssids, ""},
		{"search that does not suit the type", `Device.WiFi.SSID.[Enable=="yes"].`, ssids, ""},
		{"row of a nested table", "Device.WiFi.SSID.*.Client.1.", "Device.WiFi.SSID.1.Client.*.MAC", "Device.WiFi.SSID.1.Client.1.MAC=00:11:22:33:44:55"},
		{"nested table of a searched row", "Device.WiFi.SSID.[Enable==false].Client.", "Device.WiFi.SSID.1.Client.1.MAC", "!7026"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			b.allow(tc.targets, "r---", "r---", "r---", "----")
			if g := b.seen(tc.get); g != tc.want {
				t.Errorf("got\n%s\nwant\n%s", g, tc.want)
			}
		})
	}
	b := newBench(t)
	for _, bad := range []string{"Device..", "Device.WiFi.SSID.{i}.", "Device.WiFi.SSID.[Name=x].", "Device.WiFi.SSID.1.LowerLayers+.", "Device.WiFi.SSID.[LowerLayers+.Channel==1].",
		"Device.A," + strings.Repeat("Device.B.,", maxTargets)} {
		wantError(t, b.ask(primary, addReq(false, create(permissions, kv{"Targets", bad, true}))), 7021, permissions+"Targets")
	}
}

// A permission follows the values that its target searches for. Where a value
// cannot be known it takes rights away, and never gives any.
func TestSearchingTargetFollowsValues(t *testing.T) {
	b := newBench(t)
	b.allow("Device.WiFi.", "r---", "r---", "r---", "----")
	b.allow(`Device.WiFi.SSID.[SSID=="home"].`, "----", "r---", "r---", "----")
	hidden := func(want ...bool) {
		t.Helper()
		for i, p := range []string{"Device.WiFi.SSID.1.Name", "Device.WiFi.SSID.2.Name"} {
			if g := b.seen(p); (g == "!7026") != want[i] {
				t.Errorf("%s: %s, hidden is %v", p, g, want[i])
			}
		}
	}
	hidden(true, false)
	b.ask(primary, setReq(false, update("Device.WiFi.SSID.2.", kv{"SSID", "home", true})))
	hidden(true, true)
	b.ask(primary, setReq(false, update("Device.WiFi.SSID.1.", kv{"SSID", "other", true})))
	hidden(false, true)
	b.model.mu.Lock()
	b.model.refuse["Get SSID"] = usp.Errorf(usp.ErrInternal, "", "the device is away")
	b.model.mu.Unlock()
	hidden(true, true)
}

// Secured values are shown where a secured role lets them be read, and by no role
// that is not secured (TR-369 "Special Roles").
func TestSecuredValuesBelongToTheSecuredRole(t *testing.T) {
	b := newBench(t)
	secured := b.added(primary, create("Device.LocalAgent.ControllerTrust.Role.", kv{"Name", "Secrets", true}, kv{"Enable", "true", true}))
	b.added(primary, create(secured+"Permission.", kv{"Enable", "true", true}, kv{"Targets", "Device.DeviceInfo.", true}, kv{"Param", "r---", true}))
	b.ask(primary, setReq(false, update("Device.LocalAgent.ControllerTrust.", kv{"SecuredRoles", secured, true})))
	b.ask(primary, setReq(false, update("Device.LocalAgent.Controller.2.", kv{"AssignedRole", rolePath(fullAccessRole) + "," + secured, true})))
	if g := b.seen("Device.WiFi.Passphrase"); g != "Device.WiFi.Passphrase=" {
		t.Errorf("a secured role about something else: %s", g)
	}
	b.added(primary, create(secured+"Permission.", kv{"Enable", "true", true}, kv{"Targets", "Device.WiFi.", true}, kv{"Param", "r---", true}))
	if g := b.seen("Device.WiFi.Passphrase"); g != "Device.WiFi.Passphrase=secret" {
		t.Errorf("a secured role about it: %s", g)
	}
}

// All agents that have the same roles share what was decided about them.
func TestRoleSetsAreShared(t *testing.T) {
	b := newBench(t)
	spec := b.host.spec
	seeded := b.host.seed.index(spec).byInstance[2].roles
	first := b.allow("Device.WiFi.", "r---", "r---", "r---", "----")
	changed := b.access(secondary).set
	if changed == seeded {
		t.Fatal("a permission was added and the set is the same")
	}
	second := b.allow("Device.WiFi.Radio.", "----", "----", "----", "----")
	b.ask(primary, deleteReq(false, second))
	if b.access(secondary).set != changed {
		t.Error("the same permissions again, and another set")
	}
	b.ask(primary, deleteReq(false, first))
	if b.access(secondary).set != seeded {
		t.Error("the roles are those at the start, and another set")
	}
	if n := len(spec.roleSets.byContent); n > 10 {
		t.Errorf("%d sets are kept", n)
	}
}

// A node that is in the place of another in an older data model is not taken for
// it.
func TestRightsOnNodesOfAnOlderSchema(t *testing.T) {
	b := newBench(t)
	a := b.access(secondary)
	old := testSchema(t)
	for _, want := range []string{"Device.DeviceInfo.UpTime", "Device.WiFi.Passphrase"} {
		for _, schema := range []*dm.Schema{b.model.schema, old} {
			if got := a.can(dm.Ref{Node: schema.Lookup(want)}, readParam); got != (want == "Device.DeviceInfo.UpTime") {
				t.Errorf("%s: may be read: %v", want, got)
			}
		}
	}
	if a.on(dm.Ref{Node: &dm.Node{Path: "Device.DeviceInfo.UpTime", Kind: dm.Param}}) != 0 {
		t.Error("a node of no schema has rights")
	}
}

// FuzzTarget: whatever text is taken as a target covers no more than what lies
// below its own first names.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"Device", "Device.WiFi.SSID.1.", `Device.WiFi.SSID.[Enable==true&&Stats.BytesSent>1].`, "Device.WiFi.SSID.*.Client.", "Device.Reboot()", "Device.WiFi.SSID.1.LowerLayers+."} {
		f.Add(s)
	}
	schema := testSchema(f)
	var all []*dm.Node
	var collect func(n *dm.Node)
	collect = func(n *dm.Node) {
		all = append(all, n)
		for _, c := range n.Children {
			collect(c)
		}
	}
	collect(schema.Root.Children[0])
	f.Fuzz(func(t *testing.T, target string) {
		p, err := parseTarget(target)
		if err != nil {
			return
		}
		set := newRoleSet([]*role{{permissions: []permission{{targets: []path.Path{p}, rights: allRights}}}})
		for _, n := range all {
			covered := set.rule(n).somewhere != 0
			for i, st := range p.Steps {
				if i >= 2 || !covered {
					break
				}
				if segments := strings.Split(n.Path, "."); i >= len(segments) || segments[i] != st.Name {
					t.Errorf("%q covers %s", target, n.Path)
				}
			}
		}
	})
}
