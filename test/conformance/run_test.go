package conformance

import (
	"bytes"
	"context"
	"io"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/coap"
)

// gateways are the kinds of CPE that cases are played with.
var gateways = sync.OnceValue(func() []gateway {
	return []gateway{{"TR-098", extended("tr098", "InternetGatewayDevice.")}, {"TR-181", extended("tr181", "Device.")}}
})

// gateway is a kind of CPE.
type gateway struct {
	name  string
	model *cpesim.Model
}

// root returns the root of its data model.
func (g gateway) root() string {
	if g.name == "TR-098" {
		return "InternetGatewayDevice."
	}
	return "Device."
}

// traceRoute returns its object for TraceRoute().
func (g gateway) traceRoute() string {
	if g.name == "TR-098" {
		return g.root() + "TraceRouteDiagnostics."
	}
	return g.root() + "IP.Diagnostics.TraceRoute."
}

// extended is a built-in model with what cases need besides: a secret that the CPE
// itself does not hide.
func extended(name, root string) *cpesim.Model {
	text, err := os.ReadFile("../../cwmp/cpesim/models/" + name + ".csv")
	if err == nil {
		var m *cpesim.Model
		secret := root + strings.TrimPrefix(securedParameter, "Device.")
		if m, err = cpesim.LoadCSV(io.MultiReader(bytes.NewReader(text), strings.NewReader(secret+",false,true,"+securedValue+",xsd:string,\n"))); err == nil {
			return m
		}
	}
	panic(err) // a file of the project
}

// transports are those that cases are played over.
func transports() []mtp.Protocol { return []mtp.Protocol{mtp.WebSocket, mtp.MQTT, mtp.STOMP, mtp.CoAP} }

// TestTP469 plays the plan over each transport, one after the other, with both kinds
// of CPE at once, and holds the results against the page.
func TestTP469(t *testing.T) {
	all := newResults()
	for _, over := range transports() {
		t.Run(string(over), func(t *testing.T) {
			broker := startBroker(t, over)
			for _, g := range gateways() {
				t.Run(g.name, func(t *testing.T) {
					t.Parallel()
					f := newField(t, &field{gateway: g, over: over, broker: broker}, nil)
					for _, timed := range []bool{false, true} {
						t.Run(map[bool]string{false: "cases", true: "timed"}[timed], func(t *testing.T) { f.playAll(t, all, timed) })
					}
				})
			}
		})
	}
	all.compare(t)
}

// playAll plays all cases side by side that measure time, or that do not.
func (f *field) playAll(t *testing.T, all *outcomes, timed bool) {
	for _, s := range plan() {
		for _, c := range s.cases {
			if s := f.apart(c); s != "" {
				all.set(f, c, s)
				continue
			}
			if c.timed != timed {
				continue
			}
			t.Run(c.number+" "+c.title, func(t *testing.T) {
				t.Parallel()
				all.set(f, c, failed)
				tr := f.start(t)
				c.play(tr)
				for _, l := range []*line{f.primary.to(tr.agent), f.secondary.to(tr.agent)} {
					if err := l.flawed(); err != nil {
						t.Errorf("from the agent to %s: %v", l.controller.id, err)
					}
				}
				if !t.Failed() {
					all.set(f, c, passed)
				}
			})
		}
	}
}

// apart returns the status of a case that is not played here.
func (f *field) apart(c testCase) status {
	switch {
	case c.over != "" && c.over != f.over, c.over == "" && f.over == mtp.CoAP: // obsolete: its own cases will do
		return elsewhere
	case c.play == nil:
		return c.status
	}
	return ""
}

// startBroker starts the broker of a transport; WebSocket has none.
func startBroker(t *testing.T, over mtp.Protocol) string {
	switch over {
	case mtp.MQTT:
		return testenv.Mosquitto(t)
	case mtp.STOMP:
		return testenv.RabbitMQ(t)
	}
	return ""
}

// newField brings up the bridge of a field, with configuration keys over those that
// it needs, and the controllers.
func newField(t *testing.T, f *field, keys map[string]any) *field {
	t.Helper()
	f.certificate = newCertificate(t)
	f.udp.t = t
	config := testenv.Config{Keys: bulkKeys(f.certificate)}
	for _, id := range []usp.EndpointID{primaryID, secondaryID} {
		row := testenv.ControllerRow{EndpointID: id, MTP: f.route(id)}
		if id == primaryID {
			row.Session = f.session
		}
		config.Controllers = append(config.Controllers, row)
	}
	switch f.over {
	case mtp.MQTT:
		maps.Copy(config.Keys, map[string]any{"usp.mtp.mqtt.broker": "tcp://" + f.broker, "usp.mtp.mqtt.topic": f.address("agent", "{endpoint_id}")})
	case mtp.STOMP:
		maps.Copy(config.Keys, map[string]any{
			"usp.mtp.stomp.broker": "tcp://" + f.broker, "usp.mtp.stomp.destination": f.address("agent", "{endpoint_id}"),
			"usp.mtp.stomp.login": "guest", "usp.mtp.stomp.passcode": "guest",
		})
	}
	config.Keys["usp.mtp.websocket.client.tls.ca"] = f.certificate.certFile
	if f.over == mtp.CoAP {
		config.Keys["usp.mtp.coap.listen"] = f.udpAddress(coapBridge)
	}
	maps.Copy(config.Keys, keys)
	f.env = testenv.Start(t, program, config)
	f.primary = newController(t, primaryID, f.link(t, primaryID))
	f.secondary = newController(t, secondaryID, f.link(t, secondaryID))
	return f
}

// address is a topic or destination, different in each field: several use one
// broker.
func (f *field) address(kind, id string) string {
	name := strings.ReplaceAll(string(id), "::", "-")
	realm := f.gateway.name + f.realm
	if f.over == mtp.STOMP {
		return "/queue/" + realm + "." + kind + "." + name
	}
	return realm + "/" + kind + "/" + name
}

// agentAddress is where an agent listens.
func (f *field) agentAddress(id usp.EndpointID) string {
	return strings.ReplaceAll(f.address("agent", "{endpoint_id}"), "{endpoint_id}", string(id))
}

// route is how the configuration has a controller be reached.
func (f *field) route(id usp.EndpointID) map[string]string {
	switch f.over {
	case mtp.MQTT:
		return map[string]string{"protocol": "MQTT", "topic": f.address("controller", string(id))}
	case mtp.STOMP:
		return map[string]string{"protocol": "STOMP", "destination": f.address("controller", string(id))}
	case mtp.CoAP:
		return map[string]string{"protocol": "CoAP", "url": "coap://" + f.udpAddress(id) + "/usp"}
	}
	return nil
}

// link connects a controller.
func (f *field) link(t *testing.T, id usp.EndpointID) client.Link {
	t.Helper()
	agents := f.inbox
	if agents == "" {
		agents = f.address("agent", "{endpoint_id}")
	}
	switch f.over {
	case mtp.MQTT:
		return testenv.MQTTLink(t, f.broker, f.address("controller", string(id)), agents)
	case mtp.STOMP:
		return testenv.STOMPLink(t, f.broker, f.address("controller", string(id)), agents)
	case mtp.CoAP:
		return coapLink(t, id, coap.Config{Listen: f.udpAddress(id)}, "coap://"+f.udpAddress(coapBridge)+"/usp")
	}
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	l, err := client.DialLink(ctx, client.Config{URL: f.env.WebSocketURL(), Controller: id})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// outcomes collects what has come of each case in each field.
type outcomes struct {
	mu sync.Mutex
	of map[outcome]status
}

type outcome struct {
	number, gateway string
	over            mtp.Protocol
}

func newResults() *outcomes { return &outcomes{of: map[outcome]status{}} }

func (o *outcomes) set(f *field, c testCase, s status) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.of[outcome{c.number, f.gateway.name, f.over}] = s
}
