package cpesim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

func TestLoadCSV(t *testing.T) {
	m, err := LoadCSV(strings.NewReader(strings.Join([]string{
		"Parameter,Object,Object timestamp,Writable,Value,Value type,Allowed",
		"DeviceID,true,,false,,,",
		"Events.Inform,false,,false,2023-01-01T00:00:00Z,xsd:dateTime,",
		"Reboot,false,,true,,,",
		"DeviceID.OUI,false,,false,ABCDEF,xsd:string,",
		"DeviceID.SerialNumber,false,,false,S1,xsd:string,",
		"Device.T,true,,true,,,",
		"Device.T.3,true,,true,,,",
		"Device.T.3.On,false,,true,1,xsd:boolean,",
		"Device.T.3.Mode,false,,true,fast,xsd:string,fast|slow",
		"Device.TNumberOfEntries,false,,false,1,xsd:unsignedInt,",
		"Device.U,true,,true,,,",
		"Device.U.{i}.Level,false,,true,5,xsd:int,1..9",
	}, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	if m.Root() != "Device." || m.Identity().OUI != "ABCDEF" || m.Identity().SerialNumber != "S1" {
		t.Errorf("root %q, identity %+v", m.Root(), m.Identity())
	}
	tests := []struct {
		name     cwmp.Path
		text     string
		typ      cwmp.Type
		writable bool
	}{
		{"Device.", "", 0, false},
		{"Device.T.", "", 0, true},
		{"Device.T.3.", "", 0, true},
		{"Device.T.3.On", "true", cwmp.TypeBoolean, true},
		{"Device.T.3.Mode", "fast", cwmp.TypeString, true},
		{"Device.ManagementServer.ParameterKey", "", cwmp.TypeString, false},
	}
	for _, tt := range tests {
		n := m.find(tt.name)
		if n == nil {
			t.Errorf("%s is missing", tt.name)
			continue
		}
		if n.text != tt.text || n.typ != tt.typ || n.writable != tt.writable {
			t.Errorf("%s: %q %v writable=%v, want %q %v %v", tt.name, n.text, n.typ, n.writable, tt.text, tt.typ, tt.writable)
		}
	}
	if row := m.rows["Device.T.{i}."]; row == nil || row.find("On") == nil || row.find("On").text != "false" {
		t.Error("a new row of T has no neutral columns from its present rows")
	}
	if row := m.rows["Device.U.{i}."]; row == nil || row.find("Level") == nil || row.find("Level").text != "5" {
		t.Error("a new row of U has not the declared value")
	}
	if c := m.counter("Device.T."); c != "Device.TNumberOfEntries" {
		t.Errorf("T is counted by %q", c)
	}
}

func TestLoadCSVRefuses(t *testing.T) {
	const header = "Parameter,Object,Writable,Value,Value type,Allowed\n"
	tests := []struct{ name, text, want string }{
		{"empty", "", "header"},
		{"no value column", "Parameter,Object,Writable\n", `no column "value"`},
		{"no parameters", header, "no parameters"},
		{"two roots", header + "Device.A,false,false,,,\nOther.B,false,false,,,\n", "line 3: Other.B is not under Device."},
		{"twice", header + "Device.A,false,false,,,\nDevice.A,false,false,,,\n", "line 3: Device.A stands twice"},
		{"no root", header + "A,false,false,,,\n", "no root object"},
		{"empty component", header + "Device..A,false,false,,,\n", "not a parameter path"},
		{"too deep", header + "Device" + strings.Repeat(".A", maxModelDepth+1) + ",false,false,,,\n", "not a parameter path"},
		{"bad range", header + "Device.A,false,true,1,xsd:int,9..1\n", "line 2: Device.A: allowed range"},
		{"bad quotes", header + "Device.\"A,false,true,1\n", "line 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := LoadCSV(strings.NewReader(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func builtin() map[string]*Model { return map[string]*Model{"tr098": TR098(), "tr181": TR181()} }

func TestBuiltinModelsAreConsistent(t *testing.T) {
	for name, m := range builtin() {
		t.Run(name, func(t *testing.T) {
			if n := m.Parameters(); n < 800 || n > 1200 {
				t.Errorf("%d parameters", n)
			}
			tree := tree{model: m}
			for i := range m.nodes {
				n := &m.nodes[i]
				if n.object {
					continue
				}
				text := expand(n.text, m.identity, 1)
				if err := checkType(n.typ, text); err != nil {
					t.Errorf("%s: %v", n.name, err)
				}
				if err := n.allowed.check(text); err != nil && n.role == roleNone {
					t.Errorf("%s: %v", n.name, err)
				}
				for _, reference := range strings.Split(text, ",") {
					if strings.HasPrefix(reference, string(m.root)) && tree.find(cwmp.Path(reference+".")) == nil {
						t.Errorf("%s refers to %s, which is not there", n.name, reference)
					}
				}
			}
		})
	}
}

func TestBuiltinCountersCount(t *testing.T) {
	for name, m := range builtin() {
		t.Run(name, func(t *testing.T) {
			counted := 0
			for i := range m.nodes {
				table := m.nodes[i].name
				counter := m.counter(table)
				if !m.nodes[i].object || counter == "" || m.find(counter) == nil {
					continue
				}
				counted++
				rows := 0
				for _, n := range m.subtree(table) {
					if _, ok := rowNumber(table, n.name); ok {
						rows++
					}
				}
				if got := m.find(counter).text; got != strconv.Itoa(rows) {
					t.Errorf("%s is %s, the table has %d rows", counter, got, rows)
				}
			}
			if counted < 10 {
				t.Errorf("only %d counters were found", counted)
			}
			for i := range m.nodes {
				n := &m.nodes[i]
				if table, ok := countedTable(leaf(n.name)); ok && !n.object && m.counters[generic(parent(n.name))+cwmp.Path(table)+"."] == "" {
					t.Errorf("%s counts nothing", n.name)
				}
			}
		})
	}
}

func TestWritableTablesKnowTheirRows(t *testing.T) {
	for name, m := range builtin() {
		t.Run(name, func(t *testing.T) {
			tables := 0
			for i := range m.nodes {
				n := &m.nodes[i]
				if !n.object || !n.writable || isInstance(leaf(n.name)) {
					continue
				}
				tables++
				if m.rows[generic(n.name)+"{i}."] == nil {
					t.Errorf("rows can be added to %s, but what is in one is not declared", n.name)
				}
			}
			if tables < 8 {
				t.Errorf("only %d tables take new rows", tables)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	id := cwmp.DeviceID{OUI: "00005e", SerialNumber: "A1"}
	tests := []struct{ text, want string }{
		{"", ""},
		{"plain", "plain"},
		{"{serial}@isp", "A1@isp"},
		{"{mac:1}", "00:00:5E:01:02:04"},
		{"x{host:0}y", "x02:00:5E:01:02:03y"},
		{"{wan}", "100.65.2.5"},
		{"{gateway}", "100.65.2.1"},
		{"{unknown}", "{unknown}"},
		{"{open", "{open"},
		{"}{", "}{"},
	}
	for _, tt := range tests {
		if got := expand(tt.text, id, 0x010203); got != tt.want {
			t.Errorf("expand(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestCheckType(t *testing.T) {
	tests := []struct {
		typ  cwmp.Type
		text string
		ok   bool
	}{
		{cwmp.TypeInt, "-5", true}, {cwmp.TypeInt, "2147483648", false}, {cwmp.TypeInt, "", false},
		{cwmp.TypeUnsignedInt, "4294967295", true}, {cwmp.TypeUnsignedInt, "-1", false}, {cwmp.TypeUnsignedInt, "4294967296", false},
		{cwmp.TypeUnsignedLong, "4294967296", true}, {cwmp.TypeLong, "-9223372036854775808", true},
		{cwmp.TypeBoolean, "true", true}, {cwmp.TypeBoolean, "yes", false},
		{cwmp.TypeDateTime, "2026-01-02T03:04:05Z", true}, {cwmp.TypeDateTime, "2026-01-02T03:04:05", true},
		{cwmp.TypeDateTime, "2026-01-02T03:04:05.5+02:00", true}, {cwmp.TypeDateTime, "yesterday", false},
		{cwmp.TypeBase64, "AAEC", true}, {cwmp.TypeBase64, "***", false},
		{cwmp.TypeHexBinary, "00ff", true}, {cwmp.TypeHexBinary, "0g", false},
		{cwmp.TypeDecimal, "1.5", true}, {cwmp.TypeDecimal, "x", false},
		{cwmp.TypeString, "anything", true},
	}
	for _, tt := range tests {
		if err := checkType(tt.typ, tt.text); (err == nil) != tt.ok {
			t.Errorf("checkType(%v, %q) = %v", tt.typ, tt.text, err)
		}
	}
}

func TestLiveValues(t *testing.T) {
	b := newBench(t, Config{Identity: cwmp.DeviceID{OUI: "0A0B0C", SerialNumber: "L1"}, PeriodicInform: 48 * time.Hour})
	read := func(path string) string {
		t.Helper()
		v, ok := b.cpe.Get(path)
		if !ok {
			t.Fatalf("no parameter %s", path)
		}
		return v
	}
	bytes := read("Device.Ethernet.Interface.5.Stats.BytesReceived")
	lease := read("Device.Hosts.Host.1.LeaseTimeRemaining")
	b.clock.advance(100 * time.Second)
	if got := read("Device.DeviceInfo.UpTime"); got != "100" {
		t.Errorf("UpTime %s after 100 s", got)
	}
	if got := read("Device.Time.CurrentLocalTime"); got != "2026-03-01T12:01:40Z" {
		t.Errorf("CurrentLocalTime %s", got)
	}
	before, _ := strconv.ParseUint(bytes, 10, 64)
	after, _ := strconv.ParseUint(read("Device.Ethernet.Interface.5.Stats.BytesReceived"), 10, 64)
	if after <= before {
		t.Errorf("BytesReceived went from %d to %d", before, after)
	}
	if got := read("Device.Hosts.Host.1.LeaseTimeRemaining"); got == lease {
		t.Errorf("the lease stands still at %s", got)
	}
	for path, want := range map[string]string{
		"Device.DeviceInfo.SerialNumber":                 "L1",
		"Device.DeviceInfo.ManufacturerOUI":              "0A0B0C",
		"Device.DeviceInfo.Manufacturer":                 "Example Networks",
		"Device.ManagementServer.PeriodicInformInterval": "172800",
		"Device.ManagementServer.URL":                    b.acs.URL,
		"Device.ManagementServer.ConnectionRequestURL":   b.cpe.ConnectionRequestURL(),
	} {
		if got := read(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if mac := read("Device.Ethernet.Link.1.MACAddress"); !strings.HasPrefix(mac, "0A:0B:0C:") {
		t.Errorf("MACAddress %s is not of the CPE's OUI", mac)
	}
}

func FuzzLoadCSV(f *testing.F) {
	const header = "Parameter,Object,Writable,Value,Value type,Allowed\n"
	f.Add(header + "Device.T.{i}.A,false,true,1,xsd:boolean,\nDevice.T,true,true,,,\n")
	f.Add(header + "Device.T.1.A,false,true,{mac:1},xsd:string,len 0..9\nDevice.TNumberOfEntries,false,false,1,xsd:unsignedInt,\n")
	f.Add("\ufeffParameter,Object,Writable,Value\n\"Device.A\",0,1,\"a\nb\"\n")
	f.Add(header + "Device.1.2.3.4,false,true,,,a|b\nDevice.{i}.{i}.A,false,true,,,\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := LoadCSV(strings.NewReader(text))
		if err != nil {
			return
		}
		tr := tree{model: m}
		for _, e := range tr.walk("") {
			if tr.find(e.name) != e.node {
				t.Errorf("%q is walked but not found", e.name)
			}
			if tr.isTable(e.name) {
				if n := tr.addRow(e.name); n != 0 {
					row := e.name + cwmp.Path(fmt.Sprint(n)) + "."
					if tr.find(row) == nil {
						t.Errorf("%q was added but not found", row)
					}
					tr.deleteRow(row)
					if tr.find(row) != nil || slices.Contains(tr.added, row) {
						t.Errorf("%q was deleted but found", row)
					}
				}
			}
			expand(e.node.text, m.identity, 7)
		}
	})
}
