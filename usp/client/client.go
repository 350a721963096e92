// Package client is a controller's side of USP: it sends requests to agents and
// receives their notifications. The command line and tests use it.
//
// It speaks to agents by endpoint id over one link: a WebSocket (Dial), a broker
// (MQTT, STOMP, Over), or whatever is given to New. It knows messages and
// records; it knows no data model and nothing of how an agent is made.
package client

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// Link carries records between the controller and agents.
type Link interface {
	// Send hands over one record for an agent.
	Send(ctx context.Context, to usp.EndpointID, record []byte) error
	// Receive returns the next record; an error means that the link is gone.
	Receive() ([]byte, error)
	Close() error
}

// Notification is a Notify that an agent sent.
type Notification struct {
	Agent  usp.EndpointID
	MsgID  string
	Notify *usppb.Notify
}

// Client is one controller. Its methods may be called concurrently.
type Client struct {
	link       Link
	controller usp.EndpointID
	notes      chan Notification
	series     string // makes msg_ids differ from those of other clients of the same controller
	last       atomic.Uint64
	done       chan struct{}
	sessions   *sessions // nil: records have no session context

	mu      sync.Mutex
	waiting map[request]chan answer
	err     error // why the link is gone
}

// request names one that waits for its answer. An answer of another agent than
// the one asked is none.
type request struct {
	agent usp.EndpointID
	msgID string
}

type answer struct {
	msg *usppb.Msg
	err error // instead of msg
}

// acknowledgeWithin bounds the sending of a NotifyResp.
const acknowledgeWithin = 10 * time.Second

// notifications that nobody has taken yet; more are dropped, and an agent that
// wants a NotifyResp sends them again.
const maxNotifications = 1024

// New returns a Client of a controller over a link, which it closes in the end.
func New(controller usp.EndpointID, link Link) *Client { return start(controller, link, nil) }

func start(controller usp.EndpointID, link Link, s *Sessions) *Client {
	c := &Client{
		link: link, controller: controller, done: make(chan struct{}),
		series: rand.Text()[:8], notes: make(chan Notification, maxNotifications), waiting: map[request]chan answer{},
	}
	if s != nil {
		c.sessions = newSessions(c, *s)
	}
	go c.receive()
	return c
}

// Close ends the link.
func (c *Client) Close() error {
	err := c.link.Close()
	<-c.done
	if c.sessions != nil {
		c.sessions.close()
	}
	return err
}

// Notifications returns what agents notify. Those that ask for a NotifyResp
// have got it. It is closed when the link is gone.
func (c *Client) Notifications() <-chan Notification { return c.notes }

func (c *Client) receive() {
	defer close(c.done)
	defer close(c.notes)
	for {
		b, err := c.link.Receive()
		if err != nil {
			c.fail(err)
			return
		}
		r, err := record.Unwrap(b, record.Limits{})
		if err != nil || usp.EndpointID(r.GetToId()) != c.controller {
			continue // not for us, or nothing that a controller could answer
		}
		c.takeRecord(r)
	}
}

func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	for _, ch := range c.waiting {
		ch <- answer{err: fmt.Errorf("the connection broke before the answer: %w", err)}
	}
	clear(c.waiting)
}

// takeRecord gives what a record carries to who waits for it.
func (c *Client) takeRecord(r *usppb.Record) {
	from := usp.EndpointID(r.GetFromId())
	if d := r.GetDisconnect(); d != nil {
		c.gone(from, d)
		if c.sessions != nil { // R-MTP.7
			c.sessions.forget(from)
		}
		return
	}
	if r.GetSessionContext() != nil && c.sessions != nil {
		for _, msg := range c.sessions.receive(from, r) {
			c.takeMessage(from, msg)
		}
		return
	}
	msg, err := record.Message(r)
	if err != nil {
		return // a Connect record, or nothing that a controller could answer
	}
	c.takeMessage(from, msg)
}

func (c *Client) takeMessage(from usp.EndpointID, msg *usppb.Msg) {
	id := msg.GetHeader().GetMsgId()
	if n := msg.GetBody().GetRequest().GetNotify(); n != nil {
		c.notified(Notification{Agent: from, MsgID: id, Notify: n})
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch := c.waiting[request{from, id}]; ch != nil {
		ch <- answer{msg: msg}
		delete(c.waiting, request{from, id})
	}
}

// gone ends the requests to an agent that has said that it goes away.
func (c *Client) gone(agent usp.EndpointID, d *usppb.DisconnectRecord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for r, ch := range c.waiting {
		if r.agent == agent {
			ch <- answer{err: fmt.Errorf("%s disconnects: %s (%d)", agent, d.GetReason(), d.GetReasonCode())}
			delete(c.waiting, r)
		}
	}
}

// notified passes a notification on and, if asked to, acknowledges it: in that
// order, so that what was dropped comes again.
func (c *Client) notified(n Notification) {
	select {
	case c.notes <- n:
	default:
		return
	}
	if !n.Notify.GetSendResp() {
		return
	}
	resp := &usppb.Msg{
		Header: &usppb.Header{MsgId: n.MsgID, MsgType: usppb.Header_NOTIFY_RESP},
		Body: &usppb.Body{MsgBody: &usppb.Body_Response{Response: &usppb.Response{
			RespType: &usppb.Response_NotifyResp{NotifyResp: &usppb.NotifyResp{SubscriptionId: n.Notify.GetSubscriptionId()}}}}},
	}
	ctx, cancel := context.WithTimeout(context.Background(), acknowledgeWithin)
	defer cancel()
	// A NotifyResp that is lost, or cannot be encoded since its id came so, makes
	// the agent notify again, and a link that is gone shows itself to Receive.
	_ = c.send(ctx, n.Agent, resp)
}

// send sends a message to an agent.
func (c *Client) send(ctx context.Context, agent usp.EndpointID, msg *usppb.Msg) error {
	if c.sessions != nil {
		return c.sessions.send(ctx, agent, msg)
	}
	b, err := record.WrapMsg(c.controller, agent, usp.RecordVersion, msg)
	if err != nil {
		return err
	}
	return c.link.Send(ctx, agent, b)
}

// Request sends a request of any kind and returns the answer. An Error message
// of the agent is a *usp.Error.
func (c *Client) Request(ctx context.Context, agent usp.EndpointID, typ usppb.Header_MsgType, req *usppb.Request) (*usppb.Response, error) {
	id := fmt.Sprintf("%s-%s-%d", typ, c.series, c.last.Add(1))
	msg := &usppb.Msg{
		Header: &usppb.Header{MsgId: id, MsgType: typ},
		Body:   &usppb.Body{MsgBody: &usppb.Body_Request{Request: req}},
	}
	key, ch := request{agent, id}, make(chan answer, 1)
	if err := c.expect(key, ch); err != nil {
		return nil, err
	}
	defer c.forget(key)
	if err := c.send(ctx, agent, msg); err != nil {
		return nil, fmt.Errorf("send to %s: %w", agent, err)
	}
	select {
	case a := <-ch:
		if a.err != nil {
			return nil, a.err
		}
		return responseOf(a.msg)
	case <-ctx.Done():
		return nil, fmt.Errorf("%s did not answer: is it known to the bridge, and may %s speak to it? %w", agent, c.controller, ctx.Err())
	}
}

func (c *Client) expect(key request, ch chan answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return fmt.Errorf("the connection to the bridge is gone: %w", c.err)
	}
	c.waiting[key] = ch
	return nil
}

func (c *Client) forget(key request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, key)
}

func responseOf(msg *usppb.Msg) (*usppb.Response, error) {
	e := msg.GetBody().GetError()
	if e == nil {
		return msg.GetBody().GetResponse(), nil
	}
	err := &usp.Error{Code: usp.ErrorCode(e.GetErrCode()), Msg: e.GetErrMsg()}
	for _, p := range e.GetParamErrs() {
		err.Params = append(err.Params, usp.ParamError{Param: p.GetParamPath(), Code: usp.ErrorCode(p.GetErrCode()), Msg: p.GetErrMsg()})
	}
	return nil, err
}
