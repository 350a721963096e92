// Package relay is where native USP agents and controllers will reach each other
// through the bridge, record bytes untouched. What is here already is its policy:
// who may reach whom. It knows endpoint ids and transports' addresses; it knows no
// messages, no agents of ours and no devices.
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
			if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
				return nil, fmt.Errorf("relay: %q is not a pattern of endpoint ids; write for example os::00259E-*", pattern)
			}
		}
	}
	return &Policy{rules}, nil
}

// Allows reports whether a record may go from one endpoint to another. from is
// the endpoint that the connection was authenticated as, never what the record
// says: no one can speak as another.
func (p *Policy) Allows(from, to usp.EndpointID) bool {
	if from.Validate() != nil || to.Validate() != nil {
		return false
	}
	for _, r := range p.rules {
		if matches(r.From, from) && matches(r.To, to) {
			return true
		}
	}
	return false
}

func matches(pattern string, id usp.EndpointID) bool {
	ok, err := path.Match(pattern, string(id))
	return err == nil && ok
}
