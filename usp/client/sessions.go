package client

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/record/e2e"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// Sessions says how a controller exchanges messages in session contexts.
type Sessions struct {
	Policy   e2e.Policy                        // with every agent
	Identity func(agent e2e.Pair) e2e.Identity // nil: no TLS, no signatures
	Limits   e2e.Limits
}

// NewInSessions is New for a controller that has a session context with each
// agent. An agent that begins none is answered in the one that the controller
// begins.
func NewInSessions(controller usp.EndpointID, link Link, s Sessions) *Client {
	return start(controller, link, &s)
}

// sessions are those of a Client.
type sessions struct {
	client *Client
	policy e2e.Policy
	table  *e2e.Table
	stop   context.CancelFunc
	ended  chan struct{}
}

func newSessions(c *Client, s Sessions) *sessions {
	ctx, stop := context.WithCancel(context.Background())
	out := &sessions{client: c, policy: s.Policy, stop: stop, ended: make(chan struct{})}
	out.table = e2e.NewTable(e2e.TableConfig{
		Limits: s.Limits, Identity: s.Identity, Now: time.Now,
		Due: func(pair e2e.Pair, _ *e2e.Peer, res e2e.Result) { out.due(ctx, pair.Remote, res) },
	})
	go func() {
		defer close(out.ended)
		out.table.Run(ctx)
	}()
	return out
}

func (s *sessions) close() {
	s.stop()
	<-s.ended
	s.table.Close()
}

func (s *sessions) with(agent usp.EndpointID, f func(*e2e.Peer)) {
	s.table.With(e2e.Pair{Local: s.client.controller, Remote: agent}, f)
}

// forget ends what there is with an agent that has said that it goes away.
func (s *sessions) forget(agent usp.EndpointID) {
	s.table.Known(e2e.Pair{Local: s.client.controller, Remote: agent}, (*e2e.Peer).Forget)
}

// receive takes a record and returns the messages that have come with it. What
// cannot be read, a controller does not answer.
func (s *sessions) receive(agent usp.EndpointID, r *usppb.Record) (messages []*usppb.Msg) {
	ctx, cancel := context.WithTimeout(context.Background(), acknowledgeWithin)
	defer cancel()
	s.with(agent, func(p *e2e.Peer) {
		res := p.Receive(time.Now(), s.policy, r, false)
		s.due(ctx, agent, res)
		for _, m := range res.Messages {
			if msg, err := (record.Limits{}).InSession(r, m.Payload); err == nil {
				messages = append(messages, msg)
			}
		}
	})
	return messages
}

// due sends what a session has to say of itself. A record that is lost is asked
// for, and a link that is gone shows itself to Receive.
func (s *sessions) due(ctx context.Context, agent usp.EndpointID, res e2e.Result) {
	_ = s.transmit(ctx, agent, res)
}

// send sends a message in the session with an agent.
func (s *sessions) send(ctx context.Context, agent usp.EndpointID, msg *usppb.Msg) error {
	b, err := proto.Marshal(msg)
	if err != nil {
		return err
	}
	s.with(agent, func(p *e2e.Peer) {
		var res e2e.Result
		if res, err = p.Send(time.Now(), s.policy, b); err == nil {
			err = s.transmit(ctx, agent, res)
		}
	})
	return err
}

func (s *sessions) transmit(ctx context.Context, agent usp.EndpointID, res e2e.Result) error {
	for _, b := range res.Records {
		if err := s.client.link.Send(ctx, agent, b); err != nil {
			return err
		}
	}
	return nil
}
