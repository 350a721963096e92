package xmpp

import (
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mellium.im/xmlstream"

	"github.com/uspbridge/uspbridge/cwmp/connreq"
)

// NS is the namespace of the connection request (cwmp-xmppConnReq-1-0.xsd).
const NS = "urn:broadband-forum-org:cwmp:xmppConnReq-1-0"

// ConnectionRequest is the payload of the IQ.
type ConnectionRequest struct {
	XMLName  xml.Name `xml:"urn:broadband-forum-org:cwmp:xmppConnReq-1-0 connectionRequest"`
	Username string   `xml:"username"` // ManagementServer.ConnectionRequestUsername
	Password string   `xml:"password"` // ManagementServer.ConnectionRequestPassword
}

// TokenReader returns the payload as it is sent. Go's marshaller would write the
// namespace at each element, which is right and more than simple CPE can read.
func (r ConnectionRequest) TokenReader() xml.TokenReader {
	text := func(name, text string) xml.TokenReader {
		return xmlstream.Wrap(xmlstream.Token(xml.CharData(text)), xml.StartElement{Name: xml.Name{Local: name}})
	}
	return xmlstream.Wrap(xmlstream.MultiReader(text("username", r.Username), text("password", r.Password)),
		xml.StartElement{Name: xml.Name{Space: NS, Local: "connectionRequest"}})
}

// answer is an IQ of type result or error.
type answer struct {
	Type  string `xml:"type,attr"`
	Error *refusal
}

// refusal is the error of an IQ (RFC 6120 8.3). code is from the time before it;
// CPE still give it, as TR-069 Annex K shows it.
type refusal struct {
	XMLName    xml.Name    `xml:"error"`
	Type       string      `xml:"type,attr"`
	Code       string      `xml:"code,attr"`
	Conditions []condition `xml:",any"`
}

type condition struct {
	XMLName xml.Name
	Text    string `xml:",chardata"`
}

// maxText bounds what is repeated of a text that the other side has chosen.
const maxText = 120

// unreadableError is that of an answer that is no XML. The decoder's text repeats names
// of any length.
type unreadableError struct{ err error }

func unreadable(err error) error { return unreadableError{err} }

func (e unreadableError) Error() string {
	text := e.err.Error()
	return "the answer cannot be read: " + strings.ToValidUTF8(text[:min(len(text), 2*maxText)], "")
}

func (e unreadableError) Unwrap() error { return e.err }

// judge returns what an answer means; nil for a result.
func (a answer) judge(to string) error {
	switch {
	case a.Type == "result":
		return nil
	case a.Type != "error" || a.Error == nil:
		return &connreq.Error{Kind: connreq.ErrRefused, Host: to, Err: errors.New("the answer is neither a result nor an error")}
	}
	e := a.Error
	kind, cause := connreq.ErrRefused, ""
	is := func(names ...string) bool {
		return slices.ContainsFunc(e.Conditions, func(c condition) bool { return slices.Contains(names, c.XMLName.Local) })
	}
	switch {
	case is("not-authorized") || e.Code == "401":
		kind, cause = connreq.ErrCredentials, "user name or password is wrong"
	case is("not-allowed", "forbidden", "registration-required", "subscription-required"):
		kind, cause = connreq.ErrCredentials, "it does not allow our Jabber id: see its ConnReqAllowedJabberIDs"
	case is("remote-server-not-found", "remote-server-timeout"):
		kind, cause = connreq.ErrUnreachable, "the XMPP server cannot reach the server of its domain"
	case is("resource-constraint") || e.Type == "wait":
		kind = connreq.ErrBusy
	case is("service-unavailable", "recipient-unavailable", "item-not-found", "gone"):
		// The server's word for a client that is not there (RFC 6120 10.5.4) is
		// also the CPE's for not now.
		kind, cause = connreq.ErrNotConnected, "or it cannot open a session now"
	}
	return &connreq.Error{Kind: kind, Host: to, Err: errors.New(strings.TrimSpace(cause + " (" + e.String() + ")"))}
}

func (e *refusal) String() string {
	var parts []string
	for _, c := range e.Conditions {
		part := c.XMLName.Local
		if c.XMLName.Local == "text" {
			part = fmt.Sprintf("%q", c.Text[:min(len(c.Text), maxText)])
		}
		parts = append(parts, part[:min(len(part), maxText)])
	}
	text := strings.Join(parts, ", ")
	return text[:min(len(text), 2*maxText)]
}
