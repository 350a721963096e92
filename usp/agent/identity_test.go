package agent

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/record/e2e"
	"github.com/uspbridge/uspbridge/usp/trust"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

const stranger = usp.EndpointID("proto::stranger")

// files are the authorities of the configuration.
type files struct {
	cas     []*x509.Certificate
	revoked []*x509.Certificate
	asked   int
}

func (f *files) Current() ([]*x509.Certificate, func(*x509.Certificate) bool) {
	f.asked++
	return f.cas, func(c *x509.Certificate) bool { return slices.ContainsFunc(f.revoked, c.Equal) }
}

// trusting is a bench with certificates.
type trusting struct {
	*bench
	identity *trust.Trust
}

func (b *trusting) restart() {
	b.t.Helper()
	b.bench.restart()
	b.identity.Attach(b.host)
}

func newTrusting(t *testing.T, change ...func(*Config)) (*trusting, *files) {
	t.Helper()
	f := new(files)
	identity, err := trust.New(trust.Config{Store: newMemStore(), Authorities: f})
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, append(change, func(c *Config) {
		c.Identity = identity
		if c.Senders == nil { // controllers that the tests drive come over a broker
			c.Senders = map[mtp.Protocol]Belief{mtp.MQTT: Vouched}
		}
	})...)
	identity.Attach(b.host)
	return &trusting{b, identity}, f
}

// answers reports whether a controller is answered that shows a chain on a
// WebSocket, and whether the transport says that it has proven who it is.
func (b *trusting) answers(from usp.EndpointID, proven bool, chain ...*x509.Certificate) bool {
	b.t.Helper()
	id := b.msgID()
	rec, err := record.WrapMsg(from, testAgent, "1.3", &usppb.Msg{
		Header: &usppb.Header{MsgId: id, MsgType: usppb.Header_GET},
		Body:   &usppb.Body{MsgBody: &usppb.Body_Request{Request: getReq("Device.DeviceInfo.Manufacturer")}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	in := mtp.Inbound{Record: rec, Reply: mtp.Address{Protocol: mtp.WebSocket, Conn: "conn-2"}, Proven: proven, Chain: chain}
	if err := b.host.Receive(in); err != nil {
		b.t.Fatal(err)
	}
	b.settle()
	for {
		select {
		case s := <-b.net.sent:
			if s.msg.GetHeader().GetMsgId() == id {
				return true
			}
			b.held = append(b.held, s)
		default:
			return false
		}
	}
}

// overWebSocket has the transport of the tests stand for a WebSocket server.
func overWebSocket(c *Config) {
	c.Transports = append(c.Transports, &webSocketTo{c.Transports[0].(*fakeTransport)})
}

type webSocketTo struct{ *fakeTransport }

func (webSocketTo) Protocol() mtp.Protocol { return mtp.WebSocket }

func asPEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// command runs a command that must not fail.
func (b *trusting) command(path string, args map[string]string) {
	b.t.Helper()
	if _, code := b.operate(primary, path, args); code != 0 {
		b.t.Fatalf("%s: error %d", path, code)
	}
}

// trusts makes the agent trust a CA for uses, with a role, and returns the row.
func (b *trusting) trusts(ca *pki.CA, uses, role string) string {
	b.t.Helper()
	alias := fmt.Sprintf("ca%d", b.ids)
	b.command("Device.LocalAgent.AddCertificate()", map[string]string{"Alias": alias, "Certificate": asPEM(ca.Cert)})
	row := b.value("Device.LocalAgent.CertificateNumberOfEntries")
	return b.added(primary, create("Device.LocalAgent.ControllerTrust.Credential.",
		kv{"Enable", "true", true}, kv{"Credential", "Device.LocalAgent.Certificate." + fmt.Sprint(100+int(number(row))), true},
		kv{"AllowedUses", uses, true}, kv{"Role", role, true}))
}

// TestBelief: who is taken for a controller, by what its connection proves and what
// the transport's word is worth.
func TestBelief(t *testing.T) {
	root := pki.NewCA(t, "root")
	of := func(id usp.EndpointID) *x509.Certificate { return root.Endpoint(id.URN()).Cert }
	own, other, unnamed, foreign := of(primary), of("proto::other"), root.Client("c").Cert, pki.NewCA(t, "x").Endpoint(primary.URN()).Cert
	tests := []struct {
		name   string
		over   Belief
		proven bool // to the transport
		chain  []*x509.Certificate
		kept   *x509.Certificate // of the controller
		want   bool
	}{
		{name: "its word, where that counts", over: Claimed, want: true},
		{name: "its word, to a broker that is trusted", over: Vouched, want: true},
		{name: "its word, where it has to prove it", over: Proof},
		{name: "proven to the transport", over: Proof, proven: true, want: true},
		{name: "with a certificate", over: Proof, chain: []*x509.Certificate{own}, want: true},
		{name: "with another's certificate", over: Claimed, chain: []*x509.Certificate{other}},
		{name: "with another's certificate, though the transport believes it", over: Claimed, proven: true, chain: []*x509.Certificate{other}},
		{name: "with a certificate that nobody vouches for", over: Claimed, chain: []*x509.Certificate{foreign}},
		{name: "with a certificate that names nobody", over: Claimed, chain: []*x509.Certificate{unnamed}, want: true},
		{name: "with a certificate that names nobody, where it has to prove itself", over: Proof, chain: []*x509.Certificate{unnamed}},
		{name: "its word, of one that is known by a certificate", over: Claimed, kept: own},
		{name: "its word to a broker, of one that is known by a certificate", over: Vouched, kept: own, want: true},
		{name: "with the certificate that it is known by", over: Claimed, chain: []*x509.Certificate{foreign}, kept: foreign, want: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, f := newTrusting(t, overWebSocket, func(c *Config) {
				c.Senders = map[mtp.Protocol]Belief{mtp.MQTT: Vouched, mtp.WebSocket: tt.over}
			})
			f.cas = []*x509.Certificate{root.Cert}
			if tt.kept != nil {
				b.command("Device.LocalAgent.Controller.1.AddMyCertificate()", map[string]string{"Certificate": asPEM(tt.kept)})
			}
			if got := b.answers(primary, tt.proven, tt.chain...); got != tt.want {
				t.Errorf("answered: %v, want %v", got, tt.want)
			}
			if got := b.host.Claimable(t.Context(), testAgent, primary, mtp.WebSocket); got != (tt.over == Vouched || tt.over == Claimed && tt.kept == nil) {
				t.Errorf("claimable: %v", got)
			}
		})
	}
}

// TestInheritedRole: a controller has the roles of the CA that vouches for it, as
// long as it does, and one that is unknown comes into the table with them.
func TestInheritedRole(t *testing.T) {
	b, _ := newTrusting(t, overWebSocket)
	root := pki.NewCA(t, "root")
	chain := []*x509.Certificate{root.Endpoint(stranger.URN()).Cert}
	if b.answers(stranger, false, chain...) {
		t.Fatal("a stranger of a CA that nobody trusts is answered")
	}
	credential := b.trusts(root, "MTP-and-USP", rolePath(fullAccessRole))
	if !b.answers(stranger, false, chain...) {
		t.Fatal("a stranger of a CA that is trusted is not answered")
	}
	const row = "Device.LocalAgent.Controller.[EndpointID==\"proto::stranger\"]."
	for name, want := range map[string]string{"InheritedRole": rolePath(fullAccessRole), "AssignedRole": "", "Credential": "", "Enable": "true"} {
		if got := b.value(row + name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	b.restart()
	if b.answers(stranger, false) {
		t.Error("the stranger is answered without its certificate")
	}
	set := setReq(false, update(credential, kv{"Role", rolePath(untrustedRole), true}))
	if failure(b.ask(primary, set)) != "ok" {
		t.Fatal("the role of the CA was not changed")
	}
	if !b.answers(stranger, false, chain...) || b.value(row+"InheritedRole") != rolePath(untrustedRole) {
		t.Errorf("InheritedRole is %q when the CA's role has changed", b.value(row+"InheritedRole"))
	}
	if failure(b.ask(primary, deleteReq(false, credential))) != "ok" {
		t.Fatal("the CA was not deleted")
	}
	if b.answers(stranger, false, chain...) {
		t.Error("the stranger is answered when the CA is not trusted any more")
	}
	if !slices.ContainsFunc(b.audits(), func(a string) bool { return strings.Contains(a, `"action":"Admit"`) }) {
		t.Error("no audit record of the admission")
	}
}

// audits returns the audit records of the agent.
func (b *trusting) audits() (all []string) {
	b.t.Helper()
	err := b.store.Scan(context.Background(), store.Query{Kind: store.Audit}, func(_ store.Key, v []byte) bool {
		all = append(all, string(v))
		return true
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

// TestConnectionsOnly: the default AllowedUses lets nobody speak.
func TestConnectionsOnly(t *testing.T) {
	b, _ := newTrusting(t, overWebSocket)
	root := pki.NewCA(t, "root")
	b.trusts(root, "MTP-only", rolePath(fullAccessRole))
	if b.answers(stranger, false, root.Endpoint(stranger.URN()).Cert) {
		t.Error("answered")
	}
}

// TestFirstUse: a stranger becomes an untrusted controller that is known by its
// certificate from then on; a configured controller never does.
func TestFirstUse(t *testing.T) {
	b, _ := newTrusting(t, overWebSocket, func(c *Config) { c.FirstUse = true })
	named := func(id usp.EndpointID) *x509.Certificate {
		c := x509.Certificate{Subject: pkix.Name{CommonName: string(id)}}
		id.AddTo(&c)
		return pki.SelfSigned(t, c).Cert
	}
	first := named(stranger)
	if !b.answers(stranger, false, first) {
		t.Fatal("the first use is not allowed")
	}
	const row = "Device.LocalAgent.Controller.[EndpointID==\"proto::stranger\"]."
	if got := b.value(row + "AssignedRole"); got != rolePath(untrustedRole) {
		t.Errorf("AssignedRole is %q", got)
	}
	if got := b.value(row + "Credential"); !strings.HasPrefix(got, "Device.LocalAgent.Certificate.") {
		t.Errorf("Credential is %q", got)
	}
	b.restart()
	for _, tt := range []struct {
		name  string
		chain []*x509.Certificate
		want  bool
	}{{"the same certificate", []*x509.Certificate{first}, true}, {"another", []*x509.Certificate{named(stranger)}, false}, {"none", nil, false}} {
		if got := b.answers(stranger, false, tt.chain...); got != tt.want {
			t.Errorf("%s: answered %v, want %v", tt.name, got, tt.want)
		}
	}
	if b.answers(primary, false, named(primary)) {
		t.Error("a certificate of nobody's is taken for that of a configured controller")
	}
	if got := b.value("Device.LocalAgent.ControllerTrust.TOFUAllowed"); got != "true" {
		t.Errorf("TOFUAllowed is %q", got)
	}
}

// TestFirstUseIsBounded: who makes many certificates fills no agent.
func TestFirstUseIsBounded(t *testing.T) {
	b, _ := newTrusting(t, overWebSocket, func(c *Config) { c.FirstUse = true })
	known := 0
	for i := range maxStrangers + 3 {
		id := usp.EndpointID(fmt.Sprintf("self::%d", i))
		c := x509.Certificate{Subject: pkix.Name{CommonName: string(id)}}
		id.AddTo(&c)
		if b.answers(id, false, pki.SelfSigned(t, c).Cert) {
			known++
		}
	}
	if known != maxStrangers {
		t.Errorf("%d strangers are known, want %d", known, maxStrangers)
	}
}

// TestRevokedIsBanned: a controller whose certificate was revoked has the banned
// role and is heard on no transport.
func TestRevokedIsBanned(t *testing.T) {
	b, f := newTrusting(t, overWebSocket)
	root := pki.NewCA(t, "root")
	cert := root.Endpoint(secondary.URN()).Cert
	f.cas = []*x509.Certificate{root.Cert}
	banned := b.added(primary, create("Device.LocalAgent.ControllerTrust.Role.", kv{"Name", "Banned", true}))
	if failure(b.ask(primary, setReq(false, update("Device.LocalAgent.ControllerTrust.", kv{"BannedRole", banned, true})))) != "ok" {
		t.Fatal("BannedRole was not set")
	}
	b.command("Device.LocalAgent.Controller.2.AddMyCertificate()", map[string]string{"Certificate": asPEM(cert)})
	if !b.answers(secondary, false, cert) {
		t.Fatal("not answered")
	}
	f.revoked = []*x509.Certificate{cert}
	b.clock.Advance(proofLife)
	if b.answers(secondary, false, cert) {
		t.Error("answered with a certificate that was revoked")
	}
	if got := b.value("Device.LocalAgent.Controller.2.AssignedRole"); got+"." != banned {
		t.Errorf("AssignedRole is %q, want the banned role %q", got, banned)
	}
	if b.answers(secondary, true) {
		t.Error("answered although it is banned")
	}
}

// TestProofIsKept: a certificate is judged once a minute and connection, and when
// the agent's objects have changed.
func TestProofIsKept(t *testing.T) {
	b, f := newTrusting(t, overWebSocket)
	root := pki.NewCA(t, "root")
	f.cas = []*x509.Certificate{root.Cert}
	cert := root.Endpoint(primary.URN()).Cert
	judged := func(want int, when string) {
		t.Helper()
		before := f.asked
		if !b.answers(primary, false, cert) {
			t.Fatalf("%s: not answered", when)
		}
		if f.asked-before != want {
			t.Errorf("%s: judged %d times, want %d", when, f.asked-before, want)
		}
	}
	judged(1, "the first record")
	judged(0, "the second record")
	b.clock.Advance(proofLife)
	judged(1, "a minute later")
	b.subscribe(primary, "s", "Event", "Device.Boot!")
	judged(1, "when a table has changed")

	foreign := pki.NewCA(t, "x").Endpoint(primary.URN()).Cert
	before := f.asked
	for range 3 {
		if b.answers(primary, false, foreign) {
			t.Fatal("answered with a certificate of a stranger's CA")
		}
	}
	if f.asked-before != 1 {
		t.Errorf("a bad certificate is judged %d times, want once", f.asked-before)
	}
}

// TestBookOfStrangers: of an endpoint that is not hosted there is no book.
func TestBookOfStrangers(t *testing.T) {
	b, _ := newTrusting(t)
	if _, err := b.host.Known(context.Background(), "os::00259E-elsewhere", primary); !errors.Is(err, ErrUnknownEndpoint) {
		t.Errorf("%v, want %v", err, ErrUnknownEndpoint)
	}
}

// TestBrokersVouchOnTheirConnections, not inside of records: a session with TLS is
// what keeps them out.
func TestBrokersVouchOnTheirConnections(t *testing.T) {
	b, _ := newTrusting(t)
	ca := pki.NewCA(t, "brokers")
	b.trusts(ca, "MTP-and-broker", rolePath(untrustedRole))
	chain := []*x509.Certificate{ca.Endpoint(usp.EndpointID("proto::broker").URN()).Cert}
	if err := b.host.cfg.Identity.Verify(t.Context(), testAgent, primary, chain); err != nil {
		t.Errorf("on its connection: %v", err)
	}
	if err := b.host.identity(e2e.Pair{Local: testAgent, Remote: primary}).Verify(chain); !errors.Is(err, trust.OtherEndpoint) {
		t.Errorf("in a session: %v", err)
	}
}

// TestCertificateInASessionWaitsForNobody: it is judged while the session is held, and
// who changes the agent's objects may be sending in that.
func TestCertificateInASessionWaitsForNobody(t *testing.T) {
	b, _ := newTrusting(t)
	root := pki.NewCA(t, "root")
	b.trusts(root, "MTP-and-USP", rolePath(fullAccessRole))
	chain := []*x509.Certificate{root.Endpoint(primary.URN()).Cert}
	pair := e2e.Pair{Local: testAgent, Remote: primary}
	a, err := b.host.agents.acquire(t.Context(), testAgent)
	if err != nil {
		t.Fatal(err)
	}
	defer b.host.agents.release(a)
	a.write.Lock()
	judged := make(chan error, 1)
	go func() { judged <- b.host.identity(pair).Verify(chain) }()
	select {
	case err := <-judged:
		a.write.Unlock()
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		a.write.Unlock()
		t.Fatal("it waits for a change of the agent's objects")
	}
	if !b.host.settleAdmissions(t.Context(), pair) || len(b.host.admissions.of) > 0 {
		t.Error("not settled")
	}
	if got := b.value("Device.LocalAgent.Controller.1.InheritedRole"); got != rolePath(fullAccessRole) {
		t.Errorf("InheritedRole is %q", got)
	}
}
