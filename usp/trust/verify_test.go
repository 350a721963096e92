package trust

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/usp"
)

// TestVerify plays the figures "USP Record without USP Layer Secure Message
// Exchange" and "Checking a Certificate" of TR-369.
func TestVerify(t *testing.T) {
	root, stranger := pki.NewCA(t, "root"), pki.NewCA(t, "stranger")
	middle := root.Intermediate("middle")
	now := time.Now()
	name := func(id usp.EndpointID) x509.Certificate {
		c := x509.Certificate{Subject: pkix.Name{CommonName: "anything"}}
		id.AddTo(&c)
		return c
	}
	good, other, below := root.Issue(name(controller)), root.Issue(name("proto::other")), middle.Issue(name(controller))
	foreign, itself := stranger.Issue(name(controller)), pki.SelfSigned(t, name(controller))
	unnamed, kept := root.Client("controller-1"), pki.SelfSigned(t, x509.Certificate{Subject: pkix.Name{CommonName: "kept"}})
	old := name(controller)
	old.NotBefore, old.NotAfter = now.Add(-20*time.Minute), now.Add(-10*time.Minute)
	expired := root.Issue(old)
	old.NotBefore, old.NotAfter = now.Add(time.Hour), now.Add(2*time.Hour)
	early := root.Issue(old)
	mail := name(controller)
	mail.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
	wrongUse := root.Issue(mail)
	signs := name(controller)
	signs.KeyUsage = x509.KeyUsageCRLSign
	wrongKeyUse := root.Issue(signs)
	domain := root.Issue(x509.Certificate{DNSNames: []string{"controller.example"}})
	wild := root.Issue(x509.Certificate{URIs: []*url.URL{{Scheme: "urn", Opaque: "bbf:usp:id:ops::00259E-*"}}})

	of := func(p *pki.Pair, above ...*pki.CA) []*x509.Certificate {
		chain := []*x509.Certificate{p.Cert}
		for _, ca := range above {
			chain = append(chain, ca.Cert)
		}
		return chain
	}
	certs := func(all ...*x509.Certificate) []*x509.Certificate { return all }
	row := func(n uint32, ca *pki.CA, uses Uses) Authority { return Authority{ca.Cert, n, uses} }
	inFiles, nobody := files{cas: certs(root.Cert)}, files{}

	tests := []struct {
		name    string
		peer    usp.EndpointID // controller if empty
		chain   []*x509.Certificate
		known   Known
		files   files
		at      time.Time // now if zero
		reason  Reason    // "": trusted
		admit   *Admission
		revoked int
		inside  bool
	}{
		{name: "signed by a configured CA", chain: of(good), files: inFiles, admit: &Admission{}},
		{name: "below an intermediate that it shows", chain: of(below, middle), files: inFiles, admit: &Admission{}},
		{name: "below an intermediate that it does not show", chain: of(below), files: inFiles, reason: Untrusted},
		{name: "named by its domain", peer: "fqdn::controller.example", chain: of(domain), files: inFiles, admit: &Admission{}},
		{name: "named by its domain alone, of an endpoint that is not", chain: of(domain), files: inFiles, reason: NoEndpoint},
		{name: "no certificate", files: inFiles, reason: NoCertificate},
		{name: "an endless chain", chain: slices.Repeat(of(good), maxChain+1), files: inFiles, reason: Malformed},
		{name: "without a name", chain: of(unnamed), files: inFiles, reason: NoEndpoint},
		{name: "of another endpoint", chain: of(other), files: inFiles, reason: OtherEndpoint},
		{name: "with a wildcard", peer: "ops::00259E-*", chain: of(wild), files: inFiles, reason: NoEndpoint},
		{name: "expired", chain: of(expired), files: inFiles, reason: Expired},
		{name: "not yet valid", chain: of(early), files: inFiles, reason: Expired},
		{name: "expired while the time is not known", chain: of(expired), files: inFiles, at: time.Unix(100, 0), admit: &Admission{}},
		{name: "of a stranger while the time is not known", chain: of(foreign), files: inFiles, at: time.Unix(100, 0), reason: Untrusted},
		{name: "for e-mail", chain: of(wrongUse), files: inFiles, reason: WrongUse},
		{name: "for revocation lists", chain: of(wrongKeyUse), files: inFiles, reason: WrongUse},
		{name: "signed by nobody known", chain: of(foreign, stranger), files: inFiles, reason: Untrusted},
		{name: "with no CA trusted at all", chain: of(good), files: nobody, reason: Untrusted},
		{name: "revoked", chain: of(good), files: files{certs(root.Cert), certs(good.Cert)}, reason: Revoked},
		{name: "below an intermediate that was revoked", chain: of(below, middle), files: files{certs(root.Cert), certs(middle.Cert)}, reason: Revoked},

		{name: "signed by a CA of the agent", chain: of(good), known: Known{Authorities: []Authority{row(3, root, Peers)}}, admit: &Admission{Credential: 3}},
		{name: "the nearest CA of the agent counts", chain: of(below, middle, root),
			known: Known{Authorities: []Authority{row(3, root, Peers), row(4, middle, Peers)}}, admit: &Admission{Credential: 4}},
		{name: "the agent's CA is told before the configured one", chain: of(good), files: inFiles,
			known: Known{Authorities: []Authority{row(3, root, Peers)}}, admit: &Admission{Credential: 3}},
		{name: "signed by a CA that may only let connect", chain: of(good), known: Known{Authorities: []Authority{row(3, root, Connections)}}, reason: Untrusted},
		{name: "of a trusted broker", chain: of(other), known: Known{Authorities: []Authority{row(3, root, Brokers)}}},
		{name: "of a trusted broker, inside of records", chain: of(other), known: Known{Authorities: []Authority{row(3, root, Brokers)}}, inside: true, reason: OtherEndpoint},
		{name: "its own, signed by the CA of a broker, inside of records", chain: of(good),
			known: Known{Authorities: []Authority{row(3, root, Brokers)}}, inside: true, reason: Untrusted},
		{name: "kept as the controller's, inside of records", chain: of(itself), inside: true,
			known: Known{Registered: true, Certificates: certs(itself.Cert)}, admit: &Admission{}},
		{name: "of a trusted broker that was revoked", chain: of(other), files: files{nil, certs(other.Cert)},
			known: Known{Authorities: []Authority{row(3, root, Brokers)}}, reason: Revoked},

		{name: "kept as the controller's", chain: of(itself), known: Known{Registered: true, Certificates: certs(itself.Cert)}, admit: &Admission{}},
		{name: "kept as the controller's, without a name", chain: of(kept), known: Known{Registered: true, Certificates: certs(kept.Cert)}, admit: &Admission{}},
		{name: "kept, and signed by a CA of the agent", chain: of(good),
			known: Known{Registered: true, Certificates: certs(good.Cert), Authorities: []Authority{row(3, root, Peers)}}, admit: &Admission{Credential: 3}},
		{name: "kept, and revoked", chain: of(good), files: files{certs(root.Cert), certs(good.Cert)},
			known: Known{Registered: true, Certificates: certs(good.Cert)}, reason: Revoked, revoked: 1},
		{name: "another than that kept, signed by a trusted CA", chain: of(good), files: inFiles,
			known: Known{Registered: true, Certificates: certs(itself.Cert)}, admit: &Admission{}},
		{name: "another than that kept", chain: of(foreign),
			known: Known{Registered: true, Certificates: certs(itself.Cert), FirstUse: true}, reason: Changed},

		{name: "first use", chain: of(itself), known: Known{FirstUse: true}, admit: &Admission{Remember: itself.Cert}},
		{name: "first use of one that an unknown CA has signed", chain: of(foreign), known: Known{FirstUse: true}, admit: &Admission{Remember: foreign.Cert}},
		{name: "first use of a certificate without a name", chain: of(kept), known: Known{FirstUse: true}, reason: NoEndpoint},
		{name: "first use of one that was revoked", chain: of(itself), files: files{nil, certs(itself.Cert)}, known: Known{FirstUse: true}, reason: Revoked},
		{name: "first use in the name of a controller with roles", chain: of(itself), known: Known{FirstUse: true, Registered: true}, reason: Untrusted},
		{name: "first use that is not allowed", chain: of(itself), reason: Untrusted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			*b.files, b.book.known = tt.files, tt.known
			if !tt.at.IsZero() {
				b.now.Set(tt.at)
			}
			peer := tt.peer
			if peer == "" {
				peer = controller
			}
			verify := b.Verify
			if tt.inside {
				verify = b.VerifyInside
			}
			err := verify(context.Background(), testAgent, peer, tt.chain)
			if tt.reason == "" && err != nil {
				t.Fatalf("refused: %v", err)
			}
			if tt.reason != "" && !errors.Is(err, tt.reason) {
				t.Fatalf("%v, want %v", err, tt.reason)
			}
			var want []Admission
			if tt.admit != nil {
				want = []Admission{*tt.admit}
			}
			if !slices.Equal(b.book.admitted, want) {
				t.Errorf("admitted %+v, want %+v", b.book.admitted, want)
			}
			if b.book.revoked != tt.revoked {
				t.Errorf("%d revocations told, want %d", b.book.revoked, tt.revoked)
			}
		})
	}
}

// TestVerifyForAnyAgent: only the configuration counts for a connection to all.
func TestVerifyForAnyAgent(t *testing.T) {
	root := pki.NewCA(t, "root")
	chain := []*x509.Certificate{root.Endpoint(controller.URN()).Cert}
	b := newBench(t)
	b.book.known = Known{FirstUse: true, Authorities: []Authority{{root.Cert, 1, Peers}}}
	if err := b.Verify(context.Background(), "", controller, chain); !errors.Is(err, Untrusted) {
		t.Errorf("with a CA of an agent: %v, want %v", err, Untrusted)
	}
	b.files.cas = []*x509.Certificate{root.Cert}
	if err := b.Verify(context.Background(), "", controller, chain); err != nil {
		t.Errorf("with a configured CA: %v", err)
	}
	if b.book.admitted != nil {
		t.Errorf("an agent was told of %+v", b.book.admitted)
	}
}

// TestVerifyNotHosted: an agent that is not here judges nobody.
func TestVerifyNotHosted(t *testing.T) {
	root := pki.NewCA(t, "root")
	b := newBench(t)
	b.files.cas = []*x509.Certificate{root.Cert}
	b.book.err = errors.New("no such agent")
	if err := b.Verify(context.Background(), testAgent, controller, []*x509.Certificate{root.Endpoint(controller.URN()).Cert}); !errors.Is(err, b.book.err) {
		t.Errorf("%v, want %v", err, b.book.err)
	}
}

// FuzzVerify: whatever a peer shows as its chain is judged without harm, and trusted
// only if it leads to a CA that is.
func FuzzVerify(f *testing.F) {
	root := pki.NewCA(f, "root")
	good, itself := root.Endpoint(controller.URN()).Cert, pki.SelfSigned(f, x509.Certificate{Subject: pkix.Name{CommonName: "x"}}).Cert
	f.Add(good.Raw, root.Cert.Raw)
	f.Add(itself.Raw, itself.Raw)
	f.Add(root.Cert.Raw, good.Raw)
	b := newBench(f)
	b.files.cas = []*x509.Certificate{root.Cert}
	f.Fuzz(func(t *testing.T, leaf, above []byte) {
		var chain []*x509.Certificate
		for _, der := range [][]byte{leaf, above} {
			if c, err := x509.ParseCertificate(der); err == nil {
				chain = append(chain, c)
			}
		}
		err := b.Verify(t.Context(), "", controller, chain)
		var reason Reason
		if err == nil && !chain[0].Equal(good) || err != nil && !errors.As(err, &reason) {
			t.Fatalf("judged: %v", err)
		}
	})
}
