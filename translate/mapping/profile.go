package mapping

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/tree"
)

// Way is one of the ways to ask a CPE for the names of its parameters.
type Way string

// The ways, each for CPE that cannot answer the ones before it.
const (
	WayRoot     Way = "root"     // all under the root that the CPE informs with, in one answer
	WayEmpty    Way = "empty"    // all there is, by the empty path
	WayOther    Way = "other"    // all under the other standard root
	WayBranches Way = "branches" // the root's objects first, then all under each
	WayLevels   Way = "levels"   // object by object
)

// Ways returns all ways in the order in which they are tried where nothing is
// known of a CPE: the fewest calls first.
func Ways() []Way { return []Way{WayRoot, WayEmpty, WayOther, WayBranches, WayLevels} }

// Spelling is how booleans are written in SetParameterValues. Both are legal
// (XML Schema part 2, 3.2.2); some CPE take only one.
type Spelling string

// The spellings; "" leaves it to what the CPE itself writes.
const (
	SpellingDigits Spelling = "digits" // 1 and 0
	SpellingWords  Spelling = "words"  // true and false
)

// Reports is the strongest notification attribute that a CPE honours.
type Reports string

// The notifications; "" is active, as the standard has it.
const (
	ReportsNone    Reports = "none"
	ReportsPassive Reports = "passive"
	ReportsActive  Reports = "active"
)

// Profile is how the CPE of a kind have to be treated. The zero Profile is for
// those that keep to the standard; each field names why another is needed.
type Profile struct {
	Names []string // of the profiles that it is made of, in the order applied

	// MaxNames is the most names that a GetParameterValues may carry, MaxValues
	// the most values of a SetParameterValues, MaxAttributes the most entries of
	// a SetParameterAttributes; 0 is any number. CPE with small buffers refuse
	// more, or crash.
	MaxNames, MaxValues, MaxAttributes int

	// Discovery are the ways to ask for names, in the order to try them; nil is
	// Ways(). CPE hang, loop or answer nothing for some of them.
	Discovery []Way
	// PartialPaths allows GetParameterValues of whole objects in discovery, for
	// CPE that bear few names in a call but answer for an object at once.
	PartialPaths bool
	// TrustWritable is false for CPE whose GetParameterNames calls parameters
	// read-only that can be set: then the CPE itself is left to refuse.
	TrustWritable bool
	// CheckRows has rows looked for before their values are read, for CPE that
	// crash on the name of a row that has gone.
	CheckRows bool

	Booleans Spelling
	// TrustStatus is false for CPE that answer Status 1, not yet applied,
	// whatever they have done.
	TrustStatus bool

	// Reports is what the CPE honours of notification attributes: some take
	// them and report nothing.
	Reports Reports

	// RPCTimeout is how long the CPE may take for one answer; 0: as the ACS has
	// it.
	RPCTimeout time.Duration
	// QuietAfterBoot is how long a CPE is left alone after it has booted,
	// because it takes settings and loses them.
	QuietAfterBoot time.Duration

	skip        []*regexp.Regexp
	rebootAfter []*regexp.Regexp
	types       map[string]cwmp.Type // by {i}-path
}

// Skips reports whether a CPE path lies in a subtree that is not to be read:
// one in which the CPE crashes, or takes minutes.
func (p *Profile) Skips(path cwmp.Path) bool { return anyMatch(p.skip, path) }

// RebootsAfter reports whether a parameter takes effect only after a reboot,
// which the bridge then asks for.
func (p *Profile) RebootsAfter(path cwmp.Path) bool { return anyMatch(p.rebootAfter, path) }

// Type returns the type to write a parameter in, TypeUnknown for its own: some
// CPE say string of a number and refuse a string.
func (p *Profile) Type(path cwmp.Path) cwmp.Type {
	if p.types == nil {
		return cwmp.TypeUnknown
	}
	schema, _, _ := tree.Split(path)
	return p.types[schema]
}

func anyMatch(list []*regexp.Regexp, path cwmp.Path) bool {
	return slices.ContainsFunc(list, func(re *regexp.Regexp) bool { return re.MatchString(string(path)) })
}

// Profile returns how a device has to be treated: all profiles that are for it,
// those that say more of the device over those that say less, a later file over
// an earlier one.
func (s *Set) Profile(id Identity) *Profile {
	p := &Profile{TrustWritable: true, TrustStatus: true}
	for _, f := range s.profiles {
		if !fits(f.match, id) {
			continue
		}
		p.Names = append(p.Names, f.profile)
		for _, apply := range f.apply {
			apply(p)
		}
	}
	return p
}

// Profiles returns the names of the loaded profiles.
func (s *Set) Profiles() (names []string) {
	for _, f := range s.profiles {
		names = append(names, f.profile)
	}
	return names
}

// ProfileKeys returns the keys that a profile file may have, sorted.
func ProfileKeys() []string {
	keys := keysOf((&reading{}).profileFields(&profileFile{}))
	return strings.Split(keys, ", ")
}

// fits reports whether a device is one that a file is for.
func fits(match map[string]*regexp.Regexp, id Identity) bool {
	for name, re := range match {
		if !re.MatchString(id.field(name)) {
			return false
		}
	}
	return true
}
