package translate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
)

const server = "InternetGatewayDevice.ManagementServer."

// A CPE is given what the configuration asks for, and nothing else, once.
func TestProvisioningOnContact(t *testing.T) {
	quarter := func(c *Config) { c.InformInterval = 15 * time.Minute }
	for _, c := range []struct {
		name   string
		change func(*Config)
		calls  int
		check  func(u *unit) string
	}{
		{"nothing asked for", func(c *Config) { c.ConnectionRequest.LeaveCredentials = true }, 0, func(u *unit) string {
			return wrong(u, "ConnectionRequestUsername", "", "PeriodicInformInterval", "3600000", "PeriodicInformTime", "0001-01-01T00:00:00Z")
		}},
		{"generated credentials", nil, 1, func(u *unit) string {
			name, _ := u.Get(server + "ConnectionRequestUsername")
			password, _ := u.Get(server + "ConnectionRequestPassword")
			if rec := u.record(); !strings.HasPrefix(name, "uspbridge-") || name != rec.Username || len(password) < 16 || password != u.password() {
				return fmt.Sprintf("credentials on the CPE are %q, %d bytes", name, len(password))
			}
			return wrong(u, "PeriodicInformTime", "0001-01-01T00:00:00Z")
		}},
		{"given credentials", func(c *Config) { c.ConnectionRequest.Username, c.ConnectionRequest.Password = "acs", "secret" }, 1, func(u *unit) string {
			return wrong(u, "ConnectionRequestUsername", "acs", "ConnectionRequestPassword", "secret")
		}},
		{"credentials that are there by other means", func(c *Config) {
			c.ConnectionRequest.Username, c.ConnectionRequest.Password, c.ConnectionRequest.LeaveCredentials = "acs", "secret", true
		}, 0, func(u *unit) string {
			if u.record().Username != "acs" || u.password() != "secret" {
				return "the credentials are not used"
			}
			return wrong(u, "ConnectionRequestUsername", "")
		}},
		{"inform interval", quarter, 2, func(u *unit) string {
			if cached := u.values()[server+"PeriodicInformInterval"]; cached != "900" {
				return fmt.Sprintf("the interval is %q to those who ask the bridge, want 900", cached)
			}
			return wrong(u, "PeriodicInformInterval", "900", "PeriodicInformTime", informTime(u.key, 900).Format(time.RFC3339))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, c.change)
			u := r.add(cpesim.Config{})
			if complaint := c.check(u); complaint != "" {
				t.Error(complaint)
			}
			if err := u.session(); err != nil {
				t.Fatal(err)
			}
			if n := u.Called("SetParameterValues"); n != c.calls {
				t.Errorf("%d SetParameterValues in two sessions, want %d", n, c.calls)
			}
		})
	}
	// CPE that lose their settings say BOOTSTRAP and get them again.
	r := newRig(t, quarter)
	u := r.add(cpesim.Config{})
	u.Set(server+"PeriodicInformInterval", "77")
	if err := u.session(cwmp.Event{Code: cwmp.EventBootstrap}); err != nil {
		t.Fatal(err)
	}
	if complaint := wrong(u, "PeriodicInformInterval", "900"); complaint != "" {
		t.Errorf("after BOOTSTRAP: %s", complaint)
	}
}

// password returns the password of connection requests, as the bridge has it.
func (u *unit) password() string {
	u.rig.t.Helper()
	password, err := u.record().password(u.rig.cfg.Sealer)
	if err != nil {
		u.rig.t.Fatal(err)
	}
	return password
}

// wrong compares parameters of the management server, given as name, value, ….
func wrong(u *unit, pairs ...string) string {
	for i := 0; i < len(pairs); i += 2 {
		if got, _ := u.Get(server + pairs[i]); got != pairs[i+1] {
			return fmt.Sprintf("%s is %q on the CPE, want %q", pairs[i], got, pairs[i+1])
		}
	}
	return ""
}

// Deviation: some CPE – a setting of the management server is refused; the others are made, the refusal is kept and tried again with another firmware only.
func TestRefusedSettingsAreRemembered(t *testing.T) {
	profile := &cpesim.Profile{UnnamedFaults: true, Answers: cpesim.Answers{
		RefuseToSet: map[cwmp.Path]cwmp.FaultCode{server + "PeriodicInformTime": cwmp.FaultNonWritableParameter}}}
	r := newRig(t, func(c *Config) { c.InformInterval = 15 * time.Minute })
	u := r.add(cpesim.Config{Profile: profile})
	if complaint := wrong(u, "PeriodicInformInterval", "900", "PeriodicInformTime", "0001-01-01T00:00:00Z"); complaint != "" {
		t.Error(complaint)
	}
	refusals := u.record().Refusals()
	if len(refusals) != 1 || !strings.HasPrefix(refusals[0], server+"PeriodicInformTime: ") {
		t.Errorf("refused settings are %q", refusals)
	}
	before := u.Called("SetParameterValues")
	if err := u.session(); err != nil {
		t.Fatal(err)
	}
	if n := u.Called("SetParameterValues"); n != before {
		t.Errorf("%d more attempts in the next session", n-before)
	}
	delete(profile.RefuseToSet, server+"PeriodicInformTime")
	u.Set("InternetGatewayDevice.DeviceInfo.SoftwareVersion", "next")
	if err := u.session(); err != nil {
		t.Fatal(err)
	}
	if complaint := wrong(u, "PeriodicInformTime", informTime(u.key, 900).Format(time.RFC3339)); complaint != "" {
		t.Errorf("with another firmware: %s", complaint)
	}
	if n := u.Called("SetParameterValues"); n != before+1 || len(u.record().Refusals()) != 0 {
		t.Errorf("%d more SetParameterValues with another firmware, want that of the refused setting alone; still refused: %q", n-before, u.record().Refusals())
	}
}

// A CPE whose discovery has to wait is given its credentials at once, and not
// again when it is discovered, unless it has lost them meanwhile.
func TestCredentialsOfAnUndiscoveredCPE(t *testing.T) {
	for _, tt := range []struct {
		name      string
		meanwhile []cwmp.Event
		given     int
	}{
		{"its turn has come", nil, 1},
		{"it was reset meanwhile", []cwmp.Event{{Code: cwmp.EventBootstrap}}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.Discoveries = 1 })
			release := hold(t, r.throttle, 1)
			u := r.add(cpesim.Config{})
			if complaint := wrong(u, "ConnectionRequestUsername", u.record().Username, "ConnectionRequestPassword", u.password()); complaint != "" || u.record().Template != "" {
				t.Fatalf("while it waits for its discovery: %q", complaint)
			}
			release()
			if err := u.session(tt.meanwhile...); err != nil {
				t.Fatal(err)
			}
			if u.record().Template == "" || u.record().Provisioned != r.settings() {
				t.Fatal("it is not discovered and provisioned")
			}
			given := 0
			for _, m := range requests[*cwmp.SetParameterValues](u) {
				for _, v := range m.Values {
					if v.Name == server+"ConnectionRequestPassword" {
						given++
					}
				}
			}
			if given != tt.given {
				t.Errorf("it was given its credentials %d times, want %d", given, tt.given)
			}
		})
	}
}

// The fleet comes evenly: each tenth of the interval has its tenth of the CPE.
func TestInformTimesAreSpread(t *testing.T) {
	const fleet, seconds, parts = 10_000, 900, 10
	var count [parts]int
	for i := range fleet {
		key := cwmp.DeviceID{OUI: "00005E", ProductClass: "HG100", SerialNumber: fmt.Sprintf("SN%08d", i)}.Key()
		at := informTime(key, seconds)
		if at != informTime(key, seconds) || at.After(time.Now()) {
			t.Fatalf("%s informs at %v", key, at)
		}
		count[at.Unix()%seconds*parts/seconds]++
	}
	for i, n := range count {
		if n < fleet/parts*8/10 || n > fleet/parts*12/10 {
			t.Errorf("part %d of the interval has %d of %d CPE", i, n, fleet)
		}
	}
}

func TestInformTimeThatIsRightAlreadyStays(t *testing.T) {
	at := time.Date(2000, 1, 1, 0, 3, 0, 0, time.UTC)
	for now, same := range map[string]bool{
		"2000-01-01T00:03:00Z": true, "2024-05-05T12:18:00Z": true, "2024-05-05T14:18:00+02:00": true, "2024-05-05T12:18:00": true,
		"2024-05-05T14:18:00+0200": true, "2024-05-05 12:18:00": true,
		"2024-05-05T12:17:00Z": false, "0001-01-01T00:03:00Z": false, "": false, "Unknown": false,
	} {
		if samePhase(now, at, 900) != same {
			t.Errorf("%q is right: %v, want %v", now, !same, same)
		}
	}
}

// Credentials go together, and a refusal of them does not show them.
func TestRefusedCredentials(t *testing.T) {
	r := newRig(t, func(c *Config) { c.ConnectionRequest.Username, c.ConnectionRequest.Password = "acs", "battery staple" })
	dev, err := r.devices.acquire(t.Context(), r.add(cpesim.Config{}).key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.devices.release(dev)
	loud := &cpe{answer: func(req cwmp.Message) (cwmp.Message, error) {
		return nil, cwmp.Faultf(cwmp.FaultInvalidParameterValue, "battery staple is too easy%s", strings.Repeat("!", 10_000))
	}}
	r.amend(dev, func(rec *Record) { rec.Provisioned = "" })
	if err := r.provision(t.Context(), loud, dev); err != nil {
		t.Fatal(err)
	}
	refusals := strings.Join(dev.state.Load().rec.Refusals(), "\n")
	if strings.Contains(refusals, "staple") || strings.Count(refusals, "is too easy") != 2 || len(refusals) > 1000 || loud.calls != 1 {
		t.Errorf("%d calls; kept is\n%.2000s", loud.calls, refusals)
	}
}
