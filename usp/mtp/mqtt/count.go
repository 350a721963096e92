package mqtt

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// counts are what Device.MQTT.Client.{i}.Stats. shows of one client, across its
// connections.
type counts struct {
	sent, received                      atomic.Uint64 // packets
	published, subscribed, unsubscribed atomic.Uint64 // of those sent
	delivered                           atomic.Uint64 // PUBLISH packets of those received
	connectionErrors, publicationErrors atomic.Uint64
	publishedAt, deliveredAt            atomic.Int64 // Unix milliseconds; 0: never
}

func (c *counts) wrote(pk *packets.Packet) {
	c.sent.Add(1)
	switch pk.FixedHeader.Type {
	case packets.Publish:
		c.published.Add(1)
		c.publishedAt.Store(time.Now().UnixMilli())
	case packets.Subscribe:
		c.subscribed.Add(1)
	case packets.Unsubscribe:
		c.unsubscribed.Add(1)
	}
}

func (c *counts) read(pk *packets.Packet) {
	c.received.Add(1)
	if pk.FixedHeader.Type == packets.Publish {
		c.delivered.Add(1)
		c.deliveredAt.Store(time.Now().UnixMilli())
	}
}

// ended counts a connection that has failed, or could not be made.
func (c *counts) ended(err error) {
	if err != nil && !errors.Is(err, mtp.ErrChanged) && !errors.Is(err, mtp.ErrDisabled) {
		c.connectionErrors.Add(1)
	}
}

func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// Packets implements mtp.Counting: all endpoints share the connection.
func (t *Transport) Packets(usp.EndpointID) (mtp.Packets, bool) {
	c := &t.counts
	p := mtp.Packets{
		Sent: c.sent.Load(), Received: c.received.Load(),
		PublishSent: c.published.Load(), PublishReceived: c.delivered.Load(), SubscribeSent: c.subscribed.Load(), UnsubscribeSent: c.unsubscribed.Load(),
		ConnectionErrors: c.connectionErrors.Load(), PublishErrors: c.publicationErrors.Load(),
		LastPublishSent: moment(c.publishedAt.Load()), LastPublishReceived: moment(c.deliveredAt.Load()),
	}
	if s := t.standing.Connection(); s.Up {
		p.Established = s.Since
	}
	return p, true
}

// Packets implements mtp.Counting.
func (t *PerAgent) Packets(e usp.EndpointID) (p mtp.Packets, ok bool) {
	if own := t.ownOf(e); own != nil {
		return own.Packets(e)
	}
	return p, false
}
