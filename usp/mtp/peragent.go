package mtp

import (
	"context"
	"fmt"
	"sync"

	"github.com/uspbridge/uspbridge/usp"
)

// connecting is how many connections a PerAgent makes at the same time.
const connecting = 64

// Single is a transport whose one connection is that of one endpoint.
type Single interface {
	Transport
	Addressing
	Listening
	// Configure gives the connection other settings, which have been checked.
	Configure(s Settings)
	// Connection tells how it stands.
	Connection() Connection
}

// Singles makes the connections of a PerAgent.
type Singles struct {
	Protocol Protocol
	Meter    *Meter
	// Own is the endpoint whose connection carries what is no hosted endpoint's.
	Own usp.EndpointID
	// Defaults returns the settings that an endpoint has before Configure.
	Defaults func(usp.EndpointID) Settings
	// Address is where what is sent comes to an inbox.
	Address func(inbox string) Address
	// Check reports why settings cannot work.
	Check func(Settings) error
	// New returns the transport of an endpoint. What it does is counted by meter,
	// and it waits at gate before it connects.
	New func(endpoint usp.EndpointID, s Settings, meter *Meter, gate Gate) (Single, error)
}

// PerAgent is a transport over a broker that gives each hosted endpoint a
// connection of its own, each of them a Single with its own retries. A connection
// costs a goroutine and its buffers for as long as its endpoint is hosted. It
// implements Transport, Hosting, Addressing, Listening and PerEndpoint.
type PerAgent struct {
	make  Singles
	gate  Gate
	ready chan struct{}

	mu       sync.RWMutex
	ctx      context.Context // of Serve; nil before
	handler  Handler
	ended    bool // nothing starts any more
	members  map[usp.EndpointID]*member
	settings map[usp.EndpointID]Settings // of those that have been configured
	own      *member                     // nil until it is needed
	running  sync.WaitGroup
}

// member is the connection of one endpoint.
type member struct {
	Single
	stop context.CancelFunc // nil while it does not run
}

// NewPerAgent returns a PerAgent that is not running yet.
func NewPerAgent(s Singles) *PerAgent {
	p := &PerAgent{
		make: s, gate: NewGate(connecting), ready: make(chan struct{}),
		members: map[usp.EndpointID]*member{}, settings: map[usp.EndpointID]Settings{},
	}
	s.Meter.Follow(p.up)
	return p
}

// up tells that a connection is, or that none is wanted.
func (p *PerAgent) up() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.ctx != nil && (p.make.Meter.Connections() > 0 || len(p.members) == 0)
}

// Protocol returns the protocol of all connections.
func (p *PerAgent) Protocol() Protocol { return p.make.Protocol }

// Ready is closed once Serve runs: a transport without endpoints is usable.
func (p *PerAgent) Ready() <-chan struct{} { return p.ready }

// Serve runs the connections of all endpoints until ctx ends.
func (p *PerAgent) Serve(ctx context.Context, h Handler) error {
	p.mu.Lock()
	if p.ctx != nil {
		p.mu.Unlock()
		return fmt.Errorf("%s: Serve was called before", p.make.Protocol)
	}
	p.ctx, p.handler = ctx, h
	for _, m := range p.members {
		p.start(m)
	}
	if p.own != nil {
		p.start(p.own)
	}
	p.mu.Unlock()
	close(p.ready)
	<-ctx.Done()
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.running.Wait()
	return nil
}

// start runs a member, if the PerAgent runs. The caller holds the lock.
func (p *PerAgent) start(m *member) {
	if p.ctx == nil || p.ended {
		return
	}
	ctx, stop := context.WithCancel(p.ctx)
	m.stop = stop
	p.running.Go(func() {
		if err := m.Serve(ctx, p.handler); err != nil {
			p.make.Meter.Failed(err)
		}
	})
}

// Host gives endpoints a connection, which is made in its turn.
func (p *PerAgent) Host(endpoints ...usp.EndpointID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range endpoints {
		if p.members[e] != nil {
			continue
		}
		m, err := p.member(e)
		if err != nil {
			p.make.Meter.Failed(err)
			continue
		}
		p.members[e] = m
		p.start(m)
	}
}

func (p *PerAgent) member(e usp.EndpointID) (*member, error) {
	s, ok := p.settings[e]
	if !ok {
		s = p.make.Defaults(e)
	}
	single, err := p.make.New(e, s, p.make.Meter.Part(), p.gate)
	if err != nil {
		return nil, fmt.Errorf("connection of %s: %w", e, err)
	}
	return &member{Single: single}, nil
}

// Unhost ends the connections of endpoints and forgets their settings.
func (p *PerAgent) Unhost(endpoints ...usp.EndpointID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range endpoints {
		if m := p.members[e]; m != nil && m.stop != nil {
			m.stop()
		}
		delete(p.members, e)
		delete(p.settings, e)
	}
}

// of returns the connection that an endpoint's records go over: its own, or that
// of the program for an endpoint that is not hosted. It is nil if there is none.
func (p *PerAgent) of(e usp.EndpointID) *member {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if m := p.members[e]; m != nil {
		return m
	}
	return p.own
}

// Via returns the connection of an endpoint, nil if it has none.
func (p *PerAgent) Via(e usp.EndpointID) Single {
	if m := p.of(e); m != nil {
		return m.Single
	}
	return nil
}

// Send sends a record over the connection of from.
func (p *PerAgent) Send(ctx context.Context, from, to usp.EndpointID, addr Address, record []byte) error {
	m := p.of(from)
	if m == nil {
		return p.make.Meter.Sent(len(record), fmt.Errorf("%s: %s has no connection here: %w", p.make.Protocol, from, ErrUnreachable))
	}
	return m.Send(ctx, from, to, addr, record)
}

// Status sums over all connections. It is up while one is, or none is wanted.
func (p *PerAgent) Status() Status { return p.make.Meter.Status() }

// AgentAddress returns where an endpoint is written to.
func (p *PerAgent) AgentAddress(e usp.EndpointID) Address {
	p.mu.RLock()
	m, s := p.members[e], p.make.Defaults(e)
	if configured, ok := p.settings[e]; ok {
		s = configured
	}
	p.mu.RUnlock()
	if m != nil {
		return m.AgentAddress(e)
	}
	return p.make.Address(s.Inbox)
}

// Listen takes records at another address, over the program's own connection,
// which is made when it is first needed.
func (p *PerAgent) Listen(at Address, e usp.EndpointID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.own != nil {
		return p.own.Listen(at, e)
	}
	m, err := p.member(p.make.Own)
	if err != nil {
		return err
	}
	if err := m.Listen(at, e); err != nil {
		return err
	}
	p.own = m
	p.start(m)
	return nil
}

// Unlisten ends what Listen began.
func (p *PerAgent) Unlisten(at Address) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.own != nil {
		p.own.Unlisten(at)
	}
}

// Check implements PerEndpoint.
func (p *PerAgent) Check(s Settings) error { return p.make.Check(s) }

// Configure implements PerEndpoint.
func (p *PerAgent) Configure(e usp.EndpointID, s Settings) error {
	if err := p.make.Check(s); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settings[e] = s
	if m := p.members[e]; m != nil {
		m.Configure(s)
	}
	return nil
}

// Connection implements PerEndpoint.
func (p *PerAgent) Connection(e usp.EndpointID) (Connection, bool) {
	p.mu.RLock()
	m := p.members[e]
	p.mu.RUnlock()
	if m == nil {
		return Connection{}, false
	}
	return m.Connection(), true
}

// Defaults implements PerEndpoint.
func (p *PerAgent) Defaults(e usp.EndpointID) Settings { return p.make.Defaults(e) }
