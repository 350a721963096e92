package acs_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// raw is a CPE's TCP connection: bytes as the test has them.
type raw struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

func dial(t testing.TB, url string) *raw {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // most are closed by then
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &raw{t, conn, bufio.NewReader(conn)}
}

func (r *raw) write(text string) {
	r.t.Helper()
	if _, err := io.WriteString(r.conn, text); err != nil {
		r.t.Fatal(err)
	}
}

func (r *raw) close() { _ = r.conn.Close() } // it is the test's to lose

// said is an answer of the ACS.
type said struct {
	status int
	header http.Header
	text   string
	closes bool // the connection with it
}

func (r *raw) read() said {
	r.t.Helper()
	resp, err := http.ReadResponse(r.in, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return said{resp.StatusCode, resp.Header, string(text), resp.Close}
}

// ends reads until the ACS closes the connection.
func (r *raw) ends() (rest string) {
	r.t.Helper()
	text, err := io.ReadAll(r.in)
	if ne := net.Error(nil); err != nil && asNetError(err, &ne) && ne.Timeout() {
		r.t.Fatalf("the connection was not closed: %v", err)
	}
	return string(text)
}

func asNetError(err error, to *net.Error) bool {
	ne, ok := err.(net.Error)
	*to = ne
	return ok
}

// sum is what cpe.sum makes of an answer.
func (a said) sum() string { return (&cpe{}).sum(a.status, []byte(a.text)) }

// id is the cwmp:ID of an answer.
func (a said) id() string {
	if m := idPattern.FindStringSubmatch(a.text); m != nil {
		return m[1]
	}
	return ""
}

// cookie is what the ACS wants returned.
func (a said) cookie() string {
	c, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	return c
}

// posted is a POST with headers, each with its line break.
func posted(headers, body string) string {
	return fmt.Sprintf("POST /acs HTTP/1.1\r\nHost: acs\r\n%sContent-Length: %d\r\n\r\n%s", headers, len(body), body)
}

// with is a Cookie header.
func with(cookie string) string { return "Cookie: " + cookie + "\r\n" }
