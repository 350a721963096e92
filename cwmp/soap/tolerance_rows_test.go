package soap_test

import (
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
)

// tolerances has a row, or several, for each deviation named in tolerance.go.
var tolerances = []struct {
	name        string // in tolerance.go
	what        string
	contentType string
	body        string
	want        cwmp.Message
}{
	// Deviation: 27 of 138 messages and more – arrayType with a padded, wrong or blank size, without prefix, or none; it is never looked at
	{"arrayType", "padded and wrong size", "", strings.Replace(oneValue(`<Value xsi:type="xsd:string">a</Value>`), "[1]", "[0008]", 1),
		valuesResponse(stringValue("Device.A", "a"))},
	{"arrayType", "without prefix, with blanks", "", strings.Replace(oneValue(`<Value xsi:type="xsd:string">a</Value>`),
		`soap-enc:arrayType="cwmp:ParameterValueStruct[1]"`, `arrayType="ParameterValueStruct[13  ]"`, 1), valuesResponse(stringValue("Device.A", "a"))},
	{"arrayType", "absent", "", strings.Replace(oneValue(`<Value xsi:type="xsd:string">a</Value>`),
		` soap-enc:arrayType="cwmp:ParameterValueStruct[1]"`, ``, 1), valuesResponse(stringValue("Device.A", "a"))},
	// Deviation: Thomson, MikroTik, Alcatel – bind the prefix "soap" to the encoding, misspell SOAP namespaces; prefixes mean nothing, namespaces go by how they begin
	{"namespaceKind", "prefix soap is the encoding", "",
		`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:soap="http://schemas.xmlsoap.org/soap/encoding/"` +
			` xmlns:c="urn:dslforum-org:cwmp-1-0"><s:Body><c:GetRPCMethodsResponse><MethodList soap:arrayType="x"><string>Inform</string></MethodList>` +
			`</c:GetRPCMethodsResponse></s:Body></s:Envelope>`, &cwmp.GetRPCMethodsResponse{Methods: []string{"Inform"}}},
	{"namespaceKind", "the envelope's namespace without its end", "",
		strings.Replace(envelope("", reboot), "soap/envelope/", "soap/envelop", 1), rebooted},
	// Deviation: several CPE – use the prefixes of SOAP, CWMP or xsi without declaring them; names are taken at their word
	{"undeclaredPrefix", "no declarations at all", "", `<soap:Envelope><soap:Body>` + reboot + `</soap:Body></soap:Envelope>`, rebooted},
	{"undeclaredPrefix", "xsi not declared", "", strings.Replace(oneValue(`<Value xsi:type="xsd:int">1</Value>`),
		`xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"`, ``, 1),
		valuesResponse(cwmp.ParameterValue{Name: "Device.A", Value: cwmp.Value{Type: cwmp.TypeInt, Text: "1"}})},
	{"undeclaredPrefix", "no prefix and no namespace", "", `<Envelope><Body><GetRPCMethods/></Body></Envelope>`, &cwmp.GetRPCMethods{}},
	{"undeclaredPrefix", "only CWMP not declared", "", strings.Replace(envelope("", reboot), ` xmlns:cwmp="urn:dslforum-org:cwmp-1-0"`, "", 1), rebooted},
	// Deviation: as a precaution – an RPC without prefix below a default namespace of SOAP; it is taken for one of CWMP
	{"defaultNamespace", "of the envelope", "", `<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body><RebootResponse/></Body></Envelope>`, rebooted},
	// Deviation: 7 of 138 messages – qualify arguments (cwmp:DeviceId) or give them a default namespace; arguments go by their local name
	{"qualifiedArgument", "prefixed", "", envelope("", `<cwmp:SetParameterValuesResponse><cwmp:Status>1</cwmp:Status></cwmp:SetParameterValuesResponse>`),
		&cwmp.SetParameterValuesResponse{Status: 1}},
	{"qualifiedArgument", "a default namespace on DeviceId", "",
		envelope("", `<cwmp:Inform>`+strings.Replace(testDeviceXML, "<DeviceId>", `<DeviceId xmlns="urn:x">`, 1)+`</cwmp:Inform>`), &cwmp.Inform{DeviceID: testDevice}},
	// Deviation: several CPE – add elements to DeviceId, to fault structures and between arguments; they are passed over
	{"extraElement", "in DeviceId and after", "", strings.Replace(informWith(`<X><Y>1</Y></X>`), "</DeviceId>", "<Model>z</Model></DeviceId>", 1),
		&cwmp.Inform{DeviceID: testDevice}},
	// Deviation: STB, Thomson and others – put xsi:type on Name, on the members of DeviceId and on faults; it means something on Value only
	{"extraAttribute", "types on structures and names", "", envelope("", `<cwmp:Inform><DeviceId xsi:type="cwmp:DeviceIdStruct"><Manufacturer xsi:type="xsd:string(64)" xsi:name="">M</Manufacturer>`+
		`<OUI xsi:type="xsd:string(6)">0011AB</OUI><ProductClass>C</ProductClass><SerialNumber>S</SerialNumber></DeviceId><Event d="d"/></cwmp:Inform>`), &cwmp.Inform{DeviceID: testDevice}},
	// Deviation: several CPE – write arguments in another order than the schema; each is taken where it is found
	{"anyOrder", "Status before InstanceNumber", "",
		envelope("", `<cwmp:AddObjectResponse><Status>1</Status><InstanceNumber>724</InstanceNumber></cwmp:AddObjectResponse>`),
		&cwmp.AddObjectResponse{InstanceNumber: 724, Status: 1}},
	// Deviation: Adtran, easycwmp and others – leave lists and arguments out; they are empty, and only an Inform without DeviceId is refused
	{"noArgument", "no Event, no ParameterList", "", informWith(``), &cwmp.Inform{DeviceID: testDevice}},
	{"noArgument", "no Status", "", envelope("", `<cwmp:SetParameterValuesResponse/>`), &cwmp.SetParameterValuesResponse{}},
	{"noArgument", "no list", "", envelope("", `<cwmp:GetParameterValuesResponse></cwmp:GetParameterValuesResponse>`), &cwmp.GetParameterValuesResponse{}},
	// Deviation: as a precaution – items of an array called otherwise; items are read under any name
	{"itemName", "items called otherwise", "", envelope("", `<cwmp:GetRPCMethodsResponse><MethodList><xsd:string>Inform</xsd:string><item>Kicked</item>`+
		`</MethodList></cwmp:GetRPCMethodsResponse>`), &cwmp.GetRPCMethodsResponse{Methods: []string{"Inform", "Kicked"}}},
	// Deviation: MikroTik – writes no SOAP Header, others an empty one; it is not needed
	{"noHeader", "absent", "", strings.Replace(envelope("", reboot), "<soap-env:Header></soap-env:Header>", "", 1), rebooted},
	{"noHeader", "empty element", "", strings.Replace(envelope("", reboot), "<soap-env:Header></soap-env:Header>", "<soap-env:Header/>", 1), rebooted},
	// Deviation: 94 of 138 messages – have no XML declaration, or blank lines before it; both are read
	{"noDeclaration", "blank lines before the declaration", "", "\r\n\n <?xml version=\"1.0\"?>" + envelope("", reboot), rebooted},
	{"noDeclaration", "none", "", envelope("", reboot), rebooted},
	// Deviation: as a precaution – comments and processing instructions between elements and in text; they are passed over
	{"instruction", "before, between, inside and after", "", `<?pi?><!-- a -->` + strings.Replace(oneValue(`<?pi x?><!-- <Value>no</Value> --><Value xsi:type="xsd:string">a<!-- b -->c<?pi?></Value>`), "<soap-env:Body>", "<!-- c --><soap-env:Body>", 1) + "<!-- end -->",
		valuesResponse(stringValue("Device.A", "ac"))},
	// Deviation: several CPE – begin with a byte order mark; it is read, and as a precaution so is UTF-16, with and without one
	{"byteOrderMark", "UTF-8", "", "\xef\xbb\xbf" + oneValue(`<Value xsi:type="xsd:string">ä</Value>`), valuesResponse(stringValue("Device.A", "ä"))},
	{"byteOrderMark", "UTF-16, little end first", "", "\xff\xfe" + utf16LE(oneValue(`<Value xsi:type="xsd:string">ä</Value>`)), valuesResponse(stringValue("Device.A", "ä"))},
	{"byteOrderMark", "UTF-16, big end first", "", "\xfe\xff\x00<\x00E\x00n\x00v\x00e\x00l\x00o\x00p\x00e\x00>\x00<\x00B\x00o\x00d\x00y\x00/\x00>\x00<\x00/\x00E\x00n\x00v\x00e\x00l\x00o\x00p\x00e\x00>", nil},
	{"byteOrderMark", "UTF-16 without a mark, little end first", "", utf16LE(oneValue(`<Value xsi:type="xsd:string">ä€</Value>`)), valuesResponse(stringValue("Device.A", "ä€"))},
	{"byteOrderMark", "UTF-16 without a mark, big end first", "", "\x00" + utf16LE(envelope("", reboot) + " ")[:2*len(envelope("", reboot))], rebooted},
	{"byteOrderMark", "UTF-16 with surrogates, one of them alone", "", "\xff\xfe" + strings.Replace(utf16LE(oneValue(`<Value xsi:type="xsd:string">!</Value>`)), "!\x00", "\x3d\xd8\x00\xde\x3d\xd8", 1),
		valuesResponse(stringValue("Device.A", "😀\ufffd"))},
	// Deviation: several CPE – quote attributes with apostrophes, with blanks around the equals sign; both are read
	{"singleQuotes", "in declarations and types", "", strings.ReplaceAll(oneValue(`<Value xsi:type = 'xsd:string' >a</Value >`), `"`, `'`),
		valuesResponse(stringValue("Device.A", "a"))},
	// Deviation: several CPE – send text/html, nothing, or a Content-Type with "encoding" for "charset"; only its charset is looked at
	{"contentType", "text/html", "text/html", envelope("", reboot), rebooted},
	{"contentType", "with encoding for charset", `text/xml; encoding=utf-8`, oneValue("<Value xsi:type=\"xsd:string\">é</Value>"), valuesResponse(stringValue("Device.A", "é"))},
	{"contentType", "no type at all", `;charset`, envelope("", reboot), rebooted},
	// Deviation: Thomson – writes ISO-8859-1 and says so in the Content-Type only; it is read, and windows-1252 with it
	{"latin1", "declared in XML", "", `<?xml version='1.0' encoding='ISO-8859-1'?>` + oneValue("<Value xsi:type=\"xsd:string\">caf\xe9</Value>"),
		valuesResponse(stringValue("Device.A", "café"))},
	{"latin1", "by Content-Type, even if it could be UTF-8", `text/xml; charset="iso-8859-1"`, oneValue("<Value xsi:type=\"xsd:string\">\xc3\xa9</Value>"),
		valuesResponse(stringValue("Device.A", "Ã©"))},
	{"latin1", "windows-1252", `text/xml; charset=windows-1252`, oneValue("<Value xsi:type=\"xsd:string\">\x80 \x93caf\xe9\x94 \x81</Value>"),
		valuesResponse(stringValue("Device.A", "€ “café” \u0081"))},
	// Deviation: several CPE – write ISO-8859-1 bytes and declare UTF-8 or nothing; each byte that is no UTF-8 is read as ISO-8859-1
	{"wrongEncoding", "ISO-8859-1 that nothing declares", "", oneValue("<Value xsi:type=\"xsd:string\">caf\xe9 é</Value>"), valuesResponse(stringValue("Device.A", "café é"))},
	{"wrongEncoding", "declared as UTF-8", "text/xml; charset=utf-8", `<?xml version="1.0" encoding="UTF-8"?>` + oneValue("<Value xsi:type=\"xsd:string\">caf\xe9</Value>"),
		valuesResponse(stringValue("Device.A", "café"))},
	{"wrongEncoding", "declared as something that is not known", "", `<?xml version="1.0" encoding="x-unknown"?>` + oneValue("<Value xsi:type=\"xsd:string\">é</Value>"),
		valuesResponse(stringValue("Device.A", "é"))},
	// Deviation: several CPE – put a bare "&" into URLs and network names; it stays as it is
	{"bareAmpersand", "in a URL, before an unknown entity, at the end", "",
		oneValue(`<Value xsi:type="xsd:string">a?b&c=1&nbsp;&#x;&#99999999999;&amp;&</Value>`),
		valuesResponse(stringValue("Device.A", "a?b&c=1&nbsp;&#x;&#99999999999;&&"))},
	// Deviation: several CPE – put control characters (0x02, 0x05) into values; they are kept
	{"controlCharacter", "raw and as a reference", "", oneValue("<Value xsi:type=\"xsd:string\">a\x02b\x05&#2;</Value>"), valuesResponse(stringValue("Device.A", "a\x02b\x05\x02"))},
	{"controlCharacter", "NUL and surrogates are replaced", "", oneValue(`<Value xsi:type="xsd:string">&#0;&#xD800;</Value>`), valuesResponse(stringValue("Device.A", "\ufffd\ufffd"))},
	// Deviation: several CPE – set names and values on lines of their own; white space with a line break around text is taken off, blanks alone only off names and numbers
	{"layout", "names and values on lines of their own", "", values("<ParameterValueStruct>\n <Name>\n  Device.A\n </Name>\n <Value xsi:type=\"xsd:string\">\n  a b\n </Value></ParameterValueStruct>"),
		valuesResponse(stringValue("Device.A", "a b"))},
	{"layout", "blanks around a name and a number", "", values(`<ParameterValueStruct><Name> Device.A </Name><Value xsi:type="xsd:int"> 5 </Value></ParameterValueStruct>`),
		valuesResponse(cwmp.ParameterValue{Name: "Device.A", Value: cwmp.Value{Type: cwmp.TypeInt, Text: "5"}})},
	// Deviation: several CPE – give two Values in one structure, or one Name in two; the first value that is not empty counts, and two structures stay two
	{"repeatedText", "two Values, the first one empty", "", oneValue(`<Value xsi:type="xsd:string"/><Value xsi:type="xsd:string">b</Value>`), valuesResponse(stringValue("Device.A", "b"))},
	{"repeatedText", "two Names", "", oneValue(`<Name>Device.B</Name><Value xsi:type="xsd:string">b</Value>`), valuesResponse(stringValue("Device.A", "b"))},
	{"repeatedText", "the same Name in two structs stays two entries", "", values(strings.Repeat(`<ParameterValueStruct><Name>Device.A</Name><Value xsi:type="xsd:string">b</Value></ParameterValueStruct>`, 2)),
		valuesResponse(stringValue("Device.A", "b"), stringValue("Device.A", "b"))},
	// Deviation: Cisco SPA122 – leaves Value out, others its type, or write nil; the value is empty, or of unknown type
	{"noValue", "no Value element", "", oneValue(``), valuesResponse(cwmp.ParameterValue{Name: "Device.A"})},
	{"noValue", "no xsi:type", "", oneValue(`<Value>a</Value>`), valuesResponse(cwmp.ParameterValue{Name: "Device.A", Value: cwmp.Value{Text: "a"}})},
	{"noValue", "nil", "", oneValue(`<Value xsi:nil="true"/>`), valuesResponse(cwmp.ParameterValue{Name: "Device.A"})},
	// Deviation: STB, ZyXEL and others – write "string" without prefix, "xsd:string(64)", "xsd:Int", "unsigendInt"; the type that is meant is read
	{"xsiType", "without prefix", "", oneValue(`<Value xsi:type="string">a</Value>`), valuesResponse(stringValue("Device.A", "a"))},
	{"xsiType", "with a length", "", oneValue(`<Value xsi:type="xsd:string(256)">a</Value>`), valuesResponse(stringValue("Device.A", "a"))},
	{"xsiType", "misspelt", "", oneValue(`<Value xsi:type="xsd:unsigendInt">7</Value>`), valuesResponse(typedValue(cwmp.TypeUnsignedInt, "7"))},
	{"xsiType", "in other case", "", oneValue(`<Value xsi:type="xsd:Int">-7</Value>`), valuesResponse(typedValue(cwmp.TypeInt, "-7"))},
	{"xsiType", "of the XML Schema of 1999", "", strings.ReplaceAll(oneValue(`<Value xsi:type="xsd:boolean">1</Value>`), "2001/XMLSchema", "1999/XMLSchema"), valuesResponse(typedValue(cwmp.TypeBoolean, "1"))},
	{"xsiType", "of nobody", "", oneValue(`<Value xsi:type="x:y">a</Value>`), valuesResponse(typedValue(cwmp.TypeUnknown, "a"))},
	// Deviation: Huawei and others – send text that is none of its type ("0.00 dBm", counters above 2^32, a port number as dateTime); it is kept as it is
	{"mistypedValue", "a number with its unit", "", oneValue(`<Value xsi:type="xsd:unsignedInt">0.00 dBm</Value>`), valuesResponse(typedValue(cwmp.TypeUnsignedInt, "0.00 dBm"))},
	{"mistypedValue", "a counter above 2^32, and a negative one", "", oneValue(`<Value xsi:type="xsd:unsignedInt">-4294967296</Value>`), valuesResponse(typedValue(cwmp.TypeUnsignedInt, "-4294967296"))},
	{"mistypedValue", "a dateTime that is a port number", "", oneValue(`<Value xsi:type="xsd:dateTime">514</Value>`), valuesResponse(typedValue(cwmp.TypeDateTime, "514"))},
	// Deviation: several CPE – list structures without a Name; they are dropped
	{"noName", "entries of other lists without anything in them", "", envelope("", `<cwmp:ChangeDUState><Operations/><Operations xsi:type="cwmp:UpdateOpStruct"/></cwmp:ChangeDUState>`),
		&cwmp.ChangeDUState{Operations: []cwmp.DUOperation{{Kind: "Update"}}}},
	{"noName", "dropped", "", values(`<ParameterValueStruct><Value>a</Value></ParameterValueStruct><ParameterValueStruct/>`), valuesResponse()},
	// Deviation: Thomson – sends ".ExternalIPAddress" without its path in every Inform; the Name is kept as it is
	{"oddName", "without its path", "", values(`<ParameterValueStruct><Name>.ExternalIPAddress</Name><Value xsi:type="xsd:string">a</Value></ParameterValueStruct>`), valuesResponse(stringValue(".ExternalIPAddress", "a"))},
	// Deviation: MikroTik and others – an OUI that is not of six hexadecimal digits, an empty serial number or manufacturer, blanks in the product class; kept as they are
	{"identity", "no hexadecimal OUI, nothing else", "", envelope("", `<cwmp:Inform><DeviceId><Manufacturer/><OUI>OO11a</OUI><ProductClass>Speed Touch</ProductClass><SerialNumber></SerialNumber></DeviceId></cwmp:Inform>`),
		&cwmp.Inform{DeviceID: cwmp.DeviceID{OUI: "OO11a", ProductClass: "Speed Touch"}}},
	// Deviation: several CPE – put two EventCodes into one structure, or none, or no structure around them; each code is an event
	{"eventStruct", "two codes in one struct", "", informWith(`<Event><EventStruct><EventCode>0 BOOTSTRAP</EventCode><CommandKey/>` +
		`<EventCode>M Reboot</EventCode><CommandKey>k</CommandKey></EventStruct></Event>`),
		&cwmp.Inform{DeviceID: testDevice, Events: []cwmp.Event{{Code: cwmp.EventBootstrap}, {Code: cwmp.EventMReboot, CommandKey: "k"}}}},
	{"eventStruct", "CommandKey first", "", informWith(`<Event><EventStruct><CommandKey>k</CommandKey><EventCode>M Reboot</EventCode></EventStruct></Event>`),
		&cwmp.Inform{DeviceID: testDevice, Events: []cwmp.Event{{Code: cwmp.EventMReboot, CommandKey: "k"}}}},
	{"eventStruct", "no struct, and an empty one", "", informWith(`<Event><EventCode>2 PERIODIC</EventCode><EventStruct/></Event>`),
		&cwmp.Inform{DeviceID: testDevice, Events: []cwmp.Event{{Code: cwmp.EventPeriodic}}}},
	{"eventStruct", "no event", "", informWith(`<Event/>`), &cwmp.Inform{DeviceID: testDevice}},
	// Deviation: Google Fiber, China Telecom CPE – send "M TRANSFERCOMPLETE", "X CT-COM BIND", "M Download" before "7 TRANSFER COMPLETE"; codes are kept as they are, in their order
	{"eventCode", "in any order and spelling", "", informWith(`<Event><EventStruct><EventCode>M Download</EventCode><CommandKey>k</CommandKey></EventStruct>` +
		`<EventStruct><EventCode>7 TRANSFER COMPLETE</EventCode></EventStruct><EventStruct><EventCode>X CT-COM BIND</EventCode></EventStruct>` +
		`<EventStruct><EventCode>M TRANSFERCOMPLETE</EventCode></EventStruct></Event>`),
		&cwmp.Inform{DeviceID: testDevice, Events: []cwmp.Event{{Code: cwmp.EventMDownload, CommandKey: "k"}, {Code: cwmp.EventTransferComplete}, {Code: "X CT-COM BIND"}, {Code: "M TRANSFERCOMPLETE"}}}},
	// Deviation: several CPE – write "00", "(null)" or 942 as RetryCount, 0 or 2 as MaxEnvelopes, numbers beyond their type; cut to the type, or 0 where nothing depends on it
	{"number", "RetryCount 00, MaxEnvelopes 2", "", informWith(`<RetryCount>00</RetryCount><MaxEnvelopes>2</MaxEnvelopes>`),
		&cwmp.Inform{DeviceID: testDevice, MaxEnvelopes: 2}},
	{"number", "RetryCount is no number", "", informWith(`<RetryCount>(null)</RetryCount>`), &cwmp.Inform{DeviceID: testDevice}},
	{"number", "beyond the type", "", envelope("", `<cwmp:AddObjectResponse><InstanceNumber>99999999999999999999</InstanceNumber><Status/></cwmp:AddObjectResponse>`),
		&cwmp.AddObjectResponse{InstanceNumber: 4294967295}},
	{"number", "RetryCount 942 and MaxEnvelopes 0", "", informWith(`<RetryCount>942</RetryCount><MaxEnvelopes>0</MaxEnvelopes>`),
		&cwmp.Inform{DeviceID: testDevice, RetryCount: 942}},
	// Deviation: several CPE – write booleans as TRUE, 2 or 30; what is no boolean is false
	{"boolean", "in several spellings", "", envelope("", `<cwmp:GetParameterNamesResponse><ParameterList>`+
		`<ParameterInfoStruct><Name>A.</Name><Writable>TRUE</Writable></ParameterInfoStruct><ParameterInfoStruct><Name>B.</Name><Writable>2</Writable></ParameterInfoStruct>`+
		`<ParameterInfoStruct><Name>C.</Name><Writable>no</Writable></ParameterInfoStruct><ParameterInfoStruct><Name>D.</Name></ParameterInfoStruct>`+
		`</ParameterList></cwmp:GetParameterNamesResponse>`),
		&cwmp.GetParameterNamesResponse{Parameters: []cwmp.ParameterInfo{{Name: "A.", Writable: true}, {Name: "B.", Writable: true}, {Name: "C."}, {Name: "D."}}}},
	{"boolean", "Writable as a number of permissions", "", envelope("", `<cwmp:GetParameterNamesResponse><ParameterList><ParameterInfoStruct><Name>A.</Name><Writable>30</Writable></ParameterInfoStruct></ParameterList></cwmp:GetParameterNamesResponse>`),
		&cwmp.GetParameterNamesResponse{Parameters: []cwmp.ParameterInfo{{Name: "A.", Writable: true}}}},
	// Deviation: several CPE – refuse an AddObject inside a success, with Status 9005 and instance 0; kept as written for the caller to see
	{"status", "9005 with instance 0", "", envelope("", `<cwmp:AddObjectResponse><InstanceNumber>0</InstanceNumber><Status>9005</Status></cwmp:AddObjectResponse>`),
		&cwmp.AddObjectResponse{Status: 9005}},
	// Deviation: itman and others – put FaultStruct behind the times, call it Fault, or leave it out; it is taken where it is found, and none is success
	{"faultAnywhere", "FaultStruct at the end", "", transferComplete(`<StartTime/><CompleteTime/><FaultStruct><FaultCode>9010</FaultCode><FaultString>x</FaultString></FaultStruct>`),
		&cwmp.TransferComplete{Fault: &cwmp.Fault{Code: 9010, Text: "x"}}},
	{"faultAnywhere", "called Fault", "", transferComplete(`<Fault><FaultCode>9010</FaultCode></Fault>`), &cwmp.TransferComplete{Fault: &cwmp.Fault{Code: 9010}}},
	{"faultAnywhere", "its parts alone", "", transferComplete(`<FaultCode>9010</FaultCode><FaultString>x</FaultString>`), &cwmp.TransferComplete{Fault: &cwmp.Fault{Code: 9010, Text: "x"}}},
	{"faultAnywhere", "absent", "", transferComplete(`<CommandKey>k</CommandKey>`), &cwmp.TransferComplete{CommandKey: "k"}},
	// Deviation: several CPE – send a SOAP fault without detail ("Client fault"), only the outer 9003, or with other elements in it; what is there is read, and a fault without code is 9002
	{"faultDetail", "no detail", "", envelope("", `<soap-env:Fault><faultcode>Client</faultcode><faultstring>Client fault</faultstring></soap-env:Fault>`),
		&cwmp.Fault{Code: 9002, Text: "Client fault"}},
	{"faultDetail", "parts without detail, extra elements", "", envelope("", `<cwmp:Fault><FaultCode>9005</FaultCode><FaultString>x</FaultString>`+
		`<SetParameterValuesFault><ParameterName> Device.A </ParameterName><Extra>1</Extra><FaultCode>9005</FaultCode></SetParameterValuesFault></cwmp:Fault>`),
		&cwmp.Fault{Code: 9005, Text: "x", Parameters: []cwmp.ParameterFault{{Name: "Device.A", Code: 9005}}}},
	{"faultDetail", "only the outer 9003", "", envelope("", `<soap-env:Fault><faultcode>Client</faultcode><faultstring>CWMP fault</faultstring><detail><cwmp:Fault><FaultCode>9003</FaultCode>`+
		`<FaultString>Invalid arguments</FaultString></cwmp:Fault></detail></soap-env:Fault>`), &cwmp.Fault{Code: 9003, Text: "Invalid arguments"}},
	{"faultDetail", "9003 inside 9003", "", envelope("", `<soap-env:Fault><detail><cwmp:Fault><FaultCode>9003</FaultCode><FaultString/>`+
		`<SetParameterValuesFault><ParameterName>Device.A</ParameterName><FaultCode>9003</FaultCode><FaultString>y</FaultString></SetParameterValuesFault></cwmp:Fault></detail></soap-env:Fault>`),
		&cwmp.Fault{Code: 9003, Parameters: []cwmp.ParameterFault{{Name: "Device.A", Code: 9003, Text: "y"}}}},
	{"faultDetail", "a parameter's fault without its name", "", envelope("", `<soap-env:Fault><detail><cwmp:Fault><FaultCode>9003</FaultCode>`+
		`<SetParameterValuesFault><FaultCode>9005</FaultCode></SetParameterValuesFault></cwmp:Fault></detail></soap-env:Fault>`),
		&cwmp.Fault{Code: 9003, Parameters: []cwmp.ParameterFault{{Code: 9005}}}},
	// Deviation: several CPE – send fault codes that are none of CWMP; a number is kept, anything else is 9002
	{"faultCode", "no number", "", envelope("", `<soap-env:Fault><detail><cwmp:Fault><FaultCode>bad</FaultCode></cwmp:Fault></detail></soap-env:Fault>`), &cwmp.Fault{Code: 9002}},
	{"faultCode", "none of the standard's", "", transferComplete(`<FaultStruct><FaultCode>1</FaultCode><FaultString>error</FaultString></FaultStruct>`), &cwmp.TransferComplete{Fault: &cwmp.Fault{Code: 1, Text: "error"}}},
	{"faultCode", "a vendor's", "", envelope("", `<cwmp:Fault><FaultCode>9800</FaultCode></cwmp:Fault>`), &cwmp.Fault{Code: 9800}},
	// Deviation: as a precaution – a DU operation without xsi:type; it is told from the arguments
	{"operationKind", "told from the arguments", "", envelope("", `<cwmp:ChangeDUState><Operations><URL>u</URL></Operations><Operations><UUID>i</UUID></Operations>`+
		`<Operations><URL>u</URL><Version>2</Version></Operations></cwmp:ChangeDUState>`),
		&cwmp.ChangeDUState{Operations: []cwmp.DUOperation{{Kind: "Install", URL: "u"}, {Kind: "Uninstall", UUID: "i"}, {Kind: "Update", URL: "u", Version: "2"}}}},
	// Deviation: CPE that count Content-Length in characters – lose the last bytes of the envelope, or send junk after it; the RPC is read if it is whole
	{"cutTail", "last bytes missing", "", strings.TrimSuffix(envelope("", reboot), "y></soap-env:Envelope>"), rebooted},
	{"cutTail", "junk after the envelope", "", envelope("", reboot) + "\x00\r\n0\r\n", rebooted},
}
