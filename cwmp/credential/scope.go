package credential

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
)

// Scope says which devices a credential is for. Its parts are escaped as in a
// cwmp.DeviceKey; in each, * stands for any text and ? for any one character.
type Scope struct{ OUI, ProductClass, Serial string }

// maxPart bounds a part of a Scope, in bytes: DeviceIdStruct has 64 characters
// (TR-069 table 36), which may be escaped.
const maxPart = 3 * 64

// NewScope makes a Scope of the parts as a device has them, with wildcards.
func NewScope(oui, productClass, serial string) (Scope, error) {
	s := Scope{strings.ToUpper(escapePattern(oui)), escapePattern(productClass), escapePattern(serial)}
	return s, s.check()
}

// ParseScope reads the form that String writes.
func ParseScope(text string) (Scope, error) {
	parts := strings.Split(text, "-")
	if len(parts) != 3 {
		return Scope{}, fmt.Errorf("%.100q is not OUI-PRODUCTCLASS-SERIALNUMBER; a dash inside a part is written %%2D, * stands for any text", text)
	}
	for i, p := range parts {
		// A wildcard that is meant as itself is escaped and has to stay so.
		plain, err := url.PathUnescape(keepEscaped.Replace(p))
		if err != nil {
			return Scope{}, fmt.Errorf("%.100q: %w", text, err)
		}
		parts[i] = asEscaped.Replace(escapePattern(plain))
	}
	s := Scope{strings.ToUpper(parts[0]), parts[1], parts[2]}
	return s, s.check()
}

// Escaped wildcards are escaped once more while the rest is unescaped.
var (
	keepEscaped = strings.NewReplacer("%2A", "%252A", "%2a", "%252A", "%3F", "%253F", "%3f", "%253F")
	asEscaped   = strings.NewReplacer("%252A", "%2A", "%253F", "%3F")
)

// deviceScope is the Scope of exactly one device.
func deviceScope(id cwmp.DeviceID) Scope {
	return Scope{strings.ToUpper(cwmp.EscapeKey(id.OUI)), cwmp.EscapeKey(id.ProductClass), cwmp.EscapeKey(id.SerialNumber)}
}

func (s Scope) check() error {
	if len(s.OUI) > maxPart || len(s.ProductClass) > maxPart || len(s.Serial) > maxPart {
		return errors.New("OUI, product class and serial number may have 64 characters each")
	}
	if s.OUI == "" {
		return errors.New("there is no OUI; write * for any")
	}
	return nil
}

// escapePattern escapes what is not a wildcard.
func escapePattern(text string) string {
	var b strings.Builder
	for {
		i := strings.IndexAny(text, "*?")
		if i < 0 {
			b.WriteString(cwmp.EscapeKey(text))
			return b.String()
		}
		b.WriteString(cwmp.EscapeKey(text[:i]))
		b.WriteByte(text[i])
		text = text[i+1:]
	}
}

// String returns the parts joined by dashes.
func (s Scope) String() string { return s.OUI + "-" + s.ProductClass + "-" + s.Serial }

func exact(part string) bool { return !strings.ContainsAny(part, "*?") }

// single reports whether the credential is one device's: its serial number is
// exact, the rest is exact or left open.
func (s Scope) single() bool {
	return exact(s.Serial) && (exact(s.ProductClass) || s.ProductClass == "*") && (exact(s.OUI) || s.OUI == "*")
}

// singles returns the Scopes by which a device may have a credential of its own,
// the most specific first.
func (s Scope) singles() []Scope {
	if s.Serial == "" { // all devices without one would share it
		return []Scope{s}
	}
	return []Scope{s, {"*", s.ProductClass, s.Serial}, {s.OUI, "*", s.Serial}, {"*", "*", s.Serial}}
}

// covers reports whether a device is in the Scope.
func (s Scope) covers(device Scope) bool {
	return match(s.OUI, device.OUI) && match(s.ProductClass, device.ProductClass) && match(s.Serial, device.Serial)
}

// match reports whether text is what pattern stands for, in time proportional to
// the product of their lengths at worst.
func match(pattern, text string) bool {
	p, t, star, from := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, t
			p++
		case p < len(pattern) && pattern[p] == '?':
			p, t = p+1, t+character(text[t:])
		case p < len(pattern) && pattern[p] == text[t]:
			p, t = p+1, t+1
		case star >= 0:
			from++
			p, t = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// character is the length of the first character of an escaped text.
func character(text string) int {
	if text[0] == '%' && len(text) >= 3 {
		return 3
	}
	return 1
}

// moreSpecific orders Scopes: by serial number, then product class, then OUI; in
// each an exact part before a pattern, and a pattern with more fixed characters
// before one with fewer. Equally specific ones are in the order of their texts.
func (s Scope) moreSpecific(t Scope) int {
	for _, parts := range [][2]string{{s.Serial, t.Serial}, {s.ProductClass, t.ProductClass}, {s.OUI, t.OUI}} {
		if d := fixed(parts[1]) - fixed(parts[0]); d != 0 {
			return d
		}
	}
	return strings.Compare(s.String(), t.String())
}

// fixed counts the characters of a part that are no wildcards; an exact part has
// more than any pattern.
func fixed(part string) int {
	if exact(part) {
		return maxPart + 1
	}
	return len(part) - strings.Count(part, "*") - strings.Count(part, "?")
}
