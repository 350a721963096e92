package capture

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"time"
	"unicode/utf8"
)

// lines makes the lines of one capture: it masks, and anonymises if wanted.
type lines struct {
	head      *Header // until it is written
	masker    masker
	anonymous *anonymiser // nil: not wanted
	sessions  map[int]*sessionLines
}

// sessionLines is what the lines of one session have in common.
type sessionLines struct {
	first       time.Time
	connections []string // remote addresses, in order of appearance
}

func newLines(o Options, now time.Time) *lines {
	l := &lines{
		head:     &Header{Capture: Version, Program: o.Program, Started: now.UTC().Truncate(time.Second), Wanted: o.Wanted, Anonymised: o.Anonymise},
		sessions: map[int]*sessionLines{},
	}
	if o.Anonymise {
		l.anonymous = newAnonymiser()
		l.head.Wanted = "" // it names the device
	}
	return l
}

// header returns the first line, once.
func (l *lines) header() []byte {
	if l.head == nil {
		return nil
	}
	line, err := encode(l.head)
	if err != nil {
		return nil // a struct of texts always encodes
	}
	l.head = nil
	return line
}

func (l *lines) of(h happening) ([]byte, error) {
	switch {
	case h.begin != nil:
		l.sessions[h.session] = &sessionLines{}
		return encode(l.begin(*h.begin))
	case h.exchange != nil:
		return encode(l.message(h.session, h.exchange))
	case h.end != "":
		s := l.session(h.session)
		delete(l.sessions, h.session)
		return encode(End{Session: h.session, Millis: s.millis(h.at), End: h.end})
	case h.note != "":
		return encode(Note{h.note})
	}
	return nil, errNoLine
}

func (l *lines) begin(s Session) Session {
	if l.anonymous == nil {
		return s
	}
	endpoint := s.Endpoint
	s.Device, s.Remote = l.anonymous.device(s.Device), ""
	s.Endpoint = l.anonymous.text(endpoint)
	if s.Endpoint == endpoint {
		s.Endpoint = "" // the number is in it in another form
	}
	return s
}

func (l *lines) session(number int) *sessionLines {
	s := l.sessions[number]
	if s == nil { // its beginning is never left out
		s = &sessionLines{}
		l.sessions[number] = s
	}
	return s
}

func (s *sessionLines) millis(at time.Time) int64 {
	if s.first.IsZero() {
		s.first = at
	}
	return at.Sub(s.first).Milliseconds()
}

// connection numbers the TCP connections of a session; 0 is the first.
func (s *sessionLines) connection(remote string) int {
	for i, c := range s.connections {
		if c == remote {
			return min(i, 1) * (i + 1)
		}
	}
	s.connections = append(s.connections, remote)
	return min(len(s.connections)-1, 1) * len(s.connections)
}

func (l *lines) message(number int, e *Exchange) Message {
	s := l.session(number)
	m := Message{Session: number, Millis: s.millis(e.Time), From: e.From, Method: e.Method, Status: e.Status,
		Headers: headerLines(e.Header, e.Transfer), Note: e.Note}
	if e.From == CPE {
		m.Connection = s.connection(e.Remote)
		if e.Protocol != "HTTP/1.1" {
			m.Protocol = e.Protocol
		}
	}
	body, rpc, note := l.masker.mask(e.Body, e.From)
	m.RPC = rpc
	if note != "" {
		m.Note = note
	}
	if l.anonymous != nil {
		body = l.anonymous.body(body)
		for i := range m.Headers {
			m.Headers[i] = l.anonymous.text(m.Headers[i])
		}
	}
	if utf8.Valid(body) {
		m.Body = string(body)
	} else {
		m.Base64 = body
	}
	return m
}

// encode writes one line.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoLine, err)
	}
	return b.Bytes(), nil
}

// hostOf is the IP address of an address with a port.
func hostOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	return host
}
