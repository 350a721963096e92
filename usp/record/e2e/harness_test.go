package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	agentID      = usp.EndpointID("os::00259E-1")
	controllerID = usp.EndpointID("proto::controller-1")
)

// passport is an Identity: a certificate of an authority, and the trust in those of
// the same authority that name the peer.
type passport struct {
	cert tls.Certificate
	ca   *pki.CA
	peer usp.EndpointID
	now  time.Time
}

func (p *passport) Certificate() (*tls.Certificate, error) { return &p.cert, nil }

func (p *passport) Verify(chain []*x509.Certificate) error {
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: p.ca.Pool(), CurrentTime: p.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return err
	}
	if len(chain[0].URIs) != 1 || chain[0].URIs[0].String() != urn(p.peer) {
		return fmt.Errorf("the certificate is not of %s", p.peer)
	}
	return nil
}

func urn(id usp.EndpointID) string {
	return "urn:bbf:usp:id:" + strings.ReplaceAll(string(id), "::", ":")
}

func issue(t testing.TB, ca *pki.CA, id, peer usp.EndpointID) *passport {
	t.Helper()
	u, err := url.Parse(urn(id))
	if err != nil {
		t.Fatal(err)
	}
	return &passport{cert: ca.Issue(x509.Certificate{URIs: []*url.URL{u}}).TLS(), ca: ca, peer: peer}
}

// end is one endpoint of a test.
type end struct {
	t       testing.TB
	name    string
	peer    *Peer
	policy  Policy
	got     []string
	last    Result
	failure error // the last Refused
}

// two are the ends of one line, and the time.
type two struct {
	t          testing.TB
	now        time.Time
	agent, ctl *end
}

func newTwo(t testing.TB, policy Policy, secured bool) *two {
	t.Helper()
	w := &two{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	var mine, theirs Identity
	if secured {
		ca := pki.NewCA(t, "endpoints")
		mine, theirs = issue(t, ca, agentID, controllerID), issue(t, ca, controllerID, agentID)
	}
	if policy.Mode == "" {
		policy.Mode, policy.Security, policy.Retransmits = Allow, Allow, -1
	}
	w.agent = &end{t: t, name: "agent", peer: NewPeer(Pair{agentID, controllerID}, mine, Limits{}), policy: policy}
	w.ctl = &end{t: t, name: "controller", peer: NewPeer(Pair{controllerID, agentID}, theirs, Limits{}), policy: policy}
	t.Cleanup(func() { w.agent.peer.Forget(); w.ctl.peer.Forget() })
	return w
}

func decode(t testing.TB, b []byte) *usppb.Record {
	t.Helper()
	r, err := record.Unwrap(b, record.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// take hands a record to an end and returns what it sends.
func (e *end) take(now time.Time, r *usppb.Record) [][]byte {
	e.t.Helper()
	return e.came(e.peer.Receive(now, e.policy, r, false))
}

func (e *end) came(res Result) [][]byte {
	e.last = res
	if res.Refused != nil {
		e.failure = res.Refused
	}
	for _, m := range res.Messages {
		e.got = append(e.got, string(m.Payload))
	}
	return res.Records
}

// say makes the records of a message.
func (e *end) say(now time.Time, msg string) [][]byte {
	e.t.Helper()
	res, err := e.peer.Send(now, e.policy, []byte(msg))
	if err != nil {
		e.t.Fatal(err)
	}
	return e.came(res)
}

// carry brings records from one end to the other, and the answers back, until
// nobody has anything to say.
func (w *two) carry(from *end, records [][]byte) {
	w.t.Helper()
	to := w.other(from)
	for n := 0; len(records) > 0; n++ {
		if n > 100 {
			w.t.Fatal("the ends do not come to rest")
		}
		var back [][]byte
		for _, b := range records {
			back = append(back, to.take(w.now, decode(w.t, b))...)
		}
		from, to, records = to, from, back
	}
}

func (w *two) other(e *end) *end {
	if e == w.agent {
		return w.ctl
	}
	return w.agent
}

func (w *two) tell(from *end, msg string) {
	w.t.Helper()
	w.carry(from, from.say(w.now, msg))
}

func (e *end) expect(want ...string) {
	e.t.Helper()
	if len(e.got) != len(want) {
		e.t.Fatalf("the %s got %d messages %.200q, want %d", e.name, len(e.got), e.got, len(want))
	}
	for i := range want {
		if e.got[i] != want[i] {
			e.t.Fatalf("the %s got %.100q, want %.100q", e.name, e.got[i], want[i])
		}
	}
	e.got = nil
}
