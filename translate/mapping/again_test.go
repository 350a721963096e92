package mapping

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/usp"
)

// A port mapping of both protocols, which vendors have in one row, is two mappings: one
// of TCP, which can be set and deleted, and one of UDP, which follows it.
func TestMappingOfBothProtocols(t *testing.T) {
	const (
		mappings = "InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPPPConnection.1.PortMapping."
		lines    = "+" + mappings + `
+` + mappings + `1.PortMappingProtocol string TCP
+` + mappings + `1.ExternalPort unsignedInt 80
+` + mappings + `2.PortMappingProtocol string TCP AND UDP
+` + mappings + `2.ExternalPort unsignedInt 53
`
		at = "Device.NAT.PortMapping."
	)
	set := gatewaySet(t)
	s := show(t, set, device(t, lines))
	if got := s.Instances(s.ref(at)); !slices.Equal(got, []uint32{1, 2, 3}) {
		t.Fatalf("there are the mappings %v, want 1, 2 and 3", got)
	}
	for path, want := range map[string]string{
		"1.Protocol": "TCP", "2.Protocol": "TCP", "3.Protocol": "UDP",
		"1.ExternalPort": "80", "2.ExternalPort": "53", "3.ExternalPort": "53",
	} {
		if got := s.get(at + path); got != want {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}

	got, err := s.Write(s.ref(at+"2.Protocol"), "UDP", nil)
	if diff := cmp.Diff([]cwmp.ParameterValue{{Name: mappings + "2.PortMappingProtocol", Value: cwmp.Value{Type: cwmp.TypeString, Text: "UDP"}}}, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := s.Write(s.ref(at+"3.ExternalPort"), "54", nil); err == nil || err.Code != usp.ErrReadOnly {
		t.Errorf("the UDP half is set: %v", err)
	}
	for number, want := range []bool{1: true, 2: true, 3: false} {
		if number == 0 {
			continue
		}
		object, deletable, _ := s.RowSource(s.ref(at + string(rune('0'+number)) + "."))
		if deletable != want {
			t.Errorf("mapping %d (%s) is deletable: %v", number, object, deletable)
		}
	}

	// Where it becomes one of a single protocol, its other half goes.
	one := device(t, strings.Replace(lines, "TCP AND UDP", "UDP", 1)).Onto(s.p.Template())
	_, created, deleted, _ := s.p.Reconcile(one, s.n)
	if len(created) != 0 || len(deleted) != 1 || deleted[0].Path() != at+"3." {
		t.Errorf("created %v, deleted %v", created, deleted)
	}
}
