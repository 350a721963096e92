package mapping

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/usp/dm"
)

// The interface stack of a CPE without one is made of what its interfaces stand on.
func TestInterfaceStack(t *testing.T) {
	s := show(t, gatewaySet(t), gatewayTree(t))
	rows := s.Instances(s.ref("Device.InterfaceStack."))
	if len(rows) == 0 {
		t.Fatal("there is none")
	}
	got := map[string]string{}
	for _, n := range rows {
		at := "Device.InterfaceStack." + fmt.Sprint(n) + "."
		got[s.get(at+"HigherLayer")] += s.get(at+"LowerLayer") + " "
		if s.get(at+"HigherAlias") == "" || s.get(at+"LowerAlias") == "" {
			t.Errorf("%s has no aliases", at)
		}
	}
	for higher, lower := range map[string]string{
		"Device.WiFi.SSID.1":              "Device.WiFi.Radio.1 ",
		"Device.PPP.Interface.1":          "Device.Ethernet.Link.",
		"Device.Ethernet.Link.1":          "Device.Bridging.Bridge.1.Port.1 ",
		"Device.IP.Interface.1":           "Device.Ethernet.Link.1 ",
		"Device.Bridging.Bridge.1.Port.1": "Device.Bridging.Bridge.1.Port.2 ",
	} {
		if !strings.HasPrefix(got[higher], lower) {
			t.Errorf("%s stands on %q, want %q", higher, got[higher], lower)
		}
	}
	if n := s.get("Device.InterfaceStackNumberOfEntries"); n != fmt.Sprint(len(rows)) {
		t.Errorf("%s rows are counted, there are %d", n, len(rows))
	}

	// A row of the stack keeps its number when an interface goes, and when it is back.
	less := device(t, withoutLines(gateway, "WLANConfiguration.2.")).Onto(s.p.Template())
	again, created, deleted, changed := s.p.Reconcile(less, s.n)
	if !changed || !slices.ContainsFunc(deleted, func(r dm.Ref) bool { return r.Node.Path == stackTable }) {
		t.Fatalf("created %v, deleted %v", created, deleted)
	}
	full, created, _, _ := s.p.Reconcile(s.tree, again)
	back := &shown{View: s.p.View(s.tree, full, nil), p: s.p, n: full, t: t}
	for _, n := range rows {
		at := "Device.InterfaceStack." + fmt.Sprint(n) + ".HigherLayer"
		if was, is := s.get(at), back.get(at); was != is {
			t.Errorf("%s was %s, is %s", at, was, is)
		}
	}
	if len(created) == 0 {
		t.Error("nothing came back")
	}
}

func withoutLines(text, part string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if !strings.Contains(line, part) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

func TestGatewayIsConsistent(t *testing.T) {
	s := show(t, gatewaySet(t), gatewayTree(t))
	for _, x := range s.Inconsistencies() {
		t.Errorf("%s = %q: %s (%s)", x.Path, x.Value, x.Text, x.Rule)
	}
}

// Each kind of inconsistency is found.
func TestInconsistenciesAreFound(t *testing.T) {
	const router = `
Device.InterfaceStackNumberOfEntries unsignedInt 0
Device.Ethernet.Interface.1.Status string Sleeping
Device.Ethernet.Link.1.LowerLayers string Device.Ethernet.Interface.7
Device.Ethernet.Link.2.LowerLayers string
Device.Bridging.Bridge.1.Port.1.LowerLayers string Device.Bridging.Bridge.1.Port.2
Device.Bridging.Bridge.1.Port.2.LowerLayers string Device.Bridging.Bridge.1.Port.1
Device.Hosts.Host.1.PhysAddress string 00:00:5E:00:53:01
Device.Hosts.Host.2.PhysAddress string 00:00:5E:00:53:01
Device.WiFi.Radio.1.TransmitPower int 300
Device.PPP.Interface.1.Enable boolean 1
`
	s := show(t, gatewaySet(t), device(t, router))
	var found []string
	for _, x := range s.Inconsistencies() {
		found = append(found, x.Path+": "+x.Text)
	}
	for _, want := range []string{
		`Device.Ethernet.Interface.1.Status: "Sleeping" is not one of`,
		"Device.Ethernet.Link.1.LowerLayers: Device.Ethernet.Interface.7 is not there",
		"Device.Ethernet.Link.2.LowerLayers: it stands on no interface",
		"Device.Bridging.Bridge.1.Port.2.LowerLayers: it stands on itself",
		"Device.Hosts.Host.2.: it has the key PhysAddress of row 1",
		"Device.PPP.Interface.1.: it stands on no interface: it has no LowerLayers",
		"Device.WiFi.Radio.1.TransmitPower: 300 is out of range",
	} {
		if !slices.ContainsFunc(found, func(s string) bool { return strings.HasPrefix(s, want) }) {
			t.Errorf("%q is not among\n%s", want, strings.Join(found, "\n"))
		}
	}
}

// Deviation: CPE of many vendors – counters beyond 32 bits, negative, or with a unit; what is shown is the number of the type that they are.
func TestNumbersOfCPE(t *testing.T) {
	for _, c := range []struct {
		typ      dm.Type
		cpe, usp string
	}{
		{dm.TypeUnsignedInt, "42", "42"},
		{dm.TypeUnsignedInt, " 42 ", "42"},
		{dm.TypeUnsignedInt, "4294967296", "0"},
		{dm.TypeUnsignedInt, "5000000000", "705032704"},
		{dm.TypeUnsignedInt, "-1", "4294967295"},
		{dm.TypeUnsignedLong, "-1", "4294967295"},
		{dm.TypeUnsignedLong, "5000000000", "5000000000"},
		{dm.TypeUnsignedLong, "-3000000000", "18446744070709551616"},
		{dm.TypeInt, "-19.30 dBm", "-19"},
		{dm.TypeInt, "0.00 dBm", "0"},
		{dm.TypeInt, "+7", "+7"},
		{dm.TypeInt, "3000000000", "2147483647"},
		{dm.TypeInt, "-3000000000", "-2147483648"},
		{dm.TypeLong, "99999999999999999999", "9223372036854775807"},
		{dm.TypeInt, "", ""},
		{dm.TypeInt, "auto", ""},
		{dm.TypeDecimal, "0.50 dB", "0.50"},
		{dm.TypeDecimal, "n/a", ""},
	} {
		if got := canonical(c.cpe, c.typ); got != c.usp {
			t.Errorf("type %v: %q is %q, want %q", c.typ, c.cpe, got, c.usp)
		}
	}
}
