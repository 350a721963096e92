package translate

import (
	"errors"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
)

// A reboot that was asked for is carried out once, whatever gets lost, and told
// by one Boot! with its cause.
func TestReboot(t *testing.T) {
	for _, c := range []struct {
		name, command, cause string
		profile              *cpesim.Profile
		done                 int
	}{
		{"as the standard has it", "Reboot", "RemoteReboot", nil, 1},
		// Deviation: field CPE – the session breaks instead of an answer to Reboot; that counts as one
		{"answer lost", "Reboot", "RemoteReboot", &cpesim.Profile{DieAfter: "Reboot", DieOnce: true}, 1},
		{"request lost", "Reboot", "RemoteReboot", &cpesim.Profile{DieAt: "Reboot", DieOnce: true}, 1},
		{"factory reset", "FactoryReset", "RemoteFactoryReset", nil, 1},
		{"factory reset, request lost", "FactoryReset", "RemoteFactoryReset", &cpesim.Profile{DieAt: "FactoryReset", DieOnce: true}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newBench(t, c.profile)
			before := len(r.heard.all(agent.Occurred, "Boot!"))
			if err := r.insist("Device."+c.command+"()", map[string]string{"Reason": "test"}); err != nil {
				t.Fatal(err)
			}
			r.until("it has booted", func() bool { r.inform(); return len(r.heard.all(agent.Occurred, "Boot!")) > before && r.cpe.Online() })
			r.inform()
			told := r.heard.all(agent.Occurred, "Boot!")[before:]
			if len(told) != 1 || told[0].Args["Cause"] != c.cause || told[0].Args["CommandKey"] != "usp-key" || told[0].Args["Reason"] != "test" {
				t.Errorf("told %+v", told)
			}
			if n := r.calls(c.command); n != c.done {
				t.Errorf("carried out %d times", n)
			}
			if r.record().Reboot != nil {
				t.Errorf("still pending: %+v", r.record().Reboot)
			}
		})
	}
}

// Boot! says on whose account the CPE was told to boot, as the caller said it.
func TestCauseOfReboot(t *testing.T) {
	for _, c := range []struct{ command, cause, fails string }{
		{"Reboot", "LocalReboot", ""},
		{"Reboot", "RemoteReboot", ""},
		{"FactoryReset", "LocalFactoryReset", ""},
		{"Reboot", "LocalFactoryReset", `Cause: "LocalFactoryReset" is not one of LocalReboot, RemoteReboot`},
		{"FactoryReset", "whim", `Cause: "whim" is not one of LocalFactoryReset, RemoteFactoryReset`},
	} {
		t.Run(c.command+" "+c.cause, func(t *testing.T) {
			r := newBench(t, nil)
			_, _, err := r.operate("Device."+c.command+"()", map[string]string{"Cause": c.cause})
			if c.fails != "" {
				var e *usp.Error
				if !errors.As(err, &e) || e.Code != usp.ErrInvalidCommandArguments || e.Msg != c.fails {
					t.Errorf("error %v", err)
				}
				if n := r.calls(c.command); n != 0 {
					t.Errorf("carried out %d times", n)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r.until("it has booted", func() bool { r.inform(); return len(r.heard.all(agent.Occurred, "Boot!")) > 0 })
			if told := r.heard.all(agent.Occurred, "Boot!"); len(told) != 1 || told[0].Args["Cause"] != c.cause {
				t.Errorf("told %+v", told)
			}
		})
	}
}

// A CPE that loses the command each time is told twice, no more.
func TestRebootLostForGood(t *testing.T) {
	r := newBench(t, &cpesim.Profile{DieAt: "Reboot"})
	if err := r.insist("Device.Reboot()", nil); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		r.inform()
	}
	if p := r.record().Reboot; p == nil || p.Sends != maxSends {
		t.Errorf("pending %+v", p)
	}
	// A boot long after is another's.
	r.pass(rebootLife + time.Minute)
	r.cpe.Reboot()
	r.until("it has booted", func() bool { return len(r.heard.all(agent.Occurred, "Boot!")) > 0 })
	if told := r.heard.all(agent.Occurred, "Boot!"); told[0].Args["Cause"] != "LocalReboot" || told[0].Args["CommandKey"] != "" {
		t.Errorf("told %+v", told)
	}
}

// The bridge dies before it has the answer to Reboot: it is not sent again, and
// the boot has its cause all the same.
func TestRestartInReboot(t *testing.T) {
	r := newBench(t, &cpesim.Profile{DieAfter: "Reboot", DieOnce: true})
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _, _ = r.operate("Device.Reboot()", nil) // the controller is gone too
	}()
	r.until("it is carried out", func() bool { return r.calls("Reboot") == 1 })
	r.end()
	<-answered
	r.start()
	r.until("it has booted", func() bool { r.inform(); return len(r.heard.all(agent.Occurred, "Boot!")) > 0 })
	r.inform()
	if n := r.calls("Reboot"); n != 1 {
		t.Errorf("carried out %d times", n)
	}
	if told := r.heard.all(agent.Occurred, "Boot!"); len(told) != 1 || told[0].Args["Cause"] != "RemoteReboot" {
		t.Errorf("told %+v", told)
	}
}

func TestBooted(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	events := func(retry int, codes ...cwmp.EventCode) *cwmp.Inform {
		m := &cwmp.Inform{RetryCount: retry}
		for _, c := range codes {
			e := cwmp.Event{Code: c}
			if c == cwmp.EventMReboot {
				e.CommandKey = "ours"
			}
			m.Events = append(m.Events, e)
		}
		return m
	}
	reboot := &PendingReboot{CWMPKey: "ours", Sends: 1, Asked: now}
	reset := &PendingReboot{CWMPKey: "ours", Sends: 1, Asked: now, FactoryReset: true}
	broken := []cwmp.EventCode{cwmp.EventBoot}
	for _, c := range []struct {
		name   string
		rec    Record
		inform *cwmp.Inform
		want   bool
	}{
		{"boot", Record{}, events(0, cwmp.EventBoot), true},
		{"no boot", Record{}, events(0, cwmp.EventPeriodic), false},
		{"the Inform of a boot again", Record{LastEvents: broken, LastInform: now}, events(1, cwmp.EventBoot), false},
		{"another boot after a broken session", Record{LastEvents: broken, LastInform: now}, events(0, cwmp.EventBoot), true},
		{"a boot whose first Inform got lost", Record{LastEvents: broken, LastInform: now, LastSession: now.Add(time.Second)}, events(1, cwmp.EventBoot), true},
		{"the boot that was asked for", Record{LastEvents: broken, LastInform: now, Reboot: reboot}, events(1, cwmp.EventBoot, cwmp.EventMReboot), true},
		{"no boot but that it was asked for", Record{Reboot: reboot}, events(0, cwmp.EventPeriodic), false},
		// Deviation: field CPE – "M Reboot" without "1 BOOT"; it has booted
		{"M Reboot alone", Record{Reboot: reboot}, events(0, cwmp.EventMReboot), true},
		// Deviation: field CPE – "0 BOOTSTRAP" without "1 BOOT"; after a FactoryReset that was asked for it has booted
		{"bootstrap alone", Record{Reboot: reset}, events(0, cwmp.EventBootstrap), true},
		{"bootstrap of its own", Record{}, events(0, cwmp.EventBootstrap), false},
	} {
		if got := c.rec.booted(c.inform, now); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// A command that the CPE refuses leaves the promise of the one before as it is.
func TestRefusedResetAfterReboot(t *testing.T) {
	r := newBench(t, &cpesim.Profile{RefuseWith: map[string]cwmp.FaultCode{"FactoryReset": cwmp.FaultRequestDenied}})
	dev, err := r.bridge.devices.acquire(t.Context(), r.cpe.Identity().Key())
	if err != nil {
		t.Fatal(err)
	}
	defer r.bridge.devices.release(dev)
	promised := PendingReboot{CWMPKey: "k", CommandKey: "first", Cause: "RemoteReboot", Asked: r.bridge.now(), Sends: 1}
	if err := r.bridge.keepReboot(t.Context(), dev, &promised); err != nil {
		t.Fatal(err)
	}
	if err := r.insist("Device.FactoryReset()", nil); err == nil {
		t.Fatal("FactoryReset() was not refused")
	}
	if p := r.record().Reboot; p == nil || p.CWMPKey != promised.CWMPKey {
		t.Errorf("pending: %+v", p)
	}
}
