package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/record/e2e"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// Messages go in records without a session context, or in the session with a
// controller (TR-369 "End to End Message Exchange"). This file is where the agent
// tells the two apart: above it there are messages only.

// SessionConfig is what controllers and agents exchange in session contexts.
type SessionConfig struct {
	// Most is how many controllers and agents have sessions at a time, or are
	// remembered to have had one (default 65536).
	Most   int
	Limits e2e.Limits
}

// SessionPolicy is how a configured controller is spoken to at first; its row of
// the Controller table may be changed.
type SessionPolicy struct {
	Context   e2e.Use // of session contexts (default Allow)
	Security  e2e.Use // of TLS in them (default Allow)
	MaxRecord int     // bytes of the largest record; 0: any
}

// seededRetransmits is the MaxRetransmitTries of configured controllers. The data
// model's own default, 0, ends the session when the first record is lost.
const seededRetransmits = "3"

// values are those of a configured controller's row.
func (p SessionPolicy) values() map[string]string {
	security := payloadPlain
	if p.Security == e2e.Require {
		security = payloadTLS
	}
	return map[string]string{
		e2eObject + "SessionMode": string(p.Context), e2eSecurity: string(p.Security), e2eObject + "PayloadSecurity": security,
		e2eObject + "MaxUSPRecordSize": fmt.Sprint(p.MaxRecord), e2eObject + "MaxRetransmitTries": seededRetransmits,
	}
}

func (c *ControllerConfig) validateSession(identity Credentials) error {
	for _, use := range []*e2e.Use{&c.Session.Context, &c.Session.Security} {
		switch *use {
		case "":
			*use = e2e.Allow
		case e2e.Forbid, e2e.Allow, e2e.Require:
		default:
			return fmt.Errorf("agent: controller %s: session %q: want Forbid, Allow or Require", c.EndpointID, *use)
		}
	}
	if c.Session.MaxRecord != 0 && c.Session.MaxRecord < leastRecord {
		return fmt.Errorf("agent: controller %s: records of %d bytes: want at least %d", c.EndpointID, c.Session.MaxRecord, leastRecord)
	}
	if c.Session.Security == e2e.Require && identity == nil {
		return fmt.Errorf("agent: controller %s: secured sessions are required, and agents have no certificates", c.EndpointID)
	}
	return nil
}

func (h *Host) newSessions() *e2e.Table {
	return e2e.NewTable(e2e.TableConfig{
		Peers: h.cfg.Sessions.Most, Limits: h.cfg.Sessions.Limits, Identity: h.identity, Now: h.cfg.Now, Due: h.sessionDue,
		Work: func(pair e2e.Pair, do func()) bool {
			return h.post(lane{agent: pair.Local, controller: pair.Remote}, func(context.Context) { do() }) == nil
		},
	})
}

// identityOf is an agent's identity towards a controller.
type identityOf struct {
	host *Host
	pair e2e.Pair
}

// identityTimeout bounds what has to ask the store, or another for a certificate.
const identityTimeout = 5 * time.Second

// identity returns nil where agents have no certificates.
func (h *Host) identity(pair e2e.Pair) e2e.Identity {
	if h.cfg.Identity == nil {
		return nil
	}
	return identityOf{h, pair}
}

// Certificate implements e2e.Identity.
func (i identityOf) Certificate() (*tls.Certificate, error) {
	ctx, cancel := context.WithTimeout(i.host.ctx, identityTimeout)
	defer cancel()
	return i.host.cfg.Identity.Certificate(ctx, i.pair.Local)
}

// Verify implements e2e.Identity.
func (i identityOf) Verify(chain []*x509.Certificate) error {
	ctx, cancel := context.WithTimeout(i.host.ctx, identityTimeout)
	defer cancel()
	return i.host.cfg.Identity.VerifyInside(i.host.later(ctx, i.pair), i.pair.Local, i.pair.Remote, chain)
}

// receiveInSession takes a record of a session context.
func (h *Host) receiveInSession(ctx context.Context, a *agent, by *controller, in *inbound) {
	policy, known := by.sessions, h.believes(by, in.Reply.Protocol, in.Proven)
	if !known {
		if h.cfg.Identity == nil || policy.Security == e2e.Forbid {
			h.unbelieved(a, by.endpoint, in.Reply.Protocol, errNotProven)
			return
		}
		policy.Security = e2e.Require // by which it can still prove who it is
	}
	var res e2e.Result
	h.sessions.With(e2e.Pair{Local: a.id, Remote: by.endpoint}, func(p *e2e.Peer) {
		route := replyAddress(in.Reply, by)
		res = p.Receive(h.cfg.Now(), policy, in.record, in.Proven)
		if known || res.Proven {
			p.Route = route // else it could be anybody's
		}
		h.sendResult(ctx, a.id, by, route, res)
	})
	h.countSession(a.id, by.endpoint, res)
	if res.Refused != nil {
		h.refuse(refusedSession)
	}
	if !h.settleAdmissions(ctx, e2e.Pair{Local: a.id, Remote: by.endpoint}) {
		return
	}
	if by = h.authorise(a, by.endpoint, in.Trusted); by == nil { // with the roles that it has by now
		return
	}
	for _, m := range res.Messages {
		one := *in
		one.Proven = m.Proven
		msg, err := record.Limits{}.InSession(in.record, m.Payload)
		if err != nil {
			h.refuse(refusedMalformed)
			if h.believed(a, by, &one) {
				h.refusedInSession(ctx, a, by, &one, err)
			}
			continue
		}
		// Those that had to wait for this record have their own time.
		each, cancel := context.WithTimeout(h.ctx, h.cfg.Deadline)
		h.message(each, a, by, &one, msg)
		cancel()
	}
}

// refusedInSession answers a message that cannot be handled if it is a request
// (R-MTP.5); else the session is begun again (R-E2E.21).
func (h *Host) refusedInSession(ctx context.Context, a *agent, by *controller, in *inbound, err error) {
	h.log.Debug("message in a session refused", "agent", a.id, "controller", by.endpoint, "error", err)
	var refusal *record.Error
	if errors.As(err, &refusal) && refusal.MsgID != "" {
		h.answer(ctx, a.id, by, in, record.ErrorMsg(refusal.MsgID, &usp.Error{Code: refusal.Code, Msg: refusal.Msg}))
		return
	}
	h.resetSession(a, by)
}

// allowedAlone checks a record without session context: its signature, if it has
// one (R-E2E.30), and that the controller may do without a session. Who sent the
// message a signature does not prove: it leaves the payload out, and so can be put
// on any other (R-E2E.32).
func (h *Host) allowedAlone(ctx context.Context, a *agent, by *controller, in *inbound) bool {
	r := in.record
	if len(r.GetMacSignature()) > 0 {
		pair := e2e.Pair{Local: a.id, Remote: by.endpoint}
		err := e2e.VerifySigned(r, h.identity(pair))
		if !h.settleAdmissions(ctx, pair) {
			return false
		}
		if err != nil { // R-E2E.23
			h.refuse(refusedIntegrity)
			h.log.Info("record ignored", "agent", a.id, "controller", by.endpoint, "error", err)
			return false
		}
	}
	why := ""
	switch {
	case by.sessions.Security == e2e.Require:
		why = "messages have to be secured by TLS in a session context"
	case by.sessions.Mode == e2e.Require:
		why = "messages have to be in a session context"
	default:
		return true
	}
	h.refuse(refusedSession)
	if msg, err := record.Message(r); err == nil && msg.GetBody().GetRequest() != nil {
		h.answer(ctx, a.id, by, in, record.ErrorMsg(msg.GetHeader().GetMsgId(), &usp.Error{Code: usp.ErrSecureSessionRequired, Msg: why}))
	}
	return false
}

// answerInSession sends an answer in the session of the request.
func (h *Host) answerInSession(ctx context.Context, from usp.EndpointID, to *controller, in *inbound, msg *usppb.Msg) error {
	b, err := proto.Marshal(msg)
	if err != nil {
		return err
	}
	return h.sayInSession(ctx, from, to, replyAddress(in.Reply, to), b)
}

// sayInSession sends a message in the session with a controller; addr is where it
// goes, without a protocol to where the controller's table says.
func (h *Host) sayInSession(ctx context.Context, from usp.EndpointID, to *controller, addr mtp.Address, msg []byte) error {
	var res e2e.Result
	var err error
	h.sessions.With(e2e.Pair{Local: from, Remote: to.endpoint}, func(p *e2e.Peer) {
		if res, err = p.Send(h.cfg.Now(), to.sessions, msg); err == nil {
			err = h.sendResult(ctx, from, to, addr, res)
		}
	})
	h.countSession(from, to.endpoint, res)
	return err
}

// tell sends a message that answers none: in the session with the controller if
// there is one, or has to be.
func (h *Host) tell(ctx context.Context, n *notification) error {
	if n.via == nil && h.inSession(ctx, n.agent.id, n.to) {
		b, err := n.encoded()
		if err != nil {
			return err
		}
		return h.sayInSession(ctx, n.agent.id, n.to, mtp.Address{}, b)
	}
	b, err := wrapNotify(n)
	if err != nil {
		return err
	}
	return h.toController(ctx, n.agent.id, n.to, n.via, b)
}

// inSession reports whether messages to a controller go through a session. One
// that is no longer allowed ends (R-E2E.6b).
func (h *Host) inSession(ctx context.Context, from usp.EndpointID, to *controller) bool {
	wanted := to.sessions.Mode == e2e.Require
	h.sessions.Known(e2e.Pair{Local: from, Remote: to.endpoint}, func(p *e2e.Peer) {
		wanted = p.Wanted(to.sessions)
		if to.sessions.Mode == e2e.Forbid {
			// A failure is logged; the peer learns of it when it next speaks in the session.
			_ = h.sendResult(ctx, from, to, mtp.Address{}, p.End())
		}
	})
	return wanted
}

// resetSession begins another session with a controller.
func (h *Host) resetSession(a *agent, by *controller) {
	ctx, cancel := context.WithTimeout(h.ctx, sendTimeout)
	defer cancel()
	var res e2e.Result
	h.sessions.With(e2e.Pair{Local: a.id, Remote: by.endpoint}, func(p *e2e.Peer) {
		res = p.Reset(h.cfg.Now(), by.sessions)
		h.sendDue(ctx, p, a.id, by, res)
	})
	h.countSession(a.id, by.endpoint, res)
}

// sessionDue sends what a session has to say of itself.
func (h *Host) sessionDue(pair e2e.Pair, p *e2e.Peer, res e2e.Result) {
	h.countSession(pair.Local, pair.Remote, res)
	if len(res.Records) == 0 && res.Disconnect == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(h.ctx, sendTimeout)
	defer cancel()
	a, err := h.agents.acquire(ctx, pair.Local)
	if err != nil {
		h.log.Info("records of a session not sent: the agent cannot be loaded", "agent", pair.Local, "error", err)
		return
	}
	defer h.agents.release(a)
	if to := a.state.Load().index(h.spec).controllers[pair.Remote]; to != nil && to.enabled {
		h.sendDue(ctx, p, a.id, to, res)
	}
}

// sendDue sends records to where the controller was last heard from, or else to
// where its table says.
func (h *Host) sendDue(ctx context.Context, p *e2e.Peer, from usp.EndpointID, to *controller, res e2e.Result) {
	if route, ok := p.Route.(mtp.Address); ok && h.sendResult(ctx, from, to, route, res) == nil {
		return
	}
	// A failure is logged, and records that are missed are asked for.
	_ = h.sendResult(ctx, from, to, mtp.Address{}, res)
}

// sendResult sends the records of a session in order. The caller holds its peer,
// so that nothing gets between them.
func (h *Host) sendResult(ctx context.Context, from usp.EndpointID, to *controller, addr mtp.Address, res e2e.Result) error {
	records := res.Records
	if res.Disconnect != 0 {
		b, err := record.Disconnect(from, to.endpoint, usp.RecordVersion, res.Disconnect, disconnectReason(res))
		if err != nil {
			return err
		}
		records = append(records, b)
	}
	for _, b := range records {
		var err error
		if addr.Protocol == "" {
			err = h.toController(ctx, from, to, nil, b)
		} else {
			err = h.toAddress(ctx, from, to.endpoint, addr, b)
		}
		if err != nil {
			h.log.Debug("record of a session not sent", "agent", from, "controller", to.endpoint, "error", err)
			return err
		}
	}
	return nil
}

func disconnectReason(res e2e.Result) string {
	if res.Refused != nil {
		return res.Refused.Error()
	}
	return "the session context is terminated"
}

// sign signs an encoded record if agents have certificates.
func (h *Host) sign(from usp.EndpointID, rec []byte) ([]byte, error) {
	id := h.identity(e2e.Pair{Local: from})
	if id == nil {
		return rec, nil
	}
	cert, err := id.Certificate()
	if err != nil {
		return nil, err
	}
	return record.SignEncoded(rec, cert)
}

// countSession counts what has happened in a session.
func (h *Host) countSession(agent, controller usp.EndpointID, res e2e.Result) {
	add := func(event string, n int) {
		if n > 0 {
			h.metrics.sessions.WithLabelValues(event).Add(float64(n))
		}
	}
	add("opened", truth(res.Opened))
	add("restarted", truth(res.Restarted))
	add("terminated", truth(res.Disconnect == usp.ErrSessionContextExpired))
	add("retransmitted", res.Retransmitted)
	add("duplicate", res.Duplicates)
	if res.Refused != nil {
		add("refused", 1)
		h.log.Info("record or session with a controller refused", "agent", agent, "controller", controller, "error", res.Refused)
	}
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}
