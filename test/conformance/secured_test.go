package conformance

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// securedCases are those of section 3 with TLS in session contexts.
func securedCases() []testCase {
	return []testCase{
		{number: "3.2", title: "Integrity of fields outside the payload: a request without is refused", play: func(t *trial) {
			s := t.secure(map[string]string{"context": "required", "security": "required"})
			if e := s.Get("Device.DeviceInfo.").msg.GetBody().GetError(); e.GetErrCode() != uint32(usp.ErrSecureSessionRequired) {
				t.Errorf("the Error is %v", e)
			}
			s.tunnel(s.cert, tls.VersionTLS13).secured().got("Device.DeviceInfo.")
		}},
		{number: "3.3", title: "A session that starts with a bad signature", play: func(t *trial) {
			s := t.secure(nil)
			bad := s.tunnel(s.cert, tls.VersionTLS12)
			bad.spoil = func(r *usppb.Record) { r.MacSignature[len(r.MacSignature)-1] ^= 1 }
			go bad.handshake() // it ends with the patience of the case
			s.value(endpointID)
			if got := s.arrived(func(r received) bool { return r.record.GetSessionContext() != nil }); len(got) > 0 {
				t.Errorf("answered with %v", got[0].record)
			}
			s.tunnel(s.cert, tls.VersionTLS12).secured().got("Device.DeviceInfo.")
		}},
		{number: "3.4", title: "TLS inside records", play: func(t *trial) {
			s := t.secure(nil)
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				s.tunnel(s.cert, version).secured().got("Device.LocalAgent.")
			}
		}},
		{number: "3.5", timed: true, title: "TLS inside records that fails", play: failedTLS},
		{number: "3.6", title: "TLS renegotiation inside records", play: func(t *trial) {
			s := t.secure(nil)
			u := s.tunnel(s.cert, tls.VersionTLS12).secured()
			helloRequest := []byte{22, 3, 3, 0, 4, 0, 0, 0, 0}
			if _, err := u.Write(helloRequest); err != nil {
				t.Fatal(err)
			}
			u.got("Device.DeviceInfo.") // in order: there was no record before
		}},
		{number: "3.7", title: "Certificates inside records", play: func(t *trial) {
			s := t.secure(nil)
			u := s.tunnel(s.authority.Endpoint(usp.EndpointID("proto::somebody-else").URN()).TLS(), tls.VersionTLS12)
			u.rejected()
			s.accepted()
		}},
		{number: "3.13", title: "A record with less security than its session", play: func(t *trial) {
			s := t.secure(nil)
			u := s.tunnel(s.cert, tls.VersionTLS12).secured()
			u.got("Device.DeviceInfo.")
			plain := &session{s.trial, u.id}
			id := s.newID()
			plain.send(&usppb.SessionContextRecord{SequenceId: u.next, ExpectedId: u.expected}, id, "Device.DeviceInfo.")
			plain.begun()
			if got := s.arrived(plain.answers(id)); len(got) > 0 {
				t.Errorf("answered with %v", got[0].record)
			}
		}},
	}
}

// expiredCertificate expects that no session is secured with a certificate that is
// no longer valid (2.8).
func expiredCertificate(t *trial) {
	s := t.secure(nil)
	name, err := url.Parse(primaryID.URN())
	if err != nil {
		t.Fatal(err)
	}
	expired := s.authority.Issue(x509.Certificate{URIs: []*url.URL{name}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}).TLS()
	u := s.tunnel(expired, tls.VersionTLS12)
	u.rejected()
	s.accepted()
}

// failedTLS expects that the agent ends a handshake with a certificate that is none
// of the controller's, and waits before it begins a session again.
func failedTLS(t *trial) {
	s := t.secure(map[string]string{"context": "required"})
	u := s.tunnel(s.cert, tls.VersionTLS13).secured()
	u.say(&usppb.Msg{
		Header: &usppb.Header{MsgId: s.newID(), MsgType: usppb.Header_OPERATE},
		Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: &usppb.Request{ReqType: &usppb.Request_Operate{Operate: &usppb.Operate{
			Command: controllers + `[EndpointID=="` + string(primaryID) + `"].SendOnBoardRequest()`}}}}},
	})
	u.got(controllers)
	s.tunnel(pki.NewCA(t, "strangers").Endpoint(primaryID.URN()).TLS(), tls.VersionTLS12).rejected()
	for len(s.arrived(opening)) > 0 { // of before
		s.opening()
	}
	alert := s.answering(s.opening(), s.cert)                             // the OnBoardRequest still waits for its response
	if _, err := alert.Write([]byte{21, 3, 3, 0, 2, 2, 40}); err != nil { // handshake_failure
		t.Fatal(err)
	}
	sent := time.Now()
	again := s.opening()
	t.between("the next session", again.at.Sub(sent), 5, 10)
	good := s.answering(again, s.cert).secured()
	if n := good.message().GetBody().GetRequest().GetNotify(); n == nil {
		t.Error("the session has no notification")
	}
}

// rejected expects that the agent ends the handshake with an alert. The records are
// not signed, so that the handshake has to find out.
func (u *tunnel) rejected() {
	u.Helper()
	u.spoil = unsigned
	if err := u.handshake(); err == nil || !strings.Contains(err.Error(), "remote error: tls:") {
		u.Errorf("a handshake with a certificate that is not to be accepted: %v", err)
	}
}

// unsigned takes the signature off a record.
func unsigned(r *usppb.Record) {
	if r.GetSenderCert() != nil {
		r.MacSignature, r.SenderCert = nil, nil
	}
}

// secured is a trial with a bridge of its own, which trusts an authority to say who
// controllers are.
type secured struct {
	*trial
	authority *pki.CA
	cert      tls.Certificate // of the controller
}

// secure starts that bridge, with the controller's session section.
func (t *trial) secure(session map[string]string) *secured {
	t.Helper()
	s := &secured{authority: pki.NewCA(t, "controllers")}
	s.cert = s.authority.Endpoint(primaryID.URN()).TLS()
	file := filepath.Join(t.TempDir(), "ca.pem")
	pki.WriteFile(t, file, s.authority.PEM())
	f := &field{gateway: t.field.gateway, over: t.field.over, broker: t.field.broker, realm: "-" + t.cpe.Identity().SerialNumber, session: session}
	s.trial = newField(t.T, f, map[string]any{"usp.trust.ca": file}).start(t.T)
	return s
}

// accepted expects that the controller's own certificate is, and that the agent
// shows one of its own in TLS and with its signatures.
func (s *secured) accepted() {
	s.Helper()
	u := s.tunnel(s.cert, tls.VersionTLS12).secured()
	u.got("Device.DeviceInfo.")
	shown := u.conn.ConnectionState().PeerCertificates[0]
	for _, cert := range []*x509.Certificate{shown, u.sender} {
		if len(cert.URIs) != 1 || cert.URIs[0].String() != s.agent.URN() {
			s.Errorf("the agent's certificate is of %v, want %s", cert.URIs, s.agent.URN())
		}
	}
}

// opening is the first record of a session that an agent begins.
func opening(r received) bool {
	c := r.record.GetSessionContext()
	return c.GetSequenceId() == 1 && c.GetSessionId() < firstSession
}

// opening waits for a session that the agent begins.
func (s *secured) opening() received {
	s.Helper()
	got, ok := s.next(2*testenv.Patience, opening)
	if !ok {
		s.Fatal("the agent began no session")
	}
	return got
}
