package mapping

import (
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// An object with alike: true stands for all objects below its target that the CPE
// has under the same names below its source: components that TR-098 and Device:2
// have in common. What another rule says of one of them goes before it.

// alike returns the objects that an object with alike stands for, for devices of a
// template.
func (s *Set) alike(f *file, o *object, t *tree.Template) (list []*object) {
	base := generic(o.target)
	for _, path := range s.standard.under(base) {
		rest := path[len(base):]
		source := f.root + generic(o.source) + rest
		if _, table := t.LookupTable(source); !table && !t.HasObject(source) {
			continue
		}
		copied := *o
		copied.target, copied.source = o.target+rest, o.source+rest
		copied.same, copied.alike = [][2]string{{"", ""}}, false
		if rest != "" {
			copied.params, copied.key, copied.keyDerive, copied.when = nil, nil, nil, nil
		}
		list = append(list, &copied)
	}
	return list
}

// under returns the paths of an object and of all live objects below it.
func (s *standard) under(base string) []string {
	s.sorting.Do(func() {
		for path, e := range s.elements {
			if e.live && (e.kind == dm.Object || e.kind == dm.Table) {
				s.objects = append(s.objects, path)
			}
		}
		slices.Sort(s.objects)
	})
	from, _ := slices.BinarySearch(s.objects, base)
	to := from
	for to < len(s.objects) && strings.HasPrefix(s.objects[to], base) {
		to++
	}
	return s.objects[from:to]
}
