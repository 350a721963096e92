package lightweight

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
)

// NS is the namespace of Notification.
const NS = "urn:broadband-forum-org:cwmp:lwnotif-1-0"

// The bounds of a notification. It has to fit a datagram, which is best one
// packet; names and texts are those of the schema.
const (
	MaxDatagram = 64 << 10
	maxParams   = 512
	maxName     = 256
	maxNonce    = 256
)

// Notification is one lightweight notification.
type Notification struct {
	Time     int64  // TS: seconds since 1970, by the CPE's clock
	Username string // UN: ManagementServer.Username
	CNonce   string // CN: random
	Device   cwmp.DeviceID
	Values   []cwmp.ParameterValue // types are as xsi:type says, else unknown
}

// Received is a Notification as it came in, with the signature it claims.
type Received struct {
	Notification
	body, signature []byte
}

var errMalformed = errors.New("not a lightweight notification")

// document is Notification in XML. Namespaces are not looked at: the schema has
// its elements unqualified, and CPE write them qualified.
type document struct {
	XMLName      xml.Name `xml:"Notification"`
	TS           string   `xml:"TS"`
	UN           string   `xml:"UN"`
	CN           string   `xml:"CN"`
	OUI          string   `xml:"OUI"`
	ProductClass string   `xml:"ProductClass"`
	SerialNumber string   `xml:"SerialNumber"`
	Params       []param  `xml:"Param"`
}

type param struct {
	Name  string `xml:"Name"`
	Value struct {
		Type string `xml:"http://www.w3.org/2001/XMLSchema-instance type,attr"`
		Text string `xml:",chardata"`
	} `xml:"Value"`
}

// Parse reads a datagram. What it returns is not authenticated yet. Of the header
// only Signature is read: CPE misspell the rest.
func Parse(datagram []byte) (Received, error) {
	if len(datagram) > MaxDatagram {
		return Received{}, fmt.Errorf("%w: %d bytes", errMalformed, len(datagram))
	}
	header, body, ok := split(datagram)
	if !ok {
		return Received{}, fmt.Errorf("%w: it has no header and body", errMalformed)
	}
	r := Received{body: body}
	for line := range bytes.SplitSeq(header, []byte("\n")) {
		name, value, _ := strings.Cut(string(line), ":")
		if strings.EqualFold(strings.TrimSpace(name), "Signature") {
			sig, err := hex.DecodeString(strings.TrimSpace(value))
			if err != nil {
				return Received{}, fmt.Errorf("%w: its signature is not hexadecimal", errMalformed)
			}
			r.signature = sig
		}
	}
	var d document
	if err := xml.Unmarshal(body, &d); err != nil {
		return Received{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return r, d.into(&r.Notification)
}

// split finds the empty line between header and body. It may be written with
// newlines alone, and have blanks in it.
func split(b []byte) (header, body []byte, ok bool) {
	for at := 0; at < len(b); {
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			return nil, nil, false
		}
		if len(bytes.TrimSpace(b[at:at+n])) == 0 && at > 0 {
			return b[:at], b[at+n+1:], true
		}
		at += n + 1
	}
	return nil, nil, false
}

func (d *document) into(n *Notification) error {
	ts, err := strconv.ParseInt(strings.TrimSpace(d.TS), 10, 64)
	switch {
	case err != nil:
		return fmt.Errorf("%w: TS %.20q is not a number", errMalformed, d.TS)
	case len(d.Params) == 0:
		return fmt.Errorf("%w: it has no Param", errMalformed)
	case len(d.Params) > maxParams:
		return fmt.Errorf("%w: %d Params, at most %d are taken", errMalformed, len(d.Params), maxParams)
	case len(d.UN) > maxName || len(d.CN) > maxNonce:
		return fmt.Errorf("%w: UN or CN is too long", errMalformed)
	}
	*n = Notification{Time: ts, Username: strings.TrimSpace(d.UN), CNonce: strings.TrimSpace(d.CN), Device: cwmp.DeviceID{
		OUI: d.OUI, ProductClass: d.ProductClass, SerialNumber: d.SerialNumber}}
	for _, p := range d.Params {
		name := strings.TrimSpace(p.Name)
		if name == "" || len(name) > maxName {
			return fmt.Errorf("%w: Name %.20q", errMalformed, name)
		}
		n.Values = append(n.Values, cwmp.ParameterValue{Name: cwmp.Path(name), Value: cwmp.Value{Type: cwmp.ParseType(p.Value.Type), Text: p.Value.Text}})
	}
	return nil
}

// Signed reports whether the notification was signed with the password: HMAC-SHA1
// over the body as it was sent.
func (r Received) Signed(password string) bool {
	return hmac.Equal(r.signature, signature(r.body, password))
}

func signature(body []byte, password string) []byte {
	mac := hmac.New(sha1.New, []byte(password))
	mac.Write(body)
	return mac.Sum(nil)
}

// Append appends the datagram, signed with the password.
func (n Notification) Append(b []byte, host, password string) []byte {
	body := n.document()
	b = fmt.Appendf(b, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: %d\r\nSignature: %s\r\n\r\n",
		host, len(body), strings.ToUpper(hex.EncodeToString(signature(body, password))))
	return append(b, body...)
}

func (n Notification) document() []byte {
	var b bytes.Buffer
	element := func(name, text string) {
		b.WriteString("<" + name + ">")
		xml.EscapeText(&b, []byte(text)) // to a buffer, which takes everything
		b.WriteString("</" + name + ">")
	}
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?><lwn:Notification xmlns:lwn="` + NS +
		`" xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">`)
	element("lwn:TS", strconv.FormatInt(n.Time, 10))
	element("lwn:UN", n.Username)
	element("lwn:CN", n.CNonce)
	element("lwn:OUI", n.Device.OUI)
	element("lwn:ProductClass", n.Device.ProductClass)
	element("lwn:SerialNumber", n.Device.SerialNumber)
	for _, v := range n.Values {
		b.WriteString("<lwn:Param>")
		element("lwn:Name", string(v.Name))
		b.WriteString(`<lwn:Value xsi:type="xs:` + v.Value.Type.String() + `">`)
		xml.EscapeText(&b, []byte(v.Value.Text))
		b.WriteString("</lwn:Value></lwn:Param>")
	}
	b.WriteString("</lwn:Notification>")
	return b.Bytes()
}
