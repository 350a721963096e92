package servertls

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"
)

// maxFile bounds the files of CAs and revocations, in bytes: a list with a million
// entries has about 40 MB.
const maxFile = 64 << 20

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %d bytes are more than %d", name, info.Size(), maxFile)
	}
	return os.ReadFile(name)
}

// readCAs reads the certificates that client certificates are verified with.
func readCAs(name string) ([]*x509.Certificate, error) {
	b, err := readFile(name)
	if err != nil {
		return nil, err
	}
	var cas []*x509.Certificate
	for _, der := range blocks(b, "CERTIFICATE") {
		ca, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", name, len(cas)+1, err)
		}
		cas = append(cas, ca)
	}
	if len(cas) == 0 {
		return nil, fmt.Errorf("%s: no certificate in PEM form", name)
	}
	return cas, nil
}

// blocks returns the contents of PEM blocks of a type.
func blocks(b []byte, kind string) (all [][]byte) {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return all
		}
		if block.Type == kind {
			all = append(all, block.Bytes)
		}
	}
}

// revocations are the certificates that lists have revoked: issuer and serial number.
type revocations map[string]struct{}

func revocationKey(issuer []byte, serial []byte) string {
	return string(issuer) + "\x00" + string(serial)
}

// readCRL reads revocation lists (RFC 5280), several in PEM or one in DER form. Each
// must be signed by one of the CAs. One that is out of date is used all the same,
// with a warning: it is better than none, and CPE must not be locked out because
// a download has failed.
func readCRL(name string, cas []*x509.Certificate, now time.Time, log *slog.Logger) (revocations, error) {
	b, err := readFile(name)
	if err != nil {
		return nil, err
	}
	lists := blocks(b, "X509 CRL")
	if len(lists) == 0 && !bytes.HasPrefix(bytes.TrimSpace(b), []byte("-----")) {
		lists = [][]byte{b}
	}
	if len(lists) == 0 {
		return nil, fmt.Errorf("%s: no revocation list (X509 CRL) in PEM form", name)
	}
	r := revocations{}
	for i, der := range lists {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, fmt.Errorf("%s: list %d: %w", name, i+1, err)
		}
		signed := func(ca *x509.Certificate) bool {
			return bytes.Equal(ca.RawSubject, list.RawIssuer) && list.CheckSignatureFrom(ca) == nil
		}
		if !slices.ContainsFunc(cas, signed) {
			return nil, fmt.Errorf("%s: list %d, of %s: no certificate of the client CA file has signed it", name, i+1, list.Issuer)
		}
		if !list.NextUpdate.IsZero() && now.After(list.NextUpdate) {
			log.Warn("a revocation list is out of date; it is used, but newly revoked certificates are not in it",
				"file", name, "issuer", list.Issuer.String(), "due", list.NextUpdate.UTC().Format(time.RFC3339))
		}
		for _, e := range list.RevokedCertificateEntries {
			r[revocationKey(list.RawIssuer, e.SerialNumber.Bytes())] = struct{}{}
		}
	}
	return r, nil
}

// verify is for tls.Config.VerifyConnection, which is called for resumed sessions
// too. A client is let in by a chain in which nothing is revoked.
func (r revocations) verify(c tls.ConnectionState) error {
	if len(c.PeerCertificates) == 0 {
		return nil
	}
	for _, chain := range c.VerifiedChains {
		if !slices.ContainsFunc(chain, r.has) {
			return nil
		}
	}
	if len(c.VerifiedChains) == 0 {
		return errors.New("the client certificate was not verified")
	}
	return errRevoked
}

func (r revocations) has(c *x509.Certificate) bool {
	_, revoked := r[revocationKey(c.RawIssuer, c.SerialNumber.Bytes())]
	return revoked
}
