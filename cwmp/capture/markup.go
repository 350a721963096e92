package capture

import (
	"bytes"
	"errors"
	"strings"
)

// maxElements bounds the elements of one message that are told apart; it is that
// of soap.DefaultLimits. A message of more is masked conservatively.
const maxElements = 1 << 18

// maxDepth bounds the elements inside each other, as soap.DefaultLimits does.
const maxDepth = 32

// span is a part of a message: bytes from up to, not including, to.
type span struct{ from, to int }

func (s span) of(src []byte) []byte { return src[s.from:s.to] }

// element is one element of a message, by where it stands.
type element struct {
	local  string // name without prefix
	parent int    // its place in document.elements, -1 for the outermost
	start  span   // the start tag
	inner  span   // what is between the tags
	leaf   bool   // it holds no elements
	cut    bool   // the message ended before its end tag
}

// document is a message taken apart, so that single texts in it can be replaced
// while everything else stays as the CPE wrote it.
type document struct {
	src      []byte
	elements []element // in the order of their start tags
	loose    []span    // text beside elements, and text outside of the outermost
	values   []span    // of attributes that could say something, without the quotes
	remarks  []span    // the content of comments and processing instructions
}

// byteOrderMark is what some CPE begin their messages with.
const byteOrderMark = "\xef\xbb\xbf"

var errMarkup = errors.New("not well-formed XML")

// parseDocument takes a message apart. Beyond well-formed XML it takes one whose
// end is missing, as package soap does; anything else is an error. Texts keep
// their references: nothing is decoded.
func parseDocument(src []byte) (*document, error) {
	d := &document{src: src, elements: make([]element, 0, len(src)/64)}
	open := make([]int, 0, maxDepth)
	pos := 0
	if bytes.HasPrefix(src, []byte(byteOrderMark)) {
		pos = len(byteOrderMark)
	}
	for {
		i := bytes.IndexByte(src[pos:], '<')
		end := pos + i
		if i < 0 {
			end = len(src)
		}
		d.text(span{pos, end})
		if i < 0 {
			d.close(open)
			return d, nil
		}
		next, err := d.markup(&open, end)
		if err != nil {
			return nil, err
		}
		pos = next
	}
}

// text notes text. Whether it belongs to a leaf is known at the leaf's end: until
// then it counts as loose.
func (d *document) text(s span) {
	if len(trim(s.of(d.src))) == 0 {
		return
	}
	if n := len(d.loose); n > 0 && d.loose[n-1].to == s.from {
		d.loose[n-1].to = s.to // CDATA goes on with the text before it
		return
	}
	d.loose = append(d.loose, s)
}

// close ends what the message left open.
func (d *document) close(open []int) {
	for _, i := range open {
		d.elements[i].inner.to, d.elements[i].cut = len(d.src), true
	}
}

// markup reads what begins with the '<' at pos and returns where it ends.
func (d *document) markup(open *[]int, pos int) (int, error) {
	rest := d.src[pos:]
	switch {
	case bytes.HasPrefix(rest, []byte("<!--")):
		return d.remark(pos, "<!--", "-->")
	case bytes.HasPrefix(rest, []byte("<![CDATA[")):
		end := bytes.Index(rest, []byte("]]>"))
		if end < 0 || len(*open) == 0 {
			return 0, errMarkup
		}
		d.text(span{pos, pos + end + len("]]>")})
		return pos + end + len("]]>"), nil
	case bytes.HasPrefix(rest, []byte("<?")):
		return d.remark(pos, "<?", "?>")
	case bytes.HasPrefix(rest, []byte("</")):
		return d.endTag(open, pos)
	}
	return d.startTag(open, pos)
}

func (d *document) remark(pos int, begin, end string) (int, error) {
	from := pos + len(begin)
	i := bytes.Index(d.src[from:], []byte(end))
	if i < 0 {
		return 0, errMarkup
	}
	d.remarks = append(d.remarks, span{from, from + i})
	return from + i + len(end), nil
}

func (d *document) startTag(open *[]int, pos int) (int, error) {
	name, at := readName(d.src, pos+1)
	if name == "" || len(*open) >= maxDepth || len(d.elements) >= maxElements {
		return 0, errMarkup
	}
	e := element{local: localName(name), parent: -1, leaf: true}
	if n := len(*open); n > 0 {
		e.parent = (*open)[n-1]
		d.elements[e.parent].leaf = false
	} else if len(d.elements) > 0 {
		return 0, errMarkup // a second outermost element
	}
	at, empty, err := d.attributes(at)
	if err != nil {
		return 0, err
	}
	e.start, e.inner = span{pos, at}, span{at, at}
	d.elements = append(d.elements, e)
	if !empty {
		*open = append(*open, len(d.elements)-1)
	}
	return at, nil
}

// attributes reads the attributes up to the end of the tag.
func (d *document) attributes(at int) (next int, empty bool, err error) {
	for {
		at = skipBlanks(d.src, at)
		switch {
		case at >= len(d.src):
			return 0, false, errMarkup
		case d.src[at] == '>':
			return at + 1, false, nil
		case d.src[at] == '/' && at+1 < len(d.src) && d.src[at+1] == '>':
			return at + 2, true, nil
		}
		name, after := readName(d.src, at)
		after = skipBlanks(d.src, after)
		if name == "" || after >= len(d.src) || d.src[after] != '=' {
			return 0, false, errMarkup
		}
		after = skipBlanks(d.src, after+1)
		if after >= len(d.src) || d.src[after] != '"' && d.src[after] != '\'' {
			return 0, false, errMarkup
		}
		length := bytes.IndexByte(d.src[after+1:], d.src[after])
		value := span{after + 1, after + 1 + length}
		if length < 0 || bytes.IndexByte(value.of(d.src), '<') >= 0 {
			return 0, false, errMarkup
		}
		if !formal(name) {
			d.values = append(d.values, value)
		}
		at = value.to + 1
	}
}

// formal tells the attributes of XML, SOAP and XML Schema: they say how to read a
// message, and nothing of the CPE.
func formal(name string) bool {
	if name == "xmlns" || strings.HasPrefix(name, "xmlns:") {
		return true
	}
	switch localName(name) {
	case "type", "arrayType", "mustUnderstand", "encodingStyle", "nil", "null", "actor", "position", "offset", "schemaLocation":
		return true
	}
	return false
}

func (d *document) endTag(open *[]int, pos int) (int, error) {
	name, at := readName(d.src, pos+2)
	at = skipBlanks(d.src, at)
	n := len(*open)
	if n == 0 || at >= len(d.src) || d.src[at] != '>' {
		return 0, errMarkup
	}
	e := &d.elements[(*open)[n-1]]
	if begun, _ := readName(d.src, e.start.from+1); begun != name {
		return 0, errMarkup
	}
	e.inner.to = pos
	*open = (*open)[:n-1]
	if e.leaf {
		d.claim(e.inner)
	}
	return at + 1, nil
}

// claim takes texts of a leaf out of the loose ones: they are its inner text.
func (d *document) claim(inner span) {
	n := len(d.loose)
	for n > 0 && d.loose[n-1].from >= inner.from {
		n--
	}
	d.loose = d.loose[:n]
}

// within reports whether element i is, or is inside, one of that local name.
func (d *document) within(i int, local string) bool {
	for ; i >= 0; i = d.elements[i].parent {
		if d.elements[i].local == local {
			return true
		}
	}
	return false
}

// content is the text of a leaf that needs no decoding; plain is false if there
// is more to it: references, CDATA, comments.
func (d *document) content(e *element) (text string, plain bool) {
	inner := trim(e.inner.of(d.src))
	return string(inner), e.leaf && bytes.IndexByte(inner, '&') < 0 && bytes.IndexByte(inner, '<') < 0
}

// rpc is the name of the message's RPC: the element inside the Body.
func (d *document) rpc() string {
	for i := range d.elements {
		e := &d.elements[i]
		if e.parent >= 0 && d.elements[e.parent].local == "Body" && d.elements[e.parent].parent == 0 {
			return e.local
		}
	}
	return ""
}

func readName(src []byte, at int) (name string, after int) {
	from := at
	for at < len(src) && isNameByte(src[at]) {
		at++
	}
	return string(src[from:at]), at
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == ':' || c == '_' || c == '-' || c == '.' || c >= 0x80
}

func localName(name string) string { return name[strings.IndexByte(name, ':')+1:] }

func skipBlanks(src []byte, at int) int {
	for at < len(src) && (src[at] == ' ' || src[at] == '\t' || src[at] == '\r' || src[at] == '\n') {
		at++
	}
	return at
}

// edit is a text to put in the place of a part of a message.
type edit struct {
	at   span
	text string
}
