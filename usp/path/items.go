package path

import "strings"

// References splits the value of a reference parameter into the paths it lists
// (TR-369 "List of References"). Blanks around items and empty items are left
// out; a null reference gives none.
func References(value string) []string {
	var refs []string
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item != "" {
			refs = append(refs, item)
		}
	}
	return refs
}
