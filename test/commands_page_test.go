package test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/translate/mapping"
)

const servingPage = "../docs/commands-and-events.md"

// What can become of a command or an event.
const (
	carriedOut = "✓"
	failed     = "FAILS"
	byAgent    = "agent"
)

// serving is what came of each command and event, by kind of CPE.
type serving struct{ of map[string]map[string]string }

func newServing(t *testing.T) *serving {
	t.Helper()
	return &serving{map[string]map[string]string{"TR-181": {}, "TR-098": {}}}
}

// compare holds what came of it against the page, or writes the page anew.
func (s *serving) compare(t *testing.T) {
	t.Helper()
	if t.Failed() && !*update {
		return
	}
	text := s.page(t)
	if *update {
		if err := os.WriteFile(servingPage, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	page, err := os.ReadFile(servingPage)
	if err != nil {
		t.Fatal(err)
	}
	have := strings.Split(string(page), "\n")
	for i, line := range strings.Split(text, "\n") {
		if i >= len(have) || have[i] != line {
			t.Fatalf("%s, line %d, is not what the tests have found:\n%s\nwrite it anew with: go test ./test -run TestCommandsAndEvents -update", servingPage, i+1, line)
		}
	}
}

const servingPreface = `# Commands and events

How the agents that the bridge presents serve the commands and events of Device:2.19 and its services. This page is written by
` + "`TestCommandsAndEvents`" + `, which runs each command on simulated CPE that have all that CWMP has for it, through USP to its
OperationComplete, and compares the arguments, the results and the CPE's own record of what it was asked; it fails where the
page is wrong. A CPE that lacks the parameter or object does not have the command in its supported data model.

* **✓**: carried out, by the CPE.
* **agent**: served by the agent itself, whatever the CPE.
* **–**: not in the supported data model: CWMP has nothing like it, or nothing has it on this kind of CPE.

| served as | what the bridge does |
|---|---|
| diagnostic | writes the arguments and the state that starts it in one SetParameterValues, waits for "8 DIAGNOSTICS COMPLETE" or asks for the state, reads the results. One at a time for an object; others wait in order |
| trigger | writes the parameter that the command is |
| RPC | Download, ScheduleDownload, Upload, ChangeDUState, Reboot, FactoryReset |
| composed | several of these, one after the other |
`

var servedAs = map[mapping.Class]string{
	mapping.ClassDiagnostic: "diagnostic", mapping.ClassTrigger: "trigger", mapping.ClassRPC: "RPC", mapping.ClassComposed: "composed",
	mapping.ClassAgent: "agent", mapping.ClassInform: "Inform", mapping.ClassValueChange: "value change", mapping.ClassNone: "–",
}

// page writes the page.
func (s *serving) page(t *testing.T) string {
	t.Helper()
	commands, err := mapping.Commands()
	if err != nil {
		t.Fatal(err)
	}
	events, err := mapping.Events()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(servingPreface)
	b.WriteString("\n## Commands\n\n")
	head := "| %s | served as | TR-181 | TR-098 |\n|---|---|---|---|\n"
	count := map[string]int{}
	var rows strings.Builder
	for _, c := range commands {
		s.row(&rows, c.Command, c.Class, count)
	}
	fmt.Fprintf(&b, "%d commands: %d are carried out by TR-181 CPE, %d by TR-098 CPE.\n\n", len(commands), count["TR-181"], count["TR-098"])
	fmt.Fprintf(&b, head, "command")
	b.WriteString(rows.String())
	b.WriteString("\n## Events\n\n")
	fmt.Fprintf(&b, head, "event")
	for _, e := range events {
		s.row(&b, e.Event, e.Class, count)
	}
	return b.String()
}

func (s *serving) row(b *strings.Builder, path string, class mapping.Class, count map[string]int) {
	fmt.Fprintf(b, "| `%s` | %s |", path, servedAs[class])
	for _, gateway := range []string{"TR-181", "TR-098"} {
		out := s.of[gateway][path]
		if out == carriedOut {
			count[gateway]++
		}
		if out == "" {
			out = "–"
		}
		fmt.Fprintf(b, " %s |", out)
	}
	b.WriteByte('\n')
}
