package translate

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
)

// The names by which a mapping.Program knows what the bridge itself serves.
const (
	ownReboot       = "Reboot()"
	ownFactoryReset = "FactoryReset()"
	ownRefresh      = "X_USPBRIDGE_CWMP.Refresh()"
)

// Operate implements agent.Model.
func (m *model) Operate(ctx context.Context, call agent.Call) (map[string]string, error) {
	name, own := m.state().program.Own(call.Command.Node)
	if !own {
		return nil, usp.Errorf(usp.ErrCommandFailure, call.Command.Path(), "the CPE has no way to run this command")
	}
	m, release, err := m.hold(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	switch name {
	case ownReboot:
		return nil, m.bridge.reboot(ctx, m.dev, call)
	case ownFactoryReset:
		return nil, m.bridge.factoryReset(ctx, m.dev, call)
	case ownRefresh:
		return nil, m.bridge.refresh(ctx, m.dev)
	}
	return nil, usp.Errorf(usp.ErrCommandFailure, call.Command.Path(), "the bridge does not serve this command")
}

// reboot sends Reboot. Who asked is durable before the CPE is told, so that the
// next Boot! names the cause whatever happens in between.
func (b *Bridge) reboot(ctx context.Context, dev *device, call agent.Call) error {
	key := "uspbridge-" + strconv.FormatInt(b.now().UnixNano(), 36)
	pending := &PendingReboot{CWMPKey: key, CommandKey: call.Key, Cause: "RemoteReboot", Reason: call.Args["Reason"]}
	return b.restart(ctx, dev, pending, &cwmp.Reboot{CommandKey: key})
}

func (b *Bridge) factoryReset(ctx context.Context, dev *device, call agent.Call) error {
	pending := &PendingReboot{CommandKey: call.Key, Cause: "RemoteFactoryReset", Reason: call.Args["Reason"]}
	return b.restart(ctx, dev, pending, &cwmp.FactoryReset{})
}

// restart sends an RPC after which the CPE goes away. It is sent at most once:
// a session that breaks after it was sent is how many CPE answer it.
func (b *Bridge) restart(ctx context.Context, dev *device, pending *PendingReboot, rpc cwmp.Message) error {
	sent := false
	err := b.run(ctx, dev, func(ctx context.Context, s *acs.Session) error {
		if err := b.keepReboot(ctx, dev, pending); err != nil {
			return err
		}
		sent = true
		_, err := s.Call(ctx, rpc)
		return err
	})
	if err == nil {
		return nil
	}
	if sent && (errors.Is(err, acs.ErrSessionLost) || errors.Is(err, context.DeadlineExceeded)) {
		return nil
	}
	if clear := b.keepReboot(context.WithoutCancel(ctx), dev, nil); clear != nil {
		err = errors.Join(err, clear)
	}
	var fault *cwmp.Fault
	if errors.As(err, &fault) {
		return &usp.Error{Code: usp.ErrCommandFailure, Msg: fmt.Sprintf("the CPE refused %s: %v", rpc.RPC(), fault), Cause: err}
	}
	return uspError(err, "")
}

func (b *Bridge) keepReboot(ctx context.Context, dev *device, pending *PendingReboot) error {
	dev.mu.Lock()
	rec := dev.state.Load().rec.clone()
	rec.Reboot = pending
	var batch store.Batch
	dev.apply(change{rec: rec}, &batch)
	durable := b.keep(dev, &batch)
	dev.mu.Unlock()
	return durable(ctx)
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

// Detached implements agent.Model: no operation outlives its session yet.
func (m *model) Detached(uint32) bool { return false }

// Cancel implements agent.Model.
func (m *model) Cancel(_ context.Context, request uint32) error {
	return usp.Errorf(usp.ErrCommandFailure, "", "operation %d is not in the device's hands", request)
}
