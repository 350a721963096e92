package translate

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// The commands of Device:2 that are an RPC about a row of the CPE: its
// configuration and log files, its software modules.

// rowOf returns the CPE object that the row of a command stands for.
func (b *Bridge) rowOf(dev *device, call agent.Call) (cwmp.Path, error) {
	s := dev.state.Load()
	path := call.Command.Node.Path
	table := s.program.Schema.Lookup(path[:strings.LastIndexByte(path, '.')+1])
	if table != nil {
		if object, _, ok := s.See(b.now).RowSource(dm.Ref{Node: table, Inst: call.Command.Inst}); ok {
			return object, nil
		}
	}
	return "", usp.Errorf(usp.ErrObjectDoesNotExist, call.Command.Path(), "the CPE has no such row any more")
}

// vendorFile takes the upload of a configuration or log file over. A CPE of
// Device:2 has several, and is told which by the number of its row (TR-069
// A.4.1.5); one of TR-098 knows one of each kind.
func vendorFile(fileType, oldFileType string) command {
	return func(b *Bridge, ctx context.Context, dev *device, call agent.Call) (map[string]string, error) {
		object, err := b.rowOf(dev, call)
		if err != nil {
			return nil, err
		}
		t := &Transfer{RPC: "Upload", FileType: oldFileType}
		if dev.state.Load().rec.Root == "Device." {
			row := strings.TrimSuffix(string(object), ".")
			t.FileType = fileType + " " + row[strings.LastIndexByte(row, '.')+1:]
		}
		if err := b.readTransfer(dev, t, &arguments{args: call.Args}); err != nil {
			return nil, err
		}
		return nil, b.detach(ctx, dev, call, &Operation{Transfer: t})
	}
}

// restoreConfig takes VendorConfigFile.{i}.Restore() over. A file whose checksum
// is given goes through the bridge, which checks it: a CPE does not.
func (b *Bridge) restoreConfig(ctx context.Context, dev *device, call agent.Call) (map[string]string, error) {
	if _, err := b.rowOf(dev, call); err != nil {
		return nil, err
	}
	a := &arguments{args: call.Args}
	t := &Transfer{RPC: "Download", FileType: "3 Vendor Configuration File", FileSize: a.number("FileSize"), TargetFileName: a.text("TargetFileName")}
	if a.args["CheckSum"] == "" && a.args["CheckSumAlgorithm"] == "" {
		if err := b.readTransfer(dev, t, a); err != nil {
			return nil, err
		}
		return nil, b.detach(ctx, dev, call, &Operation{Transfer: t})
	}
	check, err := b.checkedFile(dev, t, a)
	if err != nil {
		return nil, err
	}
	return nil, b.detach(ctx, dev, call, &Operation{State: OperationFetching, Transfer: t, Check: check})
}

// installDU takes SoftwareModules.InstallDU() over.
func (b *Bridge) installDU(ctx context.Context, dev *device, call agent.Call) (map[string]string, error) {
	return nil, b.changeUnit(ctx, dev, call, cwmp.DUOperation{Kind: "Install", UUID: call.Args["UUID"],
		ExecutionEnvRef: b.cpeRow(dev, call.Args["ExecutionEnvRef"])})
}

func (b *Bridge) updateDU(ctx context.Context, dev *device, call agent.Call) (map[string]string, error) {
	return b.changeRow(ctx, dev, call, cwmp.DUOperation{Kind: "Update"})
}

func (b *Bridge) uninstallDU(ctx context.Context, dev *device, call agent.Call) (map[string]string, error) {
	return b.changeRow(ctx, dev, call, cwmp.DUOperation{Kind: "Uninstall"})
}

// changeRow changes the deployment unit of a command's row. The version says
// which of several units with one UUID is meant.
func (b *Bridge) changeRow(ctx context.Context, dev *device, call agent.Call, op cwmp.DUOperation) (map[string]string, error) {
	object, err := b.rowOf(dev, call)
	if err != nil {
		return nil, err
	}
	s := dev.state.Load()
	op.UUID, op.Version = s.cpeValue(object+"UUID"), s.cpeValue(object+"Version")
	if op.Kind == "Uninstall" {
		op.ExecutionEnvRef = s.cpeValue(object + "ExecutionEnvRef")
	}
	if op.UUID == "" {
		return nil, usp.Errorf(usp.ErrCommandFailure, "", "the CPE has told no UUID of %s, by which CWMP says which unit is meant", object)
	}
	return nil, b.changeUnit(ctx, dev, call, op)
}

// changeUnit takes the change of one deployment unit over.
func (b *Bridge) changeUnit(ctx context.Context, dev *device, call agent.Call, op cwmp.DUOperation) error {
	served := []string{"URL", "UUID", "Username", "Password", "ExecutionEnvRef"}
	if err := dev.state.Load().program.Unserved(call.Command.Node, call.Args, served...); err != nil {
		return err
	}
	a := arguments{args: call.Args}
	op.URL, op.Username, op.Password = a.text("URL"), a.text("Username"), a.text("Password")
	if a.err != nil {
		return a.err
	}
	return b.detach(ctx, dev, call, &Operation{Changes: []cwmp.DUOperation{op}})
}

// cpeRow returns the CPE's path of a row that a controller names, the text as it
// is if there is none.
func (b *Bridge) cpeRow(dev *device, text string) string {
	s := dev.state.Load()
	if ref, ok := lookup(s.program.Schema, text); ok {
		if object, _, ok := s.See(b.now).RowSource(ref); ok {
			return strings.TrimSuffix(string(object), ".")
		}
	}
	return text
}

// restartExecEnv restarts an execution environment: it is disabled and enabled.
func (b *Bridge) restartExecEnv(ctx context.Context, dev *device, call agent.Call) (map[string]string, error) {
	if err := dev.state.Load().program.Unserved(call.Command.Node, call.Args, "Reason"); err != nil {
		return nil, err
	}
	object, err := b.rowOf(dev, call)
	if err != nil {
		return nil, err
	}
	enable := func(text string) []cwmp.ParameterValue {
		return []cwmp.ParameterValue{{Name: object + "Enable", Value: cwmp.Value{Type: cwmp.TypeBoolean, Text: text}}}
	}
	off := false
	err = b.run(ctx, dev, func(ctx context.Context, s *acs.Session) error {
		if _, err := setValues(ctx, s, enable("0")); err != nil {
			return err
		}
		off = true
		_, err := setValues(ctx, s, enable("1"))
		return err
	})
	if off && errors.Is(err, acs.ErrSessionLost) {
		err = b.run(ctx, dev, func(ctx context.Context, s *acs.Session) error {
			_, err := setValues(ctx, s, enable("1"))
			return err
		})
	}
	switch {
	case err != nil && off:
		e := argumentError(err)
		return nil, usp.Errorf(e.Code, "", "it was disabled, and could not be enabled again: %s", e.Msg)
	case err != nil:
		return nil, argumentError(err)
	}
	b.unsureBelow(dev, object)
	return nil, nil
}

// unitPoll is how often an execution unit is asked whether it has stopped.
const unitPoll = 500 * time.Millisecond

// restartUnit restarts an execution unit: it is stopped, and started when it has.
func (b *Bridge) restartUnit(ctx context.Context, dev *device, call agent.Call) (map[string]string, error) {
	object, err := b.rowOf(dev, call)
	if err != nil {
		return nil, err
	}
	request := func(state string) error {
		return b.run(ctx, dev, func(ctx context.Context, s *acs.Session) error {
			_, err := setValues(ctx, s, []cwmp.ParameterValue{{Name: object + "RequestedState", Value: cwmp.Value{Type: cwmp.TypeString, Text: state}}})
			return err
		})
	}
	if err := request("Idle"); err != nil {
		return nil, argumentError(err)
	}
	if err := b.awaitIdle(ctx, dev, object); err != nil {
		return nil, err
	}
	if err := request("Active"); err != nil {
		e := argumentError(err)
		return nil, usp.Errorf(e.Code, "", "it was stopped, and could not be started again: %s", e.Msg)
	}
	b.unsureBelow(dev, object)
	return nil, nil
}

// awaitIdle waits until an execution unit has stopped, as long as a live
// operation may take.
func (b *Bridge) awaitIdle(ctx context.Context, dev *device, object cwmp.Path) error {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Deadline)
	defer cancel()
	again := time.NewTicker(unitPoll)
	defer again.Stop()
	status := object + "Status"
	for {
		var now map[cwmp.Path]string
		err := b.run(ctx, dev, func(ctx context.Context, s *acs.Session) (err error) {
			now, err = b.diagnosticValues(ctx, s, dev, []cwmp.Path{status})
			return err
		})
		text, told := now[status]
		switch {
		case err != nil:
			return commandError(err)
		case text == "Idle" || !told: // a CPE that does not tell is not waited for
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return usp.Errorf(usp.ErrCommandFailure, "", "the unit is %q and has not stopped within %v", now[status], b.cfg.Deadline)
		}
	}
}

// standard reports whether an operation is a command of Device:2, whose output
// arguments are the standard's.
func (op *Operation) standard() bool {
	return !strings.HasPrefix(op.Command, "Device.X_USPBRIDGE_CWMP.")
}
