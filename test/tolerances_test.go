package test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/tolerances.md anew from the tests")

const tolerancesFile = "../docs/tolerances.md"

// layers are the chapters of docs/tolerances.md; a package belongs to the first
// that it is, or is below.
var layers = []struct{ pkg, title string }{
	{"cwmp/soap", "SOAP and XML"},
	{"cwmp/acs", "HTTP, authentication and sessions"},
	{"cmd/uspbridge/servertls", "TLS"},
	{"cwmp/connreq", "Connection requests"},
	{"cwmp/lightweight", "Lightweight notifications"},
	{"cwmp/upstream", "In front of an existing ACS"},
	{"cwmp", "Values and versions"},
	{"translate", "RPCs and data models"},
	{"usp", "USP controllers and brokers"},
	{"test", "The whole system"},
}

// deviation is a way of CPE, controllers or brokers to depart from the standards,
// as a comment of a test tells it.
type deviation struct {
	who, what, done string
	pkg, test       string // package path; TestName, or TestName/row
	at              token.Position
}

// TestTolerances holds docs/tolerances.md against what the tests prove.
func TestTolerances(t *testing.T) {
	files := slices.DeleteFunc(sources(t), func(f sourceFile) bool { return !f.test })
	var all []deviation
	for _, f := range files {
		found, err := deviations(f, files)
		if err != nil {
			t.Error(err)
		}
		all = append(all, found...)
	}
	if len(all) < 50 {
		t.Errorf("only %d deviations found: the test looks in the wrong place", len(all))
	}
	want := tolerancesPage(t, all)
	if *update {
		if err := os.WriteFile(tolerancesFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(tolerancesFile); err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/tolerances.md is not what the tests say (%v): go test ./test -run TestTolerances -update", err)
	}
}

func tolerancesPage(t *testing.T, all []deviation) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(`# What is tolerated

Devices, controllers and brokers depart from the standards, and are served all the same. This page says who departs from them
how, and what is done about it. It is written by ` + "`go test ./test -run TestTolerances -update`" + ` from comments in the tests; each row
names the test that proves it, to be run with ` + "`go test ./<package> -run '<test>'`" + `. Where it says how many, it is of 138
messages of some 45 vendors; a precaution is what has not been met. What is written to devices is strict: envelopes validate
against the XML Schemas of CWMP (` + "`cwmp/soap`, `TestSchemas`" + `).
`)
	for i, l := range layers {
		var rows []deviation
		for _, d := range all {
			if layerOf(d.pkg) == i {
				rows = append(rows, d)
			}
		}
		if len(rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n| who | what they do | what is done | proven by |\n|---|---|---|---|\n", l.title)
		for _, d := range rows {
			fmt.Fprintf(&b, "| %s | %s | %s | `%s` `%s` |\n", cell(d.who), cell(d.what), cell(d.done), d.pkg, d.test)
		}
	}
	for _, d := range all {
		if layerOf(d.pkg) < 0 {
			t.Errorf("%s: no chapter for package %s", d.at, d.pkg)
		}
	}
	return b.Bytes()
}

func layerOf(pkg string) int {
	for i, l := range layers {
		if within(pkg, l.pkg) {
			return i
		}
	}
	return -1
}

// cell makes text safe in a table of Markdown.
func cell(s string) string { return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(s) }

const deviationMark = "Deviation: "

// deviations finds the deviations told in the comments of a test file. tests are
// all test files, among which the test is looked for that uses a table.
func deviations(f sourceFile, tests []sourceFile) (found []deviation, err error) {
	for _, group := range f.ast.Comments {
		for _, text := range marked(group) {
			d := deviation{pkg: f.pkg, at: f.set.Position(group.Pos())}
			who, rest, _ := strings.Cut(text, " – ")
			if i := strings.LastIndex(rest, "; "); i >= 0 {
				d.who, d.what, d.done = who, rest[:i], strings.TrimSuffix(rest[i+2:], ".")
			}
			if d.who == "" || d.what == "" || d.done == "" {
				return nil, fmt.Errorf("%s: %q is not of the form \"%swho – what they do; what is done\"", d.at, text, deviationMark)
			}
			if d.test, err = provenBy(f, group, tests); err != nil {
				return nil, err
			}
			found = append(found, d)
		}
	}
	return found, nil
}

// marked returns the deviations of a comment. Each goes to the next mark, to an
// empty line, or to the comment's end.
func marked(group *ast.CommentGroup) (texts []string) {
	open := false
	for _, c := range group.List {
		line := strings.TrimSpace(strings.TrimPrefix(c.Text, "//"))
		if text, ok := strings.CutPrefix(line, deviationMark); ok {
			texts, open = append(texts, text), true
		} else if line == "" {
			open = false
		} else if open {
			texts[len(texts)-1] += " " + line
		}
	}
	return texts
}

// provenBy names the test that a comment stands over or in, and the row of a table
// that it stands over, by the row's first string.
func provenBy(f sourceFile, group *ast.CommentGroup, tests []sourceFile) (string, error) {
	at := f.set.Position(group.Pos())
	for _, decl := range f.ast.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Doc != group && (group.Pos() < decl.Pos() || group.Pos() >= decl.End()) {
				continue
			}
			if !isTest(decl) {
				return "", fmt.Errorf("%s: %s is no test", at, decl.Name.Name)
			}
			if decl.Doc == group {
				return decl.Name.Name, nil
			}
			return rowOfTest(decl, decl, group), nil
		case *ast.GenDecl:
			if group.Pos() < decl.Pos() || group.Pos() >= decl.End() {
				continue
			}
			for _, spec := range decl.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok && group.Pos() < v.End() && len(v.Names) == 1 {
					if test := userOf(v.Names[0].Name, f.pkg, tests); test != nil {
						return rowOfTest(test, v, group), nil
					}
				}
			}
			return "", fmt.Errorf("%s: no test uses this table", at)
		}
	}
	return "", fmt.Errorf("%s: this comment is over no test and no row of one", at)
}

func isTest(f *ast.FuncDecl) bool {
	return f.Recv == nil && (strings.HasPrefix(f.Name.Name, "Test") || strings.HasPrefix(f.Name.Name, "Fuzz"))
}

// userOf returns the first test of a package that mentions a variable.
func userOf(variable, pkg string, tests []sourceFile) (user *ast.FuncDecl) {
	for _, f := range tests {
		if f.pkg != pkg {
			continue
		}
		for _, decl := range f.ast.Decls {
			test, ok := decl.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(test.Name.Name, "Test") || !isTest(test) {
				continue
			}
			ast.Inspect(test, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok && id.Name == variable && user == nil {
					user = test
				}
				return user == nil
			})
		}
	}
	return user
}

// rowOfTest adds the first string behind a comment to a test's name, if the test
// runs subtests, whose names they are or begin with.
func rowOfTest(test *ast.FuncDecl, scope ast.Node, group *ast.CommentGroup) string {
	name, row := test.Name.Name, ""
	subtests := false
	ast.Inspect(test, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Run" {
			subtests = true
		}
		return true
	})
	ast.Inspect(scope, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && lit.Pos() > group.End() && row == "" {
			row, _ = strconv.Unquote(lit.Value)
		}
		return row == ""
	})
	if !subtests || row == "" {
		return name
	}
	return name + "/" + strings.ReplaceAll(row, " ", "_")
}

// TestDeviations has comments and what is read out of them.
func TestDeviations(t *testing.T) {
	const runs = "func TestT(t *testing.T) { for _, tt := range table { t.Run(tt.name, nil) } }\n"
	tests := []struct{ name, src, want string }{
		{"over a test", "// TestA tests.\n//\n// Deviation: A – does b; c is done\nfunc TestA(t *testing.T) {}", "A|does b|c is done|TestA"},
		{"over two lines, and two in one comment", "// Deviation: A – does\n// b; c\n// Deviation: D – e; f\n//\n// More.\nfunc TestA(t *testing.T) {}", "A|does b|c|TestA\nD|e|f|TestA"},
		{"over a row of a table of its own", "var table = []struct{ name string }{\n{\"a\"},\n// Deviation: A – b; c\n{name: \"d e\"},\n}\n" + runs, "A|b|c|TestT/d_e"},
		{"over a row without subtests", "func TestA(t *testing.T) {\nfor _, s := range []string{\n// Deviation: A – b; c\n\"d\"} {}\n}", "A|b|c|TestA"},
		{"over a row inside a test", "func TestA(t *testing.T) {\nm := map[string]int{\n\"a\": 1,\n// Deviation: A – b; c\n\"d\": 2}\nt.Run(\"\", nil)\n}", "A|b|c|TestA/d"},
		{"without who", "// Deviation: does b; c\nfunc TestA(t *testing.T) {}", "error: not of the form"},
		{"without what is done", "// Deviation: A – does b\nfunc TestA(t *testing.T) {}", "error: not of the form"},
		{"what is done comes last", "// Deviation: A – does b; others do c; d.\nfunc TestA(t *testing.T) {}", "A|does b; others do c|d|TestA"},
		{"over a helper", "// Deviation: A – b; c\nfunc helper() {}", "error: no test"},
		{"over a table that nothing uses", "var table = []string{\n// Deviation: A – b; c\n\"d\"}", "error: no test uses"},
		{"over nothing", "// Deviation: A – b; c\n\nfunc TestA(t *testing.T) {}", "error: over no test"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := sourceFile{name: "p/a_test.go", pkg: path.Dir("p/a_test.go"), test: true, set: token.NewFileSet()}
			var err error
			if f.ast, err = parser.ParseFile(f.set, f.name, "package p\n"+tt.src, parser.ParseComments); err != nil {
				t.Fatal(err)
			}
			found, err := deviations(f, []sourceFile{f})
			if text, wantError := strings.CutPrefix(tt.want, "error: "); wantError {
				if err == nil || !strings.Contains(err.Error(), text) {
					t.Errorf("error %v, want one with %q", err, text)
				}
				return
			}
			var got []string
			for _, d := range found {
				got = append(got, strings.Join([]string{d.who, d.what, d.done, d.test}, "|"))
			}
			if strings.Join(got, "\n") != tt.want || err != nil {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
		})
	}
}
