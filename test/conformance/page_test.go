package conformance

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/usp/mtp"
)

// pageFile is the page with the results.
const pageFile = "../../docs/conformance.md"

// compare holds the results against the page, or writes it anew.
func (o *outcomes) compare(t *testing.T) {
	t.Helper()
	fields := columns()
	for _, s := range plan() {
		for _, c := range s.cases {
			for _, f := range fields {
				if o.of[outcome{c.number, f.gateway, f.over}] == "" {
					t.Logf("%s is not compared: not every case was played over every transport", pageFile)
					return
				}
			}
		}
	}
	page := o.page(fields)
	if *update {
		if err := os.WriteFile(pageFile, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != page {
		t.Errorf("%s does not say what came out; look why, then write it anew: go test ./test/conformance -update", pageFile)
	}
}

// column is one combination of the page.
type column struct {
	gateway string
	over    mtp.Protocol
}

func columns() (all []column) {
	for _, over := range transports() {
		for _, g := range gateways() {
			all = append(all, column{g.name, over})
		}
	}
	return all
}

const preface = `# Conformance

What Broadband Forum TP-469 (the test plan of the BBF.369 certification of USP agents) makes of the agents that the
bridge presents. The tests in ` + "`test/conformance`" + ` play it against a whole bridge with a simulated CPE behind it, once a
TR-098 one and once a TR-181 one, over each transport; the titles are ours, the numbers are the plan's. This page is written by
them, and they fail where it is wrong.

* **pass**: all metrics of the test hold.
* **n/a**: the test is deprecated, or has a condition that an agent of the bridge does not meet; the reason stands below.
* **not yet**: the test applies, and the bridge cannot do yet what it asks for.
* **–**: a test of another transport. Over CoAP, which is obsolete, its own tests are played.

Intervals that the plan gives in tens of seconds are shorter here, with the same ratios, unless the tests are run with
` + "`-plan-times`" + `. Where the plan lets the tester choose a subject, it is the one that the plan names as example.
`

// page writes the page.
func (o *outcomes) page(fields []column) string {
	var b strings.Builder
	b.WriteString(preface)
	o.summary(&b, fields)
	for _, s := range plan() {
		fmt.Fprintf(&b, "\n## %d %s\n\n| test | title |", s.number, s.title)
		fields := o.telling(s, fields)
		for _, f := range fields {
			fmt.Fprintf(&b, " %s %s |", f.over, f.gateway)
		}
		b.WriteString("\n|---|---|" + strings.Repeat("---|", len(fields)) + "\n")
		for _, c := range inOrder(s.cases) {
			fmt.Fprintf(&b, "| %s | %s |", c.number, c.title)
			for _, f := range fields {
				fmt.Fprintf(&b, " %s |", o.of[outcome{c.number, f.gateway, f.over}])
			}
			b.WriteByte('\n')
		}
		s.reasons(&b)
	}
	return b.String()
}

// telling returns the columns of a section that have more than tests of another
// transport.
func (o *outcomes) telling(s section, fields []column) (some []column) {
	for _, f := range fields {
		if slices.ContainsFunc(s.cases, func(c testCase) bool { return o.of[outcome{c.number, f.gateway, f.over}] != elsewhere }) {
			some = append(some, f)
		}
	}
	return some
}

// reasons lists why tests have no script, those together that have one reason.
func (s section) reasons(b *strings.Builder) {
	var order []string
	numbers := map[string][]string{}
	for _, c := range inOrder(s.cases) {
		if c.reason == "" {
			continue
		}
		line := fmt.Sprintf("(%s): %s\n", c.status, c.reason)
		if numbers[line] == nil {
			order = append(order, line)
		}
		numbers[line] = append(numbers[line], c.number)
	}
	for i, line := range order {
		if i == 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(b, "* %s %s", strings.Join(numbers[line], ", "), line)
	}
}

// summary counts tests: one passes if it does in every field where it is played.
func (o *outcomes) summary(b *strings.Builder, fields []column) {
	b.WriteString("\n| section | tests | pass | FAIL | not yet | n/a |\n|---|---|---|---|---|---|\n")
	for _, s := range plan() {
		count := map[status]int{}
		for _, c := range s.cases {
			worst := passed
			for _, f := range fields {
				if got := o.of[outcome{c.number, f.gateway, f.over}]; got != passed && got != elsewhere {
					worst = got
				}
			}
			count[worst]++
		}
		fmt.Fprintf(b, "| %d %s | %d | %d | %d | %d | %d |\n",
			s.number, s.title, len(s.cases), count[passed], count[failed], count[notYet], count[notApplicable])
	}
}
