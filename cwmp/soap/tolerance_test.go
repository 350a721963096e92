package soap_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

var testDevice = cwmp.DeviceID{Manufacturer: "M", OUI: "0011AB", ProductClass: "C", SerialNumber: "S"}

const testDeviceXML = `<DeviceId><Manufacturer>M</Manufacturer><OUI>0011AB</OUI><ProductClass>C</ProductClass><SerialNumber>S</SerialNumber></DeviceId>`

// informWith is an Inform with more arguments than its DeviceId.
func informWith(arguments string) string {
	return envelope("", `<cwmp:Inform>`+testDeviceXML+arguments+`</cwmp:Inform>`)
}

func transferComplete(arguments string) string {
	return envelope("", `<cwmp:TransferComplete>`+arguments+`</cwmp:TransferComplete>`)
}

const reboot = `<cwmp:RebootResponse/>`

var rebooted = &cwmp.RebootResponse{}

// tolerances has a row, or several, for each deviation named in tolerance.go.
var tolerances = []struct {
	name        string // in tolerance.go
	what        string
	contentType string
	body        string
	want        cwmp.Message
}{
	{"arrayType", "padded and wrong size", "", strings.Replace(oneValue(`<Value xsi:type="xsd:string">a</Value>`), "[1]", "[0008]", 1),
		valuesResponse(stringValue("Device.A", "a"))},
	{"arrayType", "without prefix, with blanks", "", strings.Replace(oneValue(`<Value xsi:type="xsd:string">a</Value>`),
		`soap-enc:arrayType="cwmp:ParameterValueStruct[1]"`, `arrayType="ParameterValueStruct[13  ]"`, 1), valuesResponse(stringValue("Device.A", "a"))},
	{"arrayType", "absent", "", strings.Replace(oneValue(`<Value xsi:type="xsd:string">a</Value>`),
		` soap-enc:arrayType="cwmp:ParameterValueStruct[1]"`, ``, 1), valuesResponse(stringValue("Device.A", "a"))},
	{"namespaceKind", "prefix soap is the encoding", "",
		`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:soap="http://schemas.xmlsoap.org/soap/encoding/"` +
			` xmlns:c="urn:dslforum-org:cwmp-1-0"><s:Body><c:GetRPCMethodsResponse><MethodList soap:arrayType="x"><string>Inform</string></MethodList>` +
			`</c:GetRPCMethodsResponse></s:Body></s:Envelope>`, &cwmp.GetRPCMethodsResponse{Methods: []string{"Inform"}}},
	{"namespaceKind", "the envelope's namespace without its end", "",
		strings.Replace(envelope("", reboot), "soap/envelope/", "soap/envelop", 1), rebooted},
	{"undeclaredPrefix", "no declarations at all", "", `<soap:Envelope><soap:Body>` + reboot + `</soap:Body></soap:Envelope>`, rebooted},
	{"undeclaredPrefix", "xsi not declared", "", strings.Replace(oneValue(`<Value xsi:type="xsd:int">1</Value>`),
		`xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"`, ``, 1),
		valuesResponse(cwmp.ParameterValue{Name: "Device.A", Value: cwmp.Value{Type: cwmp.TypeInt, Text: "1"}})},
	{"qualifiedArgument", "prefixed", "", envelope("", `<cwmp:SetParameterValuesResponse><cwmp:Status>1</cwmp:Status></cwmp:SetParameterValuesResponse>`),
		&cwmp.SetParameterValuesResponse{Status: 1}},
	{"qualifiedArgument", "a default namespace on DeviceId", "",
		envelope("", `<cwmp:Inform>`+strings.Replace(testDeviceXML, "<DeviceId>", `<DeviceId xmlns="urn:x">`, 1)+`</cwmp:Inform>`), &cwmp.Inform{DeviceID: testDevice}},
	{"extraElement", "in DeviceId and after", "", strings.Replace(informWith(`<X><Y>1</Y></X>`), "</DeviceId>", "<Model>z</Model></DeviceId>", 1),
		&cwmp.Inform{DeviceID: testDevice}},
	{"anyOrder", "Status before InstanceNumber", "",
		envelope("", `<cwmp:AddObjectResponse><Status>1</Status><InstanceNumber>724</InstanceNumber></cwmp:AddObjectResponse>`),
		&cwmp.AddObjectResponse{InstanceNumber: 724, Status: 1}},
	{"itemName", "items called otherwise", "", envelope("", `<cwmp:GetRPCMethodsResponse><MethodList><xsd:string>Inform</xsd:string><item>Kicked</item>`+
		`</MethodList></cwmp:GetRPCMethodsResponse>`), &cwmp.GetRPCMethodsResponse{Methods: []string{"Inform", "Kicked"}}},
	{"noHeader", "absent", "", strings.Replace(envelope("", reboot), "<soap-env:Header></soap-env:Header>", "", 1), rebooted},
	{"noHeader", "empty element", "", strings.Replace(envelope("", reboot), "<soap-env:Header></soap-env:Header>", "<soap-env:Header/>", 1), rebooted},
	{"noDeclaration", "blank lines before the declaration", "", "\r\n\n <?xml version=\"1.0\"?>" + envelope("", reboot), rebooted},
	{"byteOrderMark", "UTF-8", "", "\xef\xbb\xbf" + oneValue(`<Value xsi:type="xsd:string">ä</Value>`), valuesResponse(stringValue("Device.A", "ä"))},
	{"byteOrderMark", "UTF-16, little end first", "", "\xff\xfe" + utf16LE(oneValue(`<Value xsi:type="xsd:string">ä</Value>`)), valuesResponse(stringValue("Device.A", "ä"))},
	{"byteOrderMark", "UTF-16, big end first", "", "\xfe\xff\x00<\x00E\x00n\x00v\x00e\x00l\x00o\x00p\x00e\x00>\x00<\x00B\x00o\x00d\x00y\x00/\x00>\x00<\x00/\x00E\x00n\x00v\x00e\x00l\x00o\x00p\x00e\x00>", nil},
	{"singleQuotes", "in declarations and types", "", strings.ReplaceAll(oneValue(`<Value xsi:type = 'xsd:string' >a</Value >`), `"`, `'`),
		valuesResponse(stringValue("Device.A", "a"))},
	{"latin1", "declared in XML", "", `<?xml version='1.0' encoding='ISO-8859-1'?>` + oneValue("<Value xsi:type=\"xsd:string\">caf\xe9</Value>"),
		valuesResponse(stringValue("Device.A", "café"))},
	{"latin1", "by Content-Type, even if it could be UTF-8", `text/xml; charset="iso-8859-1"`, oneValue("<Value xsi:type=\"xsd:string\">\xc3\xa9</Value>"),
		valuesResponse(stringValue("Device.A", "Ã©"))},
	{"latin1", "Content-Type with encoding for charset", `text/xml; encoding=utf-8`, oneValue("<Value xsi:type=\"xsd:string\">é</Value>"),
		valuesResponse(stringValue("Device.A", "é"))},
	{"wrongEncoding", "ISO-8859-1 that nothing declares", "", oneValue("<Value xsi:type=\"xsd:string\">caf\xe9 é</Value>"), valuesResponse(stringValue("Device.A", "café é"))},
	{"bareAmpersand", "in a URL, before an unknown entity, at the end", "",
		oneValue(`<Value xsi:type="xsd:string">a?b&c=1&nbsp;&#x;&#99999999999;&amp;&</Value>`),
		valuesResponse(stringValue("Device.A", "a?b&c=1&nbsp;&#x;&#99999999999;&&"))},
	{"controlCharacter", "raw and as a reference", "", oneValue("<Value xsi:type=\"xsd:string\">a\x02b\x05&#2;</Value>"), valuesResponse(stringValue("Device.A", "a\x02b\x05\x02"))},
	{"controlCharacter", "NUL and surrogates are replaced", "", oneValue(`<Value xsi:type="xsd:string">&#0;&#xD800;</Value>`), valuesResponse(stringValue("Device.A", "\ufffd\ufffd"))},
	{"layout", "names and values on lines of their own", "", values("<ParameterValueStruct>\n <Name>\n  Device.A\n </Name>\n <Value xsi:type=\"xsd:string\">\n  a b\n </Value></ParameterValueStruct>"),
		valuesResponse(stringValue("Device.A", "a b"))},
	{"layout", "blanks around a name and a number", "", values(`<ParameterValueStruct><Name> Device.A </Name><Value xsi:type="xsd:int"> 5 </Value></ParameterValueStruct>`),
		valuesResponse(cwmp.ParameterValue{Name: "Device.A", Value: cwmp.Value{Type: cwmp.TypeInt, Text: "5"}})},
	{"repeatedText", "two Values, the first one empty", "", oneValue(`<Value xsi:type="xsd:string"/><Value xsi:type="xsd:string">b</Value>`), valuesResponse(stringValue("Device.A", "b"))},
	{"repeatedText", "two Names", "", oneValue(`<Name>Device.B</Name><Value xsi:type="xsd:string">b</Value>`), valuesResponse(stringValue("Device.A", "b"))},
	{"repeatedText", "the same Name in two structs stays two entries", "", values(strings.Repeat(`<ParameterValueStruct><Name>Device.A</Name><Value xsi:type="xsd:string">b</Value></ParameterValueStruct>`, 2)),
		valuesResponse(stringValue("Device.A", "b"), stringValue("Device.A", "b"))},
	{"noValue", "no Value element", "", oneValue(``), valuesResponse(cwmp.ParameterValue{Name: "Device.A"})},
	{"noValue", "no xsi:type", "", oneValue(`<Value>a</Value>`), valuesResponse(cwmp.ParameterValue{Name: "Device.A", Value: cwmp.Value{Text: "a"}})},
	{"noName", "dropped", "", values(`<ParameterValueStruct><Value>a</Value></ParameterValueStruct><ParameterValueStruct/>`), valuesResponse()},
	{"eventStruct", "two codes in one struct", "", informWith(`<Event><EventStruct><EventCode>0 BOOTSTRAP</EventCode><CommandKey/>` +
		`<EventCode>M Reboot</EventCode><CommandKey>k</CommandKey></EventStruct></Event>`),
		&cwmp.Inform{DeviceID: testDevice, Events: []cwmp.Event{{Code: cwmp.EventBootstrap}, {Code: cwmp.EventMReboot, CommandKey: "k"}}}},
	{"eventStruct", "CommandKey first", "", informWith(`<Event><EventStruct><CommandKey>k</CommandKey><EventCode>M Reboot</EventCode></EventStruct></Event>`),
		&cwmp.Inform{DeviceID: testDevice, Events: []cwmp.Event{{Code: cwmp.EventMReboot, CommandKey: "k"}}}},
	{"eventStruct", "no struct, and an empty one", "", informWith(`<Event><EventCode>2 PERIODIC</EventCode><EventStruct/></Event>`),
		&cwmp.Inform{DeviceID: testDevice, Events: []cwmp.Event{{Code: cwmp.EventPeriodic}}}},
	{"eventStruct", "no event", "", informWith(`<Event/>`), &cwmp.Inform{DeviceID: testDevice}},
	{"number", "RetryCount 00, MaxEnvelopes 2", "", informWith(`<RetryCount>00</RetryCount><MaxEnvelopes>2</MaxEnvelopes>`),
		&cwmp.Inform{DeviceID: testDevice, MaxEnvelopes: 2}},
	{"number", "RetryCount is no number", "", informWith(`<RetryCount>(null)</RetryCount>`), &cwmp.Inform{DeviceID: testDevice}},
	{"number", "beyond the type", "", envelope("", `<cwmp:AddObjectResponse><InstanceNumber>99999999999999999999</InstanceNumber><Status/></cwmp:AddObjectResponse>`),
		&cwmp.AddObjectResponse{InstanceNumber: 4294967295}},
	{"boolean", "in several spellings", "", envelope("", `<cwmp:GetParameterNamesResponse><ParameterList>`+
		`<ParameterInfoStruct><Name>A.</Name><Writable>TRUE</Writable></ParameterInfoStruct><ParameterInfoStruct><Name>B.</Name><Writable>2</Writable></ParameterInfoStruct>`+
		`<ParameterInfoStruct><Name>C.</Name><Writable>no</Writable></ParameterInfoStruct><ParameterInfoStruct><Name>D.</Name></ParameterInfoStruct>`+
		`</ParameterList></cwmp:GetParameterNamesResponse>`),
		&cwmp.GetParameterNamesResponse{Parameters: []cwmp.ParameterInfo{{Name: "A.", Writable: true}, {Name: "B.", Writable: true}, {Name: "C."}, {Name: "D."}}}},
	{"faultAnywhere", "FaultStruct at the end", "", transferComplete(`<StartTime/><CompleteTime/><FaultStruct><FaultCode>9010</FaultCode><FaultString>x</FaultString></FaultStruct>`),
		&cwmp.TransferComplete{Fault: &cwmp.Fault{Code: 9010, Text: "x"}}},
	{"faultAnywhere", "called Fault", "", transferComplete(`<Fault><FaultCode>9010</FaultCode></Fault>`), &cwmp.TransferComplete{Fault: &cwmp.Fault{Code: 9010}}},
	{"faultAnywhere", "its parts alone", "", transferComplete(`<FaultCode>9010</FaultCode><FaultString>x</FaultString>`), &cwmp.TransferComplete{Fault: &cwmp.Fault{Code: 9010, Text: "x"}}},
	{"faultAnywhere", "absent", "", transferComplete(`<CommandKey>k</CommandKey>`), &cwmp.TransferComplete{CommandKey: "k"}},
	{"faultDetail", "no detail", "", envelope("", `<soap-env:Fault><faultcode>Client</faultcode><faultstring>Client fault</faultstring></soap-env:Fault>`),
		&cwmp.Fault{Code: 9002, Text: "Client fault"}},
	{"faultDetail", "parts without detail, extra elements", "", envelope("", `<cwmp:Fault><FaultCode>9005</FaultCode><FaultString>x</FaultString>`+
		`<SetParameterValuesFault><ParameterName> Device.A </ParameterName><Extra>1</Extra><FaultCode>9005</FaultCode></SetParameterValuesFault></cwmp:Fault>`),
		&cwmp.Fault{Code: 9005, Text: "x", Parameters: []cwmp.ParameterFault{{Name: "Device.A", Code: 9005}}}},
	{"faultDetail", "code is no number", "", envelope("", `<soap-env:Fault><detail><cwmp:Fault><FaultCode>bad</FaultCode></cwmp:Fault></detail></soap-env:Fault>`), &cwmp.Fault{Code: 9002}},
	{"operationKind", "told from the arguments", "", envelope("", `<cwmp:ChangeDUState><Operations><URL>u</URL></Operations><Operations><UUID>i</UUID></Operations>`+
		`<Operations><URL>u</URL><Version>2</Version></Operations></cwmp:ChangeDUState>`),
		&cwmp.ChangeDUState{Operations: []cwmp.DUOperation{{Kind: "Install", URL: "u"}, {Kind: "Uninstall", UUID: "i"}, {Kind: "Update", URL: "u", Version: "2"}}}},
	{"cutTail", "last bytes missing", "", strings.TrimSuffix(envelope("", reboot), "y></soap-env:Envelope>"), rebooted},
	{"cutTail", "junk after the envelope", "", envelope("", reboot) + "\x00\r\n0\r\n", rebooted},
}

func utf16LE(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteByte(byte(r))
		b.WriteByte(byte(r >> 8))
	}
	return b.String()
}

func TestTolerances(t *testing.T) {
	for _, tt := range tolerances {
		t.Run(tt.name+"/"+tt.what, func(t *testing.T) {
			e, err := soap.Read([]byte(tt.body), tt.contentType, soap.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if d := diff(tt.want, e.Body); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestTolerancesListed holds the list in tolerance.go and the rows together.
func TestTolerancesListed(t *testing.T) {
	source, err := os.ReadFile("tolerance.go")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^//\t(\w+) `).FindAllStringSubmatch(string(source), -1) {
		listed[m[1]] = true
	}
	tested := map[string]bool{}
	for _, tt := range tolerances {
		tested[tt.name] = true
	}
	if d := diff(listed, tested); d != "" || len(listed) == 0 {
		t.Errorf("listed and tested tolerances differ: %s", d)
	}
}
