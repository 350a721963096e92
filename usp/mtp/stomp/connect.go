package stomp

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/usp/mtp"
)

// open connects to the server and greets it.
func (t *Transport) open(ctx context.Context, s mtp.Settings) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	netConn, err := t.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("stomp: %s: %w", t.broker.Redacted(), mtp.NetworkTrouble(err).As(err))
	}
	c := &conn{t: t, net: netConn, reader: bufio.NewReaderSize(netConn, t.limit.ReadBuffer)}
	c.w = mtp.NewWriter(netConn, t.cfg.Timeout, c.fill)
	if err := c.greet(ctx, s); err != nil {
		c.w.Close()
		return nil, fmt.Errorf("stomp: %s: %w", t.broker.Redacted(), err)
	}
	c.shared = c.subscribeDest != "" || !t.dest.PerEndpoint()
	return c, nil
}

func (t *Transport) dial(ctx context.Context) (net.Conn, error) {
	if !secure(t.broker) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", t.broker.Host)
	}
	config := t.cfg.TLS
	if t.cfg.Certificate != nil {
		if config = config.Clone(); config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		config.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return t.cfg.Certificate(r.Context(), t.cfg.Endpoint)
		}
	}
	return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", t.broker.Host)
}

// greeting is the STOMP frame (R-STOMP.2). The endpoint id is escaped, although
// greetings otherwise are not (note to R-STOMP.4).
func (t *Transport) greeting(s mtp.Settings) *frame {
	f := &frame{command: "STOMP"}
	f.add("accept-version", "1.2")
	f.add("host", s.VirtualHost)
	f.add("heart-beat", milliseconds(s.HeartbeatOutgoing)+","+milliseconds(s.HeartbeatExpect)) // R-STOMP.9, R-STOMP.10
	if t.cfg.Login != "" || t.cfg.Passcode != "" {
		f.add("login", t.cfg.Login)
		f.add("passcode", t.cfg.Passcode)
	}
	f.add("endpoint-id", escapeHeader(string(t.cfg.Endpoint)))
	return f
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func (c *conn) greet(ctx context.Context, s mtp.Settings) error {
	stop := context.AfterFunc(ctx, func() { _ = c.net.Close() }) // the reader then fails
	defer stop()
	deadline, _ := ctx.Deadline()
	if err := c.net.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := c.net.Write(c.t.greeting(s).append(nil)); err != nil {
		return err
	}
	f, err := readFrame(c.reader, maxHead)
	if err != nil {
		return fmt.Errorf("waiting for CONNECTED: %w", mtp.NetworkTrouble(err).As(err))
	}
	if f.command != "CONNECTED" {
		err := serverError(f)
		return greetingTrouble(err).As(err)
	}
	if v := f.get("version"); v != "1.2" {
		return mtp.Misconfigured.As(fmt.Errorf("the server speaks STOMP version %q, not 1.2", v))
	}
	c.subscribeDest = f.get("subscribe-dest") // R-STOMP.6
	c.beatOut, c.beatIn = agreeHeartBeat(f.get("heart-beat"), s.HeartbeatOutgoing, s.HeartbeatExpect)
	return c.net.SetDeadline(time.Time{})
}

// unauthorized are words by which servers refuse a login: STOMP has no codes.
var unauthorized = []string{"access", "authenti", "authoriz", "credential", "denied", "login", "password"}

// greetingTrouble is the kind of an error with which a server answers a greeting.
func greetingTrouble(err error) mtp.Trouble {
	text := strings.ToLower(err.Error())
	if slices.ContainsFunc(unauthorized, func(word string) bool { return strings.Contains(text, word) }) {
		return mtp.Unauthorized
	}
	return mtp.Unclear
}

// serverError makes an error of a frame that ends the connection.
func serverError(f *frame) error {
	if f.command != "ERROR" {
		return fmt.Errorf("unexpected %s frame", f.command)
	}
	text, more := f.get("message"), strings.TrimSpace(string(f.body[:min(len(f.body), 200)]))
	if text != "" && more != "" {
		text += ": "
	}
	text += more
	return fmt.Errorf("the server says: %s", strings.ToValidUTF8(text, "?"))
}

// agreeHeartBeat returns how often we send and expect something, from the
// server's "<can send>,<wants>" in ms and what we can and want (R-STOMP.11).
func agreeHeartBeat(theirs string, can, want time.Duration) (out, in time.Duration) {
	sends, wants, _ := strings.Cut(theirs, ",")
	return agree(can, wants), agree(want, sends)
}

func agree(ours time.Duration, theirs string) time.Duration {
	ms, err := strconv.ParseUint(strings.TrimSpace(theirs), 10, 31)
	if err != nil || ms == 0 || ours == 0 {
		return 0
	}
	return max(ours, time.Duration(ms)*time.Millisecond)
}
