package test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// secureBridge is a bridge whose WebSocket server speaks TLS, with files of a
// directory.
type secureBridge struct {
	*testenv.Env
	t      *testing.T
	dir    string
	server *pki.CA
	agent  usp.EndpointID
}

func startSecure(t *testing.T, ca *pki.CA, keys map[string]any) *secureBridge {
	t.Helper()
	b := &secureBridge{t: t, dir: t.TempDir(), server: pki.NewCA(t, "server CA")}
	b.server.Issue(x509.Certificate{}).Write(b.file("ws.pem"), b.file("ws.key"))
	pki.WriteFile(t, b.file("ca.pem"), ca.PEM())
	pki.WriteFile(t, b.file("crl.pem"), ca.CRL(time.Now().Add(time.Hour)))
	all := map[string]any{
		"usp.mtp.websocket.tls.cert": b.file("ws.pem"), "usp.mtp.websocket.tls.key": b.file("ws.key"),
		"usp.trust.ca": b.file("ca.pem"), "usp.trust.crl": b.file("crl.pem"),
	}
	for k, v := range keys {
		all[k] = v
	}
	b.Env = testenv.Start(t, program, testenv.Config{Keys: all})
	b.agent = b.CPE(cpesim.TR098()).Agent
	return b
}

func (b *secureBridge) file(name string) string { return filepath.Join(b.dir, name) }

// dial connects a controller to all agents, or to one, with a certificate or
// without.
func (b *secureBridge) dial(id usp.EndpointID, path string, as *pki.Pair) (client.Link, error) {
	b.t.Helper()
	secure := &tls.Config{RootCAs: b.server.Pool()}
	if as != nil {
		secure.Certificates = []tls.Certificate{as.TLS()}
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), testenv.Patience)
	defer cancel()
	return client.DialLink(ctx, client.Config{
		URL: "wss" + strings.TrimPrefix(b.WebSocketURL(), "ws") + path, Controller: id, TLS: secure, Token: "",
	})
}

// controller is dial that may not be refused.
func (b *secureBridge) controller(id usp.EndpointID, as *pki.Pair) *testenv.Controller {
	b.t.Helper()
	link, err := b.dial(id, "/"+string(b.agent), as)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.ControllerOver(id, link)
}

// TestControllersProveThemselves: with mutual TLS a controller is who its
// certificate names, until it is revoked.
func TestControllersProveThemselves(t *testing.T) {
	ca := pki.NewCA(t, "controllers CA")
	b := startSecure(t, ca, map[string]any{"usp.trust.require_proof": true})
	own, other := ca.Endpoint(testenv.DefaultController.URN()), ca.Endpoint("urn:bbf:usp:id:proto::other")
	if got := b.controller(testenv.DefaultController, own).Value(b.agent, "Device.DeviceInfo.ManufacturerOUI"); got == "" {
		t.Error("the controller is not answered")
	}
	refused := func(what string, as *pki.Pair) {
		t.Helper()
		for _, path := range []string{"", "/" + string(b.agent)} {
			if _, err := b.dial(testenv.DefaultController, path, as); err == nil || !strings.Contains(err.Error(), "403") {
				t.Errorf("%s: %v, want status 403", what, err)
			}
		}
	}
	refused("another's certificate", other)
	refused("a certificate of another CA", pki.NewCA(t, "x").Endpoint(testenv.DefaultController.URN()))
	// A connection from loopback is let in for the command line's sake; who shows
	// nothing there is not the controller for all that.
	link, err := b.dial(testenv.DefaultController, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	rec, err := record.WrapMsg(testenv.DefaultController, b.agent, usp.RecordVersion, &usppb.Msg{
		Header: &usppb.Header{MsgId: "1", MsgType: usppb.Header_GET},
		Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: &usppb.Request{ReqType: &usppb.Request_Get{
			Get: &usppb.Get{ParamPaths: []string{"Device.DeviceInfo."}}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := link.Send(t.Context(), b.agent, rec); err != nil {
		t.Fatal(err)
	}
	testenv.Until(t, "the record of a controller that has shown nothing is refused", func() bool {
		return b.Metric(`uspbridge_usp_records_refused_total{reason="not_proven"}`) == 1
	})

	pki.WriteFile(t, b.file("crl.pem"), ca.CRL(time.Now().Add(time.Hour), own))
	testenv.Until(t, "the revoked controller is out", func() bool {
		link, err := b.dial(testenv.DefaultController, "", own)
		if err == nil {
			link.Close()
		}
		return err != nil && strings.Contains(err.Error(), "403")
	})
	if b.Metric(`uspbridge_trust_verifications_total{outcome="revoked"}`) == 0 {
		t.Error("no certificate is counted as revoked")
	}
}

// TestCAOfAnAgent: a CA that a controller gives an agent counts at once, for that
// agent, over TLS; controllers that it vouches for have its role.
func TestCAOfAnAgent(t *testing.T) {
	ca, guests := pki.NewCA(t, "controllers CA"), pki.NewCA(t, "guests CA")
	b := startSecure(t, ca, nil)
	const guest = usp.EndpointID("proto::guest")
	shown := guests.Endpoint(guest.URN())
	if _, err := b.dial(guest, "/"+string(b.agent), shown); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a guest of an unknown CA: %v, want status 403", err)
	}
	owner := b.controller(testenv.DefaultController, ca.Endpoint(testenv.DefaultController.URN()))
	owner.OperateWith(b.agent, "Device.LocalAgent.AddCertificate()", "", map[string]string{"Alias": "guests", "Certificate": string(guests.PEM())})
	owner.Add(b.agent, "Device.LocalAgent.ControllerTrust.Credential.", map[string]string{
		"Enable": "true", "AllowedUses": "MTP-and-USP", "Credential": strings.TrimSuffix(owner.Instances(b.agent, "Device.LocalAgent.Certificate.")[0], "."),
		"Role": "Device.LocalAgent.ControllerTrust.Role.1",
	})
	const role = "Device.LocalAgent.Controller.[EndpointID==\"proto::guest\"].InheritedRole"
	if got := slices.Collect(maps.Values(b.controller(guest, shown).Get(b.agent, role))); !slices.Equal(got, []string{"Device.LocalAgent.ControllerTrust.Role.1"}) {
		t.Errorf("InheritedRole is %q", got)
	}
	if _, err := b.dial(guest, "/"+string(b.agent), nil); err == nil {
		t.Error("the guest is let in without its certificate")
	}
}
