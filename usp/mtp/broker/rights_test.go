package broker

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
)

func TestCovers(t *testing.T) {
	tests := []struct {
		pattern, filter string
		want            bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a", false}, {"a", "a/b", false}, {"a/b", "a/+", false}, {"a/b", "a/#", false},
		{"a/+", "a/b", true}, {"a/+", "a/+", true}, {"a/+", "a/#", false}, {"a/+", "a", false}, {"a/+", "a/b/c", false}, {"+", "a", true},
		{"a/#", "a", true}, {"a/#", "a/b/c", true}, {"a/#", "a/+/c", true}, {"a/#", "a/#", true}, {"a/#", "ab", false}, {"a/#", "+/b", false},
		{"#", "a/b", true}, {"#", "$SYS/x", false}, {"+/x", "$SYS/x", false}, {"$SYS/#", "$SYS/x", true}, {"a", "", false},
		{"a//b", "a//b", true}, {"a/+/b", "a//b", true}, {"a/", "a/", true}, {"a/", "a", false},
	}
	for _, tt := range tests {
		if got := covers(tt.pattern, tt.filter); got != tt.want {
			t.Errorf("covers(%q, %q) = %t", tt.pattern, tt.filter, got)
		}
	}
}

// TestReplyTopics: where answers go is one's own in MQTT 3.1.1, too, however the
// topic is put together.
func TestReplyTopics(t *testing.T) {
	r := rights{own: "usp/c/1", subscribe: []string{"usp/c/1", "usp/c/1/#"}, publish: []string{"usp/agent/+"}}
	for topic, want := range map[string]bool{
		"usp/agent/x":                                           true,
		"usp/agent/x/reply-to=usp%2Fc%2F1":                      true,
		"usp/agent/x/reply-to=usp%2Fc%2F1%2Fdeeper":             true,
		"usp/agent/x/reply-to=usp%2Fc%2F2":                      false,
		"usp/agent/x/reply-to=usp%2Fc%2F1/reply-to=usp%2Fc%2F2": false,
		"usp/agent/x/reply-to=/reply-to=usp%2Fc%2F2":            false,
		"usp/c/2/reply-to=usp%2Fc%2F1":                          false,
	} {
		if got := r.mayPublish(topic); got != want {
			t.Errorf("%s: %v", topic, got)
		}
	}
}

// matches is MQTT's own definition (4.7), level by level.
func matches(filter, topic []string) bool {
	switch {
	case len(filter) == 0:
		return len(topic) == 0
	case filter[0] == "#":
		return true
	case len(topic) == 0:
		return false
	}
	return (filter[0] == "+" || filter[0] == topic[0]) && matches(filter[1:], topic[1:])
}

// FuzzCovers: what matches a filter that is covered, the pattern matches, too.
func FuzzCovers(f *testing.F) {
	f.Add("usp/agent/+", "usp/+/x", "usp/agent/x")
	f.Add("a/#", "a/+/c", "a/b/c")
	f.Add("a/#", "a", "a")
	f.Fuzz(func(t *testing.T, pattern, filter, topic string) {
		if checkFilter(pattern) != nil || checkFilter(filter) != nil || strings.ContainsAny(topic, "+#") ||
			strings.HasPrefix(topic, "$") || strings.HasPrefix(filter, "$") {
			return
		}
		split := func(s string) []string { return strings.Split(s, "/") }
		if covers(pattern, filter) && matches(split(filter), split(topic)) && !matches(split(pattern), split(topic)) {
			t.Errorf("%q covers %q, but does not match %q", pattern, filter, topic)
		}
		if filter == topic && covers(pattern, filter) != matches(split(pattern), split(topic)) {
			t.Errorf("covers(%q, %q) = %t", pattern, filter, covers(pattern, filter))
		}
	})
}

// said is a connection on which a client has said something and then nothing.
type said struct {
	net.Conn
	io.Reader
}

func (s said) Read(p []byte) (int, error) { return s.Reader.Read(p) }

func FuzzGate(f *testing.F) {
	for _, text := range []string{"", "\x10", "\x10\x00", "\x10\xff\xff\xff\x7f", "\x10\xff\xff\xff\xff\x01", "\x30\x02ab", "\x10\x0cabc"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newConn(said{Reader: bytes.NewReader(b)}, 0, 0)
		if c.gate() == nil && (len(b) < 2 || b[0] != 0x10) {
			t.Errorf("% x begins a CONNECT", b)
		}
		if left, err := io.ReadAll(c); err != nil || !bytes.Equal(left, b) {
			t.Errorf("% x left of % x, %v", left, b, err)
		}
	})
}

func TestGate(t *testing.T) {
	for text, want := range map[string]string{
		"\x10\x7f": "", "\x10\x80\x80\x08": "", "\x10\x81\x80\x08": "at most 131072", "\x10\xff\xff\xff\xff": "four bytes", "\x10": "EOF", "\x20\x00": "no CONNECT",
	} {
		err := newConn(said{Reader: strings.NewReader(text)}, 0, 0).gate()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("% x: %v, want an error about %q", text, err, want)
		}
	}
}
