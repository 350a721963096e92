package cpesim

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
)

// maxModelNodes bounds what LoadCSV keeps: the largest real trees have some ten
// thousand parameters.
const maxModelNodes = 200_000

// maxModelDepth bounds the components of a path (TR-106 allows 256 characters).
const maxModelDepth = 32

// LoadCSV reads a parameter tree, one line a parameter or object. Columns are
// found by the header: Parameter, Object, Writable, Value and "Value type" (an
// ACS export's other columns are ignored). Two things go beyond such exports:
// a path with {i} declares the columns and first values of new rows of a table,
// and an optional column Allowed says what may be written ("a|b|c", "1..13",
// "len 8..63"). Values may hold the placeholders of expand.
//
// Lines under the pseudo-root DeviceID. give the model's identity. The few
// parameters without which no CWMP session is possible (ManagementServer.,
// DeviceInfo.) are added where the tree lacks them. Errors name the line.
func LoadCSV(r io.Reader) (*Model, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord = -1
	in.ReuseRecord = true
	header, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("parameter tree: reading the header: %w", err)
	}
	columns, err := csvColumns(header)
	if err != nil {
		return nil, err
	}
	l := csvLoader{columns: columns, nodes: map[cwmp.Path]node{}, rows: map[cwmp.Path]map[cwmp.Path]node{}}
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("parameter tree: %w", err)
		}
		if err := l.line(record); err != nil {
			line, _ := in.FieldPos(0)
			return nil, fmt.Errorf("parameter tree, line %d: %w", line, err)
		}
	}
	return l.finish()
}

// csvColumns gives the position of each column that is used.
func csvColumns(header []string) (map[string]int, error) {
	columns := map[string]int{}
	for i, name := range header {
		columns[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))] = i
	}
	for _, needed := range []string{"parameter", "object", "writable", "value"} {
		if _, ok := columns[needed]; !ok {
			return nil, fmt.Errorf("parameter tree: the header has no column %q; it needs Parameter, Object, Writable, Value and may have Value type, Allowed", needed)
		}
	}
	return columns, nil
}

type csvLoader struct {
	columns  map[string]int
	nodes    map[cwmp.Path]node
	rows     map[cwmp.Path]map[cwmp.Path]node
	identity cwmp.DeviceID
	root     cwmp.Path
	count    int
	listed   bool // the source tells of objects too: what it leaves out the CPE does not show
}

func (l *csvLoader) field(record []string, column string) string {
	i, ok := l.columns[column]
	if !ok || i >= len(record) {
		return ""
	}
	return strings.Clone(record[i])
}

func (l *csvLoader) line(record []string) error {
	name := strings.TrimSuffix(strings.TrimSpace(l.field(record, "parameter")), ".")
	if name == "" {
		return nil
	}
	if identity, ok := strings.CutPrefix(name, "DeviceID."); ok {
		l.identify(identity, l.field(record, "value"))
		return nil
	}
	if isExportOnly(name) {
		return nil
	}
	if strings.Count(name, ".") > maxModelDepth || strings.Contains(name, "..") {
		return fmt.Errorf("%q is not a parameter path", name)
	}
	if l.count++; l.count > maxModelNodes {
		return fmt.Errorf("more than %d parameters", maxModelNodes)
	}
	n := node{object: isTrue(l.field(record, "object")), writable: isTrue(l.field(record, "writable"))}
	if n.object {
		n.name = cwmp.Path(name + ".")
	} else {
		n.name = cwmp.Path(name)
		n.typ = cwmp.ParseType(l.field(record, "value type"))
		if n.typ == cwmp.TypeUnknown {
			n.typ = cwmp.TypeString
		}
		n.text = canonical(n.typ, l.field(record, "value"))
		n.expands = strings.ContainsRune(n.text, '{')
		a, err := parseAllowed(l.field(record, "allowed"))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		n.allowed = a
	}
	return l.add(n)
}

// isExportOnly tells what an ACS adds to its exports and no CPE has.
func isExportOnly(name string) bool {
	root, _, _ := strings.Cut(name, ".")
	switch root {
	case "DeviceID", "Events", "Tags", "VirtualParameters", "Downloads", "Reboot", "FactoryReset":
		return true
	}
	return false
}

func (l *csvLoader) add(n node) error {
	root := n.name.Root()
	if root == "" {
		return fmt.Errorf("%q has no root object", n.name)
	}
	if l.root == "" {
		l.root = root
	}
	if root != l.root {
		return fmt.Errorf("%s is not under %s: a tree has one root", n.name, l.root)
	}
	if i := strings.LastIndex(string(n.name), "{i}"); i >= 0 {
		after := i + len("{i}.")
		if after > len(n.name) || n.name[after-1] != '.' {
			return fmt.Errorf("%s: {i} stands for the number of a row", n.name)
		}
		table := generic(n.name[:after])
		if l.rows[table] == nil {
			l.rows[table] = map[cwmp.Path]node{}
		}
		n.name = n.name[after:]
		l.rows[table][n.name] = n
		return nil
	}
	if _, dup := l.nodes[n.name]; dup {
		return fmt.Errorf("%s stands twice in the tree", n.name)
	}
	l.nodes[n.name] = n
	return nil
}

func (l *csvLoader) identify(field, value string) {
	switch field {
	case "Manufacturer":
		l.identity.Manufacturer = value
	case "OUI":
		l.identity.OUI = value
	case "ProductClass":
		l.identity.ProductClass = value
	case "SerialNumber":
		l.identity.SerialNumber = value
	}
}

// finish completes the tree (parents, what a session needs) and builds it.
func (l *csvLoader) finish() (*Model, error) {
	if l.root == "" {
		return nil, errors.New("parameter tree: no parameters")
	}
	for _, p := range sessionParameters {
		name := l.root + p.name
		if _, ok := l.nodes[name]; !ok {
			l.nodes[name] = node{name: name, typ: p.typ, text: p.text, writable: p.writable, concealed: l.listed}
		}
	}
	nodes := make([]node, 0, len(l.nodes))
	for _, n := range l.nodes {
		nodes = append(nodes, n)
	}
	for _, n := range nodes[:len(nodes):len(nodes)] {
		for p := parent(n.name); p != ""; p = parent(p) {
			if _, ok := l.nodes[p]; !ok {
				l.nodes[p] = node{name: p, object: true, concealed: l.listed}
				nodes = append(nodes, l.nodes[p])
			}
		}
	}
	rows := make(map[cwmp.Path]*rowTemplate, len(l.rows))
	for table, columns := range l.rows {
		rows[table] = newRowTemplate(columns)
	}
	m := &Model{root: l.root, identity: l.identity}
	for field, p := range map[*string]cwmp.Path{&m.identity.Manufacturer: "DeviceInfo.Manufacturer",
		&m.identity.OUI: "DeviceInfo.ManufacturerOUI", &m.identity.ProductClass: "DeviceInfo.ProductClass",
		&m.identity.SerialNumber: "DeviceInfo.SerialNumber"} {
		if *field == "" {
			*field = l.nodes[l.root+p].text
		}
	}
	if err := m.build(nodes, rows); err != nil {
		return nil, fmt.Errorf("parameter tree: %w", err)
	}
	return m, nil
}

// sessionParameters are what a CPE must have for CWMP to work at all.
var sessionParameters = [...]node{
	{name: "DeviceInfo.Manufacturer", typ: cwmp.TypeString},
	{name: "DeviceInfo.ManufacturerOUI", typ: cwmp.TypeString},
	{name: "DeviceInfo.ProductClass", typ: cwmp.TypeString},
	{name: "DeviceInfo.SerialNumber", typ: cwmp.TypeString},
	{name: "DeviceInfo.HardwareVersion", typ: cwmp.TypeString, text: "1.0"},
	{name: "DeviceInfo.SoftwareVersion", typ: cwmp.TypeString, text: "1.0.0"},
	{name: "DeviceInfo.ProvisioningCode", typ: cwmp.TypeString, writable: true},
	{name: "DeviceInfo.UpTime", typ: cwmp.TypeUnsignedInt},
	{name: "ManagementServer.URL", typ: cwmp.TypeString, writable: true},
	{name: "ManagementServer.Username", typ: cwmp.TypeString, writable: true},
	{name: "ManagementServer.Password", typ: cwmp.TypeString, writable: true},
	{name: "ManagementServer.PeriodicInformEnable", typ: cwmp.TypeBoolean, text: "true", writable: true},
	{name: "ManagementServer.PeriodicInformInterval", typ: cwmp.TypeUnsignedInt, text: "3600", writable: true},
	{name: "ManagementServer.PeriodicInformTime", typ: cwmp.TypeDateTime, text: "0001-01-01T00:00:00Z", writable: true},
	{name: "ManagementServer.ParameterKey", typ: cwmp.TypeString},
	{name: "ManagementServer.ConnectionRequestURL", typ: cwmp.TypeString},
	{name: "ManagementServer.ConnectionRequestUsername", typ: cwmp.TypeString, writable: true},
	{name: "ManagementServer.ConnectionRequestPassword", typ: cwmp.TypeString, writable: true},
}

func isTrue(s string) bool {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true", "1":
		return true
	}
	return false
}
