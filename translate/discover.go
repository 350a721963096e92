package translate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/translate/mapping"
)

// The bounds of a discovery. A real tree has up to ten thousand names.
const (
	maxNames      = 100_000
	maxLevelCalls = 5_000
)

// discovery is a CPE's parameter tree as it was found, or as much of it as was
// before the session broke.
type discovery struct {
	root  cwmp.Path
	names []cwmp.ParameterInfo
	*reading

	way     mapping.Way            // that the names were found by, or are being found by
	walk    *walk                  // under way: the names are not complete
	noWay   map[mapping.Way]string // ways that failed, and why
	noTree  bool                   // a session broke when all names were asked for at once
	started time.Time
	avoid   cwmp.Path // an object that sessions break over
}

// plan says how a CPE is discovered.
type plan struct {
	root    cwmp.Path     // that the CPE informs with
	second  cwmp.Path     // another that its Inform has shown; "": none
	ways    []mapping.Way // to ask for names, in this order
	objects bool          // values may be read by whole objects
	max     int           // most names in a call; 0: not known
	suspect []cwmp.Path   // names that a session was lost over
	from    *progress     // what an earlier session has got; nil: nothing
	now     time.Time
}

// discover reads a CPE's whole tree: its names, then its values. If it fails it
// returns what it got so far.
func discover(ctx context.Context, cpe acs.Caller, p plan) (*discovery, error) {
	d := p.from.resume(p)
	if d.way == "" || d.walk != nil {
		if err := d.findNames(ctx, cpe, p); err != nil {
			return d, fmt.Errorf("GetParameterNames: %w", err)
		}
	}
	if !hasLeaf(d.names) {
		return d, fmt.Errorf("the CPE named no parameter under %s", d.root)
	}
	if err := d.readAll(ctx, cpe, p); err != nil {
		return d, fmt.Errorf("GetParameterValues: %w", err)
	}
	return d, nil
}

// readAll reads the values that are still missing.
func (d *discovery) readAll(ctx context.Context, cpe acs.Caller, p plan) error {
	if p.objects && len(d.values) == 0 {
		if err := d.readObjects(ctx, cpe); err != nil {
			return err
		}
	}
	names := suspectsApart(d.missing(), p.suspect)
	r, err := readValues(ctx, cpe, names, d.max)
	d.values, d.absent, d.max = append(d.values, r.values...), append(d.absent, r.absent...), r.max
	return err
}

// suspectsApart puts the names that a session was lost over behind the others,
// so that those are had; a single one before them, to be sure of it.
func suspectsApart(names, suspects []cwmp.Path) []cwmp.Path {
	if len(suspects) == 0 {
		return names
	}
	certain := without(names, suspects)
	doubtful := without(names, certain)
	if len(suspects) == 1 {
		return append(doubtful, certain...)
	}
	return append(certain, doubtful...)
}

// missing returns the parameters that neither have a value nor are absent.
func (d *discovery) missing() []cwmp.Path {
	if len(d.values) == 0 && len(d.absent) == 0 {
		return leaves(d.names)
	}
	have := make(map[cwmp.Path]bool, len(d.values)+len(d.absent))
	for _, v := range d.values {
		have[v.Name] = true
	}
	for _, n := range d.absent {
		have[n] = true
	}
	return slices.DeleteFunc(leaves(d.names), func(n cwmp.Path) bool { return have[n] })
}

// readObjects reads the values of whole objects, those directly under the root.
// What the CPE does not answer is left to be read by name.
func (d *discovery) readObjects(ctx context.Context, cpe acs.Caller) error {
	named := make(map[cwmp.Path]bool, len(d.names))
	var objects []cwmp.Path
	for _, n := range d.names {
		named[n.Name] = !n.Name.IsPartial()
		rest, under := strings.CutPrefix(string(n.Name), string(d.root))
		child, _, deeper := strings.Cut(rest, ".")
		if object := d.root + cwmp.Path(child) + "."; under && deeper && !slices.Contains(objects, object) {
			objects = append(objects, object)
		}
	}
	for _, object := range objects {
		answer, err := cpe.Call(ctx, &cwmp.GetParameterValues{Names: []cwmp.Path{object}})
		if isFault(err) {
			continue
		} else if err != nil {
			return err
		}
		if got, ok := answer.(*cwmp.GetParameterValuesResponse); ok {
			for _, v := range got.Values {
				if named[v.Name] {
					d.values, named[v.Name] = append(d.values, v), false
				}
			}
		}
	}
	return nil
}

// errNothingNamed is an answer without a parameter, as CPE give that cannot list
// a subtree.
var errNothingNamed = errors.New("the CPE named no parameter")

// findNames asks for all names in the ways that CPE are known to answer.
func (d *discovery) findNames(ctx context.Context, cpe acs.Caller, p plan) error {
	var refusals []error
	for _, way := range p.ways {
		err := d.ask(ctx, cpe, way, p.root)
		if err == nil {
			return d.addRoot(ctx, cpe, p.second)
		}
		refusal := fmt.Errorf("%s: %w", way, err)
		if isLost(err) {
			d.lost(way, err)
			return refusal
		} else if !isFault(err) && !errors.Is(err, errNothingNamed) {
			return refusal
		}
		d.fail(way, err)
		refusals = append(refusals, refusal)
	}
	d.noWay = nil // all are tried again
	return errors.Join(refusals...)
}

// ask asks for names in one way.
func (d *discovery) ask(ctx context.Context, cpe acs.Caller, way mapping.Way, root cwmp.Path) error {
	path := root
	switch way {
	case mapping.WayEmpty:
		path = ""
	case mapping.WayOther:
		path = otherRoot(root)
	case mapping.WayBranches, mapping.WayLevels:
		err := d.walkFrom(ctx, cpe, way, root)
		if (isFault(err) || errors.Is(err, errNothingNamed)) && len(d.walk.Names) == 0 {
			d.walk = nil
			return d.walkFrom(ctx, cpe, way, otherRoot(root))
		}
		return err
	}
	names, err := parameterNames(ctx, cpe, path, false)
	if err == nil {
		err = d.take(names, path)
	}
	if err == nil {
		d.way = way
	}
	return err
}

// walkFrom lists objects one by one, from where an earlier session came to.
func (d *discovery) walkFrom(ctx context.Context, cpe acs.Caller, way mapping.Way, root cwmp.Path) error {
	if d.walk == nil || d.way != way {
		d.walk = newWalk(root, nil)
		d.walk.Whole = way == mapping.WayBranches
	} else {
		d.walk = newWalk(d.root, d.walk)
	}
	d.way, d.root = way, d.walk.root
	if err := d.walk.run(ctx, cpe); err != nil {
		return err
	}
	names := d.walk.Names
	if !d.walk.Whole {
		d.way = mapping.WayLevels // what branches have come down to
	}
	d.walk = nil
	return d.take(names, root)
}

// lost learns from a session that broke while names were asked for.
func (d *discovery) lost(way mapping.Way, err error) {
	if d.walk != nil && len(d.walk.Names) > 0 {
		d.avoid = d.walk.lost()
		return
	}
	d.noTree = d.walk == nil
	d.walk, d.way = nil, ""
	d.fail(way, err)
}

func (d *discovery) fail(way mapping.Way, err error) {
	if d.noWay == nil {
		d.noWay = make(map[mapping.Way]string)
	}
	d.noWay[way] = reason(err.Error())
	if d.way == way {
		d.walk, d.way = nil, ""
	}
}

// addRoot adds what a CPE has under a second root, where its Inform shows that
// it has one.
func (d *discovery) addRoot(ctx context.Context, cpe acs.Caller, second cwmp.Path) error {
	if second == "" || slices.ContainsFunc(d.names, func(n cwmp.ParameterInfo) bool { return n.Name.Root() == second }) {
		return nil
	}
	names, err := parameterNames(ctx, cpe, second, false)
	if err != nil && !isFault(err) {
		return err
	}
	d.names = withoutRepeats(append(d.names, names...))
	return nil
}

// otherRoot returns the standard root that is not the given one.
func otherRoot(root cwmp.Path) cwmp.Path {
	if root == "Device." {
		return "InternetGatewayDevice."
	}
	return "Device."
}

// take keeps an answer to a question for everything under path. The root is the
// one that most parameters are under.
func (d *discovery) take(names []cwmp.ParameterInfo, path cwmp.Path) error {
	roots := make(map[cwmp.Path]int, 2)
	root := cwmp.Path("")
	for _, n := range names {
		if n.Name.IsPartial() {
			continue
		}
		r := n.Name.Root()
		if roots[r]++; roots[r] > roots[root] || roots[r] == roots[root] && r == path {
			root = r
		}
	}
	if root == "" {
		return errNothingNamed
	}
	// The root is kept with the device: a part of the envelope would keep it all.
	d.root, d.names = cwmp.Path(strings.Clone(string(root))), withoutRepeats(names)
	return nil
}

func parameterNames(ctx context.Context, cpe acs.Caller, path cwmp.Path, nextLevel bool) ([]cwmp.ParameterInfo, error) {
	answer, err := cpe.Call(ctx, &cwmp.GetParameterNames{Path: path, NextLevel: nextLevel})
	if err != nil {
		return nil, err
	}
	got, ok := answer.(*cwmp.GetParameterNamesResponse)
	if !ok {
		return nil, fmt.Errorf("the CPE answered GetParameterNames with %s", answer.RPC())
	}
	if len(got.Parameters) > maxNames {
		return nil, fmt.Errorf("the CPE named %d parameters, at most %d are handled", len(got.Parameters), maxNames)
	}
	return got.Parameters, nil
}

// withoutRepeats drops second mentions of a name; CPE list some twice.
func withoutRepeats(names []cwmp.ParameterInfo) []cwmp.ParameterInfo {
	seen := make(map[cwmp.Path]struct{}, len(names))
	out := names[:0]
	for _, n := range names {
		if _, twice := seen[n.Name]; twice || n.Name == "" {
			continue
		}
		seen[n.Name] = struct{}{}
		out = append(out, n)
	}
	return out
}

func isFault(err error) bool {
	var f *cwmp.Fault
	return errors.As(err, &f)
}
