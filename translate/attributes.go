package translate

import (
	"context"
	"errors"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/translate/mapping"
)

// setAttributes brings the CPE's notification attributes to what subscriptions
// need: active notification for a watched parameter, passive where the CPE
// refuses active, none for one no longer watched. What it refuses is kept in
// Denied, and looked at in each session.
func (b *Bridge) setAttributes(ctx context.Context, cpe acs.Caller, dev *device) error {
	rec := dev.state.Load().rec
	add, remove := without(without(rec.Watched, rec.Attributes), rec.Denied), without(rec.Attributes, rec.Watched)
	if len(add) == 0 && len(remove) == 0 {
		return nil
	}
	n := &notifier{cpe: cpe, level: b.strongest(rec)}
	err := n.watch(ctx, add)
	if err == nil {
		err = n.clear(ctx, remove)
	}
	if err == nil && len(n.done) > 0 && !rec.AttributesProved && rec.Supports("GetParameterAttributes", b.now()) {
		err = n.prove(ctx)
	}
	b.amend(dev, func(r *Record) {
		r.Attributes = append(without(r.Attributes, n.cleared), n.done...)
		r.Denied = append(without(r.Denied, n.denied), n.denied...)
		r.Passive = without(append(without(r.Passive, n.passive), n.passive...), append(n.cleared, n.denied...))
		r.AttributesProved = r.AttributesProved || n.proved
	})
	b.planPoll(dev, false)
	if n.learnt != "" {
		b.note(dev, func(l *Learnt) { l.Reports = n.learnt })
	}
	if len(n.denied) > 0 {
		b.log.Warn("the CPE notifies no changes of some parameters; they are looked for in each of its sessions",
			"device", dev.key, "parameters", len(n.denied), "first", n.denied[0], "error", n.refusal)
	}
	return err
}

// strongest returns the notification that is asked for first.
func (b *Bridge) strongest(rec *Record) cwmp.Notification {
	reports := b.profile(rec).Reports
	if reports == "" {
		reports = rec.Reports
	}
	switch reports {
	case mapping.ReportsNone:
		return cwmp.NotificationOff
	case mapping.ReportsPassive:
		return cwmp.NotificationPassive
	}
	return cwmp.NotificationActive
}

// notifier sets the notification attributes of one CPE.
type notifier struct {
	cpe   acs.Caller
	level cwmp.Notification // asked for; off: the CPE honours none

	done, denied, cleared []cwmp.Path
	passive               []cwmp.Path     // of done
	refusal               error           // the last
	taken                 bool            // an active notification was taken
	weak                  int             // parameters whose active notification was refused and passive taken
	learnt                mapping.Reports // "": nothing
	proved                bool
}

// weakEnough is after how many parameters that are notified passively only a CPE
// that has taken no active notification is asked for none.
const weakEnough = 3

// watch asks for notifications of changes: all at once, else halved until those
// are found that the CPE refuses.
func (n *notifier) watch(ctx context.Context, names []cwmp.Path) error {
	if len(names) == 0 {
		return nil
	}
	if n.level == cwmp.NotificationOff {
		n.denied = append(n.denied, names...)
		return nil
	}
	err := setNotification(ctx, n.cpe, names, n.level)
	switch {
	case err == nil:
		n.done = append(n.done, names...)
		if n.level == cwmp.NotificationPassive {
			n.passive = append(n.passive, names...)
		}
		n.taken = n.taken || n.level == cwmp.NotificationActive
		return nil
	case !isFault(err):
		return err
	case errors.Is(err, cwmp.FaultMethodNotSupported):
		n.level, n.refusal = cwmp.NotificationOff, err
		return n.watch(ctx, names)
	case len(names) == 1:
		return n.weaken(ctx, names, err)
	}
	half := len(names) / 2
	if err := n.watch(ctx, names[:half]); err != nil {
		return err
	}
	return n.watch(ctx, names[half:])
}

// weaken asks for a passive notification where an active one was refused.
func (n *notifier) weaken(ctx context.Context, name []cwmp.Path, refusal error) error {
	if n.level == cwmp.NotificationActive {
		err := setNotification(ctx, n.cpe, name, cwmp.NotificationPassive)
		if err != nil && !isFault(err) {
			return err
		}
		if err == nil {
			n.done, n.passive = append(n.done, name...), append(n.passive, name...)
			if n.weak++; n.weak >= weakEnough && !n.taken {
				n.level, n.learnt = cwmp.NotificationPassive, mapping.ReportsPassive
			}
			return nil
		}
	}
	n.denied, n.refusal = append(n.denied, name...), refusal
	return nil
}

// clear takes attributes away. A refusal means that the parameter is gone.
func (n *notifier) clear(ctx context.Context, names []cwmp.Path) error {
	if len(names) == 0 {
		return nil
	}
	err := setNotification(ctx, n.cpe, names, cwmp.NotificationOff)
	switch {
	case err == nil || isFault(err) && len(names) == 1:
		n.cleared = append(n.cleared, names...)
		return nil
	case !isFault(err):
		return err
	}
	half := len(names) / 2
	if err := n.clear(ctx, names[:half]); err != nil {
		return err
	}
	return n.clear(ctx, names[half:])
}

// maxProved is how many attributes are read back.
const maxProved = 16

// prove reads some of the attributes back, once for each firmware: there are CPE
// that take them and do nothing.
func (n *notifier) prove(ctx context.Context) error {
	sample := n.done[:min(len(n.done), maxProved)]
	answer, err := n.cpe.Call(ctx, &cwmp.GetParameterAttributes{Names: sample})
	n.proved = err == nil || isFault(err) || isLost(err)
	got, ok := answer.(*cwmp.GetParameterAttributesResponse)
	if err != nil || !ok {
		if isFault(err) {
			return nil // it is believed
		}
		return err
	}
	set := make(map[cwmp.Path]bool, len(got.Attributes))
	for _, a := range got.Attributes {
		set[a.Name] = a.Notification != cwmp.NotificationOff
	}
	var ignored []cwmp.Path
	for _, name := range sample {
		if on, told := set[name]; told && !on {
			ignored = append(ignored, name)
		}
	}
	if len(ignored) == 0 {
		return nil
	}
	n.refusal = errors.New("it took the notification attribute and did not keep it")
	if len(ignored) == len(sample) {
		ignored, n.learnt = n.done, mapping.ReportsNone
	}
	n.denied = append(n.denied, ignored...)
	n.done = without(n.done, ignored)
	return nil
}

func setNotification(ctx context.Context, cpe acs.Caller, names []cwmp.Path, n cwmp.Notification) error {
	req := &cwmp.SetParameterAttributes{}
	for _, name := range names {
		req.Entries = append(req.Entries, cwmp.SetParameterAttributesEntry{Name: name, NotificationChange: true, Notification: n})
	}
	_, err := cpe.Call(ctx, req)
	return err
}

// without returns the members of a that are not in b.
func without(a, b []cwmp.Path) (out []cwmp.Path) {
	if len(a) == 0 {
		return nil
	}
	in := make(map[cwmp.Path]bool, len(b))
	for _, x := range b {
		in[x] = true
	}
	for _, x := range a {
		if !in[x] {
			out = append(out, x)
		}
	}
	return out
}

// attributesJob returns setAttributes as a job.
func (b *Bridge) attributesJob(dev *device) acs.Job {
	return func(ctx context.Context, s *acs.Session) error { return b.setAttributes(ctx, s, dev) }
}
