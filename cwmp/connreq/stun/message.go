package stun

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
)

// Message types (RFC 3489 11.1).
const (
	BindingRequest  uint16 = 0x0001
	BindingResponse uint16 = 0x0101
	BindingError    uint16 = 0x0111
)

// Attribute types (RFC 3489 11.2, RFC 5389 18.2, TR-069 G.2.1.2). Those below
// 0x8000 must be understood by who gets them.
const (
	MappedAddress            uint16 = 0x0001
	ResponseAddress          uint16 = 0x0002
	ChangeRequest            uint16 = 0x0003
	Username                 uint16 = 0x0006
	MessageIntegrity         uint16 = 0x0008
	ErrorCode                uint16 = 0x0009
	UnknownAttributes        uint16 = 0x000A
	ReflectedFrom            uint16 = 0x000B
	XORMappedAddress         uint16 = 0x0020
	ConnectionRequestBinding uint16 = 0xC001
	BindingChange            uint16 = 0xC002

	optional uint16 = 0x8000
)

// BindingValue is the fixed value of CONNECTION-REQUEST-BINDING; its last
// character is a space.
const BindingValue = "dslforum.org/TR-111 "

// Error codes (RFC 3489 11.2.9).
const (
	codeUnauthorized     = 401
	codeUnknownAttribute = 420
	codeIntegrity        = 431
)

const (
	headerBytes    = 20
	cookie         = 0x2112A442 // RFC 5389: the first four bytes of the transaction id
	integrityBytes = 4 + sha1.Size
	hmacBlock      = 64 // RFC 3489 11.2.8: what is signed is padded with zeros to a multiple of it

	// MaxDatagram and maxAttributes bound what is read. A Binding Request of
	// Annex G has at most six attributes, and the longest, USERNAME, 256 bytes.
	MaxDatagram   = 1280
	maxAttributes = 24
)

// Message is a STUN message.
type Message struct {
	Type          uint16
	TransactionID [16]byte
	Attributes    []Attribute // values are parts of the datagram they were read from
}

// Attribute is one attribute of a message.
type Attribute struct {
	Type  uint16
	Value []byte
}

var errMalformed = errors.New("not a STUN message")

// Parse reads a datagram into m.
func (m *Message) Parse(b []byte) error {
	if len(b) < headerBytes || len(b) > MaxDatagram || b[0]&0xC0 != 0 {
		return errMalformed
	}
	m.Type = binary.BigEndian.Uint16(b)
	copy(m.TransactionID[:], b[4:])
	m.Attributes = m.Attributes[:0]
	if int(binary.BigEndian.Uint16(b[2:])) != len(b)-headerBytes {
		return errMalformed
	}
	for b = b[headerBytes:]; len(b) > 0; {
		if len(b) < 4 || len(m.Attributes) == maxAttributes {
			return errMalformed
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		padded := (n + 3) &^ 3 // RFC 5389 15; lengths of RFC 3489 are multiples of four
		if 4+padded > len(b) {
			return errMalformed
		}
		m.Attributes = append(m.Attributes, Attribute{binary.BigEndian.Uint16(b), b[4 : 4+n]})
		b = b[4+padded:]
	}
	return nil
}

// Append appends the message.
func (m *Message) Append(b []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint16(b, m.Type)
	b = append(b, 0, 0)
	b = append(b, m.TransactionID[:]...)
	for _, a := range m.Attributes {
		b = binary.BigEndian.AppendUint16(b, a.Type)
		b = binary.BigEndian.AppendUint16(b, uint16(len(a.Value)))
		b = append(b, a.Value...)
		for range -len(a.Value) & 3 {
			b = append(b, 0)
		}
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start-headerBytes))
	return b
}

// Get returns the value of an attribute, of the first if it is there twice.
func (m *Message) Get(typ uint16) (value []byte, ok bool) {
	for _, a := range m.Attributes {
		if a.Type == typ {
			return a.Value, true
		}
	}
	return nil, false
}

// Modern reports whether the message follows RFC 5389 rather than RFC 3489.
func (m *Message) Modern() bool {
	return binary.BigEndian.Uint32(m.TransactionID[:]) == cookie
}

// Username returns USERNAME. RFC 3489 wants its length to be a multiple of four,
// which CPE reach by spaces or zeros at its end.
func (m *Message) Username() string {
	v, _ := m.Get(Username)
	return strings.TrimRight(string(v), " \x00")
}

// BindsConnectionRequests reports whether the message came from the port that the
// CPE listens on for UDP Connection Requests (TR-069 G.2.1.2).
func (m *Message) BindsConnectionRequests() bool {
	v, ok := m.Get(ConnectionRequestBinding)
	return ok && bytes.Equal(bytes.TrimRight(v, " \x00"), []byte(BindingValue[:len(BindingValue)-1]))
}

// Sign appends MESSAGE-INTEGRITY to an encoded message (RFC 3489 11.2.8, RFC
// 5389 15.4).
func Sign(b []byte, password string) []byte {
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-headerBytes+integrityBytes))
	mac := integrity(b, password, binary.BigEndian.Uint32(b[4:]) != cookie)
	b = binary.BigEndian.AppendUint16(b, MessageIntegrity)
	b = binary.BigEndian.AppendUint16(b, sha1.Size)
	return append(b, mac...)
}

// Signed reports whether a datagram that Parse has read carries a
// MESSAGE-INTEGRITY that was made with the password. It must be the last
// attribute; FINGERPRINT (RFC 5389) may follow.
func Signed(datagram []byte, password string) bool {
	at := headerBytes
	for at+integrityBytes <= len(datagram) {
		typ, n := binary.BigEndian.Uint16(datagram[at:]), int(binary.BigEndian.Uint16(datagram[at+2:]))
		if typ == MessageIntegrity && n == sha1.Size {
			break
		}
		at += 4 + (n+3)&^3
	}
	if at+integrityBytes > len(datagram) {
		return false
	}
	signed := append([]byte(nil), datagram[:at]...)
	binary.BigEndian.PutUint16(signed[2:], uint16(at-headerBytes+integrityBytes))
	got := datagram[at+4 : at+integrityBytes]
	// With and without padding: CPE with a classic transaction id do either.
	return hmac.Equal(got, integrity(signed, password, false)) || hmac.Equal(got, integrity(signed, password, true))
}

func integrity(b []byte, password string, padded bool) []byte {
	mac := hmac.New(sha1.New, []byte(password))
	mac.Write(b)
	if padded {
		mac.Write(make([]byte, -len(b)&(hmacBlock-1)))
	}
	return mac.Sum(nil)
}

// AppendAddress appends the value of an address attribute; with a mask, that of
// XOR-MAPPED-ADDRESS (RFC 5389 15.2), whose mask is the transaction id.
func AppendAddress(b []byte, a netip.AddrPort, mask []byte) []byte {
	ip, family := a.Addr().Unmap(), byte(1)
	if ip.Is6() {
		family = 2
	}
	start := len(b)
	b = append(b, 0, family)
	b = binary.BigEndian.AppendUint16(b, a.Port())
	b = append(b, ip.AsSlice()...)
	if mask != nil {
		xor(b[start+2:start+4], mask)
		xor(b[start+4:], mask)
	}
	return b
}

// ParseAddress reads the value of an address attribute, see AppendAddress.
func ParseAddress(v, mask []byte) (netip.AddrPort, bool) {
	if len(v) != 8 && len(v) != 20 || v[1] != 1 && v[1] != 2 || (v[1] == 1) != (len(v) == 8) {
		return netip.AddrPort{}, false
	}
	v = append([]byte(nil), v...)
	if mask != nil {
		xor(v[2:4], mask)
		xor(v[4:], mask)
	}
	ip, ok := netip.AddrFromSlice(v[4:])
	return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(v[2:])), ok
}

func xor(b, mask []byte) {
	for i := range b {
		b[i] ^= mask[i]
	}
}
