package acs

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// Some CPE count characters where Content-Length means bytes. If that is too
// few, the envelope's last bytes are left on the connection, where they would be
// taken for the next request; too many, and the body seems not to have come
// whole.

// tailTimeout is how long a body that ends as an envelope does is given to go on.
const tailTimeout = 2 * time.Second

// wholeEnvelope reports whether a body ends as an envelope does.
func wholeEnvelope(body []byte) bool {
	return bytes.HasSuffix(bytes.TrimRight(body, "\r\n\t \x00"), []byte("Envelope>"))
}

// tailReader reads a body into b. Where the CPE has announced more than it sends,
// the body ends with its envelope.
type tailReader struct {
	io.Reader
	b        *bytes.Buffer
	control  *http.ResponseController
	deadline time.Time // of the whole body
	short    bool      // less came than was announced
}

func (t *tailReader) Read(p []byte) (int, error) {
	whole := wholeEnvelope(t.b.Bytes())
	if whole {
		soon := time.Now().Add(tailTimeout)
		if soon.After(t.deadline) {
			soon = t.deadline
		}
		if err := t.control.SetReadDeadline(soon); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return 0, err
		}
	}
	n, err := t.Reader.Read(p)
	if whole && n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		t.short = true
		return 0, io.EOF
	}
	return n, err
}
