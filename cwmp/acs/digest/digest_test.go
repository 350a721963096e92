package digest_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp/acs/digest"
)

// The published examples of RFC 2617 3.5 and RFC 7616 3.9.1, and the RFC 2069
// form computed from the same inputs.
func TestResponse(t *testing.T) {
	rfc7616 := digest.Exchange{
		Username: "Mufasa", Password: "Circle of Life", Realm: "http-auth@example.org",
		Nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", Method: "GET", URI: "/dir/index.html",
		QOP: "auth", NonceCount: "00000001", ClientN: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
	}
	rfc2617 := digest.Exchange{
		Algorithm: digest.MD5, Username: "Mufasa", Password: "Circle Of Life", Realm: "testrealm@host.com",
		Nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093", Method: "GET", URI: "/dir/index.html",
		QOP: "auth", NonceCount: "00000001", ClientN: "0a4f113b",
	}
	with := func(e digest.Exchange, change func(*digest.Exchange)) digest.Exchange { change(&e); return e }
	tests := []struct {
		name string
		e    digest.Exchange
		want string
	}{
		{"RFC 2617 MD5 auth", rfc2617, "6629fae49393a05397450978507c4ef1"},
		{"RFC 7616 MD5 auth", with(rfc7616, func(e *digest.Exchange) { e.Algorithm = digest.MD5 }), "8ca523f5e9506fed4657c9700eebdbec"},
		{"RFC 7616 SHA-256 auth", with(rfc7616, func(e *digest.Exchange) { e.Algorithm = digest.SHA256 }),
			"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"},
		{"RFC 2069, no qop", with(rfc2617, func(e *digest.Exchange) { e.QOP, e.NonceCount, e.ClientN = "", "", "" }),
			"670fd8c2df070c60b045671b8b24ff02"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.e.Response(); got != tt.want {
				t.Errorf("response = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		name, header string
		want         []digest.Scheme
	}{
		{"ordinary", `Digest realm="CPE", qop="auth,auth-int", nonce="a=b,c", algorithm=MD5`,
			[]digest.Scheme{{Name: "digest", Params: map[string]string{"realm": "CPE", "qop": "auth,auth-int", "nonce": "a=b,c", "algorithm": "MD5"}}}},
		// Deviation: several CPE – write digest parameters without quotes, in any case, with blanks around the equals sign; all are read
		{"no quotes, no blanks, other case", `DIGEST Realm=CPE,Nonce=1`,
			[]digest.Scheme{{Name: "digest", Params: map[string]string{"realm": "CPE", "nonce": "1"}}}},
		{"two challenges in one header", `Digest realm="d", nonce="n", Basic realm="b"`,
			[]digest.Scheme{
				{Name: "digest", Params: map[string]string{"realm": "d", "nonce": "n"}},
				{Name: "basic", Params: map[string]string{"realm": "b"}}}},
		{"basic credentials with padding", `Basic Og==`, []digest.Scheme{{Name: "basic", Token: "Og==", Params: map[string]string{}}}},
		// Deviation: several CPE – send the word Basic and nothing behind it; read as credentials that are empty
		{"basic, empty credentials", `Basic `, []digest.Scheme{{Name: "basic", Params: map[string]string{}}}},
		{"blanks around equals", `Basic realm = "x y"`, []digest.Scheme{{Name: "basic", Params: map[string]string{"realm": "x y"}}}},
		{"escaped quote", `Digest realm="a\"b"`, []digest.Scheme{{Name: "digest", Params: map[string]string{"realm": `a"b`}}}},
		{"open quote", `Digest realm="abc`, []digest.Scheme{{Name: "digest", Params: map[string]string{"realm": "abc"}}}},
		{"noise", `,,"=`, nil},
		{"empty", ``, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, digest.Parse(tt.header)); d != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", tt.header, d)
			}
		})
	}
}

func TestAuthorizationKeepsToOneHeader(t *testing.T) {
	e := digest.Exchange{Algorithm: digest.MD5, Username: "u\"\r\nX-Evil: 1", Realm: "r", Nonce: "n", Method: "GET", URI: "/"}
	got := digest.Parse(e.Authorization(nil, true))
	if len(got) != 1 || got[0].Params["username"] != `u"X-Evil: 1` {
		t.Errorf("user name was not contained: %#v", got)
	}
	if _, ok := got[0].Params["opaque"]; ok {
		t.Error("opaque is there though the challenge had none")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`Digest realm="a", nonce=b`, `Basic Og==`, `Digest a="\`, `=,= "`, `Basic realm = x`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, scheme := range digest.Parse(s) {
			if scheme.Name == "" || len(scheme.Params) > 32 {
				t.Errorf("Parse(%q) gave %#v", s, scheme)
			}
		}
	})
}
