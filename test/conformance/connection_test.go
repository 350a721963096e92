package conformance

import "strings"

// supports expects parameters in what an agent supports below LocalAgent and
// another object, by their paths.
func (t *trial) supports(object string, params ...string) {
	t.Helper()
	all := t.Supported(everything(allLevels, object, localAgent)).objects(2)
	for _, path := range params {
		at := strings.LastIndexByte(path, '.') + 1
		found := false
		for _, p := range all[path[:at]].GetSupportedParams() {
			found = found || p.GetParamName() == path[at:]
		}
		if !found {
			t.Errorf("%s is not supported", path)
		}
	}
}

// rowOf returns the row of a table in which a parameter has a value.
func (t *trial) rowOf(table, name, value string) string {
	t.Helper()
	path := table + "*." + name
	a := t.Get(path)
	for row, params := range a.values(a.got(1)[0], path) {
		if params[name] == value {
			return row
		}
	}
	t.Fatalf("no row of %s has %s %q", table, name, value)
	return ""
}
