package translate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Serve does what the bridge itself wants of a CPE, before the jobs of
// controllers: discover it where its tree is unknown or outdated, give it what
// the configuration says, and set the notification attributes that
// subscriptions need. What fails is logged and tried again in a later session;
// only a broken session ends it.
func (b *Bridge) Serve(ctx context.Context, s *acs.Session) error {
	dev := s.Data().(*device)
	if until := b.quietUntil(dev); b.now().Before(until) {
		b.log.Info("the CPE has just booted and is left alone", "device", dev.key, "until", until.Format(time.RFC3339))
		return nil
	}
	cpe := b.caller(dev, s)
	s.Allow(cpe.profile.RPCTimeout)
	for _, step := range []struct {
		name string
		do   func(context.Context, acs.Caller, *device) error
	}{
		{"deletion of what failed operations left", b.sweep}, // before anything is read that includes it
		{"learning of its model", b.acquaint},
		{"listing of methods", b.askMethods},
		{"discovery", b.discoverIfNeeded},
		{"listing of tables", b.relist},
		{"provisioning", b.provision},
		{"notification attributes", b.setAttributes},
		{"reading of what it does not notify", b.look},
		{"operations", func(ctx context.Context, cpe acs.Caller, dev *device) error {
			return b.carryOn(ctx, cpe, s.BaseURL(), dev)
		}},
		{"reboot", b.settleReboot}, // last: it ends the session
	} {
		err := step.do(ctx, cpe, dev)
		if errors.Is(err, acs.ErrSessionLost) || ctx.Err() != nil {
			return fmt.Errorf("%s of %s: %w", step.name, dev.key, errors.Join(err, ctx.Err()))
		} else if err != nil {
			b.log.Warn(step.name+" failed; it is tried again in the next session", "device", dev.key, "error", err)
		}
	}
	return nil
}

// Ended keeps what the session showed of the CPE and lets go of it.
func (b *Bridge) Ended(s *acs.Session, err error) {
	dev, ok := s.Data().(*device)
	if !ok {
		return // the Inform was refused
	}
	defer b.devices.release(dev)
	dev.mu.Lock()
	defer dev.mu.Unlock()
	rec := dev.state.Load().rec.clone()
	if err != nil {
		b.log.Info("session broken", "device", dev.key, "error", err)
	} else {
		rec.LastSession = b.now()
	}
	var batch store.Batch
	dev.apply(change{rec: rec}, &batch)
	b.keep(dev, &batch)
}

// discoverIfNeeded reads the whole tree at first contact, after a firmware
// change, a factory reset or a file transfer, and when a controller asked for
// it; otherwise it does nothing. A CPE that broke off or refused the last attempts
// is left alone for a while.
func (b *Bridge) discoverIfNeeded(ctx context.Context, cpe acs.Caller, dev *device) error {
	rec := dev.state.Load().rec
	if rec.Unannounced { // the bridge has ended before that
		if err := b.announce(ctx, dev); err != nil {
			return err
		}
	}
	if !rec.Rediscover || b.now().Before(rec.DiscoveryNext) || b.now().Before(b.quietUntil(dev)) {
		return nil
	}
	err := b.rediscover(ctx, cpe, dev)
	if errors.Is(err, errMustWait) {
		return b.putOff(ctx, cpe, dev)
	}
	return err
}

// rediscover reads the whole tree and makes it the device's. It returns
// errMustWait if that is not the device's turn.
func (b *Bridge) rediscover(ctx context.Context, cpe acs.Caller, dev *device) error {
	release, err := b.throttle.acquire(ctx, dev.key)
	if err != nil {
		return err
	}
	defer release()
	started := b.now()
	p, err := b.planDiscovery(ctx, dev)
	if err != nil {
		return err
	}
	d, err := discover(ctx, cpe, p)
	if err != nil {
		b.interrupted(dev, p, d, err)
		b.metrics.discoveries.WithLabelValues("failed").Inc()
		return err
	}
	if err := b.learn(ctx, dev, d); err != nil {
		if dev.state.Load().rec.Rediscover { // the CPE need not say it all again
			b.interrupted(dev, p, d, err)
		}
		b.metrics.discoveries.WithLabelValues("failed").Inc()
		return err
	}
	b.metrics.discoveries.WithLabelValues("done").Inc()
	b.log.Info("discovered", "device", dev.key, "parameters", len(d.values), "took", b.now().Sub(started).Round(time.Millisecond))
	b.shareHabits(dev)
	if dev.state.Load().rec.Unannounced {
		return b.announce(ctx, dev)
	}
	return nil
}

// announce tells controllers of a new device. Should the bridge die meanwhile they
// are told once more rather than never.
func (b *Bridge) announce(ctx context.Context, dev *device) error {
	if err := b.agents.Hosted(ctx, dev.state.Load().rec.Endpoint); err != nil {
		return fmt.Errorf("announcement of a new device: %w", err)
	}
	b.amend(dev, func(r *Record) { r.Unannounced = false })
	return nil
}

// learn makes a discovery the device's tree: the template that its model
// shares, its rows and values, and the instance numbers that controllers see.
// Controllers are told of rows that came or went since the last one.
func (b *Bridge) learn(ctx context.Context, dev *device, d *discovery) error {
	rec := dev.state.Load().rec.clone()
	rec.Root = d.root // what the Inform says may be another
	tpl, err := b.templates.share(ctx, rec, b.templates.presume(d.template(), rec))
	if err != nil {
		return err
	}
	program, err := b.templates.program(tpl, rec)
	if err != nil {
		return err
	}
	t := d.tree(tpl, d.started)

	return b.establish(ctx, dev, func(old *snapshot) (change, func(old, now *snapshot) []agent.Event) {
		numbers := old.numbers
		if numbers == nil {
			numbers = mapping.NewNumbers()
		}
		next, created, deleted, _ := program.Reconcile(t, numbers)
		rec := old.rec.clone()
		rec.Unannounced = rec.Unannounced || rec.Template == ""
		rec.imagesRead(rec.DiscoveredSW != rec.Software)
		rec.Root, rec.Template, rec.DiscoveredSW = d.root, tpl.ID(), rec.Software
		rec.Discovered, rec.Rediscover = d.started, false
		rec.DiscoveryFailures, rec.DiscoveryError, rec.DiscoveryNext = 0, "", time.Time{}
		rec.Suspects = nil // all have been read
		d.teach(&rec.Learnt, b.now())
		next = b.named(&snapshot{rec: rec, tree: t, numbers: next, program: program}, created)
		c := change{rec: rec, tree: t, numbers: next, program: program}
		if rec.DiscoveryPartial {
			rec.DiscoveryPartial = false
			c.batch.Delete(progressKey(dev.key))
		}
		return c, func(old, now *snapshot) []agent.Event {
			if old.tree == nil {
				return nil
			}
			return append(b.rowEvents(old, now, created, deleted), b.changeEvents(old, now, differences(old.tree, t))...)
		}
	})
}

// template returns the template of the tree as it was found.
func (d *discovery) template() *tree.Template {
	types := make(map[cwmp.Path]cwmp.Type, len(d.values))
	for _, v := range d.values {
		types[v.Name] = v.Value.Type
	}
	builder := tree.NewBuilder(d.root)
	for _, n := range d.names {
		builder.Add(n, types[n.Name])
	}
	return builder.Template()
}

// tree returns the device's tree over a template that covers what was found.
func (d *discovery) tree(tpl *tree.Template, now time.Time) *tree.Tree {
	t := tree.New(tpl)
	d.pour(t, now)
	return t
}

// pour adds what was found to a tree.
func (d *discovery) pour(t *tree.Tree, now time.Time) {
	for _, n := range d.names {
		t.Add(n.Name)
	}
	at := uint32(now.Unix())
	for _, v := range d.values {
		if p, inst, ok := locate(t, v.Name); ok {
			t.Set(p, inst, strings.Clone(v.Value.Text), at) // the text is a part of the whole envelope
		}
	}
	for _, name := range d.absent {
		if p, inst, ok := locate(t, name); ok {
			t.MarkAbsent(p, inst)
		}
	}
}

// differences returns the parameters of new whose known value was another in old.
func differences(old, new *tree.Tree) (changed []source) {
	new.ForEach(func(p tree.ParamID, inst dm.Instance, v tree.Value) bool {
		q, ok := p, true
		if old.Template() != new.Template() {
			q, ok = old.Template().Lookup(new.Template().Param(p).Path)
		}
		if !ok || v.State != tree.Known {
			return true
		}
		if was, had := old.Value(q, inst); had && (was.State == tree.Known || was.State == tree.Unsure) && was.Text != v.Text {
			changed = append(changed, source{p, inst})
		}
		return true
	})
	return changed
}
