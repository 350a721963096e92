package soap_test

import (
	"strings"
	"testing"

	"github.com/beevik/etree"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

// TestAppend has what is written inside the envelope's element, byte for byte.
func TestAppend(t *testing.T) {
	tests := []struct {
		name string
		e    soap.Envelope
		want string
	}{
		{"no header if there is nothing in it", soap.Envelope{}, `<soapenv:Body></soapenv:Body>`},
		{"an empty ID is one", soap.Envelope{HasID: true},
			`<soapenv:Header><cwmp:ID soapenv:mustUnderstand="1"></cwmp:ID></soapenv:Header><soapenv:Body></soapenv:Body>`},
		{"all headers, CWMP 1.2 on", soap.Envelope{ID: `<1>`, Version: cwmp.Version1_2, HoldRequests: true, NoMoreRequests: true, SessionTimeout: 30,
			SupportedVersions: "1.0,1.2", UseVersion: "1.2"},
			`<soapenv:Header><cwmp:ID soapenv:mustUnderstand="1">&lt;1&gt;</cwmp:ID><cwmp:HoldRequests soapenv:mustUnderstand="1">1</cwmp:HoldRequests>` +
				`<cwmp:SessionTimeout soapenv:mustUnderstand="0">30</cwmp:SessionTimeout>` +
				`<cwmp:SupportedCWMPVersions soapenv:mustUnderstand="0">1.0,1.2</cwmp:SupportedCWMPVersions>` +
				`<cwmp:UseCWMPVersion soapenv:mustUnderstand="1">1.2</cwmp:UseCWMPVersion></soapenv:Header><soapenv:Body></soapenv:Body>`},
		{"newer headers are not for CWMP 1.0", soap.Envelope{Version: cwmp.Version1_0, NoMoreRequests: true, SessionTimeout: 30, SupportedVersions: "1.0", UseVersion: "1.0"},
			`<soapenv:Header><cwmp:NoMoreRequests soapenv:mustUnderstand="0">1</cwmp:NoMoreRequests></soapenv:Header><soapenv:Body></soapenv:Body>`},
		{"an answer is in the namespace of its request, also if that does not have it", soap.Envelope{Version: cwmp.Version1_0, Body: &cwmp.AutonomousTransferCompleteResponse{}},
			`<soapenv:Body><cwmp:AutonomousTransferCompleteResponse></cwmp:AutonomousTransferCompleteResponse></soapenv:Body>`},
		{"text of a DU operation's kind is never markup", soap.Envelope{Version: cwmp.Version1_2, Body: &cwmp.ChangeDUState{Operations: []cwmp.DUOperation{{Kind: `X"><Y>`, UUID: "i"}}}},
			`<soapenv:Body><cwmp:ChangeDUState><Operations xsi:type="cwmp:UninstallOpStruct"><UUID>i</UUID></Operations><CommandKey></CommandKey></cwmp:ChangeDUState></soapenv:Body>`},
		{"values with their types", soap.Envelope{Body: &cwmp.SetParameterValues{ParameterKey: "k", Values: []cwmp.ParameterValue{
			{Name: "Device.A", Value: cwmp.Value{Type: cwmp.TypeBoolean, Text: "1"}},
			{Name: "Device.B", Value: cwmp.Value{Type: cwmp.TypeBase64, Text: "QQ=="}},
			{Name: "Device.C", Value: cwmp.Value{Text: "a&b"}}}}},
			`<soapenv:Body><cwmp:SetParameterValues><ParameterList soapenc:arrayType="cwmp:ParameterValueStruct[3]">` +
				`<ParameterValueStruct><Name>Device.A</Name><Value xsi:type="xsd:boolean">1</Value></ParameterValueStruct>` +
				`<ParameterValueStruct><Name>Device.B</Name><Value xsi:type="soapenc:base64">QQ==</Value></ParameterValueStruct>` +
				`<ParameterValueStruct><Name>Device.C</Name><Value xsi:type="xsd:string">a&amp;b</Value></ParameterValueStruct>` +
				`</ParameterList><ParameterKey>k</ParameterKey></cwmp:SetParameterValues></soapenv:Body>`},
		{"an RPC without arguments has an end tag", soap.Envelope{Body: &cwmp.FactoryReset{}},
			`<soapenv:Body><cwmp:FactoryReset></cwmp:FactoryReset></soapenv:Body>`},
		{"an array of strings", soap.Envelope{Body: &cwmp.GetParameterValues{Names: []cwmp.Path{"Device.A", "Device.B."}}},
			`<soapenv:Body><cwmp:GetParameterValues><ParameterNames soapenc:arrayType="xsd:string[2]"><string>Device.A</string><string>Device.B.</string>` +
				`</ParameterNames></cwmp:GetParameterValues></soapenv:Body>`},
		{"an ACS's fault", soap.Envelope{Body: cwmp.NewFault(8005)},
			`<soapenv:Body><soapenv:Fault><faultcode>Server</faultcode><faultstring>CWMP fault</faultstring><detail><cwmp:Fault><FaultCode>8005</FaultCode>` +
				`<FaultString>Retry request</FaultString></cwmp:Fault></detail></soapenv:Fault></soapenv:Body>`},
		{"a CPE's fault", soap.Envelope{Body: &cwmp.Fault{Code: 9003, Text: "x", Parameters: []cwmp.ParameterFault{{Name: "Device.A", Code: 9005, Text: "y"}}}},
			`<soapenv:Body><soapenv:Fault><faultcode>Client</faultcode><faultstring>CWMP fault</faultstring><detail><cwmp:Fault><FaultCode>9003</FaultCode>` +
				`<FaultString>x</FaultString><SetParameterValuesFault><ParameterName>Device.A</ParameterName><FaultCode>9005</FaultCode>` +
				`<FaultString>y</FaultString></SetParameterValuesFault></cwmp:Fault></detail></soapenv:Fault></soapenv:Body>`},
		{"success is fault 0, and a time not known is year 1", soap.Envelope{Body: &cwmp.TransferComplete{CommandKey: "k"}},
			`<soapenv:Body><cwmp:TransferComplete><CommandKey>k</CommandKey><FaultStruct><FaultCode>0</FaultCode><FaultString></FaultString></FaultStruct>` +
				`<StartTime>0001-01-01T00:00:00Z</StartTime><CompleteTime>0001-01-01T00:00:00Z</CompleteTime></cwmp:TransferComplete></soapenv:Body>`},
		{"each DU operation with its own members in its own order", soap.Envelope{Body: &cwmp.ChangeDUState{CommandKey: "k", Operations: []cwmp.DUOperation{
			{Kind: "Install", URL: "u", UUID: "i"}, {Kind: "Update", URL: "u", UUID: "i", Version: "2"}, {Kind: "Uninstall", UUID: "i", ExecutionEnvRef: "e"}}}},
			`<soapenv:Body><cwmp:ChangeDUState><Operations xsi:type="cwmp:InstallOpStruct"><URL>u</URL><UUID>i</UUID></Operations>` +
				`<Operations xsi:type="cwmp:UpdateOpStruct"><UUID>i</UUID><Version>2</Version><URL>u</URL></Operations>` +
				`<Operations xsi:type="cwmp:UninstallOpStruct"><UUID>i</UUID><ExecutionEnvRef>e</ExecutionEnvRef></Operations>` +
				`<CommandKey>k</CommandKey></cwmp:ChangeDUState></soapenv:Body>`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := string(soap.Append([]byte("before"), &tt.e))
			head := `before<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"` +
				` xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/" xmlns:xsd="http://www.w3.org/2001/XMLSchema"` +
				` xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:cwmp="` + tt.e.Version.Namespace() + `">`
			if want := head + tt.want + "</soapenv:Envelope>\n"; out != want {
				t.Errorf("wrote\n%s\nwant\n%s", out, want)
			}
		})
	}
}

// TestFaultSource: who is to blame for each code, as TR-069 A.5 has it.
func TestFaultSource(t *testing.T) {
	client := map[cwmp.FaultCode]bool{9003: true, 9005: true, 9006: true, 9007: true, 9008: true, 9020: true, 9021: true, 8003: true}
	for code := cwmp.FaultCode(8000); code < 10000; code++ {
		want := "<faultcode>Server<"
		if client[code] {
			want = "<faultcode>Client<"
		}
		if out := written(cwmp.NewFault(code)); !strings.Contains(string(out), want) {
			t.Errorf("%d is written %s", uint16(code), out)
		}
	}
}

// TestAppendText has values as they are written, and as an independent parser
// and the package itself read them back.
func TestAppendText(t *testing.T) {
	tests := []struct{ text, wire, back string }{
		{`plain`, `plain`, ``},
		{`<a href="x">&amp;]]>`, `&lt;a href="x"&gt;&amp;amp;]]&gt;`, ``},
		{` key `, ` key `, ``},
		{"a\n\tb", "a\n\tb", ``},
		{"\n a\t", "&#10; a&#9;", ``},
		{"a\r\nb", "a&#13;\nb", ``},
		{"ä€😀\x7f", "ä€😀\x7f", ``},
		{"a\x02b\x00", "a\ufffdb\ufffd", "a\ufffdb\ufffd"},
		{"caf\xe9\uffff", "caf\ufffd\ufffd", "caf\ufffd\ufffd"},
	}
	for _, tt := range tests {
		out := soap.Append(nil, &soap.Envelope{Body: valuesResponse(stringValue("Device.A", tt.text))})
		if !strings.Contains(string(out), `<Value xsi:type="xsd:string">`+tt.wire+`</Value>`) {
			t.Errorf("%q is written %s, want %q", tt.text, out, tt.wire)
		}
		if tt.back == "" {
			tt.back = tt.text
		}
		doc := etree.NewDocument()
		if err := doc.ReadFromBytes(out); err != nil {
			t.Errorf("%q: not well-formed: %v", tt.text, err)
		} else if got := doc.FindElement("//Value").Text(); got != tt.back {
			t.Errorf("%q: etree reads %q", tt.text, got)
		}
		e, err := soap.Read(out, "", soap.Limits{})
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
		} else if d := diff(valuesResponse(stringValue("Device.A", tt.back)), e.Body); d != "" {
			t.Errorf("%q: %s", tt.text, d)
		}
	}
}

type foreignMessage struct{}

func (foreignMessage) RPC() string { return "X" }

// TestAppendForeignMessage: a message of nobody is a defect of the caller.
func TestAppendForeignMessage(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic for a message that is not of package cwmp")
		}
	}()
	soap.Append(nil, &soap.Envelope{Body: foreignMessage{}})
}
