package test

import (
	"errors"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
)

// TestUnreachable: of a CPE that is switched off the agent tells what it knows,
// and says in time why it can do nothing.
func TestUnreachable(t *testing.T) {
	t.Parallel() // it waits for a CPE that does not come
	const deadline = time.Second
	eachGateway(t, func(t *testing.T, g gateway) {
		env := testenv.Start(t, program, testenv.Config{Keys: map[string]any{
			"cwmp.deadline": deadline.String(), "cwmp.connection_request.timeout": "500ms",
		}})
		// What a CPE has taken but not applied yet is asked for anew, so that a Get
		// of it is one that the CPE should answer.
		cpe := env.CPEWith(cpesim.Config{Model: g.model(), Profile: &cpesim.Profile{Status1Always: true}})
		controller := env.Controller()
		controller.Set(cpe.Agent, "Device.WiFi.SSID.1.SSID", "last known")
		before := controller.Get(cpe.Agent, "Device.WiFi.")
		controller.Set(cpe.Agent, "Device.WiFi.SSID.1.SSID", "last known")
		cpe.SetOnline(false)

		if after := controller.Get(cpe.Agent, "Device.WiFi."); len(after) != len(before) || after["Device.WiFi.SSID.1.SSID"] != before["Device.WiFi.SSID.1.SSID"] {
			t.Errorf("Get of an unreachable CPE returned %v, want %v", after, before)
		}
		ssid := cpe.Value(g.ssid)
		for what, change := range map[string]func() error{
			"Set": func() error { return controller.TrySet(cpe.Agent, "Device.WiFi.SSID.1.SSID", "never") },
			"Add": func() error {
				_, err := controller.TryAdd(cpe.Agent, portMappings, map[string]string{"ExternalPort": "8080"})
				return err
			},
		} {
			began := time.Now()
			err := change()
			var refused *usp.Error
			if !errors.As(err, &refused) || refused.Msg == "" {
				t.Errorf("%s on an unreachable CPE: %v, want an error of the agent with a reason", what, err)
			}
			if took := time.Since(began); took > deadline+5*time.Second {
				t.Errorf("%s on an unreachable CPE took %v, the deadline is %v", what, took, deadline)
			}
		}

		cpe.SetOnline(true)
		cpe.Inform()
		if cpe.Value(g.ssid) != ssid {
			t.Error("a Set that was refused was done later")
		}
		controller.Set(cpe.Agent, "Device.WiFi.SSID.1.SSID", "back")
		if got := cpe.Value(g.ssid); got != "back" {
			t.Errorf("after its return the CPE's SSID is %q", got)
		}
	})
}
