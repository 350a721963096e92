package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
)

// smallTree is a CPE of a few parameters, so that many fit into a test.
func smallTree(t *testing.T) *cpesim.Model {
	t.Helper()
	m, err := cpesim.LoadCSV(strings.NewReader(`Parameter,Object,Writable,Value,Value type,Allowed
Device.DeviceInfo.Manufacturer,false,false,Example,xsd:string,
Device.DeviceInfo.ManufacturerOUI,false,false,00005E,xsd:string,
Device.DeviceInfo.ProductClass,false,false,Small,xsd:string,
Device.DeviceInfo.SerialNumber,false,false,1,xsd:string,
Device.DeviceInfo.SoftwareVersion,false,false,1.0,xsd:string,
Device.ManagementServer.URL,false,true,,xsd:string,
Device.ManagementServer.ConnectionRequestURL,false,false,,xsd:string,
Device.ManagementServer.ConnectionRequestUsername,false,true,,xsd:string,
Device.ManagementServer.ConnectionRequestPassword,false,true,,xsd:string,
Device.ManagementServer.PeriodicInformEnable,false,true,true,xsd:boolean,
Device.ManagementServer.PeriodicInformInterval,false,true,86400,xsd:unsignedInt,
Device.ManagementServer.CWMPRetryMinimumWaitInterval,false,true,1,xsd:unsignedInt,
Device.ManagementServer.CWMPRetryIntervalMultiplier,false,true,1000,xsd:unsignedInt,
`))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestMassReboot: many CPE that were never seen boot at once, far more than the
// bridge takes at a time. All are served and discovered in the end, though those
// sent away have to come again and those put off have to be woken, for they would
// come by themselves only a day later.
func TestMassReboot(t *testing.T) {
	const count = 300
	env := testenv.Start(t, program, testenv.Config{Keys: map[string]any{
		"cwmp.limits":          map[string]any{"sessions": 220, "connections": 230, "discoveries": 6, "retry_after": "1s"},
		"cwmp.inform_interval": "0s", "log.level": "info",
	}})
	model, slow := smallTree(t), &cpesim.Profile{SlowResponse: 50 * time.Millisecond}
	cpes := make([]*testenv.CPE, count)
	for i := range cpes {
		cpes[i] = env.Boot(cpesim.Config{Model: model, Profile: slow, PeriodicInform: 24 * time.Hour,
			Identity: cwmp.DeviceID{SerialNumber: fmt.Sprintf("MASS%03d", i)}})
	}
	testenv.Until(t, "all devices are discovered", func() bool {
		return env.Metric(`uspbridge_discoveries_total{outcome="done"}`) >= count
	})
	for _, cpe := range cpes {
		cpe.AwaitDiscovery()
	}
	for series, least := range map[string]float64{
		`uspbridge_cwmp_limit_reached_total{limit="sessions"}`:                1,
		`uspbridge_connection_requests_total{kind="http",outcome="accepted"}`: 1,
		`uspbridge_cwmp_refused_total{reason="sessions"}`:                     1,
	} {
		if got := env.Metric(series); got < least {
			t.Errorf("%s is %v: the limits were never reached", series, got)
		}
	}
	if failed := env.Metric(`uspbridge_discoveries_total{outcome="failed"}`); failed > 0 {
		t.Errorf("%v discoveries failed", failed)
	}
	testenv.Until(t, "nothing waits", func() bool {
		return env.Metric("uspbridge_discoveries_waiting") == 0 && env.Metric("uspbridge_cwmp_sessions_open") == 0
	})
}

// TestRestartDuringMassReboot: the order in which devices wait for their
// discovery is forgotten when the bridge dies, but not that they must be
// discovered.
func TestRestartDuringMassReboot(t *testing.T) {
	env := testenv.Start(t, program, testenv.Config{Keys: map[string]any{
		"cwmp.limits": map[string]any{"discoveries": 1}, "cwmp.inform_interval": "0s",
	}})
	model, slow := smallTree(t), &cpesim.Profile{SlowResponse: 100 * time.Millisecond}
	cpes := make([]*testenv.CPE, 12)
	for i := range cpes {
		cpes[i] = env.Boot(cpesim.Config{Model: model, Profile: slow, PeriodicInform: 24 * time.Hour})
	}
	testenv.Until(t, "sessions have ended with devices put off", func() bool {
		return env.Metric("uspbridge_cwmp_sessions_open") <= 2 && env.Metric("uspbridge_discoveries_waiting") > 3
	})
	env.Kill()
	env.Restart()
	for _, cpe := range cpes {
		cpe.Inform(cwmp.Event{Code: cwmp.EventPeriodic})
	}
	for _, cpe := range cpes {
		cpe.AwaitDiscovery()
	}
}
