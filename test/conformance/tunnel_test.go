package conformance

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// tunnel is TLS in a session context at the controller's end, made for the plan and
// of nothing that the bridge has: a net.Conn whose bytes are payloads of records.
// It expects records in order, and each with a good signature before TLS stands
// and a good MAC after.
type tunnel struct {
	*trial
	id             uint64
	next, expected uint64
	cert           tls.Certificate
	server         bool // in TLS
	conn           *tls.Conn
	unread         []byte
	mine, theirs   []byte // keys of the MACs; nil before TLS stands
	sender         *x509.Certificate
	spoil          func(*usppb.Record) // of what is sent next
	flaw           error               // of what came
}

// tunnel begins TLS in a session of the controller's, with a certificate.
func (t *trial) tunnel(cert tls.Certificate, version uint16) *tunnel {
	t.sessions++
	u := &tunnel{trial: t, id: firstSession + t.sessions, next: 1, expected: 1, cert: cert}
	u.conn = tls.Client(u, &tls.Config{
		Certificates: []tls.Certificate{cert}, MaxVersion: version, InsecureSkipVerify: true, // the cases look at the agent's certificate
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	})
	return u
}

// answering is the other end of a session that the agent begins.
func (t *trial) answering(first received, cert tls.Certificate) *tunnel {
	u := &tunnel{trial: t, id: first.record.GetSessionContext().GetSessionId(), next: 1, expected: 1, cert: cert, server: true}
	u.conn = tls.Server(u, &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert, SessionTicketsDisabled: true,
	})
	if u.take(first); u.flaw != nil {
		t.Error(u.flaw)
	}
	return u
}

// handshake returns what comes of the TLS handshake.
func (u *tunnel) handshake() error {
	if err := u.conn.HandshakeContext(context.Background()); err != nil {
		return errors.Join(err, u.flaw)
	}
	state := u.conn.ConnectionState()
	keys, err := state.ExportKeyingMaterial("EXPORTER-BBF-USP-Record", []byte{}, 64)
	if err != nil {
		return err
	}
	u.mine, u.theirs = keys[:32], keys[32:] // the client's, the server's
	if u.server {
		u.mine, u.theirs = u.theirs, u.mine
	}
	return u.flaw
}

func (u *tunnel) secured() *tunnel {
	u.Helper()
	if err := u.handshake(); err != nil {
		u.Fatalf("TLS in the session: %v", err)
	}
	return u
}

// fields are what MAC and signature cover.
func fields(r *usppb.Record) []byte {
	s := r.GetSessionContext()
	b := []byte(r.GetVersion() + r.GetToId() + r.GetFromId())
	b = binary.BigEndian.AppendUint32(b, uint32(r.GetPayloadSecurity()))
	b = append(b, r.GetSenderCert()...)
	b = binary.BigEndian.AppendUint64(b, s.GetSessionId())
	b = binary.BigEndian.AppendUint64(b, s.GetSequenceId())
	b = binary.BigEndian.AppendUint64(b, s.GetExpectedId())
	b = binary.BigEndian.AppendUint64(b, s.GetRetransmitId())
	b = binary.BigEndian.AppendUint32(b, uint32(s.GetPayloadSarState()))
	return binary.BigEndian.AppendUint32(b, uint32(s.GetPayloadrecSarState()))
}

func mac(r *usppb.Record, key []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(fields(r))
	return h.Sum(nil)
}

// Write sends bytes as the payload of a record.
func (u *tunnel) Write(b []byte) (int, error) {
	r := &usppb.Record{
		Version: usp.RecordVersion, ToId: string(u.agent), FromId: string(u.controller.id), PayloadSecurity: usppb.Record_TLS12,
		RecordType: &usppb.Record_SessionContext{SessionContext: &usppb.SessionContextRecord{
			SessionId: u.id, SequenceId: u.next, ExpectedId: u.expected, Payload: [][]byte{bytes.Clone(b)},
		}},
	}
	u.next++
	if u.mine != nil {
		r.MacSignature = mac(r, u.mine)
	} else {
		r.SenderCert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: u.cert.Certificate[0]})
		sum := sha256.Sum256(fields(r))
		var err error
		if r.MacSignature, err = ecdsa.SignASN1(rand.Reader, u.cert.PrivateKey.(*ecdsa.PrivateKey), sum[:]); err != nil {
			return 0, err
		}
	}
	if u.spoil != nil {
		u.spoil(r)
	}
	encoded, err := proto.Marshal(r)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), testenv.Patience)
	defer cancel()
	return len(b), u.controller.link.Send(ctx, u.agent, encoded)
}

// Read waits for the next record of the session.
func (u *tunnel) Read(b []byte) (int, error) {
	for len(u.unread) == 0 {
		got, ok := u.trial.next(testenv.Patience, func(r received) bool { return r.record.GetSessionContext().GetSessionId() == u.id })
		if !ok {
			return 0, io.ErrUnexpectedEOF
		}
		u.take(got)
	}
	n := copy(b, u.unread)
	u.unread = u.unread[n:]
	return n, nil
}

// take checks a record and keeps its payload.
func (u *tunnel) take(got received) {
	r, s := got.record, got.record.GetSessionContext()
	switch {
	case r.GetPayloadSecurity() != usppb.Record_TLS12:
		u.flaw = errors.New("a record without TLS")
	case s.GetSequenceId() != u.expected:
		u.flaw = errors.New("a record out of order")
	case u.theirs != nil && !hmac.Equal(mac(r, u.theirs), r.GetMacSignature()):
		u.flaw = errors.New("a record with a wrong MAC")
	case u.theirs == nil:
		u.flaw = u.signed(r)
	}
	u.expected++
	u.unread = append(u.unread, bytes.Join(s.GetPayload(), nil)...)
}

// signed checks the signature of a record, and keeps the certificate.
func (u *tunnel) signed(r *usppb.Record) error {
	block, _ := pem.Decode(r.GetSenderCert())
	if block == nil {
		return errors.New("a record before the end of the handshake without sender_cert")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	u.sender = cert
	sum := sha256.Sum256(fields(r))
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || !ecdsa.VerifyASN1(key, sum[:], r.GetMacSignature()) {
		return errors.New("a record before the end of the handshake without a good signature")
	}
	return nil
}

// say sends a message through TLS.
func (u *tunnel) say(msg *usppb.Msg) {
	u.Helper()
	b, err := proto.Marshal(msg)
	if err == nil {
		_, err = u.conn.Write(b)
	}
	if err != nil {
		u.Fatal(err)
	}
}

// ask sends a Get through TLS and returns the answer.
func (u *tunnel) ask(path string) *usppb.Msg {
	u.Helper()
	u.say(getMessage(u.newID(), path))
	for {
		if msg := u.message(); msg.GetBody().GetRequest() == nil { // else a notification
			return msg
		}
	}
}

// message returns the next message that comes through TLS: what one record has.
func (u *tunnel) message() *usppb.Msg {
	u.Helper()
	var all []byte
	part := make([]byte, 1<<15)
	for more := true; more; more = len(u.unread) > 0 {
		n, err := u.conn.Read(part)
		if err != nil {
			u.Fatalf("TLS in the session: %v", errors.Join(err, u.flaw))
		}
		all = append(all, part[:n]...)
	}
	msg := new(usppb.Msg)
	if err := proto.Unmarshal(all, msg); err != nil || u.flaw != nil {
		u.Fatal(errors.Join(err, u.flaw))
	}
	return msg
}

// got expects a GetResp for an object.
func (u *tunnel) got(path string) {
	u.Helper()
	if r := u.ask(path).GetBody().GetResponse().GetGetResp().GetReqPathResults(); len(r) != 1 || len(r[0].GetResolvedPathResults()) == 0 {
		u.Errorf("Get of %s was answered with %v", path, r)
	}
}

// Close implements net.Conn.
func (u *tunnel) Close() error { return nil }

// LocalAddr implements net.Conn.
func (u *tunnel) LocalAddr() net.Addr { return nil }

// RemoteAddr implements net.Conn.
func (u *tunnel) RemoteAddr() net.Addr { return nil }

// SetDeadline implements net.Conn; Read waits for as long as a case has patience.
func (u *tunnel) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (u *tunnel) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (u *tunnel) SetWriteDeadline(time.Time) error { return nil }
