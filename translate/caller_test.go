package translate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// get reads parameters live, by their USP paths, whatever is in the cache.
func (u *unit) get(paths ...string) (texts []string) {
	u.rig.t.Helper()
	u.rig.skew.Add(int64(24 * time.Hour))
	m := u.model()
	var refs []dm.Ref
	for _, p := range paths {
		ref, ok := lookup(m.Schema(), p)
		if !ok {
			u.rig.t.Fatalf("%s is not in the schema", p)
		}
		refs = append(refs, ref)
	}
	for _, v := range m.Get(context.Background(), refs) {
		if v.Err != nil {
			v.Text = v.Err.Error()
		}
		texts = append(texts, v.Text)
	}
	return texts
}

// What a CPE says it supports is asked once for each firmware.
func TestMethodsAreAskedOnce(t *testing.T) {
	r := newRig(t, nil)
	profile := &cpesim.Profile{RefuseWith: map[string]cwmp.FaultCode{"SetParameterAttributes": cwmp.FaultMethodNotSupported},
		Answers: cpesim.Answers{UnlistedMethods: []string{"AddObject"}}}
	u := r.add(cpesim.Config{Model: cpesim.TR181(), Profile: profile})
	if err := u.session(); err != nil {
		t.Fatal(err)
	}
	if n := u.Called("GetRPCMethods"); n != 1 {
		t.Errorf("GetRPCMethods was called %d times in two sessions", n)
	}
	if m := u.record().Methods; !slices.Contains(m, "Reboot") || slices.Contains(m, "AddObject") {
		t.Errorf("its methods are %v", m)
	}
	// Deviation: some CPE – a method that is listed is answered with 9000; that is remembered, and it is not sent again for a day.
	u.watch(one + "Description")
	u.watch(one + "Enable")
	if n := u.Called("SetParameterAttributes"); n != 1 || !slices.Contains(u.record().Learnt.Refusals(), "SetParameterAttributes") {
		t.Errorf("SetParameterAttributes was sent %d times; unsupported are %v", n, u.record().Learnt.Refusals())
	}
	// Deviation: some CPE – a method is served though it is not listed; it is sent all the same.
	if got := u.get("Device.X_USPBRIDGE_CWMP.SupportedRPCs", "Device.X_USPBRIDGE_CWMP.UnsupportedRPCs"); strings.Contains(got[0], "AddObject") || got[1] != "SetParameterAttributes" {
		t.Errorf("controllers see %q", got)
	}
	u.Set("Device.DeviceInfo.SoftwareVersion", "next")
	if err := u.session(); err != nil {
		t.Fatal(err)
	}
	if methods, sets := u.Called("GetRPCMethods"), u.Called("SetParameterAttributes"); methods != 2 || sets != 2 {
		t.Errorf("with another firmware GetRPCMethods was called %d times in all, SetParameterAttributes %d times; want both tried once more", methods, sets)
	}
}

// What is of a later CWMP than the CPE speaks is sent if the CPE lists it.
func TestMethodsOfALaterVersion(t *testing.T) {
	for _, tt := range []struct {
		name     string
		version  cwmp.Version
		unlisted []string
		sent     int
	}{
		{"an old CPE that does not list it", cwmp.Version1_0, []string{"GetAllQueuedTransfers"}, 0},
		// Deviation: several CPE – write cwmp-1-0 and know newer RPCs; those that they list are sent.
		{"one that says cwmp-1-0 and lists it", cwmp.Version1_0, nil, 1},
		{"a newer one that does not list it", cwmp.Version1_2, []string{"GetAllQueuedTransfers"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.ConnectionRequest.LeaveCredentials = true })
			u := r.add(cpesim.Config{Version: tt.version, Profile: &cpesim.Profile{OnlyCWMP1_0: true, Answers: cpesim.Answers{UnlistedMethods: tt.unlisted}}})
			dev, err := r.devices.acquire(t.Context(), u.key)
			if err != nil {
				t.Fatal(err)
			}
			defer r.devices.release(dev)
			err = r.run(t.Context(), dev, func(ctx context.Context, s *acs.Session) error {
				_, err := s.Call(ctx, &cwmp.GetAllQueuedTransfers{})
				return err
			})
			if n := u.Called("GetAllQueuedTransfers"); n != tt.sent || errors.Is(err, cwmp.FaultMethodNotSupported) != (tt.sent == 0) {
				t.Errorf("it was sent %d times, want %d: %v", n, tt.sent, err)
			}
			if slices.Contains(u.record().Learnt.Refusals(), "GetAllQueuedTransfers") {
				t.Error("what was not sent counts as refused by the CPE")
			}
		})
	}
}

// Deviation: Baicells – what is set in the ten minutes after a boot is lost; the CPE is left alone until then.
func TestQuietAfterBoot(t *testing.T) {
	r := newRig(t, func(c *Config) { c.InformInterval = time.Hour })
	u := r.add(cpesim.Config{Identity: cwmp.DeviceID{Manufacturer: "Baicells"}, Profile: &cpesim.Profile{Answers: cpesim.Answers{DenyAfterBoot: time.Hour}}})
	if n := len(u.Journal()); n != 0 {
		t.Errorf("%d RPCs were sent to a CPE that has just booted", n)
	}
	dev, err := r.devices.acquire(t.Context(), u.key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.devices.release(dev)
	if err := r.refresh(t.Context(), dev); err == nil || !strings.Contains(err.Error(), "quiet_after_boot") {
		t.Errorf("a live operation ended with %v", err)
	}
	r.skew.Add(int64(10 * time.Minute))
	if err := u.session(); err != nil {
		t.Fatal(err)
	}
	if u.record().Rediscover {
		t.Error("it is not discovered after that time")
	}
}

// Subtrees that a profile skips are not asked for, listed or shown.
func TestSkippedSubtrees(t *testing.T) {
	const services = "InternetGatewayDevice.LANDevice.1.WLANConfiguration.2."
	r := newRig(t, nil, "profile: test\nskip: [\"InternetGatewayDevice.LANDevice.*.WLANConfiguration.2.\"]\ndiscovery: [levels]\n")
	u := r.add(cpesim.Config{Profile: &cpesim.Profile{Answers: cpesim.Answers{DieOn: []cwmp.Path{services}}}})
	if u.record().Rediscover {
		t.Fatal("not discovered")
	}
	for name := range u.values() {
		if strings.HasPrefix(string(name), services) {
			t.Fatalf("%s was read", name)
		}
	}
}

// Where a profile allows it, values are read by whole objects; what these leave
// out is read by name.
func TestValuesByObjects(t *testing.T) {
	whole := newRig(t, nil).add(cpesim.Config{})
	const profile = "profile: test\npartial_paths: yes\n"
	for _, c := range []struct {
		name     string
		profile  cpesim.Profile
		sessions int
		calls    int
	}{
		{"all are answered", cpesim.Profile{MaxValueNames: 4}, 0, 20},
		{"some values are left out", cpesim.Profile{Answers: cpesim.Answers{LeaveOut: 9}}, 0, 25},
		// Deviation: some CPE – a partial path in GetParameterValues breaks the session, against what their profile says; that object is then read by name.
		{"one is deadly", cpesim.Profile{Answers: cpesim.Answers{DieOn: []cwmp.Path{"InternetGatewayDevice.LANDevice."}}}, 4, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil, profile)
			u := r.add(cpesim.Config{Profile: &c.profile})
			u.discover(c.sessions)
			if got, want := len(u.values()), len(whole.values()); got != want {
				t.Errorf("%d values, want %d", got, want)
			}
			if calls := u.Called("GetParameterValues"); calls > c.calls {
				t.Errorf("%d calls, want at most %d", calls, c.calls)
			}
		})
	}
}

// Deviation: some CPE – the name of a row that has gone breaks the session; after the first time rows are looked for before they are read.
func TestNamesOfGoneRowsThatBreakTheSession(t *testing.T) {
	r := newRig(t, nil)
	u := r.add(cpesim.Config{Model: cpesim.TR181(), Profile: &cpesim.Profile{Answers: cpesim.Answers{DieOnUnknown: true}}})
	const count = "Device.NAT.PortMappingNumberOfEntries"
	if err := u.DeleteRow(two); err != nil {
		t.Fatal(err)
	}
	// The CPE's own count lies, so that nothing tells of it.
	u.Set(count, "2")
	r.skew.Add(int64(24 * time.Hour))
	reading := make(chan []string, 1)
	go func() { reading <- u.get(one+"Description", two+"Description") }()
	until(t, "the live read has ended", func() bool {
		_ = u.session() // it breaks one of them
		select {
		case <-reading:
			return true
		default:
			return false
		}
	})
	until(t, "the CPE informs again", func() bool { return u.session() == nil })
	if got := u.get(one+"Description", two+"Description"); got[0] != "nas web" {
		t.Errorf("the row that is there reads %q", got[0])
	}
	if rec := u.record(); !rec.CheckRows || len(rec.Suspects) > 0 {
		t.Errorf("learnt: %q", rec.Describe())
	}
}

// Deviation: slow CPE – an answer takes longer than the ACS waits; a profile gives them longer.
func TestCallsThatAreWaitedForLonger(t *testing.T) {
	r := newPatientRig(t, 30*time.Millisecond, nil, "profile: test\nfor: {product_class: slow}\nrpc_timeout: 5m\n")
	slow := &cpesim.Profile{SlowResponse: 60 * time.Millisecond}
	for class, discovered := range map[string]bool{"slow": true, "other": false} {
		u := r.add(cpesim.Config{Identity: cwmp.DeviceID{ProductClass: class}, Profile: slow})
		if u.record().Rediscover == discovered {
			t.Errorf("%s is discovered: %v, want %v", class, !discovered, discovered)
		}
	}
}

// A discovery that was broken off goes on where it was, also when the bridge has
// forgotten the device meanwhile, and not when the CPE was reset.
func TestUnfinishedDiscoveryIsDurable(t *testing.T) {
	r := newRig(t, nil)
	profile := &cpesim.Profile{Answers: cpesim.Answers{DieAfterRPCs: 4}}
	u := r.add(cpesim.Config{Profile: profile})
	_ = u.session()                                                         // goes on, and dies again
	another := newDevices(r.store, r.cfg.Sealer, r.templates, r.log, r.now) // as after a restart
	dev, err := another.acquire(t.Context(), u.key)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.loadProgress(t.Context(), dev.state.Load().rec)
	if err != nil || p == nil || len(p.Values) == 0 {
		t.Fatalf("progress %+v, %v", p, err)
	}
	for _, stale := range []func(*Record){
		func(rec *Record) { rec.Software = "another" },
		func(rec *Record) { rec.LastBootstrap = p.Started.Add(time.Second) },
	} {
		rec := u.record().clone()
		stale(rec)
		if p, err := r.loadProgress(t.Context(), rec); p != nil || err != nil {
			t.Errorf("what is no longer true is gone on with: %v", err)
		}
	}
	before := u.Called("GetParameterNames")
	profile.DieAfterRPCs = 0
	u.discover(2)
	if n := u.Called("GetParameterNames"); n != before {
		t.Errorf("names that were known were asked for again")
	}
	if _, err := r.store.Get(t.Context(), progressKey(u.key)); err == nil {
		t.Error("what was kept of the unfinished discovery is still there")
	}
}

func TestLeftAloneAfterManyFailures(t *testing.T) {
	r := newRig(t, nil)
	u := r.add(cpesim.Config{Profile: &cpesim.Profile{RefuseWith: map[string]cwmp.FaultCode{"GetParameterNames": cwmp.FaultInternalError}}})
	for range 2 {
		if err := u.session(); err != nil {
			t.Fatal(err)
		}
	}
	before := u.Called("GetParameterNames")
	if err := u.session(); err != nil {
		t.Fatal(err)
	}
	if n := u.Called("GetParameterNames"); n != before {
		t.Errorf("%d more calls while it is to be left alone", n-before)
	}
	if why := u.record().Discovery(); !strings.Contains(why, "left alone until") || !strings.Contains(why, "9002") {
		t.Errorf("the operator is told %q", why)
	}
	r.skew.Add(int64(firstPause))
	if err := u.session(); err != nil {
		t.Fatal(err)
	}
	if n := u.Called("GetParameterNames"); n == before {
		t.Error("it is never tried again")
	}
	if _, _, err := r.Model(t.Context(), u.record().Endpoint); !errors.Is(err, errNotDiscovered) {
		t.Errorf("its agent: %v", err)
	}
}
