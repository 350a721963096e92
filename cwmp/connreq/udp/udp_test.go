package udp_test

import (
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp/connreq/udp"
)

var request = udp.Request{Host: "203.0.113.7:40001", Time: 1120673700, ID: 1234, Username: "CPE57689", CNonce: "XTGRWIPC6D3IPXS3"}

// TestAppend: the datagram byte for byte (TR-069 G.2.2.3). The signature was
// computed with openssl dgst -sha1 -hmac over 11206737001234CPE57689XTGRWIPC6D3IPXS3.
func TestAppend(t *testing.T) {
	const want = "GET http://203.0.113.7:40001?ts=1120673700&id=1234&un=CPE57689&cn=XTGRWIPC6D3IPXS3" +
		"&sig=FDA44088E52A347CE49D6312521D5621EEB40037 HTTP/1.1\r\nHost: 203.0.113.7:40001\r\n\r\n"
	if got := string(request.Append(nil, "secret")); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestParse(t *testing.T) {
	odd := udp.Request{Host: "[2001:db8::1]:80", Time: 1, ID: 1<<32 - 1, Username: "a&b =ü", CNonce: "x/+"}
	for _, want := range []udp.Request{request, odd} {
		got, err := udp.Parse(want.Append(nil, "pw"))
		if err != nil {
			t.Fatal(err)
		}
		if got.Request != want {
			t.Errorf("got %+v, want %+v", got.Request, want)
		}
		if !got.Signed("pw") || got.Signed("other") {
			t.Errorf("%+v: signed with the password %v, with another %v", want, got.Signed("pw"), got.Signed("other"))
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := string(request.Append(nil, "secret"))
	for name, datagram := range map[string]string{
		"empty":            "",
		"another method":   strings.Replace(good, "GET", "PUT", 1),
		"no version":       "GET http://h?ts=1&id=1&un=u&cn=c&sig=00",
		"no time":          strings.Replace(good, "ts=", "tt=", 1),
		"negative id":      strings.Replace(good, "id=1234", "id=-1", 1),
		"id too large":     strings.Replace(good, "id=1234", "id=4294967296", 1),
		"signature no hex": strings.Replace(good, "sig=", "sig=zz", 1),
		"not a URL":        "GET http://[ HTTP/1.1\r\n\r\n",
		"too long":         strings.Replace(good, "un=", "un="+strings.Repeat("a", udp.MaxDatagram), 1),
		"a STUN message":   "\x00\x01\x00\x00abcdefghijklmnop",
	} {
		if r, err := udp.Parse([]byte(datagram)); err == nil {
			t.Errorf("%s: read as %+v", name, r.Request)
		}
	}
}

// A changed request no longer fits its signature.
func TestSignatureCovers(t *testing.T) {
	good := string(request.Append(nil, "secret"))
	for _, change := range [][2]string{{"1120673700", "1120673701"}, {"id=1234", "id=1235"}, {"CPE57689", "CPE57680"}, {"XTGR", "XTGS"}} {
		r, err := udp.Parse([]byte(strings.Replace(good, change[0], change[1], 1)))
		if err != nil {
			t.Fatal(err)
		}
		if r.Signed("secret") {
			t.Errorf("%v was changed and the signature still fits", change)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(request.Append(nil, "secret"))
	f.Add([]byte("GET ?ts=1&id=2&un=&cn=&sig= HTTP/1.0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := udp.Parse(b)
		if err != nil {
			return
		}
		again, err := udp.Parse(udp.Request{Host: "h:1", Time: r.Time, ID: r.ID, Username: r.Username, CNonce: r.CNonce}.Append(nil, "k"))
		if err == nil && (again.Time != r.Time || again.ID != r.ID || again.Username != r.Username || again.CNonce != r.CNonce) {
			t.Errorf("%+v became %+v", r.Request, again.Request)
		}
		if err != nil && len(b) < udp.MaxDatagram/4 {
			t.Errorf("cannot read its own request: %v", err)
		}
	})
}
