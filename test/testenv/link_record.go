package testenv

import (
	"context"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
)

// RecordLink is a controller's end of a transport on which a test says what it
// likes.
type RecordLink struct {
	client.Link
	// Records are those that come; it is closed when the link is gone.
	Records chan []byte
	t       testing.TB
}

// Raw reads a link for a test, until the test ends.
func Raw(t testing.TB, link client.Link) *RecordLink {
	l := &RecordLink{Link: link, Records: make(chan []byte, 1000), t: t}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(l.Records)
		for {
			b, err := link.Receive()
			if err != nil {
				return
			}
			l.Records <- b
		}
	}()
	t.Cleanup(func() {
		_ = link.Close() // the bridge may have closed it
		<-ended
	})
	return l
}

// Say sends a record, whatever comes of it.
func (l *RecordLink) Say(to usp.EndpointID, record []byte) {
	l.t.Helper()
	ctx, cancel := limited(l.t)
	defer cancel()
	_ = l.Send(ctx, to, record) // the bridge may close the link meanwhile
}

// WebSocketLink connects a controller to the WebSocket server.
func (e *Env) WebSocketLink(id usp.EndpointID) *WebSocketLink {
	e.t.Helper()
	d := websocket.Dialer{Subprotocols: []string{"v1.usp"}}
	ws, resp, err := d.Dial(e.WebSocketURL()+"?eid="+string(id), nil)
	if err != nil {
		e.t.Fatal(err, resp)
	}
	return &WebSocketLink{Conn: ws}
}

// WebSocketLink is a client.Link over a bare WebSocket.
type WebSocketLink struct {
	*websocket.Conn
	Code int // with which the bridge has closed it, once Receive has failed
}

// Send sends a record in one binary frame.
func (l *WebSocketLink) Send(_ context.Context, _ usp.EndpointID, record []byte) error {
	return l.WriteMessage(websocket.BinaryMessage, record)
}

// Receive returns the next record.
func (l *WebSocketLink) Receive() ([]byte, error) {
	_, b, err := l.ReadMessage()
	if closed, ok := err.(*websocket.CloseError); ok {
		l.Code = closed.Code
	}
	return b, err
}
