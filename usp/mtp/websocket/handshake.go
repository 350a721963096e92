package websocket

import (
	"crypto/subtle"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"

	"github.com/uspbridge/uspbridge/usp"
)

// extensionHeader is spelt as RFC 6455 has it and not as net/http would:
// gorilla/websocket refuses the canonical key in a response.
const extensionHeader = "Sec-WebSocket-Extensions"

// extension is the WebSocket extension that named endpoints before ?eid= did
// (R-WS.10a, deprecated, R-WS.11a).
const extension = "bbf-usp-protocol"

// handshake is what an opening request says about its connection.
type handshake struct {
	peer    usp.EndpointID // "" if the client does not say
	local   usp.EndpointID // "" for any agent
	offered bool           // the client offered bbf-usp-protocol
	trusted bool

	chain  []*x509.Certificate // what the client showed, leaf first
	proven bool                // by it, who the peer is
}

// readHandshake reads an opening request. On an error the request is to be
// refused with the status returned.
func (s *Server) readHandshake(r *http.Request) (hs handshake, status int, err error) {
	if hs.local, err = s.localEndpoint(r.URL); err != nil {
		return hs, http.StatusNotFound, err
	}
	if !offersSubprotocol(r) { // R-WS.12a
		return hs, http.StatusBadRequest, fmt.Errorf("the subprotocol %s was not offered", Subprotocol)
	}
	// The query is looked at first: R-WS.10b has replaced the extension.
	hs.peer = usp.EndpointID(r.URL.Query().Get("eid"))
	eid, offered := extensionEndpoint(r.Header.Values(extensionHeader))
	hs.offered = offered
	if hs.peer == "" {
		hs.peer = eid
	}
	if hs.peer != "" {
		if err := hs.peer.Validate(); err != nil {
			return hs, http.StatusBadRequest, err
		}
	}
	hs.trusted = s.trusts(r)
	if err := s.identify(r.Context(), &hs, r.TLS); err != nil { // R-SEC.0a
		return hs, http.StatusForbidden, err
	}
	return hs, 0, nil
}

// localEndpoint returns the agent that the path names. Each percent sign of the
// endpoint id is escaped as %25 there, in the way of R-WS.10c.
func (s *Server) localEndpoint(u *url.URL) (usp.EndpointID, error) {
	rest, ok := strings.CutPrefix(u.EscapedPath(), s.cfg.Path)
	if !ok || rest != "" && rest[0] != '/' {
		return "", fmt.Errorf("no USP endpoint at %q", u.Path)
	}
	if rest = strings.Trim(rest, "/"); rest == "" {
		return "", nil
	}
	id, err := url.PathUnescape(rest)
	if err != nil {
		return "", fmt.Errorf("path %q: %w", u.Path, err)
	}
	return usp.EndpointID(id), usp.EndpointID(id).Validate()
}

func offersSubprotocol(r *http.Request) bool {
	for _, p := range websocket.Subprotocols(r) {
		if p == Subprotocol {
			return true
		}
	}
	return false
}

// extensionEndpoint looks for bbf-usp-protocol in the values of a
// Sec-WebSocket-Extensions header and returns its eid parameter.
func extensionEndpoint(values []string) (eid usp.EndpointID, offered bool) {
	for _, value := range values {
		for _, ext := range strings.Split(value, ",") {
			params := strings.Split(ext, ";")
			if !strings.EqualFold(strings.TrimSpace(params[0]), extension) {
				continue
			}
			for _, p := range params[1:] {
				name, v, _ := strings.Cut(p, "=")
				if strings.EqualFold(strings.TrimSpace(name), "eid") {
					return usp.EndpointID(strings.Trim(strings.TrimSpace(v), `"`)), true
				}
			}
			offered = true
		}
	}
	return "", offered
}

// trusts tells whether the request may speak as the built-in controller. A
// browser always sends Origin, so that a web page opened on this machine is not
// taken for a program of its user; a proxy on this machine says that it is one.
func (s *Server) trusts(r *http.Request) bool {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && s.cfg.Token != "" &&
		subtle.ConstantTimeCompare([]byte(token), []byte(s.cfg.Token)) == 1 {
		return true
	}
	for _, h := range []string{"Origin", "X-Forwarded-For", "X-Real-Ip", "Forwarded", "Via"} {
		if len(r.Header.Values(h)) > 0 {
			return false
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	return err == nil && net.ParseIP(host).IsLoopback()
}

// allowsOrigin keeps foreign web pages out: a browser would connect for them
// from inside the operator's network.
func (s *Server) allowsOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	for _, o := range s.cfg.Origins {
		if strings.EqualFold(o, origin) {
			return true
		}
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

// answer returns the headers of the response: bbf-usp-protocol if it was offered
// and there is one endpoint to name, for some clients refuse an extension that
// they have not asked for (R-WS.11a).
func (hs handshake) answer() http.Header {
	if !hs.offered || hs.local == "" {
		return nil
	}
	return http.Header{extensionHeader: {fmt.Sprintf("%s; eid=%q", extension, string(hs.local))}}
}
