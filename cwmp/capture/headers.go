package capture

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// shownHeaders are the headers that say how a CPE, or the ACS, speaks HTTP.
var shownHeaders = []string{
	"Content-Type", "Content-Encoding", "Content-Length", "Transfer-Encoding", "Soapaction", "User-Agent", "Connection", "Expect",
	"Cookie", "Set-Cookie", "Authorization", "Www-Authenticate", "Retry-After", "Location",
}

// maxHeader bounds the length of a header's value that is kept.
const maxHeader = 1024

// headerLines returns the headers that are shown, as "Name: value" with the
// secrets masked, in a fixed order.
func headerLines(h http.Header, transfer []string) []string {
	var lines []string
	for _, name := range shownHeaders {
		values := h[name]
		if name == "Transfer-Encoding" {
			values = transfer // net/http keeps it apart
		}
		for _, v := range values {
			lines = append(lines, spelling(name)+": "+maskHeader(name, v[:min(len(v), maxHeader)]))
		}
	}
	return lines
}

// spelling is a header's name as TR-069 writes it.
func spelling(name string) string {
	switch name {
	case "Soapaction":
		return "SOAPAction"
	case "Www-Authenticate":
		return "WWW-Authenticate"
	}
	return name
}

// Header returns the value of the first header of that name, as captured.
func (m *Message) Header(name string) (value string, ok bool) {
	for _, line := range m.Headers {
		if n, v, found := strings.Cut(line, ":"); found && strings.EqualFold(n, name) {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}

var (
	cookieValue = regexp.MustCompile(`=\s*("[^"]*"|[^;,\s]*)`)
	// openParameters are what a digest's header may show: what the CPE makes of a
	// challenge, and nothing that answers it.
	openParameters  = []string{"realm", "qop", "algorithm", "nc", "uri", "stale", "charset", "userhash"}
	authParameter   = regexp.MustCompile(`([A-Za-z][\w-]*)\s*=\s*("[^"]*"|[^,\s]*)`)
	cookieAttribute = []string{"path", "domain", "version", "max-age", "expires", "httponly", "secure", "samesite", "$version", "$path", "$domain"}
)

// maskHeader masks what lets somebody in: all of Basic, what proves in Digest,
// and the values of cookies.
func maskHeader(name, value string) string {
	switch name {
	case "Authorization", "Www-Authenticate":
		scheme, rest, _ := strings.Cut(strings.TrimSpace(value), " ")
		if !strings.EqualFold(scheme, "Digest") && name == "Authorization" {
			return schemeOf(scheme) + " " + Mask
		}
		return schemeOf(scheme) + " " + strings.Join(openOnly(rest), ", ")
	case "Cookie", "Set-Cookie":
		return maskCookies(value)
	case "Location":
		return maskURLs(value, true)
	}
	return value
}

// schemeOf is the word in front of credentials, if it is one: a CPE may send the
// credentials alone.
func schemeOf(word string) string {
	for _, known := range []string{"Basic", "Digest", "Bearer"} {
		if strings.EqualFold(word, known) {
			return word
		}
	}
	return Mask
}

func openOnly(rest string) (parameters []string) {
	for _, m := range authParameter.FindAllStringSubmatch(rest, -1) {
		value := m[2]
		if !slices.Contains(openParameters, strings.ToLower(m[1])) {
			value = Mask
		}
		parameters = append(parameters, m[1]+"="+value)
	}
	return parameters
}

// maskCookies masks the values of cookies, and keeps how they are written.
func maskCookies(value string) string {
	var b strings.Builder
	for value != "" {
		part, sep := value, ""
		if i := strings.IndexAny(value, ";,"); i >= 0 {
			part, sep = value[:i], value[i:i+1]
		}
		value = value[len(part)+len(sep):]
		name, _, found := strings.Cut(part, "=")
		switch {
		case slices.Contains(cookieAttribute, strings.ToLower(strings.TrimSpace(name))):
		case found:
			part = name + cookieValue.ReplaceAllString(part[len(name):], "="+Mask)
		case strings.TrimSpace(part) != "":
			part = Mask
		}
		b.WriteString(part + sep)
	}
	return b.String()
}
