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
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// storedImage is the file type of an image that a CPE with several keeps without
// running it (TR-069 A.3.2.8).
const storedImage = "6 Stored Firmware Image"

// imageOf returns the image that a command is about: its row, and its object on a
// CPE that has a table of them.
func (s *snapshot) imageOf(b *Bridge, call agent.Call) (t *ImageTask, err error) {
	t = &ImageTask{Row: call.Command.Inst.Last()}
	if s.program.KeepsImages() {
		if !s.rec.Firmware.known(t.Row) {
			return nil, usp.Errorf(usp.ErrObjectDoesNotExist, call.Command.Path(), "there is no such image")
		}
		return t, nil
	}
	row := dm.Ref{Node: s.program.Schema.Lookup("Device.DeviceInfo.FirmwareImage.{i}."), Inst: call.Command.Inst}
	object, _, ok := s.See(b.now).RowSource(row)
	if !ok {
		return nil, usp.Errorf(usp.ErrObjectDoesNotExist, call.Command.Path(), "the CPE has no such image")
	}
	t.Object = strings.TrimSuffix(string(object), ".")
	return t, nil
}

// imageStatus is the state of an image, which the bridge can know better than the
// CPE.
const imageStatus = "Device.DeviceInfo.FirmwareImage.{i}.Status"

// shownImage returns the state that an image of the CPE is shown in, where it is
// not that which the CPE has.
func (s *snapshot) shownImage(b *Bridge, status dm.Ref) (text string, ok bool) {
	row := dm.Ref{Node: s.program.Schema.Lookup("Device.DeviceInfo.FirmwareImage.{i}."), Inst: status.Inst}
	object, _, ok := s.See(b.now).RowSource(row)
	if !ok {
		return "", false
	}
	shown, ok := s.rec.Firmware.Shown[strings.TrimSuffix(string(object), ".")]
	return string(shown), ok
}

// runs reports whether an image is the one that the CPE runs.
func (s *snapshot) runs(b *Bridge, t *ImageTask) bool {
	if t.Object == "" {
		return t.Row == s.rec.Firmware.active()
	}
	return sameText(s.cpeValue(s.rec.Root+"DeviceInfo.ActiveFirmwareImage"), t.Object)
}

// cpeValue returns the last known value of a CPE parameter, "" for none.
func (s *snapshot) cpeValue(name cwmp.Path) string {
	if p, inst, ok := locate(s.tree, name); ok {
		v, _ := s.tree.Value(p, inst)
		return v.Text
	}
	return ""
}

// busyImage reports whether another operation has an image of the CPE in its
// hands: a CPE has one firmware at a time on its way.
func (r *Record) busyImage() bool {
	return slices.ContainsFunc(r.Operations, func(op *Operation) bool { return op.Image != nil && op.State != OperationEnded })
}

var errBusyImage = usp.Errorf(usp.ErrResourcesExceeded, "", "another firmware image of this device is being downloaded or activated; a CPE takes one at a time")

// downloadImage takes FirmwareImage.{i}.Download() over.
func (b *Bridge) downloadImage(ctx context.Context, dev *device, call agent.Call) (map[string]string, error) {
	s := dev.state.Load()
	task, err := s.imageOf(b, call)
	if err != nil {
		return nil, err
	}
	a := &arguments{args: call.Args}
	task.AutoActivate = a.boolean("AutoActivate")
	t := &Transfer{RPC: "Download", FileType: firmwareImage, FileSize: a.number("FileSize")}
	check, err := b.checkedFile(dev, t, a)
	if err != nil {
		return nil, err
	}
	switch {
	case s.rec.busyImage():
		return nil, errBusyImage
	case s.runs(b, task) && !task.AutoActivate:
		return nil, usp.Errorf(usp.ErrCommandFailure, "", "the CPE runs this image: it can only be replaced at once, with AutoActivate; or download to another row")
	case s.runs(b, task) && task.Object != "":
		return nil, usp.Errorf(usp.ErrCommandFailure, "", "the CPE runs this image and has others: download to another row")
	}
	if t.FileType = storedImage; task.Object == "" || task.AutoActivate {
		t.FileType = firmwareImage
	}
	return nil, b.detach(ctx, dev, call, &Operation{State: OperationFetching, Transfer: t, Image: task, Check: check})
}

// imageName names an image by its file, as long as TR-181 lets a name be.
func imageName(file string) string {
	const longest = 64
	name := file[strings.LastIndexByte(file, '/')+1:]
	return name[:min(len(name), longest)]
}

// activateImage takes FirmwareImage.{i}.Activate() over.
func (b *Bridge) activateImage(ctx context.Context, dev *device, call agent.Call) (map[string]string, error) {
	s := dev.state.Load()
	task, err := s.imageOf(b, call)
	if err != nil {
		return nil, err
	}
	task.Activate = true
	a := arguments{args: call.Args}
	windows := a.activation()
	switch {
	case a.err != nil:
		return nil, a.err
	case s.rec.busyImage():
		return nil, errBusyImage
	case s.runs(b, task):
		return nil, usp.Errorf(usp.ErrCommandFailure, "", "the CPE runs this image already")
	case task.Object == "" && b.files == nil:
		return nil, usp.Errorf(usp.ErrCommandFailure, "", "this bridge has no file server any more, which kept the image")
	}
	op := &Operation{Image: task}
	if task.Object == "" {
		file := s.rec.Firmware.slot(task.Row).File
		if file == "" {
			return nil, usp.Errorf(usp.ErrCommandFailure, "", "there is no image in this row: Download() one first")
		}
		if err := b.files.Keep(file); err != nil {
			return nil, usp.Errorf(usp.ErrCommandFailure, "", "the bridge does not keep the image any more: Download() it again (%w)", err)
		}
		op.Transfer = &Transfer{RPC: "Download", FileType: firmwareImage, File: file}
		if size, err := b.files.Size(file); err == nil {
			op.Transfer.FileSize = uint32(min(size, 1<<32-1))
		}
	}
	if op.Transfer != nil && len(windows) > 0 && len(windows) <= maxWindows && s.rec.Supports("ScheduleDownload", b.now()) {
		op.Transfer.RPC, op.Transfer.Windows = "ScheduleDownload", windows
		task.Until = b.now().Add(op.Transfer.latest())
	} else if err := task.keepWindows(b.now(), windows); err != nil {
		return nil, err
	}
	return nil, b.detach(ctx, dev, call, op)
}

// keepWindows has the bridge itself wait for time windows. It cannot see whether
// a CPE is idle, or ask its user.
func (t *ImageTask) keepWindows(now time.Time, windows []cwmp.TimeWindow) error {
	for i, w := range windows {
		if w.WindowMode != "1 At Any Time" && w.WindowMode != "2 Immediately" {
			return usp.Errorf(usp.ErrInvalidCommandArguments, "", "TimeWindow.%d.Mode: this CPE takes no schedule, or none of so many windows, and the bridge can wait for a time only: AnyTime or Immediately", i+1)
		}
		t.Later = append(t.Later, Window{w.WindowStart, w.WindowEnd, retriesOf(w)})
	}
	t.next(now, now)
	return nil
}

// scheduleHere has the bridge itself wait for the time windows that a CPE turned
// out not to know what to do with.
func (b *Bridge) scheduleHere(ctx context.Context, cpe acs.Caller, base string, dev *device, op *Operation) error {
	task := *op.Image
	task.From, task.Until = time.Time{}, time.Time{}
	if err := task.keepWindows(op.Asked, op.Transfer.Windows); err != nil {
		_, err := b.end(ctx, dev, op.Request, failedBy(err))
		return err
	}
	_, err := b.changeOperation(ctx, dev, op.Request, &store.Batch{}, func(rec *Record, op *Operation) bool {
		t := *op.Transfer
		t.RPC, t.Windows = "Download", nil
		op.Transfer, op.Image, op.State, op.Told = &t, &task, OperationWaiting, time.Time{}
		rec.Firmware.Next = 0
		op.wait(b.now())
		return true
	})
	if again := dev.state.Load().rec.operation(op.Request); err == nil && again != nil {
		return b.carry(ctx, cpe, base, dev, again)
	}
	return err
}

// bootImage activates an image of a CPE that has a table of them: it is made the
// one to boot, and the CPE is rebooted. That it runs is the proof.
func (b *Bridge) bootImage(ctx context.Context, cpe acs.Caller, dev *device, op *Operation) error {
	if op.State != OperationWaiting {
		return b.imageBooted(ctx, cpe, dev, op)
	}
	changed, err := b.changeOperation(ctx, dev, op.Request, &store.Batch{}, func(rec *Record, op *Operation) bool {
		op.send(rec, b.now(), b.cfg.Files.Life)
		return true
	})
	if err != nil || !changed {
		return err
	}
	boot := []cwmp.ParameterValue{{Name: dev.state.Load().rec.Root + "DeviceInfo.BootFirmwareImage",
		Value: cwmp.Value{Type: cwmp.TypeString, Text: op.Image.Object}}}
	if _, err = setValues(ctx, cpe, boot); err == nil {
		pending := &PendingReboot{CWMPKey: op.Key, CommandKey: op.CommandKey, Cause: "RemoteReboot", Reason: "activation of a firmware image", Asked: b.now(), Sends: 1}
		if err := b.keepReboot(ctx, dev, pending); err != nil {
			return err
		}
		_, err = cpe.Call(ctx, pending.rpc())
	}
	switch {
	case errors.Is(err, acs.ErrSessionLost):
		return err
	case err != nil:
		_, err = b.end(ctx, dev, op.Request, failedBy(err))
		return err
	}
	return b.accept(ctx, dev, op.Request)
}

// imageBooted looks whether a CPE runs the image that it was told to boot. That it
// does is proof enough: the bridge can have missed the Inform of the boot.
func (b *Bridge) imageBooted(ctx context.Context, cpe acs.Caller, dev *device, op *Operation) error {
	rec := dev.state.Load().rec
	active := rec.Root + "DeviceInfo.ActiveFirmwareImage"
	now, err := b.diagnosticValues(ctx, cpe, dev, []cwmp.Path{active})
	if err != nil {
		return err
	}
	switch booted := rec.LastBoot.After(op.Told); {
	case sameText(now[active], op.Image.Object):
		_, err = b.end(ctx, dev, op.Request, &OperationResult{})
	case booted:
		b.giveUp(ctx, dev, op, fmt.Sprintf("the CPE has booted %s, not the image that it was told to", now[active]))
	case op.State == OperationSent && op.Sends < maxSends:
		_, err = b.changeOperation(ctx, dev, op.Request, &store.Batch{}, func(_ *Record, op *Operation) bool {
			op.State = OperationWaiting
			return true
		})
		if again := dev.state.Load().rec.operation(op.Request); err == nil && again != nil {
			return b.bootImage(ctx, cpe, dev, again)
		}
	case !op.Deadline.After(b.now()):
		b.giveUp(ctx, dev, op, "the CPE has not rebooted in time")
	}
	return err
}

// maxActivations is how many time windows an activation may have (TR-181
// FirmwareImage.{i}.Activate()).
const maxActivations = 5

// windowModes are the modes of time windows in both protocols.
var windowModes = map[string]string{
	"AnyTime": "1 At Any Time", "Immediately": "2 Immediately", "WhenIdle": "3 When Idle", "ConfirmationNeeded": "4 Confirmation Needed",
}

// activation reads the time windows of Activate().
func (a *arguments) activation() (windows []cwmp.TimeWindow) {
	for _, p := range a.rows("TimeWindow", maxActivations, "Start", "End", "Mode") {
		for _, name := range []string{"Start", "End", "Mode"} {
			if _, given := a.args[p+name]; !given {
				a.wrong(p+name, "is needed in each time window")
			}
		}
		mode, known := windowModes[a.args[p+"Mode"]]
		if !known {
			a.wrong(p+"Mode", "%.40q is not one of AnyTime, Immediately, WhenIdle, ConfirmationNeeded", a.args[p+"Mode"])
		}
		w := a.window(p, mode)
		if n := len(windows); n > 0 && w.WindowStart < windows[n-1].WindowEnd {
			a.wrong(p+"Start", "the window begins before the one before it has ended")
		}
		windows = append(windows, w)
	}
	return windows
}

// remaining returns windows as they are a time later; those that are over are left
// out.
func remaining(windows []cwmp.TimeWindow, after time.Duration) (left []cwmp.TimeWindow) {
	gone := uint32(max(0, after/time.Second))
	for _, w := range windows {
		if w.WindowEnd > gone {
			w.WindowStart, w.WindowEnd = w.WindowStart-min(gone, w.WindowStart), w.WindowEnd-gone
			left = append(left, w)
		}
	}
	return left
}
