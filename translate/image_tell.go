package translate

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// What the bridge does with firmware images changes parameters that controllers
// watch: each state that an image goes through is told as a ValueChange. The
// changes come into the store with what made them, and are told from there, in
// their order: an image that was validated within the moment in which it came is
// told to have been both.

// ImageChange is another value of a parameter of an image, which controllers are
// still to be told.
type ImageChange struct {
	Path  string    `json:"path"` // USP path
	Value string    `json:"value"`
	Again time.Time `json:"again"` // when it is told again if it could not be told
}

// maxImageChanges bounds the changes that wait to be told, of which the oldest
// are dropped: an image that is downloaded and activated makes a dozen, and they
// wait only while the store fails.
const maxImageChanges = 64

// imageNames are the parameters of an image that the bridge keeps, in the order
// they are told; the state last, for whoever looks at the others then.
var imageNames = []string{"Name", "Version", "Available", "BootFailureLog", "Status"}

// noteImages notes in a record what of the images controllers are to be told, as
// against the device as it was. It reports whether there is anything.
func (b *Bridge) noteImages(old *snapshot, c *change) bool {
	rec := c.rec
	if old.tree == nil || rec.Software == old.rec.Software && reflect.DeepEqual(rec.Firmware, old.rec.Firmware) {
		return false
	}
	now := c.onto(old)
	var events []agent.Event
	if now.program.KeepsImages() {
		events = b.keptImageEvents(old, now)
	} else {
		events = b.shownImageEvents(old, now)
	}
	if len(events) == 0 {
		return false
	}
	list := slices.Clone(rec.ImageChanges)
	for _, e := range events {
		list = append(list, ImageChange{Path: e.Ref.Path(), Value: e.Value, Again: b.now().Add(tellAgain)})
	}
	rec.ImageChanges = list[max(0, len(list)-maxImageChanges):]
	return true
}

// keptImageEvents are the changes of images that the bridge keeps.
func (b *Bridge) keptImageEvents(old, now *snapshot) (events []agent.Event) {
	if !old.program.KeepsImages() {
		return nil // another firmware has another table
	}
	for row := range uint32(mapping.Images) {
		for _, name := range imageNames {
			node := now.program.Schema.Lookup("Device.DeviceInfo.FirmwareImage.{i}." + name)
			events = b.appendChange(events, old, now, dm.Ref{Node: node, Inst: dm.Inst(row + 1)})
		}
	}
	for _, path := range []string{"Device.DeviceInfo.ActiveFirmwareImage", "Device.DeviceInfo.BootFirmwareImage"} {
		events = b.appendChange(events, old, now, dm.Ref{Node: now.program.Schema.Lookup(path)})
	}
	return events
}

// shownImageEvents are the changes of the states in which images of the CPE are
// shown.
func (b *Bridge) shownImageEvents(old, now *snapshot) (events []agent.Event) {
	objects := maps.Clone(old.rec.Firmware.Shown)
	if objects == nil {
		objects = map[string]ImageStatus{}
	}
	maps.Copy(objects, now.rec.Firmware.Shown)
	for _, object := range slices.Sorted(maps.Keys(objects)) {
		if old.rec.Firmware.Shown[object] == now.rec.Firmware.Shown[object] {
			continue
		}
		p, inst, ok := locate(now.tree, cwmp.Path(object+".Status"))
		if !ok {
			continue // the row has gone
		}
		for _, ref := range now.See(b.now).Targets(p, inst) {
			events = b.appendChange(events, old, now, ref)
		}
	}
	return events
}

// tellImages tells the agent what of images has changed by s. dev.telling is held.
func (b *Bridge) tellImages(ctx context.Context, dev *device, s *snapshot) {
	changes := s.rec.ImageChanges
	if len(changes) == 0 {
		return
	}
	var events []agent.Event
	for _, c := range changes {
		if ref, ok := lookup(s.program.Schema, c.Path); ok { // else the row has gone
			events = append(events, agent.Event{Kind: agent.ValueChanged, Ref: ref, Value: c.Value})
		}
	}
	if err := b.deliver(ctx, dev, events); err != nil {
		b.log.Error("changes of firmware images could not be told; they are told again", "device", dev.key, "error", err)
		return
	}
	dev.mu.Lock()
	defer dev.mu.Unlock()
	rec := dev.state.Load().rec.clone()
	// More may have come, and the oldest may have been dropped for them.
	rec.ImageChanges = slices.DeleteFunc(slices.Clone(rec.ImageChanges), func(c ImageChange) bool { return slices.Contains(changes, c) })
	b.keepOperations(dev, rec, &store.Batch{})
}
