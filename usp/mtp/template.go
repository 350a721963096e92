package mtp

import (
	"fmt"
	"strings"

	"github.com/uspbridge/uspbridge/usp"
)

// EndpointPlaceholder stands for the endpoint id in topic and destination
// templates.
const EndpointPlaceholder = "{endpoint_id}"

// Template makes the address of an endpoint on a broker. With the placeholder
// each endpoint has an address of its own; without it all share one, and
// records are told apart by their to_id.
type Template struct {
	prefix, suffix string
	perEndpoint    bool
}

// ParseTemplate reads a template, which has the placeholder once or not at all.
func ParseTemplate(s string) (Template, error) {
	if s == "" {
		return Template{}, fmt.Errorf("empty address template")
	}
	prefix, suffix, found := strings.Cut(s, EndpointPlaceholder)
	if strings.Contains(suffix, EndpointPlaceholder) {
		return Template{}, fmt.Errorf("address template %q has %s more than once", s, EndpointPlaceholder)
	}
	if rest := prefix + suffix; strings.ContainsAny(rest, "{}") {
		return Template{}, fmt.Errorf("address template %q: the only placeholder is %s", s, EndpointPlaceholder)
	}
	return Template{prefix: prefix, suffix: suffix, perEndpoint: found}, nil
}

// PerEndpoint tells whether each endpoint has an address of its own.
func (t Template) PerEndpoint() bool { return t.perEndpoint }

// Expand returns the template with segment in the placeholder's place.
func (t Template) Expand(segment string) string {
	if !t.perEndpoint {
		return t.prefix
	}
	return t.prefix + segment + t.suffix
}

// Match returns what stands in the placeholder's place of address, "" if
// address is not made from this template or the template has no placeholder.
func (t Template) Match(address string) usp.EndpointID {
	if !t.perEndpoint || len(address) <= len(t.prefix)+len(t.suffix) ||
		!strings.HasPrefix(address, t.prefix) || !strings.HasSuffix(address, t.suffix) {
		return ""
	}
	return usp.EndpointID(address[len(t.prefix) : len(address)-len(t.suffix)])
}
