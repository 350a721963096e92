package trust

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
)

// revokedPrefix begins the names of the records of revoked certificates, which the
// CA owns; the serial number follows.
const revokedPrefix = "revoked/"

// revocation is one of them.
type revocation struct {
	Agent usp.EndpointID `json:"agent"`
	At    time.Time      `json:"at"`
	Until time.Time      `json:"until"` // the end of the certificate
}

// Revoke makes an agent's certificate, and a request that waits, be used no more:
// the next time that one is needed it is made anew, with another key. Revoked says
// whether the certificate is on the list of the CA here; one that was signed
// elsewhere is for those to revoke who have signed it.
func (t *Trust) Revoke(ctx context.Context, agent usp.EndpointID) (leaf *x509.Certificate, revoked bool, err error) {
	held, err := t.Show(ctx, agent)
	if err != nil {
		return nil, false, err
	}
	var b store.Batch
	if len(held.Chain) > 0 {
		leaf = held.Chain[0]
		if !t.cfg.HandOff {
			ca, err := t.authority(ctx)
			if err != nil {
				return nil, false, err
			}
			revoked = leaf.CheckSignatureFrom(ca.Chain[0]) == nil
		}
	}
	if revoked {
		record, err := json.Marshal(revocation{Agent: agent, At: t.cfg.Now().UTC(), Until: leaf.NotAfter})
		if err != nil {
			return nil, false, err
		}
		b.Put(store.Key{Kind: store.Certificate, Owner: caOwner, Name: fmt.Sprintf("%s%x", revokedPrefix, leaf.SerialNumber)}, record)
	}
	b.Delete(currentKey(agent))
	b.Delete(waitingKey(agent))
	if err := t.cfg.Store.Commit(ctx, &b); err != nil {
		return nil, false, err
	}
	t.metrics.issued.WithLabelValues("revoked").Inc()
	t.cfg.Log.Info("a certificate was revoked", "agent", agent, "listed", revoked)
	return leaf, revoked, nil
}

// listLife is how long a revocation list is good for those who keep to its next
// update.
const listLife = 7 * 24 * time.Hour

// CRL returns the list of the agents' certificates that were revoked, of the CA
// that is here, in DER form.
func (t *Trust) CRL(ctx context.Context) ([]byte, error) {
	ca, err := t.authority(ctx)
	if err != nil {
		return nil, err
	}
	now := t.cfg.Now()
	list := &x509.RevocationList{Number: big.NewInt(now.UnixNano()), ThisUpdate: now, NextUpdate: now.Add(listLife)}
	var broken error
	q := store.Query{Kind: store.Certificate, Owner: caOwner, WholeOwner: true, Name: revokedPrefix}
	err = t.cfg.Store.Scan(ctx, q, func(k store.Key, value []byte) bool {
		var r revocation
		serial, ok := new(big.Int).SetString(k.Name[len(revokedPrefix):], 16)
		if broken = json.Unmarshal(value, &r); broken != nil || !ok {
			broken = fmt.Errorf("record %s: not a revocation (%v)", k.Name, broken)
			return false
		}
		if r.Until.After(now) { // a certificate that has ended needs no list
			list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial, RevocationTime: r.At})
		}
		return true
	})
	if err = errors.Join(broken, err); err != nil {
		return nil, err
	}
	return x509.CreateRevocationList(rand.Reader, list, ca.Chain[0], ca.Key)
}
