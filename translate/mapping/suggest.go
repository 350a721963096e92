package mapping

import (
	"slices"
	"strings"
)

// maxTypos is by how many letters a suggestion may differ from what was written.
const maxTypos = 2

// suggest returns the known path that looks most like the given one: one in another
// case, one with few letters changed, one of the same last name elsewhere; "" if
// none does.
func (s *standard) suggest(path string) string {
	name := path[strings.LastIndexByte(strings.TrimSuffix(path, "."), '.')+1:]
	var near, same []string
	for p := range s.elements {
		switch {
		case strings.EqualFold(p, path):
			return p
		case typos(p, path) <= maxTypos:
			near = append(near, p)
		case strings.HasSuffix(p, "."+name):
			same = append(same, p)
		}
	}
	if len(near) > 0 {
		return slices.MinFunc(near, func(a, b string) int {
			if d := typos(a, path) - typos(b, path); d != 0 {
				return d
			}
			return strings.Compare(a, b)
		})
	}
	if len(same) == 0 {
		return ""
	}
	return slices.MinFunc(same, func(a, b string) int {
		if d := shared(b, path) - shared(a, path); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
}

func shared(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// typos returns how many letters have to be changed, added or left out to make one
// text of another (Levenshtein's distance), maxTypos+1 for more than maxTypos.
func typos(a, b string) int {
	begin := shared(a, b)
	a, b = a[begin:], b[begin:]
	if len(a)-len(b) > maxTypos || len(b)-len(a) > maxTypos {
		return maxTypos + 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		least := row[0]
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
			least = min(least, row[j+1])
		}
		if least > maxTypos {
			return maxTypos + 1
		}
	}
	return min(row[len(b)], maxTypos+1)
}
