package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentedOutput runs, against the demo, the commands that documents show
// with what they print. A document may stop before the end of what is printed.
func TestDocumentedOutput(t *testing.T) {
	all := blocks(t)
	for _, document := range []string{"README.md", "docs/cwmp-commands.md", "docs/bulk-data.md"} {
		t.Run(document, func(t *testing.T) {
			t.Parallel()
			var own []block
			for _, b := range all {
				if b.file == filepath.Join("../..", document) {
					own = append(own, b)
				}
			}
			followDocument(t, own)
		})
	}
}

// followDocument does what a document says: the configuration that it begins
// with, and its commands.
func followDocument(t *testing.T, own []block) {
	config := filepath.Join(t.TempDir(), "bridge.yaml")
	text := ""
	if len(own) > 0 && own[0].info == "yaml config" {
		text = own[0].text
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := startDemo(t, t.TempDir(), "--config="+config)
	defer func() { _ = r.stop() }()
	environ := []string{envConsole + "=" + r.flag("--console"), envBridge + "=" + r.flag("--bridge")}
	shown := 0
	for _, b := range own {
		if b.info != "console" {
			continue
		}
		for _, step := range strings.Split("\n"+b.text, "\n$ ")[1:] {
			shown++
			command, want, _ := strings.Cut(step, "\n")
			got := runApp(t.Context(), environ, shellWords(command)[1:]...)
			if got.code != exitDone || !strings.HasPrefix(withoutTimes(got.stdout), withoutTimes(want)) {
				t.Errorf("%s:%d: %s: exit %d\n%s%s\nthe document shows\n%s", b.file, b.line, command, got.code, got.stdout, got.stderr, want)
			}
		}
	}
	if shown == 0 {
		t.Error("no command with its output found")
	}
}

// moment is a time as it is printed, which is another with each run.
var moment = regexp.MustCompile(`\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z`)

// withoutTimes is output without moments and spaces at its end.
func withoutTimes(output string) string {
	return strings.TrimRight(moment.ReplaceAllString(output, "TIME"), " \n")
}
