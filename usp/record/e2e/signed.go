package e2e

import (
	"bytes"
	"crypto/x509"
	"fmt"

	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// vouched is the sender_cert that Identity last found to be the peer's.
type vouched struct {
	cert  []byte
	chain []*x509.Certificate
}

// VerifySigned checks the signature of a record and whose it is. identity may be
// nil: then the record is only known to be what the owner of sender_cert wrote.
func VerifySigned(r *usppb.Record, identity Identity) error { return new(vouched).verify(r, identity) }

func (v *vouched) verify(r *usppb.Record, identity Identity) error {
	chain, err := record.VerifySignature(r, v.chain)
	if err != nil {
		return err
	}
	same := len(r.GetSenderCert()) == 0 || bytes.Equal(v.cert, r.GetSenderCert())
	if identity == nil || len(v.chain) > 0 && same {
		return nil
	}
	if err := identity.Verify(chain); err != nil {
		return fmt.Errorf("%w: %w", record.ErrIntegrity, err)
	}
	v.cert, v.chain = r.GetSenderCert(), chain
	return nil
}
