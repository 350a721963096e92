package trust

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// anchors are the certificates that end a path of trust.
type anchors struct {
	pool *x509.CertPool
	all  []Authority
}

// anchorsOf joins the configured authorities and those of an agent. The agent's
// come first: they say more of what they are trusted to do.
func anchorsOf(cas []*x509.Certificate, own []Authority) anchors {
	a := anchors{pool: x509.NewCertPool(), all: slices.Clone(own)}
	for _, ca := range cas {
		a.all = append(a.all, Authority{Certificate: ca, Uses: Peers})
	}
	for _, ca := range a.all {
		a.pool.AddCert(ca.Certificate)
	}
	return a
}

func (a anchors) of(c *x509.Certificate) (Authority, bool) {
	for _, ca := range a.all {
		if ca.Certificate.Equal(c) {
			return ca, true
		}
	}
	return Authority{}, false
}

// path leads from a leaf to who vouches for it.
type path struct {
	certs []*x509.Certificate
	by    Authority
}

// path finds the way to the nearest authority: of several in a chain the first
// counts (R-SEC.25).
func (j *judgement) path() (path, error) {
	opts := x509.VerifyOptions{Roots: j.anchors.pool, Intermediates: x509.NewCertPool(), KeyUsages: peerUses}
	for _, c := range j.chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	var chains [][]*x509.Certificate
	var err error
	for _, at := range j.moments() {
		opts.CurrentTime = at
		if chains, err = j.chain[0].Verify(opts); err == nil {
			break
		}
	}
	if err != nil {
		return path{}, reasonOf(err)
	}
	var best path
	for _, c := range chains {
		for i, cert := range c {
			by, ok := j.anchors.of(cert)
			if ok && (best.certs == nil || i+1 < len(best.certs)) {
				best = path{certs: c[:i+1], by: by}
			}
			if ok {
				break
			}
		}
	}
	return best, nil
}

// moments are the times at which a chain is to be judged: now, or while the time is
// not known those at which its certificates begin to be valid. If there was a time
// at which all of them were, the last of these beginnings is one.
func (j *judgement) moments() []time.Time {
	now, known := j.trust.time()
	if known {
		return []time.Time{now}
	}
	var all []time.Time
	for _, c := range j.chain {
		all = append(all, c.NotBefore)
	}
	for _, a := range j.anchors.all {
		issues := func(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, a.Certificate.RawSubject) }
		if len(all) < 2*maxChain && slices.ContainsFunc(j.chain, issues) {
			all = append(all, a.Certificate.NotBefore)
		}
	}
	slices.SortFunc(all, func(a, b time.Time) int { return b.Compare(a) })
	return all
}

// reasonOf sorts out why no path was found.
func reasonOf(err error) error {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) {
		switch invalid.Reason {
		case x509.Expired:
			return fmt.Errorf("%w: %w", Expired, err)
		case x509.IncompatibleUsage:
			return fmt.Errorf("%w: %w", WrongUse, err)
		}
	}
	return fmt.Errorf("%w: %w", Untrusted, err)
}
