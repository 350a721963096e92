package path

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func name(s string) Step   { return Step{Kind: Name, Name: s} }
func inst(n uint32) Step   { return Step{Kind: Instance, Number: n} }
func follow(n uint32) Step { return Step{Kind: Follow, Number: n} }
func search(components ...Component) Step {
	return Step{Kind: Search, Expr: &Expr{Components: components}}
}

func comp(param string, op Op, value string, quoted bool) Component {
	return Component{Param: []Step{name(param)}, Op: op, Value: value, Quoted: quoted}
}

func TestParse(t *testing.T) {
	star := Step{Kind: Wildcard}
	for _, c := range []struct {
		in        string
		kind      Kind
		steps     []Step
		canonical string // "": as in
	}{
		// The six kinds of path names (TR-369 "Path Names").
		{"Device.", Object, []Step{name("Device")}, ""},
		{"Device.IP.Interface.", Object, []Step{name("Device"), name("IP"), name("Interface")}, ""},
		{"Device.IP.Interface.3.", Object, []Step{name("Device"), name("IP"), name("Interface"), inst(3)}, ""},
		{"Device.IP.Interface.3", Row, []Step{name("Device"), name("IP"), name("Interface"), inst(3)}, ""},
		{"Device.WiFi.SSID.1.SSID", Parameter, []Step{name("Device"), name("WiFi"), name("SSID"), inst(1), name("SSID")}, ""},
		{"Device.Reboot()", Command, []Step{name("Device"), name("Reboot()")}, ""},
		{"Device.Boot!", Event, []Step{name("Device"), name("Boot!")}, ""},
		{"Device.IP.Interface.*.Type", Parameter, []Step{name("Device"), name("IP"), name("Interface"), star, name("Type")}, ""},
		{"Device.IP.Interface.*.", Object, []Step{name("Device"), name("IP"), name("Interface"), star}, ""},
		{`Device.IP.Interface.[Name=="eth0"].Reset()`, Command,
			[]Step{name("Device"), name("IP"), name("Interface"), search(comp("Name", Equal, "eth0", true)), name("Reset()")}, ""},

		// Names of real devices.
		{"Device.X_ALU-COM_Wifi.x_lower.1.V", Parameter, []Step{name("Device"), name("X_ALU-COM_Wifi"), name("x_lower"), inst(1), name("V")}, ""},
		{"Device.IP.Interface.4294967295.", Object, []Step{name("Device"), name("IP"), name("Interface"), inst(4294967295)}, ""},

		// Expressions.
		{`Device.NAT.PortMapping.[RemoteHost==""&&ExternalPort==0&&Protocol=="TCP"].`, Object,
			[]Step{name("Device"), name("NAT"), name("PortMapping"), search(
				comp("RemoteHost", Equal, "", true), comp("ExternalPort", Equal, "0", false), comp("Protocol", Equal, "TCP", true))}, ""},
		{`Device.A.[ B == "x" && C<= 5 ].`, Object,
			[]Step{name("Device"), name("A"), search(comp("B", Equal, "x", true), comp("C", LessOrEqual, "5", false))}, `Device.A.[B=="x"&&C<=5].`},
		{`Device.A.[B=="].&&[%22100%25"].D`, Parameter,
			[]Step{name("Device"), name("A"), search(comp("B", Equal, `].&&["100%`, true)), name("D")}, ""},
		{`Device.A.[B=="%41%c3%a9"].`, Object, []Step{name("Device"), name("A"), search(comp("B", Equal, "Aé", true))}, `Device.A.[B=="Aé"].`},
		{"Device.A.[T<2021-06-06T08:00:00.5+02:00].", Object, []Step{name("Device"), name("A"), search(comp("T", Less, "2021-06-06T08:00:00.5+02:00", false))}, ""},
		{"Device.A.[Enable!=true].", Object, []Step{name("Device"), name("A"), search(comp("Enable", NotEqual, "true", false))}, ""},
		{`Device.A.[L~="x"].`, Object, []Step{name("Device"), name("A"), search(comp("L", Contains, "x", true))}, ""},
		{"Device.A.[N>-5].B.[M>=0]", Row, []Step{name("Device"), name("A"), search(comp("N", Greater, "-5", false)),
			name("B"), search(comp("M", GreaterOrEqual, "0", false))}, ""},
		{"Device.A.[Stats.ErrorsSent>0].", Object, []Step{name("Device"), name("A"),
			search(Component{Param: []Step{name("Stats"), name("ErrorsSent")}, Op: Greater, Value: "0"})}, ""},
		{`Device.WiFi.AccessPoint.[SSIDReference+.SSID=="MyHome"].`, Object, []Step{name("Device"), name("WiFi"), name("AccessPoint"),
			search(Component{Param: []Step{name("SSIDReference"), follow(1), name("SSID")}, Op: Equal, Value: "MyHome", Quoted: true})}, ""},
		{`Device.A.[R#2+.B.C#*+.D=="x"].`, Object, []Step{name("Device"), name("A"),
			search(Component{Param: []Step{name("R"), follow(2), name("B"), name("C"), follow(AllItems), name("D")}, Op: Equal, Value: "x", Quoted: true})}, ""},

		// Reference following.
		{"Device.NAT.PortMapping.1.Interface+.Name", Parameter,
			[]Step{name("Device"), name("NAT"), name("PortMapping"), inst(1), name("Interface"), follow(1), name("Name")}, ""},
		{"Device.WiFi.SSID.1.LowerLayers#1+.", Object,
			[]Step{name("Device"), name("WiFi"), name("SSID"), inst(1), name("LowerLayers"), follow(1)}, "Device.WiFi.SSID.1.LowerLayers+."},
		{"Device.WiFi.SSID.1.LowerLayers#12+.Name", Parameter,
			[]Step{name("Device"), name("WiFi"), name("SSID"), inst(1), name("LowerLayers"), follow(12), name("Name")}, ""},
		{"Device.WiFi.SSID.*.LowerLayers#*+.LowerLayers+.Name", Parameter,
			[]Step{name("Device"), name("WiFi"), name("SSID"), star, name("LowerLayers"), follow(AllItems), name("LowerLayers"), follow(1), name("Name")}, ""},
	} {
		p, err := Parse(c.in)
		if diff := cmp.Diff(Path{Kind: c.kind, Steps: c.steps}, p); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", c.in, err, diff)
		}
		if c.canonical == "" {
			c.canonical = c.in
		}
		if got := p.String(); got != c.canonical {
			t.Errorf("%s: canonical %s, want %s", c.in, got, c.canonical)
		}
	}
}

func TestParseRefusals(t *testing.T) {
	for in, want := range map[string]string{
		"":                                "a name is missing",
		".":                               "a name is missing before the dot",
		"Device":                          "at least one dot",
		"Device..IP.":                     "a name is missing before the dot at offset 7",
		"Device.IP.Interface.0.":          "starts at 1",
		"Device.IP.Interface.01.":         "starts at 1",
		"Device.IP.Interface.4294967296.": "larger than",
		"Device.IP.Interface.1.2.":        "an instance must follow",
		"Device.1.":                       "an instance must follow",
		"1.Device.":                       "an instance must follow",
		"Device.IP.5G.":                   "cannot begin with a digit",
		"Device.IP.Interface.-1.":         "'-' cannot begin",
		"Device.IP.Interface.{i}.":        "'{' cannot begin",
		`Device.IP.Interface.{Type=="Normal"}.Status`: "'{' cannot begin",
		"Device.IP.Interface.[].":                     "parameter's name is missing",
		`Device.IP.Interface.[Type=="Normal"&&IPv4Address.*.AddressingType=="Static"].Status`: "child tables",
		`Device.A.[B=="x"||C==1].`: "joined by && only",
		`Device.A.[B=="x"&&].`:     "parameter's name is missing",
		`Device.A.[B="x"].`:        "an operator is missing",
		`Device.A.[B==].`:          "a value is missing",
		`Device.A.[B=="x].`:        "no closing quote",
		`Device.A.[B=="x"`:         "&& or ] is missing",
		`Device.A.[B=="x"]C`:       "unexpected 'C'",
		`Device.A[B=="x"].`:        "unexpected '['",
		`Device.A.[B=="100%"].`:    "percent sign is written %25",
		`Device.A.[B=="%4"].`:      "percent sign is written %25",
		`Device.A.[B=="%ff"].`:     "not UTF-8",
		"Device.Reboot().":         "nothing may follow",
		"Device.Boot!x":            "nothing may follow",
		"Device.Reboot(":           "unexpected '('",
		"Device.A.B+":              "a dot must come",
		"Device.A.B+C":             "a dot must come",
		"Device.A.B#0+.C":          "starts at 1",
		"Device.A.B#+.C":           "a number is missing",
		"Device.A.B#1.C":           "a + is missing",
		"Device.A.B+.1.":           "an instance must follow",
		"Device+.A":                "no reference can be followed",
		"Device.A B":               "unexpected ' '",
		"Device.Ä":                 "'Ä' cannot begin",
		"Device.Gr\u00fc\u00dfe":   "unexpected '\u00fc'",
		"Device.A.[N>-5].[M>=0]":   "an instance must follow",
	} {
		_, err := Parse(in)
		var se *SyntaxError
		if !errors.As(err, &se) || !strings.Contains(err.Error(), want) || se.Offset > len(in) {
			t.Errorf("%s: error %v, want %q", in, err, want)
		}
	}
}

func TestParseSchema(t *testing.T) {
	for in, want := range map[string]string{
		"Device.":               "",
		"Device.WiFi.SSID.{i}.": "",
		"Device.WiFi.SSID.{i}":  "",
		"Device.WiFi.SSID.":     "",
		"Device.WiFi.SSID.1.":   "",
		"Device.IP.Interface.{i}.IPv4Address.{i}.IPAddress": "",
		"Device.Reboot()":                  "",
		"Device.Boot!":                     "",
		"Device.WiFi.SSID.{j}.":            "only {i}",
		"Device.WiFi.SSID.{i}.{i}.":        "an instance must follow",
		"Device.WiFi.SSID.*.":              "cannot begin",
		`Device.WiFi.SSID.[SSID=="x"].`:    "cannot begin",
		"Device.WiFi.SSID.1.LowerLayers+.": "no reference",
		"Device":                           "at least one dot",
	} {
		p, err := ParseSchema(in)
		switch {
		case want == "" && (err != nil || p.String() != in):
			t.Errorf("%s: got %s, %v", in, p, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: error %v, want %q", in, err, want)
		}
	}
}

func TestParseRelative(t *testing.T) {
	for in, ok := range map[string]bool{
		"Enable": true, "Stats.BytesSent": true, "Interface+.Name": true, "IPv4Address.1.Enable": true,
		"": false, ".Enable": false, "1.Enable": false, "[A==1].B": false, "Enable ": false,
	} {
		p, err := ParseRelative(in)
		if ok != (err == nil) || ok && p.String() != in {
			t.Errorf("%q: got %q, %v", in, p, err)
		}
	}
}

func TestIsSearchAndFollows(t *testing.T) {
	for in, want := range map[string][2]bool{
		"Device.A.1.B":        {false, false},
		"Device.A.*.B":        {true, false},
		"Device.A.[B==1].":    {true, false},
		"Device.A.1.R+.":      {false, true},
		"Device.A.1.R#2+.":    {false, true},
		"Device.A.1.R#*+.":    {true, true},
		"Device.A.[R+.B==1].": {true, false}, // inside an expression it is the row that is selected
	} {
		p, err := Parse(in)
		if got := [2]bool{p.IsSearch(), p.Follows()}; err != nil || got != want {
			t.Errorf("%s: search, follows = %v, %v; want %v", in, got, err, want)
		}
	}
}

func TestKey(t *testing.T) {
	for in, want := range map[string]string{
		`Device.A.[B=="x"].`: "B", `Device.A.[B==1].`: "B", `Device.A.[B!="x"].`: "", `Device.A.[B.C=="x"].`: "", `Device.A.[B+.C=="x"].`: "",
	} {
		p, err := Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := p.Steps[2].Expr.Components[0].Key()
		if got != want || ok != (want != "") {
			t.Errorf("%s: key %q, %t; want %q", in, got, ok, want)
		}
	}
}

func TestLimits(t *testing.T) {
	lim := Limits{Length: 60, Steps: 6, Expressions: 2, Components: 2}
	for in, want := range map[string]string{
		"Device.A.B.C.D.E":                  "",
		"Device.A.B.C.D.E.F":                "more than 6 steps",
		"Device.A.B+.D.[X==1].":             "more than 6 steps",
		"Device.A.[B==1].C.":                "",
		"Device.A.[B.C.D.E==1].":            "more than 6 steps",
		"Device.A.[B==1&&C==1&&D==1].":      "more than 2 components",
		"Device.[A==1].":                    "an instance must follow",
		"Device.A.[B==1].C.[D==1].":         "more than 6 steps",
		"Device." + strings.Repeat("x", 60): "67 bytes are too long",
	} {
		_, err := lim.Parse(in)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: error %v, want %q", in, err, want)
		}
	}
	_, err := Limits{Expressions: 1}.Parse("Device.A.[B==1].C.[D==1].")
	if err == nil || !strings.Contains(err.Error(), "more than 1 search expressions") {
		t.Errorf("two expressions of one allowed: %v", err)
	}
	if _, err := Parse("Device." + strings.Repeat("a.", DefaultSteps)); err == nil {
		t.Error("default limit of steps does not hold")
	}
	if _, err := Parse("Device." + strings.Repeat("a", DefaultLength)); err == nil || len(err.Error()) > 400 {
		t.Errorf("a path too long: error of %d bytes", len(err.Error()))
	}
}

func TestReferences(t *testing.T) {
	for in, want := range map[string][]string{
		"":                    nil,
		" ":                   nil,
		"Device.WiFi.Radio.1": {"Device.WiFi.Radio.1"},
		"Device.WiFi.Radio.1, Device.WiFi.Radio.2.,": {"Device.WiFi.Radio.1", "Device.WiFi.Radio.2."},
	} {
		if diff := cmp.Diff(want, References(in)); diff != "" {
			t.Errorf("%q: %s", in, diff)
		}
	}
}

// FuzzParse: no input panics or passes the limits, and what is accepted is
// written back to a path that means the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"Device.", "Device.WiFi.SSID.1.SSID", "Device.A.*.B()", "Device.Boot!", "Device.A.R#*+.B", "Device.A.R#2+.",
		`Device.A.[B=="x%22"&&C.D<=5&&R+.E~="y"].F`, "Device.A.{i}.B", "Enable", `Device.A.[ T > 2021-06-06T08:00:00Z ]`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, parse := range []func(string) (Path, error){Parse, ParseSchema, ParseRelative} {
			p, err := parse(s)
			if err != nil {
				var se *SyntaxError
				if !errors.As(err, &se) || se.Offset < 0 || se.Offset > len(s) {
					t.Fatalf("error %#v", err)
				}
				continue
			}
			if len(p.Steps) == 0 || len(p.Steps) > DefaultSteps {
				t.Fatalf("%q has %d steps", s, len(p.Steps))
			}
			again, err := parse(p.String())
			if err != nil {
				t.Fatalf("%q is written as %q: %v", s, p, err)
			}
			if diff := cmp.Diff(p, again); diff != "" {
				t.Fatalf("%q is written as %q: %s", s, p, diff)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, s := range []string{
		"Device.WiFi.SSID.1.SSID",
		"Device.IP.Interface.*.IPv4Address.*.IPAddress",
		`Device.NAT.PortMapping.[RemoteHost==""&&ExternalPort==0&&Protocol=="TCP"].`,
	} {
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
