package capture

import (
	"bytes"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
)

// anonymiser replaces what says whose CPE it is, the same by the same throughout
// a capture: serial numbers, hardware addresses but for their vendor's part, IP
// addresses, SSIDs and user names. Private addresses of a home (192.168/16) and
// net masks stay: they are the same everywhere and tell how a network is laid out.
type anonymiser struct {
	given   map[string]string // by kind and original
	count   map[string]int    // by kind
	serials []string          // replaced also inside other texts
}

// maxGiven bounds what an anonymiser remembers; beyond it a text is masked.
const maxGiven = 1 << 16

func newAnonymiser() *anonymiser {
	return &anonymiser{given: map[string]string{}, count: map[string]int{}}
}

// shortestSerial is the length from which on a serial number is looked for inside
// other texts.
const shortestSerial = 5

// device replaces the serial number of a session's device. It must come before
// the session's messages.
func (a *anonymiser) device(d Device) Device {
	if len(d.SerialNumber) >= shortestSerial && a.given["serial"+d.SerialNumber] == "" {
		a.serials = append(a.serials, d.SerialNumber)
	}
	d.SerialNumber = a.serial(d.SerialNumber)
	return d
}

func (a *anonymiser) serial(text string) string {
	return a.replace("serial", text, func(n int) string { return fmt.Sprintf("ANON%06d", n) })
}

// replace gives an original its replacement.
func (a *anonymiser) replace(kind, original string, next func(n int) string) string {
	if original == "" || original == Mask {
		return original
	}
	if r, ok := a.given[kind+original]; ok {
		return r
	}
	if len(a.given) >= maxGiven {
		return Mask
	}
	a.count[kind]++
	r := next(a.count[kind])
	a.given[kind+original] = r
	return r
}

// body replaces in the texts of a message. What cannot be read as XML has been
// masked wholly before.
func (a *anonymiser) body(body []byte) []byte {
	out, err := Rewrite(body, func(t Text) (string, bool) {
		switch {
		case t.Parameter != "":
			return a.value(cwmp.Path(t.Parameter).Leaf(), t.Text), true
		case strings.EqualFold(t.Element, "Name"), strings.EqualFold(t.Element, "ParameterName"):
			return "", false
		}
		return a.value(t.Element, t.Text), true
	})
	if err != nil {
		return body
	}
	return out
}

// value replaces in the value of a parameter, or the text of an argument.
func (a *anonymiser) value(name, text string) string {
	folded := strings.ToLower(name)
	switch {
	case strings.HasSuffix(folded, "version"):
		return text // four numbers that are no address
	case folded == "serialnumber":
		return a.serial(text)
	case folded == "ssid":
		return a.replace("ssid", text, func(n int) string { return fmt.Sprintf("ssid-%d", n) })
	case strings.HasSuffix(folded, "username"), strings.HasSuffix(folded, "hostname"), folded == "directorynumber", folded == "uri":
		return a.replace("name", text, func(n int) string { return fmt.Sprintf("name-%d", n) })
	}
	return a.text(text)
}

var (
	macAddress  = regexp.MustCompile(`(?i)\b([0-9a-f]{2}[:-][0-9a-f]{2}[:-][0-9a-f]{2})([:-])[0-9a-f]{2}[:-][0-9a-f]{2}[:-][0-9a-f]{2}\b`)
	ip4Address  = regexp.MustCompile(`\b(?:\d{1,3}\.){3}\d{1,3}\b`)
	ip6Address  = regexp.MustCompile(`(?i)[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}`)
	homeNetwork = netip.MustParsePrefix("192.168.0.0/16")
)

// text replaces what it knows by its form, and the serial numbers seen, wherever
// they are in a text.
func (a *anonymiser) text(text string) string {
	for _, s := range a.serials {
		if strings.Contains(text, s) {
			text = strings.ReplaceAll(text, s, a.serial(s))
		}
	}
	if !strings.ContainsAny(text, ".:-") {
		return text
	}
	text = macAddress.ReplaceAllStringFunc(text, a.mac)
	text = ip4Address.ReplaceAllStringFunc(text, a.ip4)
	return ip6Address.ReplaceAllStringFunc(text, a.ip6)
}

// mac keeps the part that tells the vendor.
func (a *anonymiser) mac(text string) string {
	sep := text[8:9]
	low := a.replace("mac", strings.ToLower(strings.ReplaceAll(text, sep, "")), func(n int) string {
		return fmt.Sprintf("%02X|%02X|%02X", n>>16&255, n>>8&255, n&255)
	})
	return text[:8] + sep + strings.ReplaceAll(low, "|", sep)
}

// ip4 puts addresses into 198.18.0.0/15 (RFC 2544), which nobody has.
func (a *anonymiser) ip4(text string) string {
	ip, err := netip.ParseAddr(text)
	if err != nil || homeNetwork.Contains(ip) || ip.IsLoopback() || ip.IsUnspecified() || ip.IsMulticast() || bytes.HasPrefix(ip.AsSlice(), []byte{255}) {
		return text
	}
	return a.replace("ip4", text, func(n int) string { return fmt.Sprintf("198.%d.%d.%d", 18+n>>16&1, n>>8&255, n&255) })
}

// ip6 puts addresses into 2001:db8::/32 (RFC 3849).
func (a *anonymiser) ip6(text string) string {
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.IsLoopback() || ip.IsUnspecified() || ip.IsMulticast() {
		return text
	}
	return a.replace("ip6", text, func(n int) string { return fmt.Sprintf("2001:db8::%x", n) })
}
