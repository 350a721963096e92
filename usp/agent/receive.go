package agent

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/record/e2e"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// The reasons for which records are not handled.
const (
	refusedMalformed  = "malformed"
	refusedEndpoint   = "unknown_endpoint"
	refusedAddress    = "address_mismatch"
	refusedController = "unknown_controller"
	refusedIdentity   = "not_proven"
	refusedOverload   = "overload"
	refusedDuplicate  = "duplicate"
	refusedDefect     = "defect"
	refusedIntegrity  = "integrity"
	refusedSession    = "session"
)

// inbound is a record that waits for its agent.
type inbound struct {
	mtp.Inbound
	record  *usppb.Record
	refusal *record.Error // why it is only answered, not handled
}

// connected is a new connection of a controller, to be greeted.
type connected struct {
	peer    usp.EndpointID
	via     mtp.Address
	greeted chan struct{} // closed when the Connect record is sent, or never will be
}

// Receive takes a record from a transport. It returns an error for what is no
// record at all; all else is handled, answered or dropped in the background
// (R-MTP.5).
func (h *Host) Receive(in mtp.Inbound) error {
	r, err := record.Unwrap(in.Record, record.Limits{})
	job := &inbound{Inbound: in, record: r}
	var from, to usp.EndpointID
	if err != nil {
		if !errors.As(err, &job.refusal) || job.refusal.To == "" {
			h.refuse(refusedMalformed)
			return err
		}
		h.refuse(refusedMalformed)
		from, to = job.refusal.From, job.refusal.To
	} else {
		from, to = usp.EndpointID(r.GetFromId()), usp.EndpointID(r.GetToId())
	}
	if from == to || in.Local != "" && in.Local != to || in.Peer != "" && in.Peer != from {
		// R-E2E.1, R-SEC.0a; nobody speaks to itself.
		h.refuse(refusedAddress)
		return nil
	}
	if !h.dispatch.submit(to, job) {
		h.refuse(refusedOverload)
		h.overloaded(job, from, to)
	}
	return nil
}

func (h *Host) refuse(reason string) { h.metrics.refused.WithLabelValues(reason).Inc() }

// overloaded answers a request for which its agent has no room, if the sender is
// known without asking the store. It is called from where a transport reads, and does
// not wait until the answer is sent.
func (h *Host) overloaded(job *inbound, from, to usp.EndpointID) {
	if job.record == nil {
		return
	}
	a := h.agents.loaded(to)
	if a == nil {
		return
	}
	by := h.authorise(a, from, job.Trusted)
	if by == nil || !h.believes(by, job.Reply.Protocol, h.hasProven(a, from, &job.Inbound)) {
		return
	}
	msg, err := record.Message(job.record)
	if err != nil || msg.GetBody().GetRequest() == nil {
		return
	}
	refusal := record.ErrorMsg(msg.GetHeader().GetMsgId(), usp.Errorf(usp.ErrResourcesExceeded, "", "the agent has too many messages to handle; try again later"))
	err = h.post(lane{agent: a.id, controller: by.endpoint, via: job.Reply.Conn}, func(ctx context.Context) { h.answer(ctx, to, by, job, refusal) })
	if err != nil {
		h.log.Info("answer not sent", "agent", to, "controller", by.endpoint, "error", err)
	}
}

// authorise returns the controller that an endpoint is to an agent, nil if it is
// none (TR-369 R-SEC.1: nobody else is answered).
func (h *Host) authorise(a *agent, from usp.EndpointID, trusted bool) *controller {
	if from == h.cfg.BuiltinController {
		if trusted {
			return h.builtin
		}
		return nil
	}
	if c := a.state.Load().index(h.spec).controllers[from]; c != nil && c.enabled {
		return c
	}
	return nil
}

// survive is deferred around what is done with a message: none may end the process,
// whatever defect it meets.
func (h *Host) survive(id usp.EndpointID) {
	if defect := recover(); defect != nil {
		h.refuse(refusedDefect)
		h.log.Error("a message met a defect of the program and was dropped", "agent", id, "defect", defect, "stack", string(debug.Stack()))
	}
}

// source is who a job of an agent comes from, as it says itself.
func source(job any) usp.EndpointID {
	switch j := job.(type) {
	case *connected:
		return j.peer
	case *inbound:
		if j.refusal != nil {
			return j.refusal.From
		}
		return usp.EndpointID(j.record.GetFromId())
	}
	return ""
}

// process deals with one job of an agent, on a goroutine of the dispatcher.
func (h *Host) process(id usp.EndpointID, job any) {
	defer h.survive(id)
	if c, ok := job.(*connected); ok {
		defer close(c.greeted)
	}
	ctx, cancel := context.WithTimeout(h.ctx, h.cfg.Deadline)
	defer cancel()
	if _, _, err := h.cfg.Devices.Model(ctx, id); err != nil {
		h.refuse(refusedEndpoint)
		h.log.Debug("record for an endpoint that is not here", "to", shorten(string(id)), "error", err)
		return
	}
	a, err := h.agents.acquire(ctx, id)
	if err != nil {
		h.log.Error("agent cannot be loaded", "agent", id, "error", err)
		return
	}
	defer h.agents.release(a)
	switch j := job.(type) {
	case *inbound:
		h.receive(ctx, a, j)
	case *connected:
		h.greet(ctx, a, j)
	}
}

func (h *Host) receive(ctx context.Context, a *agent, in *inbound) {
	from := source(in)
	proven, err := h.proven(ctx, a, from, &in.Inbound)
	if err != nil {
		h.unbelieved(a, from, in.Reply.Protocol, err)
		return
	}
	by := h.authorise(a, from, in.Trusted)
	if by == nil {
		h.refuse(refusedController)
		h.log.Debug("record of an unknown controller ignored", "agent", a.id, "from", shorten(string(from)))
		return
	}
	in.Proven = proven
	if in.refusal != nil {
		if h.believed(a, by, in) {
			h.answerRefused(ctx, a, by, in, in.refusal)
		}
		return
	}
	switch {
	case in.record.GetSessionContext() != nil:
		h.receiveInSession(ctx, a, by, in)
		return
	case in.record.GetDisconnect() != nil: // R-MTP.7
		if h.believed(a, by, in) {
			h.sessions.Known(e2e.Pair{Local: a.id, Remote: by.endpoint}, (*e2e.Peer).Forget)
		}
		return
	case in.record.GetNoSessionContext() == nil:
		return // Connect records ask for nothing here
	}
	if !h.allowedAlone(ctx, a, by, in) {
		return
	}
	msg, err := record.Message(in.record)
	if err != nil {
		h.refuse(refusedMalformed)
		var refusal *record.Error
		if errors.As(err, &refusal) && h.believed(a, by, in) {
			h.answerRefused(ctx, a, by, in, refusal)
		}
		return
	}
	h.message(ctx, a, by, in, msg)
}

// answerRefused answers an erroneous record where R-MTP.5 wants that.
func (h *Host) answerRefused(ctx context.Context, a *agent, by *controller, in *inbound, refusal *record.Error) {
	h.log.Debug("record refused", "agent", a.id, "controller", by.endpoint, "error", refusal)
	rec, ok := refusal.Answer(func(id usp.EndpointID) bool { return id == a.id })
	if ok {
		h.reply(ctx, a.id, by, in, rec)
	}
}

// message handles one message of a controller, if that is believed to have sent it.
func (h *Host) message(ctx context.Context, a *agent, by *controller, in *inbound, msg *usppb.Msg) {
	if !h.believed(a, by, in) {
		return
	}
	id := msg.GetHeader().GetMsgId()
	if resp := msg.GetBody().GetResponse(); resp.GetNotifyResp() != nil {
		h.acknowledge(ctx, a, by, id)
		return
	}
	req := msg.GetBody().GetRequest()
	if req == nil {
		return // other responses, and errors: nothing waits for them (R-MSG.9)
	}
	key := string(by.endpoint) + "\x00" + id
	if !a.beginRequest(key) {
		h.refuse(refusedDuplicate)
		return
	}
	begin := time.Now()
	s := &session{host: h, agent: a, by: by, reply: in.Reply}
	defer s.told() // also if there is no answer
	resp, err := handled(ctx, a, key, s, req)
	kind := record.TypeOf(msg) // the response's type is the next number, for all requests to an agent
	switch {
	case err != nil:
		h.log.Debug("request failed", "agent", a.id, "controller", by.endpoint, "type", kind, "error", err)
		h.answer(ctx, a.id, by, in, record.ErrorMsg(id, err))
	case resp != nil:
		h.answer(ctx, a.id, by, in, &usppb.Msg{
			Header: &usppb.Header{MsgId: id, MsgType: kind + 1},
			Body:   &usppb.Body{MsgBody: &usppb.Body_Response{Response: resp}},
		})
	}
	s.told()
	h.metrics.handled(kind, err == nil, time.Since(begin))
	for _, f := range s.after {
		f()
	}
}

// handled carries out a request that beginRequest has noted, which is over before it
// is answered: whoever has the answer may use the message id again, while the
// transport still waits for a broker to confirm it.
func handled(ctx context.Context, a *agent, key string, s *session, req *usppb.Request) (*usppb.Response, *usp.Error) {
	defer a.endRequest(key)
	return s.handle(ctx, req)
}

// answer sends a message as the request came: in its session, or in a record of
// its version, signed if it was.
func (h *Host) answer(ctx context.Context, from usp.EndpointID, to *controller, in *inbound, msg *usppb.Msg) {
	if in.record.GetSessionContext() != nil {
		ctx, cancel := stillSent(ctx)
		defer cancel()
		if err := h.answerInSession(ctx, from, to, in, msg); err != nil {
			h.log.Info("answer not sent in its session", "agent", from, "controller", to.endpoint, "protocol", in.Reply.Protocol, "error", err)
		}
		return
	}
	rec, err := record.WrapMsg(from, to.endpoint, answerVersion(in.record), msg)
	if err == nil && len(in.record.GetMacSignature()) > 0 {
		rec, err = h.sign(from, rec)
	}
	if err != nil {
		h.log.Error("answer cannot be encoded", "agent", from, "controller", to.endpoint, "error", err)
		return
	}
	h.reply(ctx, from, to, in, rec)
}

// answerVersion keeps to the controller's version where it is one we speak.
func answerVersion(r *usppb.Record) string {
	for _, v := range usp.SupportedVersions {
		if r.GetVersion() == v {
			return v
		}
	}
	return usp.RecordVersion
}

// reply sends a record where another came from.
func (h *Host) reply(ctx context.Context, from usp.EndpointID, to *controller, in *inbound, rec []byte) {
	ctx, cancel := stillSent(ctx)
	defer cancel()
	if err := h.toAddress(ctx, from, to.endpoint, replyAddress(in.Reply, to), rec); err != nil {
		h.log.Info("answer not sent", "agent", from, "controller", to.endpoint, "protocol", in.Reply.Protocol, "error", err)
	}
}

// stillSent gives an answer its time where the request's deadline is over: its
// failure is what is answered.
func stillSent(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Err() == nil {
		return ctx, func() {}
	}
	return context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
}

// Connected greets a controller that one of the agents has a new connection with,
// and returns when that is done: other records come behind (R-MTP.6). A connection
// for all agents names none, and none greets it.
func (h *Host) Connected(peer, local usp.EndpointID, via mtp.Address) {
	if peer == "" || local == "" || connectRecord[via.Protocol] == nil {
		return
	}
	c := &connected{peer: peer, via: via, greeted: make(chan struct{})}
	if !h.dispatch.submit(local, c) {
		return
	}
	select {
	case <-c.greeted:
	case <-h.ctx.Done():
	}
}

// connectRecord makes the Connect record of transports with connections of two
// endpoints.
var connectRecord = map[mtp.Protocol]func(from, to usp.EndpointID, version string) ([]byte, error){
	mtp.WebSocket: record.WebSocketConnect, mtp.UDS: record.UDSConnect,
}

// greet sends the Connect record (R-MTP.6).
func (h *Host) greet(ctx context.Context, a *agent, c *connected) {
	to := a.state.Load().index(h.spec).controllers[c.peer]
	if to == nil || !to.enabled {
		return
	}
	rec, err := connectRecord[c.via.Protocol](a.id, to.endpoint, usp.RecordVersion)
	if err == nil {
		err = h.toAddress(ctx, a.id, to.endpoint, c.via, rec)
	}
	if err != nil {
		h.log.Debug("Connect record not sent", "agent", a.id, "controller", to.endpoint, "error", err)
	}
}

// Disconnected ends the subscriptions that lived on a connection.
func (h *Host) Disconnected(_, _ usp.EndpointID, via mtp.Address) {
	if via.Conn != nil {
		h.disconnected(via.Conn)
	}
}

func (h *Host) disconnected(conn any) {
	if !h.volatile.has(conn) || h.ctx.Err() != nil {
		return
	}
	h.background.Add(1)
	go func() {
		defer h.background.Done()
		ctx, cancel := context.WithTimeout(h.ctx, 2*h.cfg.Deadline)
		defer cancel()
		h.endVolatile(ctx, conn)
	}()
}
