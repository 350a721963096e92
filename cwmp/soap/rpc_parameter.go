package soap

import (
	"github.com/uspbridge/uspbridge/cwmp"
)

// Parameters, objects and the Inform that reports them (TR-069 A.3.1, A.3.2.1
// to A.3.2.7, A.3.3.1). Messages come in the schema's order of members.

var methodRPCs = []codec{
	rpc[cwmp.GetRPCMethods](),
	rpc[cwmp.GetRPCMethodsResponse](
		texts("MethodList", "xsd:", "string", func(m *cwmp.GetRPCMethodsResponse) *[]string { return &m.Methods })),
}

var parameterValueMembers = fields[cwmp.ParameterValue]{
	token("Name", func(m *cwmp.ParameterValue) *cwmp.Path { return &m.Name }),
	value("Value", func(m *cwmp.ParameterValue) *cwmp.Value { return &m.Value }),
}

var parameterInfoMembers = fields[cwmp.ParameterInfo]{
	token("Name", func(m *cwmp.ParameterInfo) *cwmp.Path { return &m.Name }),
	boolean("Writable", func(m *cwmp.ParameterInfo) *bool { return &m.Writable }),
}

var parameterAttributesMembers = fields[cwmp.ParameterAttributes]{
	token("Name", func(m *cwmp.ParameterAttributes) *cwmp.Path { return &m.Name }),
	number("Notification", func(m *cwmp.ParameterAttributes) *cwmp.Notification { return &m.Notification }),
	texts("AccessList", "xsd:", "string", func(m *cwmp.ParameterAttributes) *[]string { return &m.AccessList }),
}

var setAttributesMembers = fields[cwmp.SetParameterAttributesEntry]{
	token("Name", func(m *cwmp.SetParameterAttributesEntry) *cwmp.Path { return &m.Name }),
	boolean("NotificationChange", func(m *cwmp.SetParameterAttributesEntry) *bool { return &m.NotificationChange }),
	number("Notification", func(m *cwmp.SetParameterAttributesEntry) *cwmp.Notification { return &m.Notification }),
	boolean("AccessListChange", func(m *cwmp.SetParameterAttributesEntry) *bool { return &m.AccessListChange }),
	texts("AccessList", "xsd:", "string", func(m *cwmp.SetParameterAttributesEntry) *[]string { return &m.AccessList }),
}

// An entry without a name says nothing about anything (tolerance noName).
func valueNamed(v *cwmp.ParameterValue) bool           { return v.Name != "" }
func infoNamed(i *cwmp.ParameterInfo) bool             { return i.Name != "" }
func attributesNamed(a *cwmp.ParameterAttributes) bool { return a.Name != "" }

var parameterRPCs = []codec{
	rpc[cwmp.GetParameterNames](
		token("ParameterPath", func(m *cwmp.GetParameterNames) *cwmp.Path { return &m.Path }),
		boolean("NextLevel", func(m *cwmp.GetParameterNames) *bool { return &m.NextLevel })),
	rpc[cwmp.GetParameterNamesResponse](
		array("ParameterList", "ParameterInfoStruct", parameterInfoMembers,
			func(m *cwmp.GetParameterNamesResponse) *[]cwmp.ParameterInfo { return &m.Parameters }, infoNamed)),
	rpc[cwmp.GetParameterValues](
		texts("ParameterNames", "xsd:", "string", func(m *cwmp.GetParameterValues) *[]cwmp.Path { return &m.Names })),
	rpc[cwmp.GetParameterValuesResponse](
		array("ParameterList", "ParameterValueStruct", parameterValueMembers,
			func(m *cwmp.GetParameterValuesResponse) *[]cwmp.ParameterValue { return &m.Values }, valueNamed)),
	rpc[cwmp.SetParameterValues](
		array("ParameterList", "ParameterValueStruct", parameterValueMembers,
			func(m *cwmp.SetParameterValues) *[]cwmp.ParameterValue { return &m.Values }, nil),
		text("ParameterKey", func(m *cwmp.SetParameterValues) *string { return &m.ParameterKey })),
	rpc[cwmp.SetParameterValuesResponse](
		number("Status", func(m *cwmp.SetParameterValuesResponse) *int { return &m.Status })),
	rpc[cwmp.GetParameterAttributes](
		texts("ParameterNames", "xsd:", "string", func(m *cwmp.GetParameterAttributes) *[]cwmp.Path { return &m.Names })),
	rpc[cwmp.GetParameterAttributesResponse](
		array("ParameterList", "ParameterAttributeStruct", parameterAttributesMembers,
			func(m *cwmp.GetParameterAttributesResponse) *[]cwmp.ParameterAttributes { return &m.Attributes }, attributesNamed)),
	rpc[cwmp.SetParameterAttributes](
		array("ParameterList", "SetParameterAttributesStruct", setAttributesMembers,
			func(m *cwmp.SetParameterAttributes) *[]cwmp.SetParameterAttributesEntry { return &m.Entries }, nil)),
	rpc[cwmp.SetParameterAttributesResponse](),
}

// An AddObjectResponse with Status 9005 and instance 0 is how some CPE refuse:
// it is read as written, and the caller looks at the instance number.
var objectRPCs = []codec{
	rpc[cwmp.AddObject](
		token("ObjectName", func(m *cwmp.AddObject) *cwmp.Path { return &m.Object }),
		text("ParameterKey", func(m *cwmp.AddObject) *string { return &m.ParameterKey })),
	rpc[cwmp.AddObjectResponse](
		number("InstanceNumber", func(m *cwmp.AddObjectResponse) *uint32 { return &m.InstanceNumber }),
		number("Status", func(m *cwmp.AddObjectResponse) *int { return &m.Status })),
	rpc[cwmp.DeleteObject](
		token("ObjectName", func(m *cwmp.DeleteObject) *cwmp.Path { return &m.Object }),
		text("ParameterKey", func(m *cwmp.DeleteObject) *string { return &m.ParameterKey })),
	rpc[cwmp.DeleteObjectResponse](
		number("Status", func(m *cwmp.DeleteObjectResponse) *int { return &m.Status })),
}

var deviceIDMembers = fields[cwmp.DeviceID]{
	token("Manufacturer", func(m *cwmp.DeviceID) *string { return &m.Manufacturer }),
	token("OUI", func(m *cwmp.DeviceID) *string { return &m.OUI }),
	token("ProductClass", func(m *cwmp.DeviceID) *string { return &m.ProductClass }),
	token("SerialNumber", func(m *cwmp.DeviceID) *string { return &m.SerialNumber }),
}

var eventMembers = fields[cwmp.Event]{
	token("EventCode", func(m *cwmp.Event) *cwmp.EventCode { return &m.Code }),
	text("CommandKey", func(m *cwmp.Event) *string { return &m.CommandKey }),
}

var informRPCs = []codec{
	rpc[cwmp.Inform](
		required(structure("DeviceId", deviceIDMembers, func(m *cwmp.Inform) *cwmp.DeviceID { return &m.DeviceID })),
		eventList(),
		informative("MaxEnvelopes", func(m *cwmp.Inform) *int { return &m.MaxEnvelopes }),
		dateTime("CurrentTime", func(m *cwmp.Inform) *string { return &m.CurrentTime }),
		informative("RetryCount", func(m *cwmp.Inform) *int { return &m.RetryCount }),
		array("ParameterList", "ParameterValueStruct", parameterValueMembers,
			func(m *cwmp.Inform) *[]cwmp.ParameterValue { return &m.ParameterList }, valueNamed)),
	rpc[cwmp.InformResponse](
		informative("MaxEnvelopes", func(m *cwmp.InformResponse) *int { return &m.MaxEnvelopes })),
	rpc[cwmp.Kicked](
		text("Command", func(m *cwmp.Kicked) *string { return &m.Command }),
		text("Referer", func(m *cwmp.Kicked) *string { return &m.Referer }),
		text("Arg", func(m *cwmp.Kicked) *string { return &m.Arg }),
		text("Next", func(m *cwmp.Kicked) *string { return &m.Next })),
	rpc[cwmp.KickedResponse](
		text("NextURL", func(m *cwmp.KickedResponse) *string { return &m.NextURL })),
}

func eventList() field[cwmp.Inform] {
	f := array("Event", "EventStruct", eventMembers, func(m *cwmp.Inform) *[]cwmp.Event { return &m.Events }, nil)
	f.read = readEvents
	return f
}
