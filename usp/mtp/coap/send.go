package coap

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	dtlsnet "github.com/pion/dtls/v3/pkg/net"
	coapdtls "github.com/plgd-dev/go-coap/v3/dtls"
	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/options"
	coapudp "github.com/plgd-dev/go-coap/v3/udp"
	"github.com/plgd-dev/go-coap/v3/udp/client"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

const (
	// maxLinks bounds the sockets open to peers that are written to.
	maxLinks = 256
	// maxWaiting bounds the records that wait for one peer: they go one after
	// another (NSTART of RFC 7252 4.7), each with its retransmissions.
	maxWaiting = 64
	// handshakeTimeout is for DTLS with a peer.
	handshakeTimeout = 15 * time.Second
)

// link is a socket to one peer, kept while it is used.
type link struct {
	opened  chan struct{} // closed when conn or err is set
	conn    *client.Conn
	err     error
	waiting atomic.Int32
}

// Send POSTs a record to the URI of addr and returns when the peer has
// acknowledged it. The error wraps mtp.ErrUnreachable if nobody answers
// (R-COAP.9); an answer of 4.xx or 5.xx is an error of its own (R-COAP.10).
func (t *Transport) Send(ctx context.Context, from, to usp.EndpointID, addr mtp.Address, record []byte) error {
	return t.meter.Sent(len(record), t.send(ctx, from, to, addr, record))
}

func (t *Transport) send(ctx context.Context, from, to usp.EndpointID, addr mtp.Address, record []byte) error {
	if addr.URL == "" {
		return fmt.Errorf("coap: %s has told no URI and none is configured: %w", to, mtp.ErrUnreachable)
	}
	u, err := parseURI(addr.URL)
	if err != nil {
		return fmt.Errorf("coap: %q: %w", addr.URL, err)
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	l, err := t.link(ctx, u)
	if err != nil {
		return fmt.Errorf("coap: %s: %w (%w)", addr.URL, mtp.ErrUnreachable, err)
	}
	if l.waiting.Add(1) > maxWaiting {
		l.waiting.Add(-1)
		return fmt.Errorf("coap: %s: %d records wait already: %w", addr.URL, maxWaiting, mtp.ErrUnreachable)
	}
	defer l.waiting.Add(-1)
	query := message.Option{ID: message.URIQuery, Value: []byte("reply-to=" + t.ownURI(l.conn, from))} // R-COAP.2
	resp, err := l.conn.Post(ctx, u.path, message.AppOctets, bytes.NewReader(record), query)           // R-COAP.4, R-COAP.6
	if err != nil {
		return fmt.Errorf("coap: %s: %w (%w)", addr.URL, mtp.ErrUnreachable, err)
	}
	defer l.conn.ReleaseMessage(resp)
	if code := resp.Code(); code < codes.Created || code >= codes.BadRequest {
		return fmt.Errorf("coap: %s answered %s", addr.URL, code)
	}
	return nil
}

// ownURI is where a peer that is reached over a link is to answer to.
func (t *Transport) ownURI(cc *client.Conn, from usp.EndpointID) string {
	address := t.cfg.Address
	if address == "" {
		host, _, err := net.SplitHostPort(cc.LocalAddr().String())
		_, port, err2 := net.SplitHostPort(t.addr.String())
		if err == nil && err2 == nil {
			address = net.JoinHostPort(host, port)
		}
	}
	return replyURI(t.cfg.Secure, address, t.cfg.Path, from)
}

// link returns the socket to a peer, a new one if there is none.
func (t *Transport) link(ctx context.Context, u uri) (*link, error) {
	key := u.remote()
	t.mu.Lock()
	l := t.remotes[key]
	if l == nil {
		if t.ctx.Err() != nil {
			t.mu.Unlock()
			return nil, t.ctx.Err()
		}
		if len(t.remotes) >= maxLinks {
			t.mu.Unlock()
			return nil, fmt.Errorf("%d peers are being written to already", maxLinks)
		}
		l = &link{opened: make(chan struct{})}
		t.remotes[key] = l
		t.running.Go(func() { t.open(l, u) })
	}
	t.mu.Unlock()
	select {
	case <-l.opened:
		return l, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// open connects a link. It is forgotten when its socket is closed, which an idle
// one is.
func (t *Transport) open(l *link, u uri) {
	ctx, cancel := context.WithTimeout(t.ctx, handshakeTimeout)
	defer cancel()
	forget := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.remotes[u.remote()] == l {
			delete(t.remotes, u.remote())
		}
	}
	l.conn, l.err = t.connect(ctx, u)
	if l.err != nil {
		forget()
	} else {
		l.conn.AddOnClose(forget)
	}
	close(l.opened)
}

// connect opens a socket to a peer, and DTLS over it if the URI asks for it.
func (t *Transport) connect(ctx context.Context, u uri) (*client.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, "udp", u.address())
	if err != nil {
		return nil, err
	}
	all := []coapudp.Option{options.WithContext(t.ctx), options.WithCloseSocket()}
	for _, o := range t.common() {
		all = append(all, o)
	}
	if !u.secure {
		return coapudp.Client(nc.(*net.UDPConn), all...), nil
	}
	secure, err := dtls.Client(dtlsnet.PacketConnFromConn(nc), nc.RemoteAddr(), &dtls.Config{
		Certificates: t.cfg.Certificates, RootCAs: t.cfg.Roots, ServerName: u.host, ExtendedMasterSecret: dtls.RequireExtendedMasterSecret,
	})
	if err == nil {
		err = secure.HandshakeContext(ctx)
	}
	if err != nil {
		if cerr := nc.Close(); cerr != nil {
			t.failed(cerr)
		}
		return nil, fmt.Errorf("DTLS: %w", err)
	}
	return coapdtls.Client(secure, all...), nil
}

// closeLinks closes all sockets to peers and waits until none is being opened.
func (t *Transport) closeLinks() {
	t.mu.Lock()
	links := make([]*link, 0, len(t.remotes))
	for _, l := range t.remotes {
		links = append(links, l)
	}
	t.mu.Unlock()
	for _, l := range links {
		<-l.opened // t.ctx has ended
		if l.err == nil {
			t.close(l.conn)
			<-l.conn.Done()
		}
	}
}
