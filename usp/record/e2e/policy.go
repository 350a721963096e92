package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/uspbridge/uspbridge/usp/usppb"
)

// Use is whether something is used with a peer
// (Device.LocalAgent.Controller.{i}.E2ESession.SessionMode).
type Use string

// The values of Use.
const (
	Forbid  Use = "Forbid"
	Allow   Use = "Allow"
	Require Use = "Require"
)

// Policy is what holds between two endpoints. It may change from one call to the
// next.
type Policy struct {
	Mode     Use // of session contexts
	Security Use // of TLS in them
	// TLS has sessions that begin here be secured; sessions that the peer begins
	// are as the peer wants, within Security.
	TLS bool

	MaxRecord   int           // bytes of the largest record the peer, or a broker before it, takes; 0: any
	Retransmits int           // how often one record is sent again at request; -1: any number
	Expiration  time.Duration // without an exchange; 0: never
	// Wait is the time before a session that failed is begun for the n-th time
	// again, from 0 on (R-E2E.10). nil: always the default of Limits.Gap.
	Wait func(n int) time.Duration
}

// payloadSecurity is that of the sessions that begin here.
func (p Policy) payloadSecurity() usppb.Record_PayloadSecurity {
	if p.TLS || p.Security == Require {
		return usppb.Record_TLS12
	}
	return usppb.Record_PLAINTEXT
}

// Identity proves who the local endpoint is, and judges who the peer is.
type Identity interface {
	// Certificate returns the local endpoint's certificate with its key.
	Certificate() (*tls.Certificate, error)
	// Verify returns nil if a chain, leaf first, is one of the peer's.
	Verify(chain []*x509.Certificate) error
}

// Limits bound what a peer can make a session cost. Zero fields get defaults.
type Limits struct {
	// Ahead is how many records after the one that is missing are kept, and how
	// far a sequence_id may be ahead.
	Ahead      int           // default 256
	AheadBytes int           // default 4 MiB
	Kept       int           // records kept for retransmission; the oldest go first (default 1024)
	KeptBytes  int           // default 4 MiB
	Message    int           // bytes of a message put together from segments (default 5 MiB, as a record)
	Waiting    int           // messages that wait for the TLS handshake (default 64)
	Handshake  time.Duration // the TLS handshake must be over then (default 30 s)
	Gap        time.Duration // after which a missing record is asked for (default 2 s)
	Asked      int           // times a missing record is asked for before the session is begun again (default 5)
	Openings   int           // sessions that a peer may begin in quick succession (default 10)
	Opening    time.Duration // after which it may begin one more (default 5 s)
	Idle       time.Duration // a session without exchange is ended then (default 1 h)

	newestTLS uint16 // for tests
}

func (l *Limits) setDefaults() {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&l.Ahead, 256}, {&l.AheadBytes, 4 << 20}, {&l.Kept, 1024}, {&l.KeptBytes, 4 << 20},
		{&l.Message, 5 << 20}, {&l.Waiting, 64}, {&l.Asked, 5}, {&l.Openings, 10},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&l.Handshake, 30 * time.Second}, {&l.Gap, 2 * time.Second}, {&l.Opening, 5 * time.Second}, {&l.Idle, time.Hour}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
}
