package agent

import (
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/usp/trust"
)

// A controller inherits the roles of the credentials by which it was validated,
// beside those assigned to it, as these are at any time.
func TestInheritedRoles(t *testing.T) {
	const trusting, own, ssid = "Device.LocalAgent.ControllerTrust.", "Device.LocalAgent.Controller.2.", "Device.WiFi.SSID.1.SSID"
	b := newBench(t)
	b.operate(primary, "Device.LocalAgent.AddCertificate()", map[string]string{"Certificate": certificatePEM})
	certificate := certificateRows + "101"
	if b.value(certificate+".Enable") != "true" {
		t.Fatal("no certificate")
	}
	role := b.added(primary, create(trusting+"Role.", kv{"Enable", "true", true}, kv{"Name", "reader", true}))
	b.added(primary, create(role+"Permission.", kv{"Enable", "true", true}, kv{"Targets", "Device.WiFi.", true},
		kv{"Param", "r---", true}, kv{"Obj", "r---", true}, kv{"InstantiatedObj", "r---", true}))
	credential := b.added(primary, create(trusting+"Credential.", kv{"Enable", "true", true}, kv{"Credential", certificate, true},
		kv{"Role", role, true}, kv{"AllowedUses", "MTP-and-USP", true}))
	inherits := func(when string, want bool) {
		t.Helper()
		list := ""
		if want {
			list = strings.TrimSuffix(role, ".")
		}
		if got := b.value(own + "InheritedRole"); got != list {
			t.Errorf("%s: InheritedRole is %q", when, got)
		}
		if reads := b.seen(ssid) == ssid+"=home"; reads != want {
			t.Errorf("%s: reads %s: %t", when, ssid, reads)
		}
	}
	validated := func(credential uint32) {
		t.Helper()
		if err := b.host.Admitted(t.Context(), testAgent, secondary, trust.Admission{Credential: credential}); err != nil {
			t.Fatal(err)
		}
	}
	put := func(row, param, value string) {
		t.Helper()
		if body := b.ask(primary, setReq(false, update(row, kv{param, value, true}))); body.GetError() != nil {
			t.Fatal(body)
		}
	}
	inherits("at first", false)
	validated(101)
	inherits("validated", true)
	if g := b.seen("Device.DeviceInfo.Manufacturer"); !strings.HasSuffix(g, "=Acme") {
		t.Errorf("what is assigned counts no more: %s", g)
	}
	b.restart()
	inherits("after a restart", true)
	commits := b.store.commits
	validated(101)
	if b.store.commits != commits {
		t.Error("the same again is stored again")
	}
	validated(0)
	inherits("validated by other means", false)
	validated(101)
	inherits("validated again", true)
	for _, c := range []struct{ row, param, off, on string }{
		{credential, "Enable", "false", "true"},
		{credential, "AllowedUses", "MTP-only", "MTP-and-broker"},
		{credential, "Role", "", role},
		{certificate + ".", "Enable", "false", "true"},
		{role, "Enable", "false", "true"},
	} {
		put(c.row, c.param, c.off)
		if g := b.seen(ssid); !strings.HasPrefix(g, "!") {
			t.Errorf("%s %s: reads %s", c.param, c.off, g)
		}
		put(c.row, c.param, c.on)
		inherits(c.param+" as before", true)
	}
	if _, code := b.operate(primary, certificate+".Delete()", nil); code != 0 {
		t.Fatal(code)
	}
	inherits("without the certificate", false)
}

// A controller that was validated and has no role by that is untrusted; one with
// the banned role by a credential is banned, whatever is assigned to it.
func TestRolesOfValidatedControllers(t *testing.T) {
	const trusting, own = "Device.LocalAgent.ControllerTrust.", "Device.LocalAgent.Controller.2."
	b := newBench(t)
	b.operate(primary, "Device.LocalAgent.AddCertificate()", map[string]string{"Certificate": certificatePEM})
	credential := b.added(primary, create(trusting+"Credential.", kv{"Enable", "true", true}, kv{"Credential", certificateRows + "101", true}, kv{"AllowedUses", "MTP-and-USP", true}))
	banned := b.added(primary, create(trusting+"Role.", kv{"Enable", "true", true}, kv{"Name", "banned", true}))
	for _, u := range [][3]string{{own, "AssignedRole", ""}, {trusting, "BannedRole", banned}} {
		if body := b.ask(primary, setReq(false, update(u[0], kv{u[1], u[2], true}))); body.GetError() != nil {
			t.Fatal(body)
		}
	}
	if err := b.host.Admitted(t.Context(), testAgent, secondary, trust.Admission{Credential: 101}); err != nil {
		t.Fatal(err)
	}
	if got := b.value(own + "AssignedRole"); got != rolePath(untrustedRole) {
		t.Errorf("AssignedRole is %q", got)
	}
	if body := b.ask(primary, setReq(false, update(credential, kv{"Role", banned, true}))); body.GetError() != nil {
		t.Fatal(body)
	}
	if b.host.agents.loaded(testAgent).state.Load().index(b.host.spec).controllers[secondary].enabled {
		t.Error("the controller is not banned")
	}
}
