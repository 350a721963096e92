package translate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/translate/tree"
)

// set writes values, in one call if the CPE bears it. Where it does not bear so
// many, by its profile or by what it has shown, there are several, and if one is
// refused those before it are taken back: all is set, or nothing.
func (c *caller) set(ctx context.Context, m *cwmp.SetParameterValues) (cwmp.Message, error) {
	values := c.spelt(m.Values)
	size := len(values)
	if most := lessOf(c.profile.MaxValues, c.learnt().MaxValues); most > 0 && most < size {
		size = most
		c.restorableFirst(values)
	}
	out := &cwmp.SetParameterValuesResponse{}
	var done []cwmp.ParameterValue
	halved := false
	for len(done) < len(values) {
		part := values[len(done):min(len(values), len(done)+size)]
		status, err := c.setOnce(ctx, part, m.ParameterKey)
		if len(part) > 1 && (exceeded(err) || vague(err) && len(values) >= vagueSize && c.restorable(values)) {
			if len(done) == 0 {
				c.restorableFirst(values)
			}
			size, halved = len(part)/2, true
			continue
		} else if err != nil {
			return nil, c.takeBack(ctx, done, named(err, part))
		}
		done = values[:len(done)+len(part)]
		out.Status = max(out.Status, status)
	}
	if halved {
		c.b.note(c.dev, func(l *Learnt) { l.MaxValues, l.Limited = size, c.b.now() })
	}
	if !c.profile.TrustStatus {
		out.Status = 0
	}
	return out, c.rebootAfter(ctx, values, out)
}

// vagueSize is how many values a change must have for a refusal that says nothing
// to be taken for one of their number. With fewer it is one of a value.
const vagueSize = 8

// exceeded reports whether a fault is for the size of a request.
func exceeded(err error) bool {
	var f *cwmp.Fault
	return errors.As(err, &f) && f.Code == cwmp.FaultResourcesExceeded && len(f.Parameters) == 0
}

// vague reports whether a fault says nothing of what it is for.
func vague(err error) bool {
	var f *cwmp.Fault
	return errors.As(err, &f) && (f.Code == cwmp.FaultInternalError || f.Code == cwmp.FaultInvalidArguments) && len(f.Parameters) == 0
}

// named puts the only value of a call into a fault that names none.
func named(err error, part []cwmp.ParameterValue) error {
	var f *cwmp.Fault
	if !errors.As(err, &f) || len(f.Parameters) > 0 || len(part) > 1 {
		return err
	}
	clear := *f
	clear.Parameters = []cwmp.ParameterFault{{Name: part[0].Name, Code: f.Code, Text: f.Text}}
	return &clear
}

// setOnce makes one SetParameterValues, and a second one with booleans spelt the
// other way where that may be what the CPE has against the first.
func (c *caller) setOnce(ctx context.Context, values []cwmp.ParameterValue, key string) (status int, err error) {
	status, err = c.send(ctx, values, key)
	spelling, other := respelt(values)
	if other == nil || c.profile.Booleans != "" || c.learnt().Booleans != "" || !dislikesBooleans(err, values) {
		return status, err
	}
	status, again := c.send(ctx, other, key)
	if again != nil {
		if isFault(again) {
			return 0, err // it was not the spelling
		}
		return 0, again
	}
	copy(values, other)
	c.b.note(c.dev, func(l *Learnt) { l.Booleans = spelling })
	c.b.log.Info("the CPE takes booleans in one spelling only", "device", c.dev.key, "spelling", spelling)
	return status, nil
}

// send makes one SetParameterValues and learns from a session that breaks.
func (c *caller) send(ctx context.Context, values []cwmp.ParameterValue, key string) (status int, err error) {
	answer, err := c.ask(ctx, &cwmp.SetParameterValues{Values: values, ParameterKey: key})
	switch {
	case isLost(err) && len(values) > 1:
		c.b.note(c.dev, func(l *Learnt) {
			// Once is no sign of anything: fewer values mean that what should
			// be one change becomes several.
			if l.SetsLost++; l.SetsLost > 1 {
				l.SetsLost, l.MaxValues, l.Limited, l.Crashed = 0, max(1, len(values)/2), c.b.now(), true
			}
		})
		return 0, err
	case err != nil:
		return 0, err
	}
	if len(values) > 1 && c.learnt().SetsLost > 0 {
		c.b.note(c.dev, func(l *Learnt) { l.SetsLost = 0 })
	}
	got, ok := answer.(*cwmp.SetParameterValuesResponse)
	if !ok {
		return 0, fmt.Errorf("the CPE answered SetParameterValues with %s", answer.RPC())
	}
	return got.Status, nil
}

// spelt returns values in the types and spellings that the CPE takes.
func (c *caller) spelt(values []cwmp.ParameterValue) []cwmp.ParameterValue {
	values = slices.Clone(values)
	spelling := c.profile.Booleans
	if spelling == "" {
		spelling = c.learnt().Booleans
	}
	for i := range values {
		v := &values[i]
		if t := c.profile.Type(v.Name); t != cwmp.TypeUnknown {
			v.Value.Type = t
		}
		if v.Value.Type == cwmp.TypeBoolean && spelling != "" {
			v.Value.Text = spell(v.Value.Text, spelling)
		}
	}
	return values
}

// spell writes a boolean in a spelling. What is no boolean stays as it is.
func spell(text string, as mapping.Spelling) string {
	words := map[string]string{"0": "false", "1": "true"}
	for digit, word := range words {
		if text == digit || strings.EqualFold(text, word) {
			if as == mapping.SpellingWords {
				return word
			}
			return digit
		}
	}
	return text
}

// respelt returns values with their booleans spelt the other way, nil if there
// are no booleans or they are spelt in both.
func respelt(values []cwmp.ParameterValue) (as mapping.Spelling, other []cwmp.ParameterValue) {
	for i, v := range values {
		if v.Value.Type != cwmp.TypeBoolean {
			continue
		}
		to := mapping.SpellingDigits
		if v.Value.Text == "0" || v.Value.Text == "1" {
			to = mapping.SpellingWords
		}
		if as != "" && as != to {
			return "", nil
		}
		if other == nil {
			as, other = to, slices.Clone(values)
		}
		other[i].Value.Text = spell(v.Value.Text, to)
	}
	return as, other
}

// dislikesBooleans reports whether a fault may be about the spelling of a
// boolean: it names one as of a wrong type or value, or names nothing.
func dislikesBooleans(err error, values []cwmp.ParameterValue) bool {
	var f *cwmp.Fault
	if !errors.As(err, &f) {
		return false
	}
	wrong := func(code cwmp.FaultCode) bool {
		return code == cwmp.FaultInvalidParameterType || code == cwmp.FaultInvalidParameterValue
	}
	if len(f.Parameters) == 0 {
		return wrong(f.Code) || f.Code == cwmp.FaultInvalidArguments
	}
	return slices.ContainsFunc(f.Parameters, func(p cwmp.ParameterFault) bool {
		return wrong(p.Code) && slices.ContainsFunc(values, func(v cwmp.ParameterValue) bool {
			return v.Name == p.Name && v.Value.Type == cwmp.TypeBoolean
		})
	})
}

// before returns the value that a parameter is known to have, if there is one
// that can be written back.
func (c *caller) before(name cwmp.Path) (string, bool) {
	t := c.dev.state.Load().tree
	if t == nil {
		return "", false
	}
	p, inst, ok := locate(t, name)
	if !ok {
		return "", false
	}
	v, ok := t.Value(p, inst)
	// An empty text may be a password, which reads as one (TR-106 3.2).
	return v.Text, ok && v.State == tree.Known && v.Text != ""
}

func (c *caller) restorable(values []cwmp.ParameterValue) bool {
	return !slices.ContainsFunc(values, func(v cwmp.ParameterValue) bool { _, ok := c.before(v.Name); return !ok })
}

// restorableFirst puts values that cannot be taken back into the last call.
func (c *caller) restorableFirst(values []cwmp.ParameterValue) {
	rank := func(v cwmp.ParameterValue) int {
		if _, ok := c.before(v.Name); ok {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(values, func(a, b cwmp.ParameterValue) int { return rank(a) - rank(b) })
}

// takeBack writes the old values again after a later part of the same change was
// refused. It returns the refusal, with what could not be taken back.
func (c *caller) takeBack(ctx context.Context, done []cwmp.ParameterValue, refusal error) error {
	if len(done) == 0 || isLost(refusal) {
		return refusal
	}
	var back []cwmp.ParameterValue
	var stuck []error
	for _, v := range done {
		text, ok := c.before(v.Name)
		if !ok {
			stuck = append(stuck, fmt.Errorf("%s stays as it was set: its old value is not known", v.Name))
			continue
		}
		back = append(back, cwmp.ParameterValue{Name: v.Name, Value: cwmp.Value{Type: v.Value.Type, Text: text}})
	}
	back = c.spelt(back)
	most := max(1, lessOf(len(done), lessOf(c.profile.MaxValues, c.learnt().MaxValues)))
	for part := range slices.Chunk(back, most) {
		if _, err := c.send(ctx, part, ""); err != nil {
			stuck = append(stuck, fmt.Errorf("%d values could not be set back: %w", len(part), err))
		}
	}
	c.b.unsure(c.dev, done)
	if len(stuck) > 0 {
		c.b.log.Warn("a change was refused in part and could not be taken back whole", "device", c.dev.key, "error", errors.Join(stuck...))
	}
	return errors.Join(append([]error{refusal}, stuck...)...)
}

// rebootAfter restarts a CPE that puts a parameter into force only then. Until it
// has, the values are set and not yet applied.
func (c *caller) rebootAfter(ctx context.Context, values []cwmp.ParameterValue, set *cwmp.SetParameterValuesResponse) error {
	i := slices.IndexFunc(values, func(v cwmp.ParameterValue) bool { return c.profile.RebootsAfter(v.Name) })
	if i < 0 {
		return nil
	}
	set.Status = 1
	pending := &PendingReboot{Cause: "RemoteReboot", Reason: "to put " + string(values[i].Name) + " into force"}
	if err := c.b.keepReboot(ctx, c.dev, pending); err != nil {
		return err
	}
	if _, err := c.ask(ctx, &cwmp.Reboot{CommandKey: "uspbridge"}); err != nil && !isLost(err) { // lost is how many CPE answer
		c.b.log.Warn("what was set comes into force with a reboot, which failed", "device", c.dev.key, "parameter", values[i].Name, "error", err)
		return c.b.keepReboot(ctx, c.dev, nil)
	}
	return nil
}

// defaultMaxAttributes is how many entries one SetParameterAttributes carries for
// a CPE of which nothing else is known.
const defaultMaxAttributes = 100

// attributes sets attributes, in calls of the size that the CPE bears. Each
// entry stands for itself, so that a refused call leaves those before it.
func (c *caller) attributes(ctx context.Context, m *cwmp.SetParameterAttributes) (cwmp.Message, error) {
	size := lessOf(c.profile.MaxAttributes, lessOf(c.learnt().MaxAttributes, defaultMaxAttributes))
	for todo := m.Entries; len(todo) > 0; {
		n := min(size, len(todo))
		_, err := c.ask(ctx, &cwmp.SetParameterAttributes{Entries: todo[:n]})
		if n > 1 && (exceeded(err) || isLost(err)) {
			size = n / 2
			c.b.note(c.dev, func(l *Learnt) { l.MaxAttributes, l.Limited = size, c.b.now() })
		}
		switch {
		case err == nil:
			todo = todo[n:]
		case n == 1 || !exceeded(err):
			return nil, err
		}
	}
	return &cwmp.SetParameterAttributesResponse{}, nil
}
