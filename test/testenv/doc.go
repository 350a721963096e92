// Package testenv brings up what a test of the whole system needs, in a few
// lines: the bridge as a child process with a configuration file of its own,
// simulated CPE in this process, controllers, and real brokers.
//
//	env := testenv.Start(t, program, testenv.Config{})
//	cpe := env.CPE(cpesim.TR098())
//	controller := env.Controller()
//	controller.Set(cpe.Agent, "Device.WiFi.SSID.1.SSID", "home")
//
// Everything listens on loopback, on ports that were free, and ends with the
// test. What goes wrong in bringing things up or in a request ends the test, with
// the bridge's log. Nothing here waits for a time to pass: all that is waited for
// is a condition, for at most Patience.
package testenv
