package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/capture"
	"github.com/uspbridge/uspbridge/translate"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
)

// Capture implements console.Fleet.
func (f fleet) Capture(ctx context.Context, q console.CaptureQuery, line func([]byte) error) error {
	w, err := f.wanted(ctx, q.Endpoint)
	if err != nil {
		return err
	}
	if (q.Wake || q.Refresh) && w.known == "" {
		return fmt.Errorf("%w: only a device that has informed can be asked for a session, and %s has not", console.ErrInvalid, q.Endpoint)
	}
	c, err := f.captures.Start(capture.Options{Wanted: q.Endpoint, Program: "uspbridge " + readBuildInfo().Version,
		Anonymise: q.Anonymise, Sessions: q.Sessions, Match: w.match})
	if errors.Is(err, capture.ErrTooMany) {
		return fmt.Errorf("%w: %w", console.ErrBusy, err)
	} else if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	if q.Wake || q.Refresh {
		asking.Go(func() { f.askForSession(ctx, q, w.known, c) })
	}
	for {
		text, err := c.Next(ctx)
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return nil
		}
		if err == nil {
			err = line(text)
		}
		if err != nil {
			return err
		}
	}
}

// askForSession makes the device open a session. That it does not come is noted
// in the capture, which goes on: it may come by itself.
func (f fleet) askForSession(ctx context.Context, q console.CaptureQuery, key cwmp.DeviceKey, c *capture.Capture) {
	var err error
	if q.Refresh {
		err = f.bridge.Refresh(ctx, usp.EndpointID(q.Endpoint))
	} else {
		err = f.acs.Do(ctx, key, func(context.Context, *acs.Session) error { return nil })
	}
	switch {
	case err == nil || ctx.Err() != nil:
	case q.Anonymise: // the reason names the device
		c.Note("the device was asked for a session, and that failed")
	default:
		c.Note(fmt.Sprintf("the device was asked for a session, and that failed: %v", err))
	}
}

// wanted tells the devices whose sessions are captured: those whose endpoint id
// is, or will be, the one given, or fits the pattern.
type wanted struct {
	endpoint string
	known    cwmp.DeviceKey // of the device that has this endpoint id, "" if none has
	template translate.EndpointTemplate
}

func (f fleet) wanted(ctx context.Context, endpoint string) (wanted, error) {
	w := wanted{endpoint: endpoint, template: f.template}
	if _, err := path.Match(endpoint, ""); err != nil {
		return w, fmt.Errorf("%w: %q is no pattern: %w", console.ErrInvalid, endpoint, err)
	}
	d, err := f.bridge.Show(ctx, usp.EndpointID(endpoint))
	switch {
	case err == nil:
		w.known = d.Record.Key()
	case !errors.Is(err, agent.ErrUnknownEndpoint):
		return w, err
	}
	return w, nil
}

// match is asked at each session's Inform. An endpoint id that was given for want
// of another is not told from the identity: it matches by its device only.
func (w wanted) match(id cwmp.DeviceID) (endpoint string, ok bool) {
	if w.known != "" {
		return w.endpoint, id.Key() == w.known
	}
	endpoint = string(w.template.EndpointID(id))
	fits, err := path.Match(w.endpoint, endpoint)
	return endpoint, err == nil && fits
}
