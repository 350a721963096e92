package agent

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent/bulk"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/path"
)

// The paths of Device.BulkData. that code refers to.
const (
	bulkObject       = "Device.BulkData."
	profileTable     = "Device.BulkData.Profile.{i}."
	profileParameter = "Device.BulkData.Profile.{i}.Parameter.{i}."
	profileQuery     = "Device.BulkData.Profile.{i}.HTTP.RequestURIParameter.{i}."
	pushEvent        = "Device.BulkData.Profile.{i}.Push!"
)

// The values of Profile.{i}.Protocol.
const (
	overHTTP = "HTTP"
	overMQTT = "MQTT"
	overUSP  = "USPEventNotif"
)

func bulkObjects() []objectDecl {
	return []objectDecl{
		{path: bulkObject, params: []paramDecl{
			boolean("Enable", "true"),
			computed("Status", dm.TypeString, func(v *view, _ dm.Instance) string {
				if v.state.bulkEnabled(v.host.spec) {
					return "Enabled"
				}
				return "Disabled"
			}),
			computed("MinReportingInterval", dm.TypeUnsignedInt, func(v *view, _ dm.Instance) string {
				return strconv.FormatInt(int64(v.host.cfg.Bulk.MinInterval.Seconds()), 10)
			}),
			constant("Protocols", strings.Join([]string{overHTTP, overMQTT, overUSP}, ",")),
			constant("EncodingTypes", string(bulk.CSV)+","+string(bulk.JSON)),
			{name: "ParameterWildCardSupported", typ: dm.TypeBoolean, def: "true"},
			computed("MaxNumberOfProfiles", dm.TypeInt, func(v *view, _ dm.Instance) string { return strconv.Itoa(v.host.cfg.Limits.Rows) }),
			computed("MaxNumberOfParameterReferences", dm.TypeInt, func(v *view, _ dm.Instance) string { return strconv.Itoa(v.host.cfg.Limits.Rows) }),
			entries("Profile", profileTable),
		}},
		{
			path: profileTable, access: dm.AddDelete, kind: store.AgentState, fixed: [][]string{{"Alias"}},
			params: []paramDecl{
				alias(),
				boolean("Enable", "false"),
				text("Name", "", size(0, 255)),
				{name: "NumberOfRetainedFailedReports", access: dm.ReadWrite, typ: dm.TypeInt, def: "0", check: span(-1, math.MaxInt32)},
				text("Protocol", overHTTP, oneOf(overHTTP, overMQTT, overUSP)),
				text("EncodingType", string(bulk.JSON), oneOf(string(bulk.CSV), string(bulk.JSON))),
				unsigned("ReportingInterval", "86400", 1, math.MaxUint32),
				{name: "TimeReference", access: dm.ReadWrite, typ: dm.TypeDateTime, def: unknownTime},
				{name: "Controller", typ: dm.TypeString},
				entries("Parameter", profileParameter),
			},
			commands: []commandDecl{{name: "ForceCollection()", run: forceCollection}},
			events:   []eventDecl{{name: "Push!", args: []string{"Data"}}},
			added:    profileAdded,
			check:    profileCheck,
		},
		{path: profileTable + "CSVEncoding.", params: []paramDecl{
			text("FieldSeparator", ",", separator),
			text("RowSeparator", "\r\n", separator),
			text("EscapeCharacter", `"`, separator),
			text("ReportFormat", string(bulk.ParameterPerColumn), oneOf(string(bulk.ParameterPerRow), string(bulk.ParameterPerColumn))),
			text("RowTimestamp", string(bulk.UnixEpoch), oneOf(string(bulk.UnixEpoch), string(bulk.ISO8601), string(bulk.NoStamp))),
		}},
		{path: profileTable + "JSONEncoding.", params: []paramDecl{
			text("ReportFormat", string(bulk.ObjectHierarchy), oneOf(string(bulk.ObjectHierarchy), string(bulk.NameValuePair))),
			text("ReportTimestamp", string(bulk.UnixEpoch), oneOf(string(bulk.UnixEpoch), string(bulk.ISO8601), string(bulk.NoStamp))),
		}},
		{path: profileParameter, access: dm.AddDelete, kind: store.AgentState, params: []paramDecl{
			text("Name", "", size(0, 64)), text("Reference", "", size(0, 256)), boolean("Exclude", "false"),
		}, check: referenceCheck},
	}
}

// bulkTransportObjects are how a profile's reports are carried.
func bulkTransportObjects() []objectDecl {
	return []objectDecl{
		{path: profileTable + "HTTP.", params: []paramDecl{
			text("URL", "", size(0, 2048)),
			text("Username", "", size(0, 256)),
			{name: "Password", access: dm.ReadWrite, typ: dm.TypeString, secured: true, check: size(0, 256)},
			constant("CompressionsSupported", "GZIP,Deflate"),
			text("Compression", "None", oneOf("None", "GZIP", "Deflate")),
			constant("MethodsSupported", "POST,PUT"),
			text("Method", "POST", oneOf("POST", "PUT")),
			boolean("UseDateHeader", "true"),
			boolean("RetryEnable", "false"),
			unsigned("RetryMinimumWaitInterval", "5", 1, 65535),
			unsigned("RetryIntervalMultiplier", "2000", 1000, 65535),
			boolean("PersistAcrossReboot", "false"),
			entries("RequestURIParameter", profileQuery),
		}},
		{path: profileQuery, access: dm.AddDelete, kind: store.AgentState, params: []paramDecl{
			text("Name", "", size(0, 64)), text("Reference", "", size(0, 256)),
		}, check: queryCheck},
		{path: profileTable + "MQTT.", params: []paramDecl{
			text("Reference", "", size(0, 256)),
			text("PublishTopic", "", size(0, 65535)),
			unsigned("PublishQoS", "0", 0, 2),
			boolean("PublishRetain", "false"),
		}},
	}
}

// constant is a read-only parameter that is always the same.
func constant(name, value string) paramDecl {
	return paramDecl{name: name, typ: dm.TypeString, def: value}
}

func separator(v string) error {
	_, err := bulk.Separator(v)
	return err
}

// profileAdded makes the controller that adds a profile its owner: with its
// rights reports are made. The built-in controller has no row to refer to; a
// profile without a Controller is its own.
func profileAdded(c *rowChange) error {
	if by := c.tx.by; by != nil && by.instance != 0 {
		c.set("Controller", controllerPath(by.instance))
	}
	return nil
}

// profileCheck checks what is new in a profile.
func profileCheck(c *rowChange) error {
	h := c.tx.host
	given := func(rel string) bool { return c.given[c.key.class.byName[rel]] }
	if least := int64(h.cfg.Bulk.MinInterval.Seconds()); given("ReportingInterval") && number(c.get("ReportingInterval")) < least {
		return invalid("ReportingInterval", usp.ErrInvalidValue, "the shortest interval is MinReportingInterval, "+strconv.FormatInt(least, 10)+" s")
	}
	if text := c.get("HTTP.URL"); text != "" && given("HTTP.URL") {
		if err := h.bulk.client.Check(text); errors.Is(err, bulk.ErrForbidden) {
			return invalid("HTTP.URL", usp.ErrRequestDenied, err.Error())
		} else if err != nil {
			return invalid("HTTP.URL", usp.ErrInvalidValue, "the value "+err.Error())
		}
	}
	if ref := c.get("MQTT.Reference"); ref != "" && given("MQTT.Reference") && !h.isMQTT(c.tx.next, ref) {
		return invalid("MQTT.Reference", usp.ErrInvalidValue, "is not a row of Device.MQTT.Client.; leave it empty for the agent's MQTT client")
	}
	return nil
}

// isMQTT reports whether a reference is an MQTT client, or the MTP row that has it.
func (h *Host) isMQTT(s *state, ref string) bool {
	clients := h.spec.classAt(mqttClient)
	if clients == nil {
		return false
	}
	if _, ok := s.refers(clients, ref); ok {
		return true
	}
	n, ok := s.refers(h.spec.classAt(mtpTable), ref)
	return ok && s.rows[rowKey{clients, dm.Inst(n)}] != nil
}

// referenceCheck checks the Reference of a Parameter row: a parameter, or an
// object that stands for all below it, with wildcards and searches. Where a
// reference would lead, a report's names could not tell.
func referenceCheck(c *rowChange) error {
	text := c.get("Reference")
	if text == "" {
		return nil
	}
	p, err := path.Parse(text)
	switch {
	case err != nil:
		return invalid("Reference", usp.ErrInvalidValue, err.Error())
	case p.Follows() || p.Kind == path.Command || p.Kind == path.Event:
		return invalid("Reference", usp.ErrInvalidValue, "a parameter or an object is wanted, without reference following")
	}
	return nil
}

// queryCheck checks the Reference of a RequestURIParameter row: one parameter.
func queryCheck(c *rowChange) error {
	text := c.get("Reference")
	if text == "" {
		return nil
	}
	p, err := path.Parse(text)
	if err != nil {
		return invalid("Reference", usp.ErrInvalidValue, err.Error())
	}
	if p.IsSearch() || p.Kind != path.Parameter {
		return invalid("Reference", usp.ErrInvalidValue, "the path of one parameter is wanted")
	}
	return nil
}

func (s *state) bulkEnabled(spec *localSpec) bool {
	return s.named(rowKey{class: spec.root}, bulkObject+"Enable") == "true"
}
