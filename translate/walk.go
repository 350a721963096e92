package translate

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// walk lists an object by and by: its children, then what is under each. It can
// be kept and gone on with in a later session.
type walk struct {
	Todo    []cwmp.Path          // objects still to be listed, the next one last
	Names   []cwmp.ParameterInfo // found so far
	Whole   bool                 // ask for all that is under an object, rather than for its children only
	Suspect cwmp.Path            // the object that the last session was lost over
	Again   bool                 // it was lost over it once more

	root   cwmp.Path
	seen   map[cwmp.Path]bool
	calls  int
	failed int // objects that were asked for as a whole in vain, in succession
}

// maxBranches is after how many objects that are not answered as a whole in
// succession no further one is asked for so.
const maxBranches = 3

func newWalk(root cwmp.Path, from *walk) *walk {
	w := from
	if w == nil {
		w = &walk{Todo: []cwmp.Path{root}}
	}
	w.root = root
	w.seen = make(map[cwmp.Path]bool, len(w.Names)+1)
	w.seen[root] = true
	for _, n := range w.Names {
		w.seen[n.Name] = true
	}
	return w
}

// run goes on until nothing is left to be listed. An object that cannot be
// listed hides nothing else. After a broken session the object that was being
// listed is the first of those still to do.
func (w *walk) run(ctx context.Context, cpe acs.Caller) error {
	for len(w.Todo) > 0 {
		if w.calls++; w.calls > maxLevelCalls || len(w.Names) > maxNames {
			return fmt.Errorf("the tree has no end: %d names after %d calls", len(w.Names), w.calls-1)
		}
		path := w.Todo[len(w.Todo)-1]
		whole := w.Whole && path != w.root
		names, err := parameterNames(ctx, cpe, path, !whole)
		if err != nil && (!isFault(err) || path == w.root) {
			return err
		}
		if whole && !hasLeaf(names) {
			// Asked for by levels next, and so are its likes.
			if w.failed++; w.failed >= maxBranches {
				w.Whole = false
			}
			if names, err = parameterNames(ctx, cpe, path, true); err != nil && !isFault(err) {
				return err
			}
			whole = false
		}
		w.Todo = w.Todo[:len(w.Todo)-1]
		w.take(path, names, whole)
	}
	if len(w.Names) == 0 {
		return fmt.Errorf("%w under %s", errNothingNamed, w.root)
	}
	return nil
}

// take keeps the names under an object and adds the objects among them to what
// is to do, unless the answer has what is under them too: some CPE answer with
// the whole subtree when they are asked for one level.
func (w *walk) take(path cwmp.Path, names []cwmp.ParameterInfo, whole bool) {
	deep := whole || slices.ContainsFunc(names, func(n cwmp.ParameterInfo) bool {
		rest, under := strings.CutPrefix(string(n.Name), string(path))
		return under && strings.Contains(strings.TrimSuffix(rest, "."), ".")
	})
	for _, n := range names {
		if w.seen[n.Name] || !strings.HasPrefix(string(n.Name), string(path)) {
			continue
		}
		w.seen[n.Name] = true
		w.Names = append(w.Names, n)
		if n.Name.IsPartial() && !deep {
			w.Todo = append(w.Todo, n.Name)
		}
	}
}

// lost puts the object that a session broke over behind all others, so that those
// are had. If that happens to it again it is the first in the next session, where
// nothing else can be the reason; then it is left out, and returned.
func (w *walk) lost() (avoid cwmp.Path) {
	if len(w.Todo) == 0 {
		return ""
	}
	last := len(w.Todo) - 1
	path := w.Todo[last]
	switch {
	case path != w.Suspect:
		w.Suspect, w.Again = path, false
		w.Todo = slices.Insert(w.Todo[:last], 0, path)
	case !w.Again:
		w.Again = true
	default:
		w.Suspect = ""
		w.Todo = w.Todo[:last]
		return path
	}
	return ""
}

func hasLeaf(names []cwmp.ParameterInfo) bool {
	return slices.ContainsFunc(names, func(n cwmp.ParameterInfo) bool { return !n.Name.IsPartial() })
}
