package connreq

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
)

// The kinds of failure; errors.Is tells them apart.
var (
	ErrURL          = errors.New("the CPE's ConnectionRequestURL cannot be used")
	ErrBusy         = errors.New("the CPE is busy or in a session already")
	ErrCredentials  = errors.New("the CPE refuses the connection request's credentials")
	ErrRefused      = errors.New("the CPE refuses the connection request")
	ErrUnreachable  = errors.New("the CPE cannot be reached")
	ErrNAT          = errors.New("the CPE's address is private and cannot be reached from here")
	ErrTimeout      = errors.New("the CPE does not answer")
	ErrCertificate  = errors.New("the CPE's TLS certificate cannot be verified")
	ErrNoAnswer     = errors.New("the CPE closed the connection without an answer")
	ErrSilent       = errors.New("the CPE has not come after a UDP connection request")
	ErrNotConnected = errors.New("the CPE is not connected by XMPP")
	ErrOurSide      = errors.New("the connection request could not be sent from here")
)

// outcomes are the kinds as metrics name them.
var outcomes = map[error]string{
	ErrURL: "url", ErrBusy: "busy", ErrCredentials: "credentials", ErrRefused: "refused", ErrUnreachable: "unreachable", ErrNAT: "nat",
	ErrTimeout: "timeout", ErrCertificate: "certificate", ErrNoAnswer: "no_answer", ErrSilent: "silent",
	ErrNotConnected: "not_connected", ErrOurSide: "our_side",
}

// Outcome returns the kind of a failure in one word, for metrics; "accepted" for
// none and "given_up" for one that is no *Error.
func Outcome(err error) string {
	var failed *Error
	switch {
	case err == nil:
		return "accepted"
	case errors.As(err, &failed):
		return outcomes[failed.Kind]
	}
	return "given_up"
}

// Error is a failed connection request.
type Error struct {
	Kind   error  // one of the Err… values
	Host   string // address and port, or Jabber id, asked; "" if there was none
	Status int    // HTTP status of the CPE, 0 if there was no answer
	Err    error  // the cause, or nil
}

// Error says what failed, where, and what an operator can do.
func (e *Error) Error() string {
	if a := advice(e.Kind); a != "" {
		return e.Reason() + "; " + a
	}
	return e.Reason()
}

// Reason says what failed and where, for a list of failures.
func (e *Error) Reason() string {
	text := "connection request"
	if e.Host != "" {
		text += " to " + e.Host
	}
	text += ": " + e.Kind.Error()
	if e.Status != 0 {
		text += fmt.Sprintf(" (HTTP %d)", e.Status)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

func advice(kind error) string {
	switch kind {
	case ErrURL:
		return "the CPE announces its URL in each Inform: wait for the next one"
	case ErrBusy:
		return "try again when its session has ended"
	case ErrCredentials:
		return "set ManagementServer.ConnectionRequestUsername and ConnectionRequestPassword on it anew at its next Inform"
	case ErrCertificate:
		return "add the certificate authority of this CPE to the trusted ones"
	case ErrRefused, ErrNoAnswer:
		return "it can be reached when it informs next"
	case ErrUnreachable:
		return "check that it is online and that no firewall is between; it can be reached when it informs next"
	case ErrNAT:
		return "it is behind NAT: use STUN or XMPP connection requests, or a shorter PeriodicInformInterval"
	case ErrNotConnected:
		return "check its XMPP.Connection and the XMPP server's list of sessions"
	case ErrSilent:
		return "it may be offline, or its NAT has closed the binding"
	case ErrTimeout:
		return "it may be offline, behind NAT or a firewall; it can be reached when it informs next"
	}
	return ""
}

// passing reports whether another try may end otherwise.
func passing(err error) bool {
	return errors.Is(err, ErrBusy) || errors.Is(err, ErrNoAnswer) || errors.Is(err, ErrUnreachable)
}

// kindOf tells what an error of the connection to host means. A private address
// that cannot be reached is NAT's doing; one that can is as good as any.
func kindOf(ctx context.Context, err error, host string) error {
	var network net.Error
	timeout := errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &network) && network.Timeout()
	var dial *net.OpError
	dialing := errors.As(err, &dial) && dial.Op == "dial"
	var dns *net.DNSError
	switch {
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return ErrCertificate
	case errors.Is(err, syscall.ECONNREFUSED):
		return ErrUnreachable
	case (timeout || dialing) && Private(host):
		return ErrNAT
	case timeout:
		return ErrTimeout
	case dialing, errors.As(err, &dns):
		return ErrUnreachable
	}
	return ErrNoAnswer
}

// Private reports whether host is an address of private use or of a carrier's
// NAT (RFC 1918, RFC 6598, RFC 4193, link-local).
func Private(host string) bool {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return false // a name
	}
	a = a.Unmap()
	return a.IsPrivate() || a.IsLinkLocalUnicast() || netip.MustParsePrefix("100.64.0.0/10").Contains(a)
}
