package test

import (
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/test/testenv"
)

// TestValueChange: what changes on the CPE by itself is told to who subscribed,
// once.
func TestValueChange(t *testing.T) {
	eachGateway(t, func(t *testing.T, g gateway) {
		env := testenv.Start(t, program, testenv.Config{})
		cpe := env.CPE(g.model())
		controller := env.Controller()
		changes := controller.Subscribe(cpe.Agent, "ValueChange", "Device.WiFi.SSID.1.SSID")
		awaitWatched(t, cpe, g.ssid)

		// Were a change told twice, the second telling would be taken for the
		// next change.
		for _, ssid := range []string{"one", "two", "three"} {
			cpe.Set(g.ssid, ssid)
			want := testenv.Notification{Agent: cpe.Agent, Kind: "ValueChange", Path: "Device.WiFi.SSID.1.SSID", Value: ssid}
			if got := controller.Next(changes); got.Kind != want.Kind || got.Path != want.Path || got.Value != want.Value || got.Agent != want.Agent {
				t.Fatalf("notified of %+v, want %+v", got, want)
			}
			if got := controller.Value(cpe.Agent, "Device.WiFi.SSID.1.SSID"); got != ssid {
				t.Errorf("Get returns %q, want %q", got, ssid)
			}
		}
	})
}

// TestUnsubscribe: with the last subscription the CPE's notification attribute is
// cleared.
func TestUnsubscribe(t *testing.T) {
	eachGateway(t, func(t *testing.T, g gateway) {
		env := testenv.Start(t, program, testenv.Config{})
		cpe := env.CPE(g.model())
		controller := env.Controller()
		controller.Subscribe(cpe.Agent, "ValueChange", "Device.WiFi.SSID.1.SSID")
		awaitWatched(t, cpe, g.ssid)
		for _, row := range controller.Instances(cpe.Agent, "Device.LocalAgent.Subscription.") {
			controller.Delete(cpe.Agent, row)
		}
		awaitNotification(t, cpe, g.ssid, cwmp.NotificationOff)
	})
}

// awaitWatched waits until the bridge has asked the CPE to notify of a parameter.
func awaitWatched(t *testing.T, cpe *testenv.CPE, name string) {
	t.Helper()
	awaitNotification(t, cpe, name, cwmp.NotificationActive)
}

func awaitNotification(t *testing.T, cpe *testenv.CPE, name string, want cwmp.Notification) {
	t.Helper()
	testenv.Until(t, "the CPE's notification attribute is set", func() bool {
		last := cwmp.Notification(-1)
		for _, e := range cpe.Journal() {
			set, ok := e.Request.(*cwmp.SetParameterAttributes)
			if !ok || e.Fault != nil {
				continue
			}
			for _, a := range set.Entries {
				if string(a.Name) == name && a.NotificationChange {
					last = a.Notification
				}
			}
		}
		return last == want
	})
	cpe.AwaitIdle()
}

// TestObjectCreationAndDeletion: rows that come and go on the CPE by themselves
// are told to who subscribed.
func TestObjectCreationAndDeletion(t *testing.T) {
	eachGateway(t, func(t *testing.T, g gateway) {
		env := testenv.Start(t, program, testenv.Config{})
		cpe := env.CPE(g.model())
		controller := env.Controller()
		before := controller.Instances(cpe.Agent, "Device.Hosts.Host.")
		created := controller.Subscribe(cpe.Agent, "ObjectCreation", "Device.Hosts.Host.")
		deleted := controller.Subscribe(cpe.Agent, "ObjectDeletion", "Device.Hosts.Host.")
		awaitWatched(t, cpe, hostCount(g))

		n, err := cpe.AddRow(g.host)
		if err != nil {
			t.Fatal(err)
		}
		creation := controller.Next(created)
		rows := controller.Instances(cpe.Agent, "Device.Hosts.Host.")
		if len(rows) != len(before)+1 || creation.Kind != "ObjectCreation" || creation.Path != rows[len(rows)-1] {
			t.Fatalf("notified of %+v; rows are %v after %v", creation, rows, before)
		}

		if err := cpe.DeleteRow(rowOf(g.host, n)); err != nil {
			t.Fatal(err)
		}
		deletion := controller.Next(deleted)
		if deletion.Kind != "ObjectDeletion" || deletion.Path != creation.Path {
			t.Errorf("notified of %+v, want the deletion of %s", deletion, creation.Path)
		}
		if got := controller.Instances(cpe.Agent, "Device.Hosts.Host."); len(got) != len(before) {
			t.Errorf("rows are %v, want %v", got, before)
		}
	})
}

// hostCount is the parameter by which the host table is watched.
func hostCount(g gateway) string { return strings.TrimSuffix(g.host, ".") + "NumberOfEntries" }

// TestRowsByController: rows that a controller adds and deletes are told to who
// subscribed too.
func TestRowsByController(t *testing.T) {
	eachGateway(t, func(t *testing.T, g gateway) {
		env := testenv.Start(t, program, testenv.Config{})
		cpe := env.CPE(g.model())
		controller := env.Controller()
		created := controller.Subscribe(cpe.Agent, "ObjectCreation", portMappings)
		deleted := controller.Subscribe(cpe.Agent, "ObjectDeletion", portMappings)
		for _, port := range []string{"8080", "9090"} {
			row := addPortMapping(controller, cpe, port)
			if got := controller.Next(created); got.Path != row {
				t.Errorf("notified of %+v, want the creation of %s", got, row)
			}
			controller.Delete(cpe.Agent, row)
			if got := controller.Next(deleted); got.Path != row {
				t.Errorf("notified of %+v, want the deletion of %s", got, row)
			}
		}
	})
}

// TestReboot: the CPE reboots when it is told to, and who subscribed learns why.
func TestReboot(t *testing.T) {
	eachGateway(t, func(t *testing.T, g gateway) {
		env := testenv.Start(t, program, testenv.Config{})
		cpe := env.CPE(g.model())
		controller := env.Controller()
		boots := controller.Subscribe(cpe.Agent, "Event", "Device.Boot!")

		controller.Operate(cpe.Agent, "Device.Reboot()", "key 7")
		boot := controller.Next(boots)
		if boot.Path != "Device.Boot!" || boot.Params["Cause"] != "RemoteReboot" || boot.Params["CommandKey"] != "key 7" {
			t.Errorf("after Reboot() notified of %+v", boot)
		}
		cpe.Reboot()
		if boot = controller.Next(boots); boot.Params["Cause"] != "LocalReboot" || boot.Params["CommandKey"] != "" {
			t.Errorf("after the power plug notified of %+v", boot)
		}
		if n := cpe.Called("Reboot"); n != 1 {
			t.Errorf("the CPE was told %d times to reboot", n)
		}
	})
}
