package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/uspbridge/uspbridge/cwmp/credential"
)

// block is a fenced block of a Markdown file.
type block struct {
	file string
	line int
	info string // what follows the fence: "yaml config", "sh"
	text string
}

// documents returns all Markdown files of the project.
func documents(t *testing.T) []string {
	t.Helper()
	const root = "../.."
	var names []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(name, ".md") {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(names, filepath.Join(root, "README.md")) {
		t.Fatalf("README.md not among %v", names)
	}
	return names
}

func blocks(t *testing.T) []block {
	t.Helper()
	var all []block
	for _, name := range documents(t) {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var open *block
		lines := bufio.NewScanner(bytes.NewReader(content))
		for n := 1; lines.Scan(); n++ {
			info, fence := strings.CutPrefix(lines.Text(), "```")
			switch {
			case fence && open == nil:
				open = &block{file: name, line: n, info: strings.TrimSpace(info)}
			case fence:
				all = append(all, *open)
				open = nil
			case open != nil:
				open.text += lines.Text() + "\n"
			}
		}
		if open != nil {
			t.Errorf("%s:%d: block is not closed", name, open.line)
		}
	}
	return all
}

// TestDocumentedYAML: every YAML block says what it is, and is valid.
func TestDocumentedYAML(t *testing.T) {
	seen := 0
	for _, b := range blocks(t) {
		kind, ok := strings.CutPrefix(b.info, "yaml")
		if !ok && b.info != "csv credentials" {
			continue
		}
		seen++
		at := fmt.Sprintf("%s:%d", b.file, b.line)
		var err error
		switch strings.TrimSpace(kind) {
		case "config":
			_, _, err = loadConfig(configSource{File: at, Content: []byte(b.text)})
		case "config files":
			err = checkWithFiles(t, at, b.text)
		case "credentials", "csv credentials":
			err = checkCredentialsText(b.info, b.text)
		case "mapping", "profile":
			err = checkMappingText(b.text)
		case "users":
			err = checkUsersText(t, b.text)
		case "broker users":
			err = checkBrokerUsersText(t, b.text)
		default:
			t.Errorf("%s: fence %q: want yaml config, yaml config files, yaml credentials, yaml mapping, yaml profile, yaml users or yaml broker users", at, b.info)
		}
		if err != nil {
			t.Errorf("%s: %v", at, err)
		}
	}
	if seen == 0 {
		t.Error("no YAML block found")
	}
}

// checkWithFiles checks a configuration where the files are that the documents
// name: acs.pem, bridge.pem and their keys, cpe-ca.pem, cpe.crl, the same of
// controllers, users.yaml.
func checkWithFiles(t *testing.T, at, text string) error {
	back, err := filepath.Abs(".")
	if err != nil {
		return err
	}
	dir := t.TempDir()
	tlsFiles(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "users.yaml"), []byte("acs-user: {password: s3cret}\n"), 0o600); err != nil {
		return err
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	_, _, err = loadConfig(configSource{File: at, Content: []byte(text)})
	return errors.Join(err, os.Chdir(back))
}

func checkCredentialsText(info, text string) error {
	r, err := credential.NewReader("example."+strings.Fields(info)[0], strings.NewReader(text))
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		if _, _, err := r.Next(); errors.Is(err, io.EOF) && n > 0 {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func checkUsersText(t *testing.T, text string) error {
	_, err := readCPEUsers(textFile(t, text))
	return err
}

func checkBrokerUsersText(t *testing.T, text string) error {
	_, err := readBrokerUsers(textFile(t, text))
	return err
}

func textFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "users.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestDocumentedCommands: the commands shown exist, with the flags and arguments
// they are given.
func TestDocumentedCommands(t *testing.T) {
	seen := 0
	for _, b := range blocks(t) {
		if b.info != "sh" && b.info != "console" {
			continue
		}
		for i, line := range strings.Split(strings.ReplaceAll(b.text, "\\\n", " "), "\n") {
			line, shown := strings.CutPrefix(line, "$ ")
			if b.info == "console" && !shown {
				continue // output
			}
			args := shellWords(strings.TrimSpace(line))
			if len(args) == 0 || args[0] != "uspbridge" && args[0] != "bin/uspbridge" {
				continue
			}
			seen++
			if err := understood(args[1:]); err != nil {
				t.Errorf("%s:%d: %s: %v", b.file, b.line+i+1, line, err)
			}
		}
	}
	if seen == 0 {
		t.Error("no command found")
	}
}

// understood reports why a command line would be refused, without running it.
func understood(args []string) error {
	cmd, rest, err := (&app{}).command().Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err == pflag.ErrHelp {
		return nil
	} else if err != nil {
		return err
	}
	if cmd.HasSubCommands() {
		return fmt.Errorf("%s is not a command by itself", cmd.CommandPath())
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// shellWords splits a line as a shell does, without expansions; what follows a
// comment sign, a pipe, a redirection or an ampersand is not part of the command.
func shellWords(line string) (words []string) {
	var word strings.Builder
	var quote rune
	started := false
	end := func() {
		if started {
			words = append(words, word.String())
		}
		word.Reset()
		started = false
	}
	for _, c := range line {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, started = c, true
		case c == ' ' || c == '\t':
			end()
		case strings.ContainsRune("#|&>;", c) && !started:
			return words
		default:
			word.WriteRune(c)
			started = true
		}
	}
	end()
	return words
}

// TestDocumentedLinks: what the documents point to is there.
func TestDocumentedLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)
	for _, name := range documents(t) {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllSubmatch(content, -1) {
			to := string(m[1])
			if strings.Contains(to, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), to)); err != nil {
				t.Errorf("%s points to %s: %v", name, to, err)
			}
		}
	}
}

// TestDocumentedTargets: `make x` in a document is a target of the Makefile.
func TestDocumentedTargets(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	mention := regexp.MustCompile("(?m)(?:`|^)make ([a-z]+)")
	for _, name := range documents(t) {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mention.FindAllSubmatch(content, -1) {
			if !regexp.MustCompile(`(?m)^` + string(m[1]) + `:`).Match(makefile) {
				t.Errorf("%s: `make %s` is not in the Makefile", name, m[1])
			}
		}
	}
}

// keyRow is a row of one key whose default is a value, or is empty.
var keyRow = regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\| (?:`([^`]*)`)? ?\\|")

// TestDocumentedKeys: docs/configuration.md has every key, with its default.
func TestDocumentedKeys(t *testing.T) {
	content, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	if err := configFlags(flags); err != nil {
		t.Fatal(err)
	}
	told, short := 0, strings.NewReplacer("h0m0s", "h", "m0s", "m") // as people write durations
	for _, m := range keyRow.FindAllSubmatch(content, -1) {
		if f := flags.Lookup(string(m[1])); f != nil {
			told++
			if want := short.Replace(f.DefValue); want != string(m[2]) {
				t.Errorf("docs/configuration.md: the default of %s is %q, not %q", m[1], want, m[2])
			}
		}
	}
	if told < 40 {
		t.Errorf("only %d defaults found", told)
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if !bytes.Contains(content, []byte("`"+f.Name+"`")) {
			t.Errorf("docs/configuration.md does not tell of %s", f.Name)
		}
	})
}
