package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp/uds"
)

// Config says how Dial reaches agents.
type Config struct {
	URL        string // ws://127.0.0.1:7548/usp, or unix:///path
	Controller usp.EndpointID
	Token      string      // of the console; "" on loopback
	TLS        *tls.Config // for wss://; nil: the system's roots
}

// maxRecord bounds a record received, in bytes.
const maxRecord = 32 << 20

// Dial connects to a WebSocket server of agents (TR-369 "WebSocket Binding"), or to
// their Unix domain socket.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	link, err := DialLink(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return New(cfg.Controller, link), nil
}

// DialLink is Dial for who deals with records itself.
func DialLink(ctx context.Context, cfg Config) (Link, error) {
	if strings.HasPrefix(cfg.URL, uds.Scheme) {
		return dialSocket(ctx, cfg)
	}
	header := http.Header{}
	target, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("%q is no WebSocket URL: %w", cfg.URL, err)
	}
	query := target.Query()
	query.Set("eid", string(cfg.Controller))
	target.RawQuery = query.Encode() // R-WS.10b; a percent sign becomes %25 (R-WS.10c)
	if cfg.Token != "" {
		header.Set("Authorization", "Bearer "+cfg.Token)
	}
	dialer := websocket.Dialer{Subprotocols: []string{"v1.usp"}, HandshakeTimeout: 10 * time.Second, TLSClientConfig: cfg.TLS} // R-WS.9
	conn, resp, err := dialer.DialContext(ctx, target.String(), header)
	if err != nil {
		if resp != nil && resp.StatusCode == http.StatusBadRequest && target.Scheme == "ws" {
			return nil, fmt.Errorf("%s answered %s: it may want TLS, that is a URL that begins with wss://", cfg.URL, resp.Status)
		}
		if resp != nil {
			return nil, &RefusedError{cfg.URL, resp.StatusCode, firstLine(resp.Body)}
		}
		if errors.As(err, new(tls.RecordHeaderError)) || errors.As(err, new(*tls.CertificateVerificationError)) {
			return nil, fmt.Errorf("no TLS session with %s: %w", cfg.URL, err)
		}
		return nil, fmt.Errorf("no bridge answers at %s: %w", cfg.URL, err)
	}
	if conn.Subprotocol() != "v1.usp" { // R-WS.12
		conn.Close()
		return nil, fmt.Errorf("%s speaks WebSocket, but not USP", cfg.URL)
	}
	conn.SetReadLimit(maxRecord)
	return &socket{conn: conn}, nil
}

// RefusedError is a server's answer that opens no WebSocket.
type RefusedError struct {
	URL    string
	Status int    // of HTTP
	Reason string // the server's, "" if it gave none
}

func (e *RefusedError) Error() string {
	text := fmt.Sprintf("%s answered %d %s", e.URL, e.Status, http.StatusText(e.Status))
	if e.Reason == "" {
		return text
	}
	return fmt.Sprintf("%s: %q", text, e.Reason)
}

// maxReason bounds what is shown of a server's reason, in bytes.
const maxReason = 300

// firstLine returns what a server says in plain words, so far as it is shown.
func firstLine(body io.Reader) string {
	b := make([]byte, maxReason)
	n, _ := io.ReadFull(body, b) // what there is of it is as good
	line, _, _ := strings.Cut(strings.TrimSpace(string(b[:n])), "\n")
	return strings.ToValidUTF8(line, "")
}

// socket is a WebSocket as a Link.
type socket struct {
	mu   sync.Mutex // of writers
	conn *websocket.Conn
}

func (s *socket) Send(ctx context.Context, _ usp.EndpointID, record []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(10 * time.Second)
	}
	if err := s.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	return s.conn.WriteMessage(websocket.BinaryMessage, record)
}

func (s *socket) Receive() ([]byte, error) {
	for {
		kind, b, err := s.conn.ReadMessage()
		if err != nil || kind == websocket.BinaryMessage {
			return b, err
		}
	}
}

func (s *socket) Close() error { return s.conn.Close() }
