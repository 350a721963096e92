package bulk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// ErrForbidden is returned for servers that the operator does not allow.
var ErrForbidden = errors.New("the operator does not allow this server")

// Policy says which servers may be connected to. A controller names the server
// but the bridge connects to it, from inside the operator's network: without a
// Policy a controller could reach what listens for the bridge's host alone.
//
// The zero Policy allows every server whose address is not one of the host
// itself or of its link: no loopback, link-local, unspecified or multicast
// addresses. One with patterns allows what they match, and nothing else.
type Policy struct {
	hosts    []hostPattern
	prefixes []netip.Prefix
}

// hostPattern is a host name, with or without subdomains, and a port; "" is any.
type hostPattern struct {
	name       string
	subdomains bool
	port       string
}

// NewPolicy reads patterns: "files.example.net", "*.example.net" (subdomains),
// "192.0.2.7", each also with ":port", and "10.1.0.0/16" for addresses.
func NewPolicy(patterns []string) (Policy, error) {
	var p Policy
	for _, text := range patterns {
		if strings.Contains(text, "/") {
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				return Policy{}, fmt.Errorf("%q is neither a host nor a prefix such as 10.1.0.0/16", text)
			}
			p.prefixes = append(p.prefixes, prefix.Masked())
			continue
		}
		u, err := url.Parse("//" + text)
		if err != nil || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" {
			return Policy{}, fmt.Errorf("%q is no host: write files.example.net, *.example.net, 192.0.2.7 or 10.1.0.0/16, a host with :port if only that is meant", text)
		}
		h := hostPattern{name: strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), port: u.Port()}
		h.name, h.subdomains = strings.CutPrefix(h.name, "*.")
		if h.name == "" || strings.Contains(h.name, "*") {
			return Policy{}, fmt.Errorf("%q: a * stands for subdomains only, as in *.example.net", text)
		}
		p.hosts = append(p.hosts, h)
	}
	return p, nil
}

// open reports whether the Policy has no patterns.
func (p Policy) open() bool { return len(p.hosts) == 0 && len(p.prefixes) == 0 }

// host reports whether a host is allowed by its name, whatever its addresses.
func (p Policy) host(name, port string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for _, h := range p.hosts {
		if h.port != "" && h.port != port {
			continue
		}
		if !h.subdomains && name == h.name || h.subdomains && strings.HasSuffix(name, "."+h.name) {
			return true
		}
	}
	return false
}

// address reports whether an address may be connected to that a host has whose
// name alone is not allowed.
func (p Policy) address(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !p.open() {
		for _, prefix := range p.prefixes {
			if prefix.Contains(a) {
				return true
			}
		}
		return false
	}
	return !a.IsLoopback() && !a.IsUnspecified() && !a.IsMulticast() &&
		!a.IsLinkLocalUnicast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// Check reports why a server cannot be connected to, as far as its URL tells:
// whether the addresses of a host name are allowed is known when it is connected
// to.
func (p Policy) Check(u *url.URL) error {
	if p.host(u.Hostname(), portOf(u)) {
		return nil
	}
	allowed := p.open() || len(p.prefixes) > 0 // by an address that it may have
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		allowed = p.address(a)
	}
	if !allowed {
		return fmt.Errorf("%w: %s", ErrForbidden, u.Host)
	}
	return nil
}

// DialContext returns the function of an http.Transport that connects where the
// Policy allows it. What a name has led to is looked at when it is connected to,
// so neither a redirect nor another answer of the DNS gets around it; an HTTP proxy
// would, since it is the proxy that connects then.
func (p Policy) DialContext(timeout time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	byName := &net.Dialer{Timeout: timeout}
	byAddress := &net.Dialer{Timeout: timeout, Control: func(_, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil || !p.address(a.Addr()) {
			return fmt.Errorf("%w: %s", ErrForbidden, address)
		}
		return nil
	}}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err == nil && p.host(host, port) {
			return byName.DialContext(ctx, network, address)
		}
		return byAddress.DialContext(ctx, network, address)
	}
}

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}
