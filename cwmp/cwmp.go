// Package cwmp is the vocabulary of TR-069 (CPE WAN Management Protocol): who a
// CPE is, what it reports, what it can be asked, and how it refuses.
//
// It is a leaf: it imports nothing of the project and knows nothing of wires,
// sessions or USP. Package soap writes these types to envelopes and reads them
// back; package acs carries them through sessions; package translate gives them
// a meaning in USP.
package cwmp

import (
	"fmt"
	"strings"
)

// DeviceID is the DeviceIdStruct of an Inform (TR-069 A.3.3.1, table 36).
type DeviceID struct {
	Manufacturer string
	OUI          string
	ProductClass string
	SerialNumber string
}

// DeviceKey names one CPE inside the bridge: OUI, product class and serial
// number, escaped and joined by '-'. The manufacturer's name is not part of it:
// CPE change its spelling between firmware versions.
type DeviceKey string

// Key returns the CPE's key. Two CPE have the same key only if OUI,
// ProductClass and SerialNumber are all equal, byte for byte.
func (id DeviceID) Key() DeviceKey {
	return DeviceKey(EscapeKey(id.OUI) + "-" + EscapeKey(id.ProductClass) + "-" + EscapeKey(id.SerialNumber))
}

// EscapeID percent-encodes a part of a DeviceID as TR-069 3.4.4 has it for user
// names: what is not a letter, digit or '_'.
func EscapeID(s string) string {
	return strings.ReplaceAll(EscapeKey(s), ".", "%2E") // device keys leave dots as they are
}

// EscapeKey percent-encodes what is not a letter, digit, '.' or '_', so that
// '-' separates unambiguously.
func EscapeKey(s string) string {
	clean := true
	for i := 0; i < len(s); i++ {
		if !keyByte(s[i]) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if keyByte(s[i]) {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}

func keyByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_'
}

// Path is a CWMP parameter or object path. Object and partial paths end in '.'.
type Path string

// IsPartial reports whether p names an object or a subtree rather than a
// parameter (TR-069 A.3.2.2: "ends with a dot").
func (p Path) IsPartial() bool { return p == "" || strings.HasSuffix(string(p), ".") }

// Root returns the root object of the path, "InternetGatewayDevice." or
// "Device." for standard models, with its dot; "" if the path has none.
func (p Path) Root() Path {
	if i := strings.IndexByte(string(p), '.'); i >= 0 {
		return p[:i+1]
	}
	return ""
}

// Version is the version of a message's XML namespace. A conforming CPE of CWMP
// 1.3 or 1.4 still writes cwmp-1-2 (the schemas cwmp-1-3.xsd and cwmp-1-4.xsd
// have that target namespace) and tells its version in SupportedCWMPVersions;
// others write cwmp-1-3 or cwmp-1-4. Each is answered in kind.
type Version uint8

// The versions of the CWMP namespace seen on the wire.
const (
	Version1_0 Version = iota
	Version1_1
	Version1_2
	Version1_3
	Version1_4
)

const namespacePrefix = "urn:dslforum-org:cwmp-1-"

// Namespace returns the XML namespace, urn:dslforum-org:cwmp-1-0 … cwmp-1-4.
func (v Version) Namespace() string { return namespacePrefix + string('0'+byte(v)) }

// String returns "1.0" … "1.4".
func (v Version) String() string { return "1." + string('0'+byte(v)) }

// VersionOfNamespace returns the version whose namespace ns is. A namespace of
// the family with a number above 4 is taken as 1.4, since later versions must
// stay compatible; what follows the number, such as a slash, says nothing. ok is
// false for a namespace of another family.
func VersionOfNamespace(ns string) (v Version, ok bool) {
	n, ok := strings.CutPrefix(strings.TrimSpace(ns), namespacePrefix)
	digits := 0
	for digits < len(n) && n[digits] >= '0' && n[digits] <= '9' {
		digits++
	}
	if !ok || digits == 0 {
		return 0, false
	}
	if n = strings.TrimLeft(n[:digits], "0"); n == "" {
		return Version1_0, true
	}
	if len(n) > 1 || n[0] > '4' {
		return Version1_4, true
	}
	return Version(n[0] - '0'), true
}
