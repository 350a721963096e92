package relay

import (
	"context"
	"sync"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// Claims decides whether an endpoint id is this bridge's own. It is asked for the
// receiver of a record, which then is a hosted agent, and for the sender, who then
// is refused: a device that has begun to run an agent of its own is not mixed up
// with the agent that stands for it. Handing a device over is to answer
// differently here.
type Claims interface {
	// Hosted reports whether the bridge presents a device under that id. It is
	// called from transports' reading loops and must be quick.
	Hosted(ctx context.Context, id usp.EndpointID) (bool, error)
}

// Conflict is a native endpoint that speaks under the id of a hosted agent.
type Conflict struct {
	Protocol mtp.Protocol // where it was heard last
	Address  string
	Records  int // refused since the bridge was started
	Last     time.Time
}

const (
	maxConflicts     = 1000      // remembered at once: what an attacker can fill
	conflictLogEvery = time.Hour // for one endpoint
)

// conflicts remembers who was refused because its id is a hosted agent's.
type conflicts struct {
	mu  sync.Mutex
	all map[usp.EndpointID]*conflict
}

type conflict struct {
	Conflict
	logged time.Time
}

// note counts a refused record and tells whether it is worth a line in the log.
func (c *conflicts) note(id usp.EndpointID, at mtp.Address, now time.Time) (tell bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.all[id]
	if e == nil {
		if len(c.all) >= maxConflicts {
			c.dropOldest()
		}
		e = new(conflict)
		c.all[id] = e
	}
	e.Protocol, e.Address, e.Last = at.Protocol, addressText(at), now
	e.Records++
	if now.Sub(e.logged) < conflictLogEvery {
		return false
	}
	e.logged = now
	return true
}

func (c *conflicts) dropOldest() {
	var oldest usp.EndpointID
	var last time.Time
	for id, e := range c.all {
		if oldest == "" || e.Last.Before(last) {
			oldest, last = id, e.Last
		}
	}
	delete(c.all, oldest)
}

func (c *conflicts) of(id usp.EndpointID) (Conflict, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.all[id]
	if !ok {
		return Conflict{}, false
	}
	return e.Conflict, true
}

// Conflict tells whether a native endpoint has spoken under the id of a hosted
// agent.
func (r *Relay) Conflict(id usp.EndpointID) (Conflict, bool) { return r.conflicts.of(id) }
