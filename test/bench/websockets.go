package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/gorilla/websocket"
)

// openWebSockets has many controllers connected at the same time, none of which
// says anything, and sees what memory of the bridge they take.
func (m *measurement) openWebSockets(ctx context.Context) error {
	return m.onBridge(ctx, "websockets", "", func(b *bridge) (err error) {
		heapBefore, err := b.heap(ctx)
		if err != nil {
			return err
		}
		residentBefore, err := b.resident()
		if err != nil {
			return err
		}
		conns := make([]*websocket.Conn, m.websockets)
		defer func() {
			for _, c := range conns {
				if c != nil {
					err = errors.Join(err, c.Close())
				}
			}
		}()
		opened, err := b.measure(ctx, "websockets-open", func() error {
			return inParallel(sessionsOpen, len(conns), func(i int) (err error) {
				conns[i], err = dialWebSocket(ctx, b.websocket, fmt.Sprintf("proto::bench-%d", i))
				return err
			})
		})
		if err != nil {
			return err
		}
		if err := b.connected(ctx, "WebSocket", len(conns)); err != nil {
			return err
		}
		resident, err := b.resident()
		if err != nil {
			return err
		}
		heap, err := b.heap(ctx)
		if err != nil {
			return err
		}
		n := float64(len(conns))
		m.table.add(row{what: "RSS of an open WebSocket connection", n: len(conns), bytes: (resident - residentBefore) / n})
		m.table.add(row{what: "heap of the same (stacks are not in it)", n: len(conns), bytes: (heap - heapBefore) / n})
		m.table.add(row{what: "opening it", n: len(conns), cpu: opened.each(len(conns)), perSecond: opened.rate(len(conns))})
		return nil
	})
}

func dialWebSocket(ctx context.Context, address, eid string) (*websocket.Conn, error) {
	d := websocket.Dialer{HandshakeTimeout: patience, Subprotocols: []string{"v1.usp"}, ReadBufferSize: 512, WriteBufferSize: 512}
	c, resp, err := d.DialContext(ctx, "ws://"+address+"/usp?eid="+url.QueryEscape(eid), nil)
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("%w: %s", err, resp.Status)
		}
		return nil, err
	}
	return c, nil
}
