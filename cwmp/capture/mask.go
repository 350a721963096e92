package capture

import (
	"bytes"
	"html"
	"regexp"
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
)

// maxLearned bounds the secrets that a masker remembers: the last ones, since a
// fault follows what it refuses.
const maxLearned = 256

// shortestLearned is the length from which on a secret is looked for in other
// texts: shorter ones are found everywhere, and mean nothing there.
const shortestLearned = 4

// masker masks the bodies of one capture.
type masker struct {
	learned []string // secrets seen: a CPE's fault may quote what it was given
}

// mask returns a body without its secrets and tells which RPC it carries. note
// says, if it is not "", what became of a body that could not be masked element by
// element. The XML stays as the CPE wrote it.
func (m *masker) mask(body []byte, from Side) (out []byte, rpc, note string) {
	switch {
	case len(trim(body)) == 0:
		return body, "", ""
	case from == ACS && bytes.IndexByte(body, '<') < 0: // the bridge's refusals below SOAP
		return maskQuotes(body), "", ""
	}
	if isUTF16(body) {
		return nil, "", "the body is in UTF-16 and left out: secrets in it would not be found"
	}
	d, err := parseDocument(body)
	if err != nil || len(d.elements) == 0 || d.elements[0].local != "Envelope" {
		return conservative(body), "", "the body is no well-formed envelope: all texts in it are masked"
	}
	return apply(body, m.secrets(d, from)), d.rpc(), ""
}

// learn remembers a secret, as it is written and as it is meant.
func (m *masker) learn(text string) {
	for _, t := range []string{text, html.UnescapeString(text)} {
		if len(t) < shortestLearned || t == Mask || slices.Contains(m.learned, t) {
			continue
		}
		if len(m.learned) >= maxLearned {
			m.learned = slices.Delete(m.learned, 0, 1)
		}
		m.learned = append(m.learned, t)
	}
}

// forget replaces the secrets seen in a text.
func (m *masker) forget(text string) string {
	for _, secret := range m.learned {
		text = strings.ReplaceAll(text, secret, Mask)
	}
	return text
}

func isUTF16(body []byte) bool {
	return bytes.HasPrefix(body, []byte("\xff\xfe")) || bytes.HasPrefix(body, []byte("\xfe\xff")) || bytes.IndexByte(body[:min(len(body), 4)], 0) >= 0
}

// apply returns the text with the edits made. Of edits inside each other the
// outermost counts.
func apply(src []byte, edits []edit) []byte {
	if len(edits) == 0 {
		return src
	}
	slices.SortFunc(edits, func(a, b edit) int {
		if a.at.from != b.at.from {
			return a.at.from - b.at.from
		}
		return b.at.to - a.at.to
	})
	out := make([]byte, 0, len(src))
	done := 0
	for _, e := range edits {
		if e.at.from < done {
			continue
		}
		out = append(append(out, src[done:e.at.from]...), e.text...)
		done = e.at.to
	}
	return append(out, src[done:]...)
}

// secrets returns the edits that mask what is secret in the message.
func (m *masker) secrets(d *document, from Side) []edit {
	var edits []edit
	for _, s := range slices.Concat(d.loose, d.values, d.remarks) {
		if text := s.of(d.src); !isDeclaration(text) {
			edits = append(edits, maskText(d.src, s)...)
		}
	}
	hide := d.namedSecrets()
	for i := range d.elements {
		e := &d.elements[i]
		text := string(trim(e.inner.of(d.src)))
		if text == "" || !e.leaf && !hide[i] {
			continue
		}
		if hide[i] && !(d.isBoolean(e) && isTruth(text)) || d.argumentIsSecret(i) || d.tells(i, text) {
			m.learn(text)
			edits = append(edits, maskText(d.src, e.inner)...)
			continue
		}
		clean := maskURLs(text, d.isTransferURL(i))
		if d.within(i, "Fault") {
			clean = m.forget(clean)
			if from == ACS {
				clean = string(maskQuotes([]byte(clean)))
			}
		}
		if clean != text {
			edits = append(edits, edit{trimmed(d.src, e.inner), clean})
		}
	}
	return edits
}

// maskText masks a text but for the white space around it.
func maskText(src []byte, s span) []edit {
	if s = trimmed(src, s); s.from == s.to {
		return nil
	}
	return []edit{{s, Mask}}
}

// trimmed is a span without the white space at its ends.
func trimmed(src []byte, s span) span {
	text := s.of(src)
	s.from += len(text) - len(bytes.TrimLeft(text, blanks))
	s.to = s.from + len(trim(text))
	return s
}

// blanks are the white space of XML.
const blanks = " \t\r\n"

func trim(text []byte) []byte { return bytes.Trim(text, blanks) }

// quoted finds what the bridge's own error texts quote of a message that it could
// not read.
var quoted = regexp.MustCompile(`(?s)("|&quot;|&#34;).*?("|&quot;|&#34;)`)

func maskQuotes(text []byte) []byte {
	return quoted.ReplaceAll(text, []byte("${1}"+Mask+"${2}"))
}

// besideName are the elements beside a Name that hold nothing of its value.
var besideName = []string{"name", "parametername", "writable", "notification", "notificationchange", "accesslistchange", "faultcode", "index"}

// namedSecrets tells the elements whose sibling Name says that they are secret:
// the Values of ParameterValueStruct and ArgStruct, in whatever order and under
// whatever name, and the FaultString of a SetParameterValuesFault, which may quote
// the value. A Value without a Name beside it, or with one that has to be decoded
// first, may be a secret.
func (d *document) namedSecrets() map[int]bool {
	type named struct {
		names  int
		secret bool
		held   []int
	}
	structs := map[int]*named{}
	of := func(i int) *named {
		n := structs[d.elements[i].parent]
		if n == nil {
			n = &named{}
			structs[d.elements[i].parent] = n
		}
		return n
	}
	for i := range d.elements {
		e, n := &d.elements[i], of(i)
		switch local := strings.ToLower(e.local); {
		case local == "name", local == "parametername":
			name, plain := d.content(e)
			n.names++
			n.secret = n.secret || !plain || name == "" || e.cut || cwmp.Path(name).NamesSecret()
		case !slices.Contains(besideName, local):
			n.held = append(n.held, i)
		}
	}
	hide := map[int]bool{}
	for parent, n := range structs {
		unclear := parent >= 0 && d.elements[parent].cut
		for _, i := range n.held {
			isValue := strings.EqualFold(d.elements[i].local, "value")
			hide[i] = n.secret || isValue && (n.names == 0 || unclear)
		}
	}
	return hide
}

// argumentIsSecret reports whether an element holds a secret by its own name: the
// credentials and vouchers that RPCs carry, and what vendors add.
func (d *document) argumentIsSecret(i int) bool {
	local := d.elements[i].local
	switch {
	case strings.EqualFold(local, "Username"): // of Download, Upload, ScheduleDownload, ChangeDUState
		return true
	case strings.EqualFold(local, "Value"), strings.EqualFold(local, "Name"):
		return false
	case d.within(i, "VoucherList"), d.within(i, "Kicked"):
		return true
	}
	return cwmp.Path(local).NamesSecret()
}

// tells reports whether a text, not being a name or a fault's, speaks of a secret.
func (d *document) tells(i int, text string) bool {
	switch strings.ToLower(d.elements[i].local) {
	case "name", "parametername", "faultstring":
		return false
	}
	return tellsSecret(withoutURLs(text))
}

// isTransferURL tells the URLs of files and of web pages, whose queries are made
// for one CPE.
func (d *document) isTransferURL(i int) bool {
	return strings.HasSuffix(strings.ToLower(d.elements[i].local), "url")
}

func (d *document) isBoolean(e *element) bool {
	return bytes.Contains(bytes.ToLower(e.start.of(d.src)), []byte("bool"))
}

func isDeclaration(pi []byte) bool {
	return bytes.HasPrefix(pi, []byte("xml ")) && declaration.Match(slices.Concat([]byte("<?"), pi, []byte("?>")))
}

// withoutURLs is the text without what maskURLs looks at.
func withoutURLs(text string) []byte {
	if !strings.Contains(text, "://") {
		return []byte(text)
	}
	var rest []string
	for _, word := range strings.Fields(text) {
		if !strings.Contains(word, "://") {
			rest = append(rest, word)
		}
	}
	return []byte(strings.Join(rest, " "))
}
