package mapping

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/uspbridge/uspbridge/cwmp"
)

// The bounds of what a profile may ask for.
const (
	maxLimit       = 10_000           // names, values or entries in one call
	maxRPCTimeout  = 10 * time.Minute // a session holds memory while it waits
	maxPatterns    = 1_000            // paths in skip or reboot_after
	maxPathPattern = 1_024            // bytes of one
)

// MaxQuiet is the longest that a profile may have a CPE left alone after a boot.
const MaxQuiet = 24 * time.Hour

// profileFile is one profile file: what it changes in a Profile.
type profileFile struct {
	name    string // of the file
	profile string
	match   map[string]*regexp.Regexp
	apply   []func(*Profile)
}

// isProfile tells a profile file from a mapping file by its first key.
func isProfile(doc *yaml.Node) bool {
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return false
	}
	keys := doc.Content[0].Content
	for i := 0; i < len(keys); i += 2 {
		if keys[i].Value == "mapping" {
			return false
		}
		if keys[i].Value == "profile" {
			return true
		}
	}
	return false
}

func readProfile(name string, doc *yaml.Node) (*profileFile, error) {
	r := &reading{name: name}
	f := &profileFile{name: name, match: map[string]*regexp.Regexp{}}
	r.fields(doc.Content[0], r.profileFields(f))
	if f.profile == "" && len(r.problems) == 0 {
		r.fail(doc.Content[0], "profile: a name is missing")
	}
	return f, errors.Join(r.problems...)
}

// profileFields is the language of profile files.
func (r *reading) profileFields(f *profileFile) map[string]func(*yaml.Node) {
	set := func(apply func(*Profile)) { f.apply = append(f.apply, apply) }
	limit := func(to func(*Profile) *int) func(*yaml.Node) {
		return func(n *yaml.Node) { v := r.limit(n); set(func(p *Profile) { *to(p) = v }) }
	}
	flag := func(to func(*Profile) *bool) func(*yaml.Node) {
		return func(n *yaml.Node) { v := r.boolean(n); set(func(p *Profile) { *to(p) = v }) }
	}
	span := func(most time.Duration, to func(*Profile) *time.Duration) func(*yaml.Node) {
		return func(n *yaml.Node) { v := r.span(n, most); set(func(p *Profile) { *to(p) = v }) }
	}
	return map[string]func(*yaml.Node){
		"profile":          func(n *yaml.Node) { f.profile = r.text(n) },
		"for":              func(n *yaml.Node) { r.selectors(n, f.match) },
		"max_names":        limit(func(p *Profile) *int { return &p.MaxNames }),
		"max_values":       limit(func(p *Profile) *int { return &p.MaxValues }),
		"max_attributes":   limit(func(p *Profile) *int { return &p.MaxAttributes }),
		"partial_paths":    flag(func(p *Profile) *bool { return &p.PartialPaths }),
		"trust_writable":   flag(func(p *Profile) *bool { return &p.TrustWritable }),
		"trust_status":     flag(func(p *Profile) *bool { return &p.TrustStatus }),
		"check_rows":       flag(func(p *Profile) *bool { return &p.CheckRows }),
		"rpc_timeout":      span(maxRPCTimeout, func(p *Profile) *time.Duration { return &p.RPCTimeout }),
		"quiet_after_boot": span(MaxQuiet, func(p *Profile) *time.Duration { return &p.QuietAfterBoot }),
		"discovery":        func(n *yaml.Node) { v := r.ways(n); set(func(p *Profile) { p.Discovery = v }) },
		"booleans": func(n *yaml.Node) {
			v := Spelling(r.oneOf(n, string(SpellingDigits), string(SpellingWords)))
			set(func(p *Profile) { p.Booleans = v })
		},
		"notification": func(n *yaml.Node) {
			v := Reports(r.oneOf(n, string(ReportsNone), string(ReportsPassive), string(ReportsActive)))
			set(func(p *Profile) { p.Reports = v })
		},
		"skip": func(n *yaml.Node) {
			v := r.paths(n, true)
			set(func(p *Profile) { p.skip = append(p.skip, v...) })
		},
		"reboot_after": func(n *yaml.Node) {
			v := r.paths(n, false)
			set(func(p *Profile) { p.rebootAfter = append(p.rebootAfter, v...) })
		},
		"types": func(n *yaml.Node) { v := r.types(n); set(func(p *Profile) { p.addTypes(v) }) },
	}
}

func (p *Profile) addTypes(types map[string]cwmp.Type) {
	if p.types == nil {
		p.types = make(map[string]cwmp.Type, len(types))
	}
	for path, t := range types {
		p.types[path] = t
	}
}

func (r *reading) limit(n *yaml.Node) int {
	v, err := strconv.Atoi(r.text(n))
	if err != nil || v < 1 || v > maxLimit {
		r.fail(n, "a number from 1 to %d is expected here, not %q", maxLimit, n.Value)
	}
	return v
}

func (r *reading) span(n *yaml.Node, most time.Duration) time.Duration {
	d, err := time.ParseDuration(r.text(n))
	if err != nil || d < 0 || d > most {
		r.fail(n, "a duration such as 90s, at most %v, is expected here, not %q", most, n.Value)
	}
	return d
}

func (r *reading) ways(n *yaml.Node) (list []Way) {
	for _, text := range r.texts(n) {
		way := Way(text)
		switch {
		case !slices.Contains(Ways(), way):
			r.fail(n, "discovery: %q is no way; it can be %s", text, joined(Ways()))
		case slices.Contains(list, way):
			r.fail(n, "discovery: %s is there twice", text)
		default:
			list = append(list, way)
		}
	}
	return list
}

func joined(ways []Way) string {
	texts := make([]string, len(ways))
	for i, w := range ways {
		texts[i] = string(w)
	}
	return strings.Join(texts, ", ")
}

// paths reads CPE paths, from the root on: "*" stands for one name or instance.
// A path of an object, with its dot, means all below it.
func (r *reading) paths(n *yaml.Node, objects bool) (list []*regexp.Regexp) {
	texts := r.texts(n)
	if len(texts) > maxPatterns {
		r.fail(n, "%d paths, at most %d are taken", len(texts), maxPatterns)
		return nil
	}
	for _, text := range texts {
		switch {
		case len(text) > maxPathPattern || !strings.Contains(text, "."):
			r.fail(n, "%q is no path such as InternetGatewayDevice.Services.", text)
			continue
		case objects && !strings.HasSuffix(text, "."):
			r.fail(n, "%q must end with a dot: whole objects are skipped", text)
			continue
		}
		pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.ReplaceAll(text, "{i}", "*")), `\*`, `[^.]*`)
		if !strings.HasSuffix(text, ".") {
			pattern += "$"
		}
		list = append(list, regexp.MustCompile("^"+pattern))
	}
	return list
}

func (r *reading) types(n *yaml.Node) map[string]cwmp.Type {
	types := map[string]cwmp.Type{}
	for _, pair := range r.pairs(n) {
		t := cwmp.ParseType(pair[1])
		if t == cwmp.TypeUnknown || t.XSD() != pair[1] {
			r.fail(n, "types: %q is no type; write for example unsignedInt", pair[1])
		}
		if !strings.Contains(pair[0], ".") || strings.HasSuffix(pair[0], ".") {
			r.fail(n, "types: %q is no parameter such as InternetGatewayDevice.LANDevice.{i}.X", pair[0])
		}
		types[generic(pair[0])] = t
	}
	return types
}

// sortProfiles puts those that say less of a device before those that say more,
// so that the latter have the last word.
func sortProfiles(files []*profileFile) {
	slices.SortStableFunc(files, func(a, b *profileFile) int { return cmp.Compare(len(a.match), len(b.match)) })
}
