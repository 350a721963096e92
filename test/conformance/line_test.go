package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// controller is one controller of the test equipment. It is shared by all cases
// of a combination: what arrives is sorted by the agent that sent it.
type controller struct {
	id   usp.EndpointID
	link client.Link

	mu    sync.Mutex
	lines map[usp.EndpointID]*line
}

func newController(t testing.TB, id usp.EndpointID, link client.Link) *controller {
	c := &controller{id: id, link: link, lines: map[usp.EndpointID]*line{}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			b, err := link.Receive()
			if err != nil {
				return // the link was closed, or the bridge ended and the cases say so
			}
			c.take(b)
		}
	}()
	t.Cleanup(func() {
		_ = link.Close() // the bridge may have closed it
		<-ended
	})
	return c
}

// to returns the line from the controller to an agent.
func (c *controller) to(agent usp.EndpointID) *line {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lines[agent]
	if l == nil {
		l = &line{controller: c, agent: agent, changed: make(chan struct{})}
		c.lines[agent] = l
	}
	return l
}

func (c *controller) take(b []byte) {
	r, err := record.Unwrap(b, record.Limits{})
	if err != nil {
		// Of whom it came cannot be told: every case has to know.
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, l := range c.lines {
			l.flaw(fmt.Errorf("a record that the schema does not allow: %w", err))
		}
		return
	}
	c.to(usp.EndpointID(r.GetFromId())).take(r)
}

// line is what goes on between one controller and one agent.
type line struct {
	controller *controller
	agent      usp.EndpointID

	mu      sync.Mutex
	inbox   []received    // in order of arrival, without what was taken
	changed chan struct{} // closed and made anew when something arrives
	muted   bool          // notifications get no response
	flaws   []error       // against the plan's universal metrics
	last    int
}

// received is a record that an agent sent; msg is nil for one without a message.
type received struct {
	record *usppb.Record
	msg    *usppb.Msg
	at     time.Time
}

func (l *line) take(r *usppb.Record) {
	got := received{record: r, at: time.Now()}
	if r.GetToId() != string(l.controller.id) {
		l.flaw(fmt.Errorf("a record for %s came to %s", r.GetToId(), l.controller.id))
	}
	if r.GetNoSessionContext() != nil {
		msg, err := record.Message(r)
		if err != nil {
			l.flaw(fmt.Errorf("a message that the schema does not allow: %w", err))
			return
		}
		got.msg = msg
		l.inspect(msg)
	}
	if got.notify().GetSendResp() && !l.isMuted() {
		l.acknowledge(got) // before the case goes on, and perhaps ends
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inbox = append(l.inbox, got)
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *line) isMuted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.muted
}

func (r received) notify() *usppb.Notify { return r.msg.GetBody().GetRequest().GetNotify() }

func (l *line) flaw(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flaws = append(l.flaws, err)
}

// flawed returns what the agent did that no agent may do.
func (l *line) flawed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.flaws...)
}

// acknowledge answers a Notify. A NotifyResp that is lost is sent for again.
func (l *line) acknowledge(r received) {
	ctx, cancel := context.WithTimeout(context.Background(), testenv.Patience)
	defer cancel()
	msg := &usppb.Msg{
		Header: &usppb.Header{MsgId: r.msg.GetHeader().GetMsgId(), MsgType: usppb.Header_NOTIFY_RESP},
		Body: &usppb.Body{MsgBody: &usppb.Body_Response{Response: &usppb.Response{
			RespType: &usppb.Response_NotifyResp{NotifyResp: &usppb.NotifyResp{SubscriptionId: r.notify().GetSubscriptionId()}}}}},
	}
	if err := l.send(ctx, msg); err != nil {
		l.flaw(fmt.Errorf("NotifyResp: %w", err))
	}
}

func (l *line) send(ctx context.Context, msg *usppb.Msg) error {
	b, err := record.WrapMsg(l.controller.id, l.agent, usp.RecordVersion, msg)
	if err != nil {
		return err
	}
	return l.controller.link.Send(ctx, l.agent, b)
}

// next takes the first record out of the inbox for which want holds; it waits
// for it until patience is over.
func (l *line) next(patience time.Duration, want func(received) bool) (received, bool) {
	over := time.NewTimer(patience)
	defer over.Stop()
	for {
		l.mu.Lock()
		if i := slices.IndexFunc(l.inbox, want); i >= 0 {
			got := l.inbox[i]
			l.inbox = slices.Delete(l.inbox, i, i+1)
			l.mu.Unlock()
			return got, true
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-over.C:
			return received{}, false
		}
	}
}

// arrived returns what is in the inbox for which want holds.
func (l *line) arrived(want func(received) bool) (found []received) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.inbox {
		if want(r) {
			found = append(found, r)
		}
	}
	return found
}

// mute leaves notifications without a response from now on.
func (l *line) mute(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.muted = yes
}

// newID returns a msg_id that the line has not used.
func (l *line) newID() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	return fmt.Sprintf("%s-%d", l.agent, l.last)
}
