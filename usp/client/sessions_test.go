package client_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/record/e2e"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

var policy = e2e.Policy{Mode: e2e.Require, Security: e2e.Forbid, Retransmits: 3, MaxRecord: 600}

// sessionEnd is an agent that speaks in sessions.
type sessionEnd struct {
	t    *testing.T
	pipe *pipe
	peer *e2e.Peer
}

// next returns the next message that the client sends.
func (a *sessionEnd) next() *usppb.Msg {
	a.t.Helper()
	for {
		r := mtptest.Wait(a.t, a.pipe.sent, "record")
		res := a.peer.Receive(time.Now(), policy, r, false)
		a.send(res)
		for _, m := range res.Messages {
			msg, err := record.Limits{}.InSession(r, m.Payload)
			if err != nil {
				a.t.Fatal(err)
			}
			return msg
		}
	}
}

func (a *sessionEnd) send(res e2e.Result) {
	for _, b := range res.Records {
		a.pipe.in <- b
	}
}

func (a *sessionEnd) say(msg *usppb.Msg) {
	a.t.Helper()
	b, err := proto.Marshal(msg)
	if err != nil {
		a.t.Fatal(err)
	}
	res, err := a.peer.Send(time.Now(), policy, b)
	if err != nil {
		a.t.Fatal(err)
	}
	a.send(res)
}

func TestClientInSessions(t *testing.T) {
	p := newPipe()
	c := client.NewInSessions(controller, p, client.Sessions{Policy: policy})
	defer c.Close()
	a := &sessionEnd{t, p, e2e.NewPeer(e2e.Pair{Local: agent, Remote: controller}, nil, e2e.Limits{})}
	done := get(t.Context(), c, agent)
	id := a.next().GetHeader().GetMsgId()
	long := make([]byte, 2000)
	for i := range long {
		long[i] = 'x'
	}
	a.say(response(id, getResp(string(long))))
	if o := mtptest.Wait(t, done, "answer"); o.err != nil || o.path != string(long) {
		t.Errorf("got %d bytes, %v", len(o.path), o.err)
	}
	a.say(notify("n", true))
	if n := mtptest.Wait(t, c.Notifications(), "notification"); n.Agent != agent || n.MsgID != "n" {
		t.Errorf("got %v", n)
	}
	if m := a.next(); m.GetBody().GetResponse().GetNotifyResp() == nil {
		t.Errorf("acknowledged with %v", m)
	}

	b, err := record.Disconnect(agent, controller, "1.4", usp.ErrSessionContextExpired, "over") // R-MTP.7
	if err != nil {
		t.Fatal(err)
	}
	a.peer = e2e.NewPeer(e2e.Pair{Local: agent, Remote: controller}, nil, e2e.Limits{})
	p.in <- b
	p.say(t, agent, controller, notify("behind", false))
	mtptest.Wait(t, c.Notifications(), "what comes behind the Disconnect record")
	done = get(t.Context(), c, agent)
	id = a.next().GetHeader().GetMsgId() // of a session that begins with record 1
	a.say(response(id, getResp("again")))
	if o := mtptest.Wait(t, done, "answer"); o.path != "again" {
		t.Errorf("got %+v", o)
	}
}
