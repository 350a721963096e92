package translate

import (
	"context"
	"errors"
	"fmt"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/fileserver"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
)

// Files that the bridge fetches and checks before a CPE gets them: a CPE cannot be
// told a checksum.

// Check is what a file has to be.
type Check struct {
	FileSize  uint32 `json:"file_size,omitempty"`
	Algorithm string `json:"algorithm,omitempty"`
	CheckSum  string `json:"check_sum,omitempty"`
}

// maxImageURL is TR-181's longest URL of a firmware image, in characters. It is
// the bridge that fetches it, not a CPE with its 256.
const maxImageURL = 2048

// wanted is the file that a controller wants.
func (c *Check) wanted(from credentials) fileserver.Image {
	return fileserver.Image{URL: from.URL, Username: from.Username, Password: from.Password,
		Size: int64(c.FileSize), Algorithm: c.Algorithm, CheckSum: c.CheckSum}
}

// checkedFile reads the arguments of a file that the bridge fetches: URL,
// credentials and checksum. The URL can be that of a file of the bridge.
func (b *Bridge) checkedFile(dev *device, t *Transfer, a *arguments) (*Check, error) {
	c := &Check{FileSize: t.FileSize, Algorithm: a.args["CheckSumAlgorithm"], CheckSum: a.args["CheckSum"]}
	t.URL, t.Username, t.Password = a.args["URL"], a.text("Username"), a.text("Password")
	name, own := ownFile(t.URL)
	switch {
	case b.files == nil:
		a.wrong("URL", "this bridge has no file server, by which the file would get to the CPE")
	case len(t.URL) > maxImageURL:
		a.wrong("URL", "%d bytes: %d are allowed", len(t.URL), maxImageURL)
	case own:
		a.refuse("URL", fileserver.CheckName(name))
		if a.err == nil {
			a.err = b.ownTransfer(dev, t, name)
		}
	default:
		a.refuse("URL", b.files.CheckImage(fileserver.Image{URL: t.URL}))
	}
	a.refuse("CheckSum", fileserver.CheckSum(c.wanted(credentials{})))
	return c, a.err
}

// fetchImage gets an image and checks it, and has it handed on to the CPE, or
// kept. It does nothing if it is at it already.
func (b *Bridge) fetchImage(ctx context.Context, dev *device, op *Operation) {
	if !dev.fetchesImage(op.Request, true) {
		return
	}
	defer dev.fetchesImage(op.Request, false)
	name, err := b.getImage(ctx, dev, op)
	if ctx.Err() != nil {
		return // it is begun again after the next start
	}
	if err != nil {
		err = b.imageFailed(ctx, dev, op, err)
	} else {
		err = b.imageFetched(ctx, dev, op, name)
	}
	if err != nil {
		b.log.Error("a file was fetched, which could not be noted; it is tried again", "device", dev.key, "key", op.Key, "error", err)
	}
}

// fetchesImage notes that an operation's image is being fetched, or not any more.
// It returns false if it was so already.
func (dev *device) fetchesImage(request uint32, on bool) (changed bool) {
	dev.mu.Lock()
	defer dev.mu.Unlock()
	if dev.images[request] == on {
		return false
	}
	if dev.images == nil {
		dev.images = map[uint32]bool{}
	}
	if dev.images[request] = on; !on {
		delete(dev.images, request)
	}
	return true
}

func (b *Bridge) getImage(ctx context.Context, dev *device, op *Operation) (name string, err error) {
	secrets, err := b.openSecrets(dev.key, op)
	if err != nil {
		return "", err
	}
	if name = op.Transfer.File; name != "" {
		return name, b.files.Verify(name, op.Check.wanted(credentials{}))
	}
	name, _, err = b.files.Fetch(ctx, op.Check.wanted(secrets[0]))
	return name, err
}

// imageFailed ends an operation whose image has not come, or is the wrong one.
func (b *Bridge) imageFailed(ctx context.Context, dev *device, op *Operation, cause error) error {
	text := "the bridge could not fetch the image: " + cause.Error()
	if errors.Is(cause, fileserver.ErrWrongContent) {
		text = "the image is not valid: " + cause.Error()
		_, err := b.changeOperation(ctx, dev, op.Request, &store.Batch{}, func(rec *Record, op *Operation) bool {
			rec.imageInvalid(op)
			return op.State == OperationFetching
		})
		if err != nil {
			return err
		}
	}
	result := &OperationResult{Code: usp.ErrCommandFailure, Text: text}
	return b.endImage(ctx, dev, op, result)
}

// endImage ends an operation of which the CPE knows nothing, and tells of the
// transfer, as the CPE would.
func (b *Bridge) endImage(ctx context.Context, dev *device, op *Operation, result *OperationResult) error {
	m := &cwmp.TransferComplete{StartTime: dateTime(op.Asked), CompleteTime: dateTime(b.now())}
	event := transferEvent(op, m)
	event[0].Args["FaultCode"], event[0].Args["FaultString"] = fmt.Sprint(int(result.Code)), result.Text
	if err := b.deliver(ctx, dev, event); err != nil {
		return err
	}
	_, err := b.end(ctx, dev, op.Request, result, OperationFetching)
	return err
}

// imageFetched hands an image on to the CPE, or keeps it for Activate().
func (b *Bridge) imageFetched(ctx context.Context, dev *device, op *Operation, name string) error {
	size, err := b.files.Size(name)
	if err != nil {
		return b.imageFailed(ctx, dev, op, err)
	}
	hand := op.Image == nil || op.Image.Object != "" || op.Image.AutoActivate
	changed, err := b.changeOperation(ctx, dev, op.Request, &store.Batch{}, func(rec *Record, op *Operation) bool {
		if op.State != OperationFetching {
			return false
		}
		rec.imageCame(op, name)
		if !hand {
			return true
		}
		t := *op.Transfer
		t.File, t.FileSize = name, uint32(min(size, 1<<32-1))
		op.Transfer, op.State = &t, OperationWaiting
		op.Secret = b.sealCredentials(dev.key, []credentials{{}}) // those of the image's server are none of the CPE's business
		op.wait(b.now())
		return true
	})
	if err != nil || !changed {
		return err
	}
	if !hand {
		return b.endImage(ctx, dev, op, &OperationResult{})
	}
	b.call(ctx, dev)
	return nil
}
