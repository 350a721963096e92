package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// How often each kind of session is held.
const (
	plainSessions = 3000
	readSessions  = 1500
	changes       = 300
)

// changedPath is what the notifications are about, statusPath is what is asked of
// the CPE.
const (
	changedPath = "Device.WiFi.SSID.1.SSID"
	statusPath  = "Device.WiFi.Radio.1.Status"
)

// queueing is how long a batch of Gets is given to reach the queues of their
// devices before the sessions begin. One that is late is noticed: its session
// ends without it.
const queueing = 200 * time.Millisecond

// firstContacts brings the fleet up: each CPE's whole tree is read and stored.
func (m *measurement) firstContacts(ctx context.Context) (err error) {
	if m.fleet, err = newFleet(ctx, fleetConfig{acs: "http://" + m.bridge.cwmp + "/", count: m.devices, muted: muted, open: sessionsOpen}); err != nil {
		return err
	}
	c, err := m.bridge.measure(ctx, "first-contact", func() error { return m.fleet.firstContact(ctx) })
	if err != nil {
		return err
	}
	m.table.add(row{what: fmt.Sprintf("first contact, tree of %d parameters", m.fleet.model.Parameters()), n: m.devices,
		cpu: c.each(m.devices), perSecond: c.rate(m.devices), peer: "GenieACS 61 ms", aim: "10 ms"})
	return nil
}

// sessions are those in which nobody wants anything of the CPE.
func (m *measurement) sessions(ctx context.Context) error {
	devices, seen := m.fleet.reachable(), make([]time.Duration, plainSessions)
	c, err := m.bridge.measure(ctx, "session", func() error {
		return inParallel(sessionsOpen, plainSessions, func(i int) error {
			began := time.Now()
			err := devices[i%len(devices)].Inform(cwmp.Event{Code: cwmp.EventPeriodic})
			seen[i] = time.Since(began)
			return err
		})
	})
	if err != nil {
		return err
	}
	m.table.add(row{what: "session: Inform, empty POST, 204", n: plainSessions, cpu: c.each(plainSessions),
		perSecond: c.rate(plainSessions), p50: quantile(seen, 0.5), p99: quantile(seen, 0.99)})
	return nil
}

// sessionsWithRead are those in which one value is read for a controller. The
// Get that asks for it is waiting when the CPE comes; its own cost is taken off.
func (m *measurement) sessionsWithRead(ctx context.Context) error {
	devices := m.fleet.muted()
	before := m.fleet.Stats()
	c, err := m.bridge.measure(ctx, "session-read", func() error {
		for range readSessions / len(devices) {
			if err := m.readAll(ctx, devices); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	after := m.fleet.Stats()
	n := int(after.Sessions - before.Sessions)
	if reads := int(after.RPCsByName["GetParameterValues"] - before.RPCsByName["GetParameterValues"]); reads != n {
		return fmt.Errorf("%d sessions had %d GetParameterValues: one each is measured", n, reads)
	}
	m.table.add(row{what: "session: Inform, empty POST, GetParameterValues, 204", n: n, cpu: c.each(n) - m.cachedGet,
		peer: "GenieACS 1.9-2.3 ms without its store, 3 + 7 ms with", aim: "0.3 ms"})
	return nil
}

// readAll has each device's status asked for, and then has each inform.
func (m *measurement) readAll(ctx context.Context, devices []device) error {
	answers := make(chan error, len(devices))
	for _, d := range devices {
		go func() { answers <- m.get(ctx, d.agent, statusPath) }()
	}
	select {
	case <-time.After(queueing):
	case <-ctx.Done():
		return ctx.Err()
	}
	err := inParallel(sessionsOpen, len(devices), func(i int) error {
		return devices[i].Inform(cwmp.Event{Code: cwmp.EventPeriodic})
	})
	for range devices {
		err = errors.Join(err, <-answers)
	}
	return err
}

// notifications are value changes that a controller has subscribed to.
func (m *measurement) notifications(ctx context.Context) error {
	devices := m.fleet.muted()[:20]
	for _, d := range devices {
		if err := m.subscribe(ctx, d.agent, changedPath, "bench"); err != nil {
			return err
		}
		// In this session the CPE is told to notify.
		if err := d.Inform(cwmp.Event{Code: cwmp.EventPeriodic}); err != nil {
			return err
		}
	}
	var seen []time.Duration
	c, err := m.bridge.measure(ctx, "notify", func() error {
		for i := range changes {
			took, err := m.change(ctx, devices[i%len(devices)], fmt.Sprintf("bench-%d", i))
			if err != nil {
				return err
			}
			seen = append(seen, took)
		}
		return nil
	})
	if err != nil {
		return err
	}
	m.table.add(row{what: "Inform arrives -> Notify received (CPU: whole session)", n: changes, cpu: c.each(changes),
		p50: quantile(seen, 0.5), p99: quantile(seen, 0.99), peer: "obuspa polls every 15 s", aim: "p50 < 3 ms"})
	return nil
}

// subscribe adds a subscription to a parameter's changes for each of the IDs.
func (m *measurement) subscribe(ctx context.Context, agent usp.EndpointID, path string, ids ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	add := &usppb.Add{}
	for _, id := range ids {
		object := &usppb.Add_CreateObject{ObjPath: "Device.LocalAgent.Subscription."}
		for _, p := range [][2]string{{"ID", id}, {"NotifType", "ValueChange"}, {"ReferenceList", path}, {"Enable", "true"}} {
			object.ParamSettings = append(object.ParamSettings, &usppb.Add_CreateParamSetting{Param: p[0], Value: p[1], Required: true})
		}
		add.CreateObjs = append(add.CreateObjs, object)
	}
	_, err := m.ctl.Add(ctx, agent, add)
	return err
}

// change changes a value inside the CPE and returns the time from the Inform
// that tells it to the Notify.
func (m *measurement) change(ctx context.Context, d device, value string) (time.Duration, error) {
	if err := d.Set(changedPath, value); err != nil {
		return 0, err
	}
	over := time.After(patience)
	for {
		select {
		case n, open := <-m.ctl.Notifications():
			now := time.Now()
			if !open {
				return 0, errors.New("the bridge closed the controller's connection")
			}
			if v := n.Notify.GetValueChange(); n.Agent == d.agent && v.GetParamValue() == value {
				return now.Sub(*m.fleet.relay.informed.Load()), m.settle(ctx)
			}
		case <-over:
			return 0, fmt.Errorf("no Notify of %s came within %v", d.agent, patience)
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// settle waits until no session is open.
func (m *measurement) settle(ctx context.Context) error {
	return within(ctx, "the end of a session", func() (bool, error) {
		s := m.fleet.Stats()
		return s.ActiveSessions == 0, nil
	})
}
