package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/translate/mapping"
)

// exampleReport is what `uspbridge mapping test --json` prints.
type exampleReport struct {
	OK       bool      `json:"ok"`
	Examples []example `json:"examples"`
}

type example struct {
	At      string `json:"at"` // file:line
	Path    string `json:"path"`
	Example string `json:"example"`
	Problem string `json:"problem,omitempty"`
}

func (a *app) mappingTestCommand() *cobra.Command {
	return &cobra.Command{
		Use: "test FILE|DIR", Short: "Try the examples that stand beside the rules of mapping files",
		Long: "Try the examples that stand beside the rules of mapping files: what the CPE has must read as the example says,\n" +
			"and setting that must lead back to it.",
		Args: takes(cobra.ExactArgs(1), "one file or directory"),
		RunE: func(_ *cobra.Command, args []string) error {
			set, err := operatorMappings(args[0])
			if errors.As(err, new(mappingProblems)) {
				return fmt.Errorf("%s:\n%w", args[0], err)
			} else if err != nil {
				return err
			}
			r := newExampleReport(set.Test())
			if err := a.print(r, func(w io.Writer) { printExamples(w, r) }); err != nil {
				return err
			}
			if !r.OK {
				return fmt.Errorf("%s: not all examples hold", args[0])
			}
			return nil
		},
	}
}

func newExampleReport(results []mapping.ExampleResult) exampleReport {
	r := exampleReport{OK: true, Examples: []example{}}
	for _, x := range results {
		r.OK = r.OK && x.Problem == ""
		r.Examples = append(r.Examples, example(x))
	}
	return r
}

func printExamples(w io.Writer, r exampleReport) {
	bad := 0
	for _, x := range r.Examples {
		if x.Problem != "" {
			bad++
			fmt.Fprintf(w, "%s: %s: %s: %s\n", x.At, x.Path, printable(x.Example), printable(x.Problem))
		}
	}
	fmt.Fprintf(w, "%d examples, %d do not hold\n", len(r.Examples), bad)
}

func (a *app) mappingReloadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "reload", Short: "Make the bridge read its mapping folder now",
		Long: "Make the bridge read its mapping folder now and say what is wrong in it. Changes are taken over by themselves after a few seconds;\n" +
			"either all files are, or none.",
		Args: takesNothing(),
	}
	f := a.addConsoleFlags(cmd, 30*time.Second)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.ask(cmd.Context(), f, func(ctx context.Context, c *console.Client) error {
			list, err := c.ReloadMappings(ctx)
			if err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				fmt.Fprintf(w, "in use: %s\n", strings.Join(list.Mappings, ", "))
			})
		})
	}
	return cmd
}
