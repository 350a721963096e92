package soap

import (
	"fmt"
	"unicode/utf8"

	"github.com/uspbridge/uspbridge/cwmp"
)

// Append writes the envelope behind dst, in the namespace of e.Version and with
// the XML declaration that some CPE insist on. Header elements that a version
// does not have are left out. The body must be nil or a pointer to a message of
// package cwmp; any other type is a defect of the caller, and panics.
//
// A message that e.Version does not have (see cwmp.Since) is written in its
// namespace all the same: that is right for an answer, since the request came in
// it, and no schema's for a request. Who asks a CPE for something looks first, as
// acs.Session.Call does.
//
// Characters that XML 1.0 cannot have, and bytes that are no UTF-8, are written
// as U+FFFD.
func Append(dst []byte, e *Envelope) []byte {
	w := &writer{b: dst}
	w.raw(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<soapenv:Envelope xmlns:soapenv="` + envelopeNamespace +
		`" xmlns:soapenc="` + encodingNamespace +
		`" xmlns:xsd="` + schemaNamespace +
		`" xmlns:xsi="` + instanceNamespace + `" xmlns:cwmp="`)
	w.raw(e.Version.Namespace())
	w.raw(`">`)
	w.header(e)
	w.raw("<soapenv:Body>")
	switch m := e.Body.(type) {
	case nil:
	case *cwmp.Fault:
		w.fault(m)
	default:
		w.rpc(m)
	}
	w.raw("</soapenv:Body></soapenv:Envelope>\n")
	return w.b
}

type writer struct{ b []byte }

// header writes the header elements there are. TR-069 table 4 says which ones
// must be understood, and since which version they exist.
func (w *writer) header(e *Envelope) {
	before := len(w.b)
	w.raw("<soapenv:Header>")
	empty := len(w.b)
	if e.HasID || e.ID != "" {
		w.headerElement("ID", "1", e.ID)
	}
	if e.HoldRequests {
		w.headerElement("HoldRequests", "1", "1")
	}
	if e.NoMoreRequests && e.Version == cwmp.Version1_0 {
		w.headerElement("NoMoreRequests", "0", "1")
	}
	// CWMP 1.3 and 1.4 share the namespace of 1.2; older ones have none of these.
	if e.Version >= cwmp.Version1_2 {
		if e.SessionTimeout > 0 {
			w.headerElement("SessionTimeout", "0", string(integerText(nil, int64(e.SessionTimeout))))
		}
		if e.SupportedVersions != "" {
			w.headerElement("SupportedCWMPVersions", "0", e.SupportedVersions)
		}
		if e.UseVersion != "" {
			w.headerElement("UseCWMPVersion", "1", e.UseVersion)
		}
	}
	if len(w.b) == empty {
		w.b = w.b[:before]
		return
	}
	w.raw("</soapenv:Header>")
}

func (w *writer) headerElement(name, mustUnderstand, text string) {
	w.raw("<cwmp:")
	w.raw(name)
	w.raw(` soapenv:mustUnderstand="`)
	w.raw(mustUnderstand)
	w.raw(`">`)
	w.b = appendText(w.b, text)
	w.raw("</cwmp:")
	w.raw(name)
	w.raw(">")
}

func (w *writer) rpc(m cwmp.Message) {
	name := m.RPC()
	c, ok := codecs[name]
	if !ok {
		panic(fmt.Sprintf("soap.Append: %T is no message of package cwmp", m))
	}
	w.raw("<cwmp:")
	w.raw(name)
	w.raw(">")
	c.write(w, m)
	w.raw("</cwmp:")
	w.raw(name)
	w.raw(">")
}

// fault writes a SOAP fault with CWMP's in its detail (TR-069 3.5).
func (w *writer) fault(f *cwmp.Fault) {
	w.raw("<soapenv:Fault><faultcode>")
	w.raw(faultSource(f.Code))
	w.raw("</faultcode><faultstring>" + soapFaultString + "</faultstring><detail><cwmp:Fault>")
	faultMembers.write(w, f)
	for i := range f.Parameters {
		w.start("SetParameterValuesFault")
		parameterFaultMembers.write(w, &f.Parameters[i])
		w.end("SetParameterValuesFault")
	}
	w.raw("</cwmp:Fault></detail></soapenv:Fault>")
}

// faultStruct writes a fault as a member; nil is success, code 0.
func (w *writer) faultStruct(name string, f *cwmp.Fault) {
	if f == nil {
		f = &cwmp.Fault{}
	}
	w.start(name)
	faultMembers.write(w, f)
	w.end(name)
}

func (w *writer) raw(s string) { w.b = append(w.b, s...) }

func (w *writer) start(name string) {
	w.b = append(w.b, '<')
	w.b = append(w.b, name...)
	w.b = append(w.b, '>')
}

// startArray starts a SOAP array; itemType is prefixed.
func (w *writer) startArray(name, itemType string, n int) {
	w.b = append(w.b, '<')
	w.b = append(w.b, name...)
	w.raw(` soapenc:arrayType="`)
	w.raw(itemType)
	w.b = append(w.b, '[')
	w.b = integerText(w.b, int64(n))
	w.raw(`]">`)
}

// end writes the end tag. Empty elements get one too: some CPE do not read
// <name/>.
func (w *writer) end(name string) {
	w.b = append(w.b, '<', '/')
	w.b = append(w.b, name...)
	w.b = append(w.b, '>')
}

func (w *writer) leaf(name, text string) {
	w.start(name)
	w.b = appendText(w.b, text)
	w.end(name)
}

func (w *writer) integer(name string, n int64) {
	w.start(name)
	w.b = integerText(w.b, n)
	w.end(name)
}

func (w *writer) value(name string, v cwmp.Value) {
	w.b = append(w.b, '<')
	w.b = append(w.b, name...)
	w.raw(` xsi:type="`)
	if v.Type == cwmp.TypeBase64 {
		w.raw("soapenc:") // XML Schema has no "base64", SOAP encoding has
	} else {
		w.raw("xsd:")
	}
	w.raw(v.Type.XSD())
	w.raw(`">`)
	w.b = appendText(w.b, v.Text)
	w.end(name)
}

// plainByte tells the bytes that stand for themselves in text.
var plainByte = func() (t [utf8.RuneSelf]bool) {
	for c := byte(0x20); c < 0x7f; c++ {
		t[c] = c != '&' && c != '<' && c != '>'
	}
	return t
}()

// appendText writes character data. A carriage return is written as a
// reference, since readers make raw ones line feeds; so are line feeds and tabs
// of a text that begins or ends with white space, since readers would take
// them for the layout.
func appendText(dst []byte, s string) []byte {
	edges := s != "" && (isBlank(s[0]) || isBlank(s[len(s)-1]))
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf && plainByte[c] {
			i++
			continue
		}
		n, escape := 1, ""
		if c < utf8.RuneSelf {
			escape = escapeOf(c, edges)
		} else {
			var r rune
			if r, n = utf8.DecodeRuneInString(s[i:]); r == utf8.RuneError && n == 1 || r == 0xfffe || r == 0xffff {
				escape = "\ufffd"
			}
		}
		if escape != "" {
			dst = append(dst, s[done:i]...)
			dst = append(dst, escape...)
			done = i + n
		}
		i += n
	}
	return append(dst, s[done:]...)
}

// escapeOf returns what is written for an ASCII character, "" for itself.
func escapeOf(c byte, edges bool) string {
	switch c {
	case '&':
		return "&amp;"
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case '\r':
		return "&#13;"
	case '\n', '\t':
		if !edges {
			return ""
		}
		if c == '\n' {
			return "&#10;"
		}
		return "&#9;"
	case 0x7f:
		return ""
	}
	return "\ufffd"
}
