package conformance

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// generalMTPCases are the tests of section 4.
func generalMTPCases() []testCase {
	return forOnly(mtp.WebSocket, []testCase{
		{number: "4.1", title: "GetSupportedProtocol over TLS with certificates", play: func(t *trial) {
			s := overTLS(t)
			resp := s.ask(supportedProtocol()).GetBody().GetResponse().GetGetSupportedProtocolResp()
			if resp.GetAgentSupportedProtocolVersions() == "" {
				t.Errorf("answered with %v", resp)
			}
		}},
	})
}

// webSocketCases are the tests of section 7. A session is opened by the controller
// or by the agent.
func webSocketCases() []testCase {
	return forOnly(mtp.WebSocket, slices.Concat([]testCase{
		{number: "7.1", title: "A session is established, by either side", play: func(t *trial) {
			t.eitherSide(func(s *socket) { s.get("Device.DeviceInfo.") })
		}},
		{number: "7.2", title: "There is one session between a controller and an agent", play: func(t *trial) {
			first := t.socket(socketConfig{})
			first.get("Device.DeviceInfo.")
			second, err := t.dial(socketConfig{})
			if err != nil {
				first.get("Device.DeviceInfo.")
				return // the second was refused
			}
			second.get("Device.DeviceInfo.")
			first.closed()
			third := t.listen(listenConfig{})
			second.get("Device.DeviceInfo.") // the agent has not connected beside it
			if err := second.conn.Close(); err != nil {
				t.Fatal(err)
			}
			third.accept().get("Device.DeviceInfo.")
		}},
		{number: "7.4", title: "A Close frame is answered with one", play: func(t *trial) {
			t.eitherSide(func(s *socket) {
				s.control(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
				if code := s.closed(); code != websocket.CloseNormalClosure {
					t.Errorf("the Close frame has code %d", code)
				}
			})
		}},
		{number: "7.6", title: "A malformed record closes the connection with 1003", play: func(t *trial) {
			t.eitherSide(func(s *socket) {
				s.write([]byte("no record"))
				if code := s.closed(); code != websocket.CloseUnsupportedData {
					t.Errorf("the Close frame has code %d, want 1003", code)
				}
			})
		}},
		{number: "7.7", title: "A Ping is answered with a Pong, and a Pong with nothing", play: func(t *trial) {
			t.eitherSide(func(s *socket) {
				pong := make(chan string, 1)
				s.conn.SetPongHandler(func(data string) error { pong <- data; return nil })
				s.control(websocket.PingMessage, []byte("are you there"))
				s.control(websocket.PongMessage, []byte("unasked"))
				s.get("Device.DeviceInfo.") // reads the frames before its answer
				select {
				case data := <-pong:
					if data != "are you there" {
						t.Errorf("the Pong has %q", data)
					}
				default:
					t.Error("there was no Pong before the next answer")
				}
			})
		}},
		{number: "7.8", timed: true, title: "The agent connects again, later each time", play: func(t *trial) { t.triesAgain() }},
		{number: "7.9", title: "TLS", play: func(t *trial) {
			overTLS(t).get("Device.DeviceInfo.")
			t.listen(listenConfig{secure: true}).accept().get("Device.DeviceInfo.")
		}},
		{number: "7.10", title: "A new connection begins with a WebSocketConnect record", play: func(t *trial) {
			t.eitherSide(func(s *socket) {
				r := s.read()
				if r.GetWebsocketConnect() == nil || r.GetVersion() != usp.RecordVersion || r.GetFromId() != string(s.agent) || r.GetToId() != string(primaryID) {
					t.Errorf("the first record is %v", r)
				}
			})
		}},
		{number: "7.11", title: "A handshake without bbf-usp-protocol", play: func(t *trial) {
			s := t.socket(socketConfig{})
			if s.extensions != "" {
				t.Errorf("the answer has the extensions %q", s.extensions)
			}
			s.get("Device.DeviceInfo.")
			s = t.socket(socketConfig{header: http.Header{"Sec-WebSocket-Extensions": {`bbf-usp-protocol; eid="` + string(primaryID) + `"`}}})
			if !strings.Contains(s.extensions, "bbf-usp-protocol") {
				t.Errorf("the answer to bbf-usp-protocol has the extensions %q", s.extensions)
			}
			s.end()
			theirs := t.listen(listenConfig{}).accept()
			if got := theirs.request.Header.Get("Sec-WebSocket-Extensions"); got != "" {
				t.Errorf("the agent offers the extensions %q", got)
			}
			if got := theirs.request.URL.Query().Get("eid"); got != string(t.agent) {
				t.Errorf("the agent says that it is %q", got)
			}
			theirs.get("Device.DeviceInfo.")
		}},
		{number: "7.12", title: "A record in a fragmented message", play: func(t *trial) {
			s := t.socket(socketConfig{frame: 32})
			s.get("Device.DeviceInfo.")
			s.end()
			t.listen(listenConfig{frame: 32}).accept().get("Device.DeviceInfo.")
		}},
	},
		without(notApplicable, "deprecated by the plan", map[string]string{"7.3": "The agent accepts a session", "7.5": "A session without the subprotocol is refused"}),
	))
}

// socketConfig says what is particular about a WebSocket.
type socketConfig struct {
	header http.Header
	frame  int // bytes of the largest frame sent; 0: as long as the message
	url    string
	tls    *tls.Config
	agent  usp.EndpointID
}

// socket is a WebSocket of the primary controller to one agent, which no other case
// uses.
type socket struct {
	t          *trial
	agent      usp.EndpointID
	conn       *websocket.Conn
	extensions string
}

func (t *trial) socket(c socketConfig) *socket {
	t.Helper()
	s, err := t.dial(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (t *trial) dial(c socketConfig) (*socket, error) {
	if c.agent == "" {
		c.agent, c.url = t.agent, t.field.env.WebSocketURL()
	}
	target := c.url + "/" + url.PathEscape(string(c.agent)) + "?" + url.Values{"eid": {string(primaryID)}}.Encode()
	dialer := websocket.Dialer{Subprotocols: []string{"v1.usp"}, HandshakeTimeout: testenv.Patience, TLSClientConfig: c.tls, WriteBufferSize: c.frame}
	conn, resp, err := dialer.DialContext(t.Context(), target, c.header)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() }) // the bridge may have closed it
	return &socket{t: t, agent: c.agent, conn: conn, extensions: resp.Header.Get("Sec-WebSocket-Extensions")}, conn.SetReadDeadline(time.Now().Add(testenv.Patience))
}

// write sends a message, in frames if the socket's are short.
func (s *socket) write(b []byte) {
	s.t.Helper()
	w, err := s.conn.NextWriter(websocket.BinaryMessage)
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *socket) control(kind int, data []byte) {
	s.t.Helper()
	if err := s.conn.WriteControl(kind, data, time.Now().Add(testenv.Patience)); err != nil {
		s.t.Fatal(err)
	}
}

// read returns the next record.
func (s *socket) read() *usppb.Record {
	s.t.Helper()
	_, b, err := s.conn.ReadMessage()
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := record.Unwrap(b, record.Limits{})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// closed reads until the bridge closes the connection and returns the code of its
// Close frame; a connection that ends without one fails the case.
func (s *socket) closed() int {
	s.t.Helper()
	for {
		_, _, err := s.conn.ReadMessage()
		if err == nil {
			continue
		}
		code, ok := err.(*websocket.CloseError)
		if !ok || code.Code == websocket.CloseAbnormalClosure {
			s.t.Fatalf("the connection ended without a Close frame: %v", err)
		}
		return code.Code
	}
}

// ask sends a request and returns the answer.
func (s *socket) ask(typ usppb.Header_MsgType, req *usppb.Request) *usppb.Msg {
	s.t.Helper()
	id := s.t.newID()
	b, err := record.WrapMsg(primaryID, s.agent, usp.RecordVersion, &usppb.Msg{
		Header: &usppb.Header{MsgId: id, MsgType: typ},
		Body:   &usppb.Body{MsgBody: &usppb.Body_Request{Request: req}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(b)
	for {
		r := s.read()
		if r.GetNoSessionContext() == nil {
			continue // a Connect record
		}
		msg, err := record.Message(r)
		if err != nil {
			s.t.Fatal(err)
		}
		if msg.GetHeader().GetMsgId() == id {
			return msg
		}
	}
}

// get expects a GetResp for an object.
func (s *socket) get(path string) {
	s.t.Helper()
	msg := s.ask(usppb.Header_GET, &usppb.Request{ReqType: &usppb.Request_Get{Get: &usppb.Get{ParamPaths: []string{path}}}})
	if r := msg.GetBody().GetResponse().GetGetResp().GetReqPathResults(); len(r) != 1 || len(r[0].GetResolvedPathResults()) == 0 {
		s.t.Errorf("Get of %s was answered with %v", path, msg)
	}
}

func supportedProtocol() (usppb.Header_MsgType, *usppb.Request) {
	return usppb.Header_GET_SUPPORTED_PROTO, &usppb.Request{ReqType: &usppb.Request_GetSupportedProtocol{
		GetSupportedProtocol: &usppb.GetSupportedProtocol{ControllerSupportedProtocolVersions: "1.3,1.4"}}}
}

// overTLS connects to an agent of another bridge, whose WebSocket server has a
// certificate that the controller verifies.
func overTLS(t *trial) *socket {
	t.Helper()
	c := newCertificate(t.T)
	env := testenv.Start(t.T, program, testenv.Config{
		Keys:        map[string]any{"usp.mtp.websocket.tls.cert": c.certFile, "usp.mtp.websocket.tls.key": c.keyFile},
		Controllers: []testenv.ControllerRow{{EndpointID: primaryID}},
	})
	other := env.CPE(t.field.gateway.model)
	return t.socket(socketConfig{
		agent: other.Agent, url: "wss" + strings.TrimPrefix(env.WebSocketURL(), "ws"), tls: &tls.Config{RootCAs: c.roots},
	})
}
