package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
)

// secure is the TLS session inside a session context. It works on bytes: the
// handshake runs as a coroutine, only while there is something for it to read.
type secure struct {
	wire   wire
	conn   *tls.Conn
	resume func() (struct{}, bool) // of the handshake
	end    func()
	err    error // of the handshake

	established        bool
	version            uint16
	peer               []*x509.Certificate
	sending, receiving []byte // keys of the MACs (R-E2E.39)

	partial []byte // of a TLS record that has not come whole
	shaken  int    // bytes of the handshake
}

const (
	exporterLabel  = "EXPORTER-BBF-USP-Record" // R-E2E.36
	exporterLength = 64                        // R-E2E.37: 32 for the client, 32 for the server

	recordHeader    = 5            // type, version, length
	maxCiphertext   = 16384 + 2048 // of one TLS record (RFC 5246 6.2.3)
	maxHandshake    = 64 << 10     // bytes from the peer; chains of certificates are the most of it
	tlsHandshake    = 22           // content types of TLS records
	leastType       = 20
	greatestType    = 23
	tlsMajorVersion = 3
)

var errTLS = errors.New("TLS in the session fails")

// newSecure begins a handshake; client is who began the session (TR-369 "Session
// Handshake").
func newSecure(client bool, cert *tls.Certificate, id Identity, newest uint16) (*secure, error) {
	s := &secure{}
	config := &tls.Config{
		MinVersion:       tls.VersionTLS12,
		MaxVersion:       newest, // 0: what crypto/tls has
		Certificates:     []tls.Certificate{*cert},
		CipherSuites:     []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, // R-E2E.40; those of TLS 1.3 cannot be chosen
		CurvePreferences: []tls.CurveID{tls.CurveP256},                          // R-E2E.40a
		ClientAuth:       tls.RequireAnyClientCert,                              // R-E2E.43
		// Certificates name endpoints, not hosts: VerifyConnection looks at them.
		InsecureSkipVerify:          true,
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			return verifyPeer(state.PeerCertificates, id)
		},
	}
	if client {
		s.conn = tls.Client(&s.wire, config)
	} else {
		s.conn = tls.Server(&s.wire, config)
	}
	s.resume, s.end = iter.Pull(func(yield func(struct{}) bool) {
		s.wire.wait = func() bool { return yield(struct{}{}) }
		s.err = s.conn.HandshakeContext(context.Background())
		s.wire.wait = nil
	})
	return s, s.shake(client)
}

// verifyPeer judges the certificate chain of the peer.
func verifyPeer(chain []*x509.Certificate, id Identity) error {
	if len(chain) == 0 {
		return errors.New("the peer shows no certificate")
	}
	if key, ok := chain[0].PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() { // R-E2E.40b
		return errors.New("the key of the peer's certificate is not of curve P-256")
	}
	return id.Verify(chain)
}

// shake runs the handshake until it needs more, or is over.
func (s *secure) shake(client bool) error {
	if _, waits := s.resume(); waits {
		return nil
	}
	if s.err != nil {
		return fmt.Errorf("%w: %w", errTLS, s.err)
	}
	state := s.conn.ConnectionState()
	// An empty context is not the same as none (RFC 5705 4).
	keys, err := state.ExportKeyingMaterial(exporterLabel, []byte{}, exporterLength)
	if err != nil {
		return fmt.Errorf("%w: %w", errTLS, err)
	}
	s.established, s.version, s.peer = true, state.Version, state.PeerCertificates
	s.sending, s.receiving = keys[32:], keys[:32]
	if client {
		s.sending, s.receiving = keys[:32], keys[32:]
	}
	return nil
}

// receive takes bytes of TLS records, whole or in part, and returns what they say
// to us. There may be something to send afterwards, also with an error.
func (s *secure) receive(b []byte, client bool) ([]byte, error) {
	if !s.established {
		if s.shaken += len(b); s.shaken > maxHandshake {
			return nil, fmt.Errorf("%w: a handshake of more than %d bytes", errTLS, maxHandshake)
		}
	}
	b = append(s.partial, b...)
	s.partial = nil
	for len(b) > 0 {
		n, err := firstRecord(b)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		// In TLS 1.2 a handshake record is a request to renegotiate: it is not
		// accepted (R-E2E.42). TLS 1.3 has none; there the record's type is hidden.
		if b[0] != tlsHandshake || !s.established || s.version > tls.VersionTLS12 {
			s.wire.in.Write(b[:n])
		}
		b = b[n:]
		if !s.established {
			if err := s.shake(client); err != nil {
				return nil, err
			}
		}
	}
	s.partial = bytes.Clone(b)
	if !s.established {
		return nil, nil
	}
	var plain bytes.Buffer
	if _, err := plain.ReadFrom(s.conn); !errors.Is(err, dry{}) {
		return nil, fmt.Errorf("%w: %w", errTLS, errors.Join(err, errWire))
	}
	return plain.Bytes(), nil
}

// firstRecord returns the length of the first TLS record, 0 if it is not whole.
func firstRecord(b []byte) (int, error) {
	if b[0] < leastType || b[0] > greatestType || len(b) > 1 && b[1] != tlsMajorVersion {
		return 0, fmt.Errorf("%w: what has come is no TLS record", errTLS)
	}
	if len(b) < recordHeader {
		return 0, nil
	}
	n := int(binary.BigEndian.Uint16(b[3:]))
	if n > maxCiphertext {
		return 0, fmt.Errorf("%w: a TLS record of %d bytes", errTLS, n)
	}
	if len(b) < recordHeader+n {
		return 0, nil
	}
	return recordHeader + n, nil
}

// seal encrypts a message; units returns the TLS records.
func (s *secure) seal(msg []byte) error {
	if _, err := s.conn.Write(msg); err != nil {
		return fmt.Errorf("%w: %w", errTLS, err)
	}
	return nil
}

// units returns the TLS records that are to be sent.
func (s *secure) units() (units [][]byte) {
	for b := s.wire.taken(); len(b) > 0; {
		n, err := firstRecord(b)
		if err != nil || n == 0 {
			return append(units, b) // not to be: crypto/tls writes whole records
		}
		units = append(units, b[:n:n])
		b = b[n:]
	}
	return units
}

// close ends a handshake that is under way.
func (s *secure) close() { s.end() }
