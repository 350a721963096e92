package testenv

import (
	"net/url"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// Socket is a WebSocket to the bridge on which a test sends what no Controller
// would.
type Socket struct {
	t    testing.TB
	conn *websocket.Conn
}

// Socket opens a WebSocket of a peer, "" for one that does not say who it is.
func (e *Env) Socket(peer usp.EndpointID) *Socket {
	e.t.Helper()
	target := e.WebSocketURL()
	if peer != "" {
		target += "?" + url.Values{"eid": {string(peer)}}.Encode()
	}
	dialer := websocket.Dialer{Subprotocols: []string{"v1.usp"}, HandshakeTimeout: Patience}
	conn, _, err := dialer.DialContext(e.t.Context(), target, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	// The bridge may have closed it before.
	e.t.Cleanup(func() { _ = conn.Close() })
	return &Socket{e.t, conn}
}

// Send sends a frame of any kind; the bridge may have closed the connection.
func (s *Socket) Send(kind int, payload []byte) error {
	return s.conn.WriteMessage(kind, payload)
}

// SendSet sends a Set of one parameter in the name of from.
func (s *Socket) SendSet(from, to usp.EndpointID, path, value string) {
	s.t.Helper()
	b, err := record.WrapMsg(from, to, usp.RecordVersion, &usppb.Msg{
		Header: &usppb.Header{MsgId: "1", MsgType: usppb.Header_SET},
		Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: &usppb.Request{
			ReqType: &usppb.Request_Set{Set: &usppb.Set{UpdateObjs: []*usppb.Set_UpdateObject{Update(path, value)}}}}}},
	})
	if err == nil {
		err = s.Send(websocket.BinaryMessage, b)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// AwaitClose reads until the bridge closes the connection and returns the code
// that it gives, 0 if it gives none.
func (s *Socket) AwaitClose() int {
	s.t.Helper()
	if err := s.conn.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		s.t.Fatal(err)
	}
	for {
		_, _, err := s.conn.ReadMessage()
		if err == nil {
			continue
		}
		if closed, ok := err.(*websocket.CloseError); ok {
			return closed.Code
		}
		return 0
	}
}
