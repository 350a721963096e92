package soap

import (
	"errors"
	"fmt"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
)

// scanner is a pull scanner over one message. It holds a position inside an
// element; child enters the next child or leaves the element at its end, text
// takes the content of a leaf and leaves it, skip passes over an element.
// It reads what CWMP uses of XML: elements, text, CDATA, character references;
// comments and processing instructions are passed over, DOCTYPE is refused.
type scanner struct {
	src string
	pos int
	lim Limits

	// The element entered last.
	name     string // with prefix
	prefix   string
	tagStart int
	xsiType  string // its xsi:type, as written
	empty    bool   // it was <name/>: its end comes next

	open     []string // names of the elements around pos
	elements int
	bindings []binding
}

func newScanner(src string, lim Limits) *scanner {
	return &scanner{src: src, lim: lim, open: make([]string, 0, 12), bindings: make([]binding, 0, 8)}
}

// root enters the document's element.
func (s *scanner) root() (string, error) {
	if s.blanks(); s.pos >= len(s.src) {
		return "", s.errorf("expected an Envelope, found an empty body")
	}
	if !s.at('<') {
		return "", s.errorf("expected an Envelope, found %q", clip(s.src[s.pos:]))
	}
	local, _, err := s.child()
	return local, err
}

// child enters the next child element and returns its local name, or, with
// more false, leaves the current element. Text between elements is passed over.
func (s *scanner) child() (local string, more bool, err error) {
	if s.empty {
		s.leave()
		return "", false, nil
	}
	for {
		i := strings.IndexByte(s.src[s.pos:], '<')
		if i < 0 || s.pos+i+1 >= len(s.src) {
			return "", false, s.truncated()
		}
		s.pos += i
		switch s.src[s.pos+1] {
		case '/':
			return "", false, s.endTag()
		case '!', '?':
			if _, err := s.markup(); err != nil {
				return "", false, err
			}
		default:
			local, err := s.startTag()
			return local, err == nil, err
		}
	}
}

// skip passes over the rest of the current element.
func (s *scanner) skip() error {
	for depth := len(s.open); len(s.open) >= depth; {
		if _, _, err := s.child(); err != nil {
			return err
		}
	}
	return nil
}

// layoutText returns the text of the current element, but for the layout of the
// XML, and leaves it.
func (s *scanner) layoutText() (string, error) { return s.text(trimLayout) }

// token returns the text of the current element without surrounding white space,
// in whatever way that was given, and leaves it.
func (s *scanner) token() (string, error) {
	v, err := s.text(trimAll)
	return trimAll(v), err
}

// text returns the text of the current element and leaves it. Child elements
// are passed over: a leaf has none.
func (s *scanner) text(trim func(string) string) (string, error) {
	if s.empty {
		s.leave()
		return "", nil
	}
	i := strings.IndexByte(s.src[s.pos:], '<')
	if i < 0 || s.pos+i+1 >= len(s.src) {
		return "", s.truncated()
	}
	raw := s.src[s.pos : s.pos+i]
	if s.src[s.pos+i+1] != '/' {
		return s.mixedText(trim)
	}
	s.pos += i
	// White space given as a character reference is meant, so it is trimmed
	// before references are resolved.
	return unescape(trim(raw)), s.endTag()
}

// mixedText is text for content with CDATA, comments or elements in it.
func (s *scanner) mixedText(trim func(string) string) (string, error) {
	var b strings.Builder
	for {
		i := strings.IndexByte(s.src[s.pos:], '<')
		if i < 0 || s.pos+i+1 >= len(s.src) {
			return "", s.truncated()
		}
		b.WriteString(unescape(s.src[s.pos : s.pos+i]))
		s.pos += i
		switch s.src[s.pos+1] {
		case '/':
			return trim(b.String()), s.endTag()
		case '!', '?':
			cdata, err := s.markup()
			if err != nil {
				return "", err
			}
			b.WriteString(cdata)
		default:
			if _, err := s.startTag(); err != nil {
				return "", err
			}
			if err := s.skip(); err != nil {
				return "", err
			}
		}
	}
}

// markup passes over a comment or processing instruction, or returns the text
// of a CDATA section.
func (s *scanner) markup() (cdata string, err error) {
	rest := s.src[s.pos:]
	for _, m := range [...]struct{ open, end string }{{"<!--", "-->"}, {"<![CDATA[", "]]>"}, {"<?", "?>"}} {
		content, ok := strings.CutPrefix(rest, m.open)
		if !ok {
			continue
		}
		i := strings.Index(content, m.end)
		if i < 0 {
			return "", s.errorf("%s without %s", m.open, m.end)
		}
		s.pos += len(m.open) + i + len(m.end)
		if m.open == "<![CDATA[" {
			return content[:i], nil
		}
		return "", nil
	}
	// No DOCTYPE, so no entity declarations and nothing that expands
	// (SOAP 1.1 section 3 forbids it in messages).
	return "", s.errorf("%q is not allowed in a SOAP message", clip(rest))
}

// startTag enters the element at pos and returns its local name.
func (s *scanner) startTag() (string, error) {
	s.tagStart = s.pos
	if s.elements++; s.elements > s.lim.Elements {
		return "", tooMuch(s.pos, "Elements", "more than %d elements", s.lim.Elements)
	}
	if len(s.open) >= s.lim.Depth {
		return "", tooMuch(s.pos, "Depth", "elements nested deeper than %d", s.lim.Depth)
	}
	s.pos++
	name, err := s.readName()
	if err != nil {
		return "", err
	}
	s.open = append(s.open, name)
	s.xsiType = ""
	if s.pos < len(s.src) && s.src[s.pos] == '>' {
		s.pos++
	} else if err := s.attributes(); err != nil {
		return "", err
	}
	s.name, s.prefix = name, ""
	if i := strings.IndexByte(name, ':'); i >= 0 {
		s.prefix = name[:i]
		return name[i+1:], nil
	}
	return name, nil
}

// attributes reads the rest of a start tag. Of the attributes, only namespace
// declarations and xsi:type mean anything to reading; soapenc:arrayType is
// never looked at, since CPE give wrong sizes (tolerance arrayType).
func (s *scanner) attributes() error {
	for n := 0; ; n++ {
		s.blanks()
		switch {
		case s.at('>'):
			s.pos++
			return nil
		case s.at('/') && s.pos+1 < len(s.src) && s.src[s.pos+1] == '>':
			s.pos += 2
			s.empty = true
			return nil
		case s.pos >= len(s.src):
			return s.truncated()
		case n >= s.lim.Attributes:
			return tooMuch(s.pos, "Attributes", "more than %d attributes on one element", s.lim.Attributes)
		}
		name, value, err := s.attribute()
		if err != nil {
			return err
		}
		if name == "xmlns" {
			s.bind("", value)
		} else if prefix, ok := strings.CutPrefix(name, "xmlns:"); ok {
			s.bind(prefix, value)
		} else if isTypeAttribute(name) {
			s.xsiType = value
		}
	}
}

func (s *scanner) attribute() (name, value string, err error) {
	if name, err = s.readName(); err != nil {
		return "", "", err
	}
	s.blanks()
	if !s.at('=') {
		return "", "", s.errorf("expected '=' after attribute %s", clip(name))
	}
	s.pos++
	s.blanks()
	if !s.at('"') && !s.at('\'') {
		return "", "", s.errorf("expected a quoted value for attribute %s", clip(name))
	}
	quote := s.src[s.pos]
	s.pos++
	i := strings.IndexByte(s.src[s.pos:], quote)
	if i < 0 {
		return "", "", s.truncated()
	}
	value = s.src[s.pos : s.pos+i]
	if strings.IndexByte(value, '<') >= 0 {
		return "", "", s.errorf("value of attribute %s is not closed", clip(name))
	}
	s.pos += i + 1
	return name, unescape(value), nil
}

func (s *scanner) bind(prefix, uri string) {
	sp, v := spaceOf(uri)
	s.bindings = append(s.bindings, binding{prefix: prefix, depth: len(s.open), space: sp, version: v})
}

// endTag leaves the current element at its end tag.
func (s *scanner) endTag() error {
	if len(s.open) == 0 {
		return s.errorf("end tag before any element: %q", clip(s.src[s.pos:]))
	}
	want, start := s.open[len(s.open)-1], s.pos
	if s.pos += 2; strings.HasPrefix(s.src[s.pos:], want) {
		s.pos += len(want)
		s.blanks()
		if s.at('>') {
			s.pos++
			s.leave()
			return nil
		}
	}
	if s.pos >= len(s.src) || strings.HasPrefix(want, s.src[s.pos:]) {
		return s.truncated()
	}
	s.pos = start
	return s.errorf("expected </%s>, found %q", clip(want), clip(s.src[start:]))
}

func (s *scanner) leave() {
	s.empty = false
	s.open = s.open[:len(s.open)-1]
	for n := len(s.bindings); n > 0 && s.bindings[n-1].depth > len(s.open); n-- {
		s.bindings = s.bindings[:n-1]
	}
}

// readName reads the name of an element or attribute at pos.
func (s *scanner) readName() (string, error) {
	start := s.pos
	for s.pos < len(s.src) && nameByte[s.src[s.pos]] {
		s.pos++
	}
	name := s.src[start:s.pos]
	switch {
	case s.pos >= len(s.src):
		return "", s.truncated()
	case name == "" || name[0] == '-' || name[0] == '.' || name[0] >= '0' && name[0] <= '9':
		s.pos = start
		return "", s.errorf("expected a name, found %q", clip(s.src[start:]))
	case len(name) > s.lim.NameBytes:
		return "", tooMuch(start, "NameBytes", "a name of %d bytes, %d are allowed", len(name), s.lim.NameBytes)
	}
	return name, nil
}

// nameByte tells the bytes that names are made of; all of non-ASCII counts.
var nameByte = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			c == ':' || c == '_' || c == '-' || c == '.' || c >= 0x80
	}
	return t
}()

func (s *scanner) at(c byte) bool { return s.pos < len(s.src) && s.src[s.pos] == c }

func (s *scanner) blanks() {
	for s.pos < len(s.src) && isBlank(s.src[s.pos]) {
		s.pos++
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// errTruncated marks the errors of messages that end too early.
var errTruncated = errors.New("truncated message")

type truncatedError struct{ *SyntaxError }

func (e truncatedError) Unwrap() []error { return []error{e.SyntaxError, errTruncated} }

func (s *scanner) truncated() error {
	return truncatedError{&SyntaxError{Offset: len(s.src), Msg: fmt.Sprintf("the message ends inside <%s>", clip(s.path()))}}
}

func (s *scanner) errorf(format string, args ...any) error {
	return &SyntaxError{Offset: s.pos, Msg: fmt.Sprintf(format, args...)}
}

func tooMuch(offset int, limit, format string, args ...any) error {
	return &SyntaxError{Offset: offset, Limit: limit, Msg: fmt.Sprintf(format, args...)}
}

// fault returns the fault for an argument that was read but makes no sense.
func (s *scanner) fault(format string, args ...any) error {
	return cwmp.Faultf(cwmp.FaultACSInvalidArguments, "%s (in %s, byte %d)", fmt.Sprintf(format, args...), s.path(), s.pos)
}

// path returns the local names of the open elements, "Envelope/Body/Inform".
func (s *scanner) path() string {
	var b strings.Builder
	for i, name := range s.open {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(clip(name[strings.IndexByte(name, ':')+1:]))
	}
	return b.String()
}

// clip shortens what is quoted in an error: messages may be hostile.
func clip(s string) string {
	const most = 48
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
