package mapping

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/mappings"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Identity is what mapping files select devices by.
type Identity struct {
	Manufacturer, OUI, ProductClass, HardwareVersion, SoftwareVersion string
}

func (id Identity) field(name string) string {
	switch name {
	case "manufacturer":
		return id.Manufacturer
	case "oui":
		return id.OUI
	case "product_class":
		return id.ProductClass
	case "hardware_version":
		return id.HardwareVersion
	}
	return id.SoftwareVersion
}

// Set is a set of loaded mapping files. It is immutable.
type Set struct {
	files    []*file
	profiles []*profileFile
	standard *standard
}

// Load reads the embedded mapping files and those of further file systems. A
// file whose mapping has the name of an earlier one takes its place. All
// problems of all files are in the error, each with file and line.
func Load(more ...fs.FS) (*Set, error) {
	std, err := parseStandard(mappings.Device2)
	if err != nil {
		return nil, err
	}
	s := &Set{standard: std}
	var problems []error
	for _, fsys := range append([]fs.FS{mappings.Files}, more...) {
		if err := s.load(fsys); err != nil {
			problems = append(problems, err)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	// Files for certain devices go before those for all.
	slices.SortStableFunc(s.files, func(a, b *file) int { return min(len(b.match), 1) - min(len(a.match), 1) })
	sortProfiles(s.profiles)
	return s, nil
}

func (s *Set) load(fsys fs.FS) error {
	var problems []error
	own := map[string]string{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !isMapping(name) {
			return err
		}
		doc, err := readYAML(fsys, name)
		if err == nil {
			err = s.add(name, doc, own)
		}
		if err != nil {
			problems = append(problems, err)
		}
		return nil
	})
	return errors.Join(append(problems, err)...)
}

// add takes a file in, in place of an earlier one of its name. own are the names
// that the file's folder has had so far.
func (s *Set) add(name string, doc *yaml.Node, own map[string]string) error {
	if isProfile(doc) {
		f, err := readProfile(name, doc)
		if err == nil {
			err = claim(own, "profile "+f.profile, name)
		}
		if err != nil {
			return err
		}
		s.profiles = slices.DeleteFunc(s.profiles, func(old *profileFile) bool { return old.profile == f.profile })
		s.profiles = append(s.profiles, f)
		return nil
	}
	f, err := readMapping(name, doc, s.standard)
	if err == nil {
		err = claim(own, "mapping "+f.mapping, name)
	}
	if err != nil {
		return err
	}
	s.files = slices.DeleteFunc(s.files, func(old *file) bool { return old.mapping == f.mapping })
	s.files = append(s.files, f)
	return nil
}

func claim(own map[string]string, what, file string) error {
	if other, twice := own[what]; twice {
		return fmt.Errorf("%s: %s is in %s already; give it another name", file, what, other)
	}
	own[what] = file
	return nil
}

// selected returns the files for a device.
func (s *Set) selected(root string, id Identity) (files []*file) {
	for _, f := range s.files {
		if slices.Contains(f.roots, root) && fits(f.match, id) {
			selected := *f
			selected.root = root
			files = append(files, &selected)
		}
	}
	return files
}

// Names returns the names of the loaded mappings.
func (s *Set) Names() (names []string) {
	for _, f := range s.files {
		names = append(names, f.mapping)
	}
	return names
}

// Presume returns t with the parameters that rows of its empty tables will
// have: a table without rows tells nothing of them, but a controller that wants
// to create a row must know. What the CPE then has not reads as absent.
func (s *Set) Presume(t *tree.Template, id Identity) *tree.Template {
	b := tree.NewBuilder(t.RootPath())
	found := false
	add := func(table, param string) {
		found = true
		name := strings.ReplaceAll(table+param, "{i}", "1")
		b.Add(cwmp.ParameterInfo{Name: cwmp.Path(name), Writable: true}, cwmp.TypeUnknown)
	}
	for _, f := range s.selected(string(t.RootPath()), id) {
		for _, o := range s.expanded(f, t) {
			table := f.root + generic(o.source)
			if !empty(t, table) {
				continue
			}
			for _, p := range o.params {
				if len(p.from) > 0 && !strings.HasPrefix(p.from[0], "..") && !strings.HasPrefix(p.from[0], "/") && generic(p.from[0]) == p.from[0] {
					add(table, p.from[0])
				}
			}
			for name := range s.namesakes(o, "") {
				add(table, name)
			}
		}
		if f.identity {
			for path, e := range s.standard.elements {
				if e.kind == dm.Param && e.live && !strings.HasSuffix(path, "NumberOfEntries") {
					if table := path[:strings.LastIndexByte(path, '.')+1]; empty(t, table) {
						add(table, path[len(table):])
					}
				}
			}
		}
	}
	if !found {
		return t
	}
	return t.Extend(b.Template())
}

// expanded returns a file's objects, with those that one with alike stands for.
func (s *Set) expanded(f *file, t *tree.Template) (list []*object) {
	for _, o := range f.objects {
		if o.alike {
			list = append(list, s.alike(f, o, t)...)
		} else {
			list = append(list, o)
		}
	}
	return list
}

// namesakes returns the standard parameters directly in o's target that o's
// source has under the same name.
func (s *Set) namesakes(o *object, prefix string) map[string]bool {
	names := map[string]bool{}
	for _, pair := range o.same {
		if pair[0] != prefix || pair[1] != prefix {
			continue
		}
		for path, e := range s.standard.elements {
			rest, ok := strings.CutPrefix(path, generic(o.target))
			if ok && e.kind == dm.Param && e.live && !strings.Contains(rest, ".") && !strings.HasSuffix(rest, "NumberOfEntries") {
				names[rest] = true
			}
		}
	}
	return names
}

// empty reports whether devices of the template have the table, but no rows.
func empty(t *tree.Template, table string) bool {
	id, has := t.LookupTable(table)
	return has && len(t.Tables[id].Params) == 0
}
