package translate

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
)

// Reboot and FactoryReset: RPCs that must not be carried out twice, and after
// which the CPE goes away. Device.Reboot() is answered when the CPE has answered;
// that it has rebooted is told by Boot!.

// rebootLife is how long a Reboot is taken for the cause of a boot of which the
// CPE does not say why.
const rebootLife = time.Hour

// reboot sends Reboot. Who asked is durable before the CPE is told, so that the
// next Boot! names the cause whatever happens in between.
func (b *Bridge) reboot(ctx context.Context, dev *device, call agent.Call) (map[string]string, error) {
	return b.restartFor(ctx, dev, call, PendingReboot{Cause: "RemoteReboot"})
}

func (b *Bridge) factoryReset(ctx context.Context, dev *device, call agent.Call) (map[string]string, error) {
	return b.restartFor(ctx, dev, call, PendingReboot{Cause: "RemoteFactoryReset", FactoryReset: true})
}

// restartFor carries a command out. Its argument Cause, which has been checked, says
// whether its caller does what somebody at the device or from afar wants, and is the
// one of the next Boot! (TR-181 Device.Reboot(), Device.FactoryReset(), since 2.18).
func (b *Bridge) restartFor(ctx context.Context, dev *device, call agent.Call, pending PendingReboot) (map[string]string, error) {
	pending.Cause = cmp.Or(call.Args["Cause"], pending.Cause)
	pending.CWMPKey, pending.CommandKey, pending.Reason, pending.Asked = newCommandKey(), call.Key, call.Args["Reason"], b.now()
	return nil, b.restart(ctx, dev, &pending)
}

func (p *PendingReboot) rpc() cwmp.Message {
	if p.FactoryReset {
		return &cwmp.FactoryReset{}
	}
	return &cwmp.Reboot{CommandKey: p.CWMPKey}
}

// restart sends the RPC. A session that breaks after it was sent is how many
// CPE answer it: that is success, and if the CPE comes back without having
// rebooted it is told once more.
func (b *Bridge) restart(ctx context.Context, dev *device, pending *PendingReboot) error {
	sent := false
	var before *PendingReboot // of another command; this one's refusal leaves it as it is
	err := b.run(ctx, dev, func(ctx context.Context, s *acs.Session) error {
		before = dev.state.Load().rec.Reboot
		pending.Sends = 1
		if err := b.keepReboot(ctx, dev, pending); err != nil {
			return err
		}
		sent = true
		_, err := s.Call(ctx, pending.rpc())
		return err
	})
	switch {
	case err == nil:
		return nil
	case sent && (errors.Is(err, acs.ErrSessionLost) || errors.Is(err, context.DeadlineExceeded)):
		return b.owe(context.WithoutCancel(ctx), dev, pending.CWMPKey)
	case sent:
		if clear := b.keepReboot(context.WithoutCancel(ctx), dev, before); clear != nil {
			err = errors.Join(err, clear)
		}
	}
	return commandError(err)
}

// owe notes that a reboot was promised of which the CPE's answer is lost. If it
// has come back from it already, nothing is owed.
func (b *Bridge) owe(ctx context.Context, dev *device, key string) error {
	dev.mu.Lock()
	rec := dev.state.Load().rec.clone()
	if rec.Reboot == nil || rec.Reboot.CWMPKey != key {
		dev.mu.Unlock()
		return nil
	}
	owed := *rec.Reboot
	owed.Owed = true
	rec.Reboot = &owed
	var batch store.Batch
	dev.apply(change{rec: rec}, &batch)
	durable := b.keep(dev, &batch)
	dev.mu.Unlock()
	return durable(ctx)
}

func (b *Bridge) keepReboot(ctx context.Context, dev *device, pending *PendingReboot) error {
	dev.mu.Lock()
	rec := dev.state.Load().rec.clone()
	if rec.Reboot = nil; pending != nil {
		p := *pending
		rec.Reboot = &p
	}
	var batch store.Batch
	dev.apply(change{rec: rec}, &batch)
	durable := b.keep(dev, &batch)
	dev.mu.Unlock()
	return durable(ctx)
}

// settleReboot sends a Reboot once more that the CPE has not carried out: it is
// in a session again, and its Inform told of no boot, or the promise would have
// been kept.
func (b *Bridge) settleReboot(ctx context.Context, cpe acs.Caller, dev *device) error {
	p := dev.state.Load().rec.Reboot
	switch {
	case p == nil || !p.Owed || p.Sends >= maxSends:
		return nil
	case b.now().Sub(p.Asked) > rebootLife:
		return b.keepReboot(ctx, dev, nil) // nobody expects it any more
	}
	again := *p
	again.Sends, again.Owed = again.Sends+1, false
	if err := b.keepReboot(ctx, dev, &again); err != nil {
		return err
	}
	b.log.Info("the CPE has not rebooted and its answer was lost; it is told again", "device", dev.key, "key", p.CWMPKey)
	_, err := cpe.Call(ctx, again.rpc())
	return err
}

// causes reports whether the reboot that was asked for is the boot that an
// Inform tells of: by the "M Reboot" event's key where the CPE gives one.
func (p *PendingReboot) causes(inform *cwmp.Inform, now time.Time) bool {
	if p == nil || p.Sends == 0 {
		return false
	}
	for _, e := range inform.Events {
		if e.Code == cwmp.EventMReboot {
			return e.CommandKey == p.CWMPKey
		}
	}
	return now.Sub(p.Asked) <= rebootLife
}

// booted reports whether an Inform tells of a boot that has not been told of
// before. A CPE that repeats an Inform because its session broke repeats its
// events too.
func (r *Record) booted(inform *cwmp.Inform, now time.Time) bool {
	asked := r.Reboot.causes(inform, now)
	if asked && (inform.HasEvent(cwmp.EventMReboot) || r.Reboot.FactoryReset && inform.HasEvent(cwmp.EventBootstrap)) {
		return true // some CPE leave "1 BOOT" out
	}
	repeated := inform.RetryCount > 0 && slices.Contains(r.LastEvents, cwmp.EventBoot) && r.LastSession.Before(r.LastInform)
	return inform.HasEvent(cwmp.EventBoot) && (asked || !repeated)
}

// refresh reads the CPE's whole tree again.
func (b *Bridge) refresh(ctx context.Context, dev *device) error {
	err := b.run(ctx, dev, func(ctx context.Context, s *acs.Session) error {
		return b.rediscover(ctx, s, dev)
	})
	if err != nil {
		return &usp.Error{Code: usp.ErrCommandFailure, Msg: "the CPE's parameters could not be read again: " + err.Error(), Cause: err}
	}
	return nil
}
