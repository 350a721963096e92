package soap_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/beevik/etree"
)

// member is an element inside another, as a schema declares it.
type member struct {
	name, typ      string // typ is "" for text
	optional, many bool
}

// schemaShapes reads which elements each complex type and each RPC is made of, out
// of the schemas in testdata. With it the shape of what is written can be looked at
// without a validator, and thousands of times a second.
var schemaShapes = sync.OnceValues(func() (map[string][]member, error) {
	files, err := filepath.Glob(filepath.Join("testdata", "schema", "*.xsd"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no schemas: %v", err)
	}
	shapes, base := map[string][]member{}, map[string]string{}
	for _, file := range files {
		if strings.HasPrefix(filepath.Base(file), "soap-") {
			continue // SOAP's own elements have the names of CWMP's
		}
		doc := etree.NewDocument()
		if err := doc.ReadFromFile(file); err != nil {
			return nil, err
		}
		for _, declared := range doc.Root().ChildElements() {
			if declared.Tag != "element" && declared.Tag != "complexType" {
				continue
			}
			name := declared.SelectAttrValue("name", "")
			shapes[name] = membersOf(declared)
			if extension := declared.FindElement("complexContent/extension"); extension != nil {
				base[name] = extension.SelectAttrValue("base", "")
			}
		}
	}
	for name, of := range base {
		shapes[name] = append(append([]member{}, shapes[of]...), shapes[name]...)
	}
	return shapes, nil
})

func membersOf(declared *etree.Element) (members []member) {
	for _, e := range declared.FindElements(".//sequence/element") {
		members = append(members, member{name: e.SelectAttrValue("name", ""), typ: e.SelectAttrValue("type", ""),
			optional: e.SelectAttrValue("minOccurs", "1") == "0", many: e.SelectAttrValue("maxOccurs", "1") != "1"})
	}
	return members
}

// checkShape reports where a written envelope departs from its schema in which
// elements there are, and in what order. How long a list is it does not look at.
func checkShape(out []byte) error {
	shapes, err := schemaShapes()
	if err != nil {
		return err
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(out); err != nil {
		return err
	}
	rpcs := doc.FindElements("/soapenv:Envelope/soapenv:Body/*")
	if len(rpcs) != 1 || len(doc.ChildElements()) != 1 {
		return fmt.Errorf("%d RPCs in %d envelopes", len(rpcs), len(doc.ChildElements()))
	}
	rpc := rpcs[0]
	if rpc.FullTag() == "soapenv:Fault" {
		if rpc = rpc.FindElement("detail/cwmp:Fault"); rpc == nil {
			return fmt.Errorf("a fault without its detail")
		}
	}
	members, known := shapes[rpc.Tag]
	if !known || rpc.Space != "cwmp" {
		return fmt.Errorf("no schema has <%s>", rpc.FullTag())
	}
	return checkMembers(rpc, members, shapes)
}

func checkMembers(e *etree.Element, members []member, shapes map[string][]member) error {
	children := e.ChildElements()
	for _, m := range members {
		n := 0
		for len(children) > 0 && children[0].FullTag() == m.name && (n == 0 || m.many) {
			typ := m.typ
			if of := children[0].SelectAttrValue("xsi:type", ""); m.name == "Operations" {
				typ = of[strings.IndexByte(of, ':')+1:]
			}
			if err := checkMembers(children[0], shapes[typ], shapes); err != nil {
				return err
			}
			children, n = children[1:], n+1
		}
		if n == 0 && !m.optional && !m.many {
			return fmt.Errorf("%s has no %s where it belongs", e.GetPath(), m.name)
		}
	}
	if len(children) > 0 {
		return fmt.Errorf("%s has a %s that no schema has there", e.GetPath(), children[0].FullTag())
	}
	return nil
}

// TestShape: the check passes what the schemas pass, and can fail.
func TestShape(t *testing.T) {
	for _, s := range samples {
		if s.m == nil {
			continue
		}
		if err := checkShape(written(s.m)); err != nil {
			t.Errorf("%s, %s: %v", s.m.RPC(), s.what, err)
		}
	}
	for _, b := range broken {
		if b.m == nil || !strings.HasPrefix(b.name, "wrong order") && !strings.HasPrefix(b.name, "missing ") && !strings.HasPrefix(b.name, "unknown ") {
			continue
		}
		bad := strings.ReplaceAll(string(written(b.m)), b.old, b.new)
		if b.name != "missing item" && b.name != "missing arrayType" && checkShape([]byte(bad)) == nil {
			t.Errorf("%s is passed", b.name)
		}
	}
}
