package relay

import (
	"testing"

	"github.com/uspbridge/uspbridge/usp"
)

func TestPolicy(t *testing.T) {
	p, err := NewPolicy(
		Rule{From: "proto::acs-*", To: "os::00259E-*"},
		Rule{From: "os::00259E-*", To: "proto::acs-?"},
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from, to usp.EndpointID
		allowed  bool
	}{
		{"proto::acs-1", "os::00259E-4857", true},
		{"os::00259E-4857", "proto::acs-1", true},
		{"os::00259E-4857", "proto::acs-12", false},
		{"os::00259E-4857", "os::00259E-4858", false}, // agents do not reach each other
		{"proto::other", "os::00259E-4857", false},
		{"", "os::00259E-4857", false},
		{"proto::acs-1", "no endpoint id", false},
	} {
		if got := p.Allows(c.from, c.to); got != c.allowed {
			t.Errorf("%q to %q: allowed %v, want %v", c.from, c.to, got, c.allowed)
		}
	}
	closed, err := NewPolicy()
	if err != nil {
		t.Fatal(err)
	}
	if closed.Allows("proto::acs-1", "os::00259E-4857") {
		t.Error("a policy without rules lets records through")
	}
}

func TestPatternsAreChecked(t *testing.T) {
	for _, pattern := range []string{"", "os::[a"} {
		if _, err := NewPolicy(Rule{From: pattern, To: "*"}); err == nil {
			t.Errorf("%q was taken as a pattern", pattern)
		}
	}
}
