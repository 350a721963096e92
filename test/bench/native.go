package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// nativeAgent is the endpoint of a stub of a native agent.
const nativeAgent = usp.EndpointID("os::00005E-NATIVE")

// native is a stub of a native agent on a transport: it answers each Get with the
// same value, so that what is measured is the way and not the agent.
type native struct {
	transport mtp.Transport
	stop      context.CancelFunc
	ended     chan error
	sending   sync.WaitGroup
}

// startNative runs a stub on a transport.
func startNative(ctx context.Context, t mtp.Transport) (*native, error) {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	n := &native{transport: t, stop: stop, ended: make(chan error, 1)}
	go func() { n.ended <- t.Serve(running, n) }()
	select {
	case <-t.Ready():
		return n, nil
	case err := <-n.ended:
		stop()
		return nil, err
	case <-time.After(patience):
		return nil, errors.Join(fmt.Errorf("%s is not ready: %s", t.Protocol(), t.Status().LastError), n.close())
	}
}

func (n *native) close() error {
	n.stop()
	err := <-n.ended
	n.sending.Wait()
	return err
}

// Receive answers a Get where it came from.
func (n *native) Receive(in mtp.Inbound) error {
	from, to, b, err := answer(in.Record)
	if err != nil || b == nil {
		return err
	}
	n.sending.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = n.transport.Send(ctx, from, to, in.Reply, b) // what does not arrive, the controller misses
	})
	return nil
}

// answer returns the record that answers one with a Get, nil for one that has no
// message.
func answer(rec []byte) (from, to usp.EndpointID, b []byte, err error) {
	r, err := record.Unwrap(rec, record.Limits{})
	if err != nil || r.GetNoSessionContext() == nil { // a Connect record
		return "", "", nil, err
	}
	msg, err := record.Message(r)
	if err != nil {
		return "", "", nil, err
	}
	resp := &usppb.Msg{
		Header: &usppb.Header{MsgId: msg.GetHeader().GetMsgId(), MsgType: usppb.Header_GET_RESP},
		Body: &usppb.Body{MsgBody: &usppb.Body_Response{Response: &usppb.Response{RespType: &usppb.Response_GetResp{GetResp: &usppb.GetResp{
			ReqPathResults: []*usppb.GetResp_RequestedPathResult{{RequestedPath: oneParameter, ResolvedPathResults: []*usppb.GetResp_ResolvedPathResult{
				{ResolvedPath: "Device.WiFi.SSID.1.", ResultParams: map[string]string{"SSID": "bench"}}}}}}}}}},
	}
	from, to = usp.EndpointID(r.GetToId()), usp.EndpointID(r.GetFromId())
	b, err = record.WrapMsg(from, to, r.GetVersion(), resp)
	return from, to, b, err
}

// Connected is of no interest to a stub.
func (*native) Connected(_, _ usp.EndpointID, _ mtp.Address) {}

// Disconnected is neither.
func (*native) Disconnected(_, _ usp.EndpointID, _ mtp.Address) {}

// load is how often a native agent is asked for a row, with several in flight and
// one at a time.
type load struct {
	gets, alone int
	pace        time.Duration // between two Gets; 0: as fast as it goes
}

// fullLoad finds out how fast it goes. Over CoAP that is known: a server takes 500
// messages a second of one source, and drops more, which their sender sends again
// seconds later. coapLoad stays below.
var (
	fullLoad = load{gets: 20000, alone: 1000}
	coapLoad = load{gets: 2000, alone: 1000, pace: 2500 * time.Microsecond}
)

// loadOver returns the load for a way over transports.
func loadOver(transports ...string) load {
	if slices.Contains(transports, overCoAP) {
		return coapLoad
	}
	return fullLoad
}

// warming is how many Gets go before, unmeasured.
const warming = inFlight * 10

// records are those of all Gets, there and back.
func (l load) records() int { return 2 * (warming + l.gets + l.alone) }

// asked is what a controller finds on its way to a native agent.
type asked struct {
	cost
	load load
	seen []time.Duration
}

// askNative asks the stub over whatever way a controller has to it: for the rate
// with several in flight, for the latency one at a time.
func askNative(ctx context.Context, c *client.Client, agent usp.EndpointID, l load) (a asked, err error) {
	a.load = l
	turn := func() {}
	if l.pace > 0 {
		pace := time.NewTicker(l.pace)
		defer pace.Stop()
		turn = func() { <-pace.C }
	}
	get := func(int) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		_, err := c.Get(ctx, agent, []string{oneParameter}, 0)
		return err
	}
	paced := func(i int) error {
		turn()
		return get(i)
	}
	if err := inParallel(inFlight, warming, paced); err != nil { // the way is warm
		return a, err
	}
	began := time.Now()
	if err := inParallel(inFlight, l.gets, paced); err != nil {
		return a, err
	}
	a.clock = time.Since(began)
	for range l.alone {
		turn()
		began := time.Now()
		if err := get(0); err != nil {
			return a, err
		}
		a.seen = append(a.seen, time.Since(began))
	}
	return a, nil
}

// row is a row of the table; each Get is a record there and one back.
func (a asked) row(what string) row {
	if a.load.pace > 0 {
		what += fmt.Sprintf(", at %d a second", 2*time.Second/a.load.pace)
	}
	return row{what: what, n: a.load.gets, perSecond: 2 * a.rate(a.load.gets), p50: quantile(a.seen, 0.5), p99: quantile(a.seen, 0.99)}
}
