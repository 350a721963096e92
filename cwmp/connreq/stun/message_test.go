package stun_test

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp/connreq/stun"
)

// wire turns hexadecimal digits with spaces, newlines and comments into bytes.
func wire(t testing.TB, text string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		line, _, _ = strings.Cut(line, ";")
		digits.WriteString(strings.ReplaceAll(strings.ReplaceAll(line, " ", ""), "\t", ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The messages of the dialogue of TR-069 Annex G, byte for byte.
const (
	bindingRequest = `
		0001 0024                                   ; Binding Request, 36 bytes
		0102030405060708090a0b0c0d0e0f10            ; transaction id of RFC 3489
		0006 0008 4f55492d2d534e31                  ; USERNAME OUI--SN1
		c001 0014 64736c666f72756d2e6f72672f54522d31313120 ; CONNECTION-REQUEST-BINDING`
	bindingChange = `
		0001 0028
		0102030405060708090a0b0c0d0e0f10
		0006 0008 4f55492d2d534e31
		c001 0014 64736c666f72756d2e6f72672f54522d31313120
		c002 0000                                   ; BINDING-CHANGE has no value`
	bindingResponse = `
		0101 000c
		0102030405060708090a0b0c0d0e0f10
		0001 0008 0001 9c41 cb007107                ; MAPPED-ADDRESS 203.0.113.7:40001`
	modernResponse = `
		0101 0018
		2112a442 0102030405060708090a0b0c
		0001 0008 0001 9c41 cb007107
		0020 0008 0001 bd53 ea12d545                ; XOR-MAPPED-ADDRESS`
	unauthorized = `
		0111 0014
		0102030405060708090a0b0c0d0e0f10
		0009 0010 0000 0401 556e617574686f72697a6564 ; ERROR-CODE 401 Unauthorized`
)

func attribute(typ uint16, value string) stun.Attribute {
	return stun.Attribute{Type: typ, Value: []byte(value)}
}

// TestMessages: each message reads as what it is and is written as it was.
func TestMessages(t *testing.T) {
	id := [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	mapped := netip.MustParseAddrPort("203.0.113.7:40001")
	modern := [16]byte{0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	tests := []struct {
		name, wire string
		want       stun.Message
	}{
		{"Binding Request", bindingRequest, stun.Message{Type: stun.BindingRequest, TransactionID: id, Attributes: []stun.Attribute{
			attribute(stun.Username, "OUI--SN1"), attribute(stun.ConnectionRequestBinding, stun.BindingValue)}}},
		{"binding change", bindingChange, stun.Message{Type: stun.BindingRequest, TransactionID: id, Attributes: []stun.Attribute{
			attribute(stun.Username, "OUI--SN1"), attribute(stun.ConnectionRequestBinding, stun.BindingValue), attribute(stun.BindingChange, "")}}},
		{"Binding Response", bindingResponse, stun.Message{Type: stun.BindingResponse, TransactionID: id, Attributes: []stun.Attribute{
			{Type: stun.MappedAddress, Value: stun.AppendAddress(nil, mapped, nil)}}}},
		{"Binding Response of RFC 5389", modernResponse, stun.Message{Type: stun.BindingResponse, TransactionID: modern, Attributes: []stun.Attribute{
			{Type: stun.MappedAddress, Value: stun.AppendAddress(nil, mapped, nil)},
			{Type: stun.XORMappedAddress, Value: stun.AppendAddress(nil, mapped, modern[:])}}}},
		{"401", unauthorized, stun.Message{Type: stun.BindingError, TransactionID: id, Attributes: []stun.Attribute{
			attribute(stun.ErrorCode, "\x00\x00\x04\x01Unauthorized")}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := wire(t, tt.wire)
			var got stun.Message
			if err := got.Parse(b); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("read as %+v, want %+v", got, tt.want)
			}
			if again := tt.want.Append(nil); !bytes.Equal(again, b) {
				t.Errorf("written as %x, want %x", again, b)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	good := wire(t, bindingRequest)
	for name, b := range map[string][]byte{
		"empty":                         nil,
		"shorter than a header":         good[:19],
		"cut off":                       good[:len(good)-4],
		"with something behind it":      append(bytes.Clone(good), 0, 0, 0, 0),
		"first bits set":                append([]byte{0x80}, good[1:]...),
		"attribute longer than message": wire(t, "0001 0004 00000000000000000000000000000000 0006 0004"),
		"attribute cut off":             wire(t, "0001 0002 00000000000000000000000000000000 0006"),
		"too many attributes":           wire(t, "0001 0064 00000000000000000000000000000000"+strings.Repeat("c0020000", 25)),
		"an HTTP request":               []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
	} {
		if err := new(stun.Message).Parse(b); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

// RFC 5769 2.1: a request of RFC 5389 with its published signature; SOFTWARE,
// PRIORITY and ICE attributes are in it, and FINGERPRINT behind the signature.
func TestIntegrityOfRFC5769(t *testing.T) {
	b := wire(t, `0001 0058 2112a442 b7e7a701bc34d686fa87dfae
		8022 0010 5354554e207465737420636c69656e74
		0024 0004 6e0001ff
		8029 0008 932ff9b151263b36
		0006 0009 6576746a3a683676 59202020
		0008 0014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2
		8028 0004 e57a3bcf`)
	const password = "VOkJxbRl1RmTxUk/WvJxBt"
	if !stun.Signed(b, password) {
		t.Error("the published signature does not verify")
	}
	b[30] ^= 1
	if stun.Signed(b, password) {
		t.Error("a changed message verifies")
	}
}

// Deviation: easycwmp, Huawei – MESSAGE-INTEGRITY of a classic message over its
// bytes padded to 64 as RFC 3489 has it; other CPE leave the padding out; both
// are accepted.
func TestIntegrityOfRFC3489(t *testing.T) {
	plain := wire(t, bindingChange)
	padded := stun.Sign(bytes.Clone(plain), "secret")
	// openssl dgst -sha1 -hmac secret, over the 60 bytes with the length 0x0040,
	// and over the same with 4 zeros behind them.
	const overPadded, overPlain = "680c7c3f650e5ce2d3fd92223510d8d512999934", "d0db37f6859983950aafe0d4e53d3f4800b36f58"
	if got := hex.EncodeToString(padded[len(padded)-20:]); got != overPadded {
		t.Errorf("signed with %s, want %s", got, overPadded)
	}
	unpadded := append(bytes.Clone(padded[:len(padded)-20]), wire(t, overPlain)...)
	for name, b := range map[string][]byte{"padded": padded, "not padded": unpadded} {
		if !stun.Signed(b, "secret") || stun.Signed(b, "other") || stun.Signed(plain, "secret") {
			t.Errorf("%s: with its password %v, with another %v, unsigned %v", name,
				stun.Signed(b, "secret"), stun.Signed(b, "other"), stun.Signed(plain, "secret"))
		}
	}
}

// Deviation: easycwmp, TR-111 clients on Android – USERNAME filled up with spaces
// to a multiple of four, and CONNECTION-REQUEST-BINDING that ends in a zero or
// nothing in place of the space; they are taken for what they mean.
func TestPaddedTexts(t *testing.T) {
	for _, value := range []string{stun.BindingValue, "dslforum.org/TR-111\x00", "dslforum.org/TR-111"} {
		m := stun.Message{Type: stun.BindingRequest, Attributes: []stun.Attribute{
			attribute(stun.Username, "user  "), attribute(stun.ConnectionRequestBinding, value)}}
		var got stun.Message
		if err := got.Parse(m.Append(nil)); err != nil {
			t.Fatal(err)
		}
		if got.Username() != "user" || !got.BindsConnectionRequests() {
			t.Errorf("%q: user %q, binds %v", value, got.Username(), got.BindsConnectionRequests())
		}
	}
	other := stun.Message{Attributes: []stun.Attribute{attribute(stun.ConnectionRequestBinding, "example.org")}}
	if other.BindsConnectionRequests() {
		t.Error("another value binds connection requests")
	}
}

func TestAddresses(t *testing.T) {
	mask := []byte("\x21\x12\xa4\x42abcdefghijkl")
	for _, text := range []string{"203.0.113.7:40001", "[2001:db8::1]:3478", "[::ffff:192.0.2.1]:1"} {
		a := netip.MustParseAddrPort(text)
		want := netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		for _, m := range [][]byte{nil, mask} {
			if got, ok := stun.ParseAddress(stun.AppendAddress(nil, a, m), m); !ok || got != want {
				t.Errorf("%s became %v, %v", text, got, ok)
			}
		}
	}
	for _, v := range [][]byte{nil, make([]byte, 8), {0, 2, 0, 1, 1, 2, 3, 4}, append([]byte{0, 1}, make([]byte, 18)...)} {
		if a, ok := stun.ParseAddress(v, nil); ok {
			t.Errorf("%x was read as %v", v, a)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{bindingRequest, bindingChange, bindingResponse, modernResponse, unauthorized} {
		f.Add(wire(f, text))
		f.Add(stun.Sign(wire(f, text), "secret"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, again stun.Message
		if m.Parse(b) != nil {
			return
		}
		if err := again.Parse(m.Append(nil)); err != nil || len(again.Attributes) != len(m.Attributes) {
			t.Errorf("%+v cannot be read again: %v", m, err)
		}
		stun.Signed(b, "secret")
		for _, a := range m.Attributes {
			stun.ParseAddress(a.Value, m.TransactionID[:])
		}
	})
}
