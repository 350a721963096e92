package test

import (
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
)

// TestKilledAfterAnswer: what was answered is there after kill -9, whatever it
// was, and what was there before has its old place.
func TestKilledAfterAnswer(t *testing.T) {
	eachGateway(t, func(t *testing.T, g gateway) {
		env := testenv.Start(t, program, testenv.Config{})
		cpe := env.CPE(g.model())
		controller := env.Controller()
		// killed is a power failure of the bridge, right now.
		killed := func() {
			env.Kill()
			env.Restart()
			controller = env.Controller()
		}
		before := controller.Get(cpe.Agent, "Device.WiFi.", "Device.NAT.", "Device.IP.")
		killed()
		if after := controller.Get(cpe.Agent, "Device.WiFi.", "Device.NAT.", "Device.IP."); !slices.Equal(paths(before), paths(after)) {
			t.Errorf("killed after discovery: the device was\n%v\nand is\n%v", paths(before), paths(after))
		}

		controller.Set(cpe.Agent, "Device.WiFi.SSID.1.SSID", "kept")
		killed()
		if got := controller.Value(cpe.Agent, "Device.WiFi.SSID.1.SSID"); got != "kept" || cpe.Value(g.ssid) != "kept" {
			t.Errorf("killed after Set: SSID is %q, on the CPE %q", got, cpe.Value(g.ssid))
		}

		first := addPortMapping(controller, cpe, "8080")
		killed()
		if got := controller.Value(cpe.Agent, first+"ExternalPort"); got != "8080" {
			t.Errorf("killed after Add: %s has port %q", first, got)
		}

		controller.Delete(cpe.Agent, first)
		killed()
		if rows := controller.Instances(cpe.Agent, portMappings); slices.Contains(rows, first) {
			t.Errorf("killed after Delete: rows are %v", rows)
		}
		if second := addPortMapping(controller, cpe, "9090"); second == first {
			t.Errorf("killed after Delete: %s is reused", first)
		}

		changes := controller.Subscribe(cpe.Agent, "ValueChange", "Device.WiFi.SSID.1.SSID")
		killed()
		cpe.Inform() // the CPE may not have been asked yet to tell of changes
		awaitWatched(t, cpe, g.ssid)
		cpe.Set(g.ssid, "changed")
		if got := controller.Next(changes); got.Value != "changed" {
			t.Errorf("killed after Add of a subscription: notified of %+v", got)
		}
	})
}

func paths(values map[string]string) []string { return slices.Sorted(maps.Keys(values)) }

// TestKilledAtAnyMoment: a bridge that is killed again and again under load loses
// no row whose Add was answered, and gives none another number.
func TestKilledAtAnyMoment(t *testing.T) {
	const kills = 5
	env := testenv.Start(t, program, testenv.Config{})
	cpe := env.CPE(cpesim.TR098())
	g := gateways()[0]
	answered := map[string]string{} // port by row
	port := 20000
	for kill := range kills {
		controller := env.Controller()
		enough, over := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(over)
			for n := 0; ; n++ {
				port++
				row, err := controller.TryAdd(cpe.Agent, portMappings, map[string]string{"ExternalPort": strconv.Itoa(port)})
				if err != nil {
					return // the bridge is dead
				}
				answered[row] = strconv.Itoa(port)
				if n == kill {
					close(enough)
				}
			}
		}()
		select {
		case <-enough:
		case <-over:
			t.Fatal("an Add failed before the bridge was killed")
		}
		env.Kill()
		<-over
		env.Restart()
		checkRows(t, env.Controller(), cpe, answered)
	}
	controller := env.Controller()
	controller.Operate(cpe.Agent, "Device.X_USPBRIDGE_CWMP.Refresh()", "")
	// An Add that was cut off may have made a row on the CPE that nobody was told of.
	testenv.Until(t, "all rows on the CPE are seen", func() bool {
		return len(controller.Instances(cpe.Agent, portMappings)) == rowsOnCPE(cpe, g)
	})
	checkRows(t, controller, cpe, answered)
}

func checkRows(t *testing.T, controller *testenv.Controller, cpe *testenv.CPE, want map[string]string) {
	t.Helper()
	for row, port := range want {
		if got := controller.Value(cpe.Agent, row+"ExternalPort"); got != port {
			t.Errorf("%s has port %q, was answered with %q", row, got, port)
		}
	}
}

// TestKilledInDiscovery: a first contact that is cut off is made up for.
func TestKilledInDiscovery(t *testing.T) {
	env := testenv.Start(t, program, testenv.Config{})
	cpe := env.Boot(cpesim.Config{Model: cpesim.TR181()})
	testenv.Until(t, "discovery is under way", func() bool { return cpe.Called("GetParameterValues") > 0 })
	env.Kill()
	env.Restart()
	testenv.Until(t, "the CPE comes again", func() bool { return cpe.CPE.Inform() == nil })
	cpe.AwaitDiscovery()
	if all := env.Controller().Get(cpe.Agent, "Device."); len(all) < 500 {
		t.Errorf("Get Device. returned %d parameters", len(all))
	}
}

// TestKilledAroundNotifications: changes made by the CPE and by controllers while
// nobody listens, each with a kill behind it, are told in their order when the
// controller is back; only what they have not answered is sent again.
func TestKilledAroundNotifications(t *testing.T) {
	eachGateway(t, func(t *testing.T, g gateway) {
		env := testenv.Start(t, program, testenv.Config{})
		cpe := env.CPE(g.model())
		controller := env.Controller()
		const ssid = "Device.WiFi.SSID.1.SSID"
		changes := controller.SubscribeSurely(cpe.Agent, "ValueChange", ssid)
		awaitWatched(t, cpe, g.ssid)
		other := env.ControllerAs("self::uspbridge-cli")

		// killed loses all connections: from then on the controller is not there.
		killed := func() {
			env.Kill()
			env.Restart()
			other = env.ControllerAs("self::uspbridge-cli")
		}
		killed()
		cpe.Set(g.ssid, "by the CPE")
		cpe.Inform() // what it has to tell is told
		cpe.AwaitIdle()
		killed()
		other.Set(cpe.Agent, ssid, "by another")
		killed()
		cpe.Inform()
		cpe.AwaitIdle()

		controller = env.Controller()
		for _, want := range []string{"by the CPE", "by another"} {
			if got := controller.Next(changes); got.Value != want {
				t.Fatalf("told %q, want %q", got.Value, want)
			}
		}
		killed()
		controller = env.Controller()
		cpe.Inform()
		cpe.AwaitIdle()
		cpe.Set(g.ssid, "last")
		// What was on its way when the bridge was killed, without an answer that
		// had come, is sent again: each of them once.
		got := controller.Next(changes).Value
		for again := 0; got != "last"; again++ {
			if again == 2 || got != "by the CPE" && got != "by another" {
				t.Fatalf("told %q", got)
			}
			got = controller.Next(changes).Value
		}
	})
}
