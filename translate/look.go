package translate

import (
	"context"
	"slices"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// What a CPE does not notify is looked for: the watched parameters among Denied
// are read when the CPE is in a session anyway, and controllers are told of what
// is another value by then. A CPE comes at least every periodic Inform interval,
// and when it is polled; nothing is read for a CPE of which nobody watches such a
// parameter.

const (
	// maxLooked bounds the parameters that are read in one session, the oldest
	// first: with more, each has its turn after some sessions.
	maxLooked = 200
	// lookedLasts is how long a value is not read again, for a CPE whose sessions
	// follow each other quickly.
	lookedLasts = time.Minute
)

// look reads what the CPE does not notify. Changes are told by what is read.
func (b *Bridge) look(ctx context.Context, cpe acs.Caller, dev *device) error {
	names := due(dev.state.Load(), b.now())
	if len(names) == 0 {
		return nil
	}
	want := make(map[cwmp.Path]struct{}, len(names))
	for _, name := range names {
		want[name] = struct{}{}
	}
	if err := b.readLive(ctx, cpe, dev, want); err != nil {
		return err
	}
	b.planPoll(dev, true)
	return nil
}

// due returns the parameters to be looked at, those first that were read longest
// ago.
func due(s *snapshot, now time.Time) []cwmp.Path {
	if s.tree == nil || len(s.rec.Denied) == 0 {
		return nil
	}
	type aged struct {
		name cwmp.Path
		at   uint32
	}
	var list []aged
	before := uint32(now.Add(-lookedLasts).Unix())
	for _, name := range without(s.rec.Denied, without(s.rec.Denied, s.rec.Watched)) {
		p, inst, ok := locate(s.tree, name)
		if !ok {
			continue
		}
		if v, there := s.tree.Value(p, inst); there && v.At <= before {
			list = append(list, aged{name, v.At})
		}
	}
	slices.SortStableFunc(list, func(x, y aged) int { return int(int64(x.at) - int64(y.at)) })
	names := make([]cwmp.Path, 0, min(len(list), maxLooked))
	for _, a := range list[:min(len(list), maxLooked)] {
		names = append(names, a.name)
	}
	return names
}

// Notifications says of each watched parameter how its changes come to be known,
// sorted by name.
func (r *Record) Notifications() (lines []string) {
	add := func(names []cwmp.Path, way string) {
		for _, name := range names {
			lines = append(lines, string(name)+": "+way)
		}
	}
	add(without(without(r.Attributes, r.Passive), r.Denied), "active")
	add(without(r.Passive, r.Denied), "passive")
	if r.NextPoll.IsZero() {
		add(r.Denied, "read in each session")
	} else {
		add(r.Denied, "polled, next at "+dateTime(r.NextPoll))
	}
	add(without(without(r.Watched, r.Attributes), r.Denied), "not asked for yet")
	slices.Sort(lines)
	return lines
}
