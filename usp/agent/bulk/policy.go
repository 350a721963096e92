package bulk

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// ErrForbidden is returned for collectors that the operator does not allow.
var ErrForbidden = errors.New("the operator does not allow this collector")

// Policy says which collectors may be reached. A controller names the collector
// but the bridge connects to it, from inside the operator's network: without a
// Policy a controller could reach what listens for the bridge's host alone.
//
// The zero Policy allows every collector whose address is not one of the host
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

// NewPolicy reads patterns: "bdc.example.net", "*.example.net" (subdomains),
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
			return Policy{}, fmt.Errorf("%q is no host: write bdc.example.net, *.example.net, 192.0.2.7 or 10.1.0.0/16, a host with :port if only that is meant", text)
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

// maxURL is the longest URL of a collector (Profile.{i}.HTTP.URL).
const maxURL = 2048

// Check reads a collector's URL and reports why it cannot be one. Whether the
// addresses of a host name are allowed is known when it is connected to.
func (p Policy) Check(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || len(text) > maxURL:
		return nil, errors.New("is not a URL of a collector; want for example https://bdc.example.net/reports")
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("is not the URL of a collector: want http:// or https:// and a host")
	case u.User != nil:
		return nil, errors.New("has credentials in it: set HTTP.Username and HTTP.Password")
	}
	if p.host(u.Hostname(), portOf(u)) {
		return u, nil
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		if !p.address(a) {
			return nil, fmt.Errorf("%w: %s", ErrForbidden, u.Host)
		}
		return u, nil
	}
	if !p.open() && len(p.prefixes) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrForbidden, u.Host)
	}
	return u, nil
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
