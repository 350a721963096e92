package cpesim

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// link is the HTTP side of one session: one TCP connection of its own, cookies,
// authentication (TR-069 3.4). It is not an http.Client because a CPE's session
// is bound to a connection, which a shared pool would not keep apart, and because
// a transport per session costs goroutines and memory that 10,000 CPE do not
// have.
type link struct {
	target      *url.URL
	username    string
	password    string
	profile     *Profile
	tls         *tls.Config
	certificate *tls.Certificate // shown to an ACS that asks; nil: what tls has
	timeout     time.Duration
	now         func() time.Time
	keepAlive   bool
	style       *httpStyle
	cookies     map[string]string // nil: cookies are not returned

	conn net.Conn
	in   *bufio.Reader
	out  []byte
	used bool // conn has carried an exchange
	auth authentication
}

// maxExchanges bounds the requests that one POST of a session may become by
// challenges, redirects and reconnects.
const maxExchanges = 6

// reply is what the ACS answered to a POST.
type reply struct {
	status      int
	contentType string
	body        []byte
}

var errStatus = errors.New("unexpected HTTP status")

// busyError is the ACS's 503.
type busyError struct {
	retryAfter time.Duration // as it asked, 0 if it did not
	cause      error
}

func (e *busyError) Error() string { return e.cause.Error() }
func (e *busyError) Unwrap() error { return e.cause }

// maxRetryAfter bounds what an ACS can ask for, as the back-off is bounded.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads the header of that name (RFC 9110 10.2.3): seconds or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// post sends one body and returns the answer, whose status is 200 or 204.
func (l *link) post(ctx context.Context, body []byte) (reply, error) {
	for range maxExchanges {
		response, answer, err := l.exchange(ctx, body)
		if err != nil {
			return reply{}, fmt.Errorf("POST to %s: %w", l.target.Redacted(), err)
		}
		for _, cookie := range response.Cookies() {
			if l.cookies != nil {
				l.cookies[cookie.Name] = cookie.Value
			}
		}
		switch response.StatusCode {
		case http.StatusOK, http.StatusNoContent:
			return reply{response.StatusCode, response.Header.Get("Content-Type"), answer}, nil
		case http.StatusUnauthorized:
			if err := l.authenticate(response.Header); err != nil {
				return reply{}, fmt.Errorf("POST to %s: %w", l.target.Redacted(), err)
			}
			if l.profile.NewConnectionAfter401 {
				l.close()
			}
		case http.StatusFound, http.StatusTemporaryRedirect, http.StatusMovedPermanently, http.StatusPermanentRedirect:
			if err := l.redirect(response.Header.Get("Location")); err != nil { // TR-069 3.4.1: 302 and 307 are followed
				return reply{}, err
			}
		default:
			err := fmt.Errorf("POST to %s: %w %s: %.200q", l.target.Redacted(), errStatus, response.Status, answer)
			if response.StatusCode == http.StatusServiceUnavailable {
				err = &busyError{retryAfter(response.Header, l.now()), err}
			}
			return reply{}, err
		}
	}
	return reply{}, fmt.Errorf("POST to %s: still challenged or redirected after %d requests", l.target.Redacted(), maxExchanges)
}

func (l *link) redirect(location string) error {
	target, err := l.target.Parse(location)
	if err != nil || location == "" || (target.Scheme != "http" && target.Scheme != "https") {
		return fmt.Errorf("POST to %s: redirected to %q, which is no HTTP URL", l.target.Redacted(), location)
	}
	l.target = target
	l.close()
	return nil
}

// exchange sends the request and reads the whole answer. If a kept connection
// turns out closed before a byte of the answer, it is sent again on a new one.
func (l *link) exchange(ctx context.Context, body []byte) (*http.Response, []byte, error) {
	for {
		if err := l.connect(ctx); err != nil {
			return nil, nil, err
		}
		kept := l.used
		response, answer, err := l.attempt(ctx, body)
		if err == nil {
			return response, answer, nil
		}
		l.close()
		if !kept || ctx.Err() != nil || !errors.Is(err, errNoAnswer) {
			return nil, nil, err
		}
	}
}

var errNoAnswer = errors.New("connection closed without an answer")

func (l *link) attempt(ctx context.Context, body []byte) (*http.Response, []byte, error) {
	conn := l.conn
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(l.timeout)); err != nil {
		return nil, nil, err
	}
	request, err := l.request(body)
	if err != nil {
		return nil, nil, err
	}
	_, err = conn.Write(request)
	if err == nil {
		_, err = l.in.Peek(1)
	}
	if err != nil {
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			return nil, nil, fmt.Errorf("no answer in %v: %w", l.timeout, err)
		}
		return nil, nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	response, err := l.response()
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxReplyBytes+1))
	if err != nil {
		return nil, nil, err
	}
	if len(answer) > maxReplyBytes {
		return nil, nil, fmt.Errorf("the answer is larger than %d bytes", maxReplyBytes)
	}
	l.used = true
	if response.Close || !l.keepAlive {
		l.close()
	}
	return response, answer, nil
}

// response reads the head of the answer, past any 100 Continue.
func (l *link) response() (*http.Response, error) {
	for {
		response, err := http.ReadResponse(l.in, &http.Request{Method: http.MethodPost})
		if err != nil || response.StatusCode != http.StatusContinue {
			return response, err
		}
	}
}

func (l *link) connect(ctx context.Context) error {
	if l.conn != nil {
		return nil
	}
	port := l.target.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[l.target.Scheme]
	}
	dialer := net.Dialer{Timeout: l.timeout}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(l.target.Hostname(), port))
	if err != nil {
		return err
	}
	if l.target.Scheme == "https" {
		config := l.tls.Clone()
		if config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if config.ServerName == "" {
			config.ServerName = l.target.Hostname()
		}
		if l.certificate != nil {
			// Shown whatever CAs the ACS names, as the TLS stacks of CPE do.
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return l.certificate, nil }
		}
		secure := tls.Client(conn, config)
		handshake, cancel := context.WithTimeout(ctx, l.timeout)
		defer cancel()
		if err := secure.HandshakeContext(handshake); err != nil {
			return errors.Join(err, conn.Close())
		}
		conn = secure
	}
	l.conn, l.used = conn, false
	if l.in == nil {
		l.in = bufio.NewReaderSize(conn, 4096)
	} else {
		l.in.Reset(conn)
	}
	return nil
}

// request writes the HTTP request into the link's buffer.
func (l *link) request(body []byte) ([]byte, error) {
	b := append(l.out[:0], "POST "...)
	b = append(b, l.target.RequestURI()...)
	b = append(b, l.style.protocol()...)
	b = append(b, "\r\nHost: "...)
	b = append(b, l.target.Host...)
	b = append(b, "\r\n"...)
	b = appendHeader(b, "User-Agent: ", l.style.userAgent)
	if len(body) > 0 {
		b = appendHeader(b, "Content-Type: ", l.style.contentType)
		b = appendHeader(b, "SOAPAction: ", l.style.soapAction)
	}
	chunked := l.style.chunked && len(body) > 0
	if chunked {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	} else {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
		b = append(b, "\r\n"...)
	}
	if l.style.expect && len(body) > 0 {
		b = append(b, "Expect: 100-continue\r\n"...)
	}
	if !l.keepAlive {
		b = append(b, "Connection: close\r\n"...)
	}
	separator := "Cookie: "
	if l.style.oldCookie {
		separator = "Cookie: $Version=\"0\"; "
	}
	for name, value := range l.cookies {
		b = append(append(append(append(b, separator...), name...), '='), value...)
		separator = "; "
	}
	if len(l.cookies) > 0 {
		b = append(b, "\r\n"...)
	}
	b, err := l.authorization(b)
	if err != nil {
		return nil, err
	}
	b = append(b, "\r\n"...)
	if chunked {
		b = strconv.AppendInt(b, int64(len(body)), 16)
		b = append(append(append(b, "\r\n"...), body...), "\r\n0\r\n\r\n"...)
	} else {
		b = append(b, body...)
	}
	l.out = b
	return b, nil
}

func (l *link) close() {
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
}
