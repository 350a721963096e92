package cpesim

import (
	"strings"

	"github.com/uspbridge/uspbridge/cwmp/capture"
)

// httpStyle is how a CPE writes its HTTP requests. A nil field is a header that it
// leaves out.
type httpStyle struct {
	contentType, soapAction, userAgent *string
	chunked                            bool
	expect                             bool // Expect: 100-continue
	http10                             bool
	oldCookie                          bool // $Version="0"; in front, as RFC 2109 has it
}

// plainStyle is TR-069's: the SOAPAction header is empty for each message of a CPE
// (3.4.1).
var plainStyle = &httpStyle{contentType: new(`text/xml; charset="utf-8"`), soapAction: new(""), userAgent: new("uspbridge-cpesim")}

// protocol is the end of the request line.
func (s *httpStyle) protocol() string {
	if s.http10 {
		return " HTTP/1.0"
	}
	return " HTTP/1.1"
}

func appendHeader(b []byte, name string, value *string) []byte {
	if value == nil {
		return b
	}
	return append(append(append(b, name...), *value...), "\r\n"...)
}

// styleSeen gathers a captured CPE's style.
type styleSeen struct {
	seen      bool
	last      httpStyle
	cookie    bool // one was returned
	later     int  // messages behind the first of a session
	reopened  int  // those of them on a new connection
	connected int  // number of the last connection
}

// see takes a request in; first is a session's first one.
func (s *styleSeen) see(m *capture.Message, first bool) {
	if cookie, ok := m.Header("Cookie"); ok {
		s.cookie = true
		s.last.oldCookie = s.last.oldCookie || strings.HasPrefix(cookie, "$Version")
	}
	if first {
		s.connected = m.Connection
	} else {
		s.later++
		if m.Connection != s.connected {
			s.reopened++
		}
		s.connected = m.Connection
	}
	if len(m.Bytes()) == 0 {
		return
	}
	header := func(name string) *string {
		if v, ok := m.Header(name); ok {
			return &v
		}
		return nil
	}
	s.seen = true
	s.last.contentType, s.last.soapAction, s.last.userAgent = header("Content-Type"), header("SOAPAction"), header("User-Agent")
	transfer, expect := header("Transfer-Encoding"), header("Expect")
	s.last.chunked = transfer != nil && strings.EqualFold(*transfer, "chunked")
	s.last.expect = expect != nil && strings.EqualFold(*expect, "100-continue")
	s.last.http10 = m.Protocol == "HTTP/1.0"
}

// style is that of the messages with a body; hand-written captures may say nothing
// of it.
func (s *styleSeen) style() *httpStyle {
	if !s.seen || s.last == (httpStyle{}) {
		return plainStyle
	}
	style := s.last
	return &style
}

// noCookie reports whether the CPE had occasion to return a cookie and did not.
func (s *styleSeen) noCookie() bool {
	return s.later > 0 && !s.cookie && s.seen && s.last != (httpStyle{})
}

// closes reports whether every message came on a connection of its own.
func (s *styleSeen) closes() bool { return s.later > 0 && s.reopened == s.later }
