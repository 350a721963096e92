package mapping

import (
	"maps"
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Report tells what share of a device's parameters has a standard home.
type Report struct {
	Total, Standard, Vendor, Raw int
	RawGroups                    []Group  // largest first
	RawNames                     []string // their parameters, with {i}, sorted
}

// Group is a subtree whose parameters have no home but raw.
type Group struct {
	Path  string
	Count int
}

// Coverage counts the parameters of a device by where controllers find them.
func Coverage(p *Program, t *tree.Tree) Report {
	homes := make(map[tree.ParamID]home)
	for id, binds := range p.targets {
		best := homeRaw
		for _, b := range binds {
			best = min(best, homeOf(b.node.Path))
		}
		homes[id] = best
	}
	for id := range p.counts {
		homes[id] = homeStandard
	}
	var r Report
	groups, names := map[string]int{}, map[string]bool{}
	t.ForEach(func(id tree.ParamID, _ dm.Instance, _ tree.Value) bool {
		r.Total++
		h, ok := homes[id]
		switch {
		case ok && h == homeStandard:
			r.Standard++
		case ok && h == homeVendor:
			r.Vendor++
		default:
			r.Raw++
			groups[group(p.template.Params[id].Path)]++
			names[p.template.Params[id].Path] = true
		}
		return true
	})
	r.RawNames = slices.Sorted(maps.Keys(names))
	for path, n := range groups {
		r.RawGroups = append(r.RawGroups, Group{path, n})
	}
	slices.SortFunc(r.RawGroups, func(a, b Group) int {
		if a.Count != b.Count {
			return b.Count - a.Count
		}
		return strings.Compare(a.Path, b.Path)
	})
	return r
}

func homeOf(path string) home {
	switch {
	case strings.HasPrefix(path, rawPath):
		return homeRaw
	case strings.Contains(path, ".X_"):
		return homeVendor
	}
	return homeStandard
}

// group cuts a path to the first object beneath the root that tells it apart:
// three names deep, instances not counted.
func group(path string) string {
	names, at := 0, 0
	for at < len(path) {
		i := strings.IndexByte(path[at:], '.')
		if i < 0 {
			break
		}
		if path[at:at+i] != "{i}" {
			if names == 3 {
				break
			}
			names++
		}
		at += i + 1
	}
	return path[:at]
}
