package uds

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/uspbridge/uspbridge/usp"
)

// Type says what a Field holds (R-UDS.10).
type Type byte

// The types that are defined; others are ignored (R-UDS.15).
const (
	Handshake Type = 1 // the sender's endpoint id, UTF-8 (R-UDS.12)
	Error     Type = 2 // why the communication failed, UTF-8 (R-UDS.13)
	Record    Type = 3 // an encoded USP record (R-UDS.14)
)

// Field is one type-length-value field.
type Field struct {
	Type  Type
	Value []byte
}

// Frame is what goes over the socket at a time; to be sent it has at least one
// field (R-UDS.6).
type Frame []Field

// Sizes on the wire, in bytes.
const (
	headerSize = 8 // sync and length of the rest (R-UDS.7)
	fieldSize  = 5 // type and length of the value (R-UDS.10, R-UDS.11)
)

// syncBytes begins each frame: "_USP" (R-UDS.8).
const syncBytes = "_USP"

// NewHandshake returns the frame that tells the peer who we are (R-UDS.16,
// R-UDS.17).
func NewHandshake(id usp.EndpointID) Frame { return Frame{{Type: Handshake, Value: []byte(id)}} }

// NewError returns the frame that is sent before closing (R-UDS.21, R-UDS.23,
// R-UDS.24).
func NewError(msg string) Frame { return Frame{{Type: Error, Value: []byte(msg)}} }

// NewRecord returns the frame that carries a record (R-UDS.22).
func NewRecord(record []byte) Frame { return Frame{{Type: Record, Value: record}} }

// Find returns the value of the first field of type t.
func (f Frame) Find(t Type) (value []byte, ok bool) {
	for _, field := range f {
		if field.Type == t {
			return field.Value, true
		}
	}
	return nil, false
}

// Append appends the encoded frame to b.
func (f Frame) Append(b []byte) ([]byte, error) {
	if len(f) == 0 {
		return b, &FrameError{"a frame needs at least one field"} // R-UDS.6
	}
	size := 0
	for _, field := range f {
		size += fieldSize + len(field.Value)
	}
	if size > math.MaxUint32 {
		return b, &FrameError{fmt.Sprintf("a frame of %d bytes does not fit its length field", size)}
	}
	b = append(b, syncBytes...)
	b = binary.BigEndian.AppendUint32(b, uint32(size)) // R-UDS.9
	for _, field := range f {
		b = append(b, byte(field.Type))
		b = binary.BigEndian.AppendUint32(b, uint32(len(field.Value)))
		b = append(b, field.Value...)
	}
	return b, nil
}

// FrameError tells why bytes are no frame. The receiver sends Msg in an Error
// field and closes the connection (R-UDS.24).
type FrameError struct{ Msg string }

func (e *FrameError) Error() string { return "UDS frame: " + e.Msg }

func failf(format string, args ...any) error { return &FrameError{fmt.Sprintf(format, args...)} }

// maxFields bounds the fields of a frame, known or not; three are defined.
const maxFields = 16

// parseFields decodes what stands behind a frame's header. Fields of unknown
// types are left out (R-UDS.15). The values share memory with b.
func parseFields(b []byte) (Frame, error) {
	if len(b) == 0 {
		return nil, failf("it has no fields") // R-UDS.6
	}
	var f Frame
	for n := 0; len(b) > 0; n++ {
		if n == maxFields {
			return nil, failf("it has more than %d fields", maxFields)
		}
		if len(b) < fieldSize {
			return nil, failf("%d bytes are left behind the last field", len(b))
		}
		field := Field{Type: Type(b[0])}
		size := binary.BigEndian.Uint32(b[1:fieldSize])
		b = b[fieldSize:]
		if uint64(size) > uint64(len(b)) {
			return nil, failf("a field of type %d has %d bytes, the frame only %d more", field.Type, size, len(b))
		}
		field.Value, b = b[:size:size], b[size:]
		switch field.Type {
		case Handshake:
			if err := usp.EndpointID(field.Value).Validate(); err != nil || !utf8.Valid(field.Value) {
				return nil, failf("the handshake has no valid endpoint id")
			}
		case Error:
			if !utf8.Valid(field.Value) {
				return nil, failf("the error message is not UTF-8")
			}
		case Record:
		default:
			continue
		}
		f = append(f, field)
	}
	return f, nil
}
