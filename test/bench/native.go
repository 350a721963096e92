package main

import (
	"context"
	"errors"
	"fmt"
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

// How often a native agent is asked for a row, with several in flight and one at a
// time.
const (
	nativeGets  = 20000
	nativeAlone = 1000
)

// asked is what a controller finds on its way to a native agent.
type asked struct {
	cost
	seen []time.Duration
}

// askNative asks the stub over whatever way a controller has to it: for the rate
// with several in flight, for the latency one at a time.
func askNative(ctx context.Context, c *client.Client, agent usp.EndpointID) (a asked, err error) {
	get := func(int) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		_, err := c.Get(ctx, agent, []string{oneParameter}, 0)
		return err
	}
	if err := inParallel(inFlight, inFlight*10, get); err != nil { // the way is warm
		return a, err
	}
	began := time.Now()
	if err := inParallel(inFlight, nativeGets, get); err != nil {
		return a, err
	}
	a.clock = time.Since(began)
	for range nativeAlone {
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
	return row{what: what, n: nativeGets, perSecond: 2 * a.rate(nativeGets), p50: quantile(a.seen, 0.5), p99: quantile(a.seen, 0.99)}
}
