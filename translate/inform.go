package translate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Inform takes in what a CPE says of itself. Events that somebody has
// subscribed to are durable when it returns; the rest is written behind the
// session's back, since the CPE would say it again.
func (b *Bridge) Inform(ctx context.Context, s *acs.Session) error {
	inform := s.Inform()
	if id := s.DeviceID(); id.OUI == "" && id.SerialNumber == "" {
		// Without either, all such CPE would be one device.
		return cwmp.Faultf(cwmp.FaultACSInvalidArguments, "the Inform has neither OUI nor SerialNumber: the CPE cannot be told from others")
	}
	dev, created, err := b.devices.create(ctx, s.Key(), func() (*snapshot, error) { return b.firstContact(ctx, s) })
	if err != nil {
		return fmt.Errorf("inform of %s: %w", s.Key(), err)
	}
	s.SetData(dev) // released by Ended
	if created {
		b.log.Info("first contact", "device", dev.key, "endpoint", dev.state.Load().rec.Endpoint, "from", s.RemoteAddr())
	}
	return b.takeInform(ctx, dev, s, inform)
}

// deliver tells the agent what happened. It returns when that is durable.
func (b *Bridge) deliver(ctx context.Context, dev *device, events []agent.Event) error {
	endpoint := dev.state.Load().rec.Endpoint
	if err := b.agents.Deliver(ctx, endpoint, events); err != nil {
		return fmt.Errorf("notifications of %s: %w", endpoint, err)
	}
	return nil
}

// firstContact makes the record of a CPE never seen before and claims its
// endpoint id.
func (b *Bridge) firstContact(ctx context.Context, s *acs.Session) (*snapshot, error) {
	rec := &Record{
		ID: s.DeviceID(), Stage: StageBridged,
		FirstInform: b.now(), Rediscover: true,
	}
	var err error
	if rec.Endpoint, err = b.claimEndpoint(ctx, rec.ID); err != nil {
		return nil, err
	}
	var batch store.Batch
	batch.Put(recordKey(rec.Key()), rec.encode())
	if err := b.store.Commit(ctx, &batch); err != nil {
		return nil, err
	}
	return &snapshot{rec: rec}, nil
}

// claimEndpoint takes the endpoint id of a new device. Should another device
// have it (two product classes whose ids fall back to the same one), the new
// device gets its UUID instead.
func (b *Bridge) claimEndpoint(ctx context.Context, id cwmp.DeviceID) (usp.EndpointID, error) {
	for _, eid := range []usp.EndpointID{b.cfg.Endpoint.EndpointID(id), uuidEndpoint(id)} {
		var batch store.Batch
		batch.CompareAndSet(endpointKey(eid), nil, []byte(id.Key()))
		err := b.store.Commit(ctx, &batch)
		if err == nil {
			return eid, nil
		} else if !errors.Is(err, store.ErrConflict) {
			return "", err
		}
		owner, err := b.store.Get(ctx, endpointKey(eid))
		if err != nil {
			return "", err
		}
		if cwmp.DeviceKey(owner) == id.Key() {
			return eid, nil
		}
		b.log.Warn("endpoint id is already another device's; this one gets a UUID", "endpoint", eid, "device", id.Key(), "owner", string(owner))
	}
	return "", fmt.Errorf("no endpoint id is free for %s", id.Key())
}

// wakeUpEvent is TR-181 Device.LocalAgent.WakeUp!, which is "13 WAKEUP": the CPE has
// left its standby. The agent serves the object.
var wakeUpEvent = dm.Ref{Node: &dm.Node{Name: "WakeUp!", Path: "Device.LocalAgent.WakeUp!", Kind: dm.Event, Local: true}}

// takeInform updates the device by its Inform.
func (b *Bridge) takeInform(ctx context.Context, dev *device, s *acs.Session, inform *cwmp.Inform) error {
	return b.publish(ctx, dev, func(old *snapshot) (c change, events func(old, now *snapshot) []agent.Event) {
		c.rec = b.informed(old.rec, s, inform)
		b.cameBy(dev, c.rec, inform)
		var changed []source
		var created, deleted []dm.Ref
		var up []agent.Event
		if old.tree != nil {
			values := inform.ParameterList
			if c.rec.SecondRoot == "" {
				values = underRoot(values, old.rec.Root)
			}
			changed = c.update(old, values, b.now())
			created, deleted = c.reconcile(old.program, old.numbers)
		}
		if booted := old.rec.booted(inform, b.now()); booted && old.program != nil {
			up = b.bootEvent(old, c.rec, inform)
			c.rec.Reboot = nil
		}
		if inform.HasEvent(cwmp.EventWakeup) && old.program != nil {
			up = append(up, agent.Event{Kind: agent.Occurred, Ref: wakeUpEvent})
		}
		return c, func(old, now *snapshot) []agent.Event {
			return slices.Concat(b.rowEvents(old, now, created, deleted), up, b.changeEvents(old, now, changed))
		}
	})
}

// informed returns the record as the Inform makes it.
func (b *Bridge) informed(old *Record, s *acs.Session, inform *cwmp.Inform) *Record {
	rec := old.clone()
	rec.LastInform = b.now()
	rec.LastEvents = rec.LastEvents[:0:0]
	for _, e := range inform.Events {
		rec.LastEvents = append(rec.LastEvents, cwmp.EventCode(strings.Clone(string(e.Code))))
	}
	rec.Remote = host(s.RemoteAddr())
	rec.ID.Manufacturer = strings.Clone(s.DeviceID().Manufacturer)
	rec.CWMPVersion = s.Version().String()
	for _, p := range []struct {
		name string
		to   *string
	}{
		{"DeviceInfo.SoftwareVersion", &rec.Software},
		{"DeviceInfo.HardwareVersion", &rec.Hardware},
		{"ManagementServer.ConnectionRequestURL", &rec.ConnectionURL},
		{"RootDataModelVersion", &rec.DataModel},
		{"DeviceSummary", &rec.DataModel},
	} {
		if v, ok := inform.Parameter(p.name); ok && v.Text != "" {
			*p.to = strings.Clone(v.Text)
		}
	}
	if root := rootOf(inform.ParameterList); root != "" && (rec.Template == "" || rec.Software != rec.DiscoveredSW) {
		// Once the tree is known, its root is what was found, not what the
		// Inform has: they differ on some CPE.
		rec.Root = cwmp.Path(strings.Clone(string(root)))
	}
	rec.SecondRoot = secondRoot(inform.ParameterList, old.SecondRoot)
	if inform.HasEvent(cwmp.EventBoot) {
		rec.LastBoot = b.now()
	}
	if inform.HasEvent(cwmp.EventBootstrap) {
		rec.LastBootstrap = b.now()
	}
	if inform.HasEvent(cwmp.EventBootstrap) && rec.Template != "" {
		// TR-069 3.7.1.5: what the ACS had set may be gone.
		rec.Rediscover, rec.Provisioned, rec.Attributes, rec.Denied, rec.Passive = true, "", nil, nil, nil
		rec.Arguments = nil
	}
	if rec.Software != rec.DiscoveredSW && rec.Template != "" {
		rec.Rediscover = true
	}
	rec.imageFollows(old, inform.HasEvent(cwmp.EventBoot))
	return rec
}

// bootEvent returns Device.Boot! (TR-181 Device.Boot!): what caused it is known
// to the bridge if the bridge asked for it.
func (b *Bridge) bootEvent(s *snapshot, rec *Record, inform *cwmp.Inform) []agent.Event {
	node := s.program.Schema.Lookup("Device.Boot!")
	if node == nil {
		return nil
	}
	args := map[string]string{
		"CommandKey": "", "Cause": "LocalReboot", "ParameterMap": "{}",
		"FirmwareUpdated": fmt.Sprint(rec.Software != s.rec.Software),
	}
	if inform.HasEvent(cwmp.EventBootstrap) {
		args["Cause"] = "LocalFactoryReset"
	}
	if p := rec.Reboot; p.causes(inform, b.now()) {
		args["Cause"], args["CommandKey"] = p.Cause, p.CommandKey
		if p.Reason != "" {
			args["Reason"] = p.Reason
		}
	}
	return []agent.Event{{Kind: agent.Occurred, Ref: dm.Ref{Node: node}, Args: args}}
}

// source is one CPE parameter of one row.
type source struct {
	param tree.ParamID
	inst  dm.Instance
}

// update makes values part of the change, over the tree of s. It returns the
// parameters that had another known value before. A value said again only gets
// younger: that stays in memory, so that an Inform with nothing new costs no
// write. Names that the tree does not have are left to the next discovery.
func (c *change) update(s *snapshot, values []cwmp.ParameterValue, now time.Time) (changed []source) {
	t := s.tree
	next := t.Clone()
	at := uint32(now.Unix())
	written := false
	for _, v := range values {
		p, inst, ok := locate(t, v.Name)
		if !ok || !t.HasRow(t.Template().Param(p).Table, inst) {
			continue // a row that is not listed yet
		}
		before, had := next.Value(p, inst)
		text := v.Value.Text
		if before.Text == text {
			text = before.Text // not the envelope's, which would stay in memory with it
		} else {
			text = strings.Clone(text)
		}
		if !next.Set(p, inst, text, at) {
			continue
		}
		written = true
		c.structural = c.structural || s.program.Structural(p)
		if had && (before.State == tree.Known || before.State == tree.Unsure) && before.Text != text {
			changed = append(changed, source{p, inst})
		}
	}
	if written {
		c.tree = next
	} else {
		c.aged = next
	}
	return changed
}
