package acs

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// httpError is a refusal below SOAP: an HTTP status with one line of text.
type httpError struct {
	status int
	reason string // label of the refused counter
	text   string
}

// brokenBody is the reason of a body that did not come whole.
const brokenBody = "broken_body"

func (e *httpError) Error() string { return e.text }

// buffers are reused between requests; what has grown large is let go.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const keepBuffer = 256 << 10

func getBuffer() *bytes.Buffer { return buffers.Get().(*bytes.Buffer) }

func putBuffer(b *bytes.Buffer) {
	if b.Cap() <= keepBuffer {
		b.Reset()
		buffers.Put(b)
	}
}

// spend is what one request has taken of the memory for bodies, which all CPE
// share, so that many with large answers at the same time cannot exhaust it.
type spend struct {
	*bound
	taken int64
}

func (s *spend) end() { s.give(s.taken) }

// reader counts what is read of r.
func (s *spend) reader(r io.Reader) io.Reader { return &countedReader{r, s} }

type countedReader struct {
	io.Reader
	*spend
}

func (c *countedReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	if !c.take(int64(n), 0) {
		return n, &httpError{http.StatusServiceUnavailable, "memory", "too many large messages at once: try again later"}
	}
	c.taken += int64(n)
	return n, err
}

// expect gives the request's body, and the answer to it, their time. The bound
// also holds where the body is not looked at: net/http reads the rest of it
// before the next request. Writers without deadlines (tests) are served without.
func expect(w http.ResponseWriter, timeout time.Duration) (*http.ResponseController, time.Time, error) {
	control, deadline := http.NewResponseController(w), time.Now().Add(timeout)
	err := errors.Join(control.SetReadDeadline(deadline), control.SetWriteDeadline(deadline))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, deadline, &httpError{http.StatusBadRequest, brokenBody, "connection closed before the body"}
	}
	return control, deadline, nil
}

// readBody reads the request's body, decompressed (TR-069 3.4.8), into b. The
// bound holds for both the bytes on the wire and the bytes they expand to. short
// tells that fewer bytes came than were announced; nothing more can then be read
// of the connection, so that its end cannot be noticed either.
func readBody(b *bytes.Buffer, w http.ResponseWriter, r *http.Request, limit int, timeout time.Duration, account *spend) (short bool, err error) {
	if r.ContentLength == 0 || r.Body == nil {
		return false, nil
	}
	tooLarge := &httpError{http.StatusRequestEntityTooLarge, "oversized",
		fmt.Sprintf("body of more than %d bytes: raise the limit if this CPE's messages are really that large", limit)}
	if r.ContentLength > int64(limit) {
		return false, tooLarge
	}
	control, deadline, err := expect(w, timeout)
	if err != nil {
		return false, err
	}
	tail := &tailReader{Reader: r.Body, b: b, control: control, deadline: deadline}
	src, err := decompressed(io.LimitReader(tail, int64(limit)+1), r.Header.Get("Content-Encoding"))
	if err != nil {
		return false, err
	}
	n, err := b.ReadFrom(account.reader(io.LimitReader(src, int64(limit)+1)))
	if tail.short || !blank(b.Bytes()) && !wholeEnvelope(b.Bytes()) {
		w.Header().Set("Connection", "close") // whatever may follow on it is no request
	}
	switch {
	case n > int64(limit):
		return false, tooLarge
	case errors.As(err, new(*httpError)):
		return false, err
	case err != nil:
		return false, &httpError{http.StatusBadRequest, brokenBody, fmt.Sprintf("body broken off after %d bytes: %v", n, err)}
	}
	// Lifted, since net/http goes on reading to notice a closed connection.
	if err := control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return false, &httpError{http.StatusBadRequest, brokenBody, "connection closed after the body"}
	}
	return tail.short, nil
}

// decompressed undoes the content codings that TR-069 names.
func decompressed(src io.Reader, coding string) (io.Reader, error) {
	var err error
	switch strings.ToLower(strings.TrimSpace(coding)) {
	case "", "identity":
		return src, nil
	case "gzip", "x-gzip":
		src, err = gzip.NewReader(src)
	case "deflate":
		src, err = inflate(src)
	default:
		return nil, &httpError{http.StatusUnsupportedMediaType, "encoding",
			fmt.Sprintf("Content-Encoding %.40q is not known: use gzip, deflate or none", coding)}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, &httpError{http.StatusBadRequest, brokenBody, fmt.Sprintf("body is not %s: %v", coding, err)}
	}
	if err != nil {
		return bytes.NewReader(nil), nil // a compressed nothing, sent as nothing
	}
	return src, nil
}

// inflate undoes deflate: RFC 9110 8.4.1.2 means the zlib format by it, but many
// send the bare compressed data.
func inflate(src io.Reader) (io.Reader, error) {
	b := bufio.NewReader(src)
	head, err := b.Peek(2)
	if err != nil {
		return nil, err
	}
	if head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 { // RFC 1950 2.2
		return zlib.NewReader(b)
	}
	return flate.NewReader(b), nil
}

// blank reports whether a body is an empty POST: nothing, or the line break
// that some CPE send for nothing.
func blank(body []byte) bool { return len(body) < 8 && len(bytes.TrimSpace(body)) == 0 }

// Decompress undoes the Content-Encoding of a whole body that expands to no more
// than limit bytes, for those who look at a body before it comes here.
func Decompress(body []byte, coding string, limit int) ([]byte, error) {
	if coding == "" {
		return body, nil
	}
	src, err := decompressed(bytes.NewReader(body), coding)
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(src, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("body is not %s: %w", coding, err)
	}
	if len(out) > limit {
		return nil, fmt.Errorf("body expands to more than %d bytes", limit)
	}
	return out, nil
}
