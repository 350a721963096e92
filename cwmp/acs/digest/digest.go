// Package digest is the arithmetic of HTTP digest authentication (RFC 7616, and
// its elders RFC 2617 and RFC 2069), for both sides of TR-069: package acs
// verifies CPE with it, package connreq answers the challenges of CPE with it.
//
// It knows header values and hashes only: no requests, no nonces' life, no
// passwords' whereabouts.
package digest

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Algorithm is the value of the algorithm parameter, in its standard spelling.
type Algorithm string

// The algorithms known. SHA-512-256 is not seen on CPE.
const (
	MD5        Algorithm = "MD5"
	MD5Sess    Algorithm = "MD5-sess"
	SHA256     Algorithm = "SHA-256"
	SHA256Sess Algorithm = "SHA-256-sess"
)

// ParseAlgorithm reads the algorithm parameter as CPE write it: in any case,
// and absent or empty for MD5 (RFC 7616 3.3). ok is false for an algorithm that
// is not known.
func ParseAlgorithm(s string) (a Algorithm, ok bool) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "", "md5":
		return MD5, true
	case "md5-sess":
		return MD5Sess, true
	case "sha-256", "sha256":
		return SHA256, true
	case "sha-256-sess", "sha256-sess":
		return SHA256Sess, true
	}
	return "", false
}

// Base returns the algorithm without "-sess".
func (a Algorithm) Base() Algorithm {
	switch a {
	case MD5Sess:
		return MD5
	case SHA256Sess:
		return SHA256
	}
	return a
}

func (a Algorithm) sum(parts ...string) string {
	text := []byte(strings.Join(parts, ":"))
	if a.Base() == SHA256 {
		sum := sha256.Sum256(text)
		return hex.EncodeToString(sum[:])
	}
	sum := md5.Sum(text) // what the standard and nearly every CPE have
	return hex.EncodeToString(sum[:])
}

// Exchange is what both sides put into the hash.
type Exchange struct {
	Algorithm           Algorithm
	Username, Password  string
	Realm, Nonce        string
	Method, URI         string
	QOP                 string // "auth", or "" as in RFC 2069
	NonceCount, ClientN string // nc and cnonce as written; used with QOP or -sess
}

// Response returns the value of the response parameter in lower-case hex.
func (e *Exchange) Response() string {
	a1 := e.Algorithm.sum(e.Username, e.Realm, e.Password)
	if e.Algorithm != e.Algorithm.Base() {
		a1 = e.Algorithm.sum(a1, e.Nonce, e.ClientN)
	}
	a2 := e.Algorithm.sum(e.Method, e.URI)
	if e.QOP == "" {
		return e.Algorithm.sum(a1, e.Nonce, a2)
	}
	return e.Algorithm.sum(a1, e.Nonce, e.NonceCount, e.ClientN, e.QOP, a2)
}

// Authorization returns the value of an Authorization header for e. opaque is
// nil when the challenge had none: it is then left out, as it must be.
func (e *Exchange) Authorization(opaque *string, nameAlgorithm bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, `Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s"`,
		quote(e.Username), quote(e.Realm), quote(e.Nonce), quote(e.URI), e.Response())
	if nameAlgorithm {
		fmt.Fprintf(&b, `, algorithm=%s`, e.Algorithm)
	}
	if e.QOP != "" {
		fmt.Fprintf(&b, `, qop=%s, nc=%s`, e.QOP, e.NonceCount)
	}
	if e.QOP != "" || e.Algorithm != e.Algorithm.Base() {
		fmt.Fprintf(&b, `, cnonce="%s"`, quote(e.ClientN))
	}
	if opaque != nil {
		fmt.Fprintf(&b, `, opaque="%s"`, quote(*opaque))
	}
	return b.String()
}

// quote escapes what would end a quoted-string early and drops line breaks, so
// that no value can smuggle a header.
func quote(s string) string {
	if !strings.ContainsAny(s, "\\\"\r\n") {
		return s
	}
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "").Replace(s)
}
