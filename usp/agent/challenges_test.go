package agent

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/store/seal"
	"github.com/uspbridge/uspbridge/usp"
)

const trustPath = "Device.LocalAgent.ControllerTrust."

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// challenge adds an enabled challenge for the full access role.
func (b *bench) challenge(more ...kv) string {
	return b.added(primary, create(trustPath+"Challenge.", append([]kv{
		{"Enable", "true", true}, {"Description", "Request full access", true}, {"Role", rolePath(fullAccessRole), true},
		{"Value", base64Of("xyzzy"), true}, {"Instruction", base64Of("Look at the bottom"), true},
	}, more...)...))
}

// requested asks for a challenge and returns the ChallengeID, or "" and the error
// code.
func (b *bench) requested(from usp.EndpointID, ref string) (string, uint32) {
	out, code := b.operate(from, trustPath+"RequestChallenge()", map[string]string{"ChallengeRef": ref})
	return out["ChallengeID"], code
}

func (b *bench) respond(from usp.EndpointID, id, value string) uint32 {
	_, code := b.operate(from, trustPath+"ChallengeResponse()", map[string]string{"ChallengeID": id, "Value": base64Of(value)})
	return code
}

// An untrusted controller finds a challenge by its description, is told what to
// ask its user, and has the challenge's role when it responds rightly (TR-369
// "Challenges").
func TestChallenge(t *testing.T) {
	b := newBench(t)
	row := b.challenge()
	if got, want := b.seen(trustPath+"Challenge."), row+"Alias="+b.value(row+"Alias")+"\n"+row+"Description=Request full access"; got != want {
		t.Errorf("the untrusted controller sees\n%s\nwant\n%s", got, want)
	}
	out, code := b.operate(secondary, trustPath+"RequestChallenge()", map[string]string{"ChallengeRef": row, "RequestExpiration": "60"})
	if code != 0 || out["Instruction"] != base64Of("Look at the bottom") || out["InstructionType"] != "text/plain" || out["ValueType"] != "text/plain" || out["ChallengeID"] == "" {
		t.Fatalf("RequestChallenge: %v, error %d", out, code)
	}
	b.restart()
	if code := b.respond(secondary, out["ChallengeID"], "xyzzy"); code != 0 {
		t.Fatalf("ChallengeResponse: error %d", code)
	}
	if got := b.value("Device.LocalAgent.Controller.2.AssignedRole"); got != rolePath(fullAccessRole) {
		t.Errorf("AssignedRole %q: the role takes the place of the untrusted one", got)
	}
	if got := b.seen("Device.WiFi.SSID.1.SSID"); got != "Device.WiFi.SSID.1.SSID=home" {
		t.Errorf("with the role: %s", got)
	}
	if code := b.respond(secondary, out["ChallengeID"], "xyzzy"); code != 7004 {
		t.Errorf("the same response again: error %d", code)
	}
}

// The role of a challenge is added to others, once.
func TestChallengeAddsToOtherRoles(t *testing.T) {
	b := newBench(t)
	row := b.challenge()
	other := strings.TrimSuffix(b.added(primary, create(trustPath+"Role.", kv{"Name", "Other", true}, kv{"Enable", "true", true})), ".")
	b.added(primary, create(other+".Permission.", kv{"Enable", "true", true}, kv{"Targets", trustPath, true}, kv{"CommandEvent", "r-x-", true}, kv{"InstantiatedObj", "r---", true}))
	b.ask(primary, setReq(false, update("Device.LocalAgent.Controller.2.", kv{"AssignedRole", other, true})))
	for range 2 {
		id, _ := b.requested(secondary, strings.TrimSuffix(row, "."))
		if code := b.respond(secondary, id, "xyzzy"); code != 0 {
			t.Fatalf("error %d", code)
		}
	}
	if got, want := b.value("Device.LocalAgent.Controller.2.AssignedRole"), other+","+rolePath(fullAccessRole); got != want {
		t.Errorf("AssignedRole %q, want %q", got, want)
	}
}

// Wrong responses in a row lock a challenge for all controllers, also over a
// restart; afterwards the count begins anew (TR-369 R-SEC.16, R-SEC.17).
func TestChallengeIsLocked(t *testing.T) {
	b := newBench(t)
	row := b.challenge(kv{"Retries", "2", true}, kv{"LockoutPeriod", "60", true})
	id, _ := b.requested(secondary, row)
	if code := b.respond(secondary, id, "plugh"); code != 7022 {
		t.Fatalf("first wrong response: error %d", code)
	}
	b.restart()
	if code := b.respond(secondary, id, "plugh"); code != 7022 {
		t.Fatalf("second wrong response: error %d", code)
	}
	locked := func() {
		t.Helper()
		if code := b.respond(secondary, id, "xyzzy"); code != 7002 {
			t.Errorf("the right response: error %d", code)
		}
		for _, from := range []usp.EndpointID{secondary, primary} {
			if _, code := b.requested(from, row); code != 7002 {
				t.Errorf("request of %s: error %d", from, code)
			}
		}
	}
	locked()
	b.restart()
	locked()
	b.clock.Advance(61 * time.Second)
	if code := b.respond(secondary, id, "plugh"); code != 7022 {
		t.Errorf("wrong after the lockout: error %d", code)
	}
	if code := b.respond(secondary, id, "xyzzy"); code != 0 {
		t.Errorf("right after the lockout: error %d", code)
	}
}

// A right response forgives wrong ones before it.
func TestChallengeCountsInARow(t *testing.T) {
	b := newBench(t)
	row := b.challenge(kv{"Retries", "2", true})
	for range 3 {
		id, _ := b.requested(primary, row)
		if code := b.respond(primary, id, "plugh"); code != 7022 {
			t.Fatalf("wrong: error %d", code)
		}
		if code := b.respond(primary, id, "xyzzy"); code != 0 {
			t.Fatalf("right: error %d", code)
		}
	}
}

// Without a lockout the challenge has to be requested again.
func TestChallengeWithoutLockout(t *testing.T) {
	b := newBench(t)
	row := b.challenge(kv{"Retries", "1", true}, kv{"LockoutPeriod", "0", true})
	id, _ := b.requested(secondary, row)
	if code := b.respond(secondary, id, "plugh"); code != 7022 {
		t.Fatalf("wrong: error %d", code)
	}
	if code := b.respond(secondary, id, "xyzzy"); code != 7004 {
		t.Errorf("the same ChallengeID: error %d", code)
	}
	id, _ = b.requested(secondary, row)
	if code := b.respond(secondary, id, "xyzzy"); code != 0 {
		t.Errorf("another: error %d", code)
	}
}

// What the commands of challenges refuse.
func TestChallengesRefused(t *testing.T) {
	b := newBench(t)
	row := b.challenge()
	off := b.challenge(kv{"Enable", "false", true})
	empty := b.challenge(kv{"Value", "", true})
	id, _ := b.requested(secondary, row)
	later, _ := b.operate(primary, trustPath+"RequestChallenge()", map[string]string{"ChallengeRef": row, "RequestExpiration": "5"})
	for _, tc := range []struct {
		name, command string
		args          map[string]string
		want          uint32
	}{
		{"no reference", "RequestChallenge()", nil, 7027},
		{"no such challenge", "RequestChallenge()", map[string]string{"ChallengeRef": trustPath + "Challenge.77"}, 7027},
		{"another table", "RequestChallenge()", map[string]string{"ChallengeRef": rolePath(1)}, 7027},
		{"not enabled", "RequestChallenge()", map[string]string{"ChallengeRef": off}, 7022},
		{"without a value", "RequestChallenge()", map[string]string{"ChallengeRef": empty}, 7022},
		{"time is no number", "RequestChallenge()", map[string]string{"ChallengeRef": row, "RequestExpiration": "-1"}, 7027},
		{"not base64", "ChallengeResponse()", map[string]string{"ChallengeID": id, "Value": "?"}, 7027},
		{"no value", "ChallengeResponse()", map[string]string{"ChallengeID": id}, 7027},
		{"nobody's", "ChallengeResponse()", map[string]string{"ChallengeID": "x", "Value": base64Of("xyzzy")}, 7004},
		{"another controller's", "ChallengeResponse()", map[string]string{"ChallengeID": later["ChallengeID"], "Value": base64Of("xyzzy")}, 7004},
	} {
		if _, code := b.operate(secondary, trustPath+tc.command, tc.args); code != tc.want {
			t.Errorf("%s: error %d, want %d", tc.name, code, tc.want)
		}
	}
	b.clock.Advance(6 * time.Second)
	if code := b.respond(primary, later["ChallengeID"], "xyzzy"); code != 7004 {
		t.Errorf("expired: error %d", code)
	}
	if code := b.respond(secondary, id, "xyzzy"); code != 0 {
		t.Errorf("in time: error %d", code)
	}
	if _, code := b.operate(BuiltinController, trustPath+"RequestChallenge()", map[string]string{"ChallengeRef": row}); code != 7002 {
		t.Errorf("the built-in controller: error %d", code)
	}
	b.allow(trustPath+"Challenge.", "----", "----", "----", "----")
	b.ask(primary, setReq(false, update("Device.LocalAgent.Controller.2.", kv{"AssignedRole", rolePath(untrustedRole), true})))
	if _, code := b.requested(secondary, row); code != 7027 {
		t.Errorf("a challenge that it may not know of: error %d", code)
	}
}

// The passphrase is in no audit record, and in the store it is sealed.
func TestChallengeValueIsNowhere(t *testing.T) {
	box, err := seal.New([]byte(strings.Repeat("k", seal.KeySize)))
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, func(c *Config) { c.Sealer = box })
	row := b.challenge()
	id, _ := b.requested(secondary, row)
	b.respond(secondary, id, "plugh")
	if got := b.value(row + "Value"); got != "" {
		t.Errorf("Value reads %q", got)
	}
	b.store.mu.Lock()
	for k, v := range b.store.records {
		for _, secret := range []string{base64Of("xyzzy"), base64Of("plugh"), "xyzzy"} {
			if strings.Contains(string(v), secret) {
				t.Errorf("%v has it: %s", k, v)
			}
		}
	}
	b.store.mu.Unlock()
	b.restart()
	if code := b.respond(secondary, id, "xyzzy"); code != 0 {
		t.Errorf("after a restart: error %d", code)
	}
	// With another key the challenge is as one without a value.
	if b.cfg.Sealer, err = seal.New([]byte(strings.Repeat("x", seal.KeySize))); err != nil {
		t.Fatal(err)
	}
	b.restart()
	if _, code := b.requested(primary, row); code != 7022 {
		t.Errorf("with another key: error %d", code)
	}
}

// A configured challenge has on each agent a passphrase of its own, which openssl
// tells as docs/roles.md says.
func TestConfiguredChallenge(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.Roles = []RoleConfig{{Name: "Support", Permissions: []PermissionConfig{{Targets: []string{"Device.WiFi."}, Param: "r---", Obj: "r---", InstantiatedObj: "r---"}}}}
		c.Challenges = []ChallengeConfig{{Alias: "label", Description: "Support", Role: "Support", Instruction: "Look", Key: "a key of sixteen or more"}}
	})
	id, code := b.requested(secondary, trustPath+"Challenge.1.")
	if code != 0 {
		t.Fatalf("error %d", code)
	}
	if code := b.respond(secondary, id, "E7XNQY65DHJX7UPM"); code != 0 {
		t.Fatalf("error %d", code)
	}
	if got := b.value("Device.LocalAgent.Controller.2.AssignedRole"); got != rolePath(configuredRole) {
		t.Errorf("AssignedRole %q", got)
	}
	if got := b.value(trustPath + "Challenge.1.Retries"); got != "3" {
		t.Errorf("Retries %q", got)
	}
}

// Configured roles are there from the start, keep their numbers whatever becomes of
// the configuration, and one named Untrusted takes the place of the built-in one.
func TestConfiguredRoles(t *testing.T) {
	wifi := []PermissionConfig{
		{Targets: []string{"Device.WiFi."}, Param: "r---", Obj: "r---", InstantiatedObj: "r---"},
		{Targets: []string{"Device.WiFi.SSID.2."}},
	}
	b := newBench(t, func(c *Config) {
		c.Roles = []RoleConfig{{Name: "First"}, {Name: "WiFi", Secured: true, Permissions: wifi}, {Name: Untrusted, Permissions: wifi[:1]}}
		c.Controllers[1].Role = "WiFi"
	})
	for path, want := range map[string]string{
		"Device.WiFi.SSID.*.SSID": "Device.WiFi.SSID.1.SSID=home", "Device.WiFi.Passphrase": "Device.WiFi.Passphrase=secret", "Device.DeviceInfo.UpTime": "!7026",
	} {
		if got := b.seen(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if got := b.value("Device.LocalAgent.Controller.2.AssignedRole"); got != rolePath(configuredRole+1) {
		t.Errorf("AssignedRole %q", got)
	}
	if got := b.value(trustPath + "Role.2.PermissionNumberOfEntries"); got != "1" {
		t.Errorf("the untrusted role has %s permissions", got)
	}
	b.cfg.Roles = b.cfg.Roles[1:2]
	b.restart()
	if got := b.value(trustPath + "Role." + "4.Name"); got != "WiFi" {
		t.Errorf("role 4 is %q", got)
	}
	if got := b.value(trustPath + "Role." + "3.Name"); got != "!7026" {
		t.Errorf("role 3 is %q", got)
	}
}

func TestConfiguredRolesAreChecked(t *testing.T) {
	permission := func(p PermissionConfig) []RoleConfig {
		return []RoleConfig{{Name: "R", Permissions: []PermissionConfig{p}}}
	}
	challenge := func(c ChallengeConfig) []ChallengeConfig { return []ChallengeConfig{c} }
	for _, tc := range []struct {
		name string
		cfg  Config
	}{
		{"no name", Config{Roles: []RoleConfig{{}}}},
		{"full access", Config{Roles: []RoleConfig{{Name: FullAccess}}}},
		{"twice", Config{Roles: []RoleConfig{{Name: "R"}, {Name: "R"}}}},
		{"no target", Config{Roles: permission(PermissionConfig{Param: "r---"})}},
		{"target", Config{Roles: permission(PermissionConfig{Targets: []string{"WiFi"}})}},
		{"flags", Config{Roles: permission(PermissionConfig{Targets: []string{"Device."}, Obj: "rw"})}},
		{"role of a controller", Config{Controllers: []ControllerConfig{{EndpointID: primary, Role: "R"}}}},
		{"role of a challenge", Config{Challenges: challenge(ChallengeConfig{Alias: "a", Role: "R", Key: "0123456789abcdef"})}},
		{"key of a challenge", Config{Challenges: challenge(ChallengeConfig{Alias: "a", Role: Untrusted, Key: "0123456789abcde"})}},
		{"alias of a challenge", Config{Challenges: challenge(ChallengeConfig{Alias: "1", Role: Untrusted, Key: "0123456789abcdef"})}},
	} {
		tc.cfg.Store, tc.cfg.Devices = newMemStore(), fixedDevices{}
		if h, err := New(tc.cfg); err == nil {
			h.close()
			t.Errorf("%s: taken", tc.name)
		}
	}
}

// The store's numbers of configured rows are of one kind each.
func TestSeedNumbersAreApart(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Roles = []RoleConfig{{Name: "proto::controller-1"}} })
	for kind, want := range map[string]string{"controllers": `{"proto::controller-1":1,"proto::controller-2":2}`, "roles": `{"proto::controller-1":3}`} {
		if got, err := b.store.Get(t.Context(), store.Key{Kind: store.Meta, Owner: "agent", Name: kind}); string(got) != want {
			t.Errorf("%s: %s, %v; want %s", kind, got, err, want)
		}
	}
}
