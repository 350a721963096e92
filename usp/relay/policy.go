package relay

import (
	"fmt"
	"path"

	"github.com/uspbridge/uspbridge/usp"
)

// Rule lets endpoints that match From send records to endpoints that match To.
// The patterns are endpoint ids in which * stands for any characters and ? for
// one: "os::00259E-*".
type Rule struct{ From, To string }

// Policy decides who may reach whom. Without a rule nobody reaches anybody.
type Policy struct{ rules []Rule }

// NewPolicy returns a Policy. It fails on a pattern that cannot match.
func NewPolicy(rules ...Rule) (*Policy, error) {
	for _, r := range rules {
		for _, pattern := range []string{r.From, r.To} {
			if err := CheckPattern(pattern); err != nil {
				return nil, fmt.Errorf("relay: %w", err)
			}
		}
	}
	return &Policy{rules}, nil
}

// CheckPattern reports why a text is no pattern of endpoint ids.
func CheckPattern(pattern string) error {
	if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
		return fmt.Errorf("%q is not a pattern of endpoint ids; write for example os::00259E-*", pattern)
	}
	return nil
}

// Allows reports whether a record may go from one endpoint to another. from is
// the endpoint that the connection was authenticated as, never what the record
// says: no one can speak as another.
func (p *Policy) Allows(from, to usp.EndpointID) bool {
	if len(p.rules) == 0 || from.Validate() != nil || to.Validate() != nil {
		return false
	}
	for _, r := range p.rules {
		if Matches(r.From, from) && Matches(r.To, to) {
			return true
		}
	}
	return false
}

// names reports whether a rule is about an endpoint, on either side.
func (p *Policy) names(id usp.EndpointID) bool {
	for _, r := range p.rules {
		if Matches(r.From, id) || Matches(r.To, id) {
			return true
		}
	}
	return false
}

// Matches reports whether an endpoint id matches a pattern of a Rule.
func Matches(pattern string, id usp.EndpointID) bool {
	ok, err := path.Match(pattern, string(id))
	return err == nil && ok
}
