package test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
)

// TestSessionBreaksAtAdd: the session breaks while a row is added. A row that the
// CPE has made all the same is found; else the controller gets an error. The CPE
// never makes two, and when it is well again it is managed as before.
func TestSessionBreaksAtAdd(t *testing.T) {
	t.Parallel() // it waits for answers that do not come
	const table = "Device.NAT.PortMapping."
	tests := []struct {
		name    string
		profile cpesim.Profile
		added   int // rows on the CPE
	}{
		// Deviation: CPE that restart their WAN interface to apply a setting – act, and lose the connection before the answer; nothing is sent again, and what they have done is looked for
		{"after the CPE has acted", cpesim.Profile{DieAfter: "AddObject"}, 1},
		{"before the CPE acts", cpesim.Profile{DieAt: "AddObject"}, 0},
		{"by a power failure", cpesim.Profile{RebootAt: "AddObject"}, 0},
		{"as each POST has a connection of its own", cpesim.Profile{CloseAfterEachResponse: true, DieAt: "AddObject"}, 0},
	}
	env := testenv.Start(t, program, testenv.Config{Keys: map[string]any{"cwmp.limits.rpc_timeout": "500ms", "cwmp.limits.session_timeout": "500ms"}})
	controller := env.Controller()
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cpe := env.CPEWith(cpesim.Config{Model: cpesim.TR181(), Profile: &tt.profile})
			before := rows(cpe, table)
			_, err := controller.TryAdd(cpe.Agent, table, map[string]string{"ExternalPort": fmt.Sprint(8080 + i)})
			refused := (*usp.Error)(nil)
			if known := errors.As(err, &refused) && refused.Msg != ""; tt.added == 0 && !known || tt.added > 0 && err != nil {
				t.Errorf("the Add ended with %v while the CPE made %d rows", err, tt.added)
			}
			if got := rows(cpe, table) - before; got != tt.added {
				t.Errorf("the CPE has %d rows more, want %d", got, tt.added)
			}
			testenv.Until(t, "the CPE takes a session", func() bool { return cpe.CPE.Inform(cwmp.Event{Code: cwmp.EventPeriodic}) == nil })
			controller.Set(cpe.Agent, "Device.WiFi.SSID.1.SSID", tt.name[:10])
			if got := cpe.Value("Device.WiFi.SSID.1.SSID"); got != tt.name[:10] {
				t.Errorf("on the CPE the SSID is %q", got)
			}
			if got := rows(cpe, table) - before; got != tt.added {
				t.Errorf("after all the CPE has %d rows more, want %d", got, tt.added)
			}
		})
	}
}

// rows counts the rows of a table on a CPE.
func rows(cpe *testenv.CPE, table string) (n int) {
	for i := range 100 {
		if _, ok := cpe.Get(fmt.Sprintf("%s%d.ExternalPort", table, i)); ok {
			n++
		}
	}
	return n
}
