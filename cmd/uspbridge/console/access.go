package console

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// access decides who is let in. With a token: who shows it, as a bearer or by
// the cookie that the login page gave. Without: clients on loopback only.
type access struct {
	token string
	now   func() time.Time
}

const (
	cookieName = "uspbridge-console"
	cookieLife = 12 * time.Hour
)

// known refuses requests whose Host is a name when there is no token: such a
// request may come from a web page whose name was made to point at loopback
// (DNS rebinding). With a token the attacker's page has no cookie to send.
func (a *access) known(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.token == "" && !localHost(r.Host) {
			http.Error(w, "without console.token the console answers to localhost and loopback addresses only", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// guard lets a request through or tells how to be let through.
func (a *access) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case a.token == "" && !fromLoopback(r):
			http.Error(w, "this console is open to its own machine only; set console.token to use it from elsewhere", http.StatusForbidden)
		case a.token == "" || a.bearer(r) || a.cookie(r):
			next.ServeHTTP(w, r)
		case r.Method == http.MethodGet && !strings.HasPrefix(r.URL.Path, "/api/") && strings.Contains(r.Header.Get("Accept"), "text/html"):
			http.Redirect(w, r, "/login?to="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="uspbridge console"`)
			http.Error(w, "the console token is missing or wrong; give it with --token or as Authorization: Bearer", http.StatusUnauthorized)
		}
	})
}

// fromLoopback reports whether the client itself is on this machine. What a
// proxy passes on comes from elsewhere.
func fromLoopback(r *http.Request) bool {
	if r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" {
		return false
	}
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && addr.Addr().Unmap().IsLoopback()
}

func localHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

func (a *access) bearer(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && a.right(token)
}

func (a *access) right(token string) bool {
	want, got := sha256.Sum256([]byte(a.token)), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// newCookie returns a login that any node with the same token accepts: its end
// and a signature over it.
func (a *access) newCookie(secure bool) *http.Cookie {
	end := strconv.FormatInt(a.now().Add(cookieLife).Unix(), 10)
	return &http.Cookie{
		Name: cookieName, Value: end + "." + a.sign(end), Path: "/", MaxAge: int(cookieLife.Seconds()),
		HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode,
	}
}

func (a *access) cookie(r *http.Request) bool {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return false
	}
	end, signature, _ := strings.Cut(c.Value, ".")
	seconds, err := strconv.ParseInt(end, 10, 64)
	return err == nil && hmac.Equal([]byte(signature), []byte(a.sign(end))) && a.now().Unix() < seconds
}

func (a *access) sign(text string) string {
	mac := hmac.New(sha256.New, []byte("uspbridge console login\x00"+a.token))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// localTarget returns where to go after a login: a path of this console, never
// another site.
func localTarget(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") || strings.Contains(to, `\`) {
		return "/"
	}
	return to
}
