package translate

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/translate/mapping"
)

// The example of docs/device-profiles.md does what is said there, and the table
// there has every key.
func TestGuideToProfiles(t *testing.T) {
	guide, err := os.ReadFile("../docs/device-profiles.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range mapping.ProfileKeys() {
		if key != "profile" && key != "for" && !strings.Contains(string(guide), "\n| `"+key+"` |") {
			t.Errorf("the table of keys does not have %s", key)
		}
	}
	_, example, _ := strings.Cut(string(guide), "```yaml profile\n")
	example, _, _ = strings.Cut(example, "```")
	r := newRig(t, nil, example)
	const hosts = "InternetGatewayDevice.LANDevice.1.Hosts."
	u := r.add(cpesim.Config{Identity: cwmp.DeviceID{Manufacturer: "Example Networks", ProductClass: "HG100"}, Profile: &cpesim.Profile{
		MaxValueNames: 64, Answers: cpesim.Answers{OnlyDigits: true, DieOn: []cwmp.Path{hosts + "HostNumberOfEntries"}}}})
	if n := len(u.Journal()); n != 0 {
		t.Fatalf("%d RPCs were sent within two minutes of the boot; profiles %v", n, r.profile(u.record()).Names)
	}
	r.skew.Add(int64(2 * time.Minute))
	if err := u.session(); err != nil {
		t.Fatal(err)
	}
	values := u.values()
	if len(values) < 700 {
		t.Errorf("%d values were read", len(values))
	}
	for name := range values {
		if strings.HasPrefix(string(name), hosts) {
			t.Errorf("%s was read", name)
		}
	}
	if result := u.set(false, assignment{"Device.WiFi.SSID.1.Enable", "false", false})[0]; result.Err != nil {
		t.Error(result.Err)
	}
	for _, e := range u.Journal() {
		if e.Fault != nil {
			t.Errorf("%s was refused: %v", e.RPC, e.Fault)
		}
	}
}
