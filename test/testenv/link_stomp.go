package testenv

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/go-stomp/stomp/v3"
	"github.com/go-stomp/stomp/v3/frame"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
)

// stompLink is a controller's link over a STOMP broker. It uses a STOMP client
// that is not the bridge's.
type stompLink struct {
	conn   *stomp.Conn
	inbox  *stomp.Subscription
	own    string
	agents string // with {endpoint_id}
}

// STOMPLink connects to RabbitMQ. The controller listens on the destination own,
// an agent on that which agents gives it, a template with {endpoint_id}.
func STOMPLink(t testing.TB, broker, own, agents string) client.Link {
	t.Helper()
	conn, err := stomp.Dial("tcp", broker, stomp.ConnOpt.Login("guest", "guest"), stomp.ConnOpt.Host("/"), stomp.ConnOpt.Logger(testLog{t}))
	if err != nil {
		t.Fatal(err)
	}
	inbox, err := conn.Subscribe(own, stomp.AckAuto)
	if err != nil {
		t.Fatal(err)
	}
	return &stompLink{conn, inbox, own, agents}
}

// testLog is the test's log as the STOMP client wants it. What the client says
// after the test has ended is nobody's business.
type testLog struct{ t testing.TB }

func (l testLog) say(format string, v ...any) {
	if l.t.Context().Err() == nil {
		l.t.Logf("STOMP client: "+format, v...)
	}
}

func (l testLog) Debugf(string, ...any)            {}
func (l testLog) Infof(string, ...any)             {}
func (l testLog) Warningf(format string, v ...any) { l.say(format, v...) }
func (l testLog) Errorf(format string, v ...any)   { l.say(format, v...) }
func (l testLog) Debug(string)                     {}
func (l testLog) Info(string)                      {}
func (l testLog) Warning(message string)           { l.say("%s", message) }
func (l testLog) Error(message string)             { l.say("%s", message) }

// Send sends a record to an agent's destination.
func (l *stompLink) Send(_ context.Context, to usp.EndpointID, record []byte) error {
	return l.conn.Send(strings.ReplaceAll(l.agents, "{endpoint_id}", string(to)), "application/vnd.bbf.usp.msg", record,
		func(f *frame.Frame) error { f.Header.Set("reply-to-dest", l.own); return nil })
}

// Receive returns the next record.
func (l *stompLink) Receive() ([]byte, error) {
	m, ok := <-l.inbox.C
	if !ok {
		return nil, fmt.Errorf("the subscription to %s has ended", l.own)
	}
	return m.Body, m.Err
}

// Close ends the connection.
func (l *stompLink) Close() error { return l.conn.Disconnect() }
