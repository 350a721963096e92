package translate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/fileserver"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
)

// Transfer is the file transfer of an Operation.
type Transfer struct {
	RPC            string            `json:"rpc"` // Download, ScheduleDownload or Upload
	FileType       string            `json:"file_type"`
	URL            string            `json:"url,omitempty"`  // given to the CPE as it is
	File           string            `json:"file,omitempty"` // or a file of the bridge
	Username       string            `json:"-"`              // see Operation.Secret
	Password       string            `json:"-"`
	FileSize       uint32            `json:"file_size,omitempty"`
	TargetFileName string            `json:"target_file_name,omitempty"`
	DelaySeconds   uint32            `json:"delay_seconds,omitempty"`
	SuccessURL     string            `json:"success_url,omitempty"`
	FailureURL     string            `json:"failure_url,omitempty"`
	Windows        []cwmp.TimeWindow `json:"windows,omitempty"`
}

// firmwareImage is the file type after which a CPE has another SoftwareVersion.
const firmwareImage = "1 Firmware Upgrade Image"

func (t *Transfer) upload() bool { return t.RPC == "Upload" }

// latest returns how long after it was told the CPE may begin.
func (t *Transfer) latest() time.Duration {
	seconds := t.DelaySeconds
	for _, w := range t.Windows {
		seconds = max(seconds, w.WindowEnd)
	}
	return time.Duration(seconds) * time.Second
}

// maxTextArg is TR-069's longest URL, user name, password or file name, in
// bytes; more is refused before a CPE has to.
const maxTextArg = 256

// transferArgs reads the arguments of Download(), ScheduleDownload() and
// Upload().
func (b *Bridge) transferArgs(dev *device, rpc string, call agent.Call) (*Transfer, error) {
	a := &arguments{call.Args, nil}
	t := &Transfer{
		RPC: rpc, FileType: a.text("FileType"), FileSize: a.number("FileSize"), TargetFileName: a.text("TargetFileName"), DelaySeconds: a.number("DelaySeconds"),
		SuccessURL: a.text("SuccessURL"), FailureURL: a.text("FailureURL"),
	}
	if rpc == "ScheduleDownload" {
		t.Windows = a.windows()
	}
	if t.FileType == "" {
		a.wrong("FileType", "must not be empty; a firmware image is %q", firmwareImage)
	}
	return t, b.readTransfer(dev, t, a)
}

// readTransfer reads where a file is.
func (b *Bridge) readTransfer(dev *device, t *Transfer, a *arguments) error {
	t.URL, t.Username, t.Password = a.text("URL"), a.text("Username"), a.text("Password")
	if a.err != nil {
		return a.err
	}
	name, own := ownFile(t.URL)
	if own {
		return b.ownTransfer(dev, t, name)
	}
	if u, err := url.Parse(t.URL); err != nil || u.Host == "" {
		a.wrong("URL", "%q is neither a URL nor the name of a file of the bridge", t.shownURL())
	}
	return a.err
}

// ownTransfer makes a transfer one of a file of the bridge.
func (b *Bridge) ownTransfer(dev *device, t *Transfer, name string) error {
	refused := func(err error) error {
		return usp.Errorf(usp.ErrInvalidCommandArguments, "", "URL: %w", err)
	}
	if b.files == nil {
		return refused(errors.New("this bridge has no file server; give a whole URL"))
	}
	t.URL = ""
	if t.upload() {
		if err := fileserver.CheckName(name); name != "" && err != nil {
			return refused(err)
		}
		t.File = uploadName(dev.state.Load().rec.Endpoint, name, t.FileType, b.now())
		if err := fileserver.CheckName(t.File); err != nil {
			return refused(err)
		}
		return nil
	}
	if own := path.Join(fileserver.Uploads, string(dev.state.Load().rec.Endpoint)) + "/"; strings.HasPrefix(name, fileserver.Uploads+"/") && !strings.HasPrefix(name, own) {
		// Whether there is such a file is not told either.
		return refused(errors.New("what another device has uploaded is not for this one"))
	}
	size, err := b.files.Size(name)
	if err != nil {
		return refused(err)
	}
	if t.File = name; t.FileSize == 0 && size <= math.MaxUint32 {
		t.FileSize = uint32(size)
	}
	return nil
}

// operateTransfer takes a transfer command over.
func (b *Bridge) operateTransfer(ctx context.Context, dev *device, rpc string, call agent.Call) error {
	t, err := b.transferArgs(dev, rpc, call)
	if err != nil {
		return err
	}
	return b.detach(ctx, dev, call, &Operation{Transfer: t})
}

// message returns the RPC of an operation. For a file of the bridge a token is
// made, which is in batch.
func (b *Bridge) message(dev *device, op *Operation, base string, batch *store.Batch) (cwmp.Message, error) {
	secrets, err := b.openSecrets(dev.key, op)
	if err != nil {
		return nil, err
	}
	t := op.Transfer
	if t == nil {
		changes := slices.Clone(op.Changes)
		for i := range changes {
			changes[i].URL, changes[i].Username, changes[i].Password = secrets[i].URL, secrets[i].Username, secrets[i].Password
		}
		return &cwmp.ChangeDUState{CommandKey: op.Key, Operations: changes}, nil
	}
	address, username, password := secrets[0].URL, secrets[0].Username, secrets[0].Password
	if t.File != "" {
		if address, err = b.grantFile(dev, op, secrets[0], base, batch); err != nil {
			return nil, err
		}
	}
	switch t.RPC {
	case "Upload":
		return &cwmp.Upload{CommandKey: op.Key, FileType: t.FileType, URL: address, Username: username, Password: password,
			DelaySeconds: t.DelaySeconds}, nil
	case "ScheduleDownload":
		windows := t.Windows
		if op.Image != nil { // they count from when the command was given
			if windows = remaining(windows, b.now().Sub(op.Asked)); len(windows) == 0 {
				return nil, errors.New(op.neverTold())
			}
		}
		return &cwmp.ScheduleDownload{CommandKey: op.Key, FileType: t.FileType, URL: address, Username: username, Password: password,
			FileSize: t.FileSize, TargetFileName: t.TargetFileName, TimeWindows: windows}, nil
	}
	return &cwmp.Download{CommandKey: op.Key, FileType: t.FileType, URL: address, Username: username, Password: password,
		FileSize: t.FileSize, TargetFileName: t.TargetFileName, DelaySeconds: t.DelaySeconds,
		SuccessURL: t.SuccessURL, FailureURL: t.FailureURL}, nil
}

// transferred returns the output arguments of a transfer that has succeeded.
// evidence is how that is known: TransferComplete, the response to the RPC, or
// SoftwareVersion.
func (op *Operation) transferred(start, complete, evidence string) *OperationResult {
	if op.standard() {
		return &OperationResult{}
	}
	args := map[string]string{"StartTime": knownTime(start), "CompleteTime": knownTime(complete), "Evidence": evidence}
	if op.Transfer.upload() && op.Transfer.File != "" {
		args["File"] = op.Transfer.File
	}
	return &OperationResult{Args: args}
}

// knownTime returns a CPE's time; one that is empty is not known.
func knownTime(text string) string {
	if text == "" {
		return unknownTime
	}
	return text
}

// cancelTransfer cancels a transfer on the CPE. It does no harm twice.
func (b *Bridge) cancelTransfer(ctx context.Context, dev *device, key string) error {
	_, err := b.invoke(ctx, dev, &cwmp.CancelTransfer{CommandKey: key})
	return err
}

// queued asks the CPE whether a transfer is in its queue. known is false if it
// cannot list its queue.
func queued(ctx context.Context, cpe acs.Caller, key string) (found, known bool, err error) {
	answer, err := cpe.Call(ctx, &cwmp.GetQueuedTransfers{})
	if isFault(err) {
		answer, err = cpe.Call(ctx, &cwmp.GetAllQueuedTransfers{})
	}
	if isFault(err) {
		return false, false, nil
	} else if err != nil {
		return false, false, err
	}
	switch m := answer.(type) {
	case *cwmp.GetQueuedTransfersResponse:
		for _, t := range m.Transfers {
			found = found || t.CommandKey == key
		}
	case *cwmp.GetAllQueuedTransfersResponse:
		for _, t := range m.Transfers {
			found = found || t.CommandKey == key
		}
	default:
		return false, false, fmt.Errorf("the CPE answered with %s", answer.RPC())
	}
	return found, true, nil
}

// arguments reads the input arguments of a command; err is what is wrong with
// the first bad one.
type arguments struct {
	args map[string]string
	err  error
}

func (a *arguments) wrong(name, format string, values ...any) {
	if a.err == nil {
		a.err = usp.Errorf(usp.ErrInvalidCommandArguments, "", "%s: %s", name, fmt.Sprintf(format, values...))
	}
}

// refuse refuses an argument for an error, if it is one.
func (a *arguments) refuse(name string, err error) {
	if err != nil {
		a.wrong(name, "%v", err)
	}
}

func (a *arguments) boolean(name string) bool {
	switch v := a.args[name]; v {
	case "true", "1":
		return true
	case "false", "0", "":
	default:
		a.wrong(name, "%.40q is neither true nor false", v)
	}
	return false
}

func (a *arguments) text(name string) string {
	v := a.args[name]
	if len(v) > maxTextArg {
		a.wrong(name, "%d bytes: CWMP allows %d", len(v), maxTextArg)
	}
	return v
}

func (a *arguments) number(name string) uint32 {
	v := a.args[name]
	if v == "" {
		return 0
	}
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil {
		a.wrong(name, "%.40q is not an unsigned number of 32 bits", v)
	}
	return uint32(n)
}

// rows returns the prefixes of numbered arguments that are given, "X.1.",
// "X.2.", … without a gap, as TR-369 numbers them.
func (a *arguments) rows(name string, most int, members ...string) (prefixes []string) {
	for i := 1; ; i++ {
		prefix := fmt.Sprintf("%s.%d.", name, i)
		given := false
		for _, m := range members {
			_, is := a.args[prefix+m]
			given = given || is
		}
		if !given {
			return prefixes
		}
		if i > most {
			a.wrong(name, "at most %d are allowed", most)
			return prefixes
		}
		prefixes = append(prefixes, prefix)
	}
}

// maxWindows is how many time windows a ScheduleDownload has (TR-069 A.4.1.8).
const maxWindows = 2

// windows reads the time windows of ScheduleDownload().
func (a *arguments) windows() (windows []cwmp.TimeWindow) {
	for _, p := range a.rows("TimeWindow", maxWindows, "Start", "End") {
		mode := a.text(p + "Mode")
		if mode == "" {
			mode = "1 At Any Time"
		}
		windows = append(windows, a.window(p, mode))
	}
	if len(windows) == 0 {
		a.wrong("TimeWindow.1.Start", "a ScheduleDownload needs one or two time windows")
	}
	return windows
}

// window reads one time window.
func (a *arguments) window(p, mode string) cwmp.TimeWindow {
	w := cwmp.TimeWindow{WindowStart: a.number(p + "Start"), WindowEnd: a.number(p + "End"), WindowMode: mode,
		UserMessage: a.text(p + "UserMessage"), MaxRetries: -1}
	if v := a.args[p+"MaxRetries"]; v != "" {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil {
			a.wrong(p+"MaxRetries", "%.40q is not a number", v)
		}
		w.MaxRetries = int(n)
	}
	if w.WindowEnd <= w.WindowStart {
		a.wrong(p+"End", "the window ends before it starts")
	}
	return w
}
