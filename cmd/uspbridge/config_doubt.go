package main

import "strings"

// What is malformed in a configuration is left out of what is checked further, so
// that all mistakes are told at once. But what does not go together is not told of
// the keys that are judged together with a malformed one: it may be its fault. A
// value that is wrong alone is always told.

// judgedWith names for a section the others that it is judged together with.
var judgedWith = map[string][]string{
	"cwmp.tls":                      {"cwmp.auth"},
	"cwmp.auth":                     {"cwmp.tls"},
	"cwmp.lightweight_notification": {"cwmp.auth"},
	"usp.mtp.mqtt":                  {"usp.broker"},
	"usp.broker":                    {"usp.mtp.mqtt"},
	"usp.challenges":                {"usp.roles"},
	"usp.controllers":               {"usp.mtp", "usp.roles", "usp.broker"},
	"usp.relay":                     {"usp.mtp", "usp.controllers", "usp.broker"},
	"usp.trust":                     {"usp.mtp.websocket"},
}

// section names the keys that are judged together with a key: those of its section
// of cwmp, usp or usp.mtp, or all of its top-level section.
func section(key string) string {
	names := strings.Split(key, ".")
	depth := 1
	switch {
	case names[0] == "usp" && len(names) > 2 && names[1] == "mtp":
		depth = 3
	case (names[0] == "cwmp" || names[0] == "usp") && len(names) > 1:
		depth = 2
	}
	name, _, _ := strings.Cut(strings.Join(names[:depth], "."), "[")
	return name
}

// within reports whether a section is another or a part of it.
func within(section, other string) bool {
	return section == other || strings.HasPrefix(section, other+".")
}

// withoutDoubt drops the problems of the further checks, those from the index
// checked on, that a malformed key may be to blame for.
func (l *configLoader) withoutDoubt(checked int) {
	malformed, doubt := map[string]bool{}, map[string]bool{}
	for _, p := range l.problems[:checked] {
		malformed[p.key] = true
		doubt[section(p.key)] = true
	}
	for top := range l.lost {
		doubt[top] = true
	}
	kept := l.problems[:checked]
	for _, p := range l.problems[checked:] {
		if p.alone && !malformed[p.key] || !p.alone && !blames(doubt, section(p.key)) {
			kept = append(kept, p)
		}
	}
	l.problems = kept
}

// blames reports whether one of the sections in doubt is judged together with a
// section.
func blames(doubt map[string]bool, of string) bool {
	for d := range doubt {
		if within(of, d) || within(d, of) {
			return true
		}
		for _, other := range judgedWith[of] {
			if within(other, d) || within(d, other) {
				return true
			}
		}
	}
	return false
}

// lose notes that a section of unknown name was in the file: any section beside it
// may be the one that was meant.
func (l *configLoader) lose(key string) {
	top, _, _ := strings.Cut(key, ".")
	l.lost[top] = true
}
