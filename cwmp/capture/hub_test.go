package capture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/cwmp"
)

var device = cwmp.DeviceID{Manufacturer: "Acme", OUI: "00AA01", ProductClass: "Box", SerialNumber: "AC1234567"}

// wantOnly matches one serial number.
func wantOnly(serial string) func(cwmp.DeviceID) (string, bool) {
	return func(id cwmp.DeviceID) (string, bool) {
		return "ops::" + id.OUI + "-" + id.ProductClass + "-" + id.SerialNumber, id.SerialNumber == serial
	}
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fromCPE is a request of the CPE, ms after noon.
func fromCPE(ms int, remote, body string, headers ...string) Exchange {
	e := Exchange{From: CPE, Time: noon.Add(time.Duration(ms) * time.Millisecond), Method: "POST", Protocol: "HTTP/1.1", Remote: remote,
		Header: http.Header{}, Body: []byte(body)}
	for i := 0; i < len(headers); i += 2 {
		e.Header.Add(headers[i], headers[i+1])
	}
	return e
}

// all reads lines until the capture is over.
func all(t *testing.T, c *Capture) string {
	t.Helper()
	var b strings.Builder
	for {
		line, err := c.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		b.Write(line)
	}
}

// TestCapture is the file format: what a session with a challenge, a cookie, a new
// connection and a body that is not UTF-8 looks like.
func TestCapture(t *testing.T) {
	var hub Hub
	c, err := hub.Start(Options{Wanted: "ops::00AA01-Box-AC1234567", Program: "uspbridge 1.0", Sessions: 1, Match: wantOnly("AC1234567")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if hub.Session(cwmp.DeviceID{SerialNumber: "other"}, "192.0.2.1:1") != nil {
		t.Error("a session that nobody wants is recorded")
	}
	s := hub.Session(device, "192.0.2.1:5000")
	challenge := http.Header{"Www-Authenticate": {`Digest realm="uspbridge", qop="auth", nonce="n0nce"`}}
	s.Record(fromCPE(0, "192.0.2.1:5000", "", "Content-Type", "text/xml", "User-Agent", "box"))
	s.Record(Exchange{From: ACS, Time: noon.Add(2 * time.Millisecond), Status: 401, Header: challenge, Body: []byte("authentication required\n")})
	s.Record(fromCPE(10, "192.0.2.1:5001", envelope("<cwmp:Inform/>"), "Authorization", `Digest username="joe", realm="uspbridge", nc=00000001, response="aa"`, "Soapaction", ""))
	s.Record(Exchange{From: ACS, Time: noon.Add(12 * time.Millisecond), Status: 200, Header: http.Header{"Set-Cookie": {"uspbridge-session=abc; Path=/; HttpOnly"}}, Body: []byte(envelope("<cwmp:InformResponse/>"))})
	s.Record(fromCPE(20, "192.0.2.1:5001", "", "Cookie", `$Version="0"; uspbridge-session=abc`))
	s.Record(Exchange{From: ACS, Time: noon.Add(22 * time.Millisecond), Status: 200, Header: http.Header{}, Body: []byte(envelope("<cwmp:GetRPCMethods/>"))})
	s.Record(fromCPE(30, "192.0.2.1:5001", strings.Replace(envelope(values(value("Device.X.Name", "K\xfcche"))), `<?xml version="1.0" encoding="UTF-8"?>`, "", 1)))
	s.Record(Exchange{From: ACS, Time: noon.Add(32 * time.Millisecond), Status: 204, Header: http.Header{}})
	s.End("ok")
	if hub.Session(device, "192.0.2.1:5002") != nil {
		t.Error("more sessions than wanted are recorded")
	}
	got := all(t, c)

	const head = `<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:cwmp=\"urn:dslforum-org:cwmp-1-0\"><soapenv:Header><cwmp:ID soapenv:mustUnderstand=\"1\">7</cwmp:ID></soapenv:Header><soapenv:Body>`
	const tail = `</soapenv:Body></soapenv:Envelope>`
	want := []string{
		`{"capture":1,"program":"uspbridge 1.0","started":"…","wanted":"ops::00AA01-Box-AC1234567"}`,
		`{"session":1,"at":"…","endpoint":"ops::00AA01-Box-AC1234567","device":{"manufacturer":"Acme","oui":"00AA01","product_class":"Box","serial_number":"AC1234567"},"remote":"192.0.2.1"}`,
		`{"session":1,"ms":0,"from":"cpe","method":"POST","headers":["Content-Type: text/xml","User-Agent: box"]}`,
		`{"session":1,"ms":2,"from":"acs","status":401,"headers":["WWW-Authenticate: Digest realm=\"uspbridge\", qop=\"auth\", nonce=********"],"body":"authentication required\n"}`,
		`{"session":1,"ms":10,"from":"cpe","rpc":"Inform","connection":2,"method":"POST","headers":["SOAPAction: ","Authorization: Digest username=********, realm=\"uspbridge\", nc=00000001, response=********"],"body":"` + head + `<cwmp:Inform/>` + tail + `"}`,
		`{"session":1,"ms":12,"from":"acs","rpc":"InformResponse","status":200,"headers":["Set-Cookie: uspbridge-session=********; Path=/; HttpOnly"],"body":"` + head + `<cwmp:InformResponse/>` + tail + `"}`,
		`{"session":1,"ms":20,"from":"cpe","connection":2,"method":"POST","headers":["Cookie: $Version=\"0\"; uspbridge-session=********"]}`,
		`{"session":1,"ms":22,"from":"acs","rpc":"GetRPCMethods","status":200,"body":"` + head + `<cwmp:GetRPCMethods/>` + tail + `"}`,
		`{"session":1,"ms":30,"from":"cpe","rpc":"GetParameterValuesResponse","connection":2,"method":"POST","base64":"…"}`,
		`{"session":1,"ms":32,"from":"acs","status":204}`,
		`{"session":1,"ms":…,"end":"ok"}`,
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(blur(got)), "\n")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	r := NewReader(strings.NewReader(got), "test")
	for n := 0; ; n++ {
		line, err := r.Next()
		if errors.Is(err, io.EOF) && n == len(want) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if m, ok := line.(*Message); ok && m.Millis == 30 && !bytes.Contains(m.Bytes(), []byte("K\xfcche")) {
			t.Errorf("the body that is not UTF-8 is %q", m.Bytes())
		}
	}
}

// blur takes out what differs between runs.
func blur(lines string) string {
	for _, p := range []struct{ key, end string }{{`"started":"`, `"`}, {`"at":"`, `"`}, {`"base64":"`, `"`}} {
		if i := strings.Index(lines, p.key); i >= 0 {
			i += len(p.key)
			lines = lines[:i] + "…" + lines[i+strings.Index(lines[i:], p.end):]
		}
	}
	i := strings.LastIndex(lines, `"ms":`) + len(`"ms":`)
	return lines[:i] + "…" + lines[i+strings.IndexByte(lines[i:], ','):]
}

// TestSlowReader: what is not fetched is bounded, and what was left out is noted.
func TestSlowReader(t *testing.T) {
	var hub Hub
	c, err := hub.Start(Options{Sessions: 1, Match: wantOnly(device.SerialNumber)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := hub.Session(device, "")
	large := strings.Repeat(" ", maxQueuedBytes/4)
	for range 7 {
		s.Record(fromCPE(0, "", large))
	}
	s.End("ok")
	got := all(t, c)
	if n := strings.Count(got, `"from":"cpe"`); n != 4 {
		t.Errorf("%d messages are there, want the 4 that fit", n)
	}
	if !strings.Contains(got, `"note":"3 messages are left out here`) || !strings.Contains(got, `"end":"ok"`) {
		t.Errorf("no note of what is left out, or no end: %.300s", got[strings.LastIndex(got, `"note"`):])
	}
}

// TestCapturesAreBounded: so many and no more, and none after its end.
func TestCapturesAreBounded(t *testing.T) {
	var hub Hub
	var running []*Capture
	for range MaxCaptures {
		c, err := hub.Start(Options{Match: wantOnly(device.SerialNumber)})
		if err != nil {
			t.Fatal(err)
		}
		running = append(running, c)
	}
	if _, err := hub.Start(Options{}); !errors.Is(err, ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	if r, _ := hub.Session(device, "").(recorders); len(r) != MaxCaptures {
		t.Errorf("%d record the session, want all", len(r))
	}
	for _, c := range running {
		c.Close()
		c.Close() // once is enough
	}
	if hub.Active() || hub.Session(device, "") != nil {
		t.Error("the hub is active when nobody captures")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c, err := hub.Start(Options{Match: wantOnly(device.SerialNumber)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for err == nil {
		_, err = c.Next(ctx)
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
}
