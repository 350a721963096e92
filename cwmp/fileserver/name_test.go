package fileserver

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestPath(t *testing.T) {
	for _, c := range []struct{ token, name, want string }{
		{"abc", "image.bin", "/files/abc/image.bin"},
		{"abc", "uploads/os::00-1/a b", "/files/abc/a%20b"},
	} {
		if got := Path(c.token, c.name); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// No path is taken for one with a token that Path does not make, and no name
// passes that leads out of the directory.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/files/abc/x", "/files//x", "/files/abc", "/files/a/b/c", "/files/../x", "/x", "../x", "a/b", ".x", "a//b", "uploads/os::1/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if token, ok := parsePath(s); ok {
			if token == "" || strings.ContainsAny(token, "/.%\\") || !strings.HasPrefix(s, Prefix+token+"/") {
				t.Errorf("%q has token %q", s, token)
			}
		}
		if CheckName(s) == nil {
			if joined := filepath.Join("/dir", s); !strings.HasPrefix(joined, "/dir/") || strings.Contains(joined, "/.") {
				t.Errorf("%q leads to %q", s, joined)
			}
			if token, ok := parsePath(Path("abc", s)); ok && token != "abc" {
				t.Errorf("%q: token %q", s, token)
			}
		}
	})
}
