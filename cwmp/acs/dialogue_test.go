package acs_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
)

var (
	gpv     = &cwmp.GetParameterValues{Names: []cwmp.Path{"Device.DeviceInfo."}}
	add     = &cwmp.AddObject{Object: "Device.NAT.PortMapping."}
	rebootQ = &cwmp.Reboot{CommandKey: "k"}
)

// Each dialogue is a session as both sides see it. "CPE:" lines are said, "ACS:"
// lines compared, "do:" lines change how the CPE goes on.
func TestDialogues(t *testing.T) {
	tests := []struct {
		name     string
		calls    []cwmp.Message // what the Fleet asks in Serve
		inform   func(*acs.Session) error
		dialogue string
		seen     []string // by the Fleet; the error of Ended up to its first colons
	}{
		{"nothing to ask", nil, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: empty
			ACS: 204`,
			[]string{"Inform A", "Ended A"}},
		{"RPCs one at a time, a fault between", []cwmp.Message{gpv, add, rebootQ}, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: empty
			ACS: GetParameterValues
			CPE: GetParameterValuesResponse
			ACS: AddObject
			CPE: Fault 9004
			ACS: Reboot
			CPE: RebootResponse
			ACS: 204`,
			[]string{"Inform A", "GetParameterValues: GetParameterValuesResponse", "AddObject: fault 9004", "Reboot: RebootResponse", "Ended A"}},
		// Deviation: some CPE – send a request of their own in place of an answer; it is served and the answer waited for
		{"requests of the CPE before and among ours", []cwmp.Message{gpv}, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: TransferComplete
			ACS: TransferCompleteResponse
			CPE: GetRPCMethods
			ACS: GetRPCMethodsResponse
			CPE: newline
			ACS: GetParameterValues
			CPE: TransferComplete
			ACS: TransferCompleteResponse
			CPE: GetParameterValuesResponse id=
			ACS: 204`,
			[]string{"Inform A", "Request TransferComplete", "Request TransferComplete", "GetParameterValues: GetParameterValuesResponse", "Ended A"}},
		// Deviation: STB and others – send HoldRequests, which is the ACS's; it has no meaning
		{"HoldRequests from a CPE, which has no meaning", []cwmp.Message{gpv}, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: TransferComplete holding
			ACS: TransferCompleteResponse
			CPE: empty
			ACS: GetParameterValues
			CPE: TransferComplete holding
			ACS: TransferCompleteResponse
			CPE: GetParameterValuesResponse
			ACS: 204`,
			[]string{"Inform A", "Request TransferComplete", "Request TransferComplete", "GetParameterValues: GetParameterValuesResponse", "Ended A"}},
		// Deviation: MikroTik and others – answer with no cwmp:ID, a constant one or a wrong one; the one RPC that is outstanding is answered by its type
		{"ids left out, constant and wrong", []cwmp.Message{gpv, gpv, add}, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: empty
			ACS: GetParameterValues
			CPE: GetParameterValuesResponse id=
			ACS: GetParameterValues
			CPE: GetParameterValuesResponse id=0
			ACS: AddObject
			CPE: AddObjectResponse id=wrong
			ACS: 204`,
			[]string{"Inform A", "GetParameterValues: GetParameterValuesResponse", "GetParameterValues: GetParameterValuesResponse", "AddObject: AddObjectResponse", "Ended A"}},
		// Deviation: several CPE – end their turn with an envelope without RPC; it is an empty POST
		{"an envelope with an empty body is an empty POST", nil, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: nobody
			ACS: 204`,
			[]string{"Inform A", "Ended A"}},
		// Deviation: AMIT, cwmp-sim – do not return the cookie; their connection is taken for their session
		{"cookie not returned", []cwmp.Message{gpv}, nil, `
			CPE: Inform A
			ACS: InformResponse
			do:  drop the cookie
			CPE: empty
			ACS: GetParameterValues
			CPE: GetParameterValuesResponse
			ACS: 204`,
			[]string{"Inform A", "GetParameterValues: GetParameterValuesResponse", "Ended A"}},
		// Deviation: several CPE – open a connection for each POST; the cookie tells their session
		{"a new connection for each step", []cwmp.Message{gpv}, nil, `
			do:  connect anew each time
			CPE: Inform A
			ACS: InformResponse
			CPE: empty
			ACS: GetParameterValues
			CPE: GetParameterValuesResponse
			ACS: 204`,
			[]string{"Inform A", "GetParameterValues: GetParameterValuesResponse", "Ended A"}},
		{"neither cookie nor connection", nil, nil, `
			do:  connect anew each time
			CPE: Inform A
			ACS: InformResponse
			do:  drop the cookie
			CPE: empty
			ACS: 400
			CPE: TransferComplete
			ACS: 400`,
			[]string{"Inform A"}},
		// Deviation: TP-Link and others – inform again in the middle of a session; the new session takes the place of the old one
		{"duplicate Inform", nil, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: Inform A
			ACS: InformResponse
			CPE: empty
			ACS: 204`,
			[]string{"Inform A", "Ended A: lost", "Inform A", "Ended A"}},
		{"duplicate Inform on another connection", nil, nil, `
			CPE: Inform A
			ACS: InformResponse
			do:  drop the cookie
			do:  lose the connection
			CPE: Inform A
			ACS: InformResponse
			CPE: empty
			ACS: 204`,
			[]string{"Inform A", "Ended A: lost", "Inform A", "Ended A"}},
		{"reboot in mid-session: what was asked is lost, what is asked then is asked anew", []cwmp.Message{rebootQ}, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: empty
			ACS: Reboot
			do:  drop the cookie
			do:  lose the connection
			CPE: Inform A boot retry=3
			ACS: InformResponse
			CPE: TransferComplete
			ACS: TransferCompleteResponse
			CPE: empty
			ACS: Reboot
			CPE: RebootResponse
			ACS: 204`,
			[]string{"Inform A", "Reboot: lost", "Ended A: lost", "Inform A", "Request TransferComplete", "Reboot: RebootResponse", "Ended A"}},
		{"an answer twice, at the end", []cwmp.Message{gpv}, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: empty
			ACS: GetParameterValues
			CPE: GetParameterValuesResponse
			ACS: 204
			CPE: GetParameterValuesResponse
			ACS: 400`,
			[]string{"Inform A", "GetParameterValues: GetParameterValuesResponse", "Ended A"}},
		{"empty POST twice before anything is asked", nil, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: empty
			ACS: 204
			CPE: empty
			ACS: 400`,
			[]string{"Inform A", "Ended A"}},
		{"new Inform while an RPC is outstanding", []cwmp.Message{add}, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: empty
			ACS: AddObject
			CPE: Inform A
			ACS: InformResponse
			CPE: empty
			ACS: AddObject
			CPE: AddObjectResponse
			ACS: 204`,
			[]string{"Inform A", "AddObject: lost", "Ended A: lost", "Inform A", "AddObject: AddObjectResponse", "Ended A"}},
		{"identity changed under the cookie", []cwmp.Message{add}, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: empty
			ACS: AddObject
			CPE: Inform B
			ACS: Fault 8001
			CPE: AddObjectResponse
			ACS: 400`,
			[]string{"Inform A", "AddObject: lost", "Ended A: lost"}},
		{"identity changed on the connection", nil, nil, `
			CPE: Inform A
			ACS: InformResponse
			do:  drop the cookie
			CPE: GetRPCMethods
			ACS: GetRPCMethodsResponse
			CPE: Inform B
			ACS: Fault 8001`,
			[]string{"Inform A", "Ended A: lost"}},
		// Deviation: proxies in front of CPE – send the sessions of several CPE through one connection; each is served for itself
		{"two CPE behind one connection", nil, nil, `
			CPE: Inform A
			ACS: InformResponse
			do:  drop the cookie
			CPE: Inform B
			ACS: InformResponse
			CPE: empty
			ACS: 204`,
			[]string{"Inform A", "Inform B", "Ended B"}},
		{"unreadable answer", []cwmp.Message{gpv, gpv}, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: empty
			ACS: GetParameterValues
			CPE: garbage
			ACS: Fault 8003`,
			[]string{"Inform A", "GetParameterValues: lost", "Ended A: lost"}},
		{"unreadable before our turn", nil, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: garbage
			ACS: Fault 8003`,
			[]string{"Inform A", "Ended A: lost"}},
		{"unreadable first message", nil, nil, `
			CPE: garbage
			ACS: Fault 8003`, nil},
		{"answer of another type", []cwmp.Message{gpv}, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: empty
			ACS: GetParameterValues
			CPE: AddObjectResponse
			ACS: Fault 8003`,
			[]string{"Inform A", "GetParameterValues: lost", "Ended A: lost"}},
		{"answer nobody asked for", nil, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: AddObjectResponse
			ACS: Fault 8003`,
			[]string{"Inform A", "Ended A: lost"}},
		{"RPC nobody knows, and one for CPE only", nil, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: X_VENDOR_Hello
			ACS: Fault 8000
			CPE: FactoryReset
			ACS: Fault 8000
			CPE: empty
			ACS: 204`,
			[]string{"Inform A", "Ended A"}},
		{"RPC nobody knows, without a session", nil, nil, `
			CPE: X_VENDOR_Hello
			ACS: Fault 8000`, nil},
		{"too many requests", nil, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: GetRPCMethods
			ACS: GetRPCMethodsResponse
			CPE: GetRPCMethods
			ACS: GetRPCMethodsResponse
			CPE: GetRPCMethods
			ACS: GetRPCMethodsResponse
			CPE: GetRPCMethods
			ACS: Fault 8004`,
			[]string{"Inform A", "Ended A: lost"}},
		// Deviation: several CPE – send an empty POST instead of an answer; a read is asked once more, what changes something is not
		{"empty POST for the answer of a read: it is sent once more", []cwmp.Message{gpv}, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: empty
			ACS: GetParameterValues
			CPE: empty
			ACS: GetParameterValues
			CPE: GetParameterValuesResponse
			ACS: 204`,
			[]string{"Inform A", "GetParameterValues: GetParameterValuesResponse", "Ended A"}},
		{"empty POST for the answer of a read, for ever", []cwmp.Message{gpv}, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: empty
			ACS: GetParameterValues
			CPE: empty
			ACS: GetParameterValues
			CPE: empty
			ACS: 204`,
			[]string{"Inform A", "GetParameterValues: lost", "Ended A: lost"}},
		{"empty POST for the answer of an AddObject: it is not sent twice", []cwmp.Message{add}, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: empty
			ACS: AddObject
			CPE: empty
			ACS: 204`,
			[]string{"Inform A", "AddObject: lost", "Ended A: lost"}},
		// Deviation: several CPE – repeat their last answer after a broken connection; a read is asked once more, what changes something is not
		{"the last answer once more before a read: the read is sent again", []cwmp.Message{gpv, gpv}, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: empty
			ACS: GetParameterValues
			CPE: GetParameterValuesResponse
			ACS: GetParameterValues
			CPE: GetParameterValuesResponse id=previous
			ACS: GetParameterValues
			CPE: GetParameterValuesResponse
			ACS: 204`,
			[]string{"Inform A", "GetParameterValues: GetParameterValuesResponse", "GetParameterValues: GetParameterValuesResponse", "Ended A"}},
		{"the last answer once more before an AddObject: it is not sent twice", []cwmp.Message{gpv, add}, nil, `
			CPE: Inform A
			ACS: InformResponse
			CPE: empty
			ACS: GetParameterValues
			CPE: GetParameterValuesResponse
			ACS: AddObject
			CPE: GetParameterValuesResponse id=previous
			ACS: 204`,
			[]string{"Inform A", "GetParameterValues: GetParameterValuesResponse", "AddObject: lost", "Ended A: lost"}},
		{"Inform refused with a fault of ours", nil, func(*acs.Session) error { return cwmp.NewFault(cwmp.FaultACSRetryRequest) }, `
			CPE: Inform A
			ACS: Fault 8005
			CPE: empty
			ACS: 400`,
			[]string{"Inform A", "Ended A: lost"}},
		{"Inform failed", nil, func(*acs.Session) error { return errors.New("store: disk full") }, `
			CPE: Inform A
			ACS: Fault 8002`,
			[]string{"Inform A", "Ended A: lost"}},
		{"panic at the Inform", nil, func(*acs.Session) error { panic("boom") }, `
			CPE: Inform A
			ACS: Fault 8002`,
			[]string{"Inform A", "Ended A: lost"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFleet()
			f.inform, f.serve = tt.inform, f.calling(tt.calls...)
			_, url := listen(t, acs.Config{Fleet: f, MaxRequests: 3})
			newCPE(t, url).play(tt.dialogue)
			f.untilCount(t, len(tt.seen))
			if d := cmp.Diff(tt.seen, shorten(f.notes())); d != "" {
				t.Errorf("the Fleet saw (-want +got):\n%s", d)
			}
		})
	}
}

// shorten leaves of an Ended's error that there is one.
func shorten(notes []string) []string {
	for i, n := range notes {
		if strings.HasPrefix(n, "Ended") {
			if who, _, failed := strings.Cut(n, ":"); failed {
				notes[i] = who + ": lost"
			}
		}
	}
	return notes
}

func (c *cpe) play(dialogue string) {
	c.t.Helper()
	last := ""
	for n, line := range strings.Split(strings.TrimSpace(dialogue), "\n") {
		who, what, _ := strings.Cut(strings.TrimSpace(line), ":")
		what = strings.TrimSpace(what)
		switch {
		case who == "CPE":
			last = c.say(what)
		case who == "ACS" && what != last:
			c.t.Fatalf("line %d: the ACS said %s, want %s", n+1, last, what)
		case what == "drop the cookie":
			c.cookie = ""
		case what == "lose the connection":
			c.transport.CloseIdleConnections()
		case what == "connect anew each time":
			c.transport.DisableKeepAlives = true
		}
	}
}

// The answers' envelopes: the CPE's id and namespace come back, our ids are our
// own, and nothing is sent chunked.
func TestEnvelopes(t *testing.T) {
	f := newFleet()
	f.serve = f.calling(gpv, gpv)
	_, url := listen(t, acs.Config{Fleet: f})
	c := newCPE(t, url)
	in12 := func(s string) string { return strings.Replace(s, "cwmp-1-0", "cwmp-1-2", 1) }
	_, text := c.post(in12(envelope("x&amp;1", informOf("A"))))
	if !strings.Contains(text, "urn:dslforum-org:cwmp-1-2") || !strings.Contains(text, ">x&amp;1</") && !strings.Contains(text, ">x&1</") {
		t.Errorf("InformResponse has not the CPE's namespace and id: %s", text)
	}
	ids := map[string]bool{}
	for _, body := range []string{"", in12(envelope("", `<c:GetParameterValuesResponse><ParameterList/></c:GetParameterValuesResponse>`))} {
		_, text := c.post(body)
		if !strings.Contains(text, "cwmp-1-2") {
			t.Errorf("request has not the CPE's namespace: %s", text)
		}
		ids[c.lastID] = true
	}
	if len(ids) != 2 || ids[""] {
		t.Errorf("ids are not unique: %v", ids)
	}
}

func TestHTTPRefusals(t *testing.T) {
	tests := []struct {
		name    string
		request func(url string) *http.Request
		status  int
	}{
		{"GET", func(u string) *http.Request { return request("GET", u, "", nil) }, 405},
		{"oversized, said", func(u string) *http.Request { return request("POST", u, strings.Repeat("x", 2000), nil) }, 413},
		{"oversized, chunked", func(u string) *http.Request {
			r := request("POST", u, strings.Repeat("x", 2000), nil)
			r.ContentLength = -1
			return r
		}, 413},
		{"unknown coding", func(u string) *http.Request {
			return request("POST", u, "x", http.Header{"Content-Encoding": {"br"}})
		}, 415},
		{"not gzip at all", func(u string) *http.Request {
			return request("POST", u, "hello", http.Header{"Content-Encoding": {"gzip"}})
		}, 400},
		{"gzip bomb in deflate", func(u string) *http.Request {
			return request("POST", u, deflated(strings.Repeat(" ", 1<<20), false), http.Header{"Content-Encoding": {"deflate"}})
		}, 413},
		{"gzip cut off", func(u string) *http.Request {
			return request("POST", u, gzipped(envelope("1", informOf("A")))[:100], http.Header{"Content-Encoding": {"gzip"}})
		}, 400},
		{"gzip bomb", func(u string) *http.Request {
			return request("POST", u, gzipped(strings.Repeat(" ", 1<<20)), http.Header{"Content-Encoding": {"gzip"}})
		}, 413},
		{"cookie of nobody", func(u string) *http.Request {
			return request("POST", u, "", http.Header{"Cookie": {acs.CookieName + "=00112233445566778899aabbccddeeff"}})
		}, 400},
	}
	_, url := listen(t, acs.Config{Fleet: newFleet(), InformBytes: 1000})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			resp, err := tr.RoundTrip(tt.request(url))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
			}
		})
	}
}

// Informs as CPE send them: the ways of HTTP that must not matter.
func TestWaysOfHTTP(t *testing.T) {
	inform := envelope("1", informOf("A"))
	tests := []struct {
		name, body string
		header     http.Header
		chunked    bool
	}{
		{"gzip", gzipped(inform), http.Header{"Content-Encoding": {"gzip"}}, false},
		{"gzip, chunked", gzipped(inform), http.Header{"Content-Encoding": {"gzip"}}, true},
		{"deflate", deflated(inform, true), http.Header{"Content-Encoding": {"deflate"}}, false},
		// Deviation: many HTTP stacks – mean the bare compressed data by deflate, without the zlib format around it; both are read
		{"bare deflate", deflated(inform, false), http.Header{"Content-Encoding": {"deflate"}}, false},
		// Deviation: Thomson – sends Informs chunked; they are read, and answers always have a length
		{"chunked", inform, nil, true},
		// Deviation: easycwmp – sends Expect: 100-continue; it is told to go on
		{"Expect: 100-continue", inform, http.Header{"Expect": {"100-continue"}}, false},
		// Deviation: several CPE – fill SOAPAction, or send another Content-Type; neither matters
		{"SOAPAction and an odd Content-Type", inform, http.Header{"Soapaction": {`"x"`}, "Content-Type": {"text/xml; encoding=utf-8"}}, false},
		// Deviation: several CPE – give another Content-Type or none; the body tells
		{"Content-Type of a page", inform, http.Header{"Content-Type": {"text/html"}}, false},
		{"empty Content-Type", inform, http.Header{"Content-Type": {""}}, false},
	}
	f := newFleet()
	_, url := listen(t, acs.Config{Fleet: f})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			r := request("POST", url, tt.body, tt.header)
			if tt.chunked {
				r.ContentLength = -1
			}
			resp, err := tr.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 200 || resp.ContentLength <= 0 || resp.Header.Get("Content-Type") != `text/xml; charset="utf-8"` {
				t.Errorf("status %d, length %d, type %q", resp.StatusCode, resp.ContentLength, resp.Header.Get("Content-Type"))
			}
		})
	}
}

func TestCookieForms(t *testing.T) {
	tests := []struct{ name, form string }{
		// Deviation: several CPE – return the cookie with $Version and $Path as in RFC 2109; it is found
		{"RFC 2109", `$Version="0"; NAME=VALUE; $Path="/"`},
		// Deviation: several CPE – join cookies by commas; ours is found
		{"joined by commas", `other=1,NAME=VALUE,more=2`},
		{"quoted", `NAME="VALUE"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, url := listen(t, acs.Config{Fleet: newFleet()})
			c := newCPE(t, url)
			c.say("Inform A")
			name, value, _ := strings.Cut(c.cookie, "=")
			c.cookie = strings.NewReplacer("NAME", name, "VALUE", value).Replace(tt.form)
			c.transport.CloseIdleConnections()
			if got := c.say("empty"); got != "204" {
				t.Errorf("answer %s, want 204", got)
			}
		})
	}
}

// A CPE whose connection breaks while the ACS prepares its next RPC comes back
// with the same step and gets the RPC, also one that must not be sent twice.
//
// Deviation: several CPE – lose their connection and come back with the same step; they get the RPC that had not left
func TestConnectionBreaksBeforeTheRequestLeft(t *testing.T) {
	f := newFleet()
	begun, goOn := make(chan struct{}), make(chan struct{})
	f.serve = func(ctx context.Context, s *acs.Session) error {
		close(begun)
		<-goOn
		return f.calling(add)(ctx, s)
	}
	s, err := acs.New(acs.Config{Fleet: f})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	c := &direct{s: s, cpe: cpe{t: t}}
	c.post(t.Context(), envelope("1", informOf("A")))

	first, disconnect := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() { defer close(gone); c.request(first, "") }()
	<-begun
	disconnect()
	<-gone
	close(goOn)
	if got := c.post(t.Context(), ""); got != "AddObject" {
		t.Fatalf("answer %s, want AddObject", got)
	}
	if got := c.post(t.Context(), envelope(c.lastID, `<c:AddObjectResponse><InstanceNumber>5</InstanceNumber><Status>0</Status></c:AddObjectResponse>`)); got != "204" {
		t.Fatalf("answer %s, want 204", got)
	}
	f.until(t, "AddObject: AddObjectResponse")
}
