package lightweight_test

import (
	"context"
	"errors"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/lightweight"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var notification = lightweight.Notification{
	Time: 1_700_000_000, Username: "acs-user", CNonce: "f00d",
	Device: cwmp.DeviceID{OUI: "00005E", ProductClass: "HG200", SerialNumber: "SN1"},
	Values: []cwmp.ParameterValue{
		{Name: "Device.WiFi.SSID.1.SSID", Value: cwmp.Value{Type: cwmp.TypeString, Text: "a<b"}},
		{Name: "Device.Hosts.HostNumberOfEntries", Value: cwmp.Value{Type: cwmp.TypeUnsignedInt, Text: "3"}},
	},
}

const body = `<?xml version="1.0" encoding="UTF-8"?><lwn:Notification xmlns:lwn="urn:broadband-forum-org:cwmp:lwnotif-1-0"` +
	` xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">` +
	`<lwn:TS>1700000000</lwn:TS><lwn:UN>acs-user</lwn:UN><lwn:CN>f00d</lwn:CN>` +
	`<lwn:OUI>00005E</lwn:OUI><lwn:ProductClass>HG200</lwn:ProductClass><lwn:SerialNumber>SN1</lwn:SerialNumber>` +
	`<lwn:Param><lwn:Name>Device.WiFi.SSID.1.SSID</lwn:Name><lwn:Value xsi:type="xs:string">a&lt;b</lwn:Value></lwn:Param>` +
	`<lwn:Param><lwn:Name>Device.Hosts.HostNumberOfEntries</lwn:Name><lwn:Value xsi:type="xs:unsignedInt">3</lwn:Value></lwn:Param>` +
	`</lwn:Notification>`

// signature is openssl dgst -sha1 -hmac secret over body.
const signature = "CE4B6FE1D2584BC96C93137A4E8EA2C0C9482ED5"

// TestAppend: the datagram byte for byte.
func TestAppend(t *testing.T) {
	const want = "POST / HTTP/1.1\r\nHost: acs.example:8765\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: 649\r\n" +
		"Signature: " + signature + "\r\n\r\n" + body
	if got := string(notification.Append(nil, "acs.example:8765", "secret")); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestParse(t *testing.T) {
	r, err := lightweight.Parse(notification.Append(nil, "h", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r.Notification, notification) {
		t.Errorf("got  %+v\nwant %+v", r.Notification, notification)
	}
	if !r.Signed("secret") || r.Signed("other") {
		t.Errorf("signed with the password %v, with another %v", r.Signed("secret"), r.Signed("other"))
	}
	forged, err := lightweight.Parse([]byte(strings.Replace(string(notification.Append(nil, "h", "secret")), "a&lt;b", "a&lt;c", 1)))
	if err != nil || forged.Signed("secret") {
		t.Errorf("a changed value: %v, signed %v", err, forged.Signed("secret"))
	}
}

// Deviation: icwmp – a request line without a version, blanks before header
// names, lines that end in a newline alone, a misspelt Content-Length, a default
// namespace and no types; it is read all the same.
func TestLooseHeader(t *testing.T) {
	loose := strings.NewReplacer("lwn:", "", ` xmlns:lwn=`, ` xmlns=`, ` xsi:type="xs:string"`, "").Replace(body)
	sum := lightweight.Signature(loose, "secret")
	r, err := lightweight.Parse([]byte("POST /HTTPS/1.1 \n HOST: acs \n Content-Type: test/xml; charset=utf-8 \n Content-Lenght: 1\n Signature: " + sum + "\n\n" + loose))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Signed("secret") || len(r.Values) != 2 || r.Values[0].Value != (cwmp.Value{Text: "a<b"}) || r.Device != notification.Device {
		t.Errorf("signed %v, read as %+v", r.Signed("secret"), r.Notification)
	}
}

func TestParseRefuses(t *testing.T) {
	good := string(notification.Append(nil, "h", "secret"))
	for name, datagram := range map[string]string{
		"empty":             "",
		"no body":           "POST / HTTP/1.1\r\nHost: h\r\n",
		"not XML":           "POST / HTTP/1.1\r\n\r\n{}",
		"another element":   strings.ReplaceAll(good, "Notification", "Inform"),
		"no time":           strings.Replace(good, "1700000000", "now", 1),
		"no parameters":     good[:strings.Index(good, "<lwn:Param>")] + "</lwn:Notification>",
		"a nameless one":    strings.Replace(good, "Device.WiFi.SSID.1.SSID", " ", 1),
		"a long name":       strings.Replace(good, "Device.WiFi.SSID.1.SSID", strings.Repeat("a", 300), 1),
		"a long user":       strings.Replace(good, "acs-user", strings.Repeat("a", 300), 1),
		"too many":          strings.Replace(good, "</lwn:Notification>", strings.Repeat("<lwn:Param><lwn:Name>a</lwn:Name></lwn:Param>", 520)+"</lwn:Notification>", 1),
		"odd signature":     strings.Replace(good, "Signature: ", "Signature: zz", 1),
		"larger than a UDP": good + strings.Repeat(" ", lightweight.MaxDatagram),
	} {
		if r, err := lightweight.Parse([]byte(datagram)); err == nil {
			t.Errorf("%s: read as %+v", name, r.Notification)
		}
	}
	unsigned, err := lightweight.Parse([]byte(strings.Replace(good, "Signature", "X", 1)))
	if err != nil || unsigned.Signed("secret") || unsigned.Signed("") {
		t.Errorf("without a signature: %v, signed", err)
	}
}

// TestListener: what is genuine is taken, in order; the rest is counted.
func TestListener(t *testing.T) {
	taken := make(chan lightweight.Notification, 10)
	metrics := prometheus.NewRegistry()
	l, err := lightweight.New(lightweight.Config{
		Password: func(_ context.Context, username string, id cwmp.DeviceID) (string, bool, error) {
			if username == "broken" {
				return "", false, errors.New("store closed")
			}
			return "secret", username == "acs-user" && id.OUI == "00005E", nil
		},
		Take: func(_ context.Context, n lightweight.Notification) (bool, error) {
			taken <- n
			if n.CNonce == "fails" {
				return false, errors.New("no such device")
			}
			return n.CNonce != "old", nil
		},
		MaxRate: 12, Registerer: metrics,
		Now: func() time.Time { return time.Unix(1_700_000_000, 0) }, // all in one second
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Serve(ctx, conn) }()
	cpe, err := net.Dial("udp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer cpe.Close()
	send := func(change func(*lightweight.Notification), password string) {
		n := notification
		change(&n)
		if _, err := cpe.Write(n.Append(nil, "h", password)); err != nil {
			t.Fatal(err)
		}
	}
	with := func(nonce string) func(*lightweight.Notification) {
		return func(n *lightweight.Notification) { n.CNonce = nonce }
	}
	cpe.Write([]byte("garbage"))
	send(with("forged"), "guess")
	send(func(n *lightweight.Notification) { n.Username = "somebody" }, "secret")
	send(func(n *lightweight.Notification) { n.Username = "broken" }, "secret")
	send(func(n *lightweight.Notification) { n.Device.OUI = "FFFFFF" }, "secret")
	for _, nonce := range []string{"1", "2", "old", "fails", "3"} {
		send(with(nonce), "secret")
	}
	for _, want := range []string{"1", "2", "old", "fails", "3"} {
		if n := <-taken; n.CNonce != want {
			t.Errorf("took %q, want %q", n.CNonce, want)
		}
	}
	for range 20 {
		cpe.Write([]byte("garbage"))
	}
	count := func(outcome string) float64 { return testutil.ToFloat64(l.Received(outcome)) }
	for deadline := time.After(5 * time.Second); count("limited") < 18 || count("malformed") < 3; {
		select {
		case <-deadline:
			t.Fatalf("%v limited, %v malformed", count("limited"), count("malformed"))
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
	for outcome, want := range map[string]float64{"taken": 3, "old": 1, "failed": 2, "refused": 3, "malformed": 3, "limited": 18} {
		if got := count(outcome); got != want {
			t.Errorf("%s: %v, want %v", outcome, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(notification.Append(nil, "h", "secret"))
	f.Add([]byte("POST /\n Signature: 00\n\n<Notification><TS>1</TS><Param><Name>a</Name></Param></Notification>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := lightweight.Parse(b)
		if err != nil {
			return
		}
		r.Signed("secret")
		if len(r.Values) == 0 {
			t.Error("nothing in it")
		}
		again, err := lightweight.Parse(r.Append(nil, "h", "secret"))
		if err != nil || !again.Signed("secret") || len(again.Values) != len(r.Values) {
			t.Errorf("%+v cannot be read again: %v", r.Notification, err)
		}
	})
}
