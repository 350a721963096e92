package test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
)

// mayGrow bounds the memory that an attack may cost the bridge, in bytes: some
// times the largest body that it accepts in a session, for the garbage collector
// takes its time. Attacks send far more than that, or are made again and again.
const mayGrow = 512 << 20

// attack is one way to do harm.
type attack struct {
	name string
	do   func(t *testing.T, env *testenv.Env)
}

// TestHostileInput: whatever is thrown at the bridge, the devices beside it are
// managed as before, and no memory is lost to it.
func TestHostileInput(t *testing.T) {
	attacks := []attack{
		{"malformed XML", malformedXML},
		{"oversized Inform", oversizedInform},
		{"oversized answer inside a session", oversizedAnswer},
		{"random bytes to the CWMP port", randomBytesToCWMP},
		{"connections that say nothing", silentConnections},
		{"random bytes in WebSocket frames", randomFrames},
		{"oversized WebSocket frame", oversizedFrame},
		{"WebSocket frames that stop halfway", halfFrames},
		{"WebSocket peer that reads nothing", readsNothing},
	}
	env := testenv.Start(t, program, testenv.Config{})
	cpe := env.CPE(cpesim.TR098())
	controller := env.Controller()
	for i, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			before := env.ResidentBytes()
			a.do(t, env)
			ssid := fmt.Sprintf("still here %d", i)
			began := time.Now()
			controller.Set(cpe.Agent, "Device.WiFi.SSID.1.SSID", ssid)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("a Set took %v", took)
			}
			if got := cpe.Value(gateways()[0].ssid); got != ssid {
				t.Errorf("on the CPE the SSID is %q", got)
			}
			// The race detector's own memory is several times the program's.
			if grown := env.ResidentBytes() - before; grown > mayGrow && !testenv.UnderRace {
				t.Errorf("the bridge has grown by %d MiB", grown>>20)
			}
		})
	}
}

// inform is an Inform of a device that does no more than inform.
func inform(serial string) string {
	return `<?xml version="1.0"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns:cwmp="urn:dslforum-org:cwmp-1-2">` +
		`<soap:Header><cwmp:ID soap:mustUnderstand="1">1</cwmp:ID></soap:Header><soap:Body><cwmp:Inform>` +
		`<DeviceId><Manufacturer>M</Manufacturer><OUI>00005E</OUI><ProductClass>HOSTILE</ProductClass><SerialNumber>` + serial + `</SerialNumber></DeviceId>` +
		`<Event><EventStruct><EventCode>0 BOOTSTRAP</EventCode><CommandKey></CommandKey></EventStruct></Event>` +
		`<MaxEnvelopes>1</MaxEnvelopes><CurrentTime>2024-01-01T00:00:00Z</CurrentTime><RetryCount>0</RetryCount>` +
		`<ParameterList><ParameterValueStruct><Name>Device.DeviceInfo.SoftwareVersion</Name><Value>1</Value></ParameterValueStruct></ParameterList>` +
		`</cwmp:Inform></soap:Body></soap:Envelope>`
}

// post posts a body and returns the status, 0 if the connection broke.
func post(t *testing.T, client *http.Client, env *testenv.Env, body io.Reader) int {
	t.Helper()
	status, _ := exchange(t, client, env, body)
	return status
}

// exchange posts a body and returns what was answered, 0 if the connection broke.
func exchange(t *testing.T, client *http.Client, env *testenv.Env, body io.Reader) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, env.ACSURL(), body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/xml")
	resp, err := client.Do(req)
	if err != nil {
		return 0, "" // refused in the middle of the body
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(text)
}

func malformedXML(t *testing.T, env *testenv.Env) {
	client := &http.Client{Timeout: testenv.Patience}
	defer client.CloseIdleConnections()
	good := inform("XML")
	for name, body := range map[string]string{
		"cut off":           good[:len(good)/2],
		"no XML":            "hello",
		"unknown RPC":       strings.ReplaceAll(good, "cwmp:Inform", "cwmp:Nonsense"),
		"wrong SOAP":        strings.ReplaceAll(good, "soap/envelope", "soap/elsewhere"),
		"crossed elements":  strings.Replace(good, "</DeviceId>", "", 1),
		"entities":          `<!DOCTYPE a [<!ENTITY b "xxxxxxxxxx"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>` + strings.Replace(good, "<Manufacturer>M", "<Manufacturer>&c;", 1),
		"deep":              strings.Repeat("<a>", 200_000),
		"many attributes":   "<a " + strings.Repeat(`x:y="z" `, 100_000) + "/>",
		"no identity":       good[:strings.Index(good, "<DeviceId>")] + good[strings.Index(good, "<Event>"):],
		"control bytes":     strings.Replace(good, "<Manufacturer>M", "<DeviceId>\x00\x01\xff", 1),
		"another's session": strings.ReplaceAll(good, "cwmp:Inform", "cwmp:GetParameterValuesResponse"),
	} {
		status, answer := exchange(t, client, env, strings.NewReader(body))
		if status == http.StatusOK && !strings.Contains(answer, "<FaultCode>8") {
			t.Errorf("%s: answered %s", name, answer)
		}
		if !env.Running() {
			t.Fatalf("%s: the bridge is dead", name)
		}
	}
}

// endless is a body without end that counts what was taken of it.
type endless struct {
	head  io.Reader
	chunk []byte
	taken atomic.Int64
}

func (e *endless) Read(p []byte) (int, error) {
	if e.head != nil {
		n, err := e.head.Read(p)
		if err == nil {
			return n, nil
		}
		e.head = nil
	}
	n := copy(p, e.chunk)
	e.taken.Add(int64(n))
	return n, nil
}

// maySend bounds what the bridge may take of a body before it refuses it.
const maySend = 256 << 20

func oversizedInform(t *testing.T, env *testenv.Env) {
	client := &http.Client{Timeout: testenv.Patience}
	defer client.CloseIdleConnections()
	head, _, _ := strings.Cut(inform("BIG"), "</Manufacturer>")
	body := &endless{head: strings.NewReader(head), chunk: bytes.Repeat([]byte("x"), 32<<10)}
	if status := post(t, client, env, body); status == http.StatusOK || body.taken.Load() > maySend {
		t.Errorf("an Inform without end was answered %d after %d MiB", status, body.taken.Load()>>20)
	}
}

func oversizedAnswer(t *testing.T, env *testenv.Env) {
	for i := range 5 {
		answerWithoutEnd(t, env, fmt.Sprintf("LONG%d", i))
	}
}

// answerWithoutEnd is a CPE that informs and never ends its first answer.
func answerWithoutEnd(t *testing.T, env *testenv.Env, serial string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: testenv.Patience, Jar: jar}
	defer client.CloseIdleConnections()
	if status := post(t, client, env, strings.NewReader(inform(serial))); status != http.StatusOK {
		t.Fatalf("Inform answered %d", status)
	}
	if status := post(t, client, env, http.NoBody); status != http.StatusOK {
		t.Fatalf("the empty POST was answered %d, want an RPC", status)
	}
	const entry = "<ParameterInfoStruct><Name>Device.X_A.B</Name><Writable>1</Writable></ParameterInfoStruct>"
	body := &endless{chunk: bytes.Repeat([]byte(entry), 32), head: strings.NewReader(
		`<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns:cwmp="urn:dslforum-org:cwmp-1-2"><soap:Body><cwmp:GetParameterNamesResponse><ParameterList>`)}
	if status := post(t, client, env, body); status == http.StatusOK || body.taken.Load() > maySend {
		t.Errorf("an answer without end was answered %d after %d MiB", status, body.taken.Load()>>20)
	}
}

func randomBytesToCWMP(t *testing.T, env *testenv.Env) {
	random := rand.NewChaCha8([32]byte{1})
	for range 50 {
		garbage := make([]byte, 8<<10)
		_, _ = random.Read(garbage) // never fails
		conn, err := net.Dial("tcp", env.CWMPAddress())
		if err != nil {
			t.Fatal(err)
		}
		// The bridge may close before all is written.
		_, _ = conn.Write(garbage)
		_ = conn.Close()
	}
}

func silentConnections(t *testing.T, env *testenv.Env) {
	for i := range 400 {
		address := env.CWMPAddress()
		if i%2 == 1 {
			address = env.WebSocketAddress()
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := conn.Write([]byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n")); err != nil {
			t.Fatal(err)
		}
	}
}

func randomFrames(t *testing.T, env *testenv.Env) {
	random := rand.NewChaCha8([32]byte{2})
	for i := range 50 {
		garbage := make([]byte, 1+i*20)
		_, _ = random.Read(garbage) // never fails
		socket := env.Socket("proto::noise")
		if err := socket.Send(websocket.BinaryMessage, garbage); err != nil {
			t.Fatal(err)
		}
		if code := socket.AwaitClose(); code == 0 {
			t.Errorf("frame %d: the connection broke without a close code", i)
		}
	}
	socket := env.Socket("proto::noise")
	if err := socket.Send(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if code := socket.AwaitClose(); code == 0 {
		t.Error("text frame: the connection broke without a close code")
	}
}

func oversizedFrame(t *testing.T, env *testenv.Env) {
	socket := env.Socket("proto::noise")
	// It may be refused before all is written.
	_ = socket.Send(websocket.BinaryMessage, make([]byte, 256<<20))
	socket.AwaitClose()
}

// halfFrames are peers that have opened a WebSocket, begin a frame and say no more.
func halfFrames(t *testing.T, env *testenv.Env) {
	for range 200 {
		conn, err := net.Dial("tcp", env.WebSocketAddress())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, err = conn.Write([]byte("GET /usp?eid=proto::noise HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: v1.usp\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%+v, %v", resp, err)
		}
		// A binary frame, masked, of 4 MiB: what of it is here is its mask and a byte.
		if _, err := conn.Write([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 0x40, 0, 0, 1, 2, 3, 4, 5}); err != nil {
			t.Fatal(err)
		}
	}
}

// readsNothing asks for more and more without taking an answer, until the bridge has
// enough of it.
func readsNothing(t *testing.T, env *testenv.Env) {
	agent := env.CPE(cpesim.TR181()).Agent
	socket := env.Socket(testenv.DefaultController)
	ask := getting(t, testenv.DefaultController, agent, usp.RecordVersion, "greedy", "Device.")
	testenv.Until(t, "the connection is closed", func() bool {
		for range 100 { // so that what is not read grows faster than the agent drops requests
			if socket.Send(websocket.BinaryMessage, ask) != nil {
				return true
			}
		}
		return false
	})
}
