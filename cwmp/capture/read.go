package capture

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The bounds of a file that is read. A body has at most 16 MiB, which JSON may
// write twice as long.
const (
	maxLineBytes = 40 << 20
	maxFileBytes = 256 << 20
)

// Reader reads a capture line by line.
type Reader struct {
	name     string
	in       *bufio.Reader
	line     int
	bytes    int
	begun    bool         // a Header was read
	sessions map[int]bool // open ones of this capture
}

// NewReader returns a Reader. name is the file's, for errors.
func NewReader(in io.Reader, name string) *Reader {
	return &Reader{name: name, in: bufio.NewReaderSize(in, 64<<10)}
}

// Line returns the number of the line read last.
func (r *Reader) Line() int { return r.line }

// Errorf returns an error that names the file and the line read last.
func (r *Reader) Errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", r.name, r.line, fmt.Errorf(format, args...))
}

// Next returns the next line, a *Header, *Session, *Message, *End or *Note, and
// io.EOF behind the last one. Empty lines and those that begin with '#' are
// passed over. An error names file and line.
func (r *Reader) Next() (any, error) {
	for {
		text, err := r.read()
		if err != nil {
			return nil, err
		}
		if text = trim(text); len(text) == 0 || text[0] == '#' {
			continue
		}
		return r.parse(text)
	}
}

// read returns the next line with its end.
func (r *Reader) read() ([]byte, error) {
	r.line++
	var text []byte
	for {
		part, err := r.in.ReadSlice('\n')
		if r.bytes += len(part); r.bytes > maxFileBytes {
			return nil, r.Errorf("the capture has more than %d bytes", maxFileBytes)
		}
		if len(text)+len(part) > maxLineBytes {
			return nil, r.Errorf("a line of more than %d bytes", maxLineBytes)
		}
		text = append(text, part...)
		switch {
		case err == nil, errors.Is(err, io.EOF) && len(text) > 0:
			return text, nil
		case errors.Is(err, io.EOF):
			return nil, io.EOF
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, r.Errorf("%w", err)
		}
	}
}

func (r *Reader) parse(text []byte) (any, error) {
	var kind line
	if err := json.Unmarshal(text, &kind); err != nil {
		return nil, r.Errorf("no line of a capture: %w", err)
	}
	v := kind.empty()
	if v == nil {
		return nil, r.Errorf("no line of a capture: it has none of the keys capture, device, from, end and note")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return nil, r.Errorf("%w", err)
	}
	return v, r.check(v)
}

// check refuses a line that does not belong where it is.
func (r *Reader) check(v any) error {
	if h, ok := v.(*Header); ok {
		if h.Capture != Version {
			return r.Errorf("a capture of version %d; this program reads version %d", h.Capture, Version)
		}
		r.begun, r.sessions = true, map[int]bool{}
		return nil
	}
	if !r.begun {
		return r.Errorf(`a capture begins with {"capture": %d, …}`, Version)
	}
	switch v := v.(type) {
	case *Session:
		if r.sessions[v.Session] || v.Session < 1 {
			return r.Errorf("session %d begins, but is open or below 1", v.Session)
		}
		r.sessions[v.Session] = true
	case *Message:
		switch {
		case !r.sessions[v.Session]:
			return r.Errorf("a message of session %d, which is not open", v.Session)
		case v.From != CPE && v.From != ACS:
			return r.Errorf("from %q: want %s or %s", v.From, CPE, ACS)
		case v.Body != "" && v.Base64 != nil:
			return r.Errorf("both body and base64")
		}
		for _, h := range v.Headers {
			if i := strings.IndexByte(h, ':'); i < 1 || strings.ContainsAny(h, "\r\n") {
				return r.Errorf("header %.40q: want \"Name: value\"", h)
			}
		}
	case *End:
		if !r.sessions[v.Session] {
			return r.Errorf("the end of session %d, which is not open", v.Session)
		}
		delete(r.sessions, v.Session)
	}
	return nil
}
