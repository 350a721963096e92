package agent

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// The paths of the agent's own tables that code refers to.
const (
	agentObject       = "Device.LocalAgent."
	mtpTable          = "Device.LocalAgent.MTP.{i}."
	controllerTable   = "Device.LocalAgent.Controller.{i}."
	controllerMTP     = "Device.LocalAgent.Controller.{i}.MTP.{i}."
	bootParameter     = "Device.LocalAgent.Controller.{i}.BootParameter.{i}."
	subscriptionTable = "Device.LocalAgent.Subscription.{i}."
	requestTable      = "Device.LocalAgent.Request.{i}."
	trustObject       = "Device.LocalAgent.ControllerTrust."
	roleTable         = "Device.LocalAgent.ControllerTrust.Role.{i}."
	permissionTable   = "Device.LocalAgent.ControllerTrust.Role.{i}.Permission.{i}."
	credentialTable   = "Device.LocalAgent.ControllerTrust.Credential.{i}."
	challengeTable    = "Device.LocalAgent.ControllerTrust.Challenge.{i}."
	socketTable       = "Device.UnixDomainSockets.UnixDomainSocket.{i}."
	certificateTable  = "Device.LocalAgent.Certificate.{i}."
	periodicEvent     = "Device.LocalAgent.Periodic!"
	transferEvent     = "Device.LocalAgent.TransferComplete!"
)

// declarations lists the agent's own objects; parents come before children.
func declarations(b brokers) []objectDecl {
	var all []objectDecl
	for _, part := range [][]objectDecl{agentObjects(), mtpBrokerObjects(b), controllerObjects(), controllerMTPObjects(b), sessionObjects(), subscriptionObjects(), requestObjects(), trustObjects(), challengeObjects(), certificateObjects(),
		bulkObjects(), bulkTransportObjects(), mqttObjects(b.mqtt), stompObjects(b.stomp), socketObjects()} {
		all = append(all, part...)
	}
	return all
}

// alias is the Alias parameter that every table has (TR-181 data type
// _AliasUSP).
func alias() paramDecl {
	return paramDecl{name: "Alias", access: dm.WriteOnce, typ: dm.TypeString, check: aliasValue}
}

// aliasValue checks an Alias that a controller gives: it is not empty and starts
// with a letter.
func aliasValue(v string) error {
	if err := size(1, 64)(v); err != nil {
		return err
	}
	if c := v[0] | 0x20; c < 'a' || c > 'z' {
		return fmt.Errorf("%q: an alias starts with a letter", shorten(v))
	}
	return nil
}

func boolean(name, def string) paramDecl {
	return paramDecl{name: name, access: dm.ReadWrite, typ: dm.TypeBoolean, def: def}
}

func unsigned(name, def string, least, most int64) paramDecl {
	return paramDecl{name: name, access: dm.ReadWrite, typ: dm.TypeUnsignedInt, def: def, check: span(least, most)}
}

func text(name, def string, check func(string) error) paramDecl {
	return paramDecl{name: name, access: dm.ReadWrite, typ: dm.TypeString, def: def, check: check}
}

// entries is the NumberOfEntries parameter of a table.
func entries(name, table string) paramDecl {
	return paramDecl{name: name + "NumberOfEntries", typ: dm.TypeUnsignedInt, get: func(v *view, inst dm.Instance) string {
		c := v.host.spec.classAt(table)
		return strconv.Itoa(len(v.index().tables[rowKey{c, inst}]))
	}}
}

// computed is a read-only parameter that is not stored.
func computed(name string, typ dm.Type, get func(v *view, inst dm.Instance) string) paramDecl {
	return paramDecl{name: name, typ: typ, get: get}
}

func agentObjects() []objectDecl {
	return []objectDecl{
		{path: "Device.", commands: []commandDecl{
			{name: "ScheduleTimer()", async: true, in: []string{"DelaySeconds"}, required: []string{"DelaySeconds"}, wait: timerDelay},
		}},
		{path: agentObject, params: []paramDecl{
			computed("EndpointID", dm.TypeString, func(v *view, _ dm.Instance) string { return string(v.id) }),
			computed("SoftwareVersion", dm.TypeString, func(v *view, _ dm.Instance) string { return v.identity.SoftwareVersion }),
			computed("UpTime", dm.TypeUnsignedInt, func(v *view, _ dm.Instance) string {
				return strconv.FormatInt(int64(v.now.Sub(v.host.started).Seconds()), 10)
			}),
			computed("SupportedProtocols", dm.TypeString, func(v *view, _ dm.Instance) string {
				return strings.Join(v.host.protocols, ",")
			}),
			computed("SupportedNumberOfSubscriptions", dm.TypeInt, func(v *view, _ dm.Instance) string {
				return strconv.Itoa(v.host.cfg.Limits.Rows)
			}),
			entries("MTP", mtpTable),
			entries("Controller", controllerTable),
			entries("Subscription", subscriptionTable),
			entries("Request", requestTable),
			entries("Certificate", certificateTable),
			computed("SupportedFingerprintAlgorithms", dm.TypeString, func(*view, dm.Instance) string { return strings.Join(fingerprintNames(), ",") }),
		}, commands: []commandDecl{
			{name: "AddCertificate()", in: []string{"Alias", "Certificate"}, required: []string{"Certificate"}, run: addCertificate},
		}, events: []eventDecl{{name: "Periodic!"}, {name: "WakeUp!"}, {name: "TransferComplete!", args: []string{
			"Command", "CommandKey", "Requestor", "TransferType", "Affected", "TransferURL",
			"StartTime", "CompleteTime", "FaultCode", "FaultString", "CheckSumAlgorithm", "CheckSum",
		}}}},
		mtpObject(),
	}
}

// mtpObject shows the bridge's transports.
func mtpObject() objectDecl {
	return objectDecl{
		path: mtpTable, kind: store.AgentState, fixed: [][]string{{"Alias"}},
		params: []paramDecl{
			alias(),
			{name: "Enable", typ: dm.TypeBoolean, def: "true"},
			computed("Status", dm.TypeString, func(v *view, inst dm.Instance) string {
				switch c, ok := v.host.connectionOf(inst.At(0), v.id); {
				case v.host.settingsOf(v.state, v.id, inst.At(0)).Disabled:
					return "Down"
				case v.host.misconfigured(v.state, v.id, inst.At(0)) != nil:
					return "Error"
				case ok && c.Up:
					return "Up"
				case ok && c.LastError != "":
					return "Error"
				}
				return "Down"
			}),
			{name: "Protocol", typ: dm.TypeString},
		},
		check: mtpCheck,
	}
}
