package console

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// CaptureQuery says which CWMP sessions a capture is to have.
type CaptureQuery struct {
	Endpoint  string // endpoint id, or a pattern of some with * and ?; the device need not be known yet
	Sessions  int    // end after so many; 0: go on
	Duration  time.Duration
	Wake      bool // ask the device for a session now
	Refresh   bool // and read its whole parameter tree in it
	Anonymise bool // replace what says whose device it is
}

// The bounds of a capture's connection.
const (
	maxCaptureTime      = 24 * time.Hour
	captureWriteTimeout = 30 * time.Second // for one line
)

// ndjson is the media type of a capture.
const ndjson = "application/x-ndjson"

// apiCapture streams a capture line by line until it is over or the client goes.
func (s *Server) apiCapture(w http.ResponseWriter, r *http.Request) {
	q, err := captureQuery(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	// The console's deadlines are those of short requests.
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return // the connection is closed
	}
	ctx, cancel := context.WithTimeout(r.Context(), q.Duration)
	defer cancel()
	defer context.AfterFunc(s.ending, cancel)()
	started := false
	err = s.cfg.Fleet.Capture(ctx, q, func(line []byte) error {
		if err := control.SetWriteDeadline(time.Now().Add(captureWriteTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if !started {
			w.Header().Set("Content-Type", ndjson)
			started = true
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
		return control.Flush()
	})
	switch {
	case err == nil:
	case !started:
		s.fail(w, err)
	default:
		s.cfg.Log.Info("capture broken off", "endpoint", q.Endpoint, "error", err)
	}
}

func captureQuery(r *http.Request) (q CaptureQuery, err error) {
	q = CaptureQuery{Endpoint: r.FormValue("endpoint"), Duration: maxCaptureTime}
	if q.Endpoint == "" || len(q.Endpoint) > maxText {
		return q, fmt.Errorf("%w: give an endpoint of at most %d bytes", ErrInvalid, maxText)
	}
	if text := r.FormValue("sessions"); text != "" {
		if q.Sessions, err = strconv.Atoi(text); err != nil || q.Sessions < 0 {
			return q, fmt.Errorf("%w: sessions %.20q is not a number from 0", ErrInvalid, text)
		}
	}
	if text := r.FormValue("duration"); text != "" {
		if q.Duration, err = time.ParseDuration(text); err != nil || q.Duration <= 0 || q.Duration > maxCaptureTime {
			return q, fmt.Errorf("%w: duration %.20q is not a time up to %v", ErrInvalid, text, maxCaptureTime)
		}
	}
	for name, flag := range map[string]*bool{"wake": &q.Wake, "refresh": &q.Refresh, "anonymise": &q.Anonymise} {
		if text := r.FormValue(name); text != "" {
			if *flag, err = strconv.ParseBool(text); err != nil {
				return q, fmt.Errorf("%w: %s is true or false, not %.20q", ErrInvalid, name, text)
			}
		}
	}
	return q, nil
}

func (q CaptureQuery) encode() string {
	v := url.Values{"endpoint": {q.Endpoint}, "sessions": {strconv.Itoa(q.Sessions)}}
	if q.Duration > 0 {
		v.Set("duration", q.Duration.String())
	}
	for name, flag := range map[string]bool{"wake": q.Wake, "refresh": q.Refresh, "anonymise": q.Anonymise} {
		if flag {
			v.Set(name, "true")
		}
	}
	return v.Encode()
}

// maxCaptureLine bounds a line that a Client reads: a body of 16 MiB in JSON.
const maxCaptureLine = 40 << 20

// Capture calls line for each line of a capture, with its end, until the capture
// is over or ctx ends.
func (c *Client) Capture(ctx context.Context, q CaptureQuery, line func([]byte) error) error {
	resp, err := c.do(ctx, http.MethodPost, "/api/captures?"+q.encode(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != ndjson {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return fmt.Errorf("answer of the console at %s: %w", c.URL, err)
		}
		return failureOf(resp, body)
	}
	in := bufio.NewReaderSize(resp.Body, 64<<10)
	var text []byte
	for {
		part, err := in.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull) && len(text) <= maxCaptureLine:
			continue
		case errors.Is(err, io.EOF) && len(text) == 0:
			return nil
		case err != nil:
			return fmt.Errorf("the capture broke off: %w", err)
		case !json.Valid(text) || !bytes.HasSuffix(text, []byte("\n")):
			return fmt.Errorf("%s does not answer as a uspbridge console", c.URL)
		}
		if err := line(text); err != nil {
			return err
		}
		text = text[:0]
	}
}
