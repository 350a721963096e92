package cpesim

import (
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

func TestFirstContact(t *testing.T) {
	tests := []struct {
		name  string
		model *Model
		has   []cwmp.Path
	}{
		{"TR-181", TR181(), []cwmp.Path{"Device.RootDataModelVersion", "Device.DeviceInfo.SoftwareVersion", "Device.ManagementServer.ConnectionRequestURL", "Device.ManagementServer.ParameterKey"}},
		{"TR-098", TR098(), []cwmp.Path{"InternetGatewayDevice.DeviceSummary", "InternetGatewayDevice.DeviceInfo.SpecVersion",
			"InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPPPConnection.1.ExternalIPAddress"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			acs, clock := newACS(t), newClock()
			f := startFleet(t, FleetConfig{Clock: clock})
			id := cwmp.DeviceID{Manufacturer: "M", OUI: "00AABB", ProductClass: "P", SerialNumber: "S-1"}
			if _, err := f.Add(Config{ACSURL: acs.URL, Model: tt.model, Identity: id}); err != nil {
				t.Fatal(err)
			}
			m := acs.next(t)
			wantEvents(t, m, cwmp.EventBootstrap, cwmp.EventBoot)
			if m.DeviceID != id || m.RetryCount != 0 || m.MaxEnvelopes != 1 || m.CurrentTime != "2026-03-01T12:00:00Z" {
				t.Errorf("Inform %+v", m)
			}
			for _, name := range tt.has {
				if _, ok := reportedValue(m, name); !ok {
					t.Errorf("the Inform lacks %s", name)
				}
			}
		})
	}
}

func TestSessionKeepsConnectionAndCookie(t *testing.T) {
	tests := []struct {
		name    string
		profile *Profile
		remotes int
		cookies bool
	}{
		{"as the standard has it", nil, 1, true},
		{"no cookie", &Profile{NoCookie: true}, 1, false},
		{"a connection for each POST", &Profile{CloseAfterEachResponse: true}, 4, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Config{Profile: tt.profile})
			b.acs.set(func() { b.acs.cookies, b.acs.remotes = nil, map[string]bool{} })
			b.acs.ask(t, b.cpe, &cwmp.GetRPCMethods{}, &cwmp.GetRPCMethods{})
			b.acs.set(func() {
				if len(b.acs.remotes) != tt.remotes {
					t.Errorf("%d connections, want %d", len(b.acs.remotes), tt.remotes)
				}
				for i, c := range b.acs.cookies {
					if (c != "") != (tt.cookies && i > 0) {
						t.Errorf("POST %d has cookie %q", i, c)
					}
				}
			})
		})
	}
}

// A session ends with an empty answer; TR-069 3.7.2.4 wants 204, but ACS send 200
// too.
func TestEndOfSession(t *testing.T) {
	for _, status := range []int{http.StatusNoContent, http.StatusOK} {
		b := newBench(t, Config{})
		b.acs.set(func() { b.acs.end = status })
		b.acs.ask(t, b.cpe, &cwmp.GetRPCMethods{})
		if s := b.fleet.Stats(); s.FailedSessions != 0 {
			t.Errorf("ended with %d: %s", status, s.LastError)
		}
	}
}

func TestPeriodicInform(t *testing.T) {
	b := newBench(t, Config{PeriodicInform: 10 * time.Minute})
	b.clock.advance(9 * time.Minute)
	b.settle(t)
	b.clock.advance(time.Minute)
	wantEvents(t, b.acs.next(t), cwmp.EventPeriodic)
	b.settle(t)
	b.acs.ask(t, b.cpe, &cwmp.SetParameterValues{Values: []cwmp.ParameterValue{
		value("Device.ManagementServer.PeriodicInformInterval", cwmp.TypeUnsignedInt, "60"),
		value("Device.ManagementServer.PeriodicInformTime", cwmp.TypeDateTime, "2026-01-01T00:00:30Z")}})
	b.settle(t)
	b.clock.advance(30 * time.Second)
	wantEvents(t, b.acs.next(t), cwmp.EventPeriodic) // at 12:10:30, by the phase of PeriodicInformTime
	b.settle(t)
	b.acs.ask(t, b.cpe, &cwmp.SetParameterValues{Values: []cwmp.ParameterValue{value("Device.ManagementServer.PeriodicInformEnable", cwmp.TypeBoolean, "false")}})
	wait(t, "the CPE to have nothing to do", func() bool {
		b.fleet.timers.mu.Lock()
		defer b.fleet.timers.mu.Unlock()
		return b.cpe.slot == 0 && !b.cpe.out
	})
}

func TestFailedSessionsAreRetried(t *testing.T) {
	b := newBench(t, Config{PeriodicInform: 1000 * time.Hour})
	b.acs.set(func() { b.acs.replies = []int{http.StatusServiceUnavailable, http.StatusInternalServerError} })
	if err := b.cpe.Inform(cwmp.Event{Code: cwmp.EventMScheduleInform, CommandKey: "kept"}); !errors.Is(err, errStatus) {
		t.Fatalf("the session ended with %v, want a refusal", err)
	}
	b.settle(t)
	if d := b.cpe.notBefore.Sub(b.clock.Now()); d < 5*time.Second || d > 10*time.Second {
		t.Errorf("first retry in %v, want 5 to 10 s", d)
	}
	b.clock.advance(10 * time.Second)
	b.settle(t)
	if d := b.cpe.notBefore.Sub(b.clock.Now()); d < 10*time.Second-time.Millisecond || d > 20*time.Second {
		t.Errorf("second retry in %v, want 10 to 20 s", d)
	}
	b.clock.advance(20 * time.Second)
	m := b.acs.next(t)
	wantEvents(t, m, cwmp.EventMScheduleInform)
	if m.RetryCount != 2 || m.Events[0].CommandKey != "kept" {
		t.Errorf("retry count %d, events %v", m.RetryCount, m.Events)
	}
}

// A CPE that is sent away with 503 waits as long as it is told, and no less than
// its own back-off (TR-069 3.2.1.1, table 3; RFC 9110 10.2.3).
func TestRetryAfter(t *testing.T) {
	tests := []struct {
		name, header string
		profile      *Profile
		from, to     time.Duration
	}{
		{"longer than the back-off", "60", nil, time.Minute, time.Minute},
		{"shorter than the back-off", "1", nil, 5 * time.Second, 10 * time.Second},
		{"a date", "Sun, 01 Mar 2026 12:02:00 GMT", nil, 2 * time.Minute, 2 * time.Minute},
		{"a date that is over", "Sun, 01 Mar 2020 12:02:00 GMT", nil, 5 * time.Second, 10 * time.Second},
		{"beyond reason", "4000000000", nil, maxRetryAfter, maxRetryAfter},
		{"not a time", "soon", nil, 5 * time.Second, 10 * time.Second},
		{"a CPE that does not look at it", "60", &Profile{RetryEvery: 5 * time.Second}, 5 * time.Second, 5 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Config{PeriodicInform: 1000 * time.Hour, Profile: tt.profile})
			b.acs.set(func() { b.acs.replies, b.acs.retryAfter = []int{http.StatusServiceUnavailable}, tt.header })
			if err := b.cpe.Inform(); !errors.Is(err, errStatus) {
				t.Fatalf("the session ended with %v, want a refusal", err)
			}
			b.settle(t)
			if d := b.cpe.notBefore.Sub(b.clock.Now()); d < tt.from || d > tt.to {
				t.Errorf("comes again in %v, want %v to %v", d, tt.from, tt.to)
			}
			b.clock.advance(tt.to)
			if m := b.acs.next(t); m.RetryCount != 1 {
				t.Errorf("RetryCount %d, want 1", m.RetryCount)
			}
		})
	}
}

func TestACSFaults(t *testing.T) {
	tests := []struct {
		code  cwmp.FaultCode
		tries uint64
	}{
		{cwmp.FaultACSInternalError, 1},
		{cwmp.FaultACSRetryRequest, maxInformAttempts},
	}
	for _, tt := range tests {
		b := newBench(t, Config{})
		before := b.fleet.Stats().Informs
		b.acs.set(func() { b.acs.informErr = tt.code })
		if err := b.cpe.Inform(); err == nil {
			t.Error("the session succeeded")
		}
		if n := b.fleet.Stats().Informs - before; n != tt.tries {
			t.Errorf("fault %d: %d Informs, want %d", tt.code, n, tt.tries)
		}
	}
}

func TestNotifications(t *testing.T) {
	tests := []struct {
		name         string
		notification cwmp.Notification
		at           string // when it is reported
	}{
		{"off", cwmp.NotificationOff, "never"},
		{"passive", cwmp.NotificationPassive, "later"},
		{"active", cwmp.NotificationActive, "now"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Config{PeriodicInform: time.Hour})
			b.acs.ask(t, b.cpe, &cwmp.SetParameterAttributes{Entries: []cwmp.SetParameterAttributesEntry{{Name: ssid, NotificationChange: true, Notification: tt.notification}}},
				&cwmp.SetParameterValues{Values: []cwmp.ParameterValue{value(ssid, cwmp.TypeString, "by the ACS")}})
			b.settle(t)
			if err := b.cpe.Set(ssid, "by hand"); err != nil {
				t.Fatal(err)
			}
			if tt.at == "now" {
				m := b.acs.next(t)
				wantEvents(t, m, cwmp.EventValueChange)
				if v, _ := reportedValue(m, ssid); v != "by hand" {
					t.Errorf("the Inform says %q", v)
				}
				return
			}
			b.settle(t)
			b.clock.advance(time.Hour)
			m := b.acs.next(t)
			want := []cwmp.EventCode{cwmp.EventPeriodic}
			if tt.at == "later" {
				want = append(want, cwmp.EventValueChange)
			}
			wantEvents(t, m, want...)
			if _, told := reportedValue(m, ssid); told != (tt.at == "later") {
				t.Errorf("the value is in the Inform: %v", told)
			}
		})
	}
}

func TestRowsChangeTheirCounterForTheACS(t *testing.T) {
	b := newBench(t, Config{})
	b.acs.ask(t, b.cpe, &cwmp.SetParameterAttributes{Entries: []cwmp.SetParameterAttributesEntry{{Name: mapCount, NotificationChange: true, Notification: cwmp.NotificationActive}}})
	n, err := b.cpe.AddRow(mappings)
	if err != nil || n != 3 {
		t.Fatalf("AddRow: %d, %v", n, err)
	}
	m := b.acs.next(t)
	wantEvents(t, m, cwmp.EventValueChange)
	if v, _ := reportedValue(m, mapCount); v != "3" {
		t.Errorf("%s reported as %q", mapCount, v)
	}
	b.settle(t)
	if err := b.cpe.DeleteRow(mappings + "3."); err != nil {
		t.Fatal(err)
	}
	if v, _ := reportedValue(b.acs.next(t), mapCount); v != "2" {
		t.Errorf("%s reported as %q", mapCount, v)
	}
	b.settle(t)
	if n, err := b.cpe.AddRow("Device.Hosts.Host."); err != nil || n != 7 {
		t.Errorf("a host that joins: row %d, %v", n, err)
	}
	b.settle(t)
	wantFault(t, b.acs.ask(t, b.cpe, &cwmp.DeleteObject{Object: "Device.Hosts.Host.7."})[0], cwmp.FaultInvalidParameterName)
	if _, err := b.cpe.AddRow("Device.No."); err == nil {
		t.Error("a row was added to no table")
	}
	if err := b.cpe.DeleteRow(mappings + "9."); err == nil {
		t.Error("no row was deleted")
	}
	if err := b.cpe.Set(enable, "perhaps"); err == nil {
		t.Error("a wrong value was set locally")
	}
}

func TestReboot(t *testing.T) {
	b := newBench(t, Config{})
	b.acs.ask(t, b.cpe, &cwmp.Reboot{CommandKey: "again"}, &cwmp.GetRPCMethods{}) // the session goes on to its end
	wait(t, "the CPE to go down", func() bool { return !b.cpe.Online() })
	b.settle(t)
	b.clock.advance(time.Minute)
	m := b.acs.next(t)
	wantEvents(t, m, cwmp.EventBoot, cwmp.EventMReboot)
	if m.Events[1].CommandKey != "again" {
		t.Errorf("events %v", m.Events)
	}
	if up, _ := b.cpe.Get("Device.DeviceInfo.UpTime"); up != "0" {
		t.Errorf("UpTime %s after a reboot", up)
	}
	b.settle(t)
	b.cpe.Reboot() // by the plug
	b.clock.advance(time.Minute)
	wantEvents(t, b.acs.next(t), cwmp.EventBoot)
}

func TestFactoryReset(t *testing.T) {
	b := newBench(t, Config{})
	b.acs.ask(t, b.cpe, &cwmp.SetParameterValues{Values: []cwmp.ParameterValue{value(ssid, cwmp.TypeString, "changed")}},
		&cwmp.AddObject{Object: mappings}, &cwmp.FactoryReset{})
	wait(t, "the CPE to go down", func() bool { return !b.cpe.Online() })
	b.settle(t)
	b.clock.advance(time.Minute)
	wantEvents(t, b.acs.next(t), cwmp.EventBootstrap, cwmp.EventBoot)
	if got, _ := b.cpe.Get(ssid); got != "Example-2G" {
		t.Errorf("SSID %q after a factory reset", got)
	}
	if got, _ := b.cpe.Get(mapCount); got != "2" {
		t.Errorf("%s port mappings after a factory reset", got)
	}
}

func TestScheduleInform(t *testing.T) {
	b := newBench(t, Config{PeriodicInform: 1000 * time.Hour})
	answers := b.acs.ask(t, b.cpe, &cwmp.ScheduleInform{DelaySeconds: 90, CommandKey: "later"}, &cwmp.ScheduleInform{})
	wantFault(t, answers[1], cwmp.FaultInvalidArguments)
	b.settle(t)
	b.clock.advance(90 * time.Second)
	m := b.acs.next(t)
	wantEvents(t, m, cwmp.EventScheduled, cwmp.EventMScheduleInform)
	if m.Events[1].CommandKey != "later" {
		t.Errorf("events %v", m.Events)
	}
}

func TestAnotherACSURLIsAnotherBootstrap(t *testing.T) {
	b := newBench(t, Config{})
	other := newACS(t)
	b.acs.ask(t, b.cpe, &cwmp.SetParameterValues{Values: []cwmp.ParameterValue{value("Device.ManagementServer.URL", cwmp.TypeString, other.URL)}})
	wantEvents(t, other.next(t), cwmp.EventBootstrap)
}

func TestOffline(t *testing.T) {
	b := newBench(t, Config{PeriodicInform: time.Hour})
	b.cpe.SetOnline(false)
	if err := b.cpe.Inform(); !errors.Is(err, ErrOffline) {
		t.Errorf("an offline CPE's session: %v", err)
	}
	if err := b.cpe.Set("Device.DeviceInfo.ProvisioningCode", "local"); err != nil { // forced to active
		t.Fatal(err)
	}
	b.cpe.SetOnline(true)
	wantEvents(t, b.acs.next(t), cwmp.EventValueChange)
}

func TestStateSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	acs, clock := newACS(t), newClock()
	config := Config{ACSURL: acs.URL, Model: TR181(), Identity: cwmp.DeviceID{OUI: "00AABB", SerialNumber: "S/1"}}
	run := func(use func(c *CPE)) {
		t.Helper()
		f, err := NewFleet(FleetConfig{Clock: clock, StateDir: filepath.Join(dir, "fleet")})
		if err != nil {
			t.Fatal(err)
		}
		c, err := f.Add(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		use(c)
		closeFleet(t, f)
	}
	run(func(c *CPE) {
		wantEvents(t, acs.next(t), cwmp.EventBootstrap, cwmp.EventBoot)
		acs.ask(t, c, &cwmp.SetParameterValues{Values: []cwmp.ParameterValue{value(ssid, cwmp.TypeString, "kept")}, ParameterKey: "k1"},
			&cwmp.AddObject{Object: mappings}, &cwmp.DeleteObject{Object: mappings + "1.", ParameterKey: "k2"}, &cwmp.ScheduleInform{DelaySeconds: 600, CommandKey: "s"},
			&cwmp.SetParameterAttributes{Entries: []cwmp.SetParameterAttributesEntry{{Name: ssid, NotificationChange: true, Notification: cwmp.NotificationPassive}}})
		if err := c.Set(ssid, "kept too"); err != nil {
			t.Fatal(err)
		}
	})
	run(func(c *CPE) {
		m := acs.next(t)
		wantEvents(t, m, cwmp.EventBoot, cwmp.EventValueChange)
		if v, _ := reportedValue(m, "Device.ManagementServer.ParameterKey"); v != "k2" {
			t.Errorf("ParameterKey %q after a restart", v)
		}
		for path, want := range map[string]string{ssid: "kept too", mapCount: "2", mappings + "3.Protocol": "TCP"} {
			if got, _ := c.Get(path); got != want {
				t.Errorf("%s is %q after a restart, want %q", path, got, want)
			}
		}
		if _, there := c.Get(mappings + "1.Protocol"); there {
			t.Error("a deleted row came back")
		}
		r := acs.ask(t, c, &cwmp.AddObject{Object: mappings})[0].(*cwmp.AddObjectResponse)
		if r.InstanceNumber != 4 {
			t.Errorf("instance number %d after a restart, want 4", r.InstanceNumber)
		}
		clock.advance(600 * time.Second)
		if m := acs.next(t); !m.HasEvent(cwmp.EventMScheduleInform) {
			t.Errorf("the scheduled Inform is lost: %v", m.Events)
		}
	})
}

func TestDamagedStateIsRefused(t *testing.T) {
	acs := newACS(t)
	for _, text := range []string{"{", `{"version":9}`, `{"version":1,"device":{"OUI":"X","SerialNumber":"Y"}}`} {
		f, err := NewFleet(FleetConfig{})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "cpe.json")
		writeFile(t, file, text)
		if _, err := f.Add(Config{ACSURL: acs.URL, Model: TR181(), StateFile: file}); err == nil || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("state %q: %v", text, err)
		}
		closeFleet(t, f)
	}
}

func TestAddRefuses(t *testing.T) {
	f := startFleet(t, FleetConfig{})
	bare, err := LoadCSV(strings.NewReader("Parameter,Object,Writable,Value\nDevice.A,false,false,1\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]Config{
		"no model":    {ACSURL: "http://127.0.0.1:1/"},
		"no scheme":   {ACSURL: "127.0.0.1:1", Model: TR181()},
		"no identity": {ACSURL: "http://127.0.0.1:1/", Model: bare},
	} {
		if _, err := f.Add(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestProfiles(t *testing.T) {
	tests := []struct {
		name    string
		profile Profile
		ask     cwmp.Message
		check   func(t *testing.T, answer cwmp.Message)
	}{
		{"status 1", Profile{Status1Always: true}, &cwmp.AddObject{Object: mappings}, func(t *testing.T, m cwmp.Message) {
			if r := m.(*cwmp.AddObjectResponse); r.Status != 1 {
				t.Errorf("status %d", r.Status)
			}
		}},
		{"booleans as digits", Profile{BooleansAsDigits: true}, &cwmp.GetParameterValues{Names: []cwmp.Path{enable}}, func(t *testing.T, m cwmp.Message) {
			if r := m.(*cwmp.GetParameterValuesResponse); r.Values[0].Value.Text != "1" {
				t.Errorf("values %v", r.Values)
			}
		}},
		{"few names", Profile{MaxValueNames: 1}, &cwmp.GetParameterValues{Names: []cwmp.Path{enable, ssid}}, func(t *testing.T, m cwmp.Message) {
			wantFault(t, m, cwmp.FaultResourcesExceeded)
		}},
		{"no empty path", Profile{RefuseEmptyPath: true}, &cwmp.GetParameterNames{}, func(t *testing.T, m cwmp.Message) {
			wantFault(t, m, cwmp.FaultInvalidParameterName)
		}},
		{"no attributes", Profile{NoAttributes: true}, &cwmp.GetParameterAttributes{Names: []cwmp.Path{ssid}}, func(t *testing.T, m cwmp.Message) {
			wantFault(t, m, cwmp.FaultMethodNotSupported)
		}},
		{"no active notification", Profile{DenyActiveNotification: true},
			&cwmp.SetParameterAttributes{Entries: []cwmp.SetParameterAttributesEntry{{Name: ssid, NotificationChange: true, Notification: 2}}},
			func(t *testing.T, m cwmp.Message) { wantFault(t, m, cwmp.FaultNotificationRequestRejected) }},
		{"unnamed faults", Profile{UnnamedFaults: true}, &cwmp.SetParameterValues{Values: []cwmp.ParameterValue{value("Device.No", cwmp.TypeString, "")}},
			func(t *testing.T, m cwmp.Message) {
				if f := wantFault(t, m, cwmp.FaultInvalidArguments); len(f.Parameters) != 0 {
					t.Errorf("details %v", f.Parameters)
				}
			}},
		{"refusal by name", Profile{RefuseWith: map[string]cwmp.FaultCode{"Reboot": cwmp.FaultRequestDenied}}, &cwmp.Reboot{}, func(t *testing.T, m cwmp.Message) {
			wantFault(t, m, cwmp.FaultRequestDenied)
		}},
		{"slow", Profile{SlowResponse: time.Nanosecond}, &cwmp.GetRPCMethods{}, func(t *testing.T, m cwmp.Message) {
			if _, ok := m.(*cwmp.GetRPCMethodsResponse); !ok {
				t.Errorf("answer %v", m)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			acs := newACS(t)
			f := startFleet(t, FleetConfig{})
			c, err := f.Add(Config{ACSURL: acs.URL, Model: TR181(), Profile: &tt.profile})
			if err != nil {
				t.Fatal(err)
			}
			acs.next(t)
			tt.check(t, acs.ask(t, c, tt.ask)[0])
		})
	}
}

func TestBreakPoints(t *testing.T) {
	const spv = "SetParameterValues"
	tests := []struct {
		name    string
		profile Profile
		ssid    string           // on the CPE afterwards
		again   []cwmp.EventCode // of the next session
	}{
		{"before it acts", Profile{DieAt: spv}, "Example-2G", nil},
		{"after it has acted", Profile{DieAfter: spv}, "x", nil},
		{"power failure", Profile{RebootAt: spv}, "Example-2G", []cwmp.EventCode{cwmp.EventBoot}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Config{Profile: &tt.profile})
			b.acs.set(func() {
				b.acs.queue = []cwmp.Message{&cwmp.SetParameterValues{Values: []cwmp.ParameterValue{value(ssid, cwmp.TypeString, "x")}}}
			})
			if err := b.cpe.Inform(); !errors.Is(err, errDied) {
				t.Errorf("the session ended with %v", err)
			}
			if got, _ := b.cpe.Get(ssid); got != tt.ssid {
				t.Errorf("the SSID is %q, want %q", got, tt.ssid)
			}
			b.acs.next(t)
			b.settle(t)
			b.clock.advance(time.Minute) // the boot's time; the retry is earlier
			wantEvents(t, b.acs.next(t), tt.again...)
		})
	}
}

func TestPeriodicFirstContact(t *testing.T) {
	acs := newACS(t)
	f := startFleet(t, FleetConfig{})
	if _, err := f.Add(Config{ACSURL: acs.URL, Model: TR181(), Profile: &Profile{PeriodicFirstContact: true}}); err != nil {
		t.Fatal(err)
	}
	if got := codes(acs.next(t)); !slices.Equal(got, []cwmp.EventCode{cwmp.EventPeriodic}) {
		t.Errorf("events %q", got)
	}
}
