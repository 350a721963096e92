package translate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// The bounds of a discovery. A real tree has up to ten thousand names.
const (
	maxNames      = 100_000
	maxLevelCalls = 5_000
)

// discovery is a CPE's parameter tree as it was found.
type discovery struct {
	root  cwmp.Path
	names []cwmp.ParameterInfo
	*reading
}

// discover reads a CPE's whole tree: its names, then its values.
func discover(ctx context.Context, cpe acs.Caller, root cwmp.Path, max int) (*discovery, error) {
	d := &discovery{}
	if err := d.findNames(ctx, cpe, root); err != nil {
		return nil, fmt.Errorf("GetParameterNames: %w", err)
	}
	names := leaves(d.names)
	if len(names) == 0 {
		return nil, fmt.Errorf("the CPE named no parameter under %s", d.root)
	}
	var err error
	if d.reading, err = readValues(ctx, cpe, names, max); err != nil {
		return d, fmt.Errorf("GetParameterValues: %w", err)
	}
	return d, nil
}

// findNames asks for all names at once, in the ways that CPE are known to
// answer: under the root they inform with, without a path, under the other
// standard root, and at last level by level.
func (d *discovery) findNames(ctx context.Context, cpe acs.Caller, root cwmp.Path) error {
	other := cwmp.Path("Device.")
	if root == other {
		other = "InternetGatewayDevice."
	}
	var refused error
	for _, path := range []cwmp.Path{root, "", other} {
		names, err := parameterNames(ctx, cpe, path, false)
		if isFault(err) {
			refused = err
			continue
		} else if err != nil {
			return err
		}
		if d.take(names, path) {
			return nil
		}
	}
	if err := d.walk(ctx, cpe, root); err != nil {
		return errors.Join(err, refused)
	}
	return nil
}

// take keeps an answer to a question for everything under path. It reports
// false for one that has no parameter, as CPE give that cannot list a subtree.
func (d *discovery) take(names []cwmp.ParameterInfo, path cwmp.Path) bool {
	var leaves int
	roots := make(map[cwmp.Path]int, 2)
	for _, n := range names {
		if !n.Name.IsPartial() {
			leaves++
			roots[n.Name.Root()]++
		}
	}
	if leaves == 0 {
		return false
	}
	d.root = path
	for r, n := range roots {
		if d.root == "" || n > roots[d.root] {
			d.root = r
		}
	}
	d.names = withoutRepeats(names)
	return true
}

// walk asks level by level (NextLevel true).
func (d *discovery) walk(ctx context.Context, cpe acs.Caller, root cwmp.Path) error {
	todo := []cwmp.Path{root}
	seen := map[cwmp.Path]bool{root: true}
	for calls := 0; len(todo) > 0; calls++ {
		if calls == maxLevelCalls || len(d.names) > maxNames {
			return fmt.Errorf("the tree has no end: %d names after %d calls", len(d.names), calls)
		}
		path := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		names, err := parameterNames(ctx, cpe, path, true)
		if isFault(err) && path != root {
			continue // an object that cannot be listed hides nothing else
		} else if err != nil {
			return err
		}
		for _, n := range names {
			if seen[n.Name] || !strings.HasPrefix(string(n.Name), string(path)) {
				continue
			}
			seen[n.Name] = true
			d.names = append(d.names, n)
			if n.Name.IsPartial() {
				todo = append(todo, n.Name)
			}
		}
	}
	if len(d.names) == 0 {
		return fmt.Errorf("the CPE named nothing under %s", root)
	}
	d.root = root
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
