package coap

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net"

	"github.com/pion/dtls/v3"
	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/message/pool"
	"github.com/plgd-dev/go-coap/v3/net/responsewriter"
	"github.com/plgd-dev/go-coap/v3/udp/client"

	"github.com/uspbridge/uspbridge/usp/mtp"
)

// wellKnown is where a server tells what it has (RFC 6690).
const wellKnown = "/.well-known/core"

// refusal is a request that is answered with an error.
type refusal struct {
	code codes.Code
	err  error
}

func refuse(code codes.Code, format string, args ...any) *refusal {
	return &refusal{code, fmt.Errorf(format, args...)}
}

// handle answers a request.
func (t *Transport) handle(w *responsewriter.ResponseWriter[*client.Conn], r *pool.Message) {
	if path, err := r.Path(); err == nil && path == wellKnown && r.Code() == codes.GET {
		t.respond(w, codes.Content, message.AppLinkFormat, fmt.Sprintf(`<%s>;rt="bbf.usp.endpoint";if="bbf.usp.a"`, t.cfg.Path)) // R-COAP.1
		return
	}
	if no := t.receive(w.Conn(), r); no != nil {
		t.meter.Refused()
		t.cfg.Log.Info("CoAP request refused", "remote", w.Conn().RemoteAddr().String(), "code", no.code.String(), "error", no.err)
		t.respond(w, no.code, message.TextPlain, no.err.Error())
		return
	}
	t.respond(w, codes.Changed, message.TextPlain, "") // R-COAP.7
}

func (t *Transport) respond(w *responsewriter.ResponseWriter[*client.Conn], code codes.Code, format message.MediaType, text string) {
	var err error
	if text == "" {
		err = w.SetResponse(code, format, nil)
	} else {
		err = w.SetResponse(code, format, bytes.NewReader([]byte(text)))
	}
	if err != nil {
		t.failed(err)
	}
}

// receive takes the record of a request.
func (t *Transport) receive(cc *client.Conn, r *pool.Message) *refusal {
	path, err := r.Path()
	if err != nil {
		path = "/"
	}
	local, err := localEndpoint(t.cfg.Path, path)
	if err != nil {
		return &refusal{codes.NotFound, err}
	}
	if r.Code() != codes.POST { // R-COAP.11
		return refuse(codes.MethodNotAllowed, "records come by POST")
	}
	if format, err := r.ContentFormat(); err != nil || format != message.AppOctets { // R-COAP.6, R-COAP.12
		return refuse(codes.UnsupportedMediaType, "records come as application/octet-stream")
	}
	queries, err := r.Queries()
	if err != nil {
		queries = nil
	}
	reply, u, err := replyTo(queries)
	if err != nil {
		return &refusal{codes.BadRequest, err}
	}
	if !t.cfg.AnyReply && !sameHost(cc.RemoteAddr(), u.host) {
		return refuse(codes.Forbidden, "reply-to %q is not the address that the request comes from", reply)
	}
	record, err := r.ReadBody()
	if err != nil {
		return &refusal{codes.BadRequest, err}
	}
	if len(record) > t.cfg.MaxRecord {
		return refuse(codes.RequestEntityTooLarge, "a record can have %d bytes", t.cfg.MaxRecord)
	}
	t.meter.Received(len(record))
	in := mtp.Inbound{Record: bytes.Clone(record), Reply: mtp.Address{Protocol: mtp.CoAP, URL: reply}, Local: local, Chain: chainOf(cc, t.cfg.Roots)}
	if err := t.handler.Receive(in); err != nil { // R-COAP.13
		return &refusal{codes.BadRequest, err}
	}
	return nil
}

func sameHost(remote net.Addr, host string) bool {
	udp, ok := remote.(*net.UDPAddr)
	return ok && udp.IP.Equal(net.ParseIP(host))
}

// chainOf returns the certificates that the peer of a connection with DTLS has
// shown, nil if there are none or none were verified.
func chainOf(cc *client.Conn, roots *x509.CertPool) []*x509.Certificate {
	secure, ok := cc.NetConn().(*dtls.Conn)
	if !ok || roots == nil {
		return nil
	}
	state, ok := secure.ConnectionState()
	if !ok {
		return nil
	}
	var chain []*x509.Certificate
	for _, der := range state.PeerCertificates {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil
		}
		chain = append(chain, cert)
	}
	return chain
}
