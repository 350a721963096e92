package cpesim

import (
	"context"
	"crypto/subtle"
	"encoding/xml"
	"strings"
	"time"

	"mellium.im/xmlstream"
	mellium "mellium.im/xmpp"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/stanza"

	"github.com/uspbridge/uspbridge/cwmp/connreq/xmpp"
)

// xmppSettings is what an XMPP client runs with.
type xmppSettings struct {
	row                        string // Device.XMPP.Connection.1
	server                     string
	username, domain, resource string
	password                   string
}

// The XMPP client's patience. ServerRetryInitialInterval would be a minute, and
// more each time; a simulation waits less.
const (
	xmppLogin = 10 * time.Second
	xmppRetry = time.Second
)

// runXMPP runs the XMPP client until ctx ends.
func (c *CPE) runXMPP(ctx context.Context, settings xmppSettings) {
	defer c.local([2]string{settings.row + ".Status", "Disabled"})
	for ctx.Err() == nil {
		status := c.holdXMPP(ctx, settings)
		if ctx.Err() != nil {
			return
		}
		c.local([2]string{settings.row + ".Status", status}, [2]string{settings.row + ".TLSEstablished", "false"})
		idle(ctx, xmppRetry)
	}
}

// holdXMPP logs in and takes connection requests until the connection breaks. It
// returns the Status of the Connection then.
func (c *CPE) holdXMPP(ctx context.Context, settings xmppSettings) (status string) {
	if !c.Online() {
		return "ServerNotPresent"
	}
	account := xmpp.Account{Server: settings.server, TLS: c.fleet.config.TLS, Username: settings.username, Domain: settings.domain,
		Resource: settings.resource, Password: settings.password}
	login, cancel := context.WithTimeout(ctx, xmppLogin)
	defer cancel()
	s, end, err := account.Login(login)
	if err != nil {
		c.log().Debug("XMPP client", "error", err)
		if strings.Contains(err.Error(), "not-authorized") {
			return "Error_AuthenticationFailure"
		}
		return "ServerNotPresent"
	}
	me := s.LocalAddr().String()
	c.local([2]string{settings.row + ".Status", "Enabled"}, [2]string{settings.row + ".TLSEstablished", "true"},
		[2]string{settings.row + ".JabberID", me}, [2]string{c.managementServer("ConnReqJabberID"), me})
	stop := context.AfterFunc(ctx, func() { c.closed(end()) })
	if err := s.Serve(mellium.HandlerFunc(c.stanza)); err != nil && ctx.Err() == nil {
		c.log().Debug("XMPP client", "error", err)
	}
	if stop() {
		c.closed(end())
	}
	return "ServerNotPresent"
}

func (c *CPE) closed(err error) {
	if err != nil {
		c.log().Debug("XMPP client: end of the connection", "error", err)
	}
}

// stanza answers an IQ with a connection request (TR-069 Annex K); others are
// answered by the library.
func (c *CPE) stanza(t xmlstream.TokenReadEncoder, start *xml.StartElement) error {
	iq, err := stanza.NewIQ(*start)
	var r xmpp.ConnectionRequest
	if err != nil || start.Name.Local != "iq" || iq.Type != stanza.GetIQ || xml.NewTokenDecoder(t).Decode(&r) != nil {
		return nil
	}
	_, err = xmlstream.Copy(t, c.xmppConnectionRequest(iq, r))
	return err
}

func (c *CPE) xmppConnectionRequest(iq stanza.IQ, r xmpp.ConnectionRequest) xml.TokenReader {
	refuse := func(typ stanza.ErrorType, condition stanza.Condition) xml.TokenReader {
		return iq.Error(stanza.Error{Type: typ, Condition: condition})
	}
	c.mu.Lock()
	username, password := c.text("ManagementServer.ConnectionRequestUsername"), c.text("ManagementServer.ConnectionRequestPassword")
	allowed := allows(c.text("ManagementServer.ConnReqAllowedJabberIDs"), iq.From)
	c.mu.Unlock()
	switch {
	case !c.Online():
		return refuse(stanza.Cancel, stanza.ServiceUnavailable)
	case !allowed:
		return refuse(stanza.Cancel, stanza.NotAllowed)
	case r.Username != username || subtle.ConstantTimeCompare([]byte(r.Password), []byte(password)) != 1:
		return refuse(stanza.Auth, stanza.NotAuthorized)
	}
	c.fleet.stats.connectionRequests.Add(1)
	if !c.connectionRequest() {
		return refuse(stanza.Cancel, stanza.ServiceUnavailable)
	}
	return iq.Result(nil)
}

// allows reports whether ConnReqAllowedJabberIDs has a Jabber id, in full or
// without its resource. An empty list allows all (TR-181).
func allows(list string, from jid.JID) bool {
	if list == "" {
		return true
	}
	for one := range strings.SplitSeq(list, ",") {
		if one = strings.TrimSpace(one); one == from.String() || one == from.Bare().String() {
			return true
		}
	}
	return false
}
