package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/usp"
)

// checked is what `uspbridge mapping check --json` prints.
type checked struct {
	OK       bool            `json:"ok"`
	Mappings []string        `json:"mappings"` // all that are loaded, the embedded ones too
	Profiles []string        `json:"profiles"` // the same of device profiles
	Problems []string        `json:"problems,omitempty"`
	Devices  []checkedDevice `json:"devices,omitempty"`
}

// checkedDevice is what a device becomes by the mappings.
type checkedDevice struct {
	Device          string          `json:"device"`
	Inconsistencies []inconsistency `json:"inconsistencies"`
}

type inconsistency struct {
	Path  string `json:"path"`
	Value string `json:"value"`
	Text  string `json:"text"`
	Rule  string `json:"rule"`
	Own   bool   `json:"own"` // the CPE's own value, shown as it has it
}

func (a *app) mappingCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check [FILE|DIR] [--device TREE]", Short: "Check mapping files, over the embedded ones, and what devices become by them",
		Long: "Check mapping files, over the embedded ones. With --device, also what a device becomes by them: every reference must\n" +
			"resolve, every count match, every value be one of its type, every key be unique, and the interface stack be connected.\n" +
			"What the CPE itself has so is told, and is no failure.\n" +
			"TREE is a capture or a CSV of a device's parameters; without FILE or DIR the embedded files alone are used.",
		Args: takes(cobra.MaximumNArgs(1), "one file or directory"),
	}
	devices := cmd.Flags().StringArray("device", nil, "CSV of a device's parameters; can be repeated")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 && len(*devices) == 0 {
			return usagef("name a file or directory of mapping files, or a device with --device")
		}
		r, err := checkMappings(args, *devices)
		if err != nil && len(r.Problems) == 0 {
			return err
		}
		if err == nil || a.json {
			if err := a.print(r, func(w io.Writer) { printChecked(w, args, r) }); err != nil {
				return err
			}
		}
		if err == nil && !r.OK {
			err = errors.New("not all devices are consistent")
		}
		return err
	}
	return cmd
}

// checkMappings checks files, if they are named, and what devices become by them.
// With an error of the files, their problems are in the result.
func checkMappings(args, devices []string) (r checked, err error) {
	set, err := mapping.Load()
	if len(args) > 0 {
		set, err = operatorMappings(args[0])
	}
	if errors.As(err, new(mappingProblems)) {
		return checked{Problems: strings.Split(err.Error(), "\n")}, fmt.Errorf("%s:\n%w", args[0], err)
	} else if err != nil {
		return r, err
	}
	r = checked{OK: true, Mappings: set.Names(), Profiles: set.Profiles()}
	for _, name := range devices {
		d, err := checkDevice(set, name)
		if err != nil {
			return r, err
		}
		for _, x := range d.Inconsistencies {
			r.OK = r.OK && x.Own // no mapping can better what the CPE itself has
		}
		r.Devices = append(r.Devices, d)
	}
	return r, nil
}

func checkDevice(set *mapping.Set, name string) (d checkedDevice, err error) {
	f, err := openTreeFile(name)
	if errors.Is(err, fs.ErrNotExist) && usp.EndpointID(name).Validate() == nil {
		return d, fmt.Errorf("--device takes a CSV file of a device's parameters, not the endpoint id %s", name)
	} else if err != nil {
		return d, err
	}
	view, err := f.view(set)
	if err != nil {
		return d, fmt.Errorf("%s: %w", name, err)
	}
	d = checkedDevice{Device: name, Inconsistencies: []inconsistency{}}
	for _, x := range view.Inconsistencies() {
		d.Inconsistencies = append(d.Inconsistencies, inconsistency(x))
	}
	return d, nil
}

func printChecked(w io.Writer, args []string, r checked) {
	if len(args) > 0 {
		fmt.Fprintf(w, "%s: no problems; loaded mappings: %s; profiles: %s\n", args[0], strings.Join(r.Mappings, ", "), strings.Join(r.Profiles, ", "))
	}
	for _, d := range r.Devices {
		if len(d.Inconsistencies) == 0 {
			fmt.Fprintf(w, "%s: consistent\n", d.Device)
			continue
		}
		fmt.Fprintf(w, "%s: %d inconsistencies\n", d.Device, len(d.Inconsistencies))
		for _, x := range d.Inconsistencies {
			by := x.Rule
			if x.Own {
				by = "the CPE has it so"
			}
			fmt.Fprintf(w, "  %s = %q: %s (%s)\n", printable(x.Path), x.Value, printable(x.Text), by)
		}
	}
}

// mappingProblems are what is wrong in mapping files.
type mappingProblems struct{ error }

// operatorMappings loads a file or directory over the embedded ones.
func operatorMappings(name string) (*mapping.Set, error) {
	files, err := mappingFiles(name)
	if err != nil {
		return nil, err
	}
	if err := anyYAML(files, name); err != nil {
		return nil, err
	}
	set, err := mapping.Load(files)
	if err != nil {
		return nil, mappingProblems{err}
	}
	return set, nil
}

// mappingFiles returns a directory, or one file of it, as a file system.
func mappingFiles(name string) (fs.FS, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return os.DirFS(name), nil
	}
	if !isYAML(name) {
		return nil, usagef("%s is not a mapping file: its name must end in .yaml or .yml", name)
	}
	return oneFile{os.DirFS(filepath.Dir(name)), filepath.Base(name)}, nil
}

func isYAML(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".yaml" || ext == ".yml"
}

// anyYAML wants at least one file to check: that an empty directory has no
// problems would hide that another was meant.
func anyYAML(files fs.FS, name string) error {
	found := false
	err := fs.WalkDir(files, ".", func(file string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && isYAML(file) {
			found = true
			return fs.SkipAll
		}
		return err
	})
	if err == nil && !found {
		return fmt.Errorf("%s: there is no mapping file or device profile to check; their names end in .yaml or .yml", name)
	}
	return err
}

// oneFile is a directory in which only one file can be seen.
type oneFile struct {
	fs.FS
	name string
}

// ReadDir implements fs.ReadDirFS.
func (f oneFile) ReadDir(dir string) ([]fs.DirEntry, error) {
	if dir != "." {
		return nil, &fs.PathError{Op: "readdir", Path: dir, Err: fs.ErrNotExist}
	}
	info, err := fs.Stat(f.FS, f.name)
	if err != nil {
		return nil, err
	}
	return []fs.DirEntry{fs.FileInfoToDirEntry(info)}, nil
}
