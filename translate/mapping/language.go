package mapping

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// maxFile bounds a mapping file, in bytes, maxRules the parameters it has once
// its YAML aliases are followed.
const (
	maxFile  = 1 << 20
	maxRules = 50_000
)

// file is one mapping file.
type file struct {
	name     string // of the file
	mapping  string
	root     string // of the devices it is selected for; one of roots
	roots    []string
	match    map[string]*regexp.Regexp
	identity bool
	ages     map[string]time.Duration
	classes  []classRule
	objects  []*object
}

// classRule gives parameters, by their USP path, a class of freshness.
type classRule struct {
	match *regexp.Regexp
	class string
}

// param is one entry of an object's params.
type param struct {
	at       string
	name     string   // under the target
	from     []string // source parameters, the first that is there counts
	conv     converter
	readOnly bool
	constant *string
	derive   *derivation
	join     []string
	rows     *rowReference
	inputs   []string
	table    []decision
	expr     *expressions
	eachItem bool   // item: each, of the list that the object's each names
	any      string // of several source rows that are one, that which has this value counts
	examples []example
}

// decision is one row of a decision table.
type decision struct {
	when  []string
	value string
}

// rowReference is a value that is the path of target rows.
type rowReference struct {
	targets []string
	of      []string // source object, none for the entry's own; or one for each of targets
	all     bool     // rows: a list, all but the row itself
}

// from returns the source object that rows of one of the targets stem from, "" for
// the entry's own.
func (r *rowReference) from(target int) string {
	switch len(r.of) {
	case 0:
		return ""
	case 1:
		return r.of[0]
	}
	return r.of[target]
}

// problem is what is wrong in a mapping file, and where.
type problem struct{ at, text string }

func (p problem) Error() string { return p.at + ": " + p.text }

// reading collects the problems of one file.
type reading struct {
	name     string
	standard *standard
	problems []error
	rules    int
}

func (r *reading) fail(n *yaml.Node, format string, args ...any) {
	r.problems = append(r.problems, problem{r.at(n), fmt.Sprintf(format, args...)})
}

func (r *reading) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d", r.name, n.Line) }

// readYAML reads a file that may be a mapping or a profile.
func readYAML(fsys fs.FS, name string) (*yaml.Node, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are taken", name, info.Size(), maxFile)
	}
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	return parseYAML(name, b)
}

func parseYAML(name string, b []byte) (*yaml.Node, error) {
	doc := new(yaml.Node)
	if err := yaml.Unmarshal(b, doc); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(doc.Content) != 1 {
		return nil, fmt.Errorf("%s: the file is empty; a mapping file begins with `mapping: NAME`, a profile with `profile: NAME`", name)
	}
	return doc, nil
}

// readMapping reads one mapping file. All problems are told at once.
func readMapping(name string, doc *yaml.Node, std *standard) (*file, error) {
	r := &reading{name: name, standard: std}
	f := r.file(doc.Content[0])
	if f != nil && f.mapping == "" {
		r.fail(doc.Content[0], "mapping: a name is missing")
	}
	return f, errors.Join(r.problems...)
}

// fields calls the function for each key of a YAML map and fails on unknown or
// repeated ones.
func (r *reading) fields(n *yaml.Node, known map[string]func(*yaml.Node)) {
	if n = resolved(n); n.Kind != yaml.MappingNode {
		r.fail(n, "a map is expected here, with the keys %s", keysOf(known))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		read, ok := known[key.Value]
		switch {
		case !ok:
			r.fail(key, "unknown key %q%s; known here are %s", key.Value, nearest(key.Value, known), keysOf(known))
		case seen[key.Value]:
			r.fail(key, "key %q is there twice", key.Value)
		default:
			seen[key.Value] = true
			read(n.Content[i+1])
		}
	}
}

// nearest returns a hint at the key that a misspelt one begins like.
func nearest(key string, known map[string]func(*yaml.Node)) string {
	best := ""
	for k := range known {
		if n := shared(k, key); n >= 3 && (n > shared(best, key) || n == shared(best, key) && k < best) {
			best = k
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

func keysOf(known map[string]func(*yaml.Node)) string {
	var keys []string
	for k := range known {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return strings.Join(keys, ", ")
}

func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

func (r *reading) text(n *yaml.Node) string {
	if n = resolved(n); n.Kind != yaml.ScalarNode {
		r.fail(n, "a single value is expected here")
		return ""
	}
	return n.Value
}

// texts reads a value or a list of values.
func (r *reading) texts(n *yaml.Node) (list []string) {
	if n = resolved(n); n.Kind != yaml.SequenceNode {
		return []string{r.text(n)}
	}
	for _, item := range n.Content {
		list = append(list, r.text(item))
	}
	return list
}

func (r *reading) boolean(n *yaml.Node) bool {
	switch v := r.text(n); v {
	case "true", "yes":
		return true
	case "false", "no":
	default:
		r.fail(n, "true or false is expected here, not %q", v)
	}
	return false
}

func (r *reading) file(n *yaml.Node) *file {
	f := &file{name: r.name, match: map[string]*regexp.Regexp{}, ages: map[string]time.Duration{}}
	r.fields(n, map[string]func(*yaml.Node){
		"mapping":  func(n *yaml.Node) { f.mapping = r.text(n) },
		"identity": func(n *yaml.Node) { f.identity = r.boolean(n) },
		"root": func(n *yaml.Node) {
			f.roots = r.texts(n)
			for _, root := range f.roots {
				if !strings.HasSuffix(root, ".") {
					r.fail(n, "root: %q must end with a dot, as InternetGatewayDevice.", root)
				}
			}
		},
		"for": func(n *yaml.Node) { r.selectors(n, f.match) },
		"ages": func(n *yaml.Node) {
			known := map[string]func(*yaml.Node){}
			for _, class := range classNames {
				known[class] = func(n *yaml.Node) {
					d, err := time.ParseDuration(r.text(n))
					if err != nil || d < 0 {
						r.fail(n, "ages.%s: %q is not a duration such as 60s", class, n.Value)
					}
					f.ages[class] = d
				}
			}
			r.fields(n, known)
		},
		"classes": func(n *yaml.Node) {
			if n = resolved(n); n.Kind != yaml.SequenceNode {
				r.fail(n, "classes: a list of {match: PATH, class: NAME} is expected")
				return
			}
			for _, item := range n.Content {
				f.classes = append(f.classes, r.classRule(item))
			}
		},
		"objects": func(n *yaml.Node) {
			if n.Kind != yaml.SequenceNode {
				r.fail(n, "objects: a list is expected")
				return
			}
			for _, item := range n.Content {
				f.objects = append(f.objects, r.objects(item)...)
			}
		},
	})
	return f
}

// selectors reads which devices a file is for.
func (r *reading) selectors(n *yaml.Node, match map[string]*regexp.Regexp) {
	known := map[string]func(*yaml.Node){}
	for _, key := range []string{"manufacturer", "oui", "product_class", "hardware_version", "software_version"} {
		known[key] = func(n *yaml.Node) {
			re, err := regexp.Compile("^(?:" + r.text(n) + ")$")
			if err != nil {
				r.fail(n, "for.%s: %v", key, err)
				return
			}
			match[key] = re
		}
	}
	r.fields(n, known)
}

// classRule reads a class of freshness with the paths that have it: "*" stands
// for one name or instance, "**" for any number of them.
func (r *reading) classRule(n *yaml.Node) (c classRule) {
	r.fields(n, map[string]func(*yaml.Node){
		"match": func(n *yaml.Node) {
			pattern := regexp.QuoteMeta(r.text(n))
			pattern = strings.NewReplacer(`\*\*`, `.*`, `\*`, `[^.]*`).Replace(pattern)
			c.match = regexp.MustCompile("^" + pattern + "$")
		},
		"class": func(n *yaml.Node) { c.class = r.oneOf(n, classNames[:]...) },
	})
	if c.match == nil || c.class == "" {
		r.fail(n, "classes: match and class are both needed")
		c.match = regexp.MustCompile(`^$`)
	}
	return c
}

// isMapping reports whether a file name is that of a mapping file.
func isMapping(name string) bool {
	return path.Ext(name) == ".yaml" || path.Ext(name) == ".yml"
}
