package soap_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

const newestVersion = cwmp.Version1_4

// document is an envelope to be validated, and whether it is to be valid.
type document struct {
	name  string
	body  []byte
	valid bool
}

// TestSchemas validates what is written against the XML Schema of its version:
// each RPC with the least and the most it can hold, every header element, and
// every type of value. What is newer than the version it is written for must be
// refused: that proves cwmp.Since.
func TestSchemas(t *testing.T) {
	xmllint := findXMLLint(t)
	for v := cwmp.Version1_0; v <= newestVersion; v++ {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			var documents []document
			for _, s := range samples {
				name, since := "nothing", cwmp.Version1_0
				if s.m != nil {
					name, since = s.m.RPC(), cwmp.Since(s.m)
				}
				for _, e := range envelopesOf(v, s.m) {
					documents = append(documents, document{fmt.Sprintf("%s, %s, header %q", name, s.what, e.ID), soap.Append(nil, &e), max(since, s.from) <= v})
				}
			}
			validate(t, xmllint, v, documents)
		})
	}
}

// envelopesOf puts a message into envelopes without header and with all header
// elements that a side may send.
func envelopesOf(v cwmp.Version, m cwmp.Message) []soap.Envelope {
	return []soap.Envelope{
		{Version: v, Body: m},
		{ID: "ACS", Version: v, HoldRequests: true, UseVersion: "1.4", Body: m},
		{ID: "CPE", Version: v, NoMoreRequests: true, SessionTimeout: 2147483647, SupportedVersions: "1.0,1.1,1.2,1.3,1.4", Body: m},
	}
}

// TestSamples: a message that package cwmp gains must get its samples.
func TestSamples(t *testing.T) {
	sampled := map[string]bool{}
	for _, s := range samples {
		if s.m != nil {
			sampled[s.m.RPC()] = true
		}
	}
	for _, m := range everyMessage {
		if !sampled[m.RPC()] {
			t.Errorf("%s has no sample", m.RPC())
		}
	}
}

// broken are changes that make a valid envelope invalid. They show that the
// schemas can refuse.
var broken = []struct {
	name     string
	version  cwmp.Version
	m        cwmp.Message
	old, new string
}{
	{"wrong order of arguments", 0, &cwmp.AddObjectResponse{InstanceNumber: 1}, "<InstanceNumber>1</InstanceNumber><Status>0</Status>", "<Status>0</Status><InstanceNumber>1</InstanceNumber>"},
	{"wrong order in a structure", 0, valuesResponse(stringValue("A", "")), `<Name>A</Name><Value xsi:type="xsd:string"></Value>`, `<Value xsi:type="xsd:string"></Value><Name>A</Name>`},
	{"wrong order of header and body", 0, nil, "<soapenv:Header>", "<soapenv:Body></soapenv:Body><soapenv:Header>"},
	{"wrong order in a DU operation", 2, &cwmp.ChangeDUState{Operations: []cwmp.DUOperation{{Kind: "Update", Version: "1", URL: "u"}}},
		"<Version>1</Version><URL>u</URL>", "<URL>u</URL><Version>1</Version>"},
	{"missing argument", 0, &cwmp.SetParameterValues{}, "<ParameterKey></ParameterKey>", ""},
	{"missing member", 0, &cwmp.Inform{DeviceID: testDevice}, "<ProductClass>C</ProductClass>", ""},
	{"missing list", 0, &cwmp.Inform{DeviceID: testDevice}, `<ParameterList soapenc:arrayType="cwmp:ParameterValueStruct[0]"></ParameterList>`, ""},
	{"missing value", 0, valuesResponse(stringValue("A", "")), `<Value xsi:type="xsd:string"></Value>`, ""},
	{"missing item", 0, &cwmp.GetParameterValues{Names: []cwmp.Path{""}}, "<string></string>", ""},
	{"missing arrayType", 0, valuesResponse(), ` soapenc:arrayType="cwmp:ParameterValueStruct[0]"`, ""},
	{"missing fault", 0, &cwmp.TransferComplete{}, "<FaultStruct><FaultCode>0</FaultCode><FaultString></FaultString></FaultStruct>", ""},
	{"missing code of a fault", 0, cwmp.NewFault(9000), "<FaultCode>9000</FaultCode>", ""},
	{"missing detail of a fault", 0, cwmp.NewFault(9000), "<detail><cwmp:Fault><FaultCode>9000</FaultCode><FaultString>Method not supported</FaultString></cwmp:Fault></detail>", ""},
	{"missing operation performed", 2, &cwmp.AutonomousDUStateChangeComplete{Results: []cwmp.DUResult{sampleResult("Install")}}, "<OperationPerformed>Install</OperationPerformed>", ""},
	{"missing body", 0, nil, "<soapenv:Body></soapenv:Body>", ""},
	{"argument twice", 0, &cwmp.Reboot{}, "<CommandKey></CommandKey>", "<CommandKey></CommandKey><CommandKey></CommandKey>"},
	{"two RPCs", 0, &cwmp.FactoryReset{}, "<cwmp:FactoryReset></cwmp:FactoryReset>", "<cwmp:FactoryReset></cwmp:FactoryReset><cwmp:FactoryReset></cwmp:FactoryReset>"},
	{"unknown argument", 0, &cwmp.FactoryReset{}, "<cwmp:FactoryReset>", "<cwmp:FactoryReset><CommandKey></CommandKey>"},
	{"unknown RPC", 0, &cwmp.FactoryReset{}, "cwmp:FactoryReset>", "cwmp:FactorySet>"},
	{"operation performed where none is", 2, &cwmp.DUStateChangeComplete{Results: []cwmp.DUResult{sampleResult("")}}, "</Fault>", "</Fault><OperationPerformed>Install</OperationPerformed>"},
	{"number of letters", 0, &cwmp.InformResponse{MaxEnvelopes: 1}, ">1<", ">one<"},
	{"number beyond its type", 0, &cwmp.ScheduleInform{}, "<DelaySeconds>0<", "<DelaySeconds>4294967296<"},
	{"negative unsigned number", 0, &cwmp.ScheduleInform{}, "<DelaySeconds>0<", "<DelaySeconds>-1<"},
	{"instance 0", 0, &cwmp.AddObjectResponse{InstanceNumber: 1}, ">1<", ">0<"},
	{"status 2", 0, &cwmp.SetParameterValuesResponse{Status: 1}, ">1<", ">2<"},
	{"boolean in words", 0, &cwmp.GetParameterNames{}, "<NextLevel>0<", "<NextLevel>no<"},
	{"local date and time", 0, &cwmp.Inform{DeviceID: testDevice}, "0001-01-01T00:00:00Z", "Tue Oct 15 15:48:15 UTC 2013"},
	{"empty date and time", 0, &cwmp.DownloadResponse{}, "<StartTime>0001-01-01T00:00:00Z<", "<StartTime><"},
	{"OUI in lower case", 0, &cwmp.Inform{DeviceID: testDevice}, "0011AB", "0011ab"},
	{"value that is not of its type", 0, valuesResponse(cwmp.ParameterValue{Name: "A", Value: cwmp.Value{Type: cwmp.TypeUnsignedInt, Text: "1"}}), ">1<", ">0.00 dBm<"},
	{"value of a type that is none", 0, valuesResponse(stringValue("A", "")), "xsd:string", "xsd:unsigendInt"},
	{"value whose type has no prefix", 0, valuesResponse(stringValue("A", "")), "xsd:string", "string"},
	{"base64 of XML Schema", 0, valuesResponse(cwmp.ParameterValue{Name: "A", Value: cwmp.Value{Type: cwmp.TypeBase64}}), "soapenc:base64", "xsd:base64"},
	{"arrayType without prefix", 0, valuesResponse(), "cwmp:ParameterValueStruct[0]", "ParameterValueStruct[0]"},
	{"item of another name", 0, &cwmp.GetRPCMethodsResponse{Methods: []string{"a"}}, "<string>a</string>", "<item>a</item>"},
	{"object path without its dot", 0, &cwmp.AddObject{Object: "Device."}, "Device.<", "Device<"},
	{"key too long", 0, &cwmp.Reboot{CommandKey: "k"}, ">k<", ">" + strings.Repeat("k", 33) + "<"},
	{"access list of others", 0, &cwmp.GetParameterAttributesResponse{Attributes: []cwmp.ParameterAttributes{{AccessList: []string{"Subscriber"}}}}, "Subscriber", "everybody"},
	{"fault code of nobody", 0, cwmp.NewFault(9000), ">9000<", ">42<"},
	{"event that is none", 2, &cwmp.Inform{DeviceID: testDevice, Events: []cwmp.Event{{Code: cwmp.EventBoot}}}, "1 BOOT", "BOOT"},
	{"DU operation of no kind", 2, &cwmp.ChangeDUState{Operations: []cwmp.DUOperation{{Kind: "Update"}}}, "cwmp:UpdateOpStruct", "cwmp:OperationStruct"},
	{"UUID that is none", 2, &cwmp.ChangeDUState{Operations: []cwmp.DUOperation{{Kind: "Uninstall", UUID: sampleUUID}}}, sampleUUID, "1"},
	{"three time windows", 2, &cwmp.ScheduleDownload{FileType: "2 Web Content", TimeWindows: make([]cwmp.TimeWindow, 3)}, "<WindowMode><", "<WindowMode>1 At Any Time<"},
	{"argument in the namespace", 0, &cwmp.Reboot{}, "<CommandKey></CommandKey>", "<cwmp:CommandKey></cwmp:CommandKey>"},
	{"RPC in no namespace", 0, &cwmp.FactoryReset{}, "cwmp:FactoryReset>", "FactoryReset>"},
	{"namespace of no version", 0, &cwmp.FactoryReset{}, "urn:dslforum-org:cwmp-1-", "urn:dslforum-org:cwmp-2-"},
	{"envelope of SOAP 1.2", 0, nil, "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"},
	{"ID without mustUnderstand", 0, nil, `<cwmp:ID soapenv:mustUnderstand="1">`, `<cwmp:ID>`},
	{"mustUnderstand in words", 0, nil, `<cwmp:ID soapenv:mustUnderstand="1">`, `<cwmp:ID soapenv:mustUnderstand="true">`},
	{"HoldRequests in words", 0, nil, `<cwmp:HoldRequests soapenv:mustUnderstand="1">1<`, `<cwmp:HoldRequests soapenv:mustUnderstand="1">yes<`},
	{"SessionTimeout in words", 3, nil, `<cwmp:SessionTimeout soapenv:mustUnderstand="0">1<`, `<cwmp:SessionTimeout soapenv:mustUnderstand="0">long<`},
	{"UseCWMPVersion without mustUnderstand", 4, nil, `<cwmp:UseCWMPVersion soapenv:mustUnderstand="1">`, `<cwmp:UseCWMPVersion>`},
}

// TestSchemasRefuse has envelopes that are wrong on purpose, each in one point.
// That mustUnderstand is 1 or 0 as the schemas fix it xmllint does not look at:
// TestAppend does.
func TestSchemasRefuse(t *testing.T) {
	xmllint := findXMLLint(t)
	for v := cwmp.Version1_0; v <= newestVersion; v++ {
		var documents []document
		for _, b := range broken {
			if b.version > v {
				continue
			}
			e := soap.Envelope{ID: "1", Version: v, HoldRequests: true, SessionTimeout: 1, UseVersion: "1.4", Body: b.m}
			good := soap.Append(nil, &e)
			bad := bytes.ReplaceAll(good, []byte(b.old), []byte(b.new))
			if bytes.Equal(good, bad) {
				t.Fatalf("%s: nothing to break in\n%s", b.name, good)
			}
			documents = append(documents, document{b.name, bad, false})
		}
		validate(t, xmllint, v, documents)
	}
}

// findXMLLint finds the validator. In continuous integration it has to be there.
func findXMLLint(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("xmllint")
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("xmllint validates what is written, install libxml2-utils: %v", err)
	} else if err != nil {
		t.Skipf("xmllint (libxml2-utils) is not installed: %v", err)
	}
	return path
}

// validate runs the validator once over all documents of a version.
func validate(t *testing.T, xmllint string, v cwmp.Version, documents []document) {
	t.Helper()
	dir := t.TempDir()
	arguments := []string{"--noout", "--nonet", "--schema", filepath.Join("testdata", "schema", fmt.Sprintf("cwmp-1-%d.xsd", v))}
	for i, d := range documents {
		file := filepath.Join(dir, fmt.Sprintf("%d.xml", i))
		// The schemas of 1.3 and 1.4 have the namespace of 1.2.
		body := bytes.ReplaceAll(d.body, []byte(v.Namespace()), []byte(min(v, cwmp.Version1_2).Namespace()))
		if err := os.WriteFile(file, body, 0o600); err != nil {
			t.Fatal(err)
		}
		arguments = append(arguments, file)
	}
	out, err := exec.Command(xmllint, arguments...).CombinedOutput()
	if failed := (*exec.ExitError)(nil); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	for i, d := range documents {
		file := filepath.Join(dir, fmt.Sprintf("%d.xml", i))
		valid, refused := bytes.Contains(out, []byte(file+" validates\n")), bytes.Contains(out, []byte(file+" fails to validate\n"))
		if valid == refused {
			t.Fatalf("xmllint did not get through: %s", out)
		}
		if valid != d.valid {
			t.Errorf("CWMP %v, %s: valid is %v, want %v\n%s\n%s", v, d.name, valid, d.valid, d.body, complaints(out, file))
		}
	}
}

// complaints picks what the validator says of a file.
func complaints(out []byte, file string) string {
	var b strings.Builder
	for line := range bytes.Lines(out) {
		if bytes.HasPrefix(line, []byte(file+":")) {
			b.Write(line)
		}
	}
	return b.String()
}
