package acs_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// TestNothingReadBecomesAHeader: what a CPE writes comes back in envelopes, and
// nowhere in HTTP; there it is text, whatever it looks like.
func TestNothingReadBecomesAHeader(t *testing.T) {
	const evil = `&#13;&#10;Set-Cookie: evil=1&#13;&#10;&#13;&#10;&lt;evil/&gt;`
	f := newFleet()
	_, url := listen(t, acs.Config{Fleet: f})
	for name, body := range map[string]string{
		"Inform":       envelope(evil, strings.Replace(informOf("A"), ">A<", ">"+evil+"<", 1)),
		"unknown RPC":  envelope(evil, `<c:Evil>`+evil+`</c:Evil>`),
		"bad argument": envelope(evil, `<c:AddObjectResponse><InstanceNumber>`+evil+`</InstanceNumber></c:AddObjectResponse>`),
		"no envelope":  "\r\nSet-Cookie: evil=1\r\n\r\n<evil/>",
		"no session":   envelope(evil, `<c:TransferComplete><CommandKey>`+evil+`</CommandKey></c:TransferComplete>`),
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := newCPE(t, url).transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			for key, values := range resp.Header {
				known := []string{"Content-Type", "Content-Length", "Set-Cookie", "Date", "X-Content-Type-Options"}
				if !slices.Contains(known, key) || strings.Contains(strings.Join(values, ""), "evil") {
					t.Errorf("header %s: %q", key, values)
				}
			}
			if strings.Contains(string(text), "<evil") {
				t.Errorf("answered with %s", text)
			}
		})
	}
}

// TestCookieHasAPath: it comes back whatever path the CPE posts to.
//
// Deviation: several CPE – return a cookie that has no Path only for the very path it came from; ours has Path=/
func TestCookieHasAPath(t *testing.T) {
	_, url := listen(t, acs.Config{Fleet: newFleet()})
	resp, err := newCPE(t, url).transport.RoundTrip(request("POST", url+"/deep/path", envelope("1", informOf("A")), nil))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if c := resp.Cookies(); len(c) != 1 || c[0].Name != acs.CookieName || c[0].Path != "/" {
		t.Errorf("cookies %v, want one with the path /", c)
	}
}
