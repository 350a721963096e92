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
	counted := func(id tree.ParamID, inst dm.Instance) bool {
		only, ok := p.counts[id]
		return ok && within(inst, only)
	}
	var r Report
	groups, names := map[string]int{}, map[string]bool{}
	t.ForEach(func(id tree.ParamID, inst dm.Instance, _ tree.Value) bool {
		r.Total++
		switch h := p.bestHome(id, inst); {
		case h == homeStandard || counted(id, inst):
			r.Standard++
		case h == homeVendor:
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

// bestHome returns the best of the homes that a parameter has in one row: a rule for
// the first profile, as VoiceProfile.1.Region, is none for another.
func (p *Program) bestHome(id tree.ParamID, inst dm.Instance) home {
	best := homeRaw
	for _, bind := range p.targets[id] {
		for _, b := range bind.by {
			if slices.ContainsFunc(b.refs, func(r reference) bool { return r.param == id && within(inst, r.slots) }) {
				best = min(best, homeOf(bind.node.Path))
			}
		}
	}
	return best
}

// within reports whether a row has the numbers that a path names, 0 for any.
func within(inst dm.Instance, numbers []uint32) bool {
	for i := range min(len(numbers), inst.Len()) {
		if numbers[i] != 0 && numbers[i] != inst.At(i) {
			return false
		}
	}
	return true
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
