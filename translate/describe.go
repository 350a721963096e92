package translate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/translate/mapping"
)

// What was learnt, in words: for the operator and for controllers.

// Describe says what the bridge has found out of a CPE by itself, one fact a
// line; nothing of a CPE that keeps to the standard.
func (l *Learnt) Describe() (lines []string) {
	say := func(on bool, format string, args ...any) {
		if on {
			lines = append(lines, fmt.Sprintf(format, args...))
		}
	}
	say(l.MaxNames > 0, "at most %d names in a GetParameterValues", l.MaxNames)
	say(l.MaxValues > 0, "at most %d values in a SetParameterValues", l.MaxValues)
	say(l.MaxAttributes > 0, "at most %d entries in a SetParameterAttributes", l.MaxAttributes)
	say(l.Way != "" && l.Way != mapping.WayRoot, "names are found by way %s", l.Way)
	say(l.NoTree, "breaks its session when asked for all names at once")
	for _, way := range slices.Sorted(maps.Keys(l.NoWay)) {
		say(true, "names are not found by way %s: %s", way, l.NoWay[way])
	}
	say(l.Booleans != "", "booleans are taken as %s only", l.Booleans)
	say(l.Reports != "", "notification of changes: %s", l.Reports)
	say(l.CheckRows, "breaks its session on the names of rows that have gone")
	say(len(l.Avoided) > 0, "breaks its session on %s", joinPaths(l.Avoided))
	say(len(l.Suspects) > 0, "the last session was lost over a read of %d names", len(l.Suspects))
	return lines
}

// Refusals returns the RPCs that the CPE has answered 9000 to, sorted.
func (l *Learnt) Refusals() []string { return slices.Sorted(maps.Keys(l.Unsupported)) }

// Refusals returns the settings that the CPE has refused, one a line, sorted.
func (r *Record) Refusals() (lines []string) {
	for _, name := range slices.Sorted(maps.Keys(r.RefusedSettings)) {
		lines = append(lines, string(name)+": "+r.RefusedSettings[name])
	}
	return lines
}

// Discovery says in words why a CPE is not discovered, and when it will be tried
// again; "" if nothing is in the way.
func (r *Record) Discovery() string {
	switch {
	case r.DiscoveryError == "" || !r.Rediscover:
		return ""
	case r.DiscoveryNext.IsZero() || r.DiscoveryFailures <= freeFailures:
		return fmt.Sprintf("goes on in the next session: %s", r.DiscoveryError)
	}
	return fmt.Sprintf("left alone until %s after %d failures: %s", r.DiscoveryNext.UTC().Format(time.RFC3339), r.DiscoveryFailures, r.DiscoveryError)
}

func joinPaths(paths []cwmp.Path) string {
	texts := make([]string, len(paths))
	for i, p := range paths {
		texts[i] = string(p)
	}
	return strings.Join(texts, ", ")
}
