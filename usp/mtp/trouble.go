package mtp

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
)

// Trouble is why a connection to a broker is not up, as far as data models tell one
// reason from another.
type Trouble uint8

// The kinds of Trouble.
const (
	Unclear       Trouble = iota // or none
	Unreachable                  // the broker is not there, or does not answer
	Misconfigured                // it can never come up with these settings
	Unauthorized                 // the broker does not take who we are
)

// troubled is an error that knows what kind of Trouble it is.
type troubled struct {
	error
	trouble Trouble
}

func (t troubled) Unwrap() error { return t.error }

// As returns err as one of a kind of Trouble.
func (t Trouble) As(err error) error { return troubled{err, t} }

// TroubleOf returns what kind of Trouble an error is.
func TroubleOf(err error) Trouble {
	var t troubled
	if errors.As(err, &t) {
		return t.trouble
	}
	return Unclear
}

// NetworkTrouble is the kind of an error of dialling, or of waiting for the first
// answer. A broker whose certificate is not trusted, or that does not trust ours, is
// there.
func NetworkTrouble(err error) Trouble {
	var theirs *tls.CertificateVerificationError
	var alert tls.AlertError
	var network net.Error
	switch {
	case errors.As(err, &theirs):
		return Misconfigured
	case errors.As(err, &alert):
		return Unauthorized
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Unreachable
	}
	return Unclear
}
