package credential

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// Reader reads the entries of an import file one after the other, in constant
// memory.
type Reader struct {
	name string
	next func() (fields map[string]string, line int, err error)
}

// The bounds of an import file. It may have any number of entries.
const (
	maxLine = 8 << 10  // bytes
	maxItem = 16 << 10 // bytes of one entry, with comments around it
)

// The names of an entry's fields: the columns of a CSV file, the keys of a YAML
// item. Either device is there, or oui, product_class and serial_number.
const (
	fieldDevice       = "device"
	fieldOUI          = "oui"
	fieldProductClass = "product_class"
	fieldSerial       = "serial_number"
	fieldUsername     = "username"
	fieldPassword     = "password"
)

var fieldNames = []string{fieldDevice, fieldOUI, fieldProductClass, fieldSerial, fieldUsername, fieldPassword}

// LineError is what is wrong with one entry; those behind it can still be read.
type LineError struct {
	File string
	Line int
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }
func (e *LineError) Unwrap() error { return e.Err }

// NewReader returns a Reader of a CSV or a YAML file, as the end of its name says.
func NewReader(name string, r io.Reader) (*Reader, error) {
	b := bufio.NewReaderSize(r, maxLine)
	if mark, err := b.Peek(3); err == nil && string(mark) == "\xef\xbb\xbf" { // a byte order mark, of spreadsheets
		if _, err := b.Discard(3); err != nil {
			return nil, err
		}
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".csv":
		c, err := newCSVReader(b)
		if err != nil {
			return nil, fmt.Errorf("%s:1: %w", name, err)
		}
		return &Reader{name, c.next}, nil
	case ".yaml", ".yml":
		return &Reader{name, (&yamlReader{lines: lines{r: b}}).next}, nil
	}
	return nil, fmt.Errorf("%s: name the file .csv or .yaml, for what it has in it", name)
}

// Next returns the next entry and its line, io.EOF at the end. After a *LineError
// reading can go on.
func (r *Reader) Next() (e Entry, line int, err error) {
	fields, line, err := r.next()
	if errors.Is(err, io.EOF) {
		return Entry{}, 0, io.EOF
	}
	var fatal *fatalError
	if errors.As(err, &fatal) {
		return Entry{}, line, fmt.Errorf("%s:%d: %w", r.name, line, fatal.cause)
	}
	if err == nil {
		e, err = entryOf(fields)
	}
	if err != nil {
		return Entry{}, line, &LineError{r.name, line, err}
	}
	return e, line, nil
}

// fatalError is one after which reading cannot go on.
type fatalError struct{ cause error }

func (e *fatalError) Error() string { return e.cause.Error() }
func (e *fatalError) Unwrap() error { return e.cause }

func entryOf(fields map[string]string) (e Entry, err error) {
	if text := fields[fieldDevice]; text != "" {
		if fields[fieldOUI]+fields[fieldProductClass]+fields[fieldSerial] != "" {
			return e, errors.New("give either device or oui, product_class and serial_number")
		}
		e.Scope, err = ParseScope(text)
	} else {
		e.Scope, err = scopeOf(fields)
	}
	if err != nil {
		return Entry{}, err
	}
	e.Username, e.Password = fields[fieldUsername], fields[fieldPassword]
	if err := e.Check(); err != nil {
		return Entry{}, err
	}
	return e, nil
}

// scopeOf takes what is left out as any, but not the serial number: a password
// for all devices is given with "*".
func scopeOf(fields map[string]string) (Scope, error) {
	part := func(name string) string {
		if text, ok := fields[name]; ok {
			return text
		}
		return "*"
	}
	if fields[fieldSerial] == "" {
		return Scope{}, errors.New("there is no serial_number; write * for any")
	}
	oui := part(fieldOUI)
	if oui == "" {
		oui = "*"
	}
	return NewScope(oui, part(fieldProductClass), fields[fieldSerial])
}

// lines reads lines up to a bound and counts them.
type lines struct {
	r *bufio.Reader
	n int
}

// read returns the next line without its end.
func (l *lines) read() (string, error) {
	b, err := l.r.ReadSlice('\n')
	if len(b) == 0 && errors.Is(err, io.EOF) {
		return "", io.EOF
	}
	l.n++
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", &fatalError{fmt.Errorf("a line of more than %d bytes", maxLine)}
	case err != nil && !errors.Is(err, io.EOF):
		return "", &fatalError{err}
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}
