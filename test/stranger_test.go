package test

import (
	"context"
	"errors"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
)

// TestNotAnswered: records for endpoints that are not here, and of controllers
// that an agent does not know, get no answer.
func TestNotAnswered(t *testing.T) {
	env := testenv.Start(t, program, testenv.Config{})
	cpe := env.CPE(cpesim.TR181())
	tests := []struct {
		name     string
		from, to usp.EndpointID
		reason   string
	}{
		{"unknown endpoint", testenv.DefaultController, "ops::00005E-NOBODY-1", "unknown_endpoint"},
		{"unknown controller", "proto::stranger", cpe.Agent, "unknown_controller"},
		{"to itself", testenv.DefaultController, testenv.DefaultController, "address_mismatch"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			refused := `uspbridge_usp_records_refused_total{reason="` + tt.reason + `"}`
			before := env.Metric(refused)
			sender := env.ControllerAs(tt.from)
			ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
			defer cancel()
			answer := make(chan error, 1)
			go func() {
				_, err := sender.Client.Get(ctx, tt.to, []string{"Device.DeviceInfo."}, 0)
				answer <- err
			}()
			testenv.Until(t, "the record is refused", func() bool { return env.Metric(refused) > before })
			// What could be an answer would be on its way before this one.
			if got := env.Controller().Value(cpe.Agent, "Device.DeviceInfo.SerialNumber"); got != cpe.Identity().SerialNumber {
				t.Errorf("serial number %q", got)
			}
			cancel()
			if err := <-answer; !errors.Is(err, context.Canceled) {
				t.Errorf("the record was answered: %v", err)
			}
		})
	}
}

// TestImpostor: a controller cannot speak in another's name over its own
// connection.
func TestImpostor(t *testing.T) {
	env := testenv.Start(t, program, testenv.Config{})
	cpe := env.CPE(cpesim.TR181())
	ssid := cpe.Value("Device.WiFi.SSID.1.SSID")
	socket := env.Socket("proto::stranger")
	socket.SendSet(testenv.DefaultController, cpe.Agent, "Device.WiFi.SSID.1.SSID", "owned")
	testenv.Until(t, "the record is refused", func() bool {
		return env.Metric(`uspbridge_usp_records_refused_total{reason="address_mismatch"}`) > 0
	})
	if got := cpe.Value("Device.WiFi.SSID.1.SSID"); got != ssid {
		t.Errorf("the SSID is %q", got)
	}
}
