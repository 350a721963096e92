package mapping

import (
	"strconv"
	"strings"
)

// functions are those that `derive` can name. They must not fail: for inputs
// they cannot make sense of they return "".
func functions() map[string]func(args []string) string {
	return map[string]func([]string) string{
		"band":      band,
		"bandname":  func(args []string) string { return "radio-" + band(args) },
		"standards": standards,
	}
}

// band tells the frequency band from channel, possible channels and standard, in
// that order of trust: a channel of 0 means automatic.
func band(args []string) string {
	for i, arg := range args {
		if i < 2 {
			first, _, _ := strings.Cut(strings.TrimSpace(arg), ",")
			first, _, _ = strings.Cut(first, "-")
			if channel, err := strconv.Atoi(first); err == nil && channel > 0 {
				if channel <= 14 {
					return "2.4GHz"
				}
				return "5GHz"
			}
			continue
		}
		switch s := strings.ToLower(arg); {
		case strings.Contains(s, "b") || strings.Contains(s, "g"):
			return "2.4GHz"
		case strings.Contains(s, "a"):
			return "5GHz"
		}
	}
	return "2.4GHz"
}

// standards lists the standards of TR-098's Standard, which runs letters
// together ("b", "bgn", "n-only", "11ac"). "g" alone is for clients of b too; those of
// g alone are "g-only".
func standards(args []string) string {
	s := strings.ToLower(strings.Join(args, ","))
	if s == "g" {
		return "b,g"
	}
	s = strings.NewReplacer("only", "", "mixed", "", "802.11", "", "11", "", "-", "", "/", "", "_", "").Replace(s)
	var list []string
	for _, std := range []string{"be", "ax", "ac"} {
		if strings.Contains(s, std) {
			list = append([]string{std}, list...)
			s = strings.ReplaceAll(s, std, "")
		}
	}
	for _, std := range []string{"n", "g", "b", "a"} {
		if strings.Contains(s, std) {
			list = append([]string{std}, list...)
		}
	}
	return strings.Join(list, ",")
}
