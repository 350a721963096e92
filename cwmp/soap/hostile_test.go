package soap_test

import (
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/beevik/etree"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

const (
	mega  = 1 << 20
	large = 2*mega - 4096 // near the bound of a body in these tests
)

// list is an RPC whose list holds anything.
func list(rpc, name, inside string) string {
	return envelope(idHeader, "<cwmp:"+rpc+"><"+name+">"+inside+"</"+name+"></cwmp:"+rpc+">")
}

// hostile are bodies made to exhaust their reader. The memory that reading takes
// is bounded by copies of the body: one for its text, a quarter for the list that
// its length lets expect, one more for text in which something is resolved or
// decoded, and several for lists that grow.
var hostile = []struct {
	name   string
	body   func() string
	limit  string  // of Limits, that refuses it
	text   string  // that the error contains; "" if it is read
	copies float64 // of the body, in memory; 0 is 1.3
}{
	{"entities that multiply", func() string {
		return `<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>` + oneValue("<Value>&b;</Value>")
	}, "", "DOCTYPE", 0},
	{"external entity", func() string {
		return `<!DOCTYPE a SYSTEM "file:///etc/passwd">` + oneValue("<Value>&a;</Value>")
	}, "", "DOCTYPE", 0},
	{"entity declared inside", func() string { return envelope(`<!ENTITY a "b">`, reboot) }, "", "ENTITY", 0},
	{"entity that nobody declared", func() string { return oneValue("<Value>" + strings.Repeat("&lol;", large/5) + "</Value>") }, "", "", 2.3},
	{"references only", func() string { return oneValue("<Value>" + strings.Repeat("&#x10FFFF;", large/10) + "</Value>") }, "", "", 2.3},
	{"nesting", func() string { return strings.Repeat("<a>", large/3) }, "", "Envelope", 0},
	{"nesting inside", func() string { return envelope(strings.Repeat("<a>", large/3), reboot) }, "Depth", "deeper than 32", 0},
	{"attributes", func() string {
		return strings.Replace(envelope("", reboot), "<soap-env:Body", "<soap-env:Body"+strings.Repeat(` a="1"`, large/8), 1)
	}, "Attributes", "more than 64", 0},
	{"namespaces", func() string { return envelope(strings.Repeat(`<a xmlns:b="urn:c" xmlns:d="urn:e"/>`, 1<<15), reboot) }, "", "", 0},
	{"name of an element", func() string { return envelope("<"+strings.Repeat("a", large)+"/>", reboot) }, "NameBytes", "256 are allowed", 0},
	{"name of an attribute", func() string { return envelope("<a "+strings.Repeat("a", large)+`=""/>`, reboot) }, "NameBytes", "256 are allowed", 0},
	{"value of an attribute", func() string { return envelope(`<a b="`+strings.Repeat("&amp;", large/5)+`"/>`, reboot) }, "", "", 2.3},
	{"elements", func() string { return envelope(strings.Repeat("<a/>", 1<<16), reboot) }, "Elements", "more than 65536", 0},
	{"entries without name", func() string {
		return list("GetParameterValuesResponse", "ParameterList", strings.Repeat("<a/>", 1<<15))
	}, "", "", 2},
	{"entries without content", func() string { return list("GetOptionsResponse", "OptionList", strings.Repeat("<a/>", 1<<16-10)) }, "", "", 1.6},
	{"entries, small in XML and large in memory", func() string {
		return list("GetOptionsResponse", "OptionList", strings.Repeat("<a><Mode/></a>", 1<<15-10))
	}, "", "", 35},
	{"results without content", func() string {
		return envelope("", "<cwmp:DUStateChangeComplete>"+strings.Repeat("<Results/>", 1<<16-10)+"</cwmp:DUStateChangeComplete>")
	}, "", "", 0},
	{"results, the largest of all structures", func() string {
		return envelope("", "<cwmp:DUStateChangeComplete>"+strings.Repeat("<Results><UUID/></Results>", 1<<15-10)+"</cwmp:DUStateChangeComplete>")
	}, "", "", 40},
	{"operations without content", func() string {
		return envelope("", "<cwmp:ChangeDUState>"+strings.Repeat("<Operations/>", 1<<16-10)+"</cwmp:ChangeDUState>")
	}, "", "", 12},
	{"faults of parameters", func() string {
		return envelope("", "<cwmp:Fault>"+strings.Repeat("<SetParameterValuesFault/>", 1<<16-10)+"</cwmp:Fault>")
	}, "", "", 12},
	{"events", func() string {
		return informWith("<Event>" + strings.Repeat("<EventCode>a</EventCode>", 1<<15) + "</Event>")
	}, "", "", 10},
	{"methods", func() string { return list("GetRPCMethodsResponse", "MethodList", strings.Repeat("<a/>", 1<<16-10)) }, "", "", 25},
	{"lists in lists", func() string {
		return list("GetParameterAttributesResponse", "ParameterList", strings.Repeat("<a><AccessList><b/></AccessList></a>", 1<<14))
	}, "", "", 2},
	{"lists with a large rest behind them", func() string {
		return list("GetParameterAttributesResponse", "ParameterList", strings.Repeat("<a><AccessList></AccessList></a>", 1<<10)+"<b>"+strings.Repeat("c", large/2)+"</b>")
	}, "", "", 1.4},
	{"size of an array", func() string {
		return strings.Replace(values(""), "[1]", "[2147483647]", 1)
	}, "", "", 0},
	{"one text", func() string { return oneValue("<Value>" + strings.Repeat("a", large) + "</Value>") }, "", "", 0},
	{"one text with line ends of Windows", func() string { return oneValue("<Value>" + strings.Repeat("a\r\n", large/3) + "</Value>") }, "", "", 2.3},
	{"sections of text", func() string { return oneValue("<Value>" + strings.Repeat("<![CDATA[]]>a", large/13) + "</Value>") }, "", "", 2},
	{"comments", func() string { return envelope(strings.Repeat("<!---->", large/7), reboot) }, "", "", 0},
	{"instructions", func() string { return envelope(strings.Repeat("<??>", large/4), reboot) }, "", "", 0},
	{"blanks", func() string { return strings.Repeat(" ", large) }, "", "empty body", 0},
	{"more than is allowed", func() string { return strings.Repeat(" ", 2*mega+1) }, "Bytes", "2097153 bytes", 0},
	{"more than is allowed as UTF-8", func() string { return strings.Repeat("\xe4", large) }, "Bytes", "as UTF-8", 5},
	{"more than is allowed of windows-1252", func() string { return `<?xml version="1.0" encoding="windows-1252"?>` + strings.Repeat("\x80", large) }, "Bytes", "as UTF-8", 5},
	{"more than is allowed of UTF-16", func() string { return "\xff\xfe" + strings.Repeat("\xac\x20", large/2) }, "Bytes", "as UTF-8", 5},

	{"comment without end", func() string { return envelope("<!--"+strings.Repeat("-", large), reboot) }, "", "without -->", 0},
	{"section without end", func() string { return oneValue("<Value><![CDATA[" + strings.Repeat("]]", large/2)) }, "", "without ]]>", 0},
	{"instruction without end", func() string { return "<?xml " + strings.Repeat("?", large) }, "", "without ?>", 0},
	{"tag without end", func() string { return "<Envelope" + strings.Repeat(" ", large) }, "", "ends inside", 0},
	{"attribute without end", func() string { return `<Envelope a="` + strings.Repeat("a", large) }, "", "ends inside", 0},
	{"text without end", func() string { return "<Envelope><Body><Reboot><CommandKey>" + strings.Repeat("a", large) }, "", "ends inside", 0},
	{"list without end", func() string {
		return strings.TrimSuffix(values(strings.Repeat("<ParameterValueStruct><Name>Device.A</Name></ParameterValueStruct>", 1<<14)), "</ParameterList></cwmp:GetParameterValuesResponse></soap-env:Body></soap-env:Envelope>")
	}, "", "ends inside", 3.5},
	{"half a reference", func() string { return "<Envelope><Body><Reboot><CommandKey>&#x" }, "", "ends inside", 0},
	{"end tags only", func() string { return strings.Repeat("</a>", large/4) }, "", "before any element", 0},
	{"end tags of another", func() string { return "<Envelope><Body></Envelope></Body>" }, "", "expected </Body>", 0},

	{"NULs", func() string { return strings.Repeat("\x00", large) }, "", "expected an Envelope", 0},
	{"NUL in a name", func() string { return "<Enve\x00lope/>" }, "", "expected a name", 0},
	{"NUL in text", func() string { return oneValue("<Value>a\x00b</Value>") }, "", "", 0},
	{"UTF-8 that is none", func() string { return oneValue("<Value>\xc0\xaf\xed\xa0\x80\xff\xfe\x80</Value>") }, "", "", 3},
	{"encoding of another name", func() string { return `<?xml version="1.0" encoding="UTF-16"?>` + envelope("", reboot) }, "", "", 0},
	{"UTF-7 declared", func() string {
		return `<?xml version="1.0" encoding="UTF-7"?>` + oneValue("<Value>+ADw-a+AD4-</Value>")
	}, "", "", 0},
	{"EBCDIC", func() string { return "\x4c\x6f\xa7\x94\x93" + strings.Repeat("\x40", mega) }, "", "expected an Envelope", 3},
	{"UTF-32, big end first", func() string { return "\x00\x00\xfe\xff\x00\x00\x00<" }, "", "expected an Envelope", 3},
	{"UTF-32, little end first", func() string { return "\xff\xfe\x00\x00<\x00\x00\x00" }, "", "expected an Envelope", 3},
	{"UTF-32 without a mark", func() string { return "<\x00\x00\x00E\x00\x00\x00" }, "", "expected a name", 3},
	{"half a character of UTF-16", func() string { return "\xff\xfe<" }, "", "empty body", 3},
}

// TestHostile measures the memory that reading takes. What is fixed is for the
// scanner and the error.
func TestHostile(t *testing.T) {
	const fixed = 16 << 10
	limits := soap.Limits{Bytes: 2 * mega, Elements: 1 << 16}
	for _, tt := range hostile {
		t.Run(tt.name, func(t *testing.T) {
			body := []byte(tt.body())
			e, memory, err := readMeasured(body, limits)

			var syntax *soap.SyntaxError
			switch {
			case tt.text == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.text != "" && (!errors.As(err, &syntax) || syntax.Limit != tt.limit || !strings.Contains(err.Error(), tt.text)):
				t.Errorf("error %.200v, want a SyntaxError of limit %q with %q", err, tt.limit, tt.text)
			case e == nil || err != nil && (e.Body != nil || len(err.Error()) > 500):
				t.Errorf("envelope %v and an error of %d bytes", e, len(err.Error()))
			}
			copies := tt.copies
			if copies == 0 {
				copies = 1.3
			}
			if most := uint64(copies*float64(len(body))) + fixed; memory > most {
				t.Errorf("%d bytes of memory for a body of %d, want at most %d", memory, len(body), most)
			}
		})
	}
}

// readMeasured reads a body and counts the memory that was taken for it.
func readMeasured(body []byte, limits soap.Limits) (e *soap.Envelope, memory uint64, err error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	e, err = soap.Read(body, "text/xml", limits)
	runtime.ReadMemStats(&after)
	return e, after.TotalAlloc - before.TotalAlloc, err
}

// TestLargestText: one text may be nearly as long as a body.
func TestLargestText(t *testing.T) {
	text := strings.Repeat("a", 16*mega-4096)
	body := []byte(oneValue("<Value>" + text + "</Value>"))
	e, memory, err := readMeasured(body, soap.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := e.Body.(*cwmp.GetParameterValuesResponse); !ok || len(m.Values) != 1 || m.Values[0].Value.Text != text {
		t.Error("the text is not read")
	}
	if most := uint64(len(body)) * 13 / 10; memory > most {
		t.Errorf("%d bytes of memory for a body of %d, want at most %d", memory, len(body), most)
	}
}

// TestNothingDecodesToMarkup: text stays text, in whatever way it is encoded.
func TestNothingDecodesToMarkup(t *testing.T) {
	for name, value := range map[string]string{
		"UTF-7": "+ADw-a+AD4-", "overlong UTF-8": "\xc0\xbca\xc0\xbe", "references": "&lt;a&gt;&#60;/Value&#62;", "percent": "%3Ca%3E",
		"CDATA": "<![CDATA[</Value><a>]]>", "full width": "＜a＞",
	} {
		body := `<?xml version="1.0" encoding="UTF-7"?>` + oneValue(`<Value xsi:type="xsd:string">`+value+`</Value>`)
		e, err := soap.Read([]byte(body), "text/xml; charset=utf-7", soap.Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if m, ok := e.Body.(*cwmp.GetParameterValuesResponse); !ok || len(m.Values) != 1 || m.Values[0].Name != "Device.A" {
			t.Errorf("%s reads as %+v", name, e.Body)
		}
	}
}

// outbreak is text that ends what it stands in, wherever that is.
const outbreak = "\"'/></cwmp:ID></Name></Value>]]>--><evil a=\"1\"/><!-- <![CDATA[ &evil; <?evil?>\r\n\r\nSet-Cookie: evil=1\r\n\x00\u2028"

// TestNothingBreaksOut: whatever texts a message has, what is written has the
// elements and attributes of the same message with plain texts.
func TestNothingBreaksOut(t *testing.T) {
	for _, m := range everyMessage {
		t.Run(m.RPC(), func(t *testing.T) {
			outline := func(text string) []string {
				body := reflect.New(reflect.TypeOf(m).Elem())
				setTexts(body.Elem(), text)
				e := &soap.Envelope{ID: text, HasID: true, Version: cwmp.Version1_2, SupportedVersions: text, UseVersion: text, Body: body.Interface().(cwmp.Message)}
				return outlineOf(t, soap.Append(nil, e))
			}
			if d := diff(outline("x"), outline(outbreak)); d != "" {
				t.Error(d)
			}
		})
	}
}

// setTexts sets every text in v, with one entry in each list.
func setTexts(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			setTexts(v.Field(i), text)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		setTexts(v.Index(0), text)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		setTexts(v.Elem(), text)
	case reflect.String:
		v.SetString(text)
	}
}

// outlineOf lists the elements of a document with their attributes, as an
// independent parser sees them, and everything that is neither element nor text.
func outlineOf(t *testing.T, out []byte) (outline []string) {
	t.Helper()
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(out); err != nil {
		t.Fatalf("not well-formed: %v\n%s", err, out)
	}
	var walk func(e *etree.Element)
	walk = func(e *etree.Element) {
		line := e.GetPath()
		for _, a := range e.Attr {
			line += " " + a.FullKey() + "=" + a.Value
		}
		outline = append(outline, line)
		for _, c := range e.Child {
			switch c := c.(type) {
			case *etree.Element:
				walk(c)
			case *etree.CharData:
			default:
				outline = append(outline, "something else")
			}
		}
	}
	walk(doc.Root())
	return outline
}
