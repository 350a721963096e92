package translate

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/translate/mapping"
)

// Habits is what was found out of a CPE that is true of all of its model and
// firmware: the next of that kind begins with it.
type Habits struct {
	// Most names, values and entries that one GetParameterValues,
	// SetParameterValues and SetParameterAttributes bears; 0: no limit was met.
	MaxNames      int `json:"max_names,omitempty"`
	MaxValues     int `json:"max_values,omitempty"`
	MaxAttributes int `json:"max_attributes,omitempty"`

	Way   mapping.Way            `json:"names_way,omitempty"`        // the way that its names were found by
	NoWay map[mapping.Way]string `json:"names_failed_ways,omitzero"` // those that failed, and why

	NoTree bool `json:"names_no_tree,omitempty"` // it broke its session when it was asked for all names at once

	Booleans  mapping.Spelling `json:"booleans,omitempty"`   // the only one that it takes
	Reports   mapping.Reports  `json:"reports,omitempty"`    // the strongest notification that it honours
	CheckRows bool             `json:"check_rows,omitempty"` // it crashes on the names of rows that have gone
	Avoided   []cwmp.Path      `json:"avoided,omitempty"`    // it crashes when these are read or listed
}

// Learnt is what the bridge has found out of a CPE by itself. It holds for one
// firmware. Maps and slices are replaced, never changed in place.
type Learnt struct {
	Habits

	LearntOf string    `json:"learnt_of,omitempty"` // hardware and software that it is true of; "": nothing yet
	Limited  time.Time `json:"limited,omitzero"`    // when a limit was last set or raised
	Crashed  bool      `json:"crashed,omitempty"`   // a limit comes of sessions that broke, not of faults

	Methods      []string             `json:"methods,omitempty"` // its answer to GetRPCMethods
	MethodsAsked bool                 `json:"methods_asked,omitempty"`
	Unsupported  map[string]time.Time `json:"unsupported,omitempty"` // RPCs it has answered 9000 to, and when

	// Suspects are the names in the last read that broke a session, Doubt is how
	// many they were: either one of them or their number is what the CPE cannot
	// bear.
	Suspects []cwmp.Path `json:"suspects,omitempty"`
	Doubt    int         `json:"doubt,omitempty"`

	SetsLost         int  `json:"sets_lost,omitempty"`         // SetParameterValues of several values, in succession, that broke their session
	AttributesProved bool `json:"attributes_proved,omitempty"` // notification attributes were read back once
}

// The patience with what a CPE once could not do.
const (
	// faultsLast and crashesLast are how long a limit holds before more is tried
	// again: a fault costs one call, a crash costs a subscriber some minutes.
	faultsLast  = 24 * time.Hour
	crashesLast = 7 * 24 * time.Hour
	// unsupportedLasts is how long a method that was answered 9000 is not asked.
	unsupportedLasts = 24 * time.Hour
	// maxAvoided bounds the names that are never read again.
	maxAvoided = 256
)

// lostRead learns from a session that broke while names were read. The first
// time nothing is concluded but that these names are asked last, in smaller
// calls. If they break a session again they are narrowed down to the one that
// does; if others break one too, it is their number. first is whether this was
// the first read of its session: then nothing else can have worn the CPE out.
func (l *Learnt) lostRead(names []cwmp.Path, first bool, now time.Time) {
	names = owned(names)
	known := len(l.Suspects) > 0 && len(without(names, l.Suspects)) == 0
	switch {
	case known && first && len(names) == 1:
		if len(l.Avoided) < maxAvoided {
			l.Avoided = append(slices.Clip(l.Avoided), names[0])
		}
		l.Suspects, l.Doubt = nil, 0
		return
	case !known && l.Doubt > 0 && len(names) > 1:
		l.MaxNames = max(1, len(names)/4)
		l.Limited, l.Crashed, l.Doubt = now, true, 0
	case len(l.Suspects) == 0:
		l.Doubt = len(names)
	}
	l.Suspects = names
}

// owned returns a copy of names that does not keep the envelope in memory which
// they came in.
func owned(names []cwmp.Path) []cwmp.Path {
	out := make([]cwmp.Path, len(names))
	for i, n := range names {
		out[i] = cwmp.Path(strings.Clone(string(n)))
	}
	return out
}

// maxReason bounds a CPE's own words in what is kept of it, in bytes.
const maxReason = 256

// reason returns an error's text, short enough to be kept.
func reason(text string) string {
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return strings.Clone(text)
}

// concerned reports whether names that were read tell anything of those that a
// session was lost over.
func (l *Learnt) concerned(names []cwmp.Path) bool {
	return l.Doubt > 0 && len(names) >= l.Doubt || len(l.Suspects) > 0 && len(without(l.Suspects, names)) < len(l.Suspects)
}

// read learns from names that were read in one call.
func (l *Learnt) read(names []cwmp.Path) {
	l.Suspects = without(l.Suspects, names)
	if len(names) >= l.Doubt {
		l.Doubt = 0
	}
}

// portion is how many of the suspects are asked for at once.
func (l *Learnt) portion() int { return max(1, len(l.Suspects)/4) }

// due reports whether more than the limits may be tried again.
func (l *Learnt) due(now time.Time) bool {
	if l.MaxNames == 0 && l.MaxValues == 0 && l.MaxAttributes == 0 {
		return false
	}
	patience := faultsLast
	if l.Crashed {
		patience = crashesLast
	}
	return now.Sub(l.Limited) >= patience
}

// raise doubles the limits; beyond what is asked of any CPE there is none.
func (l *Learnt) raise(now time.Time) {
	for _, limit := range []struct {
		value *int
		most  int
	}{{&l.MaxNames, defaultMaxNames}, {&l.MaxValues, noMoreValues}, {&l.MaxAttributes, defaultMaxAttributes}} {
		if *limit.value *= 2; *limit.value >= limit.most {
			*limit.value = 0
		}
	}
	l.Limited = now
	if l.MaxNames == 0 {
		l.Crashed = false
	}
}

// noMoreValues is a limit of values in one SetParameterValues that is none: no
// request of a controller has so many.
const noMoreValues = 512

// Supports reports whether the CPE is believed to serve an RPC: it has not
// refused it lately, and names it among its methods or has named none.
func (l *Learnt) Supports(rpc string, now time.Time) bool {
	return !l.refuses(rpc, now) && (len(l.Methods) == 0 || slices.Contains(l.Methods, rpc))
}

// refuses reports whether the CPE has lately answered 9000 to an RPC.
func (l *Learnt) refuses(rpc string, now time.Time) bool {
	at, was := l.Unsupported[rpc]
	return was && now.Sub(at) < unsupportedLasts
}

// answered keeps whether an RPC was answered 9000.
func (l *Learnt) answered(rpc string, supported bool, now time.Time) {
	l.Unsupported = maps.Clone(l.Unsupported)
	if supported {
		delete(l.Unsupported, rpc)
		return
	}
	if l.Unsupported == nil {
		l.Unsupported = make(map[string]time.Time)
	}
	l.Unsupported[rpc] = now
}

// firmware names what Learnt is true of.
func firmware(r *Record) string { return fmt.Sprintf("%q %q", r.Hardware, r.Software) }

// lessOf returns the smaller of two limits, of which 0 is none.
func lessOf(a, b int) int {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// isLost reports whether a session broke, for another reason than the end of
// the bridge itself.
func isLost(err error) bool {
	return errors.Is(err, acs.ErrSessionLost) && !errors.Is(err, acs.ErrClosed)
}
