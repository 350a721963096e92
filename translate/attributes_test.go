package translate

import (
	"slices"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// watched are the parameters that the tests subscribe to: eight of two rows.
var watched = []string{one + "Description", one + "Enable", one + "ExternalPort", one + "Protocol",
	two + "Description", two + "Enable", two + "ExternalPort", two + "Protocol"}

// watch subscribes to parameters and lets the CPE inform.
func (u *unit) watch(paths ...string) {
	u.rig.t.Helper()
	m := u.model()
	var refs []dm.Ref
	for _, p := range paths {
		ref, ok := lookup(m.Schema(), p)
		if !ok {
			u.rig.t.Fatalf("%s is not in the schema", p)
		}
		refs = append(refs, ref)
	}
	if err := m.Watch(refs); err != nil {
		u.rig.t.Fatal(err)
	}
	until(u.rig.t, "attributes are settled", func() bool {
		_ = u.session() // a session that breaks is what some of these CPE do
		r := u.record()
		return len(r.Attributes)+len(r.Denied) == len(paths) && len(without(r.Attributes, r.Watched)) == 0
	})
}

func (u *unit) notification(path string) cwmp.Notification {
	u.rig.t.Helper()
	if slices.Contains(u.record().Attributes, cwmp.Path(path)) {
		for _, m := range slices.Backward(requests[*cwmp.SetParameterAttributes](u)) {
			for _, e := range m.Entries {
				if e.Name == cwmp.Path(path) {
					return e.Notification
				}
			}
		}
	}
	return cwmp.NotificationOff
}

// Subscriptions set notification attributes as far as the CPE honours them; what
// it does not is kept as denied, so that it is not asked for in every session.
func TestNotificationAttributes(t *testing.T) {
	for _, c := range []struct {
		name    string
		profile cpesim.Profile
		with    string
		want    cwmp.Notification // of the first
		denied  int
		calls   int // SetParameterAttributes, at most
		learnt  string
	}{
		{"as the standard has it", cpesim.Profile{}, "", cwmp.NotificationActive, 0, 1, ""},
		// Deviation: some CPE – active notification is denied; passive is asked for, and for all alike after a few.
		{"active denied", cpesim.Profile{DenyActiveNotification: true}, "", cwmp.NotificationPassive, 0, 12, "notification of changes: passive"},
		// Deviation: some CPE – SetParameterAttributes is refused; it is not sent again, and changes are seen when values are read.
		{"refused", cpesim.Profile{NoAttributes: true}, "", cwmp.NotificationOff, 8, 1, ""},
		// Deviation: some CPE – attributes are taken and ignored; they are read back once, and changes are seen when values are read.
		{"ignored", cpesim.Profile{Answers: cpesim.Answers{IgnoreAttributes: true}}, "", cwmp.NotificationOff, 8, 1, "notification of changes: none"},
		// Deviation: CPE with small buffers – 9004 for many entries; fewer are sent.
		{"9004 above 3 entries", cpesim.Profile{Answers: cpesim.Answers{MaxSetAttributes: 3}}, "", cwmp.NotificationActive, 0, 6, "at most 2 entries in a SetParameterAttributes"},
		{"3 entries by profile", cpesim.Profile{Answers: cpesim.Answers{MaxSetAttributes: 3}}, "max_attributes: 3", cwmp.NotificationActive, 0, 3, ""},
		{"passive by profile", cpesim.Profile{DenyActiveNotification: true}, "notification: passive", cwmp.NotificationPassive, 0, 1, ""},
		{"none by profile", cpesim.Profile{}, "notification: none", cwmp.NotificationOff, 8, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var profiles []string
			if c.with != "" {
				profiles = []string{"profile: test\n" + c.with + "\n"}
			}
			r := newRig(t, nil, profiles...)
			u := r.add(cpesim.Config{Model: cpesim.TR181(), Profile: &c.profile})
			u.watch(watched...)
			if got := u.notification(watched[0]); got != c.want {
				t.Errorf("notification %d, want %d", got, c.want)
			}
			if n := len(u.record().Denied); n != c.denied {
				t.Errorf("%d denied, want %d", n, c.denied)
			}
			calls := u.Called("SetParameterAttributes")
			if calls > c.calls {
				t.Errorf("%d calls, want at most %d", calls, c.calls)
			}
			if facts := u.record().Describe(); c.learnt != "" && !slices.Contains(facts, c.learnt) {
				t.Errorf("%q is not among what was learnt: %q", c.learnt, facts)
			}
			if err := u.session(); err != nil {
				t.Fatal(err)
			}
			if n := u.Called("SetParameterAttributes"); n != calls {
				t.Errorf("%d more calls in a session in which nothing has changed", n-calls)
			}
			u.watch()
			if rec := u.record(); len(rec.Attributes) > 0 || len(rec.Denied) > 0 {
				t.Errorf("nobody watches anything: attributes %v, denied %v", rec.Attributes, rec.Denied)
			}
		})
	}
}
