package xmpp

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"

	"mellium.im/xmlstream"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"
)

const nsBind = "urn:ietf:params:xml:ns:xmpp-bind"

// bindID is the id of the only stanza that is under way while a resource is bound.
const bindID = "bind"

// bindResource is the library's feature of that name (RFC 6120 7), but for the
// request: the library (v0.22.0) asks for the resource "" where one is wanted, and
// the server makes one up. "" leaves the choice to the server.
func bindResource(resource string) xmpp.StreamFeature {
	f := xmpp.BindResource()
	f.Negotiate = func(_ context.Context, s *xmpp.Session, _ any) (xmpp.SessionState, io.ReadWriter, error) {
		me, err := bind(s, resource)
		if err != nil {
			return 0, nil, fmt.Errorf("bind resource %q: %w", resource, err)
		}
		s.UpdateAddr(me)
		return xmpp.Ready, nil, nil
	}
	return f
}

func bind(s *xmpp.Session, resource string) (jid.JID, error) {
	if err := sendBind(s, resource); err != nil {
		return jid.JID{}, err
	}
	r := s.TokenReader()
	defer r.Close()
	var resp struct {
		XMLName xml.Name
		ID      string   `xml:"id,attr"`
		Type    string   `xml:"type,attr"`
		JID     jid.JID  `xml:"urn:ietf:params:xml:ns:xmpp-bind bind>jid"`
		Error   *refusal `xml:"error"`
	}
	if err := xml.NewTokenDecoder(r).Decode(&resp); err != nil {
		return jid.JID{}, unreadable(err)
	}
	switch {
	case resp.XMLName.Local != "iq" || resp.ID != bindID:
		return jid.JID{}, fmt.Errorf("the server answered with %.40s", resp.XMLName.Local)
	case resp.Error != nil:
		return jid.JID{}, errors.New(resp.Error.String())
	case resp.Type != "result":
		return jid.JID{}, fmt.Errorf("the server answered with an iq of type %.40s", resp.Type)
	}
	return resp.JID, nil
}

func sendBind(s *xmpp.Session, resource string) error {
	w := s.TokenWriter()
	defer w.Close()
	var wanted xml.TokenReader
	if resource != "" {
		wanted = xmlstream.Wrap(xmlstream.Token(xml.CharData(resource)), xml.StartElement{Name: xml.Name{Local: "resource"}})
	}
	iq := stanza.IQ{ID: bindID, Type: stanza.SetIQ}
	request := iq.Wrap(xmlstream.Wrap(wanted, xml.StartElement{Name: xml.Name{Space: nsBind, Local: "bind"}}))
	if _, err := xmlstream.Copy(w, request); err != nil {
		return err
	}
	return w.Flush()
}
