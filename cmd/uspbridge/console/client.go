package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// maxAnswer bounds what a Client reads, in bytes.
const maxAnswer = 16 << 20

// Client calls the JSON API of a running bridge.
type Client struct {
	URL   string // of the console, "http://127.0.0.1:7549"
	Token string
	HTTP  *http.Client // default http.DefaultClient; deadlines come with each call's context
}

// List returns one page of devices.
func (c *Client) List(ctx context.Context, q ListQuery) (list DeviceList, err error) {
	return list, c.call(ctx, http.MethodGet, "/api/devices?"+q.encode(), &list)
}

// Show returns one device.
func (c *Client) Show(ctx context.Context, endpoint string) (d DeviceDetail, err error) {
	return d, c.call(ctx, http.MethodGet, devicePath(endpoint, ""), &d)
}

// Refresh reads the device anew and returns it.
func (c *Client) Refresh(ctx context.Context, endpoint string) (d DeviceDetail, err error) {
	return d, c.call(ctx, http.MethodPost, devicePath(endpoint, "/refresh"), &d)
}

// Forget drops everything kept of a device.
func (c *Client) Forget(ctx context.Context, endpoint string) error {
	return c.call(ctx, http.MethodDelete, devicePath(endpoint, ""), nil)
}

// Explain says where a USP path lives on the CPE.
func (c *Client) Explain(ctx context.Context, endpoint, path string) (e Explanation, err error) {
	return e, c.call(ctx, http.MethodGet, devicePath(endpoint, "/explain?path="+url.QueryEscape(path)), &e)
}

// Coverage says how the device's parameters are mapped.
func (c *Client) Coverage(ctx context.Context, endpoint string) (r Report, err error) {
	return r, c.call(ctx, http.MethodGet, devicePath(endpoint, "/coverage"), &r)
}

func devicePath(endpoint, rest string) string {
	return "/api/devices/" + url.PathEscape(endpoint) + rest
}

// call does one request. v is what a good answer is read into, nil for none.
func (c *Client) call(ctx context.Context, method, path string, v any) error {
	return c.send(ctx, method, path, nil, v)
}

// send is call with a body.
func (c *Client) send(ctx context.Context, method, path string, content io.Reader, v any) error {
	resp, err := c.do(ctx, method, path, content)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("answer of the console at %s: %w", c.URL, err)
	}
	if resp.StatusCode >= 300 {
		return failureOf(resp, body)
	}
	if v == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%s does not answer as a uspbridge console: %w", c.URL, err)
	}
	return nil
}

// do sends one request.
func (c *Client) do(ctx context.Context, method, path string, content io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path, content)
	if err != nil {
		return nil, fmt.Errorf("console URL %q: %w", c.URL, err)
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("no bridge answers at %s: start one with `uspbridge serve`, or name its console with --console", c.URL)
	}
	var failed *url.Error
	if errors.As(err, &failed) && ctx.Err() == nil { // its URL has the query, which says nothing to people
		return nil, fmt.Errorf("the console at %s cannot be asked: %w; --console says where it is, http:// or https:// how it speaks", c.URL, failed.Err)
	}
	return resp, err
}

// failureOf makes an error of an answer, with the cause that the console tells.
func failureOf(resp *http.Response, body []byte) error {
	var e apiError
	if json.Unmarshal(body, &e) == nil && e.Error != "" {
		if resp.StatusCode == http.StatusNotFound && strings.HasPrefix(resp.Request.URL.Path, devicePath("", "")) {
			return unknownDevice(e.Error)
		}
		return errors.New(strings.TrimPrefix(e.Error, ErrInvalid.Error()+": "))
	}
	text := strings.TrimSpace(string(body))
	if len(text) > 200 || text == "" {
		text = resp.Status
	}
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		return fmt.Errorf("console: %s", text)
	}
	base := url.URL{Scheme: resp.Request.URL.Scheme, Host: resp.Request.URL.Host}
	return fmt.Errorf("%s does not answer as a uspbridge console: %.200q; name the console with --console", base.String(), text)
}

// unknownDevice is ErrUnknownDevice in the words of the console.
type unknownDevice string

func (e unknownDevice) Error() string { return string(e) }
func (unknownDevice) Unwrap() error   { return ErrUnknownDevice }
