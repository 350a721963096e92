package capture

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// envelope wraps an RPC as most CPE do.
func envelope(rpc string) string {
	return `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:cwmp="urn:dslforum-org:cwmp-1-0">` +
		`<soapenv:Header><cwmp:ID soapenv:mustUnderstand="1">7</cwmp:ID></soapenv:Header>` +
		`<soapenv:Body>` + rpc + `</soapenv:Body></soapenv:Envelope>`
}

func values(structs string) string {
	return `<cwmp:GetParameterValuesResponse><ParameterList>` + structs + `</ParameterList></cwmp:GetParameterValuesResponse>`
}

func value(name, text string) string {
	return `<ParameterValueStruct><Name>` + name + `</Name><Value xsi:type="xsd:string">` + text + `</Value></ParameterValueStruct>`
}

// TestMask: what is masked, and that nothing else of the XML changes. In the rows
// » and « enclose what must become ********.
func TestMask(t *testing.T) {
	tests := []struct {
		name string
		from Side
		rpc  string
	}{
		{"an ordinary value", CPE, values(value("Device.WiFi.SSID.1.SSID", "home"))},
		{"a passphrase", CPE, values(value("Device.WiFi.AccessPoint.1.Security.KeyPassphrase", "»hunter2hunter2«"))},
		{"a table of keys", CPE, values(value("InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.WEPKey.2.WEPKey", "»AABBCCDDEE«"))},
		{"a pre-shared key", CPE, values(value("InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.PreSharedKey.1.PreSharedKey", "»00ff«"))},
		{"a SIP password", CPE, values(value("InternetGatewayDevice.Services.VoiceService.1.VoiceProfile.1.Line.1.SIP.AuthPassword", "»x1y2«"))},
		{"a SIP user name stays", CPE, values(value("InternetGatewayDevice.Services.VoiceService.1.VoiceProfile.1.Line.1.SIP.AuthUserName", "0049301234"))},
		{"a vendor's key", CPE, values(value("InternetGatewayDevice.X_ALU-COM_Wifi.Wpa_Key1", "»s3cr3t«"))},
		{"an SNMP community", CPE, values(value("Device.X_ACME_SNMP.ReadCommunity", "»public«"))},
		{"a vendor's list of secrets", CPE, values(value("Device.X_ACME_Secrets.1.Value", "»s3cr3t«"))},
		{"what is about a secret stays", CPE, values(value("InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.WEPKeyIndex", "1") + value("Device.Users.X_ACME_PasswordPolicy", "strict") +
			value("InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.TotalPSKFailures", "27"))},
		{"TR-098's numbers stay", CPE, values(value("InternetGatewayDevice.Layer2Bridging.Filter.1.FilterKey", "12"))},
		{"the bridge's own keys stay", CPE, values(value("Device.ManagementServer.ParameterKey", "upb-1"))},
		{"an empty secret is empty", CPE, values(value("Device.ManagementServer.Password", ""))},
		{"a boolean stays", CPE, values(`<ParameterValueStruct><Name>Device.X_Password</Name><Value xsi:type="xsd:boolean">1</Value></ParameterValueStruct>`)},
		{"a credential in a URL", CPE, values(value("Device.ManagementServer.URL", "https://»user:pw«@acs.example/x?a=b"))},
		{"a password in a URL with all that URLs have", CPE, values(value("Device.ManagementServer.URL", "https://»user:p@s/s?w«@acs.example/x"))},
		{"a password in a SIP address", CPE, values(value("Device.Services.X.URI", "sip:joe:»pw«@sip.example"))},
		{"a token in a URL", CPE, values(value("Device.X_ACME_Cloud.URL", "https://acs.example/x?id=5&amp;token=»abc«"))},
		{"a configuration in a value", CPE, values(value("Device.X_ACME_Config", "»ssid=home; wpa_psk=hunter2«"))},
		{"white space around a secret stays", CPE, values(value("Device.X.Password", "\n   »hunter2«\n  "))},

		// The shapes of field notes.
		{"Value before Name", CPE, values(`<P><Value>»hunter2«</Value><Name>Device.X.Password</Name></P>`)},
		{"qualified arguments", CPE, `<n1:GetParameterValuesResponse><n1:ParameterList><n1:S><n1:Name>Device.X.Password</n1:Name><n1:Value>»hunter2«</n1:Value></n1:S></n1:ParameterList></n1:GetParameterValuesResponse>`},
		{"two Values", CPE, values(`<P><Name>Device.X.Password</Name><Value>»hunter2«</Value><Value>»hunter3«</Value></P>`)},
		{"a Value by another name", CPE, values(`<P><Name>Device.X.Password</Name><Val>»hunter2«</Val><Writable>1</Writable></P>`)},
		{"no Name", CPE, values(`<P><Value>»hunter2«</Value></P>`)},
		{"an empty Name", CPE, values(`<P><Name/><Value>»hunter2«</Value></P>`)},
		{"a Name without its path", CPE, values(value(".Password", "»hunter2«"))},
		{"blanks around a Name", CPE, values(value(" Device.X.Password\n", "»hunter2«"))},
		{"a Name with references", CPE, values(value("Device.X.Passw&#111;rd", "»hunter2«"))},
		{"a Name in CDATA", CPE, values(value("<![CDATA[Device.X.Password]]>", "»hunter2«"))},
		{"a secret in CDATA", CPE, values(value("Device.X.Password", "»<![CDATA[hunter2]]>«"))},
		{"a secret with a comment in it", CPE, values(value("Device.X.Password", "»hun<!-- x -->ter2«"))},
		{"a secret with elements in it", CPE, values(value("Device.X.Password", "»hun<b>ter</b>2«"))},
		{"a bare ampersand", CPE, values(value("Device.X.Password", "»a&b«") + value("Device.X.Name", "a&b"))},
		{"text beside elements", CPE, values(`<P><Name>Device.X.Password</Name>»hunter2«</P>`)},
		{"single quotes", CPE, values(`<P><Name xsi:type='xsd:string'>Device.X.Password</Name><Value xsi:type='xsd:string'>»hunter2«</Value></P>`)},
		{"an attribute of nobody", CPE, values(`<P text="»hunter2«"><Name>Device.X.Name</Name><Value>x</Value></P>`)},
		{"a comment", CPE, `<!-- »debug: pw hunter2« -->` + values("")},

		{"an Inform", CPE, `<cwmp:Inform><ParameterList>` + value("Device.ManagementServer.ConnectionRequestPassword", "»hunter2«") + `</ParameterList></cwmp:Inform>`},
		{"a SetParameterValues", ACS, `<cwmp:SetParameterValues><ParameterList>` + value("Device.X.Password", "»hunter2«") + `</ParameterList><ParameterKey>upb-1</ParameterKey></cwmp:SetParameterValues>`},
		{"a Download", ACS, `<cwmp:Download><CommandKey>k</CommandKey><URL>http://f.example/fw.bin?x=»1«</URL><Username>»joe«</Username><Password>»hunter2«</Password></cwmp:Download>`},
		{"vouchers", ACS, `<cwmp:SetVouchers><VoucherList><base64>»QUJD«</base64></VoucherList></cwmp:SetVouchers>`},
		{"a vendor's RPC", CPE, `<cwmp:X_ACME_Login><User>joe</User><X_Pass_Word>»hunter2«</X_Pass_Word></cwmp:X_ACME_Login>`},
		{"the fault of a secret", CPE, `<soapenv:Fault><detail><cwmp:Fault><SetParameterValuesFault><ParameterName>Device.X.Password</ParameterName><FaultString>»hunter2 is too short«</FaultString></SetParameterValuesFault></cwmp:Fault></detail></soapenv:Fault>`},
		{"the fault of anything else", CPE, `<soapenv:Fault><detail><cwmp:Fault><FaultString>no parameter "Device.X"</FaultString></cwmp:Fault></detail></soapenv:Fault>`},
		{"what the ACS quotes", ACS, `<soapenv:Fault><detail><cwmp:Fault><FaultString>expected &lt;/Value&gt;, found "»ter2«"</FaultString></cwmp:Fault></detail></soapenv:Fault>`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want, plain := marked(envelope(tt.rpc))
			got, _, note := new(masker).mask([]byte(plain), tt.from)
			if string(got) != want || note != "" {
				t.Errorf("note %q\n got %s\nwant %s", note, got, want)
			}
		})
	}
}

// marked returns a text of which each »…« is masked, and the text as it was.
func marked(text string) (masked, plain string) {
	for {
		before, rest, found := strings.Cut(text, "»")
		masked, plain = masked+before, plain+before
		if !found {
			return masked, plain
		}
		secret, after, _ := strings.Cut(rest, "«")
		masked, plain, text = masked+Mask, plain+secret, after
	}
}

// TestMaskLearns: a CPE's fault that quotes what it was given does not tell it.
func TestMaskLearns(t *testing.T) {
	var m masker
	m.mask([]byte(envelope(`<cwmp:SetParameterValues><ParameterList>`+value("Device.X.Password", "a&lt;hunter2")+`</ParameterList></cwmp:SetParameterValues>`)), ACS)
	got, rpc, _ := m.mask([]byte(envelope(`<soapenv:Fault><detail><cwmp:Fault><FaultString>bad value a&lt;hunter2 for X</FaultString></cwmp:Fault></detail></soapenv:Fault>`)), CPE)
	if !strings.Contains(string(got), "<FaultString>bad value ******** for X</FaultString>") || rpc != "Fault" {
		t.Errorf("%s: %s", rpc, got)
	}
}

// TestMaskOfWhatIsNoXML: a body that cannot be read keeps its tags and parameter
// names and nothing else; what a secret looks like does not matter.
func TestMaskOfWhatIsNoXML(t *testing.T) {
	const head = `<SOAP-ENV:Envelope xmlns:x="urn:dslforum-org:cwmp-1-0"><SOAP-ENV:Body><x:GetParameterValuesResponse><ParameterList>`
	const tail = `</ParameterList></x:GetParameterValuesResponse></SOAP-ENV:Body></SOAP-ENV:Envelope>`
	tests := []struct{ name, body, want string }{
		{"a raw <", head + `<ParameterValueStruct><Name>Device.X.Password</Name><Value>hun<ter2</Value></ParameterValueStruct>` + tail,
			head + `<ParameterValueStruct><Name>Device.X.Password</Name><Value>********</Value></ParameterValueStruct>` + tail},
		{"a secret that looks like a tag", head + `<Value>hun<ter>2</Value>` + tail, head + `<Value>********</Value>` + tail},
		{"a tag not ended", head + `<Name>Device.X.Password</Name><Value>hunter2</Val`, head + `<Name>Device.X.Password</Name><Value>********`},
		{"an end tag too much", head + `</Value><Value>hunter2</Value>` + tail, head + `</Value><Value>********</Value>` + tail},
		{"no XML at all", "login: joe password: hunter2", "********"},
		{"HTML", "<html><body>hunter2</body></html>", "********"},
		{"a DOCTYPE", `<?xml version="1.0"?><!DOCTYPE x [<!ENTITY p "hunter2">]>` + head + tail, `<?xml version="1.0"?>********` + head + tail},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, _, note := new(masker).mask([]byte(tt.body), CPE); string(got) != tt.want || note == "" {
				t.Errorf("note %q\n got %s\nwant %s", note, got, tt.want)
			}
		})
	}
	if got, _, note := new(masker).mask([]byte("\xef\xbb\xbf"+envelope("")), CPE); string(got) != "\xef\xbb\xbf"+envelope("") || note != "" {
		t.Errorf("a byte order mark: %q, note %q", got, note)
	}
	if got, _, note := new(masker).mask([]byte("\xff\xfe<\x00h\x00u\x00n\x00t\x00e\x00r\x00"), CPE); got != nil || note == "" {
		t.Errorf("UTF-16: %q, note %q", got, note)
	}
}

// TestNoSecretSurvives plants a secret in messages of every shape and with every
// accident, and looks for it afterwards.
func TestNoSecretSurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[A-Z]{3}[a-z0-9]{2}[&<>'" ]?[A-Z]{4}[0-9]{4}`).Draw(t, "secret")
		body := planted(t, secret)
		var m masker
		for _, from := range []Side{CPE, ACS} {
			got, _, _ := m.mask([]byte(body), from)
			// Any six characters of it in a row are a piece of it.
			for i := 0; i+6 <= len(secret); i++ {
				if strings.Contains(string(got), secret[i:i+6]) {
					t.Fatalf("%q of %q survives in\n%s\nwhich was\n%s", secret[i:i+6], secret, got, body)
				}
			}
		}
	})
}

// planted draws a message with a secret in it.
func planted(t *rapid.T, secret string) string {
	pick := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
	prefix := pick("prefix", "", "cwmp:", "ns1:", "soap_env:")
	argument := pick("argument prefix", "", prefix)
	written := pick("form", secret, "<![CDATA["+secret+"]]>", "\n "+secret+"\n", secret[:4]+"<!-- -->"+secret[4:], strings.ReplaceAll(secret, "&", "&amp;"))
	name := pick("name", "Device.ManagementServer.Password", "InternetGatewayDevice.X_HW_WebUserInfo.UserPassword", ".KeyPassphrase",
		"Device.WiFi.AccessPoint.10.Security.PreSharedKey", "Device.X_ACME.WPAPSKKey2", " Device.Services.X.AuthPassword ", "Device.X_A.Pass&#119;ord", "")
	nameElement := "<" + argument + "Name>" + name + "</" + argument + "Name>"
	valueElement := "<" + argument + "Value" + pick("type", "", ` xsi:type="xsd:string"`, ` xsi:type='xsd:string(64)'`, " xsi:type=\"string\"") + ">" + written + "</" + argument + "Value>"
	both := pick("order", nameElement+valueElement, valueElement+nameElement, nameElement+valueElement+valueElement, valueElement)
	item := pick("item", "ParameterValueStruct", "X", "ParameterValueStruct ")
	list := "<" + item + ">" + both + "</" + strings.TrimSpace(item) + ">"
	rpc := pick("rpc",
		"<"+prefix+"GetParameterValuesResponse><ParameterList>"+list+"</ParameterList></"+prefix+"GetParameterValuesResponse>",
		"<"+prefix+"Inform><ParameterList>"+list+"</ParameterList></"+prefix+"Inform>",
		"<"+prefix+"SetParameterValues><ParameterList>"+list+"</ParameterList><ParameterKey>1</ParameterKey></"+prefix+"SetParameterValues>",
		"<"+prefix+"Download><URL>http://a.example/f</URL><Username>"+written+"</Username><Password>"+written+"</Password></"+prefix+"Download>",
		"<"+prefix+"SetVouchers><VoucherList><base64>"+written+"</base64></VoucherList></"+prefix+"SetVouchers>")
	body := pick("declaration", "", `<?xml version="1.0"?>`, "\n", "\xef\xbb\xbf") + `<E:Envelope xmlns:E='http://schemas.xmlsoap.org/soap/envelope/'><E:Body>` + rpc + `</E:Body></E:Envelope>`
	switch rapid.IntRange(0, 3).Draw(t, "accident") {
	case 1: // cut off
		return body[:rapid.IntRange(strings.Index(body, "Body>"), len(body)).Draw(t, "length")]
	case 2: // a piece of markup lost; without a piece of its name a parameter is another one
		at := regexp.MustCompile(`[<>/"'=]`).FindAllStringIndex(body, -1)
		i := rapid.SampledFrom(at).Draw(t, "lost")[0]
		return body[:i] + body[i+1:]
	case 3: // in a row with another message
		return body + body
	}
	return body
}

// FuzzMask: no input panics, what is masked stays so, and a body that is
// well-formed stays so.
func FuzzMask(f *testing.F) {
	f.Add([]byte(envelope(values(value("Device.X.Password", "hunter2")))))
	f.Add([]byte(`<Envelope><Value>x</Value><Name>y`))
	f.Add([]byte("<Envelope b='c'>&lt;<![CDATA[<]]></Envelope>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		once, _, note := new(masker).mask(body, CPE)
		if note == "" && len(trim(body)) > 0 {
			if _, err := parseDocument(once); err != nil {
				t.Fatalf("no longer well-formed: %q", once)
			}
			if twice, _, _ := new(masker).mask(once, CPE); string(twice) != string(once) {
				t.Fatalf("masking again changes it:\n%q\n%q", once, twice)
			}
		}
		newAnonymiser().body(once)
	})
}

func BenchmarkMask(b *testing.B) {
	var list strings.Builder
	for range 1000 {
		list.WriteString(value("Device.WiFi.AccessPoint.1.Security.KeyPassphrase", "hunter2"))
		list.WriteString(value("Device.WiFi.SSID.1.BSSID", "00:11:22:33:44:55"))
	}
	body := []byte(envelope(values(list.String())))
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		new(masker).mask(body, CPE)
	}
}
