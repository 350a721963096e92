package websocket

import (
	"context"
	"time"
)

// sweepPeriod is how often every connection is looked at: how late a Ping may be.
const sweepPeriod = time.Second

// sweep looks at every connection once a sweepPeriod, a shard at a time. No
// connection has a timer of its own.
func (s *Server) sweep(ctx context.Context) {
	tick := time.NewTicker(max(min(s.cfg.PingInterval, sweepPeriod)/shards, time.Millisecond))
	defer tick.Stop()
	for i := 0; ; i = (i + 1) % shards {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, c := range s.index.shard(i) {
				s.check(c, now)
			}
		}
	}
}

// check sends a Ping to a silent connection and gives up one that stayed silent
// after it. Writing may take time, which the sweep does not have.
func (s *Server) check(c *conn, now time.Time) {
	ms := now.UnixMilli()
	if at := c.pinged.Load(); at != 0 {
		if ms-at >= s.cfg.PongTimeout.Milliseconds() {
			s.cfg.Log.Info("WebSocket peer is silent, closing", "remote", c.ws.RemoteAddr().String(), "timeout", s.cfg.PongTimeout)
			c.drop()
		}
		return
	}
	if ms-c.seen.Load() >= c.keepAlive.Milliseconds() {
		go c.ping(now)
	}
}
