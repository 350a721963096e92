package translate

import (
	"context"
	"testing"
	"testing/fstest"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// described shows a CPE's serial number in one more place.
const described = `mapping: mine
for: {product_class: ".*"}
root: InternetGatewayDevice.
objects:
  - target: Device.DeviceInfo.
    source: DeviceInfo.
    params: {Description: SerialNumber}
`

// shownValue reads a parameter of a unit as controllers would.
func (u *unit) shownValue(path string) (text string, known bool) {
	u.rig.t.Helper()
	dev, err := u.rig.devices.acquire(context.Background(), u.key)
	if err != nil {
		u.rig.t.Fatal(err)
	}
	defer u.rig.devices.release(dev)
	s := dev.state.Load()
	schema, inst, _ := tree.Split(cwmp.Path(path))
	node := s.program.Schema.Lookup(schema)
	if node == nil {
		return "", false
	}
	text, _, state := s.See(u.rig.now).Read(dm.Ref{Node: node, Inst: inst})
	return text, state != mapping.Absent
}

// TestRemap: changed mapping files are in use for a device in memory and for one
// that is loaded later; instance numbers stay; files that are taken away are out of
// use.
func TestRemap(t *testing.T) {
	r := newRig(t, nil)
	u := r.add(cpesim.Config{})
	u.discover(5)
	before, _ := u.shownValue("Device.DeviceInfo.Description")
	rows := func() string {
		t.Helper()
		dev, err := r.devices.acquire(t.Context(), u.key)
		if err != nil {
			t.Fatal(err)
		}
		defer r.devices.release(dev)
		return string(dev.state.Load().numbers.Encode())
	}
	numbers := rows()

	set, err := mapping.Load(fstest.MapFS{"mine.yaml": &fstest.MapFile{Data: []byte(described)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Remap(set); err != nil {
		t.Fatal(err)
	}
	want := u.Identity().SerialNumber
	if got, ok := u.shownValue("Device.DeviceInfo.Description"); !ok || got != want {
		t.Errorf("in memory: %q, want %q", got, want)
	}
	r.devices.evict(r.now().Add(patience))
	if r.devices.loaded() != 0 {
		t.Fatal("the device is in memory still")
	}
	if got, ok := u.shownValue("Device.DeviceInfo.Description"); !ok || got != want {
		t.Errorf("loaded: %q, want %q", got, want)
	}
	if rows() != numbers {
		t.Error("instance numbers are others")
	}

	plain, err := mapping.Load()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Remap(plain); err != nil {
		t.Fatal(err)
	}
	if got, _ := u.shownValue("Device.DeviceInfo.Description"); got != before {
		t.Errorf("without the file: %q, want %q as before", got, before)
	}
}
