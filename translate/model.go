package translate

import (
	"context"
	"errors"
	"fmt"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// model is one CPE as agent.Model, for the length of one message. What reads
// takes the device's state as it was; what changes anything holds the device.
type model struct {
	bridge *Bridge
	dev    *device
}

var _ agent.Model = (*model)(nil)

// Model implements agent.Devices. A CPE whose tree is not known yet has no agent.
func (b *Bridge) Model(ctx context.Context, id usp.EndpointID) (agent.Model, agent.Identity, error) {
	dev, err := b.byEndpoint(ctx, id)
	if err != nil {
		return nil, agent.Identity{}, err
	}
	defer b.devices.release(dev)
	rec := dev.state.Load().rec
	if rec.Template == "" {
		return nil, agent.Identity{}, fmt.Errorf("%s: %w: %w", id, agent.ErrUnknownEndpoint, errNotDiscovered)
	}
	return &model{bridge: b, dev: dev}, agent.Identity{
		OUI: rec.ID.OUI, ProductClass: rec.ID.ProductClass,
		SerialNumber: rec.ID.SerialNumber, SoftwareVersion: rec.Software,
	}, nil
}

// Hosts reports whether a device is known by an endpoint id, discovered or not. It
// is quick for one that is in memory.
func (b *Bridge) Hosts(ctx context.Context, id usp.EndpointID) (bool, error) {
	if _, known := b.devices.endpoints.Load(id); known {
		return true, nil
	}
	_, err := b.store.Get(ctx, endpointKey(id))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("%s: %w", id, err)
	}
	return true, nil
}

// byEndpoint returns the device of an endpoint id, pinned.
func (b *Bridge) byEndpoint(ctx context.Context, id usp.EndpointID) (*device, error) {
	if key, known := b.devices.endpoints.Load(id); known {
		return b.devices.acquire(ctx, key.(cwmp.DeviceKey))
	}
	key, err := b.store.Get(ctx, endpointKey(id))
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%s: %w", id, agent.ErrUnknownEndpoint)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	dev, err := b.devices.acquire(ctx, cwmp.DeviceKey(key))
	if err == nil {
		b.devices.endpoints.Store(id, dev.key)
	}
	return dev, err
}

// hold returns the model with its device pinned until release is called.
func (m *model) hold(ctx context.Context) (held *model, release func(), err error) {
	dev, err := m.bridge.devices.acquire(ctx, m.dev.key)
	if err != nil {
		return nil, nil, err
	}
	return &model{m.bridge, dev}, func() { m.bridge.devices.release(dev) }, nil
}

func (m *model) state() *snapshot { return m.dev.state.Load() }

// Schema implements agent.Model.
func (m *model) Schema() *dm.Schema { return m.state().program.Schema }

// Watch implements agent.Model: it keeps which CPE parameters the wanted ones
// are read from. Their notification attributes are set when the CPE is next in
// a session, and one is asked for now.
func (m *model) Watch(params []dm.Ref) error {
	m, release, err := m.hold(context.Background())
	if err != nil {
		return err
	}
	defer release()
	view := m.state().See(m.bridge.now)
	var sources []mapping.Source
	for _, ref := range params {
		sources = view.Sources(ref, sources)
	}
	names := make([]cwmp.Path, 0, len(sources))
	seen := make(map[cwmp.Path]bool, len(sources))
	template := m.state().tree.Template()
	for _, s := range sources {
		if name := tree.Join(template.Param(s.Param).Path, s.Inst); !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return m.bridge.watch(m.dev, names)
}

// watch keeps the set of watched parameters, durably.
func (b *Bridge) watch(dev *device, names []cwmp.Path) error {
	dev.mu.Lock()
	old := dev.state.Load().rec
	if len(without(names, old.Watched)) == 0 && len(without(old.Watched, names)) == 0 {
		dev.mu.Unlock()
		return nil
	}
	rec := old.clone()
	rec.Watched = names
	rec.Denied = without(old.Denied, without(old.Denied, names)) // what nobody watches is asked for anew if somebody does
	var batch store.Batch
	dev.apply(change{rec: rec}, &batch)
	durable := b.keep(dev, &batch)
	dev.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), b.cfg.Deadline)
	defer cancel()
	if err := durable(ctx); err != nil {
		return err
	}
	b.nudge(dev)
	return nil
}

// nudge asks for a session soon, so that what was put off to the next one is
// done. If the CPE cannot be reached it is done when it informs.
func (b *Bridge) nudge(dev *device) {
	dev.pins.Add(1)
	go func() {
		defer b.devices.release(dev)
		err := b.run(context.Background(), dev, b.attributesJob(dev))
		if err != nil {
			b.log.Info("what waits for the CPE is done when it informs next", "device", dev.key, "error", err)
		}
	}()
}
