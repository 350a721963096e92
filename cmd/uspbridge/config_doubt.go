package main

import "strings"

// What is malformed in a configuration is left out of what is checked further, so
// that all mistakes are told at once. But what does not go together is not told of
// the keys that are judged together with a malformed one: it may be its fault.

// togetherWith are sections of cwmp that are judged together with another.
var togetherWith = map[string]string{"cwmp.tls": "cwmp.auth", "cwmp.lightweight_notification": "cwmp.auth"}

// unit names the keys that are judged together with a key: those of its section
// of cwmp, or all of its top-level section. Bulk data stands alone in usp.
func unit(key string) string {
	top, rest, _ := strings.Cut(key, ".")
	section, _, _ := strings.Cut(rest, ".")
	section, _, _ = strings.Cut(section, "[")
	second := top + "." + section
	switch {
	case top == "cwmp" && togetherWith[second] != "":
		return togetherWith[second]
	case top == "cwmp" && section != "", second == "usp.bulk_data":
		return second
	}
	return top
}

// withoutDoubt drops the problems of the further checks, those from the index
// checked on, that a malformed key may be to blame for.
func (l *configLoader) withoutDoubt(checked int) {
	doubt := map[string]bool{}
	for _, p := range l.problems[:checked] {
		doubt[unit(p.key)] = true
	}
	for section := range l.lost {
		doubt[section] = true
	}
	kept := l.problems[:checked]
	for _, p := range l.problems[checked:] {
		top, _, _ := strings.Cut(p.key, ".")
		if !doubt[unit(p.key)] && !doubt[top] {
			kept = append(kept, p)
		}
	}
	l.problems = kept
}

// lose notes that a section of unknown name was in the file: any section beside it
// may be the one that was meant.
func (l *configLoader) lose(key string) {
	top, _, _ := strings.Cut(key, ".")
	l.lost[top] = true
}
