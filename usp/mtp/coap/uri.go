package coap

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/usp"
)

// uri is a coap or coaps URI (RFC 7252 6.1, 6.2).
type uri struct {
	secure bool
	host   string // without brackets
	port   string
	path   string // segments behind slashes, not escaped; "" for none
}

// parseURI reads a URI without query, as R-COAP.2 wants it.
func parseURI(text string) (uri, error) {
	u, err := url.Parse(text)
	if err != nil {
		return uri{}, errors.New("not a URI")
	}
	port := map[string]int{"coap": Port, "coaps": SecurePort}[u.Scheme]
	if port == 0 || u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.RawQuery != "" || u.ForceQuery {
		return uri{}, errors.New("want coap://host/path or coaps://host/path, without a query")
	}
	x := uri{secure: u.Scheme == "coaps", host: u.Hostname(), port: u.Port(), path: strings.TrimRight(u.Path, "/")}
	if x.port == "" {
		x.port = strconv.Itoa(port)
	}
	return x, nil
}

// address is the UDP address.
func (u uri) address() string { return net.JoinHostPort(u.host, u.port) }

// remote names who is written to: an address and how.
type remote struct {
	secure  bool
	address string
}

func (u uri) remote() remote { return remote{u.secure, u.address()} }

// replyURI is where an endpoint is answered to. Each percent sign of its id is
// escaped, as in WebSocket paths.
func replyURI(secure bool, address, path string, endpoint usp.EndpointID) string {
	scheme := "coap"
	if secure {
		scheme = "coaps"
	}
	return scheme + "://" + address + path + "/" + url.PathEscape(string(endpoint))
}

// localEndpoint returns the agent that the Uri-Path of a request names, "" for
// any.
func localEndpoint(base, path string) (usp.EndpointID, error) {
	rest, ok := strings.CutPrefix("/"+strings.TrimLeft(path, "/"), base)
	if !ok || rest != "" && rest[0] != '/' {
		return "", fmt.Errorf("no USP endpoint at %q", path)
	}
	if rest = strings.Trim(rest, "/"); rest == "" {
		return "", nil
	}
	return usp.EndpointID(rest), usp.EndpointID(rest).Validate()
}

// replyTo returns the URI in the Uri-Query options of a request (R-COAP.2).
func replyTo(queries []string) (text string, u uri, err error) {
	for _, q := range queries {
		if value, ok := strings.CutPrefix(q, "reply-to="); ok {
			u, err := parseURI(value)
			if err != nil {
				err = fmt.Errorf("reply-to %q: %w", value, err)
			}
			return value, u, err
		}
	}
	return "", uri{}, errors.New("there is no reply-to in the query")
}
