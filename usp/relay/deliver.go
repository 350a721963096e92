package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// process deals with one job of a lane.
func (r *Relay) process(j job) {
	ctx, cancel := context.WithTimeout(r.ctx, sendTimeout)
	defer cancel()
	if j.moved {
		r.standIn(j.env.From)
	}
	if j.moved || j.env.Type.Connects() {
		r.retry(j.env.From)
	}
	switch j.kind {
	case jobPass:
		r.passOn(ctx, j)
	case jobGreet:
		r.introduce(ctx, j.env, j.at)
	case jobDrain:
		r.deliverHeld(j.env.To)
	}
}

// passOn sends a record to its receiver, or makes it wait.
func (r *Relay) passOn(ctx context.Context, j job) {
	if r.held != nil && r.held.waiting(j.env.From) {
		r.wake(j.env.From)
	}
	if j.env.Type.Connects() {
		r.connect(ctx, j)
		return
	}
	if r.held != nil && r.held.waiting(j.env.To) {
		r.hold(ctx, j) // behind those that wait: the order is kept
		if _, ok := r.route(j.env.To, j.env.From); ok {
			r.wake(j.env.To)
		}
		return
	}
	switch err := r.toReceiver(ctx, j.env, j.via, j.record); {
	case err == nil:
	case errors.Is(err, errDirect):
		r.drop(j.env, j.via, droppedDirect)
	case r.held != nil && r.table.isAgent(j.env.To):
		r.hold(ctx, j)
	default:
		r.undeliverable(j, err)
	}
}

func (r *Relay) undeliverable(j job, err error) {
	r.log.Debug("native endpoint not reached", "from", j.env.From, "to", j.env.To, "error", err)
	if errors.Is(err, mtp.ErrUnreachable) {
		r.drop(j.env, j.via, droppedUnreachable)
	} else {
		r.drop(j.env, j.via, droppedFailed)
	}
}

// errDirect: the receiver listens where the record was taken from.
var errDirect = errors.New("the endpoint has had it from the broker itself")

// toReceiver sends a record to where its receiver is now. via is the transport that it
// came over.
func (r *Relay) toReceiver(ctx context.Context, env record.Envelope, via mtp.Protocol, rec []byte) error {
	at, ok := r.route(env.To, env.From)
	if !ok {
		return fmt.Errorf("%s was never heard, or not for long: %w", env.To, mtp.ErrUnreachable)
	}
	if at.Protocol == via && r.inboxes.has(at, env.To) {
		return errDirect
	}
	if r.byURL(env.To, at) {
		at = r.awaitSession(ctx, env, at)
	}
	if at.Conn == nil { // on a connection nothing is heard again
		r.marks.add(r.marks.key("sent", at, rec))
	}
	if err := r.send(ctx, env.From, env.To, at, rec); err != nil {
		return err
	}
	r.metrics.relayed(via, at.Protocol, len(rec))
	if r.log.Enabled(ctx, slog.LevelDebug) {
		r.log.Debug("record relayed", "from", env.From, "to", env.To, "over", via, "on", at.Protocol, "bytes", len(rec))
	}
	return nil
}

// send hands a record to the transports of the address's protocol.
func (r *Relay) send(ctx context.Context, from, to usp.EndpointID, at mtp.Address, rec []byte) error {
	err := fmt.Errorf("no %s transport is configured: %w", at.Protocol, mtp.ErrUnreachable)
	for _, t := range r.cfg.Transports {
		if t.Protocol() != at.Protocol {
			continue
		}
		if err = t.Send(ctx, from, to, at, rec); err == nil || !errors.Is(err, mtp.ErrUnreachable) {
			return err
		}
	}
	return err
}

// connect makes a Connect record for the transport of its receiver, in place of
// the one that has ended here (R-MTP.6). A receiver that is not there now misses
// nothing: on the transport that it comes by it is not yet connected.
func (r *Relay) connect(ctx context.Context, j job) {
	at, ok := r.route(j.env.To, j.env.From)
	if !ok || at.Protocol == j.via && r.inboxes.has(at, j.env.To) {
		return
	}
	r.introduce(ctx, j.env, at)
}

// introduce sends the Connect record of a transport to a place there.
func (r *Relay) introduce(ctx context.Context, env record.Envelope, at mtp.Address) {
	rec, err := r.connectRecord(env, at.Protocol)
	if err == nil && rec != nil {
		err = r.send(ctx, env.From, env.To, at, rec)
	}
	if err != nil {
		r.log.Debug("Connect record not sent", "from", env.From, "to", env.To, "protocol", at.Protocol, "error", err)
		return
	}
	if rec != nil {
		r.metrics.connects.Inc()
	}
}

// connectRecord returns the Connect record of a transport, nil for one that has
// none.
func (r *Relay) connectRecord(env record.Envelope, on mtp.Protocol) ([]byte, error) {
	inbox, _ := r.inboxes.template(on, env.From)
	switch on {
	case mtp.WebSocket:
		return record.WebSocketConnect(env.From, env.To, env.Version)
	case mtp.MQTT:
		version := usppb.MQTTConnectRecord_V5
		if inbox.Version == "3.1.1" {
			version = usppb.MQTTConnectRecord_V3_1_1
		}
		return record.MQTTConnect(env.From, env.To, env.Version, version, inbox.Topic)
	case mtp.STOMP:
		return record.STOMPConnect(env.From, env.To, env.Version, inbox.Destination)
	case mtp.UDS:
		return record.UDSConnect(env.From, env.To, env.Version)
	}
	return nil, nil
}
