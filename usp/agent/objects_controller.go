package agent

import (
	"fmt"
	"math"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record/e2e"
)

func controllerObjects() []objectDecl {
	return []objectDecl{
		{
			path: controllerTable, access: dm.AddDelete, kind: store.Controller,
			unique: [][]string{{"EndpointID"}}, fixed: [][]string{{"Alias"}},
			params: []paramDecl{
				alias(),
				text("EndpointID", "", size(0, usp.MaxEndpointID)),
				text("ControllerCode", "", size(0, 128)), text("ProvisioningCode", "", size(0, 64)),
				boolean("Enable", "false"),
				{name: "AssignedRole", access: dm.ReadWrite, typ: dm.TypeString, list: true, refs: roleTable},
				computed("InheritedRole", dm.TypeString, func(v *view, inst dm.Instance) string {
					return strings.Join(v.state.inheritedRoles(v.host.spec, rowKey{v.host.classes.controller, inst}), ",")
				}),
				{name: validatedBy, typ: dm.TypeString, list: true, hidden: true, refs: credentialTable},
				{name: admittedParam, typ: dm.TypeBoolean, def: "false", hidden: true},
				{name: "Credential", access: dm.ReadWrite, typ: dm.TypeString, list: true, refs: certificateTable},
				unsigned("PeriodicNotifInterval", "86400", 1, math.MaxUint32),
				{name: "PeriodicNotifTime", access: dm.ReadWrite, typ: dm.TypeDateTime, def: unknownTime},
				unsigned("USPNotifRetryMinimumWaitInterval", "5", 1, 65535),
				unsigned("USPNotifRetryIntervalMultiplier", "2000", 1000, 65535),
				boolean("OnBoardingComplete", "false"),
				unsigned("OnBoardingRestartTime", "0", 0, math.MaxUint32),
				entries("MTP", controllerMTP), entries("BootParameter", bootParameter),
			},
			commands: controllerCommands(),
			added:    controllerAdded,
			check:    controllerCheck,
		},
		{path: controllerTable + "TransferCompletePolicy.", params: []paramDecl{
			text("ResultTypeFilter", "Both", oneOf("Success", "Failure", "Both")),
		}},
		{
			path: bootParameter, access: dm.AddDelete, kind: store.Controller,
			unique: [][]string{{"ParameterName"}}, fixed: [][]string{{"Alias"}},
			params: []paramDecl{
				alias(),
				boolean("Enable", "false"),
				text("ParameterName", "", size(0, 256)),
			},
			added: bootParameterAdded,
		},
	}
}

// controllerBrokerObjects are how a controller is reached over a broker. It is
// always the broker of the transport that there is.
func controllerBrokerObjects(b brokers) []objectDecl {
	refers := func(name, table string) paramDecl {
		return paramDecl{name: name, access: dm.ReadWrite, typ: dm.TypeString, refs: table}
	}
	mqtt, stomp := []paramDecl{text("Topic", "", topicName)}, []paramDecl{text("Destination", "", noNUL)}
	if b.mqtt.there {
		mqtt = append(mqtt, refers("Reference", mqttClient), refers("AgentMTPReference", mtpTable),
			paramDecl{name: "PublishRetainResponse", typ: dm.TypeBoolean, def: "false"}, paramDecl{name: "PublishRetainNotify", typ: dm.TypeBoolean, def: "false"})
	}
	if b.stomp.there {
		stomp = append(stomp, refers("Reference", stompConnection))
	}
	return []objectDecl{{path: controllerMTP + "MQTT.", params: mqtt}, {path: controllerMTP + "STOMP.", params: stomp}}
}

// refersToBroker adds to the values of a controller's MTP row the references to
// the connection by which the controller is reached, where they are missing.
func (s *localSpec) refersToBroker(st *state, values map[string]string) {
	refer := func(rel, table string) {
		c := s.classAt(table)
		for k := range st.rows {
			if k.class == c && values[rel] == "" && s.classAt(controllerMTP).byName[rel] != nil {
				values[rel] = reference(c, k.inst.At(0))
			}
		}
	}
	switch values["Protocol"] {
	case string(mtp.MQTT):
		refer("MQTT.Reference", mqttClient)
		if ref := values["MQTT.Reference"]; ref != "" && values["MQTT.AgentMTPReference"] == "" {
			n, _ := referred(s.classAt(mqttClient), ref)
			values["MQTT.AgentMTPReference"] = reference(s.classAt(mtpTable), n)
		}
	case string(mtp.STOMP):
		refer("STOMP.Reference", stompConnection)
	}
}

// controllerMTPObjects say how a controller is reached. Where a WebSocket or CoAP
// row has no Host, and a UDS row no socket to connect to, the controller comes to
// us.
func controllerMTPObjects(b brokers) []objectDecl {
	return append([]objectDecl{
		{
			path: controllerMTP, access: dm.AddDelete, kind: store.Controller,
			unique: [][]string{{"Protocol"}}, fixed: [][]string{{"Alias"}},
			params: []paramDecl{
				alias(),
				boolean("Enable", "false"),
				text("Protocol", "", oneOf("", "WebSocket", "MQTT", "STOMP", "UDS", "CoAP")),
				unsigned("Order", "1", 1, math.MaxUint32),
			},
			added: controllerMTPAdded,
		},
		{path: controllerMTP + "WebSocket.", params: []paramDecl{
			text("Host", "", hostName),
			unsigned("Port", "443", 1, 65535),
			text("Path", "", nil),
			boolean("EnableEncryption", "true"),
			unsigned("KeepAliveInterval", "30", 1, math.MaxUint32),
			unsigned("SessionRetryMinimumWaitInterval", "5", 1, 65535),
			unsigned("SessionRetryIntervalMultiplier", "2000", 1000, 65535),
			computed("CurrentRetryCount", dm.TypeUnsignedInt, func(v *view, inst dm.Instance) string {
				return strconv.Itoa(currentRetries(v, inst))
			}),
		}},
		{path: controllerMTP + "UDS.", params: []paramDecl{
			{name: "UnixDomainSocketRef", access: dm.ReadWrite, typ: dm.TypeString, refs: socketTable},
		}},
		{path: controllerMTP + "CoAP.", params: []paramDecl{
			text("Host", "", hostName),
			unsigned("Port", "5683", 1, 65535),
			text("Path", "", nil),
			boolean("EnableEncryption", "true"),
		}},
	}, controllerBrokerObjects(b)...)
}

// hostName checks the host of a controller: a name or an address, without brackets.
func hostName(v string) error {
	if err := size(0, 256)(v); err != nil || v == "" {
		return err
	}
	u := url.URL{Scheme: "ws", Host: net.JoinHostPort(v, "443")}
	if back, err := url.Parse(u.String()); err != nil || back.Hostname() != v {
		return fmt.Errorf("%q is not the name or address of a host", shorten(v))
	}
	return nil
}

func controllerCommands() []commandDecl {
	return []commandDecl{
		{name: "SendOnBoardRequest()", run: sendOnBoardRequest},
		{name: "AddMyCertificate()", in: []string{"Alias", "Certificate"}, required: []string{"Certificate"}, run: addMyCertificate},
	}
}

// controllerAdded gives a controller that came without an endpoint id one that
// is unique (TR-369 R-ADD.5); it reaches nobody until it is set. Without
// AssignedRole a new controller has the untrusted role (TR-369 "Special Roles").
func controllerAdded(c *rowChange) error {
	if c.get("EndpointID") == "" {
		c.set("EndpointID", "self::unset-"+strconv.FormatUint(uint64(c.key.inst.Last()), 10))
	}
	if c.get("AssignedRole") == "" {
		c.set("AssignedRole", c.tx.next.untrusted(c.tx.host.spec))
	}
	if c.tx.host.cfg.Identity == nil {
		c.set(e2eObject+"PayloadSecurity", payloadPlain) // the default, TLS, could never be
	}
	return nil
}

func controllerCheck(c *rowChange) error {
	id := usp.EndpointID(c.get("EndpointID"))
	if c.old == nil || c.given[c.key.class.byName["EndpointID"]] {
		if err := id.Validate(); err != nil {
			return invalid("EndpointID", usp.ErrInvalidValue, err.Error())
		}
		if id == c.tx.host.cfg.BuiltinController {
			return invalid("EndpointID", usp.ErrInvalidValue, "the built-in controller has no row")
		}
	}
	if err := checkE2E(c); err != nil {
		return err
	}
	return bannedAlone(c, "AssignedRole")
}

// invalid is the failure of a row because of the value of one parameter.
func invalid(rel string, code usp.ErrorCode, msg string) *usp.Error {
	return &usp.Error{
		Code: usp.ErrRequiredParameterFailed, Msg: "parameter " + rel + ": " + msg,
		Params: []usp.ParamError{{Param: rel, Code: code, Msg: msg}},
	}
}

func controllerMTPAdded(c *rowChange) error {
	taken := map[string]bool{}
	for k, r := range c.tx.next.rows {
		if k.class == c.key.class && k.inst.At(0) == c.key.inst.At(0) {
			taken[r.values[c.key.class.byName["Protocol"].index]] = true
		}
	}
	for _, p := range []string{"WebSocket", "MQTT", "STOMP", "UDS", "CoAP"} {
		if c.get("Protocol") == "" && !taken[p] {
			c.set("Protocol", p)
		}
	}
	values := map[string]string{}
	for _, p := range c.key.class.params {
		values[p.rel] = c.row.values[p.index]
	}
	c.tx.host.spec.refersToBroker(c.tx.next, values)
	for rel, v := range values {
		c.set(rel, v)
	}
	return nil
}

func bootParameterAdded(c *rowChange) error {
	if c.get("ParameterName") == "" {
		// The key must be unique; a name that no parameter has reports nothing.
		c.set("ParameterName", "Unset"+strconv.FormatUint(uint64(c.key.inst.Last()), 10))
	}
	return nil
}

// controllerPath is a reference to a row of the Controller table, without the
// final dot as reference parameters have it.
func controllerPath(instance uint32) string {
	return "Device.LocalAgent.Controller." + strconv.FormatUint(uint64(instance), 10)
}

// controller is a row of the Controller table, compiled.
type controller struct {
	instance uint32 // 0 for the built-in controller
	endpoint usp.EndpointID
	enabled  bool
	roles    *roleSet
	proves   bool                // it is believed with its certificate only
	mtps     []controllerAddress // enabled ones, by Order

	minimumWait time.Duration
	multiplier  float64
	interval    time.Duration
	phase       time.Time // PeriodicNotifTime; zero if it is unknown
	onboarding  time.Duration
	boot        []string // ParameterName of the enabled boot parameters
	transfers   string   // TransferCompletePolicy.ResultTypeFilter
	sessions    e2e.Policy
}

func (d *derived) compileControllers(spec *localSpec, s *state) {
	d.controllers, d.byInstance = map[usp.EndpointID]*controller{}, map[uint32]*controller{}
	class := spec.classAt(controllerTable)
	for k := range s.rows {
		if k.class != class {
			continue
		}
		n := func(rel string) int64 { return number(s.named(k, rel)) }
		c := &controller{
			instance: k.inst.At(0), endpoint: usp.EndpointID(s.named(k, "EndpointID")),
			enabled:     s.named(k, "Enable") == "true",
			minimumWait: time.Duration(n("USPNotifRetryMinimumWaitInterval")) * time.Second,
			multiplier:  float64(n("USPNotifRetryIntervalMultiplier")) / 1000,
			interval:    time.Duration(n("PeriodicNotifInterval")) * time.Second,
			onboarding:  time.Duration(n("OnBoardingRestartTime")) * time.Second,
			transfers:   s.named(k, "TransferCompletePolicy.ResultTypeFilter"),
			sessions:    sessionPolicy(s, k),
		}
		if t, err := time.Parse(time.RFC3339, s.named(k, "PeriodicNotifTime")); err == nil && t.Year() > 1 {
			c.phase = t
		}
		roles := append(s.assignedRoles(k), s.inheritedRoles(spec, k)...)
		c.roles = d.roleSetOf(spec, s, roles)
		c.proves = s.named(k, validatedBy) != "" || s.named(k, admittedParam) == "true" || s.named(k, "Credential") != ""
		if s.bans(spec, roles) {
			c.enabled = false // nothing comes from a banned controller, and nothing goes to it
		}
		c.mtps = compileMTPs(spec, s, d.tables, k.inst)
		boot := spec.classAt(bootParameter)
		for _, b := range d.tables[rowKey{boot, k.inst}] {
			bk := rowKey{boot, k.inst.Append(b)}
			if s.named(bk, "Enable") == "true" {
				c.boot = append(c.boot, s.named(bk, "ParameterName"))
			}
		}
		d.controllers[c.endpoint], d.byInstance[c.instance] = c, c
	}
}
