package translate

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
)

// The commands of Device.X_USPBRIDGE_CWMP. that are an RPC each, done when the
// CPE has answered.

// command carries out one of the bridge's own commands.
type command func(b *Bridge, ctx context.Context, dev *device, call agent.Call) (map[string]string, error)

// commands are the bridge's own commands, by the names that a mapping.Program
// has for them.
var commands = map[string]command{
	"Reboot()":       (*Bridge).reboot,
	"FactoryReset()": (*Bridge).factoryReset,
	"X_USPBRIDGE_CWMP.Refresh()": func(b *Bridge, ctx context.Context, dev *device, _ agent.Call) (map[string]string, error) {
		return nil, b.refresh(ctx, dev)
	},
	"DeviceInfo.FirmwareImage.{i}.Download()":        (*Bridge).downloadImage,
	"DeviceInfo.FirmwareImage.{i}.Activate()":        (*Bridge).activateImage,
	"DeviceInfo.VendorConfigFile.{i}.Backup()":       vendorFile("3 Vendor Configuration File", "1 Vendor Configuration File"),
	"DeviceInfo.VendorConfigFile.{i}.Restore()":      (*Bridge).restoreConfig,
	"DeviceInfo.VendorLogFile.{i}.Upload()":          vendorFile("4 Vendor Log File", "2 Vendor Log File"),
	"SoftwareModules.InstallDU()":                    (*Bridge).installDU,
	"SoftwareModules.DeploymentUnit.{i}.Update()":    (*Bridge).updateDU,
	"SoftwareModules.DeploymentUnit.{i}.Uninstall()": (*Bridge).uninstallDU,
	"SoftwareModules.ExecEnv.{i}.Restart()":          (*Bridge).restartExecEnv,
	"SoftwareModules.ExecutionUnit.{i}.Restart()":    (*Bridge).restartUnit,
	"X_USPBRIDGE_CWMP.Download()":                    detached((*Bridge).operateTransfer, "Download"),
	"X_USPBRIDGE_CWMP.ScheduleDownload()":            detached((*Bridge).operateTransfer, "ScheduleDownload"),
	"X_USPBRIDGE_CWMP.Upload()":                      detached((*Bridge).operateTransfer, "Upload"),
	"X_USPBRIDGE_CWMP.ChangeDUState()": func(b *Bridge, ctx context.Context, dev *device, call agent.Call) (map[string]string, error) {
		return nil, b.changeDUState(ctx, dev, call)
	},
	"X_USPBRIDGE_CWMP.GetRPCMethods()":         (*Bridge).getRPCMethods,
	"X_USPBRIDGE_CWMP.ScheduleInform()":        (*Bridge).scheduleInform,
	"X_USPBRIDGE_CWMP.GetQueuedTransfers()":    (*Bridge).getQueuedTransfers,
	"X_USPBRIDGE_CWMP.GetAllQueuedTransfers()": (*Bridge).getAllQueuedTransfers,
	"X_USPBRIDGE_CWMP.CancelTransfer()":        (*Bridge).operateCancelTransfer,
	"X_USPBRIDGE_CWMP.GetOptions()":            (*Bridge).getOptions,
	"X_USPBRIDGE_CWMP.SetVouchers()":           (*Bridge).setVouchers,
}

func detached(f func(*Bridge, context.Context, *device, string, agent.Call) error, rpc string) command {
	return func(b *Bridge, ctx context.Context, dev *device, call agent.Call) (map[string]string, error) {
		return nil, f(b, ctx, dev, rpc, call)
	}
}

// invoke sends one RPC in a session. If the session breaks before the answer it is
// sent once more where that does no harm.
func (b *Bridge) invoke(ctx context.Context, dev *device, rpc cwmp.Message) (answer cwmp.Message, err error) {
	sent := false
	job := func(ctx context.Context, s *acs.Session) error {
		var err error
		sent = true
		answer, err = s.Call(ctx, rpc)
		return err
	}
	if err = b.run(ctx, dev, job); errors.Is(err, acs.ErrSessionLost) && idempotent(rpc) {
		err = b.run(ctx, dev, job)
	}
	switch {
	case sent && (errors.Is(err, acs.ErrSessionLost) || errors.Is(err, context.DeadlineExceeded)):
		return nil, usp.Errorf(usp.ErrCommandFailure, "", "the CPE has not answered %s: it may have acted on it or not (%w)", rpc.RPC(), err)
	case err != nil:
		return nil, commandError(err)
	}
	return answer, nil
}

// idempotent reports whether an RPC done twice is the same as done once.
func idempotent(rpc cwmp.Message) bool {
	switch rpc.(type) {
	case *cwmp.GetRPCMethods, *cwmp.GetQueuedTransfers, *cwmp.GetAllQueuedTransfers, *cwmp.GetOptions, *cwmp.CancelTransfer:
		return true
	}
	return false
}

func (b *Bridge) getRPCMethods(ctx context.Context, dev *device, _ agent.Call) (map[string]string, error) {
	answer, err := b.invoke(ctx, dev, &cwmp.GetRPCMethods{})
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	if m, ok := answer.(*cwmp.GetRPCMethodsResponse); ok {
		for i, name := range m.Methods {
			out[fmt.Sprintf("Method.%d.Name", i+1)] = name
		}
	}
	return out, nil
}

func (b *Bridge) scheduleInform(ctx context.Context, dev *device, call agent.Call) (map[string]string, error) {
	a := arguments{call.Args, nil}
	rpc := &cwmp.ScheduleInform{DelaySeconds: a.number("DelaySeconds"), CommandKey: a.key("CommandKey")}
	if rpc.DelaySeconds == 0 { // TR-069 A.4.1.2
		a.wrong("DelaySeconds", "must be more than 0")
	}
	if a.err != nil {
		return nil, a.err
	}
	_, err := b.invoke(ctx, dev, rpc)
	return nil, err
}

// key reads a CommandKey, which has no more than 32 characters.
func (a *arguments) key(name string) string {
	v := a.args[name]
	if len(v) > 32 {
		a.wrong(name, "%d bytes: CWMP allows 32", len(v))
	}
	return v
}

func (b *Bridge) getQueuedTransfers(ctx context.Context, dev *device, _ agent.Call) (map[string]string, error) {
	answer, err := b.invoke(ctx, dev, &cwmp.GetQueuedTransfers{})
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	if m, ok := answer.(*cwmp.GetQueuedTransfersResponse); ok {
		for i, t := range m.Transfers {
			dev.state.Load().rec.shownTransfer(out, i+1, t.CommandKey, t.State)
		}
	}
	return out, nil
}

func (b *Bridge) getAllQueuedTransfers(ctx context.Context, dev *device, _ agent.Call) (map[string]string, error) {
	answer, err := b.invoke(ctx, dev, &cwmp.GetAllQueuedTransfers{})
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	if m, ok := answer.(*cwmp.GetAllQueuedTransfersResponse); ok {
		for i, t := range m.Transfers {
			prefix := dev.state.Load().rec.shownTransfer(out, i+1, t.CommandKey, t.State)
			out[prefix+"IsDownload"], out[prefix+"FileType"] = strconv.FormatBool(t.IsDownload), t.FileType
			out[prefix+"FileSize"], out[prefix+"TargetFileName"] = strconv.FormatUint(uint64(t.FileSize), 10), t.TargetFileName
		}
	}
	return out, nil
}

// shownTransfer adds a queued transfer to output arguments. One of a controller
// has the controller's key and its Request row.
func (r *Record) shownTransfer(out map[string]string, n int, key string, state int) (prefix string) {
	prefix = fmt.Sprintf("Transfer.%d.", n)
	out[prefix+"CommandKey"], out[prefix+"State"], out[prefix+"Request"] = key, strconv.Itoa(state), ""
	for _, op := range r.Operations {
		if op.Key == key {
			out[prefix+"CommandKey"] = op.CommandKey
			out[prefix+"Request"] = fmt.Sprintf("Device.LocalAgent.Request.%d.", op.Request)
		}
	}
	return prefix
}

// operateCancelTransfer cancels a transfer by the key of the USP command, or by
// the CPE's own for one that is not of a controller.
func (b *Bridge) operateCancelTransfer(ctx context.Context, dev *device, call agent.Call) (map[string]string, error) {
	a := arguments{call.Args, nil}
	wanted := a.args["CommandKey"]
	for _, op := range dev.state.Load().rec.Operations {
		if op.Transfer != nil && op.State != OperationEnded && (op.CommandKey == wanted || op.Key == wanted) {
			return nil, (&model{b, dev}).Cancel(ctx, op.Request)
		}
	}
	key := a.key("CommandKey")
	if a.err != nil {
		return nil, a.err
	}
	return nil, b.cancelTransfer(ctx, dev, key)
}

func (b *Bridge) getOptions(ctx context.Context, dev *device, call agent.Call) (map[string]string, error) {
	a := arguments{call.Args, nil}
	rpc := &cwmp.GetOptions{OptionName: a.text("OptionName")}
	if a.err != nil {
		return nil, a.err
	}
	answer, err := b.invoke(ctx, dev, rpc)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	if m, ok := answer.(*cwmp.GetOptionsResponse); ok {
		for i, o := range m.Options {
			p := fmt.Sprintf("Option.%d.", i+1)
			out[p+"OptionName"], out[p+"VoucherSN"] = o.OptionName, strconv.FormatUint(uint64(o.VoucherSN), 10)
			out[p+"State"], out[p+"Mode"] = strconv.Itoa(o.State), strconv.Itoa(o.Mode)
			out[p+"StartDate"], out[p+"ExpirationDate"] = knownTime(o.StartDate), knownTime(o.ExpirationDate)
			out[p+"IsTransferable"] = strconv.FormatBool(o.IsTransferable)
		}
	}
	return out, nil
}

// maxVouchers and maxVoucher bound what SetVouchers() sends: a voucher is a
// signed XML text of a few kilobytes.
const (
	maxVouchers = 16
	maxVoucher  = 64 << 10
)

func (b *Bridge) setVouchers(ctx context.Context, dev *device, call agent.Call) (map[string]string, error) {
	a := arguments{call.Args, nil}
	rpc := &cwmp.SetVouchers{}
	for _, p := range a.rows("Voucher", maxVouchers, "Voucher") {
		v := a.args[p+"Voucher"]
		if _, err := base64.StdEncoding.DecodeString(v); err != nil || len(v) > maxVoucher {
			a.wrong(p+"Voucher", "is not base64 of at most %d bytes", maxVoucher)
		}
		rpc.Vouchers = append(rpc.Vouchers, v)
	}
	if len(rpc.Vouchers) == 0 {
		a.wrong("Voucher.1.Voucher", "no voucher is given")
	}
	if a.err != nil {
		return nil, a.err
	}
	_, err := b.invoke(ctx, dev, rpc)
	return nil, err
}
