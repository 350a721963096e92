package mqtt

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/uspbridge/uspbridge/usp/mtp"
)

// conn is one connection to the broker, after CONNACK. Its packets are read by
// the goroutine of Serve and written by its Writer.
type conn struct {
	t       *Transport
	net     net.Conn
	reader  *bufio.Reader
	w       *mtp.Writer
	ending  mtp.Ending
	version byte // 4 (3.1.1) or 5
	connack packets.Packet

	keepAlive time.Duration // 0: none
	window    int           // of unacknowledged PUBLISH packets of ours
	maxPacket int           // that the broker takes
	maxQoS    byte

	mu      sync.Mutex
	nextID  uint16
	asked   map[uint16][]string // filters of SUBSCRIBE packets without an answer
	pinger  *time.Timer
	probing atomic.Bool
}

// run reads packets until the connection ends, and returns why. Up is called once
// a subscription stands.
func (c *conn) run(ctx context.Context, h mtp.Handler, up func()) error {
	defer c.w.Close()
	stop := context.AfterFunc(ctx, func() { c.end(ctx.Err()) })
	defer stop()
	defer c.keep()()
	for subscribed := false; ; {
		if err := c.net.SetReadDeadline(c.deadline(subscribed)); err != nil {
			return c.reason(err)
		}
		pk, too, err := readPacket(c.reader, c.version, c.t.cfg.MaxRecord)
		if err != nil {
			return c.reason(err)
		}
		c.probing.Store(false)
		c.t.counts.read(&pk)
		if pk.FixedHeader.Type == packets.Suback {
			if err := c.subscribed(&pk, subscribed); err != nil {
				return err
			}
			if !subscribed {
				subscribed = true
				up()
			}
			continue
		}
		if err := c.handle(h, &pk, too); err != nil {
			return err
		}
	}
}

// deadline is by when the broker must have said something. It answers our pings.
func (c *conn) deadline(subscribed bool) time.Time {
	switch {
	case !subscribed:
		return time.Now().Add(c.t.cfg.Timeout)
	case c.keepAlive == 0:
		return time.Time{}
	default:
		return time.Now().Add(c.keepAlive*3/4 + c.t.cfg.Timeout)
	}
}

// reason tells what has ended the connection, of which reading err is what shows.
func (c *conn) reason(err error) error {
	return fmt.Errorf("mqtt: %w", c.ending.Reason(c.w, err))
}

// end says goodbye (R-MQTT.35) and closes the connection because of err.
func (c *conn) end(err error) {
	if c.ending.Begin(err) {
		bye := &packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}}
		last, err := c.encode(nil, bye)
		if err != nil {
			c.t.cfg.Log.Debug("MQTT DISCONNECT", "error", err)
		}
		c.t.counts.wrote(bye)
		c.w.Finish(last, mtp.Goodbye)
	}
}

// keep sends pings and looks after what is overdue, one timer for the connection, until stop is called.
func (c *conn) keep() (stop func()) {
	if c.keepAlive == 0 {
		return func() {}
	}
	every := c.keepAlive * 3 / 4
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pinger = time.AfterFunc(every, func() {
		if c.t.outbox.Overdue() {
			c.end(mtp.ErrUnconfirmed)
		}
		c.ping()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.pinger != nil {
			c.pinger.Reset(every)
		}
	})
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pinger.Stop()
		c.pinger = nil
	}
}

// encode is encode with what a controller has this client say.
func (c *conn) encode(buf []byte, pk *packets.Packet) ([]byte, error) {
	c.t.adorn(pk)
	return encode(buf, c.version, pk)
}

func (c *conn) ping() {
	c.control(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
}

// probe asks a broker that lets records wait whether it is still there, and gives
// it up sooner than the keep-alive would.
func (c *conn) probe() {
	if !c.probing.Swap(true) {
		c.ping()
		_ = c.net.SetReadDeadline(time.Now().Add(c.t.cfg.Timeout)) // a closed connection has ended anyway
	}
}

// control sends a packet of the connection itself. One that does not leave ends
// the connection, which the reader learns.
func (c *conn) control(pk *packets.Packet) {
	b, err := c.encode(nil, pk)
	if err == nil {
		err = c.w.Control(b)
	}
	if err != nil {
		c.t.cfg.Log.Debug("MQTT packet not sent", "type", pk.FixedHeader.Type, "error", err)
		return
	}
	c.t.counts.wrote(pk)
}

// handle deals with a packet other than SUBACK.
func (c *conn) handle(h mtp.Handler, pk *packets.Packet, too *oversized) error {
	switch pk.FixedHeader.Type {
	case packets.Publish:
		if pk.FixedHeader.Qos > 1 {
			return errors.New("mqtt: the broker delivers with QoS 2, for which we have not asked")
		}
		if too != nil {
			c.t.meter.Refused()
			c.t.cfg.Log.Warn("MQTT message dropped: too large", "topic", too.topic, "bytes", too.bytes, "limit", c.t.cfg.MaxRecord)
		} else {
			c.t.receive(h, pk)
		}
		if pk.FixedHeader.Qos == 1 {
			c.control(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: pk.PacketID})
		}
	case packets.Puback, packets.Pubcomp:
		c.t.confirm(pk.PacketID, reasonError(pk.ReasonCode))
		c.w.Kick()
	case packets.Pubrec:
		if err := reasonError(pk.ReasonCode); err != nil {
			c.t.confirm(pk.PacketID, err)
			return nil
		}
		c.t.outbox.Change(pk.PacketID, func(p *publication) { p.released = true })
		c.control(&packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel}, PacketID: pk.PacketID})
	case packets.Disconnect:
		return fmt.Errorf("mqtt: the broker disconnects: %w", reasonError(max(pk.ReasonCode, 0x80)))
	case packets.Unsuback, packets.Pingresp:
	default:
		return fmt.Errorf("mqtt: unexpected packet of type %d", pk.FixedHeader.Type)
	}
	return nil
}

// fill appends the next record's PUBLISH to buf, for the Writer.
func (c *conn) fill(buf []byte) []byte {
	for {
		e, ok := c.t.outbox.Next()
		if !ok {
			return buf
		}
		pk := c.publish(&e)
		out, err := c.encode(buf, pk)
		if n := len(out) - len(buf); err == nil && n > c.maxPacket {
			err = fmt.Errorf("packet of %d bytes, the broker takes %d", n, c.maxPacket)
		}
		switch {
		case err != nil:
			c.t.confirm(e.ID, err)
			continue
		case pk.FixedHeader.Type == packets.Publish && pk.FixedHeader.Qos == 0:
			c.t.confirm(e.ID, nil) // nobody else will
		}
		c.t.counts.wrote(pk)
		return out
	}
}

// publish makes the packet of a message: PUBREL for one that the broker has
// taken over with QoS 2 and not released before the last connection was lost.
func (c *conn) publish(e *mtp.Entry[publication]) *packets.Packet {
	m := &e.Message
	if m.released {
		return &packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel}, PacketID: e.ID}
	}
	qos := min(m.qos, c.maxQoS)
	pk := &packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos, Dup: e.Again && qos > 0, Retain: m.retain},
		TopicName:   m.topic, Payload: m.payload,
	}
	if qos > 0 {
		pk.PacketID = e.ID
	}
	if c.version == 5 {
		pk.Properties.ContentType, pk.Properties.ResponseTopic = m.contentType, m.replyTo
	} else if m.replyTo != "" {
		pk.TopicName = withReplyTo(m.topic, m.replyTo) // R-MQTT.24
	}
	return pk
}
