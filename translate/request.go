package translate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Request answers the RPCs of a CPE other than Inform. What it tells of is
// durable before the answer; should the answer get lost, the CPE says it again,
// and it is answered again but taken once.
func (b *Bridge) Request(ctx context.Context, s *acs.Session, req cwmp.Message) (cwmp.Message, error) {
	dev := s.Data().(*device)
	switch m := req.(type) {
	case *cwmp.TransferComplete:
		return &cwmp.TransferCompleteResponse{}, b.transferComplete(ctx, s, dev, m)
	case *cwmp.AutonomousTransferComplete:
		return &cwmp.AutonomousTransferCompleteResponse{}, b.autonomousTransfer(ctx, s, dev, m)
	case *cwmp.DUStateChangeComplete:
		return &cwmp.DUStateChangeCompleteResponse{}, b.duStateChanged(ctx, s, dev, m)
	case *cwmp.AutonomousDUStateChangeComplete:
		return &cwmp.AutonomousDUStateChangeCompleteResponse{}, b.autonomousDUs(ctx, s, dev, m)
	case *cwmp.RequestDownload:
		return &cwmp.RequestDownloadResponse{}, b.requestDownload(ctx, s, dev, m)
	case *cwmp.Kicked:
		return &cwmp.KickedResponse{NextURL: nextURL(m)}, b.kicked(ctx, s, dev, m)
	}
	return nil, cwmp.NewFault(cwmp.FaultACSMethodNotSupported)
}

// report is one thing a CPE tells, as it is taken in.
type report struct {
	mark  string // tells it apart from others
	twice bool   // the same can be told again and mean something new
	event []agent.Event
	note  func(rec *Record) // what follows for the record; nil: nothing
	// op is the operation that it is the end of, nil for none, and result how
	// it ended.
	op     *Operation
	result *OperationResult
}

// mark returns a mark of a message: what it says, hashed.
func mark(m cwmp.Message) string {
	text, err := json.Marshal(m)
	if err != nil {
		// A message is strings, numbers and lists of such.
		panic(fmt.Sprintf("mark of %s: %v", m.RPC(), err))
	}
	sum := sha256.Sum256(text)
	return m.RPC() + " " + hex.EncodeToString(sum[:8])
}

// hear remembers what a CPE has told.
func (r *Record) hear(mark string) {
	if slices.Contains(r.Heard, mark) {
		return
	}
	r.Heard = append(r.Heard[max(0, len(r.Heard)+1-maxHeard):len(r.Heard):len(r.Heard)], mark)
}

// take takes a report in, once: that it was heard and what controllers are told
// come into the store in one batch. If that fails it is as if the CPE had not said
// it, so that it is new when it says it again. A CPE that says the same again in
// a session that is no retry means it again, unless the report can come only once.
func (b *Bridge) take(ctx context.Context, s *acs.Session, dev *device, r report) error {
	dev.order.Lock()
	defer dev.order.Unlock()
	if slices.Contains(dev.state.Load().rec.Heard, r.mark) && (!r.twice || s.Inform().RetryCount > 0) {
		b.log.Debug("the CPE tells again what it has told", "device", dev.key, "report", r.mark)
		return nil
	}
	var ended *Operation
	old, durable, err := b.spread(ctx, dev, func(old *snapshot) (c change, events func(old, now *snapshot) []agent.Event) {
		c.rec = old.rec.clone()
		c.rec.hear(r.mark)
		if r.note != nil {
			r.note(c.rec)
		}
		if r.op != nil && !b.retry(dev, c.rec, r.op.Request, r.result, &c.batch, OperationSent, OperationAccepted) {
			ended = c.rec.endOperation(r.op.Request, r.result, b.now(), &c.batch, OperationSent, OperationAccepted)
		}
		b.schedule(dev.key, c.rec, c.rec.nextDue(), &c.batch)
		return c, func(_, now *snapshot) []agent.Event {
			if now.rec.Template == "" { // before the first discovery there is no agent to tell
				return nil
			}
			return r.event
		}
	})
	if err == nil {
		err = durable(ctx)
	}
	if err != nil {
		b.untake(dev, old.rec, r, ended)
		return err
	}
	if ended != nil {
		b.ended(dev, ended)
	}
	return nil
}

// untake undoes a take that was not stored.
func (b *Bridge) untake(dev *device, before *Record, r report, ended *Operation) {
	dev.mu.Lock()
	defer dev.mu.Unlock()
	rec := dev.state.Load().rec.clone()
	forget := []string{r.mark}
	if ended != nil {
		forget = append(forget, ended.Key)
		if i := slices.Index(rec.Operations, ended); i >= 0 {
			rec.Operations = slices.Clone(rec.Operations)
			rec.Operations[i] = before.operation(ended.Request)
		}
		if ended.Image != nil {
			rec.Firmware = before.Firmware
		}
	}
	rec.Heard = slices.DeleteFunc(slices.Clone(rec.Heard), func(mark string) bool {
		return slices.Contains(forget, mark) && !slices.Contains(before.Heard, mark)
	})
	b.keepOperations(dev, rec, &store.Batch{})
}

// occurred returns an event of the device by the first of some paths that its
// data model has.
func (s *snapshot) occurred(args map[string]string, paths ...string) []agent.Event {
	if s.program == nil {
		return nil
	}
	for _, p := range paths {
		if node := s.program.Schema.Lookup(p); node != nil {
			return []agent.Event{{Kind: agent.Occurred, Ref: dm.Ref{Node: node}, Args: args}}
		}
	}
	return nil
}

// maxReported bounds the members of a list in a CPE's report that controllers
// are told.
const maxReported = 64

// requestDownload tells controllers that the CPE asks for a file (TR-069
// A.4.2.1). It gets one if a controller runs Download().
func (b *Bridge) requestDownload(ctx context.Context, s *acs.Session, dev *device, m *cwmp.RequestDownload) error {
	args := map[string]string{"FileType": m.FileType}
	for i, a := range m.Args[:min(len(m.Args), maxReported)] {
		row := fmt.Sprintf("Argument.%d.", i+1)
		args[row+"Name"], args[row+"Value"] = a.Name, a.Value
	}
	return b.take(ctx, s, dev, report{mark: mark(m), twice: true,
		event: dev.state.Load().occurred(args, "Device.X_USPBRIDGE_CWMP.RequestDownload!")})
}

// kicked tells controllers that a user was at the CPE's "kick" page (TR-069
// A.4.2.3).
func (b *Bridge) kicked(ctx context.Context, s *acs.Session, dev *device, m *cwmp.Kicked) error {
	return b.take(ctx, s, dev, report{mark: mark(m), twice: true, event: dev.state.Load().occurred(
		map[string]string{"Command": m.Command, "Referer": m.Referer, "Argument": m.Arg, "Next": m.Next},
		"Device.X_USPBRIDGE_CWMP.Kicked!")})
}

// nextURL decides where the user's browser goes after a kick. The Next that the
// CPE passes on is chosen by whoever made the link: it is followed only back to
// the site that the browser came from, or within the CPE's own; anything else
// would make the CPE's address lead anywhere.
func nextURL(m *cwmp.Kicked) string {
	next, err := url.Parse(m.Next)
	if err != nil || strings.ContainsAny(m.Next, "\\\r\n\t") || next.User != nil || next.Opaque != "" {
		return ""
	}
	if next.Scheme == "" && next.Host == "" && strings.HasPrefix(m.Next, "/") && !strings.HasPrefix(m.Next, "//") {
		return m.Next
	}
	from, err := url.Parse(m.Referer)
	if err == nil && (next.Scheme == "http" || next.Scheme == "https") && next.Scheme == from.Scheme && next.Host != "" && strings.EqualFold(next.Host, from.Host) {
		return m.Next
	}
	return ""
}
