package coap

import (
	"sync"
	"time"

	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/message/pool"
	"github.com/plgd-dev/go-coap/v3/options/config"
	"github.com/plgd-dev/go-coap/v3/udp/client"
)

// linger bounds the wait for requests that are being answered when the server ends.
const linger = 2 * time.Second

// answering counts the requests whose answer has not gone out. One must not be lost
// between its record and its answer when the server ends: the peer would send the
// record again, to whoever listens there next.
type answering struct {
	mu     sync.Mutex
	count  int
	ending chan struct{} // closed with the last of them; nil: the server goes on
}

// begin counts a request in, unless the server ends.
func (a *answering) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ending != nil {
		return false
	}
	a.count++
	return true
}

func (a *answering) done() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count--; a.count == 0 && a.ending != nil {
		close(a.ending)
	}
}

// end takes no more requests, and returns when those that there are have been
// answered, or after linger. It is called once.
func (a *answering) end() {
	a.mu.Lock()
	a.ending = make(chan struct{})
	if a.count == 0 {
		close(a.ending)
	}
	a.mu.Unlock()
	select {
	case <-a.ending:
	case <-time.After(linger):
	}
}

// process has a message dealt with and answered. A request that comes too late is
// dropped: its sender tries again.
func (a *answering) process(r *pool.Message, cc *client.Conn, handle config.HandlerFunc[*client.Conn]) {
	if r.Code() >= codes.GET && r.Code() <= codes.DELETE {
		if !a.begin() {
			cc.ReleaseMessage(r)
			return
		}
		defer a.done()
	}
	cc.ProcessReceivedMessageWithHandler(r, handle)
}
