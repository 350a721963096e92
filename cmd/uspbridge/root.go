package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// app is one run of the program: where it writes and what all commands share.
type app struct {
	program        string   // as it was called, for commands to show
	stdin          *os.File // for passwords
	stdout, stderr io.Writer
	environ        []string
	terminal       bool // stderr is one: progress may be shown

	json  bool
	shown *progress // what is under way; a result ends it
}

// usageError is a command line that makes no sense.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// run does what the arguments say and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	out := &output{to: a.stdout}
	a.stdout = out
	root := a.command()
	root.SetArgs(args)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil && out.err != nil {
		err = fmt.Errorf("the result could not be printed: %w", out.err)
	}
	if err == nil {
		return exitDone
	}
	a.fail(err)
	if usage := (usageError{}); !errors.As(err, &usage) {
		return exitFailed
	}
	if !a.json {
		fmt.Fprintf(a.stderr, "Run `%s --help` for how to use it.\n", cmd.CommandPath())
	}
	return exitUsage
}

// command builds the command tree.
func (a *app) command() *cobra.Command {
	root := a.group("uspbridge", "Presents a fleet of TR-069 CPE as USP (TR-369) agents",
		a.serveCommand(), a.deviceCommand(), a.certificateCommand(),
		a.getCommand(), a.setCommand(), a.addCommand(), a.deleteCommand(), a.operateCommand(),
		a.instancesCommand(), a.supportedCommand(), a.subscribeCommand(),
		a.brokerCommand(), a.mappingCommand(), a.simulateCommand(), a.versionCommand())
	root.SilenceErrors, root.SilenceUsage = true, true
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON")
	root.SetFlagErrorFunc(explainFlag)
	root.CompletionOptions.HiddenDefaultCmd = true
	return root
}

// group returns a command that only holds others. Called without one of them,
// or with one that does not exist, it says which there are.
func (a *app) group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			var names []string
			for _, c := range cmd.Commands() {
				if c.IsAvailableCommand() {
					names = append(names, c.Name())
				}
			}
			if len(args) == 0 {
				return usagef("%s needs a subcommand: %s", cmd.CommandPath(), strings.Join(names, ", "))
			}
			return usagef("unknown command %q%s (there are %s)", args[0], suggestion(args[0], names), strings.Join(names, ", "))
		},
	}
	cmd.AddCommand(commands...)
	return cmd
}

// takes wraps an argument check of cobra so that its failure is wrong usage.
func takes(check cobra.PositionalArgs, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usagef("%s takes %s, got %d arguments", cmd.CommandPath(), what, len(args))
		}
		return nil
	}
}

// explainFlag says which flag may be meant by one that is not there, and what a value
// has to look like.
func explainFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		if sub, _, err := cmd.Find([]string{unknown.GetSpecifiedName()}); err == nil && sub != cmd {
			return usagef("%v; it is a command: %s", unknown, sub.CommandPath())
		}
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		return usagef("%v%s", err, suggestion("--"+unknown.GetSpecifiedName(), names))
	case errors.As(err, &invalid):
		if want := flagValues[invalid.GetFlag().Value.Type()]; want != "" {
			return usagef("--%s %q: want %s", invalid.GetFlag().Name, invalid.GetValue(), want)
		}
	}
	return usageError{err.Error()}
}

// flagValues say what the values of flags look like, by the flag's type.
var flagValues = map[string]string{
	"int": "a whole number", "uint32": "a whole number, 0 or more", "duration": "a duration, for example 30s, 15m or 1h30m", "bool": "true or false",
}

// takesNothing refuses all arguments.
func takesNothing() cobra.PositionalArgs { return takes(cobra.NoArgs, "no arguments") }

// env returns an environment variable, or a default.
func (a *app) env(name, or string) string {
	for _, e := range slices.Backward(a.environ) {
		if value, ok := strings.CutPrefix(e, name+"="); ok && value != "" {
			return value
		}
	}
	return or
}

// suggestion returns `; did you mean "x"?` for the nearest of names, "" if none
// is near.
func suggestion(name string, names []string) string {
	best, distance := "", max(2, len(name)/3)+1
	for _, n := range names {
		if d := editDistance(strings.ToLower(name), n); d < distance {
			best, distance = n, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// editDistance counts the insertions, deletions and replacements between two
// words (Levenshtein). Long words are not compared: nobody mistypes them.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

func discardLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }
