package acs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// addResponse is the answer to an AddObject.
func addResponse(id string) string {
	return envelope(id, `<c:AddObjectResponse><InstanceNumber>5</InstanceNumber><Status>0</Status></c:AddObjectResponse>`)
}

// TestConnectionLost: the connection breaks at each point of a session, and the
// CPE comes back. Nothing that it was asked reaches it twice, nothing that it
// says is lost.
func TestConnectionLost(t *testing.T) {
	inform := envelope("1", informOf("A"))
	tests := []struct {
		name   string
		inform func(gone chan struct{}) func(*acs.Session) error
		play   func(t *testing.T, url string, gone chan struct{})
		seen   []string
	}{
		{name: "before the Inform is whole", play: func(t *testing.T, url string, _ chan struct{}) {
			first := dial(t, url)
			whole := posted("", inform)
			first.write(whole[:len(whole)-40])
			first.close()
			c := newCPE(t, url)
			c.play("CPE: Inform A\nACS: InformResponse\nCPE: empty\nACS: AddObject\nCPE: AddObjectResponse\nACS: 204")
		}, seen: []string{"Inform A", "AddObject: AddObjectResponse", "Ended A"}},

		// The CPE has not seen that its events have arrived: it reports them again.
		{name: "before the InformResponse is read", inform: func(gone chan struct{}) func(*acs.Session) error {
			return func(*acs.Session) error { <-gone; <-gone; return nil }
		}, play: func(t *testing.T, url string, gone chan struct{}) {
			first := dial(t, url)
			first.write(posted("", inform))
			gone <- struct{}{} // the Inform is taken
			first.close()
			close(gone)
			c := newCPE(t, url)
			c.play("CPE: Inform A\nACS: InformResponse\nCPE: empty\nACS: AddObject\nCPE: AddObjectResponse\nACS: 204")
		}, seen: []string{"Inform A", "Ended A: lost", "Inform A", "AddObject: AddObjectResponse", "Ended A"}},

		{name: "with the RPC at the CPE, which comes back with its cookie and the answer", play: func(t *testing.T, url string, _ chan struct{}) {
			first := dial(t, url)
			first.write(posted("", inform))
			cookie := first.read().cookie()
			first.write(posted(with(cookie), ""))
			id := first.read().id()
			first.close()
			again := dial(t, url)
			again.write(posted(with(cookie), addResponse(id)))
			if got := again.read().sum(); got != "204" {
				t.Errorf("the answer on a new connection got %s", got)
			}
		}, seen: []string{"Inform A", "AddObject: AddObjectResponse", "Ended A"}},

		{name: "with the RPC at the CPE, which comes back without cookie", play: func(t *testing.T, url string, _ chan struct{}) {
			first := dial(t, url)
			first.write(posted("", inform))
			first.read()
			first.write(posted("", ""))
			id := first.read().id()
			first.close()
			again := dial(t, url)
			again.write(posted("", addResponse(id)))
			if got := again.read().sum(); got != "400" {
				t.Errorf("an answer that belongs to no session got %s", got)
			}
			c := newCPE(t, url)
			c.play("CPE: Inform A\nACS: InformResponse\nCPE: empty\nACS: AddObject\nCPE: AddObjectResponse\nACS: 204")
		}, seen: []string{"Inform A", "AddObject: lost", "Ended A: lost", "Inform A", "AddObject: AddObjectResponse", "Ended A"}},

		{name: "before the 204 is read; the CPE repeats its answer", play: func(t *testing.T, url string, _ chan struct{}) {
			first := dial(t, url)
			first.write(posted("", inform))
			cookie := first.read().cookie()
			first.write(posted(with(cookie), ""))
			id := first.read().id()
			first.write(posted(with(cookie), addResponse(id)))
			first.read()
			first.close()
			again := dial(t, url)
			again.write(posted(with(cookie), addResponse(id)))
			if got := again.read().sum(); got != "400" {
				t.Errorf("an answer after the end got %s", got)
			}
		}, seen: []string{"Inform A", "AddObject: AddObjectResponse", "Ended A"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, gone := newFleet(), make(chan struct{})
			f.serve = f.calling(add)
			if tt.inform != nil {
				f.inform = tt.inform(gone)
			}
			s, url := listen(t, acs.Config{Fleet: f})
			tt.play(t, url, gone)
			f.untilCount(t, len(tt.seen))
			if d := cmp.Diff(tt.seen, shorten(f.notes())); d != "" {
				t.Errorf("the Fleet saw (-want +got):\n%s", d)
			}
			waitFor(t, func() bool { return s.Entries() == 0 })
		})
	}
}

// TestWhoseSession: a session belongs to who has its cookie, and a cookie is
// never one that a CPE has thought of.
func TestWhoseSession(t *testing.T) {
	const madeUp = acs.CookieName + "=00112233445566778899aabbccddeeff"
	informAs := func(serial string) string { return envelope("1", informOf(serial)) }
	tests := []struct {
		name string
		play func(t *testing.T, url string)
		seen []string
	}{
		{"an Inform with a cookie that was made up opens a session with another", func(t *testing.T, url string) {
			c := dial(t, url)
			c.write(posted(with(madeUp), informAs("A")))
			if got := c.read(); got.cookie() == madeUp || got.cookie() == "" {
				t.Errorf("the session's cookie is %q", got.cookie())
			}
			other := dial(t, url)
			other.write(posted(with(madeUp), ""))
			if got := other.read().sum(); got != "400" {
				t.Errorf("a step with the made-up cookie got %s", got)
			}
			c.write(posted("", ""))
			if got := c.read().sum(); got != "204" {
				t.Errorf("the session itself got %s", got)
			}
		}, []string{"Inform A", "Ended A"}},

		{"an Inform with the cookie of another device's session ends that", func(t *testing.T, url string) {
			a, b := dial(t, url), dial(t, url)
			a.write(posted("", informAs("A")))
			cookie := a.read().cookie()
			b.write(posted(with(cookie), informAs("B")))
			if got := b.read().sum(); got != "Fault 8001" {
				t.Errorf("B in A's session got %s", got)
			}
			a.write(posted(with(cookie), ""))
			if got := a.read().sum(); got != "400" {
				t.Errorf("A got %s", got)
			}
		}, []string{"Inform A", "Ended A: lost"}},

		// Deviation: CPE that append cookies – send those of earlier sessions before the session's own; all are looked at
		{"cookies of earlier sessions beside the session's own", func(t *testing.T, url string) {
			first := dial(t, url)
			first.write(posted("", informAs("A")))
			cookie := first.read().cookie()
			first.close()
			again := dial(t, url)
			again.write(posted(with(madeUp+"; other=1; "+cookie), ""))
			if got := again.read().sum(); got != "204" {
				t.Errorf("the step got %s", got)
			}
		}, []string{"Inform A", "Ended A"}},

		{"two sessions of one device at once: the newer one counts", func(t *testing.T, url string) {
			older, newer := dial(t, url), dial(t, url)
			older.write(posted("", informAs("A")))
			cookie := older.read().cookie()
			newer.write(posted("", informAs("A")))
			newer.read()
			older.write(posted(with(cookie), ""))
			if got := older.read().sum(); got != "400" {
				t.Errorf("the older one got %s", got)
			}
			newer.write(posted("", ""))
			if got := newer.read().sum(); got != "204" {
				t.Errorf("the newer one got %s", got)
			}
		}, []string{"Inform A", "Ended A: lost", "Inform A", "Ended A"}},

		// Deviation: several CPE – open the next session on the same connection right after the 204; it is a session like any other
		{"an Inform straight after the 204", func(t *testing.T, url string) {
			c := dial(t, url)
			cookie := ""
			for range 3 {
				c.write(posted(with(cookie), informAs("A")))
				got := c.read()
				if got.sum() != "InformResponse" || got.cookie() == cookie {
					t.Fatalf("the Inform got %s, cookie %q", got.sum(), got.cookie())
				}
				cookie = got.cookie()
				c.write(posted(with(cookie), ""))
				if got := c.read().sum(); got != "204" {
					t.Errorf("the end is %s", got)
				}
			}
		}, []string{"Inform A", "Ended A", "Inform A", "Ended A", "Inform A", "Ended A"}},

		{"a header that carries another one", func(t *testing.T, url string) {
			c := dial(t, url)
			evil := strings.Replace(informAs("A"), ">1</c:ID>", ">1&#13;&#10;Set-Cookie: evil=1&#13;&#10;&#13;&#10;</c:ID>", 1)
			c.write(posted("Cookie: "+acs.CookieName+"=x%0d%0aSet-Cookie:evil=1\r\nX-A: b\tc\r\n", evil))
			got := c.read()
			if got.sum() != "InformResponse" || len(got.header.Values("Set-Cookie")) != 1 || strings.Contains(got.header.Get("Set-Cookie"), "evil") {
				t.Errorf("%s with %q", got.sum(), got.header)
			}
			c.write(posted("", ""))
			c.read()
		}, []string{"Inform A", "Ended A"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFleet()
			s, url := listen(t, acs.Config{Fleet: f})
			tt.play(t, url)
			f.untilCount(t, len(tt.seen))
			if d := cmp.Diff(tt.seen, shorten(f.notes())); d != "" {
				t.Errorf("the Fleet saw (-want +got):\n%s", d)
			}
			waitFor(t, func() bool { return s.Entries() == 0 })
		})
	}
}

// TestRawHTTP: sessions in forms of HTTP that net/http's own client does not use.
func TestRawHTTP(t *testing.T) {
	inform := envelope("1", informOf("A"))
	answer := func(id string) string { return envelope(id, getValues) }
	tests := []struct {
		name string
		play func(t *testing.T, url string)
	}{
		// Deviation: CPE with HTTP/1.0 stacks – a connection for each request, no Host; the session goes by its cookie
		{"HTTP/1.0", func(t *testing.T, url string) {
			cookie, id := "", ""
			for _, step := range []struct{ body, want string }{{inform, "InformResponse"}, {"", "GetParameterValues"}, {"answer", "204"}} {
				if step.body == "answer" {
					step.body = answer(id)
				}
				c := dial(t, url)
				c.write(fmt.Sprintf("POST / HTTP/1.0\r\n%sContent-Length: %d\r\n\r\n%s", with(cookie), len(step.body), step.body))
				got := c.read()
				if got.sum() != step.want || !got.closes {
					t.Fatalf("got %s, want %s; closed: %v", got.sum(), step.want, got.closes)
				}
				id = got.id()
				if got.cookie() != "" {
					cookie = got.cookie()
				}
				c.ends()
			}
		}},
		// Deviation: several CPE – send "Connection: close" with each request; the session goes by its cookie
		{"Connection: close", func(t *testing.T, url string) {
			first := dial(t, url)
			first.write(posted("Connection: close\r\n", inform))
			cookie := first.read().cookie()
			first.ends()
			second := dial(t, url)
			second.write(posted("Connection: close\r\n"+with(cookie), ""))
			id := second.read().id()
			second.ends()
			third := dial(t, url)
			third.write(posted("Connection: close\r\n"+with(cookie), answer(id)))
			if got := third.read().sum(); got != "204" {
				t.Errorf("the end is %s", got)
			}
		}},
		// Deviation: CPE behind HTTP proxies – write the whole URL into the request line, header names in lower case; both taken
		{"whole URL, lower case", func(t *testing.T, url string) {
			c := dial(t, url)
			c.write(fmt.Sprintf("POST %s/acs HTTP/1.1\r\nhost: acs\r\ncontent-length: %d\r\n\r\n%s", url, len(inform), inform))
			if got := c.read().sum(); got != "InformResponse" {
				t.Errorf("got %s", got)
			}
		}},
		{"requests written without waiting for answers", func(t *testing.T, url string) {
			c := dial(t, url)
			c.write(posted("", inform) + posted("", ""))
			if got := c.read().sum(); got != "InformResponse" {
				t.Errorf("got %s", got)
			}
			got := c.read()
			if got.sum() != "GetParameterValues" {
				t.Errorf("got %s", got.sum())
			}
			c.write(posted("", answer(got.id())))
			if got := c.read().sum(); got != "204" {
				t.Errorf("the end is %s", got)
			}
		}},
		// Deviation: CPE that count characters – announce fewer bytes than they send; the envelope is taken without its end, the rest is dropped with the connection
		{"Content-Length too short", func(t *testing.T, url string) {
			cookie, id := "", ""
			for _, step := range []struct{ body, want string }{{inform, "InformResponse"}, {"answer", "204"}} {
				if step.body == "answer" {
					c := dial(t, url)
					c.write(posted(with(cookie), ""))
					id = c.read().id()
					step.body = answer(id)
				}
				c := dial(t, url)
				c.write(fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\n%sContent-Length: %d\r\n\r\n%s", with(cookie), len(step.body)-4, step.body))
				got := c.read()
				if got.sum() != step.want || !got.closes {
					t.Fatalf("got %s, want %s; closed: %v", got.sum(), step.want, got.closes)
				}
				if rest := c.ends(); rest != "" {
					t.Errorf("what was left over was answered with %q", rest)
				}
				if cookie == "" {
					cookie = got.cookie()
				}
			}
		}},
		// Deviation: CPE that count characters – announce more bytes than they send; the body ends where its envelope does
		{"Content-Length too long", func(t *testing.T, url string) {
			c := dial(t, url)
			c.write(fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(inform)+7, inform))
			if got := c.read(); got.sum() != "InformResponse" || !got.closes {
				t.Errorf("got %s; closed: %v", got.sum(), got.closes)
			}
		}},
		{"two lengths", func(t *testing.T, url string) {
			c := dial(t, url)
			c.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello")
			if got := c.read(); got.status != 400 || !got.closes {
				t.Errorf("status %d; closed: %v", got.status, got.closes)
			}
		}},
		{"a header of more than the limit", func(t *testing.T, url string) {
			c := dial(t, url)
			c.write("POST / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 2<<20)) // it may be refused before all is written
			if got := c.read(); got.status != 431 {
				t.Errorf("status %d", got.status)
			}
		}},
		{"a request in the body of another", func(t *testing.T, url string) {
			c := dial(t, url)
			hidden := posted("", envelope("2", informOf("B")))
			c.write(posted("", hidden))
			if got := c.read(); got.sum() != "Fault 8003" {
				t.Errorf("got %s", got.sum())
			}
			c.write(posted("", ""))
			if got := c.read(); got.sum() != "400" {
				t.Errorf("the next one got %s: the hidden request was served", got.sum())
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFleet()
			f.serve = f.calling(gpv)
			_, url := listen(t, acs.Config{Fleet: f})
			tt.play(t, url)
		})
	}
}

// TestSlowPeers: who does not send what it began, or does not read what it asked
// for, costs a connection for a time and nothing else.
func TestSlowPeers(t *testing.T) {
	const bound = 50 * time.Millisecond
	inform := envelope("1", informOf("A"))
	t.Run("half a body", func(t *testing.T) {
		f := newFleet()
		s, url := listen(t, acs.Config{Fleet: f, BodyTimeout: bound})
		c := dial(t, url)
		whole := posted("", inform)
		c.write(whole[:len(whole)-100])
		if got := c.read(); got.status != 400 || !got.closes {
			t.Errorf("status %d; closed: %v", got.status, got.closes)
		}
		c.ends()
		if s.Entries() != 0 || len(f.notes()) != 0 {
			t.Errorf("something is kept of it: %q", f.notes())
		}
	})
	t.Run("half a body in a session, which goes on", func(t *testing.T) {
		f := newFleet()
		f.serve = f.calling(add)
		_, url := listen(t, acs.Config{Fleet: f, BodyTimeout: bound})
		c := dial(t, url)
		c.write(posted("", inform))
		cookie := c.read().cookie()
		c.write(posted(with(cookie), ""))
		id := c.read().id()
		whole := posted(with(cookie), addResponse(id))
		c.write(whole[:len(whole)-100])
		if got := c.read(); got.status != 400 {
			t.Errorf("status %d", got.status)
		}
		again := dial(t, url)
		again.write(whole)
		if got := again.read().sum(); got != "204" {
			t.Errorf("the whole answer got %s", got)
		}
	})
	t.Run("a body that is not wanted and never comes", func(t *testing.T) {
		_, url := listen(t, acs.Config{Fleet: newFleet(), BodyTimeout: bound, Auth: newBasic(t, acs.BasicConfig{})})
		for _, method := range []string{"POST", "GET"} { // 401 and 405
			c := dial(t, url)
			c.write(method + " / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
			c.ends()
		}
	})
	t.Run("an answer that is not read", func(t *testing.T) {
		f := newFleet()
		f.serve = f.calling(&cwmp.SetParameterValues{Values: []cwmp.ParameterValue{
			{Name: "Device.X", Value: cwmp.Value{Type: cwmp.TypeString, Text: strings.Repeat("x", 32<<20)}}}})
		s, url := listen(t, acs.Config{Fleet: f, BodyTimeout: bound, RPCTimeout: 4 * bound})
		c := dial(t, url)
		c.write(posted("", inform))
		c.read()
		c.write(posted("", ""))
		f.until(t, "Ended A: ")
		waitFor(t, func() bool { return s.Entries() == 0 })
	})
}

// TestOthersGoOn: what a CPE does wrong in its own session disturbs no
// other's.
func TestOthersGoOn(t *testing.T) {
	f := newFleet()
	f.serve = f.calling(gpv)
	_, url := listen(t, acs.Config{Fleet: f, BodyTimeout: 5 * time.Second})
	stuck := dial(t, url)
	stuck.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n<")
	silent := newCPE(t, url)
	silent.play("CPE: Inform S\nACS: InformResponse\nCPE: empty\nACS: GetParameterValues")
	newCPE(t, url).play("CPE: Inform A\nACS: InformResponse\nCPE: empty\nACS: GetParameterValues\nCPE: GetParameterValuesResponse\nACS: 204")
}
