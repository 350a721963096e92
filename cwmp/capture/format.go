package capture

import (
	"encoding/json"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

// Version is the version of the file format. It goes up when a reader of the one
// before would misread a file.
const Version = 1

// Side is who sent a message.
type Side string

// The two sides of a session.
const (
	CPE Side = "cpe"
	ACS Side = "acs"
)

// A capture is lines of JSON objects: a Header, then for each session a Session,
// its Messages and an End, the lines of several sessions mixed; Notes anywhere.
// Several captures one after the other are one. What a line is, is told by the
// keys that only it has: capture, device, from, end; a Note has none of them.

// Header begins a capture.
type Header struct {
	Capture    int       `json:"capture"` // Version
	Program    string    `json:"program,omitempty"`
	Started    time.Time `json:"started,omitzero"`
	Wanted     string    `json:"wanted,omitempty"` // endpoint id, or the pattern of some
	Anonymised bool      `json:"anonymised,omitempty"`
}

// Session begins a session. The Inform in it follows as a Message.
type Session struct {
	Session  int       `json:"session"` // counted from 1 in this capture
	At       time.Time `json:"at"`
	Endpoint string    `json:"endpoint,omitempty"`
	Device   Device    `json:"device"`
	Remote   string    `json:"remote,omitempty"` // IP address
}

// Device is the DeviceIdStruct of the session's Inform.
type Device struct {
	Manufacturer string `json:"manufacturer"`
	OUI          string `json:"oui"`
	ProductClass string `json:"product_class"`
	SerialNumber string `json:"serial_number"`
}

func deviceOf(id cwmp.DeviceID) Device { return Device(id) }

// ID returns the device's identity in the vocabulary of TR-069.
func (d Device) ID() cwmp.DeviceID { return cwmp.DeviceID(d) }

// Message is one HTTP request of the CPE or the answer of the ACS.
type Message struct {
	Session    int      `json:"session"`
	Millis     int64    `json:"ms"` // since the session's first message
	From       Side     `json:"from"`
	RPC        string   `json:"rpc,omitempty"`        // the envelope's
	Connection int      `json:"connection,omitempty"` // of a CPE's message: the session's n-th TCP connection, if not the first
	Method     string   `json:"method,omitempty"`     // of a CPE's message
	Protocol   string   `json:"protocol,omitempty"`   // if not HTTP/1.1
	Status     int      `json:"status,omitempty"`     // of an ACS's message
	Headers    []string `json:"headers,omitempty"`    // "Name: value"
	Body       string   `json:"body,omitempty"`       // as on the wire, but decompressed and masked
	Base64     []byte   `json:"base64,omitempty"`     // in place of Body, if that is not UTF-8
	Note       string   `json:"note,omitempty"`
}

// Bytes returns the message's body.
func (m *Message) Bytes() []byte {
	if m.Base64 != nil {
		return m.Base64
	}
	return []byte(m.Body)
}

// End ends a session.
type End struct {
	Session int    `json:"session"`
	Millis  int64  `json:"ms"`
	End     string `json:"end"` // "ok", or in a word what went wrong
}

// Note says something of the capture itself.
type Note struct {
	Note string `json:"note"`
}

// line is any line, to tell which it is.
type line struct {
	Capture *json.RawMessage `json:"capture"`
	Device  *json.RawMessage `json:"device"`
	From    *json.RawMessage `json:"from"`
	End     *json.RawMessage `json:"end"`
	Note    *json.RawMessage `json:"note"`
}

func (l *line) empty() any {
	switch {
	case l.Capture != nil:
		return new(Header)
	case l.Device != nil:
		return new(Session)
	case l.From != nil:
		return new(Message)
	case l.End != nil:
		return new(End)
	case l.Note != nil:
		return new(Note)
	}
	return nil
}
