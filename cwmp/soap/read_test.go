package soap_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

// envelope puts a header and a body into an envelope with the usual prefixes.
func envelope(header, body string) string {
	return `<soap-env:Envelope xmlns:soap-env="http://schemas.xmlsoap.org/soap/envelope/"` +
		` xmlns:soap-enc="http://schemas.xmlsoap.org/soap/encoding/"` +
		` xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"` +
		` xmlns:cwmp="urn:dslforum-org:cwmp-1-0">` +
		`<soap-env:Header>` + header + `</soap-env:Header><soap-env:Body>` + body + `</soap-env:Body></soap-env:Envelope>`
}

const idHeader = `<cwmp:ID soap-env:mustUnderstand="1">42</cwmp:ID>`

// values wraps the inside of a ParameterList into a GetParameterValuesResponse.
func values(structs string) string {
	return envelope(idHeader, `<cwmp:GetParameterValuesResponse><ParameterList soap-enc:arrayType="cwmp:ParameterValueStruct[1]">`+
		structs+`</ParameterList></cwmp:GetParameterValuesResponse>`)
}

// oneValue is a GetParameterValuesResponse of one parameter, Device.A.
func oneValue(valueElement string) string {
	return values(`<ParameterValueStruct><Name>Device.A</Name>` + valueElement + `</ParameterValueStruct>`)
}

func valuesResponse(pairs ...cwmp.ParameterValue) *cwmp.GetParameterValuesResponse {
	return &cwmp.GetParameterValuesResponse{Values: pairs}
}

func stringValue(name, text string) cwmp.ParameterValue {
	return cwmp.ParameterValue{Name: cwmp.Path(name), Value: cwmp.Value{Type: cwmp.TypeString, Text: text}}
}

func diff(want, got any) string { return cmp.Diff(want, got, cmpopts.EquateEmpty()) }

// TestRead has conforming messages, as the standard's examples show them.
func TestRead(t *testing.T) {
	tests := []struct {
		name, body string
		want       soap.Envelope
	}{
		{"Inform with all header elements of a CPE",
			`<?xml version="1.0" encoding="UTF-8"?>` + strings.ReplaceAll(envelope(idHeader+
				`<cwmp:NoMoreRequests>1</cwmp:NoMoreRequests><cwmp:SessionTimeout>60</cwmp:SessionTimeout>`+
				`<cwmp:SupportedCWMPVersions>1.0,1.1,1.2</cwmp:SupportedCWMPVersions>`,
				`<cwmp:Inform><DeviceId><Manufacturer>Example</Manufacturer><OUI>00D09E</OUI><ProductClass>Router</ProductClass>`+
					`<SerialNumber>123</SerialNumber></DeviceId><Event soap-enc:arrayType="cwmp:EventStruct[2]">`+
					`<EventStruct><EventCode>1 BOOT</EventCode><CommandKey/></EventStruct>`+
					`<EventStruct><EventCode>M Reboot</EventCode><CommandKey>k1</CommandKey></EventStruct></Event>`+
					`<MaxEnvelopes>1</MaxEnvelopes><CurrentTime>2024-02-29T12:00:00Z</CurrentTime><RetryCount>3</RetryCount>`+
					`<ParameterList soap-enc:arrayType="cwmp:ParameterValueStruct[1]"><ParameterValueStruct><Name>Device.A</Name>`+
					`<Value xsi:type="xsd:unsignedInt">7</Value></ParameterValueStruct></ParameterList></cwmp:Inform>`), "cwmp-1-0", "cwmp-1-2"),
			soap.Envelope{ID: "42", HasID: true, Version: cwmp.Version1_2, NoMoreRequests: true, SessionTimeout: 60, SupportedVersions: "1.0,1.1,1.2",
				Body: &cwmp.Inform{
					DeviceID: cwmp.DeviceID{Manufacturer: "Example", OUI: "00D09E", ProductClass: "Router", SerialNumber: "123"},
					Events:   []cwmp.Event{{Code: cwmp.EventBoot}, {Code: cwmp.EventMReboot, CommandKey: "k1"}}, MaxEnvelopes: 1,
					CurrentTime: "2024-02-29T12:00:00Z", RetryCount: 3,
					ParameterList: []cwmp.ParameterValue{{Name: "Device.A", Value: cwmp.Value{Type: cwmp.TypeUnsignedInt, Text: "7"}}}}}},
		{"an ACS's headers and a request",
			envelope(idHeader+`<cwmp:HoldRequests soap-env:mustUnderstand="1">1</cwmp:HoldRequests><cwmp:UseCWMPVersion>1.4</cwmp:UseCWMPVersion>`,
				`<cwmp:GetParameterNames><ParameterPath>Device.</ParameterPath><NextLevel>true</NextLevel></cwmp:GetParameterNames>`),
			soap.Envelope{ID: "42", HasID: true, HoldRequests: true, UseVersion: "1.4",
				Body: &cwmp.GetParameterNames{Path: "Device.", NextLevel: true}}},
		{"an empty body element is no RPC", envelope(idHeader, ""), soap.Envelope{ID: "42", HasID: true}},
		{"a fault names parameters",
			envelope(idHeader, `<soap-env:Fault><faultcode>Client</faultcode><faultstring>CWMP fault</faultstring><detail><cwmp:Fault>`+
				`<FaultCode>9003</FaultCode><FaultString>Invalid arguments</FaultString><SetParameterValuesFault>`+
				`<ParameterName>Device.A</ParameterName><FaultCode>9007</FaultCode><FaultString>too long</FaultString>`+
				`</SetParameterValuesFault></cwmp:Fault></detail></soap-env:Fault>`),
			soap.Envelope{ID: "42", HasID: true, Body: &cwmp.Fault{Code: 9003, Text: "Invalid arguments",
				Parameters: []cwmp.ParameterFault{{Name: "Device.A", Code: 9007, Text: "too long"}}}}},
		{"text with entities, references, CDATA and comments",
			oneValue(`<Value xsi:type="xsd:string">&lt;a&gt; &amp;&quot;&apos; &#65;&#x42;<![CDATA[<&>]]><!-- no -->!</Value>`),
			soap.Envelope{ID: "42", HasID: true, Body: valuesResponse(stringValue("Device.A", `<a> &"' AB<&>!`))}},
		{"blanks at a value's ends are the value's own", oneValue(`<Value xsi:type="xsd:string"> key </Value>`),
			soap.Envelope{ID: "42", HasID: true, Body: valuesResponse(stringValue("Device.A", " key "))}},
		{"line ends are line feeds", oneValue("<Value xsi:type=\"xsd:string\">a\r\nb\rc</Value>"),
			soap.Envelope{ID: "42", HasID: true, Body: valuesResponse(stringValue("Device.A", "a\nb\nc"))}},
		{"a transfer without fault", envelope(idHeader, `<cwmp:TransferComplete><CommandKey>k</CommandKey><FaultStruct><FaultCode>0</FaultCode>`+
			`<FaultString/></FaultStruct><StartTime>0001-01-01T00:00:00Z</StartTime><CompleteTime>2024-01-01T00:00:00Z</CompleteTime></cwmp:TransferComplete>`),
			soap.Envelope{ID: "42", HasID: true, Body: &cwmp.TransferComplete{CommandKey: "k",
				StartTime: "0001-01-01T00:00:00Z", CompleteTime: "2024-01-01T00:00:00Z"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := soap.Read([]byte(tt.body), "text/xml", soap.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if d := diff(&tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestReadRefuses has what is no message; each error says where and what.
func TestReadRefuses(t *testing.T) {
	const inform = `<cwmp:Inform><Event/></cwmp:Inform>`
	small := soap.Limits{Bytes: 4000, Depth: 6, Elements: 12, Attributes: 8, NameBytes: 40}
	tests := []struct {
		name, body string
		limit      string // of the SyntaxError
		text       string // that the error contains
	}{
		{"nothing", "", "", "empty body"},
		{"blanks", " \r\n", "", "empty body"},
		{"no XML", "GET / HTTP/1.1", "", `expected an Envelope, found "GET`},
		{"other XML", "<html></html>", "", "found <html>"},
		{"SOAP 1.2", `<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body/></e:Envelope>`, "", "SOAP 1.1 Envelope"},
		{"no Body", `<Envelope></Envelope>`, "", "no Body"},
		{"DOCTYPE", `<!DOCTYPE a [<!ENTITY b "c">]><Envelope/>`, "", `byte 0: "<!DOCTYPE`},
		{"DOCTYPE inside", envelope("<!DOCTYPE a>", ""), "", "not allowed"},
		{"unclosed comment", envelope("<!-- ", ""), "", "without -->"},
		{"wrong end tag", envelope("<cwmp:ID>1</cwmp:Id>", ""), "", "expected </cwmp:ID>"},
		{"end tag before any", "</Envelope>", "", "before any element"},
		{"attribute without value", "<Envelope a><Body/></Envelope>", "", "expected '='"},
		{"attribute without quotes", "<Envelope a=1><Body/></Envelope>", "", "quoted value"},
		{"attribute not closed", `<Envelope a="><Body b=""/></Envelope>`, "", "not closed"},
		{"name of a digit", "<1/>", "", "expected a name"},
		{"control character in a name", "<Envel\x01ope/>", "", "expected a name"},
		{"cut in a tag", "<Envelope><Body><cwmp:Inf", "", "ends inside <Envelope/Body"},
		{"cut in the arguments", "<Envelope><Body><Reboot><CommandKey>a", "", "Reboot/CommandKey"},
		{"Bytes", strings.Repeat(" ", 4001), "Bytes", "4001 bytes"},
		{"Bytes as UTF-8", strings.Repeat("\xe4", 2001), "Bytes", "as UTF-8"},
		{"Depth", strings.Repeat("<Envelope>", 7), "Depth", "deeper than 6"},
		{"Elements", "<Envelope>" + strings.Repeat("<a/>", 12), "Elements", "more than 12"},
		{"Attributes", "<Envelope" + strings.Repeat(` a="1"`, 9) + "/>", "Attributes", "more than 8"},
		{"NameBytes", "<" + strings.Repeat("a", 41) + "/>", "NameBytes", "41 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := soap.Read([]byte(tt.body), "", small)
			var se *soap.SyntaxError
			if !errors.As(err, &se) || se.Limit != tt.limit || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %v, want a SyntaxError of limit %q with %q", err, tt.limit, tt.text)
			}
			if e == nil || e.Body != nil {
				t.Errorf("envelope %+v, want one without a body", e)
			}
		})
	}
	t.Run("arguments without sense are fault 8003", func(t *testing.T) {
		for body, text := range map[string]string{
			inform: "no DeviceId",
			`<cwmp:AddObjectResponse><InstanceNumber>x</InstanceNumber></cwmp:AddObjectResponse>`: `InstanceNumber is no number: "x"`,
			`<cwmp:RebootResponse/><cwmp:RebootResponse/>`:                                        "a second RPC",
		} {
			e, err := soap.Read([]byte(envelope(idHeader, body)), "", soap.Limits{})
			var f *cwmp.Fault
			if !errors.As(err, &f) || f.Code != cwmp.FaultACSInvalidArguments || !strings.Contains(f.Text, text) || e.ID != "42" || e.Body != nil {
				t.Errorf("%s: envelope %+v, error %v", body, e, err)
			}
		}
	})
}

// TestReadUnknownRPC keeps what the fault's header needs.
func TestReadUnknownRPC(t *testing.T) {
	for _, rpc := range []string{`<cwmp:X_EXAMPLE_Do><A/></cwmp:X_EXAMPLE_Do>`, `<v:Inform xmlns:v="urn:other"/>`} {
		e, err := soap.Read([]byte(strings.ReplaceAll(envelope(idHeader, rpc), "cwmp-1-0", "cwmp-1-1")), "", soap.Limits{})
		var unknown *soap.UnknownRPCError
		if !errors.As(err, &unknown) || !strings.Contains(rpc, unknown.Name) {
			t.Errorf("%s: error %v, want UnknownRPCError", rpc, err)
		}
		if !errors.Is(err, cwmp.FaultACSMethodNotSupported) {
			t.Errorf("%s: error %v, want fault 8000 behind it", rpc, err)
		}
		if want := (&soap.Envelope{ID: "42", HasID: true, Version: cwmp.Version1_1}); diff(want, e) != "" {
			t.Errorf("%s: %s", rpc, diff(want, e))
		}
	}
}

// TestReadVersions reads each namespace of the family.
func TestReadVersions(t *testing.T) {
	for v := cwmp.Version1_0; v <= cwmp.Version1_4; v++ {
		body := strings.ReplaceAll(envelope("", "<cwmp:RebootResponse/>"), "cwmp-1-0", fmt.Sprintf("cwmp-1-%d", v))
		if e, err := soap.Read([]byte(body), "", soap.Limits{}); err != nil || e.Version != v {
			t.Errorf("version %v, error %v, want %v", e.Version, err, v)
		}
	}
}
