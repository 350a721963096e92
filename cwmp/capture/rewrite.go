package capture

import (
	"fmt"
	"strings"
)

// Text is the text of one element of a message that holds no others.
type Text struct {
	Element   string // its name without prefix
	In        string // that of the element around it
	Parameter string // of a Value: the Name beside it
	Text      string // as written, without the white space around it
}

// Rewrite returns a message with some of its texts replaced, and everything else
// as it was written. replace is called for each Text, in their order; what it
// returns is written as it is: it must be escaped. The error is that the message
// is not well-formed.
func Rewrite(body []byte, replace func(Text) (text string, ok bool)) ([]byte, error) {
	d, err := parseDocument(body)
	if err != nil {
		return nil, err
	}
	names := d.valueNames()
	var edits []edit
	for i := range d.elements {
		e := &d.elements[i]
		if !e.leaf {
			continue
		}
		at := trimmed(body, e.inner)
		t := Text{Element: e.local, Parameter: names[i], Text: string(at.of(body))}
		if e.parent >= 0 {
			t.In = d.elements[e.parent].local
		}
		if text, ok := replace(t); ok && text != t.Text {
			edits = append(edits, d.fill(e, at, text))
		}
	}
	return apply(body, edits), nil
}

// fill puts a text into a leaf, which may be <empty/>.
func (d *document) fill(e *element, at span, text string) edit {
	tag := e.start.of(d.src)
	if !strings.HasSuffix(string(tag), "/>") {
		return edit{at, text}
	}
	name, _ := readName(d.src, e.start.from+1)
	return edit{span{e.start.to - len("/>"), e.start.to}, ">" + text + "</" + name + ">"}
}

// RewriteList returns a message in which the first element of that name holds the
// given XML instead, and says n where its start tag tells its size.
func RewriteList(body []byte, element, xml string, n int) ([]byte, error) {
	d, err := parseDocument(body)
	if err != nil {
		return nil, err
	}
	for i := range d.elements {
		e := &d.elements[i]
		if e.local != element {
			continue
		}
		tag := string(e.start.of(d.src))
		if open, shut := strings.LastIndexByte(tag, '['), strings.LastIndexByte(tag, ']'); open >= 0 && shut > open {
			tag = tag[:open+1] + fmt.Sprint(n) + tag[shut:]
		}
		end := e.inner.to
		if short, empty := strings.CutSuffix(tag, "/>"); empty {
			name, _ := readName(d.src, e.start.from+1)
			tag, xml, end = short+">", xml+"</"+name+">", e.start.to
		}
		return apply(body, []edit{{span{e.start.from, end}, tag + xml}}), nil
	}
	return nil, fmt.Errorf("no element %s: %w", element, errMarkup)
}

// valueNames gives to each Value the Name beside it.
func (d *document) valueNames() map[int]string {
	byStruct := map[int]string{}
	for i := range d.elements {
		if e := &d.elements[i]; e.leaf && strings.EqualFold(e.local, "Name") {
			byStruct[e.parent] = string(trim(e.inner.of(d.src)))
		}
	}
	names := map[int]string{}
	for i := range d.elements {
		if e := &d.elements[i]; strings.EqualFold(e.local, "Value") {
			names[i] = byStruct[e.parent]
		}
	}
	return names
}
