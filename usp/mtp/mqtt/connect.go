package mqtt

import (
	"bufio"
	"context"
	"fmt"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/uspbridge/uspbridge/usp/mtp"
)

// connect opens a connection and an MQTT session on it.
func (t *Transport) connect(ctx context.Context, s mtp.Settings) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	if err := t.recall(ctx, s); err != nil {
		return nil, err
	}
	netConn, err := t.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("mqtt: %s: %w", t.broker.Redacted(), mtp.NetworkTrouble(err).As(err))
	}
	c := &conn{t: t, net: netConn, reader: bufio.NewReaderSize(netConn, t.limit.ReadBuffer), version: t.version, asked: map[uint16][]string{}}
	c.w = mtp.NewWriter(netConn, t.cfg.Timeout, c.fill)
	if err := c.greet(ctx, s); err != nil {
		c.w.Close()
		return nil, fmt.Errorf("mqtt: %s: %w", t.broker.Redacted(), err)
	}
	return c, nil
}

// greet exchanges CONNECT and CONNACK.
func (c *conn) greet(ctx context.Context, s mtp.Settings) error {
	stop := context.AfterFunc(ctx, func() { _ = c.net.Close() }) // the reader then fails
	defer stop()
	deadline, _ := ctx.Deadline()
	if err := c.net.SetDeadline(deadline); err != nil {
		return err
	}
	hello := c.t.connectPacket(s)
	b, err := c.encode(nil, hello)
	if err != nil {
		return fmt.Errorf("CONNECT: %w", err)
	}
	if _, err := c.net.Write(b); err != nil {
		return err
	}
	c.t.counts.wrote(hello)
	pk, _, err := readPacket(c.reader, c.version, 0)
	if err != nil {
		return fmt.Errorf("waiting for CONNACK: %w", mtp.NetworkTrouble(err).As(err))
	}
	c.t.counts.read(&pk)
	if pk.FixedHeader.Type != packets.Connack {
		return fmt.Errorf("packet of type %d in place of CONNACK", pk.FixedHeader.Type)
	}
	if pk.ReasonCode != 0 {
		return c.t.refused(ctx, &pk)
	}
	c.agree(pk, s.KeepAlive)
	if id := pk.Properties.AssignedClientID; id != "" {
		c.t.clientID = id
		c.t.assign(ctx, id)
	}
	return c.net.SetDeadline(time.Time{})
}

// agree takes over what the broker says in CONNACK. Where it says nothing, as in
// 3.1.1, the standard's defaults are as wide as our own.
func (c *conn) agree(connack packets.Packet, keepAlive time.Duration) {
	p := connack.Properties
	c.connack, c.keepAlive, c.window, c.maxPacket, c.maxQoS = connack, keepAlive, c.t.limit.Window, 256<<20, 2
	if p.ServerKeepAliveFlag {
		c.keepAlive = time.Duration(p.ServerKeepAlive) * time.Second
	}
	if p.ReceiveMaximum > 0 {
		c.window = min(c.window, int(p.ReceiveMaximum))
	}
	if p.MaximumPacketSize > 0 {
		c.maxPacket = int(p.MaximumPacketSize)
	}
	if p.MaximumQosFlag {
		c.maxQoS = p.MaximumQos
	}
}

// connectPacket asks for a clean start only where a controller wants that: while
// the broker keeps the session, what controllers sent during a short break is not
// lost. SessionExpiry bounds how old it can be when it is carried out; 3.1.1 leaves
// that to the broker.
func (t *Transport) connectPacket(s mtp.Settings) *packets.Packet {
	t.clientID = t.clientIDFor(s)
	pk := &packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Connect},
		Connect: packets.ConnectParams{
			ProtocolName: []byte("MQTT"), ClientIdentifier: t.clientID, Keepalive: uint16(s.KeepAlive / time.Second), // R-MQTT.8, R-MQTT.14
			Clean:    s.CleanStart || t.version != 5 && t.clientID == "",                                 // [MQTT-3.1.3-7] of 3.1.1
			Username: []byte(t.cfg.Username), UsernameFlag: t.cfg.Username != "" || t.cfg.Password != "", // R-MQTT.7; [MQTT-3.1.2-22] of 3.1.1
			Password: []byte(t.cfg.Password), PasswordFlag: t.cfg.Password != "",
		},
	}
	if w := t.cfg.Will; w != nil {
		pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, w.Topic, w.Payload
		pk.Connect.WillQos, pk.Connect.WillRetain = w.QoS, w.Retain
	}
	if t.version == 5 {
		pk.Properties = packets.Properties{
			SessionExpiryInterval: uint32(min(t.cfg.SessionExpiry/time.Second, 1<<31)), SessionExpiryIntervalFlag: true,
			ReceiveMaximum:      uint16(t.limit.Window),
			MaximumPacketSize:   uint32(t.cfg.MaxRecord + envelope),
			RequestResponseInfo: 1,                                                                            // R-MQTT.12
			User:                []packets.UserProperty{{Key: endpointProperty, Val: string(t.cfg.Endpoint)}}, // R-MQTT.13
		}
	}
	return pk
}
