package translate

import (
	"context"
	"fmt"
	"slices"

	"github.com/uspbridge/uspbridge/cwmp"
)

// values reads values, in calls of the size that the CPE bears. Names that it
// crashes on are not asked for; they are missing in the answer. Names that a
// session was lately lost over are asked for apart, a few at a time, so that the
// same request is not made again and again.
func (c *caller) values(ctx context.Context, m *cwmp.GetParameterValues) (cwmp.Message, error) {
	l := c.learnt()
	if len(l.Avoided) == 0 && len(l.Suspects) == 0 && (c.profile.MaxNames == 0 || len(m.Names) <= c.profile.MaxNames) {
		return c.read(ctx, m.Names)
	}
	out := &cwmp.GetParameterValuesResponse{}
	names := without(m.Names, l.Avoided)
	certain := without(names, l.Suspects)
	parts := slices.Collect(slices.Chunk(certain, lessOf(c.profile.MaxNames, max(1, len(certain)))))
	doubtful := slices.Collect(slices.Chunk(without(names, certain), lessOf(c.profile.MaxNames, l.portion())))
	if len(l.Suspects) == 1 {
		parts = append(doubtful, parts...)
	} else {
		parts = append(parts, doubtful...)
	}
	for _, part := range parts {
		got, err := c.read(ctx, part)
		if err != nil {
			return nil, err
		}
		out.Values = append(out.Values, got.Values...)
	}
	return out, nil
}

// read makes one GetParameterValues.
func (c *caller) read(ctx context.Context, names []cwmp.Path) (*cwmp.GetParameterValuesResponse, error) {
	answer, err := c.ask(ctx, &cwmp.GetParameterValues{Names: names})
	if isLost(err) {
		c.lost(names)
		return nil, err
	} else if err != nil {
		return nil, err
	}
	c.reads++
	got, ok := answer.(*cwmp.GetParameterValuesResponse)
	if !ok {
		return nil, fmt.Errorf("the CPE answered GetParameterValues with %s", answer.RPC())
	}
	if c.learnt().concerned(names) {
		c.b.note(c.dev, func(l *Learnt) { l.read(names) })
	}
	return got, nil
}

// lost learns from a session that broke while names were read.
func (c *caller) lost(names []cwmp.Path) {
	before := len(c.learnt().Avoided)
	c.b.note(c.dev, func(l *Learnt) { l.lostRead(names, c.reads == 0, c.b.now()) })
	if l := c.learnt(); len(l.Avoided) > before {
		c.b.log.Warn("the CPE breaks its session whenever a parameter is read; it is not read any more", "device", c.dev.key, "parameter", names[0])
		return
	}
	c.b.log.Info("the session broke while values were read; these are asked for last and in smaller calls", "device", c.dev.key, "names", len(names))
}
