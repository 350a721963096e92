package xmpp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"mellium.im/sasl"
	"mellium.im/xmpp"
	"mellium.im/xmpp/jid"
)

// Account is a client's account on an XMPP server, and the way there.
type Account struct {
	Server    string // host:port
	DirectTLS bool   // TLS from the first byte (usually port 5223), else STARTTLS, which is then required (5222)
	TLS       *tls.Config

	Username, Domain string // local part and domain of the Jabber id
	Resource         string // "": the server chooses
	Password         string
}

// JID returns the account's Jabber id, with its resource if it has one.
func (a Account) JID() (jid.JID, error) {
	j, err := jid.New(a.Username, a.Domain, a.Resource)
	if err != nil {
		return j, fmt.Errorf("jabber id %s@%s/%s: %w", a.Username, a.Domain, a.Resource, err)
	}
	return j, nil
}

// mechanisms, the strongest first. Those that bind the channel are left out: with
// TLS 1.3 servers differ in which binding they mean.
var mechanisms = []sasl.Mechanism{sasl.ScramSha256, sasl.ScramSha1, sasl.Plain}

// keepAlive finds a server that has gone without a word.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}

// Login connects, authenticates and binds a resource. Nothing is sent without
// TLS but what asks for it. close ends the session and its connection.
func (a Account) Login(ctx context.Context) (s *xmpp.Session, close func() error, err error) {
	me, err := a.JID()
	if err != nil {
		return nil, nil, err
	}
	dialer := net.Dialer{KeepAliveConfig: keepAlive}
	conn, err := dialer.DialContext(ctx, "tcp", a.Server)
	if err != nil {
		return nil, nil, err
	}
	config := a.TLS.Clone()
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if config.ServerName == "" {
		config.ServerName = a.Domain // RFC 6120 13.7.2.1: the certificate is the domain's
	}
	features := []xmpp.StreamFeature{xmpp.SASL("", a.Password, mechanisms...), bindResource(a.Resource)}
	var stream net.Conn = conn
	if a.DirectTLS {
		stream = tls.Client(conn, config)
	} else {
		features = append(features, xmpp.StartTLS(config))
	}
	s, err = xmpp.NewClientSession(ctx, me, stream, features...)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, nil, errors.Join(fmt.Errorf("log in to %s as %s: %w", a.Server, me.Bare(), err), conn.Close())
	}
	return s, func() error { return end(s, conn) }, nil
}

// goodbye bounds the end of a stream towards a server that does not read.
const goodbye = time.Second

func end(s *xmpp.Session, conn net.Conn) error {
	err := conn.SetWriteDeadline(time.Now().Add(goodbye))
	return errors.Join(err, s.Close(), conn.Close())
}
