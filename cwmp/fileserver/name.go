package fileserver

import (
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"
)

// Prefix begins the path of each URL of the server.
const Prefix = "/files/"

// Uploads is the directory in which files from CPE are put.
const Uploads = "uploads"

// incoming is the directory of files that have not come whole.
const incoming = ".incoming"

// The bounds of what is in a URL, in bytes: CPE keep URLs of 256 (TR-069
// A.3.2.8).
const (
	maxToken = 64
	maxName  = 200
)

// Path returns the path of the URL for a token. The file's last name stands in
// it for CPE that go by its extension; the server does not look at it.
func Path(token, name string) string {
	return Prefix + token + "/" + url.PathEscape(path.Base(name))
}

// parsePath returns the token in the path of a request.
func parsePath(p string) (token string, ok bool) {
	rest, ok := strings.CutPrefix(p, Prefix)
	if !ok {
		return "", false
	}
	token, name, ok := strings.Cut(rest, "/")
	if !ok || token == "" || len(token) > maxToken || name == "" || len(name) > maxName || strings.Contains(name, "/") {
		return "", false
	}
	for _, c := range []byte(token) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return "", false
		}
	}
	return token, true
}

// CheckName reports why a text is no name of a file below the directory: it
// must be relative, lead nowhere else, and have no hidden part.
func CheckName(name string) error {
	switch {
	case name == "" || len(name) > maxName:
		return fmt.Errorf("a name of %d bytes: 1 to %d are allowed", len(name), maxName)
	case !filepath.IsLocal(name) || path.Clean(name) != name:
		return fmt.Errorf("%q leads out of the directory or is not in its shortest form", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") {
			return fmt.Errorf("%q has a hidden part", name)
		}
	}
	for _, c := range []byte(name) {
		if c < 0x20 || c == 0x7f || c == '\\' {
			return fmt.Errorf("%q has a character that file names must not have here", name)
		}
	}
	return nil
}
