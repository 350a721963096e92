package translate

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/usp"
)

// Firmware images (TR-181 DeviceInfo.FirmwareImage). Few CPE have a table of them.
// Any other is shown with two: the one that it runs, and a place of the bridge, in
// which an image lies fetched and checked until it is activated, which for such a
// CPE is a Download. The two change places then.

// Firmware are the images of a CPE that has no table of them.
type Firmware struct {
	Active uint32               `json:"active,omitempty"` // row of the image that the CPE runs; 0: the first
	Slots  [mapping.Images]Slot `json:"slots,omitzero"`

	// Next is the row of the image that the CPE was told to run, From the
	// software that it ran then, Ended whether it has told of success.
	Next  uint32 `json:"next,omitempty"`
	File  string `json:"file,omitempty"` // of Next
	From  string `json:"from,omitempty"`
	Ended bool   `json:"ended,omitempty"`

	// Shown are states of images of a CPE that has a table of them, by their
	// objects, which the CPE itself knows nothing of, or of which nothing was read
	// yet: the bridge is at work on them, or has ended.
	Shown map[string]ImageStatus `json:"shown,omitempty"`
}

// show sets the state that an image of the CPE is shown in; "": that which the CPE
// has.
func (f *Firmware) show(object string, status ImageStatus) {
	f.Shown = maps.Clone(f.Shown)
	if status == "" {
		delete(f.Shown, object)
		return
	}
	if f.Shown == nil {
		f.Shown = map[string]ImageStatus{}
	}
	f.Shown[object] = status
}

// Slot is the place of one image.
type Slot struct {
	Name    string      `json:"name,omitempty"`
	Version string      `json:"version,omitempty"` // as the CPE told it; "": it never ran it
	Status  ImageStatus `json:"status,omitempty"`  // "": Active or NoImage
	Log     string      `json:"log,omitempty"`
	File    string      `json:"file,omitempty"` // of the bridge; "": it is not kept
}

// ImageStatus is TR-181 FirmwareImage.{i}.Status.
type ImageStatus string

// The states of an image.
const (
	ImageNone               ImageStatus = "NoImage"
	ImageActive             ImageStatus = "Active"
	ImageDownloading        ImageStatus = "Downloading"
	ImageValidating         ImageStatus = "Validating"
	ImageAvailable          ImageStatus = "Available"
	ImageDownloadFailed     ImageStatus = "DownloadFailed"
	ImageValidationFailed   ImageStatus = "ValidationFailed"
	ImageInstallationFailed ImageStatus = "InstallationFailed"
	ImageActivationFailed   ImageStatus = "ActivationFailed"
)

// active returns the row of the image that the CPE runs.
func (f *Firmware) active() uint32 { return max(1, f.Active) }

// slot returns the place of a row, which exists.
func (f *Firmware) slot(row uint32) *Slot { return &f.Slots[row-1] }

// known reports whether there is such a row.
func (f *Firmware) known(row uint32) bool { return row >= 1 && row <= mapping.Images }

// image returns a parameter of DeviceInfo that is about images, by its name there.
func (r *Record) image(name string, row uint32) string {
	f := r.Firmware
	switch name {
	case "DeviceInfo.ActiveFirmwareImage", "DeviceInfo.BootFirmwareImage":
		return fmt.Sprintf("Device.DeviceInfo.FirmwareImage.%d", f.active())
	}
	if !f.known(row) {
		return ""
	}
	s, runs := f.slot(row), row == f.active()
	switch path.Ext(name) {
	case ".Name":
		if s.Name == "" && runs {
			return r.Software
		}
		return s.Name
	case ".Version":
		if runs {
			return r.Software
		}
		return s.Version
	case ".Available":
		return strconv.FormatBool(runs || s.status(runs) == ImageAvailable)
	case ".Status":
		return string(s.status(runs))
	}
	return s.Log // BootFailureLog
}

// status is what an image is shown as.
func (s *Slot) status(runs bool) ImageStatus {
	busy := s.Status == ImageDownloading || s.Status == ImageValidating
	switch {
	case runs && !busy:
		return ImageActive
	case s.Status != "":
		return s.Status
	case s.File != "":
		return ImageAvailable
	}
	return ImageNone
}

// ImageTask is what an Operation does to an image.
type ImageTask struct {
	Row          uint32 `json:"row"`              // in the table that controllers see
	Object       string `json:"object,omitempty"` // the image on the CPE, where it has a table of them; without the final dot
	Activate     bool   `json:"activate,omitempty"`
	AutoActivate bool   `json:"auto_activate,omitempty"`

	// From and Until are the time window that the bridge itself keeps, where
	// the CPE cannot; Later are those after it, in seconds from Operation.Asked.
	From  time.Time `json:"from,omitzero"`
	Until time.Time `json:"until,omitzero"`
	Later []Window  `json:"later,omitempty"`

	Retries int `json:"retries,omitempty"` // that are left in the window
}

// Window is a time window that the bridge keeps, in seconds from when the command
// was given.
type Window struct {
	Start uint32 `json:"start"`
	End   uint32 `json:"end"`

	Retries int `json:"retries,omitempty"` // after the first attempt in it
}

func (t *ImageTask) kind() string {
	if t.Activate {
		return "Activate"
	}
	return "FirmwareDownload"
}

// wait sets until when an operation waits for the CPE: to the end of its window,
// and of what it waits for before.
func (t *ImageTask) wait(op *Operation, now time.Time) {
	if t.Until.IsZero() {
		return
	}
	op.Deadline = t.Until
	if t.From.After(now) {
		op.NotBefore = t.From
	}
}

// early reports whether the CPE is not to be told of an operation yet.
func (op *Operation) early(now time.Time) bool { return op.Image != nil && op.Image.From.After(now) }

// imageBegun notes that something is done to an image.
func (r *Record) imageBegun(op *Operation) {
	if op.Image == nil || op.State != OperationFetching {
		return
	}
	if op.Image.Object != "" {
		r.Firmware.show(op.Image.Object, ImageDownloading)
		return
	}
	s := r.Firmware.slot(op.Image.Row)
	if op.Image.Row != r.Firmware.active() {
		*s = Slot{} // what was there is replaced
	}
	s.Status, s.Log = ImageDownloading, ""
}

// imageCame notes that the bridge has fetched an image and checked it.
func (r *Record) imageCame(op *Operation, file string) {
	if op.Image == nil || op.Image.Object != "" {
		return
	}
	s := r.Firmware.slot(op.Image.Row)
	if s.Status = ImageValidating; op.Image.Row != r.Firmware.active() {
		s.File, s.Name = file, imageName(file)
	}
}

// imageInvalid notes that an image has come that is not the one that was wanted.
func (r *Record) imageInvalid(op *Operation) {
	switch {
	case op.Image == nil:
	case op.Image.Object != "":
		r.Firmware.show(op.Image.Object, ImageValidationFailed)
	default:
		r.Firmware.slot(op.Image.Row).Status = ImageValidationFailed
	}
}

// imageSent notes that the CPE is told to run an image.
func (r *Record) imageSent(op *Operation) {
	if op.Image == nil {
		return
	}
	if op.Image.Object != "" {
		return // it is Downloading still, now by the CPE
	}
	f := &r.Firmware
	f.Next, f.File, f.From, f.Ended = op.Image.Row, op.Transfer.File, r.Software, false
}

// imageEnded notes how what was done to an image has ended.
func (r *Record) imageEnded(op *Operation) {
	t := op.Image
	if t == nil {
		return
	}
	if t.Object != "" {
		r.Firmware.show(t.Object, op.shownEnd(r.Firmware.Shown[t.Object]))
		return
	}
	f := &r.Firmware
	s := f.slot(t.Row)
	told := !op.Told.IsZero()
	switch {
	case op.Result.Code == 0 && told:
		f.Ended = true
		r.imageRuns(r.LastBoot.After(op.Told))
		return
	case op.Result.Code == 0:
		s.Status = ImageAvailable
		return
	case r.imageRuns(false):
		return // it runs, whatever the CPE said
	case f.Next == t.Row:
		f.Next = 0
	}
	s.Log = reason(op.Result.Text)
	s.Status = op.shownEnd(s.Status)
	if s.Status == ImageValidationFailed || s.Status == ImageDownloadFailed {
		s.File = ""
	}
}

// shownEnd is the state that an image is shown in when something has ended that was
// done to it; "" for that which it has by itself.
func (op *Operation) shownEnd(now ImageStatus) ImageStatus {
	switch {
	case op.Result.Code == usp.ErrCommandCanceled && (now == ImageDownloading || now == ImageValidating):
		return ""
	case op.Result.Code == usp.ErrCommandCanceled:
		return now
	case op.Result.Code == 0 && (op.Image.Activate || op.Image.AutoActivate):
		return ImageActive
	case op.Result.Code == 0:
		return ImageAvailable
	case op.Image.Activate:
		return ImageActivationFailed
	case !op.Told.IsZero():
		return ImageInstallationFailed
	case now == ImageValidationFailed:
		return now
	}
	return ImageDownloadFailed
}

// imagesRead leaves the CPE's images to be shown as they were read just now, but
// for what the CPE does not know: what is at work on them, and what has failed,
// unless it has another firmware since.
func (r *Record) imagesRead(updated bool) {
	r.Firmware.Shown = maps.Clone(r.Firmware.Shown)
	maps.DeleteFunc(r.Firmware.Shown, func(object string, s ImageStatus) bool {
		busy := slices.ContainsFunc(r.Operations, func(op *Operation) bool {
			return op.Image != nil && op.Image.Object == object && op.State != OperationEnded
		})
		return !busy && (updated || s == ImageAvailable || s == ImageActive)
	})
}

// imageRuns makes the image that the CPE was told to run the active one, if the
// CPE runs other software since, or has told of success and has booted. It reports
// whether it did.
func (r *Record) imageRuns(booted bool) bool {
	f := &r.Firmware
	if f.Next == 0 || r.Software == f.From && !(f.Ended && booted) {
		return false
	}
	old, next := f.slot(f.active()), f.slot(f.Next)
	if f.Next != f.active() {
		old.Version, old.Status = f.From, ""
		if old.Name == "" {
			old.Name = f.From
		}
	}
	*next = Slot{Name: imageName(f.File), File: f.File}
	if r.Software == f.From {
		next.Log = "the CPE told of success, has booted, and has the SoftwareVersion that it had before"
	}
	f.Active, f.Next, f.File, f.Ended = f.Next, 0, "", false
	return true
}

// imageFollows notes what an Inform tells of images: that the CPE runs the one it
// was told to, or one that nobody here gave it.
func (r *Record) imageFollows(old *Record, booted bool) {
	if r.imageRuns(booted) || r.Software == old.Software || old.Software == "" {
		return
	}
	s := r.Firmware.slot(r.Firmware.active())
	s.Name, s.File, s.Log = "", "", ""
}
