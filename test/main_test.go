package test

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
)

// program is bin/uspbridge, for all tests.
var program *testenv.Program

func TestMain(m *testing.M) {
	var err error
	if program, err = testenv.NewProgram(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := program.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// gateway is a kind of CPE that scenarios are played with: where on it lies what
// controllers see at the same place on all.
type gateway struct {
	name  string
	model func() *cpesim.Model

	ssid        string   // Device.WiFi.SSID.1.SSID
	channel     string   // Device.WiFi.Radio.1.Channel
	portMapping []string // the tables that Device.NAT.PortMapping. is made of
	host        string   // Device.Hosts.Host.
	software    string   // Device.DeviceInfo.SoftwareVersion
}

func gateways() []gateway {
	const igd = "InternetGatewayDevice."
	return []gateway{
		{
			name: "TR-098", model: cpesim.TR098,
			ssid:    igd + "LANDevice.1.WLANConfiguration.1.SSID",
			channel: igd + "LANDevice.1.WLANConfiguration.1.Channel",
			portMapping: []string{
				igd + "WANDevice.1.WANConnectionDevice.1.WANIPConnection.1.PortMapping.",
				igd + "WANDevice.1.WANConnectionDevice.1.WANPPPConnection.1.PortMapping.",
			},
			host:     igd + "LANDevice.1.Hosts.Host.",
			software: igd + "DeviceInfo.SoftwareVersion",
		},
		{
			name: "TR-181", model: cpesim.TR181,
			ssid:        "Device.WiFi.SSID.1.SSID",
			channel:     "Device.WiFi.Radio.1.Channel",
			portMapping: []string{"Device.NAT.PortMapping."},
			host:        "Device.Hosts.Host.",
			software:    "Device.DeviceInfo.SoftwareVersion",
		},
	}
}

// eachGateway plays a scenario with each kind of CPE.
func eachGateway(t *testing.T, play func(t *testing.T, g gateway)) {
	t.Helper()
	for _, g := range gateways() {
		t.Run(g.name, func(t *testing.T) { play(t, g) })
	}
}

// portMappings is the table that scenarios add rows to.
const portMappings = "Device.NAT.PortMapping."

// addPortMapping adds a port mapping and returns its path.
func addPortMapping(controller *testenv.Controller, cpe *testenv.CPE, port string) string {
	return controller.Add(cpe.Agent, portMappings, map[string]string{
		"ExternalPort": port, "InternalPort": "80", "Protocol": "TCP", "InternalClient": "192.168.1.7",
	})
}

// portsOnCPE returns the external ports that the CPE itself has mappings of.
func portsOnCPE(cpe *testenv.CPE, g gateway) map[string]bool {
	ports := map[string]bool{}
	for _, table := range g.portMapping {
		for n := range 100 {
			if port, ok := cpe.Get(fmt.Sprintf("%s%d.ExternalPort", table, n)); ok {
				ports[port] = true
			}
		}
	}
	return ports
}

// rowOf is the path of a row.
func rowOf(table string, instance uint32) string { return fmt.Sprintf("%s%d.", table, instance) }

// rowsOnCPE returns how many port mappings the CPE itself has.
func rowsOnCPE(cpe *testenv.CPE, g gateway) (n int) {
	for _, table := range g.portMapping {
		text, _ := cpe.Get(table[:len(table)-1] + "NumberOfEntries")
		rows, _ := strconv.Atoi(text)
		n += rows
	}
	return n
}
