package stomp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of a frame's head.
const (
	maxHead    = 64 << 10 // bytes of command and headers
	maxHeaders = 100
)

// frame is one STOMP frame. A header that comes twice counts with its first
// value (STOMP 1.2 "Repeated Header Entries").
type frame struct {
	command string
	headers []header
	body    []byte
}

type header struct{ name, value string }

func (f *frame) get(name string) string {
	for _, h := range f.headers {
		if h.name == name {
			return h.value
		}
	}
	return ""
}

func (f *frame) add(name, value string) { f.headers = append(f.headers, header{name, value}) }

// isGreeting tells whether the frame is of those whose headers are not escaped.
func isGreeting(command string) bool {
	return command == "CONNECT" || command == "STOMP" || command == "CONNECTED"
}

// escapeHeader writes a header value in C style escapes.
func escapeHeader(s string) string {
	if !strings.ContainsAny(s, "\\\r\n:") {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		switch s[i] {
		case '\\':
			b.WriteString(`\\`)
		case '\r':
			b.WriteString(`\r`)
		case '\n':
			b.WriteString(`\n`)
		case ':':
			b.WriteString(`\c`)
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// unescapeHeader undoes escapeHeader. Unknown escapes are an error, as STOMP
// 1.2 has it.
func unescapeHeader(s string) (string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", fmt.Errorf("header value %q ends in an escape", s)
		}
		at := strings.IndexByte(`\rnc`, s[i])
		if at < 0 {
			return "", fmt.Errorf("header value %q has the unknown escape \\%c", s, s[i])
		}
		b.WriteByte("\\\r\n:"[at])
	}
	return b.String(), nil
}

// append adds the frame's bytes to b. Values of greetings go out as they are:
// who builds one has escaped what must be.
func (f *frame) append(b []byte) []byte {
	b = append(b, f.command...)
	b = append(b, '\n')
	for _, h := range f.headers {
		name, value := h.name, h.value
		if !isGreeting(f.command) {
			name, value = escapeHeader(name), escapeHeader(value)
		}
		b = append(b, name...)
		b = append(b, ':')
		b = append(b, value...)
		b = append(b, '\n')
	}
	b = append(b, '\n')
	b = append(b, f.body...)
	return append(b, 0)
}

// errTooLarge means that a frame is beyond the bounds; the rest of the stream
// cannot be read.
var errTooLarge = errors.New("frame is too large")

// readFrame reads the next frame, skipping the line ends that are heart-beats.
// maxBody bounds the body.
func readFrame(r *bufio.Reader, maxBody int) (*frame, error) {
	left := maxHead
	command, err := readLine(r, &left)
	for err == nil && command == "" {
		left = maxHead
		command, err = readLine(r, &left)
	}
	if err != nil {
		return nil, err
	}
	f := &frame{command: command}
	for {
		line, err := readLine(r, &left)
		if err != nil {
			return nil, unexpectedEnd(err)
		}
		if line == "" {
			break
		}
		if err := f.parseHeader(line); err != nil {
			return nil, err
		}
	}
	f.body, err = readBody(r, f, maxBody)
	return f, unexpectedEnd(err)
}

func (f *frame) parseHeader(line string) error {
	name, value, ok := strings.Cut(line, ":")
	if !ok || name == "" {
		return fmt.Errorf("%s frame: %q is no header", f.command, line)
	}
	if len(f.headers) == maxHeaders {
		return fmt.Errorf("%s frame with more than %d headers: %w", f.command, maxHeaders, errTooLarge)
	}
	if !isGreeting(f.command) {
		var err error
		if name, err = unescapeHeader(name); err != nil {
			return err
		}
		if value, err = unescapeHeader(value); err != nil {
			return err
		}
	}
	f.add(name, value)
	return nil
}

// readLine reads a line without its end, LF or CR LF, and takes its length off left.
func readLine(r *bufio.Reader, left *int) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if *left -= len(part); *left < 0 {
			return "", fmt.Errorf("more than %d bytes before a frame's body: %w", maxHead, errTooLarge)
		}
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			if len(line) > 0 {
				err = unexpectedEnd(err)
			}
			return "", err
		}
	}
	return string(bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'})), nil
}

func readBody(r *bufio.Reader, f *frame, max int) ([]byte, error) {
	if text := f.get("content-length"); text != "" {
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%s frame: content-length %q", f.command, text)
		}
		return readCounted(r, int(n), max)
	}
	var body []byte
	for {
		part, err := r.ReadSlice(0)
		if len(body)+len(part) > max+1 {
			return nil, fmt.Errorf("body of more than %d bytes: %w", max, errTooLarge)
		}
		body = append(body, part...)
		if err == nil {
			return body[:len(body)-1], nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

// readCounted reads a body of n bytes. One that is too large is read over, so that
// what is behind it is not lost: many endpoints' records come on one connection.
func readCounted(r *bufio.Reader, n, max int) (body []byte, err error) {
	if n > max {
		_, err = r.Discard(n)
	} else {
		body = make([]byte, n)
		_, err = io.ReadFull(r, body)
	}
	if err != nil {
		return nil, err
	}
	end, err := r.ReadByte()
	switch {
	case err != nil:
		return nil, err
	case end != 0:
		return nil, errors.New("no NUL after the content-length")
	case n > max:
		return nil, &skippedError{n, max}
	}
	return body, nil
}

// skippedError is the error of a frame that was read to its end and dropped. Another
// can be read behind it.
type skippedError struct{ bytes, most int }

func (e *skippedError) Error() string {
	return fmt.Sprintf("body of %d bytes, at most %d are accepted", e.bytes, e.most)
}

// unexpectedEnd makes an end of file inside a frame tell from one between frames.
func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
