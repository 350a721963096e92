package acs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"iter"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/uspbridge/uspbridge/cwmp/capture"
)

// CookieName is the name of the session cookie (TR-069 3.4.2: sessions over
// several connections are held together by cookies).
const CookieName = "uspbridge-session"

// sessionID is 128 random bits. It is always made here and never taken over
// from a CPE, so that nobody can plant one.
type sessionID [16]byte

func newSessionID() (id sessionID) {
	rand.Read(id[:]) // never fails: crypto/rand ends the program instead
	return id
}

// setCookie returns the value of the Set-Cookie header. Path is always given:
// without it some CPE return the cookie for the exact path only.
func (id sessionID) setCookie() string {
	return CookieName + "=" + hex.EncodeToString(id[:]) + "; Path=/; HttpOnly"
}

// cookieIDs returns the session ids in the request's cookies: more than one
// where a CPE keeps those of earlier sessions. Beyond RFC 6265 it takes the forms
// that CPE send: `$Version="0"; id=…` of RFC 2109, cookies joined by commas, and
// quoted values.
func cookieIDs(h http.Header) iter.Seq[sessionID] {
	return func(yield func(sessionID) bool) {
		for _, line := range h["Cookie"] {
			for part := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == ';' || r == ',' }) {
				name, value, found := strings.Cut(strings.TrimSpace(part), "=")
				if !found || strings.TrimSpace(name) != CookieName {
					continue
				}
				var id sessionID
				value = strings.Trim(value, "\" \t")
				if len(value) != 2*len(id) {
					continue
				}
				if _, err := hex.Decode(id[:], []byte(value)); err == nil && !yield(id) {
					return
				}
			}
		}
	}
}

// connection remembers the session opened last on a TCP connection, for CPE
// that do not return the cookie.
type connection struct {
	session    atomic.Pointer[Session]
	challenged atomic.Pointer[[]capture.Exchange] // 401s, while somebody captures
}

type connectionKey struct{}

// ConnContext is for http.Server.ConnContext: it makes sessions of CPE that do
// not return cookies follow their TCP connection. Leave it out where a load
// balancer shares connections between CPE.
func ConnContext(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, new(connection))
}

func connectionOf(ctx context.Context) *connection {
	c, _ := ctx.Value(connectionKey{}).(*connection)
	return c
}
