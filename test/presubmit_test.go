package test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/uspbridge/uspbridge"

// importRules say who may know whom, in package paths inside the module. The
// first rule whose From the package is, or is below, decides. An entry of May is
// one package, or with "/..." that package and all below; what is not named may
// not be imported.
var importRules = []struct {
	From string
	May  []string
	Why  string
}{
	{"cwmp/soap", []string{"cwmp"}, "envelopes know the vocabulary only"},
	{"cwmp/acs/digest", nil, "digest authentication knows HTTP only"},
	{"cwmp/capture", []string{"cwmp"}, "captures are bytes and who made them"},
	{"cwmp/acs", []string{"cwmp", "cwmp/soap", "cwmp/capture", "cwmp/acs/..."}, "the ACS knows sessions, not what they are for"},
	{"cwmp/connreq/udp", nil, "a UDP Connection Request is a datagram, no more"},
	{"cwmp/connreq/stun", []string{"cwmp", "cwmp/flood"}, "the STUN server knows devices by their key only"},
	{"cwmp/connreq/xmpp", []string{"cwmp/connreq"}, "the XMPP client knows Jabber ids, not devices"},
	{"cwmp/credential", []string{"cwmp", "cwmp/acs", "store"}, "credentials are kept in the store, for the ACS to ask"},
	{"cwmp/fileserver", []string{"cwmp", "cwmp/acs"}, "the file server authenticates as the ACS does and knows no RPCs"},
	{"cwmp/connreq", []string{"cwmp", "cwmp/acs/digest"}, "a connection request knows no sessions"},
	{"cwmp/flood", nil, "sources are addresses"},
	{"cwmp/lightweight", []string{"cwmp", "cwmp/flood"}, "a notification is a message and a datagram"},
	{"cwmp/upstream", []string{"cwmp", "cwmp/soap", "cwmp/acs"}, "the door knows sessions, not what they are for"},
	{"cwmp/cpesim", []string{"cwmp", "cwmp/soap", "cwmp/capture", "cwmp/acs/digest", "cwmp/connreq/...", "cwmp/lightweight"}, "a simulated CPE stands on the far side of the wire"},
	{"cwmp", nil, "the vocabulary is a leaf"},
	{"usp/usppb", nil, "generated messages are a leaf"},
	{"usp/dm", nil, "data models are a leaf"},
	{"usp/path", []string{"usp", "usp/dm"}, "the path grammar knows no messages"},
	{"usp/record", []string{"usp", "usp/usppb", "usp/record"}, "records know no transports and no agents"},
	{"usp/mtp/broker", []string{"usp", "usp/mtp", "usp/mtp/flood", "store"}, "the embedded broker knows endpoints and topics, no records, and keeps its accounts in the store"},
	{"usp/mtp", []string{"usp", "usp/usppb", "usp/record", "usp/mtp/..."}, "transports carry records, agents are above them"},
	{"usp/trust", []string{"usp", "store"}, "certificates know endpoint ids, not what is said between endpoints"},
	{"usp/agent/bulk", []string{"usp/dm"}, "reports are names, values and types, collectors are URLs"},
	{"usp/agent", []string{"usp", "usp/dm", "usp/path", "usp/record/...", "usp/usppb", "usp/mtp", "usp/trust", "usp/agent/bulk", "store"}, "an agent knows transports by their interface and devices by Model"},
	{"usp/client", []string{"usp", "usp/record/...", "usp/usppb", "usp/mtp/..."}, "a controller knows agents by messages only"},
	{"usp/relay", []string{"usp", "usp/record", "usp/usppb", "usp/mtp", "store"}, "the relay passes records on"},
	{"usp", nil, "the vocabulary is a leaf"},
	{"store", []string{"store/..."}, "the store knows neither protocol"},
	{"mappings", []string{"mappings/..."}, "mappings are data"},
	{"translate/tree", []string{"cwmp", "usp/dm"}, "trees know vocabularies only"},
	{"translate/mapping", []string{"translate/tree", "mappings", "cwmp", "usp", "usp/dm", "usp/path"}, "the mapping language knows vocabularies and trees only"},
	{"translate", []string{"translate/...", "mappings", "cwmp", "cwmp/acs", "cwmp/connreq/...", "cwmp/fileserver", "cwmp/lightweight", "cwmp/upstream", "usp", "usp/dm", "usp/agent", "store"},
		"the joint sees both sides, but neither wires nor the program"},
	{"cmd/uspbridge/console", nil, "the console sees the fleet through its own interface"},
	{"cmd/uspbridge/servertls", nil, "the TLS of listeners knows files and crypto/tls only"},
	{"cmd", []string{"..."}, "the program wires everything"},
	{"test", []string{"..."}, "tests see everything"},
}

// sourceFile is one parsed Go file of the project.
type sourceFile struct {
	name string // path from the root
	pkg  string // package path inside the module
	test bool
	src  []byte
	ast  *ast.File
	set  *token.FileSet
}

// sources parses all Go files, imports and comments.
func sources(t *testing.T) []sourceFile {
	t.Helper()
	var files []sourceFile
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(name, ".."+string(filepath.Separator)))
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "testdata" || rel == "bin" || rel == "var") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		f := sourceFile{name: rel, pkg: path.Dir(rel), test: strings.HasSuffix(rel, "_test.go"), set: token.NewFileSet()}
		if f.src, err = os.ReadFile(name); err != nil {
			return err
		}
		f.ast, err = parser.ParseFile(f.set, rel, f.src, parser.ParseComments)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("only %d Go files found: the test looks in the wrong place", len(files))
	}
	return files
}

func (f sourceFile) generated() bool { return ast.IsGenerated(f.ast) }

// within reports whether a package is that of a prefix or below it.
func within(pkg, prefix string) bool {
	return prefix == "" || pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
}

// matches reports whether a package is what an entry of May names.
func matches(pkg, may string) bool {
	prefix, tree := strings.CutSuffix(may, "...")
	return pkg == may || tree && within(pkg, strings.TrimSuffix(prefix, "/"))
}

// allowed returns why one package may not import another, "" if it may.
func allowed(from, to string) string {
	if within(to, "cmd") && !within(from, "cmd") && !within(from, "test") {
		return "nothing imports cmd"
	}
	for _, r := range importRules {
		if !within(from, r.From) {
			continue
		}
		if slices.ContainsFunc(r.May, func(may string) bool { return matches(to, may) }) {
			return ""
		}
		return r.Why
	}
	return "the package has no place in the import rules: add it to importRules"
}

// TestImports: who may know whom. Tests of a package may bring in what they need
// to run it, but not the other protocol's side.
func TestImports(t *testing.T) {
	for _, f := range sources(t) {
		for _, spec := range f.ast.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			to, ours := strings.CutPrefix(imported, module+"/")
			if !ours || to == f.pkg || f.test && !crosses(f.pkg, to) {
				continue
			}
			if why := allowed(f.pkg, to); why != "" {
				t.Errorf("%s: %s imports %s: %s", f.set.Position(spec.Pos()), f.pkg, to, why)
			}
		}
	}
}

// crosses reports whether an import goes from one protocol to the other.
func crosses(from, to string) bool {
	return within(from, "cwmp") && within(to, "usp") || within(from, "usp") && within(to, "cwmp")
}

// TestImportRules: the rules themselves refuse what they are there for.
func TestImportRules(t *testing.T) {
	tests := []struct {
		from, to string
		may      bool
	}{
		{"cwmp/acs", "cwmp/soap", true},
		{"cwmp/acs", "usp", false},
		{"cwmp", "store", false},
		{"cwmp/credential", "store", true},
		{"cwmp/acs", "cwmp/credential", false},
		{"usp/agent", "cwmp", false},
		{"usp/agent", "store", true},
		{"usp/agent", "usp/mtp", true},
		{"usp/agent", "usp/mtp/websocket", false},
		{"usp/mtp/mqtt", "usp/mtp", true},
		{"usp/mtp/mqtt", "usp/agent", false},
		{"usp/dm", "usp", false},
		{"store/bolt", "store", true},
		{"store/bolt", "usp", false},
		{"translate", "cwmp/acs", true},
		{"translate", "usp/agent", true},
		{"translate", "cmd/uspbridge/console", false},
		{"translate/mapping", "usp/agent", false},
		{"translate/tree", "translate/mapping", false},
		{"cmd/uspbridge/console", "translate", false},
		{"cmd/uspbridge", "translate", true},
		{"newcomer", "usp", false},
	}
	for _, tt := range tests {
		if why := allowed(tt.from, tt.to); (why == "") != tt.may {
			t.Errorf("%s → %s: allowed %v (%q), want %v", tt.from, tt.to, why == "", why, tt.may)
		}
	}
}

// TestPackageComments: every package says what it is for, once.
func TestPackageComments(t *testing.T) {
	documented := map[string][]string{}
	packages := map[string]bool{}
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		packages[f.pkg] = true
		if f.ast.Doc != nil && len(f.ast.Doc.Text()) > 40 {
			documented[f.pkg] = append(documented[f.pkg], f.name)
		}
	}
	for pkg := range packages {
		if n := len(documented[pkg]); n != 1 {
			t.Errorf("package %s has %d package comments %v, want one", pkg, n, documented[pkg])
		}
	}
}

// TestArchitecturePage: docs/architecture.md names every package, in a row of its
// own or in that of one above it.
func TestArchitecturePage(t *testing.T) {
	page, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(string(page), "\n")
	checked := map[string]bool{"test": true}
	for _, f := range sources(t) {
		if f.test || checked[f.pkg] || strings.HasPrefix(f.pkg, "test/") {
			continue
		}
		checked[f.pkg] = true
		if !slices.ContainsFunc(rows, func(row string) bool {
			of, _, isRow := strings.Cut(strings.TrimPrefix(row, "| `"), "` |")
			under := strings.HasPrefix(f.pkg, of+"/") && strings.Contains(row, "`"+path.Base(f.pkg)+"`")
			return isRow && (of == f.pkg || under)
		}) {
			t.Errorf("docs/architecture.md does not name package %s", f.pkg)
		}
	}
	if len(checked) < 30 {
		t.Errorf("only %d packages found: the test looks in the wrong place", len(checked))
	}
}

// TestNames: a package is named for what it is, not for being useful.
func TestNames(t *testing.T) {
	vague := []string{"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers", "shared", "base"}
	for _, f := range sources(t) {
		for _, name := range []string{path.Base(f.pkg), strings.TrimSuffix(strings.TrimSuffix(path.Base(f.name), ".go"), "_test")} {
			if slices.Contains(vague, name) {
				t.Errorf("%s: %q says nothing about what is in it", f.name, name)
			}
		}
	}
}

// TestSize: a file fits a mind, a function fits a screen.
func TestSize(t *testing.T) {
	const fileLines, functionLines = 500, 60
	for _, f := range sources(t) {
		if f.generated() || f.test {
			continue
		}
		if n := bytes.Count(f.src, []byte("\n")); n > fileLines {
			t.Errorf("%s has %d lines, at most %d are allowed", f.name, n, fileLines)
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			from, to := f.set.Position(fn.Pos()), f.set.Position(fn.End())
			if n := to.Line - from.Line + 1; n > functionLines {
				t.Errorf("%s: %s has %d lines, at most %d are allowed", from, fn.Name.Name, n, functionLines)
			}
		}
	}
}

// TestLeftovers: nothing is put off to a later that is written down nowhere else,
// and no test waits for the clock.
func TestLeftovers(t *testing.T) {
	putOff := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX|HA` + `CK)\b`)
	sleep := regexp.MustCompile(`\btime\.Sle` + `ep\(`)
	for _, f := range sources(t) {
		if f.generated() {
			continue
		}
		for i, line := range bytes.Split(f.src, []byte("\n")) {
			if m := putOff.Find(line); m != nil {
				t.Errorf("%s:%d: %s", f.name, i+1, m)
			}
			if f.test && sleep.Match(line) {
				t.Errorf("%s:%d: a test waits for a condition with a deadline, not for the clock", f.name, i+1)
			}
		}
	}
}

// TestScripts: what runs on a fresh machine is executable and stops at errors.
func TestScripts(t *testing.T) {
	for _, name := range []string{".ci/run", "test/setup.sh", "test/fuzz.sh"} {
		info, err := os.Stat(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode()&0o111 == 0 {
			t.Errorf("%s is not executable", name)
		}
		src, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(src, []byte("\nset -")) {
			t.Errorf("%s has no set line", name)
		}
	}
}
