package usp

import (
	"crypto/x509"
	"net/url"
	"slices"
	"strings"
)

// urnPrefix begins the URN of an endpoint (TR-369 "Endpoint Identifier"): the
// namespace of the Broadband Forum, and what the name is in it.
const urnPrefix = "urn:bbf:usp:id:"

// fqdnPrefix begins the ids of endpoints that are named by their domain.
const fqdnPrefix = "fqdn::"

// URN returns the form that an endpoint id has in a certificate. What is
// percent-encoded in an instance id is so in the URN, too: both allow the same
// characters (R-ARC.5), so that nothing is encoded twice.
func (id EndpointID) URN() string { return urnPrefix + string(id) }

// ParseURN returns the endpoint that a URN names. "urn" and the namespace may be
// in any case (RFC 8141 2); what follows is compared as it is.
func ParseURN(urn string) (EndpointID, bool) {
	const namespace = len("urn:bbf:")
	if len(urn) <= len(urnPrefix) || !strings.EqualFold(urn[:namespace], urnPrefix[:namespace]) ||
		urn[namespace:len(urnPrefix)] != urnPrefix[namespace:] {
		return "", false
	}
	id := EndpointID(urn[len(urnPrefix):])
	return id, id.Validate() == nil && wellFormed(string(id))
}

// wellFormed reports whether an id has only the characters of endpoint ids
// (R-ARC.5): no wildcards, which only certificates that agents share may have
// (R-SEC.12), and nothing that a log or a URL would have to escape.
func wellFormed(id string) bool {
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._:%", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// maxNames bounds the names that are looked at in one certificate.
const maxNames = 64

// EndpointsOf returns the endpoints that a certificate names by URN in its
// subjectAltName (TR-369 R-SEC.0a). Other names in it are left out, and so are
// wildcards. That the certificate is any good is for package trust to say.
func EndpointsOf(c *x509.Certificate) []EndpointID {
	var ids []EndpointID
	for _, u := range c.URIs[:min(len(c.URIs), maxNames)] {
		if id, ok := ParseURN(u.String()); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// Names reports whether a certificate names an endpoint: by URN, or by its domain if
// the endpoint is named for that. A domain alone names no other endpoint: it is for
// those who connect to it by that.
func Names(c *x509.Certificate, id EndpointID) bool {
	if domain, ok := strings.CutPrefix(string(id), fqdnPrefix); ok && !strings.ContainsAny(domain, "*:") &&
		slices.ContainsFunc(c.DNSNames[:min(len(c.DNSNames), maxNames)], func(name string) bool { return strings.EqualFold(name, domain) }) {
		return true
	}
	return slices.Contains(EndpointsOf(c), id)
}

// AddTo puts an endpoint's name into a certificate that is to be issued, in the
// form of its scheme.
func (id EndpointID) AddTo(template *x509.Certificate) {
	template.URIs = append(template.URIs, &url.URL{Scheme: "urn", Opaque: strings.TrimPrefix(id.URN(), "urn:")})
	if domain, ok := strings.CutPrefix(string(id), fqdnPrefix); ok {
		template.DNSNames = append(template.DNSNames, domain)
	}
}
