package conformance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp/client"
)

// certificateAdded plays 9.2 against another bridge, whose controllers have to prove
// who they are by certificates of a CA.
func certificateAdded(t *trial) {
	const rows = "Device.LocalAgent.Certificate."
	ca, dir := pki.NewCA(t, "controllers CA"), t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	ca.Issue(x509.Certificate{}).Write(file("bridge.pem"), file("bridge.key"))
	pki.WriteFile(t, file("ca.pem"), ca.PEM())
	env := testenv.Start(t.T, program, testenv.Config{
		Keys: map[string]any{
			"usp.mtp.websocket.tls.cert": file("bridge.pem"), "usp.mtp.websocket.tls.key": file("bridge.key"),
			"usp.trust.ca": file("ca.pem"), "usp.trust.require_proof": true,
		},
		Controllers: []testenv.ControllerRow{{EndpointID: primaryID}},
	})
	agent := env.CPE(t.field.gateway.model).Agent
	connect := func(as *pki.Pair) *testenv.Controller {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
		defer cancel()
		link, err := client.DialLink(ctx, client.Config{
			URL: "wss" + strings.TrimPrefix(env.WebSocketURL(), "ws") + "/" + string(agent), Controller: primaryID,
			TLS: &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{as.TLS()}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return env.ControllerOver(primaryID, link)
	}
	old, other := ca.Endpoint(primaryID.URN()), ca.Endpoint(primaryID.URN())
	text, _ := other.PEM()
	connect(old).OperateWith(agent, "Device.LocalAgent.AddCertificate()", "", map[string]string{"Alias": "addedCert", "Certificate": string(text)})
	again := connect(other)
	values := again.Get(agent, rows)
	added := again.Instances(agent, rows)
	if len(added) != 1 || values[added[0]+"Alias"] != "addedCert" {
		t.Fatalf("the table has %v", values)
	}
	again.Operate(agent, added[0]+"Delete()", "")
	if left := again.Instances(agent, rows); slices.Contains(left, added[0]) {
		t.Errorf("the certificate is still there: %v", left)
	}
}
