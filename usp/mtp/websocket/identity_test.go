package websocket

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

// judge believes a certificate that names the peer, and has controller prove
// itself to agentA.
type judge struct{}

var errNotMe = errors.New("another's certificate")

func (judge) Proves(_ context.Context, local, peer usp.EndpointID, chain []*x509.Certificate) (bool, error) {
	if len(chain) == 0 {
		if local == agentA && peer == controller {
			return false, errNotMe
		}
		return false, nil
	}
	if !slices.Contains(usp.EndpointsOf(chain[0]), peer) {
		return false, errNotMe
	}
	return true, nil
}

func (judge) Claimable(_ context.Context, local, peer usp.EndpointID) bool {
	return local != agentA || peer != controller
}

// secured is a server that asks for certificates, and those of its clients.
type secured struct {
	*Server
	ca *pki.CA
	h  *mtptest.Recorder
}

func serveSecured(t *testing.T, change func(*Config)) secured {
	t.Helper()
	ca := pki.NewCA(t, "root")
	cfg := Config{Identity: judge{}, TLS: &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(x509.Certificate{}).TLS()}, ClientAuth: tls.RequestClientCert,
	}}
	change(&cfg)
	h := mtptest.NewRecorder()
	return secured{serve(t, cfg, h), ca, h}
}

// dial connects with the certificate of some endpoints, with none if there are none.
func (s secured) dial(t *testing.T, path string, as ...usp.EndpointID) (*websocket.Conn, int) {
	t.Helper()
	d := websocket.Dialer{
		Subprotocols: []string{Subprotocol}, HandshakeTimeout: mtptest.Patience, TLSClientConfig: &tls.Config{RootCAs: s.ca.Pool()},
	}
	if len(as) > 0 {
		var template x509.Certificate
		for _, id := range as {
			template.URIs = append(template.URIs, &url.URL{Scheme: "urn", Opaque: strings.TrimPrefix(id.URN(), "urn:")})
		}
		d.TLSClientConfig.Certificates = []tls.Certificate{s.ca.Issue(template).TLS()}
	}
	// A proxy's header: no connection of this test is taken for the command line's.
	ws, resp, err := d.Dial("wss://"+s.Addr().String()+path, http.Header{"Via": {"test"}})
	if resp == nil {
		t.Fatal(err)
	}
	if err == nil {
		t.Cleanup(func() { ws.Close() })
	}
	return ws, resp.StatusCode
}

// TestIdentity: who a connection is whose, and whether that is proven.
func TestIdentity(t *testing.T) {
	const other = usp.EndpointID("proto::other")
	forA := "/usp/" + string(agentA)
	tests := []struct {
		name    string
		path    string
		as      []usp.EndpointID
		require bool
		status  int
		peer    usp.EndpointID // of the connection
		proven  bool
	}{
		{name: "its certificate's", path: "/usp?eid=proto::controller-1", as: []usp.EndpointID{controller}, peer: controller, proven: true},
		{name: "without saying whose", path: "/usp", as: []usp.EndpointID{controller}, peer: controller, proven: true},
		{name: "another's certificate", path: "/usp?eid=proto::controller-1", as: []usp.EndpointID{other}, status: 403},
		{name: "one of two names", path: "/usp?eid=proto::other", as: []usp.EndpointID{controller, other}, peer: other, proven: true},
		{name: "no certificate", path: "/usp?eid=proto::other", peer: other},
		{name: "no certificate, where there has to be one", path: "/usp?eid=proto::other", require: true, status: 403},
		{name: "no certificate and no name, where there has to be one", path: "/usp", require: true, status: 403},
		{name: "a certificate, where there has to be one", path: forA, as: []usp.EndpointID{controller}, require: true, peer: controller, proven: true},
		{name: "no certificate, to an agent that knows it by one", path: forA + "?eid=proto::controller-1", status: 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serveSecured(t, func(c *Config) { c.RequireProof = tt.require })
			ws, status := s.dial(t, tt.path, tt.as...)
			if tt.status != 0 {
				if status != tt.status {
					t.Errorf("status %d, want %d", status, tt.status)
				}
				return
			}
			if ws == nil {
				t.Fatalf("refused with status %d", status)
			}
			send(t, ws, sampleRecord(t, tt.peer, agentA))
			in := mtptest.Wait(t, s.h.In, "record")
			if conn, ok := in.Reply.Conn.(mtp.Proven); !ok || conn.Proven() != tt.proven {
				t.Errorf("the connection says otherwise than its record: %v", in.Proven)
			}
			if in.Peer != tt.peer || in.Proven != tt.proven || len(in.Chain) != min(1, len(tt.as)) {
				t.Errorf("from %q, proven %v, %d certificates; want %q, %v", in.Peer, in.Proven, len(in.Chain), tt.peer, tt.proven)
			}
		})
	}
}

// TestIdentityByRecord: a client whose certificate has several names is bound to
// the one that its first record has, and to no other.
func TestIdentityByRecord(t *testing.T) {
	const other = usp.EndpointID("proto::other")
	s := serveSecured(t, func(*Config) {})
	ws, _ := s.dial(t, "/usp", controller, other)
	send(t, ws, sampleRecord(t, other, agentA))
	mtptest.Wait(t, s.h.Opened, "Connected")
	send(t, ws, sampleRecord(t, other, agentA))
	mtptest.Wait(t, s.h.In, "first record")
	if in := mtptest.Wait(t, s.h.In, "second record"); in.Peer != other || !in.Proven {
		t.Errorf("from %q, proven %v", in.Peer, in.Proven)
	}
	ws, _ = s.dial(t, "/usp", controller, other)
	send(t, ws, sampleRecord(t, "proto::third", agentA))
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseUnsupportedData) {
		t.Errorf("a record of a third ends with %v", err)
	}
}

// TestClaimIsNotServed: what is for a controller that an agent knows by its
// certificate goes to no other that claims to be it, and does not end its session.
func TestClaimIsNotServed(t *testing.T) {
	s := serveSecured(t, func(*Config) {})
	claimed, _ := s.dial(t, "/usp?eid=proto::controller-1")
	found(t, s.Server, "", 1)
	if err := s.Send(t.Context(), agentA, controller, mtp.Address{}, []byte("x")); !errors.Is(err, mtp.ErrUnreachable) {
		t.Errorf("sent to one that claims to be the controller: %v", err)
	}
	proven, _ := s.dial(t, "/usp", controller)
	found(t, s.Server, "", 2)
	late, _ := s.dial(t, "/usp?eid=proto::controller-1")
	found(t, s.Server, "", 3)
	if err := s.Send(t.Context(), agentA, controller, mtp.Address{}, []byte("y")); err != nil {
		t.Fatal(err)
	}
	if got := string(receive(t, proven)); got != "y" {
		t.Errorf("got %q", got)
	}
	if err := s.Send(t.Context(), agentB, controller, mtp.Address{}, []byte("z")); err != nil {
		t.Fatal(err)
	}
	if got := string(receive(t, late)); got != "z" { // agentB takes the newest at its word
		t.Errorf("got %q", got)
	}
	claimed.Close()
}
