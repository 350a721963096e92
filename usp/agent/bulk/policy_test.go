package bulk

import (
	"net/url"
	"testing"
)

// What is allowed without patterns, and what by them.
func TestPolicy(t *testing.T) {
	for _, c := range []struct {
		patterns []string
		url      string
		ok       bool
	}{
		{nil, "https://bdc.example.net/in", true}, {nil, "http://192.0.2.7:8080/in", true}, {nil, "http://10.0.0.1/", true}, {nil, "http://[2001:db8::1]/", true},
		{nil, "http://127.0.0.1:7549/api", false}, {nil, "http://[::1]/", false}, {nil, "http://0.0.0.0/", false}, {nil, "http://169.254.169.254/latest", false},
		{nil, "http://[fe80::1%25eth0]/", false}, {nil, "http://[::ffff:127.0.0.1]/", false}, {nil, "http://224.0.0.1/", false},
		{[]string{"bdc.example.net"}, "https://BDC.example.net./in", true}, {[]string{"bdc.example.net"}, "https://x.bdc.example.net/", false},
		{[]string{"*.example.net"}, "https://a.b.example.net/", true}, {[]string{"*.example.net"}, "https://example.net/", false},
		{[]string{"bdc.example.net:8443"}, "https://bdc.example.net:8443/", true}, {[]string{"bdc.example.net:443"}, "https://bdc.example.net/", true},
		{[]string{"bdc.example.net:8443"}, "https://bdc.example.net/", false},
		{[]string{"10.1.0.0/16"}, "http://10.1.2.3/", true}, {[]string{"10.1.0.0/16"}, "http://10.2.2.3/", false},
		{[]string{"127.0.0.1:8080"}, "http://127.0.0.1:8080/", true}, {[]string{"127.0.0.1:8080"}, "http://127.0.0.1:7549/", false},
	} {
		p, err := NewPolicy(c.patterns)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Check(u); (err == nil) != c.ok {
			t.Errorf("%v %s: %v", c.patterns, c.url, err)
		}
	}
	for _, bad := range []string{"", "10.1.0.0/99", "https://x/", "a.*.b", "*", "u@h", "h?x"} {
		if _, err := NewPolicy([]string{bad}); err == nil {
			t.Errorf("pattern %q is taken", bad)
		}
	}
}
