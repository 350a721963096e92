package mapping

import (
	"strings"
	"testing"
)

// TestVendorSecrets: a parameter that the standard does not know is secured if its
// name tells of a secret.
func TestVendorSecrets(t *testing.T) {
	names := map[string]bool{
		"X_EXAMPLE_AdminPwd string": true, "X_EXAMPLE_WlanPSK string": true, "X_EXAMPLE_SnmpCommunity string": true, "X_EXAMPLE_LOID string": true,
		"X_EXAMPLE_Led boolean": false, "X_EXAMPLE_ShowPasswords boolean": false, "X_EXAMPLE_PasswordMode string": false, "X_EXAMPLE_Region string": false,
	}
	lines := gateway
	for name := range names {
		lines += "+InternetGatewayDevice.DeviceInfo." + name + " 1\n"
	}
	s := show(t, gatewaySet(t), device(t, lines))
	for name, want := range names {
		name, _, _ := strings.Cut(name, " ")
		if got := s.ref("Device.DeviceInfo." + name).Node.Secured; got != want {
			t.Errorf("%s is secured: %v, want %v", name, got, want)
		}
	}
}
