package uds

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// DefaultMaxFrame is the size in bytes, header apart, up to which frames are
// read by default.
const DefaultMaxFrame = 5<<20 + 1024

// firstPart is how many bytes are reserved at once for an announced frame.
const firstPart = 64 << 10

// Reader reads frames from a connection. It is for one goroutine; deadlines are
// the connection's.
type Reader struct {
	from io.Reader
	max  int
}

// NewReader returns a Reader of frames of up to max bytes, 0 for
// DefaultMaxFrame.
func NewReader(from io.Reader, max int) *Reader {
	if max <= 0 {
		max = DefaultMaxFrame
	}
	return &Reader{from: from, max: max}
}

// Next reads one frame. The error is io.EOF at an orderly end between frames, a
// *FrameError for what is no frame, or the connection's. After any error the
// Reader cannot go on: a stream that lost its rhythm does not find it again.
func (r *Reader) Next() (Frame, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r.from, header[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("UDS frame: read header: %w", err)
	}
	if string(header[:len(syncBytes)]) != syncBytes { // R-UDS.8
		return nil, failf("it begins with %q instead of %q", header[:len(syncBytes)], syncBytes)
	}
	size := binary.BigEndian.Uint32(header[len(syncBytes):])
	if uint64(size) > uint64(r.max) {
		return nil, failf("it has %d bytes, at most %d are accepted", size, r.max)
	}
	// Past the first part the buffer grows with what really comes, not with
	// what is announced.
	var body bytes.Buffer
	body.Grow(min(int(size), firstPart) + bytes.MinRead)
	if _, err := io.CopyN(&body, r.from, int64(size)); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("UDS frame: read %d bytes: %w", size, err)
	}
	return parseFields(body.Bytes())
}
