package record

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/usp/usppb"
)

// Bounds of a sender_cert: a chain of end-entity, intermediates and root.
const (
	maxSenderCert = 32 << 10 // bytes of PEM
	maxChain      = 8        // certificates
)

// ErrIntegrity is behind every failure to prove that the fields of a record
// outside its payload are what the sender wrote.
var ErrIntegrity = errors.New("the integrity of the record is not proven")

// protected returns the fields that MAC and signature cover: all but payload and
// mac_signature, in the order of their numbers, those of the record before those
// of its session context; numbers in big endian, enumerations in four bytes
// (R-E2E.32, R-E2E.32.1).
func protected(r *usppb.Record) []byte {
	b := make([]byte, 0, len(r.GetVersion())+len(r.GetToId())+len(r.GetFromId())+len(r.GetSenderCert())+48)
	b = append(b, r.GetVersion()...)
	b = append(b, r.GetToId()...)
	b = append(b, r.GetFromId()...)
	b = binary.BigEndian.AppendUint32(b, uint32(r.GetPayloadSecurity()))
	b = append(b, r.GetSenderCert()...)
	s := r.GetSessionContext()
	if s == nil {
		return b
	}
	for _, n := range []uint64{s.GetSessionId(), s.GetSequenceId(), s.GetExpectedId(), s.GetRetransmitId()} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(s.GetPayloadSarState()))
	return binary.BigEndian.AppendUint32(b, uint32(s.GetPayloadrecSarState()))
}

// Authenticate puts the MAC of a record into it (R-E2E.33). key is the sender's
// half of the keying material, 32 bytes (R-E2E.39).
func Authenticate(r *usppb.Record, key []byte) { r.MacSignature = mac(r, key) }

// VerifyMAC checks the MAC of a record with the sender's key.
func VerifyMAC(r *usppb.Record, key []byte) error {
	if !hmac.Equal(mac(r, key), r.GetMacSignature()) {
		return fmt.Errorf("%w: the MAC is wrong or missing", ErrIntegrity)
	}
	return nil
}

func mac(r *usppb.Record, key []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(protected(r))
	return h.Sum(nil)
}

// Sign puts the sender's certificate chain and its signature into a record
// (R-E2E.31). The key is of curve P-256.
func Sign(r *usppb.Record, cert *tls.Certificate) error {
	signer, ok := cert.PrivateKey.(crypto.Signer)
	if !ok {
		return fmt.Errorf("sign record: the key is a %T, which cannot sign", cert.PrivateKey)
	}
	if public, ok := signer.Public().(*ecdsa.PublicKey); !ok || public.Curve != elliptic.P256() {
		return errors.New("sign record: the key is not of curve P-256")
	}
	r.SenderCert = nil
	for _, der := range cert.Certificate {
		r.SenderCert = append(r.SenderCert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	sum := sha256.Sum256(protected(r))
	var err error
	r.MacSignature, err = signer.Sign(rand.Reader, sum[:], crypto.SHA256)
	return err
}

// SignEncoded is Sign for a record that is encoded.
func SignEncoded(b []byte, cert *tls.Certificate) ([]byte, error) {
	r := new(usppb.Record)
	if err := proto.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("sign record: %w", err)
	}
	if err := Sign(r, cert); err != nil {
		return nil, err
	}
	return proto.Marshal(r)
}

// VerifySignature checks the signature of a record with the key of its
// sender_cert, or without one of known, the certificate that the sender has shown
// in TLS. It returns the chain that the signature is of, leaf first: whether that
// is to be trusted is the caller's to find out. The error is an ErrIntegrity.
func VerifySignature(r *usppb.Record, known []*x509.Certificate) ([]*x509.Certificate, error) {
	chain := known
	if len(r.GetSenderCert()) > 0 {
		var err error
		if chain, err = senderChain(r.GetSenderCert()); err != nil {
			return nil, fmt.Errorf("%w: sender_cert: %w", ErrIntegrity, err)
		}
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("%w: the record has a signature and no certificate", ErrIntegrity)
	}
	key, ok := chain[0].PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%w: the certificate's key is not of curve P-256", ErrIntegrity)
	}
	sum := sha256.Sum256(protected(r))
	if !ecdsa.VerifyASN1(key, sum[:], r.GetMacSignature()) {
		return nil, fmt.Errorf("%w: the signature is wrong", ErrIntegrity)
	}
	return chain, nil
}

// senderChain reads a sender_cert.
func senderChain(text []byte) ([]*x509.Certificate, error) {
	if len(text) > maxSenderCert {
		return nil, fmt.Errorf("%d bytes: at most %d are accepted", len(text), maxSenderCert)
	}
	var chain []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if len(chain) == maxChain {
			return nil, fmt.Errorf("more than %d certificates", maxChain)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		return nil, errors.New("no certificate in PEM")
	}
	return chain, nil
}
