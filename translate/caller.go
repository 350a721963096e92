package translate

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/translate/mapping"
)

// caller stands between the bridge and one CPE in a session. Beyond it a CPE
// keeps to the standard: requests are made such as this CPE bears them, what it
// wrongly says of itself is put right, and what it shows of itself is learnt.
type caller struct {
	b       *Bridge
	dev     *device
	cpe     acs.Caller
	speaks  cwmp.Version // by what it says of itself
	profile *mapping.Profile
	reads   int // GetParameterValues that were answered
}

// caller returns a session's CPE as its profile and what was learnt have it.
func (b *Bridge) caller(dev *device, s *acs.Session) *caller {
	return &caller{b: b, dev: dev, cpe: s, speaks: s.Speaks(), profile: b.profile(dev.state.Load().rec)}
}

func (c *caller) learnt() *Learnt { return &c.dev.state.Load().rec.Learnt }

// Call implements acs.Caller.
func (c *caller) Call(ctx context.Context, req cwmp.Message) (cwmp.Message, error) {
	switch m := req.(type) {
	case *cwmp.GetParameterNames:
		return c.names(ctx, m)
	case *cwmp.GetParameterValues:
		return c.values(ctx, m)
	case *cwmp.SetParameterValues:
		return c.set(ctx, m)
	case *cwmp.SetParameterAttributes:
		return c.attributes(ctx, m)
	}
	return c.ask(ctx, req)
}

// ask sends an RPC as it is. One that the CPE has lately answered 9000 to is not
// sent; those without which there is no CPE always are. Nor is one that is of a
// later CWMP than the CPE speaks, unless it lists it among its methods: many CPE
// write cwmp-1-0 whatever they know.
func (c *caller) ask(ctx context.Context, req cwmp.Message) (cwmp.Message, error) {
	rpc := req.RPC()
	now := c.b.now()
	refused := c.learnt().refuses(rpc, now)
	if refused && !indispensable(req) {
		return nil, cwmp.Faultf(cwmp.FaultMethodNotSupported, "%s was answered so before by this CPE and was not sent", rpc)
	}
	if since := cwmp.Since(req); since > c.speaks && !slices.Contains(c.learnt().Methods, rpc) {
		return nil, cwmp.Faultf(cwmp.FaultMethodNotSupported,
			"%s is of CWMP %v, and was not sent: this CPE speaks %v and does not list it among its methods", rpc, since, c.speaks)
	}
	answer, err := c.cpe.Call(ctx, req)
	switch {
	case errors.Is(err, cwmp.FaultMethodNotSupported) && !refused:
		c.b.note(c.dev, func(l *Learnt) { l.answered(rpc, false, now) })
	case err == nil && len(c.learnt().Unsupported) > 0:
		if _, was := c.learnt().Unsupported[rpc]; was {
			c.b.note(c.dev, func(l *Learnt) { l.answered(rpc, true, now) })
		}
	}
	return answer, err
}

// indispensable reports whether an RPC is one that every CPE serves (TR-069
// table 27) and the bridge cannot do without.
func indispensable(req cwmp.Message) bool {
	switch req.(type) {
	case *cwmp.GetParameterNames, *cwmp.GetParameterValues, *cwmp.SetParameterValues:
		return true
	}
	return false
}

// names asks for names. CPE that answer nothing for a whole subtree are asked
// object by object.
func (c *caller) names(ctx context.Context, m *cwmp.GetParameterNames) (cwmp.Message, error) {
	if c.profile.Skips(m.Path) || slices.Contains(c.learnt().Avoided, m.Path) {
		return &cwmp.GetParameterNamesResponse{}, nil
	}
	if !m.NextLevel && m.Path.IsPartial() && c.learnt().Way == mapping.WayLevels && m.Path != m.Path.Root() {
		w := newWalk(m.Path, nil)
		if err := w.run(ctx, c); err != nil {
			return nil, err
		}
		return &cwmp.GetParameterNamesResponse{Parameters: w.Names}, nil
	}
	return c.listed(ctx, m)
}

// listed asks for names and puts right what the CPE wrongly says of them.
func (c *caller) listed(ctx context.Context, m *cwmp.GetParameterNames) (cwmp.Message, error) {
	answer, err := c.ask(ctx, m)
	got, ok := answer.(*cwmp.GetParameterNamesResponse)
	if err != nil || !ok {
		return answer, err
	}
	kept := got.Parameters[:0]
	for _, n := range got.Parameters {
		if c.profile.Skips(n.Name) {
			continue
		}
		n.Writable = n.Writable || !c.profile.TrustWritable
		kept = append(kept, n)
	}
	got.Parameters = kept
	if !m.NextLevel && m.Path.IsPartial() {
		got.Parameters = withTables(got.Parameters)
	}
	return got, nil
}

// withTables adds the tables that a list of names has, if it has no object at
// all, as CPE give that list parameters only. Nothing is then said of the right
// to add and delete rows: it is presumed, and left to the CPE to deny.
func withTables(names []cwmp.ParameterInfo) []cwmp.ParameterInfo {
	for _, n := range names {
		if n.Name.IsPartial() {
			return names
		}
	}
	seen := make(map[cwmp.Path]bool)
	for _, n := range names[:len(names):len(names)] {
		for at := 0; ; {
			dot := strings.IndexByte(string(n.Name[at:]), '.')
			if dot < 0 {
				break
			}
			if _, err := strconv.ParseUint(string(n.Name[at:at+dot]), 10, 32); err == nil && at > 0 {
				for _, object := range []cwmp.Path{n.Name[:at], n.Name[:at+dot+1]} {
					if !seen[object] {
						seen[object] = true
						names = append(names, cwmp.ParameterInfo{Name: object, Writable: true})
					}
				}
			}
			at += dot + 1
		}
	}
	return names
}
