package conformance

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/usp/mtp"
)

// testCase is one test of the plan. It has a script, or a reason why there is
// none.
type testCase struct {
	number string       // "1.42"
	title  string       // in our words
	over   mtp.Protocol // "": any
	timed  bool         // it measures time: it is played when all is calm
	play   func(t *trial)

	status status // without a script
	reason string
}

// status is what has come of a case.
type status string

const (
	passed        status = "pass"
	failed        status = "FAIL"
	notApplicable status = "n/a"     // the plan asks for it under a condition that does not hold
	notYet        status = "not yet" // it applies, and the bridge cannot do it
	elsewhere     status = "–"       // a case of another transport
)

// section is one chapter of the plan.
type section struct {
	number int
	title  string
	last   int // number of its last test
	cases  []testCase
}

// plan returns all tests of TP-469 Issue 1 Amendment 3 with the tests added to
// it up to November 2025.
func plan() []section {
	return []section{
		{1, "Messages and paths", 107, slices.Concat(addCases(), setCases(), deleteCases(), getCases(), searchCases(),
			notifyCases(), triggerCases(), onboardCases(), operateCases(), instancesCases(), supportedCases())},
		{2, "Authentication and access control", 27, slices.Concat(accessCases(), permissionCases())},
		{3, "Records", 15, recordCases()},
		{4, "Transports in general", 1, generalMTPCases()},
		{5, "CoAP", 8, coapCases()},
		{6, "STOMP", 12, stompCases()},
		{7, "WebSocket", 12, webSocketCases()},
		{8, "Discovery", 7, discoveryCases()},
		{9, "Functionality", 11, functionalityCases()},
		{10, "Bulk data collection", 13, bulkCases()},
		{11, "MQTT", 17, mqttCases()},
	}
}

// forOnly makes cases ones of a single transport.
func forOnly(p mtp.Protocol, cases []testCase) []testCase {
	for i := range cases {
		cases[i].over = p
	}
	return cases
}

// without are tests that have no script, all for one reason.
func without(s status, reason string, titles map[string]string) []testCase {
	var cases []testCase
	for number, title := range titles {
		cases = append(cases, testCase{number: number, title: title, status: s, reason: reason})
	}
	return cases
}

// TestPlanIsWhole: each number of the plan is there once, with a script or a
// reason, and in order.
func TestPlanIsWhole(t *testing.T) {
	for _, s := range plan() {
		seen := map[string]bool{}
		for _, c := range s.cases {
			if seen[c.number] {
				t.Errorf("%s is there twice", c.number)
			}
			seen[c.number] = true
			if c.title == "" || (c.play == nil) != (c.status != "" && c.reason != "") {
				t.Errorf("%s has no title, or both or neither of a script and a reason", c.number)
			}
		}
		for n := 1; n <= s.last; n++ {
			if number := fmt.Sprintf("%d.%d", s.number, n); !seen[number] {
				t.Errorf("%s is missing", number)
			}
		}
		if len(seen) != s.last {
			t.Errorf("section %d has %d tests, want %d", s.number, len(seen), s.last)
		}
	}
}

// inOrder sorts cases by their number.
func inOrder(cases []testCase) []testCase {
	minor := func(c testCase) int {
		_, text, _ := strings.Cut(c.number, ".")
		n, _ := strconv.Atoi(text) // TestPlanIsWhole has looked at it
		return n
	}
	return slices.SortedFunc(slices.Values(cases), func(a, b testCase) int { return minor(a) - minor(b) })
}
