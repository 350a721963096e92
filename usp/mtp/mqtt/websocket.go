package mqtt

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/gorilla/websocket"
)

// wsConn is a byte stream over the binary frames of a WebSocket (MQTT 5, 6.0).
type wsConn struct {
	ws      *websocket.Conn
	below   net.Conn
	message io.Reader // what is left of the message being read
}

// unhurried keeps the WebSocket's own deadlines, which cannot be moved during a write,
// from the connection below, where they can.
type unhurried struct{ net.Conn }

func (unhurried) SetWriteDeadline(time.Time) error { return nil }

func dialWebSocket(ctx context.Context, url string, config *tls.Config) (*wsConn, error) {
	c := new(wsConn)
	d := websocket.Dialer{TLSClientConfig: config, Subprotocols: []string{"mqtt"}}
	d.NetDialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		var err error
		c.below, err = new(net.Dialer).DialContext(ctx, network, address)
		return unhurried{c.below}, err
	}
	ws, resp, err := d.DialContext(ctx, url, nil)
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("%w: %s", err, resp.Status)
		}
		return nil, err
	}
	c.ws = ws
	return c, nil
}

func (c *wsConn) Read(p []byte) (int, error) {
	for {
		if c.message == nil {
			_, r, err := c.ws.NextReader()
			if err != nil {
				return 0, err
			}
			c.message = r
		}
		n, err := c.message.Read(p)
		if err == io.EOF {
			c.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (c *wsConn) Write(p []byte) (int, error) {
	if err := c.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *wsConn) Close() error                       { return c.ws.Close() }
func (c *wsConn) LocalAddr() net.Addr                { return c.ws.LocalAddr() }
func (c *wsConn) RemoteAddr() net.Addr               { return c.ws.RemoteAddr() }
func (c *wsConn) SetReadDeadline(t time.Time) error  { return c.ws.SetReadDeadline(t) }
func (c *wsConn) SetWriteDeadline(t time.Time) error { return c.below.SetWriteDeadline(t) }
func (c *wsConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}
