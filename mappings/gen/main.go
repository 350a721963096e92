// Command gen reduces the Broadband Forum data-model tables to what the bridge
// needs of them: go run ./mappings/gen TABLES mappings/datamodel, where TABLES
// holds device2-usp.tsv and services-usp.tsv, one row an object, parameter,
// command, event or argument, and commands.tsv and events.tsv, one row a command
// or event with the way that CWMP serves it, all tab separated with a header.
package main

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
)

// columns are those kept, in this order. Of ref only whether the value is a path.
var columns = []string{"kind", "path", "access", "type", "list", "enum", "uniqueKeys", "numEntriesParam", "activeNotify", "mandatory", "flags", "status", "async", "range", "size", "ref", "default"}

// The columns kept of how commands and events are served.
var (
	commandColumns = []string{"command", "class", "cwmp", "in_map", "out_map", "igd1", "igd1_in_map", "igd1_out_map"}
	eventColumns   = []string{"name", "class", "source", "arg_map"}
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: gen TABLES OUTPUT")
	}
	tables, output := os.Args[1], os.Args[2]
	for _, err := range []error{
		model(filepath.Join(output, "device2.tsv.gz"), filepath.Join(tables, "device2-usp.tsv"), filepath.Join(tables, "services-usp.tsv")),
		plain(filepath.Join(output, "commands.tsv"), filepath.Join(tables, "commands.tsv"), commandColumns, nil),
		plain(filepath.Join(output, "events.tsv"), filepath.Join(tables, "events.tsv"), eventColumns,
			func(cells map[string]string) bool { return cells["kind"] == "uspEvent" }),
	} {
		if err != nil {
			log.Fatal(err)
		}
	}
}

// model writes the gzipped data model.
func model(name string, tables ...string) (err error) {
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	zip, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		return err
	}
	for _, table := range tables {
		err := rows(table, func(cells map[string]string) error {
			ref := ""
			if strings.HasPrefix(cells["ref"], "pathRef") {
				ref = "1"
			}
			cells["ref"], cells["default"] = ref, argumentDefault(cells["default"])
			return write(zip, columns, cells)
		})
		if err != nil {
			return err
		}
	}
	return zip.Close()
}

// argumentDefault returns the default of an argument that is left out, "" if it
// has none.
func argumentDefault(cell string) string {
	for item := range strings.SplitSeq(cell, ";") {
		if v, ok := strings.CutPrefix(item, "parameter="); ok {
			return v
		}
	}
	return ""
}

// plain writes some columns of a table, of the rows that keep wants; all if it is
// nil.
func plain(name, table string, columns []string, keep func(map[string]string) bool) (err error) {
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return rows(table, func(cells map[string]string) error {
		if keep != nil && !keep(cells) {
			return nil
		}
		return write(out, columns, cells)
	})
}

func write(out io.Writer, columns []string, cells map[string]string) error {
	kept := make([]string, len(columns))
	for i, column := range columns {
		v, ok := cells[column]
		if !ok {
			return fmt.Errorf("no column %s", column)
		}
		kept[i] = v
	}
	_, err := fmt.Fprintln(out, strings.Join(kept, "\t"))
	return err
}

// rows gives the rows of a table to a function, by column.
func rows(name string, do func(cells map[string]string) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	lines.Scan()
	columns := strings.Split(lines.Text(), "\t")
	for lines.Scan() {
		cells := make(map[string]string, len(columns))
		for i, cell := range strings.Split(lines.Text(), "\t") {
			if i < len(columns) {
				cells[columns[i]] = cell
			}
		}
		for _, column := range columns {
			if _, there := cells[column]; !there {
				cells[column] = "" // trailing cells may be left out
			}
		}
		if err := do(cells); err != nil {
			return fmt.Errorf("%s: %w in %q", name, err, lines.Text())
		}
	}
	return lines.Err()
}
