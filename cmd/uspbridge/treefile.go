package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/translate/tree"
)

// treeFile is a device's parameters, of a capture or as ACS export them: CSV whose
// head line has Parameter, Object, Writable, Value and may have "Value type"; other
// columns are left out. Lines under DeviceID. tell the identity.
type treeFile struct {
	identity mapping.Identity
	root     cwmp.Path
	names    []cwmp.ParameterInfo
	types    []cwmp.Type // by index into names
	values   []string    // by index into names
}

// maxTreeLines bounds what is read of a tree file.
const maxTreeLines = 200_000

func openTreeFile(name string) (*treeFile, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	in := bufio.NewReader(file)
	switch first, err := in.Peek(1); {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s is empty; want a capture of a device, or a CSV of its parameters", name)
	case err != nil:
		return nil, err
	case first[0] == '{' || first[0] == '#':
		return readCapturedTree(in, name)
	}
	f, err := readTreeFile(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// readCapturedTree reads the parameters of a capture's only device, as they were when
// the capture began. name is the file's, for errors.
func readCapturedTree(r io.Reader, name string) (*treeFile, error) {
	recordings, err := cpesim.ReadRecordings(r, name)
	if err != nil {
		return nil, err
	}
	if len(recordings) > 1 {
		return nil, fmt.Errorf("%s: there are %d devices in the capture; one is wanted", name, len(recordings))
	}
	model, id := recordings[0].Model(), recordings[0].Identity
	f := &treeFile{root: model.Root(), identity: mapping.Identity{Manufacturer: id.Manufacturer, OUI: id.OUI, ProductClass: id.ProductClass}}
	for info, value := range model.All() {
		f.add(info, value.Type, value.Text)
	}
	return f, nil
}

func readTreeFile(r io.Reader) (*treeFile, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord = -1
	head, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("the head line: %w", err)
	}
	columns := map[string]int{}
	for i, name := range head {
		columns[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))] = i
	}
	for _, name := range []string{"parameter", "object", "writable", "value"} {
		if _, ok := columns[name]; !ok {
			return nil, fmt.Errorf("the head line has no column %q; it needs Parameter, Object, Writable, Value and may have Value type", name)
		}
	}
	f := new(treeFile)
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(f.names) == maxTreeLines {
			return nil, fmt.Errorf("more than %d lines", maxTreeLines)
		}
		f.take(func(column string) string {
			if i, ok := columns[column]; ok && i < len(record) {
				if column == "value" {
					return record[i] // blanks may belong to it
				}
				return strings.TrimSpace(record[i])
			}
			return ""
		})
	}
	if f.root == "" {
		return nil, errors.New("no parameter in it")
	}
	return f, nil
}

// take reads one line.
func (f *treeFile) take(column func(string) string) {
	name, value := strings.TrimSuffix(column("parameter"), "."), column("value")
	if field, ok := strings.CutPrefix(name, "DeviceID."); ok {
		f.identify(field, value)
		return
	}
	// Exports of an ACS have branches of its own beside the device's.
	if root, _, _ := strings.Cut(name, "."); root != "Device" && root != "InternetGatewayDevice" {
		return
	}
	info := cwmp.ParameterInfo{Name: cwmp.Path(name), Writable: isTrue(column("writable"))}
	if isTrue(column("object")) {
		info.Name += "."
	}
	f.add(info, cwmp.ParseType(column("value type")), value)
}

// add takes an object or a parameter with its value.
func (f *treeFile) add(info cwmp.ParameterInfo, typ cwmp.Type, value string) {
	switch afterRoot(string(info.Name)) {
	case "DeviceInfo.HardwareVersion":
		f.identity.HardwareVersion = value
	case "DeviceInfo.SoftwareVersion":
		f.identity.SoftwareVersion = value
	}
	if f.root == "" {
		f.root = info.Name.Root()
	}
	f.names = append(f.names, info)
	f.types = append(f.types, typ)
	f.values = append(f.values, value)
}

func (f *treeFile) identify(field, value string) {
	switch field {
	case "Manufacturer":
		f.identity.Manufacturer = value
	case "OUI":
		f.identity.OUI = value
	case "ProductClass":
		f.identity.ProductClass = value
	}
}

func afterRoot(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	return rest
}

func isTrue(s string) bool { return strings.EqualFold(s, "true") || s == "1" }

// coverage reports how the parameters of the device of the file are mapped.
func (f *treeFile) coverage(set *mapping.Set) (mapping.Report, error) {
	program, t, err := f.compile(set)
	if err != nil {
		return mapping.Report{}, err
	}
	return mapping.Coverage(program, t), nil
}

// view returns the device of the file as controllers would see it.
func (f *treeFile) view(set *mapping.Set) (*mapping.View, error) {
	program, t, err := f.compile(set)
	if err != nil {
		return nil, err
	}
	numbers, _, _, _ := program.Reconcile(t, mapping.NewNumbers())
	return program.View(t, numbers, time.Now), nil
}

// compile compiles the mappings for the device of the file.
func (f *treeFile) compile(set *mapping.Set) (*mapping.Program, *tree.Tree, error) {
	b := tree.NewBuilder(f.root)
	for i, info := range f.names {
		b.Add(info, f.types[i])
	}
	if n := b.Rejected(); n > 0 && n == len(f.names) {
		return nil, nil, errors.New("none of its names is a parameter path")
	}
	template := set.Presume(b.Template(), f.identity)
	program, err := set.Compile(template, f.identity)
	return program, f.tree(template), err
}

// tree returns the device of the file.
func (f *treeFile) tree(template *tree.Template) *tree.Tree {
	t := tree.New(template)
	at := uint32(time.Now().Unix())
	for _, info := range f.names {
		t.Add(info.Name)
	}
	for i, info := range f.names {
		if schema, inst, ok := tree.Split(info.Name); ok && !info.Name.IsPartial() {
			if p, ok := template.Lookup(schema); ok {
				t.Set(p, inst, f.values[i], at)
			}
		}
	}
	return t
}
