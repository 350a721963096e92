package cpesim

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/icholy/digest"

	"github.com/uspbridge/uspbridge/cwmp"
)

func knock(t *testing.T, url, username, password string) (int, error) {
	t.Helper()
	transport := &digest.Transport{Username: username, Password: password, Transport: &http.Transport{DisableKeepAlives: true}}
	client := &http.Client{Transport: transport, Timeout: patience}
	response, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

func TestConnectionRequest(t *testing.T) {
	b := newBench(t, Config{PeriodicInform: 1000 * time.Hour})
	url := b.cpe.ConnectionRequestURL()
	if status, err := knock(t, url, "", ""); err != nil || status != http.StatusOK {
		t.Errorf("without credentials on the CPE: %d, %v", status, err)
	}
	wantEvents(t, b.acs.next(t), cwmp.EventConnectionRequest)
	b.settle(t)
	b.acs.ask(t, b.cpe, &cwmp.SetParameterValues{Values: []cwmp.ParameterValue{
		value("Device.ManagementServer.ConnectionRequestUsername", cwmp.TypeString, "acs"),
		value("Device.ManagementServer.ConnectionRequestPassword", cwmp.TypeString, "s3cret")}})
	b.settle(t)
	tests := []struct {
		name, username, password string
		status                   int
	}{
		{"right", "acs", "s3cret", http.StatusOK},
		{"wrong password", "acs", "other", http.StatusUnauthorized},
		{"wrong name", "other", "s3cret", http.StatusUnauthorized},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, err := knock(t, url, tt.username, tt.password)
			if err != nil || status != tt.status {
				t.Errorf("%d, %v, want %d", status, err, tt.status)
			}
			if tt.status == http.StatusOK {
				wantEvents(t, b.acs.next(t), cwmp.EventConnectionRequest)
				b.settle(t)
			}
		})
	}
	if status, err := knock(t, "http://"+b.fleet.listener.Addr().String()+"/nobody", "acs", "s3cret"); err != nil || status != http.StatusNotFound {
		t.Errorf("no such CPE: %d, %v", status, err)
	}
	b.cpe.SetOnline(false)
	if status, err := knock(t, url, "acs", "s3cret"); err == nil {
		t.Errorf("an offline CPE answered %d", status)
	}
}

func TestConnectionRequestCredentialsMustBeOurs(t *testing.T) {
	b := newBench(t, Config{})
	for name, v := range map[string]string{"Username": "u", "Password": "p"} {
		if err := b.cpe.Set("Device.ManagementServer.ConnectionRequest"+name, v); err != nil {
			t.Fatal(err)
		}
	}
	path := "/" + b.cpe.path
	good := b.fleet.nonce(b.clock.Now())
	tests := []struct {
		name, nonce, uri, qop string
		ok                    bool
	}{
		{"ours", good, path, "auth", true},
		{"ours without qop", good, path, "", true},
		{"another's nonce", "abc.def", path, "auth", false},
		{"no nonce", "", path, "auth", false},
		{"old nonce", b.fleet.nonce(b.clock.Now().Add(-time.Hour)), path, "auth", false},
		{"another URI", good, "/other", "auth", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &digest.Credentials{Username: "u", Realm: connectionRequestRealm, Nonce: tt.nonce, URI: tt.uri, QOP: tt.qop, Nc: 1, Cnonce: "c"}
			response, err := digestResponse(c, "u", "p", http.MethodGet)
			if err != nil {
				t.Fatal(err)
			}
			c.Response = response
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Header.Set("Authorization", c.String())
			if got := b.fleet.authenticated(b.cpe, r); got != tt.ok {
				t.Errorf("accepted: %v, want %v", got, tt.ok)
			}
		})
	}
}

func TestACSAuthentication(t *testing.T) {
	tests := []struct {
		name      string
		challenge func(r *http.Request) string // "" lets the request pass
		password  string
		ok        bool
	}{
		{"basic", func(r *http.Request) string {
			if u, p, ok := r.BasicAuth(); ok && u == "cpe" && p == "pw" {
				return ""
			}
			return `Basic realm="acs"`
		}, "pw", true},
		{"basic, wrong password", func(*http.Request) string { return `Basic realm="acs"` }, "bad", false},
		{"digest", checkDigest, "pw", true},
		{"digest, wrong password", checkDigest, "bad", false},
		{"unknown scheme", func(*http.Request) string { return "Negotiate" }, "pw", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			acs := newACS(t)
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c := tt.challenge(r); c != "" {
					w.Header().Set("WWW-Authenticate", c)
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				acs.serve(w, r)
			}))
			t.Cleanup(front.Close)
			f := startFleet(t, FleetConfig{})
			c, err := f.Add(Config{ACSURL: front.URL + "/acs?x=1", Model: TR181(), Username: "cpe", Password: tt.password})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Inform(); (err == nil) != tt.ok {
				t.Errorf("session: %v", err)
			}
		})
	}
}

// checkDigest is an ACS that knows user cpe with password pw.
func checkDigest(r *http.Request) string {
	challenge := `Digest realm="acs", qop="auth", nonce="n1", opaque="o"`
	c, err := digest.ParseCredentials(r.Header.Get("Authorization"))
	if err != nil {
		return challenge
	}
	want, err := digestResponse(c, "cpe", "pw", r.Method)
	if err != nil || want != c.Response || c.URI != r.RequestURI || c.Opaque != "o" {
		return challenge
	}
	return ""
}

func TestRedirect(t *testing.T) {
	acs := newACS(t)
	front := httptest.NewServer(http.RedirectHandler(acs.URL+"/moved", http.StatusTemporaryRedirect))
	t.Cleanup(front.Close)
	f := startFleet(t, FleetConfig{})
	if _, err := f.Add(Config{ACSURL: front.URL, Model: TR181()}); err != nil {
		t.Fatal(err)
	}
	acs.next(t)
}

func TestNonceCount(t *testing.T) {
	for nc, want := range map[int]string{1: "00000001", 0x1ff: "000001ff"} {
		if got := nonceCount(nc); got != want || got != fmt.Sprintf("%08x", nc) {
			t.Errorf("nonceCount(%d) = %s", nc, got)
		}
	}
}

func TestConnectionRequestDuringASession(t *testing.T) {
	tests := []struct {
		name    string
		profile *Profile
		status  int
	}{
		{"another session follows", nil, http.StatusOK},
		{"refused while busy", &Profile{BusyConnectionRequests: true}, http.StatusServiceUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Config{PeriodicInform: 1000 * time.Hour, Profile: tt.profile})
			b.acs.mu.Lock() // the ACS keeps the session waiting
			ended := make(chan error, 1)
			go func() { ended <- b.cpe.Inform(cwmp.Event{Code: cwmp.EventConnectionRequest}) }()
			wait(t, "the session to begin", func() bool {
				b.cpe.mu.Lock()
				defer b.cpe.mu.Unlock()
				return b.cpe.abort != nil
			})
			status, err := knock(t, b.cpe.ConnectionRequestURL(), "", "")
			b.acs.mu.Unlock()
			if err != nil || status != tt.status {
				t.Errorf("%d, %v, want %d", status, err, tt.status)
			}
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			wantEvents(t, b.acs.next(t), cwmp.EventConnectionRequest)
			if tt.status == http.StatusOK {
				wantEvents(t, b.acs.next(t), cwmp.EventConnectionRequest)
			}
			b.settle(t)
			if n := len(b.acs.informs); n != 0 {
				t.Errorf("%d sessions more than wanted", n)
			}
		})
	}
}

func TestNoConnectionRequest(t *testing.T) {
	b := newBench(t, Config{Profile: &Profile{NoConnectionRequest: true}})
	if status, err := knock(t, b.cpe.ConnectionRequestURL(), "", ""); err == nil {
		t.Errorf("a CPE behind NAT answered %d", status)
	}
}

func TestHTTPS(t *testing.T) {
	acs := newACS(t)
	front := httptest.NewTLSServer(http.HandlerFunc(acs.serve))
	t.Cleanup(front.Close)
	trusted := x509.NewCertPool()
	trusted.AddCert(front.Certificate())
	for _, tt := range []struct {
		name string
		tls  *tls.Config
		ok   bool
	}{
		{"known authority", &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}, true},
		{"unknown authority", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := startFleet(t, FleetConfig{TLS: tt.tls})
			c, err := f.Add(Config{ACSURL: front.URL, Model: TR181()})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Inform(); (err == nil) != tt.ok {
				t.Errorf("session: %v", err)
			}
		})
	}
}
