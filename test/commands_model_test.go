package test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/mappings"
	"github.com/uspbridge/uspbridge/translate/mapping"
)

// element is a row of the Device:2 table.
type element struct {
	kind, typ string
	list      bool
	enum      []string
	low       string // the lowest number of its range, "" for any
	size      string // the least length, "" for any
	path      bool
	mandatory bool
}

// device2 is the Device:2 table, by path.
var device2 = sync.OnceValues(func() (map[string]element, error) {
	zip, err := gzip.NewReader(bytes.NewReader(mappings.Device2))
	if err != nil {
		return nil, err
	}
	all := map[string]element{}
	lines := bufio.NewScanner(zip)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		c := strings.Split(lines.Text(), "\t")
		if c[11] == "deleted" {
			continue
		}
		e := element{kind: c[0], typ: c[3], list: c[4] != "", path: c[15] == "1", mandatory: c[9] == "1"}
		e.low, _, _ = strings.Cut(c[13], ":")
		e.size, _, _ = strings.Cut(c[14], ":")
		for v := range strings.SplitSeq(c[5], "|") {
			if v, _, _ = strings.Cut(v, "^"); v != "" {
				e.enum = append(e.enum, v)
			}
		}
		all[c[1]] = e
	}
	return all, lines.Err()
})

// wide is a built-in model with all commands and events that CWMP has for its
// root.
type wide struct {
	t     *testing.T
	root  cwmp.Path
	lines map[string]string // by path
}

// wideModel returns a CPE that has everything.
func wideModel(t *testing.T, name string, root cwmp.Path) *cpesim.Model {
	t.Helper()
	base, err := os.ReadFile("../cwmp/cpesim/models/" + name + ".csv")
	if err != nil {
		t.Fatal(err)
	}
	w := &wide{t: t, root: root, lines: map[string]string{}}
	for line := range strings.Lines(string(base)) {
		path, _, _ := strings.Cut(line, ",")
		w.lines[path] = ""
	}
	commands, err := mapping.Commands()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands {
		if h := c.Home(root); h != nil {
			w.command(c, h)
		}
	}
	if root == "Device." {
		w.events()
		for _, table := range []string{"Device.DeviceInfo.VendorLogFile.{i}.", "Device.SoftwareModules.ExecEnv.{i}.",
			"Device.SoftwareModules.DeploymentUnit.{i}.", "Device.SoftwareModules.ExecutionUnit.{i}."} {
			w.row(table)
		}
	}
	modules := string(root) + "SoftwareModules."
	w.add(modules+"DeploymentUnit.1.UUID", false, "00000000-0000-5000-8000-000000000001", "string", "")
	w.add(modules+"ExecEnv.1.Enable", true, "true", "boolean", "")
	w.add(modules+"ExecutionUnit.1.Status", false, "Idle", "string", "")
	var more []string
	for _, line := range w.lines {
		if line != "" {
			more = append(more, line)
		}
	}
	slices.Sort(more)
	m, err := cpesim.LoadCSV(io.MultiReader(bytes.NewReader(base), strings.NewReader(strings.Join(more, ""))))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// add adds a parameter, with the objects around it.
func (w *wide) add(path string, writable bool, value, typ, allowed string) {
	if _, there := w.lines[path]; there {
		return
	}
	for i := strings.IndexByte(path, '.'); i >= 0; {
		object := path[:i]
		if _, there := w.lines[object]; !there && !strings.Contains(object, "{i}") {
			w.lines[object] = fmt.Sprintf("%s,true,false,,,\n", object)
		}
		next := strings.IndexByte(path[i+1:], '.')
		if next < 0 {
			break
		}
		i += 1 + next
	}
	w.lines[path] = fmt.Sprintf("%s,false,%t,%s,xsd:%s,%s\n", path, writable, value, typ, allowed)
}

// command adds the parameters of a command, in the first row of each table.
func (w *wide) command(c *mapping.Served, h *mapping.Home) {
	object := strings.ReplaceAll(h.Object, "{i}", "1")
	all, err := device2()
	if err != nil {
		w.t.Fatal(err)
	}
	if c.Class == mapping.ClassTrigger {
		for _, a := range h.In { // one of them can be what starts it
			w.add(object+a.Param, true, "", typeOf(all[c.Command+".Input."+a.Name]), "")
		}
		w.add(object+h.Start, true, "false", "boolean", "")
	} else {
		for _, a := range h.In {
			if a.Param != "" {
				w.add(object+a.Param, true, zero(all[c.Command+".Input."+a.Name]), typeOf(all[c.Command+".Input."+a.Name]), "")
			}
		}
		for _, a := range h.Out {
			if a.Param != "" && a.Param != h.Start {
				w.add(object+a.Param, false, zero(all[c.Command+".Output."+a.Name]), typeOf(all[c.Command+".Output."+a.Name]), "")
			}
		}
		allowed := ""
		if w.root != "Device." && strings.Contains(h.Object, "loadDiagnostics.") {
			allowed = "None|Requested|Canceled|Completed" // TR-143 has another word
		}
		w.add(object+h.Start, true, "None", "string", allowed)
	}
	if w.root == "Device." {
		owner := c.Command[:strings.LastIndexByte(c.Command, '.')+1]
		if i := strings.LastIndex(owner, "{i}."); i >= 0 {
			w.row(owner[:i+len("{i}.")])
		}
	}
}

// events adds the parameters whose changes are events.
func (w *wide) events() {
	events, err := mapping.Events()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range events {
		if e.Source() == "" {
			continue
		}
		w.add(strings.ReplaceAll(e.Source(), "{i}", "1"), false, "0", "unsignedInt", "")
		if i := strings.LastIndex(e.Event, "{i}."); i >= 0 {
			w.row(e.Event[:i+len("{i}.")])
		}
	}
}

// row gives a table of Device:2, and those around it, a row that can be seen: with
// the first parameter that the standard has in it.
func (w *wide) row(table string) {
	all, err := device2()
	if err != nil {
		w.t.Fatal(err)
	}
	for end := strings.Index(table, "{i}."); end >= 0; {
		object := table[:end+len("{i}.")]
		var names []string
		for path, e := range all {
			if rest, below := strings.CutPrefix(path, object); below && e.kind == "param" && !strings.Contains(rest, ".") && rest != "Alias" {
				names = append(names, rest)
			}
		}
		if len(names) > 0 {
			first := slices.Min(names)
			e := all[object+first]
			w.add(strings.ReplaceAll(object, "{i}", "1")+first, false, zero(e), typeOf(e), "")
		}
		next := strings.Index(table[end+1:], "{i}.")
		if next < 0 {
			break
		}
		end += 1 + next
	}
}

// typeOf is the CWMP type of an element.
func typeOf(e element) string {
	if e.list || e.typ == "" {
		return "string"
	}
	return e.typ
}

// zero is a value of an element's type.
func zero(e element) string {
	switch typeOf(e) {
	case "boolean":
		return "false"
	case "unsignedInt", "int", "unsignedLong", "long", "decimal":
		return "0"
	case "dateTime":
		return "0001-01-01T00:00:00Z"
	}
	return ""
}

// sample is a value that an argument may have.
func sample(e element) string {
	switch {
	case len(e.enum) > 0:
		return e.enum[0]
	case e.list:
		return "a,b"
	}
	switch e.typ {
	case "boolean":
		return "true"
	case "unsignedInt", "int", "unsignedLong", "long", "decimal":
		if e.low != "" {
			return e.low
		}
		return "1"
	case "dateTime":
		return "2026-01-02T03:04:05Z"
	case "hexBinary":
		n, err := strconv.Atoi(e.size)
		if err != nil {
			n = 4
		}
		return strings.Repeat("A5", max(1, n))
	case "base64":
		return "AAAA"
	}
	return "host.example"
}
