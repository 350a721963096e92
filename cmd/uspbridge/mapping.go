package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/usp"
)

func (a *app) mappingCommand() *cobra.Command {
	return a.group("mapping", "Check mapping files and see how devices are mapped",
		a.mappingCheckCommand(), a.mappingTestCommand(), a.mappingCoverageCommand(), a.mappingExplainCommand(), a.mappingReloadCommand())
}

func (a *app) mappingCoverageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "coverage FILE|ENDPOINT", Short: "Say what share of a device's parameters has a standard home",
		Long: "Say what share of a device's parameters has a standard home, keeps a vendor name, or is raw.\n" +
			"FILE is a capture of a device or a CSV of its parameters; ENDPOINT is a device of a running bridge.",
		Args: takes(cobra.ExactArgs(1), "one file or endpoint id"),
	}
	f := a.addConsoleFlags(cmd, 30*time.Second)
	dir := cmd.Flags().String("mappings", "", "directory of mapping files over the embedded ones (for a file)")
	raw := cmd.Flags().Bool("raw", false, "also list every raw parameter")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := a.coverage(cmd.Context(), f, *dir, args[0])
		if err != nil {
			return err
		}
		return a.print(r, func(w io.Writer) {
			printReport(w, r)
			if *raw {
				fmt.Fprintf(w, "\n%s\n", strings.Join(r.RawNames, "\n"))
			}
		})
	}
	return cmd
}

// coverage takes its argument for a file if there is one of that name.
func (a *app) coverage(ctx context.Context, f *consoleFlags, dir, name string) (r console.Report, err error) {
	_, missing := os.Stat(name)
	switch {
	case missing == nil:
		return fileCoverage(name, dir)
	case usp.EndpointID(name).Validate() != nil:
		return r, fmt.Errorf("%s is neither a file nor an endpoint id: %w", name, missing)
	case dir != "":
		return r, usagef("--mappings is for a file; a running bridge uses its own mappings")
	}
	err = a.ask(ctx, f, func(ctx context.Context, c *console.Client) (err error) {
		r, err = c.Coverage(ctx, name)
		return err
	})
	return r, err
}

func fileCoverage(name, dir string) (r console.Report, err error) {
	device, err := openTreeFile(name)
	if err != nil {
		return r, err
	}
	set, err := loadMappings(dir)
	if err != nil {
		return r, err
	}
	report, err := device.coverage(set)
	if err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	return newReport(report), nil
}

// loadMappings loads the embedded mapping files and those of a directory, if
// one is named.
func loadMappings(dir string) (*mapping.Set, error) {
	var more []fs.FS
	if dir != "" {
		if err := readableDir(dir); err != nil {
			return nil, fmt.Errorf("mapping files: %w", err)
		}
		more = append(more, os.DirFS(dir))
	}
	set, err := mapping.Load(more...)
	if err != nil {
		return nil, fmt.Errorf("mapping files:\n%w", err)
	}
	return set, nil
}

func newReport(r mapping.Report) console.Report {
	out := console.Report{Total: r.Total, Standard: r.Standard, Vendor: r.Vendor, Raw: r.Raw, RawGroups: []console.Group{}, RawNames: r.RawNames}
	for _, g := range r.RawGroups {
		out.RawGroups = append(out.RawGroups, console.Group{Path: g.Path, Count: g.Count})
	}
	return out
}

// shownGroups is how many raw groups are printed; --json has all.
const shownGroups = 10

func printReport(w io.Writer, r console.Report) {
	row := func(name string, n int) []string {
		return []string{name, strconv.Itoa(n), fmt.Sprintf("%.1f %%", r.Share(n))}
	}
	table(w, []string{"HOME", "PARAMETERS", "SHARE"}, [][]string{
		row("standard Device:2 path", r.Standard), row("vendor name", r.Vendor),
		row("Device.X_USPBRIDGE_CWMP.Raw.", r.Raw), row("all", r.Total),
	})
	if len(r.RawGroups) == 0 {
		return
	}
	var rows [][]string
	for _, g := range r.RawGroups[:min(len(r.RawGroups), shownGroups)] {
		rows = append(rows, []string{printable(g.Path), strconv.Itoa(g.Count)})
	}
	fmt.Fprintln(w)
	table(w, []string{"LARGEST RAW GROUPS", "PARAMETERS"}, rows)
}

func (a *app) mappingExplainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain ENDPOINT PATH", Short: "Show where a USP path lives on the CPE, or a CPE's path in USP, and the value on both sides",
		Args: takes(cobra.ExactArgs(2), "an endpoint id and a path"),
	}
	f := a.addConsoleFlags(cmd, 30*time.Second)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if strings.Contains(args[1], "*") {
			return errors.New("explain takes the path of one element; `uspbridge instances` lists the rows there are")
		}
		return a.ask(cmd.Context(), f, func(ctx context.Context, c *console.Client) error {
			e, err := c.Explain(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			return a.print(e, func(w io.Writer) { printExplanation(w, e) })
		})
	}
	return cmd
}

func printExplanation(w io.Writer, e console.Explanation) {
	if len(e.Homes) > 0 {
		printHomes(w, e)
		return
	}
	access := "read only"
	if e.Writable {
		access = "read and write"
	} else if e.ReadOnly != "" {
		access += ": " + e.ReadOnly
	}
	value := printable(e.Value)
	if e.Error != "" {
		value = printable(e.Error)
	}
	list(w, [2]string{"USP path", printable(e.Path)}, [2]string{"value", value}, [2]string{"read", utc(e.ReadAt)},
		[2]string{"access", access}, [2]string{"conversion", printable(e.Conversion)}, [2]string{"rule", printable(e.Rule)},
		[2]string{"profiles", printable(strings.Join(e.Profiles, ", "))}, [2]string{"learnt", printable(strings.Join(e.Learnt, "; "))})
	if len(e.Sources) == 0 {
		fmt.Fprintln(w, "\nno parameter of the CPE is behind it")
		return
	}
	rows := make([][]string, len(e.Sources))
	for i, s := range e.Sources {
		rows[i] = []string{printable(s.Path), printable(s.Value)}
	}
	fmt.Fprintln(w)
	table(w, []string{"ON THE CPE", "VALUE"}, rows)
}

// printHomes prints where controllers see a parameter of the CPE.
func printHomes(w io.Writer, e console.Explanation) {
	list(w, [2]string{"on the CPE", printable(e.Path)}, [2]string{"value", printable(e.Value)})
	fmt.Fprintln(w)
	rows := make([][]string, len(e.Homes))
	for i, h := range e.Homes {
		access, value := "read only", h.Value
		if h.Writable {
			access = "read and write"
		}
		if h.Error != "" {
			value = h.Error
		}
		rows[i] = []string{printable(h.Path), printable(value), access, printable(h.Rule)}
	}
	table(w, []string{"USP PATH", "VALUE", "ACCESS", "RULE"}, rows)
}
