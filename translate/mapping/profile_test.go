package mapping

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/uspbridge/uspbridge/cwmp"
)

// sameProfile compares what profiles say, patterns by their text.
var sameProfile = []cmp.Option{cmp.AllowUnexported(Profile{}), cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b *regexp.Regexp) bool { return a.String() == b.String() })}

func TestEveryKeyOfAProfile(t *testing.T) {
	const text = `profile: all
for: {oui: "00005E"}
max_names: 31
max_values: 8
max_attributes: 4
discovery: [levels, root]
partial_paths: yes
skip: [InternetGatewayDevice.Services., "InternetGatewayDevice.LANDevice.{i}.Hosts."]
trust_writable: no
check_rows: yes
booleans: words
types: {"InternetGatewayDevice.LANDevice.1.X_N": unsignedInt}
trust_status: no
reboot_after: ["InternetGatewayDevice.WANDevice.*.Mode", InternetGatewayDevice.Time.]
notification: passive
rpc_timeout: 5m
quiet_after_boot: 10m
`
	s, err := Load(files("p.yaml", text))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range ProfileKeys() {
		if !strings.Contains(text, key+":") {
			t.Errorf("the test does not have the key %s", key)
		}
	}
	got := s.Profile(Identity{OUI: "00005E"})
	want := &Profile{
		Names: []string{"all"}, MaxNames: 31, MaxValues: 8, MaxAttributes: 4, Discovery: []Way{WayLevels, WayRoot},
		PartialPaths: true, CheckRows: true, Booleans: SpellingWords, Reports: ReportsPassive,
		RPCTimeout: 5 * time.Minute, QuietAfterBoot: 10 * time.Minute,
		skip:        []*regexp.Regexp{regexp.MustCompile(`^InternetGatewayDevice\.Services\.`), regexp.MustCompile(`^InternetGatewayDevice\.LANDevice\.[^.]*\.Hosts\.`)},
		rebootAfter: []*regexp.Regexp{regexp.MustCompile(`^InternetGatewayDevice\.WANDevice\.[^.]*\.Mode$`), regexp.MustCompile(`^InternetGatewayDevice\.Time\.`)},
		types:       map[string]cwmp.Type{"InternetGatewayDevice.LANDevice.{i}.X_N": cwmp.TypeUnsignedInt},
	}
	if diff := cmp.Diff(want, got, sameProfile...); diff != "" {
		t.Errorf("profile (-want +got):\n%s", diff)
	}
	for path, skipped := range map[cwmp.Path]bool{
		"InternetGatewayDevice.Services.VoiceService.1.X":   true,
		"InternetGatewayDevice.Services.":                   true,
		"InternetGatewayDevice.LANDevice.7.Hosts.Host.1.IP": true,
		"InternetGatewayDevice.LANDevice.7.HostsX":          false,
		"InternetGatewayDevice.":                            false,
	} {
		if got.Skips(path) != skipped {
			t.Errorf("%s skipped: %v, want %v", path, !skipped, skipped)
		}
	}
	if got.Type("InternetGatewayDevice.LANDevice.5.X_N") != cwmp.TypeUnsignedInt || got.Type("InternetGatewayDevice.X") != cwmp.TypeUnknown {
		t.Error("the type of X_N, and of that alone, is unsignedInt")
	}
	if !got.RebootsAfter("InternetGatewayDevice.WANDevice.2.Mode") || got.RebootsAfter("InternetGatewayDevice.WANDevice.2.ModeX") {
		t.Error("Mode, and that alone, needs a reboot")
	}
}

func TestAProfileThatSaysMoreOfTheDeviceHasTheLastWord(t *testing.T) {
	s, err := Load(files(
		"a.yaml", "profile: version\nfor: {oui: \"AABBCC\", software_version: \"2\\\\..*\"}\nmax_names: 3\n",
		"b.yaml", "profile: everything\nmax_names: 1\nmax_values: 1\nskip: [A.B.]\n",
		"c.yaml", "profile: vendor\nfor: {oui: AABBCC}\nmax_names: 2\nmax_values: 2\nskip: [A.C.]\n",
		"d.yaml", "profile: vendor-again\nfor: {oui: AABBCC}\nmax_values: 4\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		id            Identity
		names         string
		reads, writes int
	}{
		{Identity{OUI: "AABBCC", SoftwareVersion: "2.1"}, "everything, vendor, vendor-again, version", 3, 4},
		{Identity{OUI: "AABBCC", SoftwareVersion: "1.0"}, "everything, vendor, vendor-again", 2, 4},
		{Identity{OUI: "000000"}, "everything", 1, 1},
	} {
		p := s.Profile(c.id)
		if got := strings.Join(p.Names, ", "); got != c.names || p.MaxNames != c.reads || p.MaxValues != c.writes {
			t.Errorf("%+v: %s with %d names and %d values, want %s with %d and %d", c.id, got, p.MaxNames, p.MaxValues, c.names, c.reads, c.writes)
		}
		if !p.Skips("A.B.X") || p.Skips("A.C.X") != (c.id.OUI == "AABBCC") {
			t.Errorf("%+v: the subtrees to skip do not add up", c.id)
		}
	}
}

func TestProblemsOfProfiles(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"profile: p\nmax_nmes: 3\n", []string{"f.yaml:2", `unknown key "max_nmes"`, "did you mean max_names?"}},
		{"profile: p\nmax_names: 0\n", []string{"f.yaml:2", "from 1 to 10000", `"0"`}},
		{"profile: p\nmax_values: many\n", []string{"f.yaml:2", `"many"`}},
		{"profile: p\ndiscovery: [root, leaves]\n", []string{"f.yaml:2", `"leaves"`, "root, empty, other, branches, levels"}},
		{"profile: p\ndiscovery: [root, root]\n", []string{"f.yaml:2", "twice"}},
		{"profile: p\nbooleans: letters\n", []string{"f.yaml:2", "letters", "digits, words"}},
		{"profile: p\nnotification: off\n", []string{"f.yaml:2", "none, passive, active"}},
		{"profile: p\ntypes: {A.B: u32}\n", []string{"f.yaml:2", "u32", "unsignedInt"}},
		{"profile: p\ntypes: {A.B.: int}\n", []string{"f.yaml:2", "no parameter"}},
		{"profile: p\nskip: [A.B]\n", []string{"f.yaml:2", "dot"}},
		{"profile: p\nskip: [Services]\n", []string{"f.yaml:2", "no path"}},
		{"profile: p\nrpc_timeout: 1h\n", []string{"f.yaml:2", "10m0s", "1h"}},
		{"profile: p\nquiet_after_boot: soon\n", []string{"f.yaml:2", "soon"}},
		{"profile: p\nfor: {serial: x}\n", []string{"f.yaml:2", "serial", "product_class"}},
		{"profile: p\nfor: {oui: \"[\"}\n", []string{"f.yaml:2", "for.oui"}},
		{"profile: ''\n", []string{"f.yaml:1", "name is missing"}},
		{"profile: p\nroot: Device.\n", []string{"f.yaml:2", `unknown key "root"`}},
	} {
		_, err := Load(files("f.yaml", c.text))
		if err == nil {
			t.Errorf("no problem was found in\n%s", c.text)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
	}
}

func TestProfilesOfOneName(t *testing.T) {
	s, err := Load(files("mine.yaml", "profile: easycwmp\nfor: {product_class: easycwmp}\nmax_names: 7\n"))
	if err != nil {
		t.Fatal(err)
	}
	if p := s.Profile(Identity{ProductClass: "easycwmp"}); !p.TrustStatus || p.MaxNames != 7 {
		t.Error("a profile of the name of an embedded one does not take its place")
	}
	const text = "profile: p\nmax_names: 1\n"
	_, err = Load(files("a.yaml", text, "b.yaml", text))
	if err == nil || !strings.Contains(err.Error(), "a.yaml") || !strings.Contains(err.Error(), "b.yaml") {
		t.Errorf("two profiles of one name in one folder: %v", err)
	}
}

// The embedded profiles are for the CPE that they are said to be for.
func TestEmbeddedProfiles(t *testing.T) {
	s, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		id   Identity
		want Profile
	}{
		{Identity{Manufacturer: "easycwmp", OUI: "FFFFFF", ProductClass: "easycwmp"}, Profile{Names: []string{"easycwmp"}, TrustWritable: true}},
		{Identity{Manufacturer: "Grandstream Networks", ProductClass: "GXP2170"}, Profile{Names: []string{"grandstream"}, MaxNames: 31, TrustWritable: true, TrustStatus: true}},
		{Identity{Manufacturer: "TP-LINK", ProductClass: "TD-W9970"}, Profile{Names: []string{"tplink-td-w9970"}, Booleans: SpellingDigits, TrustWritable: true, TrustStatus: true}},
		{Identity{Manufacturer: "TP-Link", ProductClass: "IGD"}, Profile{TrustWritable: true, TrustStatus: true}},
		{Identity{Manufacturer: "SAGEMCOM"}, Profile{Names: []string{"sagemcom"}, Discovery: []Way{WayRoot, WayOther, WayBranches, WayLevels}, TrustWritable: true, TrustStatus: true}},
		{Identity{Manufacturer: "Yeacomm"}, Profile{Names: []string{"yeacomm"}, Discovery: []Way{WayLevels, WayRoot}, TrustWritable: true, TrustStatus: true}},
		{Identity{Manufacturer: "Baicells"}, Profile{Names: []string{"baicells"}, QuietAfterBoot: 10 * time.Minute, TrustWritable: true, TrustStatus: true}},
	} {
		if diff := cmp.Diff(&c.want, s.Profile(c.id), sameProfile...); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c.id, diff)
		}
	}
}
