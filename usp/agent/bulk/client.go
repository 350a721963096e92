package bulk

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/icholy/digest"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
)

// The bounds of an upload.
const (
	dialTimeout   = 10 * time.Second // to connect, and again for TLS
	uploadTimeout = time.Minute      // of an upload as a whole, redirects and authentication included
	maxAnswer     = 64 << 10         // bytes of an answer that are read, so that the connection can be used again
	maxRedirects  = 5                // RFC 9110 15.4 leaves the number open
	idlePerHost   = 16               // connections kept open to a collector
	idleTimeout   = 90 * time.Second // a connection without an upload is closed
)

// ClientConfig is what a Client needs.
type ClientConfig struct {
	Policy Policy
	Roots  *x509.CertPool // nil: the system's
	Agent  string         // User-Agent; "": Go's
	Most   int            // uploads to one collector at once; 0: any number
	// Now is the clock of Date headers and of what is known of collectors
	// that are down (default time.Now).
	Now func() time.Time
}

// Client brings reports to collectors over HTTP. Its methods may be called
// concurrently.
type Client struct {
	cfg        ClientConfig
	http       *http.Client
	collectors collectors
}

// NewClient returns a Client.
func NewClient(cfg ClientConfig) *Client {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Client{cfg: cfg, collectors: collectors{now: cfg.Now, most: cfg.Most}}
	c.http = &http.Client{
		Transport: &http.Transport{
			// No proxy: behind one the address that is connected to is not ours to check.
			DialContext: cfg.Policy.DialContext(dialTimeout), TLSHandshakeTimeout: dialTimeout,
			MaxIdleConnsPerHost: idlePerHost, IdleConnTimeout: idleTimeout, MaxResponseHeaderBytes: maxAnswer,
			TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Roots}, // R-BULK.6
			ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// Close closes the connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Check reports why a collector cannot be reported to.
func (c *Client) Check(collector string) error {
	_, err := c.cfg.check(collector)
	return err
}

// maxURL is the longest URL of a collector (Profile.{i}.HTTP.URL).
const maxURL = 2048

// check reads a collector's URL and reports why it cannot be one.
func (c *ClientConfig) check(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || len(text) > maxURL:
		return nil, errors.New("is not a URL of a collector; want for example https://bdc.example.net/reports")
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New("is not the URL of a collector: want http:// or https:// and a host")
	case u.User != nil:
		return nil, errors.New("has credentials in it: set HTTP.Username and HTTP.Password")
	}
	return u, c.Policy.Check(u)
}

// Upload is one report on its way to a collector.
type Upload struct {
	URL         string
	Query       []Parameter // appended to the URL's own, in order
	Method      string      // POST or PUT
	Username    string
	Password    string
	Compression string // "GZIP", "Deflate", "None"
	Date        bool   // with a Date header
	Format      Format
	Body        []byte
}

// Parameter is a query parameter of an upload's URL (R-BULK.1).
type Parameter struct{ Name, Value string }

// StatusError is a collector's answer that is no success.
type StatusError struct{ Code int }

func (e *StatusError) Error() string {
	return fmt.Sprintf("the collector answered %d %s", e.Code, http.StatusText(e.Code))
}

// Send uploads a report. It returns nil if the collector has taken it: a status
// of 2xx. A StatusError is the collector's refusal; ErrResting and ErrBusy tell
// that the collector was not asked.
func (c *Client) Send(ctx context.Context, up *Upload) error {
	u, err := c.cfg.check(up.URL)
	if err != nil {
		return fmt.Errorf("collector %w", err)
	}
	appendQuery(u, up.Query)
	body, coding, err := compress(up.Body, up.Compression)
	if err != nil {
		return err
	}
	done, err := c.collectors.begin(u.Host)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	t := transfer{Client: c, up: up, body: body, coding: coding, origin: origin(u)}
	err = t.run(ctx, u)
	var status *StatusError
	done(err == nil || errors.As(err, &status) || errors.Is(err, context.Canceled))
	return err
}

func appendQuery(u *url.URL, query []Parameter) {
	var b strings.Builder
	b.WriteString(u.RawQuery)
	for _, q := range query {
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(q.Name) + "=" + url.QueryEscape(q.Value))
	}
	u.RawQuery = b.String()
}

// compress returns a body and its Content-Encoding (RFC 9110 8.4.1: deflate is
// the zlib format).
func compress(body []byte, compression string) ([]byte, string, error) {
	var out bytes.Buffer
	var w io.WriteCloser
	coding := "gzip"
	switch compression {
	case "GZIP":
		w = gzip.NewWriter(&out)
	case "Deflate":
		w, coding = zlib.NewWriter(&out), "deflate"
	default:
		return body, "", nil
	}
	if _, err := w.Write(body); err != nil {
		return nil, "", fmt.Errorf("compress the report: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, "", fmt.Errorf("compress the report: %w", err)
	}
	return out.Bytes(), coding, nil
}

// origin is what credentials belong to.
func origin(u *url.URL) string { return u.Scheme + "://" + strings.ToLower(u.Host) }

// transfer is an upload with its redirects and its authentication.
type transfer struct {
	*Client
	up     *Upload
	body   []byte
	coding string
	origin string // of the URL that the controller gave
}

// run follows redirects, each with the whole report: what it is redirected to is
// another place for the same upload, whatever the status.
func (t *transfer) run(ctx context.Context, u *url.URL) error {
	for range maxRedirects {
		resp, err := t.authenticated(ctx, u)
		if err != nil {
			return err
		}
		switch code := resp.StatusCode; code {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
			next, err := t.redirect(u, resp.Header.Get("Location"))
			if err != nil {
				return err
			}
			u = next
		default:
			if code < 200 || code > 299 {
				return &StatusError{code}
			}
			return nil
		}
	}
	return fmt.Errorf("the collector redirects more than %d times", maxRedirects)
}

func (t *transfer) redirect(from *url.URL, location string) (*url.URL, error) {
	to, err := from.Parse(location)
	if err != nil || location == "" {
		return nil, errors.New("the collector redirects to what is no URL")
	}
	if from.Scheme == "https" && to.Scheme != "https" {
		return nil, errors.New("the collector redirects from https to http; that is not followed")
	}
	if to, err = t.cfg.check(to.String()); err != nil {
		return nil, fmt.Errorf("the collector redirects to one that %w", err)
	}
	return to, nil
}

// authenticated sends the report and, if the collector asks for credentials, a
// second time with them. They are for the collector that the controller named:
// one that it redirects to does not get them.
func (t *transfer) authenticated(ctx context.Context, u *url.URL) (*http.Response, error) {
	resp, err := t.once(ctx, u, "")
	if err != nil || resp.StatusCode != http.StatusUnauthorized || t.up.Username == "" || origin(u) != t.origin {
		return resp, err
	}
	credentials, err := t.credentials(u, resp.Header)
	if err != nil {
		return nil, err
	}
	return t.once(ctx, u, credentials)
}

// credentials answers a challenge, digest before basic.
func (t *transfer) credentials(u *url.URL, h http.Header) (string, error) {
	if chal, err := digest.FindChallenge(h); err == nil && digest.CanDigest(chal) {
		cred, err := digest.Digest(chal, digest.Options{
			Method: t.up.Method, URI: u.RequestURI(), Count: 1, Username: t.up.Username, Password: t.up.Password,
			GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(t.body)), nil },
		})
		if err != nil {
			return "", fmt.Errorf("answer the collector's challenge: %w", err)
		}
		return cred.String(), nil
	}
	for _, v := range h.Values("WWW-Authenticate") {
		if len(v) >= len("basic") && strings.EqualFold(v[:len("basic")], "basic") {
			r := http.Request{Header: http.Header{}}
			r.SetBasicAuth(t.up.Username, t.up.Password)
			return r.Header.Get("Authorization"), nil
		}
	}
	return "", &StatusError{http.StatusUnauthorized}
}

// once sends the report. The answer's body is read and closed.
func (t *transfer) once(ctx context.Context, u *url.URL, credentials string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, t.up.Method, u.String(), bytes.NewReader(t.body))
	if err != nil {
		return nil, fmt.Errorf("collector: %w", err)
	}
	h := req.Header
	h.Set("Content-Type", t.up.Format.ContentType())
	h["BBF-Report-Format"] = []string{string(t.up.Format.Layout)} // R-BULK.8, written as the standard does
	if t.coding != "" {
		h.Set("Content-Encoding", t.coding)
	}
	if t.up.Date {
		h.Set("Date", t.cfg.Now().UTC().Format(http.TimeFormat))
	}
	if t.cfg.Agent != "" {
		h.Set("User-Agent", t.cfg.Agent)
	}
	if credentials != "" {
		h.Set("Authorization", credentials)
	}
	resp, err := t.http.Do(req)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err // without the URL, whose parameters are the device's
		}
		return nil, fmt.Errorf("collector %s: %w", u.Host, err)
	}
	defer resp.Body.Close()
	// What a collector has to say besides the status is read so that the
	// connection can be used again; a failure costs that, and no more.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	return resp, nil
}
