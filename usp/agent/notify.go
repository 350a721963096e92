package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// notification is a Notify message on its way to one controller. One that wants
// a NotifyResp is kept in the store until that has come, or until it expires.
type notification struct {
	agent *agent
	name  string // msg_id and name of the record
	kept  bool
	// dropped is one that was not stored because too many wait already.
	dropped bool
	via     any // connection of the built-in controller
	to      *controller
	msg     *usppb.Msg // nil if it was read from the store
	// trigger is the subscription whose settings are to be applied; the
	// notification is then none.
	trigger *subscription
	pending
}

// pending is a notification's record (store.Notification, JSON).
type pending struct {
	Controller   usp.EndpointID `json:"controller"`
	Subscription uint32         `json:"subscription,omitempty"` // instance; 0 for OnBoardRequest
	Message      []byte         `json:"message"`
	Type         string         `json:"type"`
	Attempts     int            `json:"attempts,omitempty"` // retries; afresh after a reboot
	Held         bool           `json:"held,omitempty"`     // was never sent, see waiting
	Due          int64          `json:"due"`                // next attempt, Unix milliseconds
	Expires      int64          `json:"expires,omitempty"`  // Unix milliseconds; 0: never
}

// The names of messages that wait for a response, and of those that do not.
const (
	keptPrefix   = "k"
	unkeptPrefix = "u"
)

// note makes the notification of a subscription, or with sub nil an
// OnBoardRequest.
func (h *Host) note(a *agent, to *controller, sub *subscription, n *usppb.Notify, kind string) *notification {
	now := h.cfg.Now()
	out := &notification{agent: a, to: to, kept: sub == nil || sub.retry && sub.via == nil}
	out.Type, out.Controller = kind, to.endpoint
	if sub != nil {
		n.SubscriptionId = sub.id // R-NOT.7
		out.via, out.Subscription = sub.via, sub.key.inst.At(0)
	}
	n.SendResp = out.kept
	prefix := unkeptPrefix
	if out.kept {
		prefix = keptPrefix
		out.Due = now.Add(retryWait(to, 0)).UnixMilli()
		if sub != nil && sub.expiration > 0 {
			out.Expires = now.Add(sub.expiration).UnixMilli()
		}
	}
	out.name = fmt.Sprintf("%s%012x-%08x", prefix, now.UnixMilli(), uint32(h.sequence.Add(1)))
	out.msg = &usppb.Msg{
		Header: &usppb.Header{MsgId: out.name, MsgType: usppb.Header_NOTIFY},
		Body:   &usppb.Body{MsgBody: &usppb.Body_Request{Request: &usppb.Request{ReqType: &usppb.Request_Notify{Notify: n}}}},
	}
	if !out.kept {
		return out
	}
	var err error
	if out.Message, err = proto.Marshal(out.msg); err != nil {
		h.log.Error("notification cannot be encoded", "agent", a.id, "type", kind, "error", err)
		return nil
	}
	return out
}

// retryWait draws the time until the next retry to a controller.
func retryWait(c *controller, retries int) time.Duration {
	return backoff(c.minimumWait, c.multiplier, retries)
}

// longestWait keeps waits within what a Duration can hold.
const longestWait = 30 * 24 * time.Hour

// backoff draws the time until the next retry: between m·(k/1000)^n and
// m·(k/1000)^(n+1), with n no more than 9 (R-NOT.1, R-NOT.2; R-BULK.2, R-BULK.3).
func backoff(minimum time.Duration, multiplier float64, retries int) time.Duration {
	least := float64(minimum) * math.Pow(multiplier, float64(min(retries, 9)))
	most := least * multiplier
	return time.Duration(min(least+rand.Float64()*(most-least), float64(longestWait)))
}

func (n *notification) key() store.Key {
	return store.Key{Kind: store.Notification, Owner: string(n.agent.id), Name: n.name}
}

func (n *notification) dueKey() store.Key {
	return dueKey(time.UnixMilli(n.Due), dueNotify, n.agent.id, n.name)
}

// put adds a notification that waits for its response to a batch, unless the
// agent has as many waiting as it may: then it is dropped, and never sent.
func (n *notification) put(h *Host, b *store.Batch) {
	if !n.kept {
		return
	}
	if !n.agent.await(n, h.cfg.Limits.Notifications) {
		n.dropped = true
		h.metrics.notifications.WithLabelValues(n.Type, "dropped").Inc()
		h.log.Warn("notification dropped: too many wait for the controller's response; see that it answers Notify, or set NotifExpiration",
			"agent", n.agent.id, "controller", n.Controller, "type", n.Type, "limit", h.cfg.Limits.Notifications)
		return
	}
	b.Put(n.key(), encodeJSON(n.pending))
	b.Put(n.dueKey(), dueValue())
}

// transmit has notifications sent that have been stored. The caller holds a.write,
// for their order; see sendAll.
func (h *Host) transmit(a *agent, notes []*notification, asked *session) {
	h.stored(a, notes)
	h.sendAll(notes, asked)
}

// stored ends the time in which a response may come before its notification is
// in the store.
func (h *Host) stored(a *agent, notes []*notification) {
	for _, n := range notes {
		if !n.kept || n.dropped {
			continue
		}
		a.mu.Lock()
		acknowledged := a.sending[n.name]
		delete(a.sending, n.name)
		a.mu.Unlock()
		if acknowledged {
			h.removeNotification(context.WithoutCancel(h.ctx), a, n.name, n.pending)
		}
	}
}

// sendTimeout bounds one attempt to hand a record to a transport.
const sendTimeout = 10 * time.Second

// sent takes note of how one attempt to send a notification has ended. For one that
// is kept a failure is no loss; another is lost, as the standard has it for
// NotifRetry false.
func (h *Host) sent(n *notification, err error) {
	switch {
	case err == nil:
		h.metrics.notifications.WithLabelValues(n.Type, "sent").Inc()
	case n.kept:
		h.metrics.notifications.WithLabelValues(n.Type, "deferred").Inc()
		h.log.Debug("notification will be sent again", "agent", n.agent.id, "controller", n.Controller, "type", n.Type, "error", err)
	default:
		h.metrics.notifications.WithLabelValues(n.Type, "lost").Inc()
		h.log.Debug("notification lost; set NotifRetry to have it sent again", "agent", n.agent.id, "controller", n.Controller, "type", n.Type, "error", err)
		if n.via != nil && errors.Is(err, mtp.ErrUnreachable) {
			h.disconnected(n.via)
		}
	}
}

// decode reads the message of a notification that comes from the store.
func (n *notification) decode() error {
	if n.msg != nil {
		return nil
	}
	n.msg = &usppb.Msg{}
	if err := proto.Unmarshal(n.Message, n.msg); err != nil {
		return fmt.Errorf("stored notification %s of %s: %w", n.name, n.agent.id, err)
	}
	return nil
}

// encoded returns the message as it was stored, or as it would be.
func (n *notification) encoded() ([]byte, error) {
	if n.Message != nil {
		return n.Message, nil
	}
	return proto.Marshal(n.msg)
}

func wrapNotify(n *notification) ([]byte, error) {
	if err := n.decode(); err != nil {
		return nil, err
	}
	return record.WrapMsg(n.agent.id, n.Controller, usp.RecordVersion, n.msg)
}

// acknowledge handles a NotifyResp: what it names is delivered (R-NOT.9: by
// msg_id, the subscription id is not looked at).
func (h *Host) acknowledge(ctx context.Context, a *agent, from *controller, msgID string) {
	if !strings.HasPrefix(msgID, keptPrefix) {
		return
	}
	a.mu.Lock()
	if _, early := a.sending[msgID]; early {
		a.sending[msgID] = true
		a.mu.Unlock()
		return
	}
	a.mu.Unlock()
	p, err := h.pendingOf(ctx, a.id, msgID)
	if err != nil {
		if !errors.Is(err, store.ErrNotFound) {
			h.log.Error("notification cannot be read; it will be sent again", "agent", a.id, "notification", msgID, "error", err)
		}
		return
	}
	if p.Controller != from.endpoint {
		h.log.Debug("response to another controller's notification ignored", "agent", a.id, "controller", from.endpoint)
		return
	}
	h.removeNotification(ctx, a, msgID, p)
}

func (h *Host) pendingOf(ctx context.Context, id usp.EndpointID, name string) (pending, error) {
	var p pending
	b, err := h.cfg.Store.Get(ctx, store.Key{Kind: store.Notification, Owner: string(id), Name: name})
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return p, fmt.Errorf("notification %s of agent %s: %w", name, id, err)
	}
	return p, nil
}

// removeNotification takes a delivered notification out of the store, and for
// an OnBoardRequest begins to wait for the restart time.
func (h *Host) removeNotification(ctx context.Context, a *agent, name string, p pending) {
	n := &notification{agent: a, name: name, pending: p}
	var b store.Batch
	b.Delete(n.key())
	b.Delete(n.dueKey())
	if p.Subscription == 0 {
		h.restartOnboarding(a, p.Controller, &b)
	}
	if err := h.cfg.Store.Commit(ctx, &b); err != nil {
		h.log.Error("delivered notification could not be removed; it will be sent again", "agent", a.id, "notification", name, "error", err)
		return
	}
	h.metrics.notifications.WithLabelValues(p.Type, "acknowledged").Inc()
	if err := h.unhold(ctx, a, a.unawait(n)); err != nil {
		h.log.Error("notifications behind a delivered one could not be released; they are sent when they are due", "agent", a.id, "error", err)
	}
	h.due.poke()
}

// retry sends a notification again whose response has not come in time, or
// gives it up.
func (h *Host) retry(ctx context.Context, e dueEntry) error {
	p, err := h.pendingOf(ctx, e.agent, e.rest)
	if errors.Is(err, store.ErrNotFound) {
		return h.drop(ctx, e)
	} else if err != nil {
		return err
	}
	a, err := h.agents.acquire(ctx, e.agent)
	if err != nil {
		return err
	}
	defer h.agents.release(a)
	n := &notification{agent: a, name: e.rest, kept: true, pending: p}
	var b store.Batch
	b.CompareAndSet(e.key, dueValue(), nil)
	now := h.cfg.Now()
	outcome := h.hopeless(a, n, now)
	if outcome == "" {
		if ok, err := h.permitted(ctx, n); err != nil {
			return err
		} else if !ok {
			outcome = "withdrawn"
		}
	}
	if outcome != "" {
		b.Delete(n.key())
	} else {
		a.again(n, now)
		b.Put(n.key(), encodeJSON(n.pending))
		b.Put(n.dueKey(), dueValue())
	}
	if err := h.cfg.Store.Commit(ctx, &b); err != nil {
		if errors.Is(err, store.ErrConflict) {
			return nil // another node has taken it
		}
		return err
	}
	if outcome != "" {
		a.unawait(n) // those behind it are due as well
		h.metrics.notifications.WithLabelValues(n.Type, outcome).Inc()
		return nil
	}
	h.sendAll([]*notification{n}, nil)
	return nil
}

// hopeless tells why a notification will not be sent again, "" if it will.
func (h *Host) hopeless(a *agent, n *notification, now time.Time) string {
	if n.Expires > 0 && now.UnixMilli() >= n.Expires {
		return "expired"
	}
	st := a.state.Load()
	n.to = st.index(h.spec).controllers[n.Controller]
	if n.to == nil || !n.to.enabled {
		return "withdrawn"
	}
	if n.Subscription != 0 {
		r := st.rows[rowKey{h.classes.subscription, dm.Inst(n.Subscription)}]
		if r == nil {
			return "withdrawn"
		}
	}
	return ""
}
