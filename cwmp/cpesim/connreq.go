package cpesim

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/icholy/digest"

	"github.com/uspbridge/uspbridge/cwmp"
)

const (
	connectionRequestRealm = "CPE"
	nonceLife              = 5 * time.Minute
)

// connectionRequestURL is the value of the CPE's parameter of that name.
func (f *Fleet) connectionRequestURL(c *CPE) string {
	at := f.config.Announce
	if at == "" {
		at = f.listener.Addr().String()
	}
	return "http://" + at + "/" + url.PathEscape(c.path)
}

// serveConnectionRequest: TR-069 3.2.2.1. GET, digest authentication with the
// CPE's ConnectionRequestUsername and Password, 200 without a body.
func (f *Fleet) serveConnectionRequest(w http.ResponseWriter, r *http.Request) {
	f.mu.RLock()
	c := f.cpes[strings.TrimPrefix(r.URL.Path, "/")]
	f.mu.RUnlock()
	if c == nil {
		http.NotFound(w, r)
		return
	}
	if !c.Online() || c.profile.NoConnectionRequest {
		panic(http.ErrAbortHandler) // net/http's way to close without an answer
	}
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if !f.authenticated(c, r) {
		w.Header().Set("WWW-Authenticate", `Digest realm="`+connectionRequestRealm+`", qop="auth", algorithm=MD5, nonce="`+f.nonce(f.config.Clock.Now())+`"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	f.stats.connectionRequests.Add(1)
	if !c.connectionRequest() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// connectionRequest has the CPE open a session. One that comes during a session
// opens another after it (TR-069 3.2.2.1), or is refused if the profile says so.
func (c *CPE) connectionRequest() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.abort != nil && c.profile.BusyConnectionRequests {
		return false
	}
	event := cwmp.EventConnectionRequest
	if c.abort != nil && c.profile.PeriodicAfterSession {
		event = cwmp.EventPeriodic
	}
	c.queue(cwmp.Event{Code: event})
	c.urgent, c.notBefore = true, time.Time{}
	c.reschedule()
	return true
}

// nonce makes a nonce that the fleet recognises as its own without keeping it:
// its time, and a signature.
func (f *Fleet) nonce(now time.Time) string {
	stamp := strconv.FormatInt(now.Unix(), 36)
	mac := hmac.New(sha256.New, f.nonceKey[:])
	mac.Write([]byte(stamp))
	return stamp + "." + hex.EncodeToString(mac.Sum(nil)[:12])
}

func (f *Fleet) ownNonce(nonce string) bool {
	stamp, _, ok := strings.Cut(nonce, ".")
	if !ok {
		return false
	}
	seconds, err := strconv.ParseInt(stamp, 36, 64)
	if err != nil {
		return false
	}
	at := time.Unix(seconds, 0)
	age := f.config.Clock.Now().Sub(at)
	return age > -time.Minute && age < nonceLife && subtle.ConstantTimeCompare([]byte(nonce), []byte(f.nonce(at))) == 1
}

// authenticated checks the request's credentials. A CPE that nobody has given
// any takes every request, as devices do before their ACS provisions them.
func (f *Fleet) authenticated(c *CPE, r *http.Request) bool {
	c.mu.Lock()
	username, password := c.text("ManagementServer.ConnectionRequestUsername"), c.text("ManagementServer.ConnectionRequestPassword")
	c.mu.Unlock()
	if username == "" && password == "" {
		return true
	}
	credentials, err := digest.ParseCredentials(r.Header.Get("Authorization"))
	if err != nil || credentials.Username != username || credentials.Realm != connectionRequestRealm ||
		credentials.URI != r.RequestURI || !f.ownNonce(credentials.Nonce) {
		return false
	}
	want, err := digestResponse(credentials, username, password, r.Method)
	return err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(credentials.Response)) == 1
}

// digestResponse computes RFC 2617's response with qop "auth" or without qop.
func digestResponse(c *digest.Credentials, username, password, method string) (string, error) {
	if c.Algorithm != "" && !strings.EqualFold(c.Algorithm, "MD5") {
		return "", errors.New("the CPE knows MD5 only")
	}
	join := func(parts ...string) string {
		sum := md5.Sum([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(sum[:])
	}
	a1 := join(username, c.Realm, password)
	a2 := join(method, c.URI)
	if c.QOP == "" {
		return join(a1, c.Nonce, a2), nil
	}
	return join(a1, c.Nonce, nonceCount(c.Nc), c.Cnonce, c.QOP, a2), nil
}

// nonceCount writes nc as eight hexadecimal digits.
func nonceCount(nc int) string {
	digits := strconv.FormatInt(int64(nc), 16)
	return strings.Repeat("0", max(8-len(digits), 0)) + digits
}
