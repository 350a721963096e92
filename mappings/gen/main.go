// Command gen reduces the Broadband Forum data-model tables to what the bridge
// needs of them: go run ./mappings/gen TABLES mappings/datamodel, where TABLES
// holds device2-usp.tsv and services-usp.tsv, one row an object, parameter,
// command, event or argument, tab separated with a header.
package main

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
)

// columns are those kept, in this order. Of ref only whether the value is a path.
var columns = []string{"kind", "path", "access", "type", "list", "enum", "uniqueKeys", "numEntriesParam", "activeNotify", "mandatory", "flags", "status", "async", "range", "size", "ref"}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: gen TABLES OUTPUT")
	}
	out, err := os.Create(filepath.Join(os.Args[2], "device2.tsv.gz"))
	if err != nil {
		log.Fatal(err)
	}
	zip, err := gzip.NewWriterLevel(out, gzip.BestCompression)
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"device2-usp.tsv", "services-usp.tsv"} {
		if err := reduce(zip, filepath.Join(os.Args[1], name)); err != nil {
			log.Fatal(err)
		}
	}
	if err := zip.Close(); err != nil {
		log.Fatal(err)
	}
	if err := out.Close(); err != nil {
		log.Fatal(err)
	}
}

func reduce(out *gzip.Writer, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	lines.Scan()
	at := map[string]int{}
	for i, column := range strings.Split(lines.Text(), "\t") {
		at[column] = i
	}
	for lines.Scan() {
		cells := strings.Split(lines.Text(), "\t")
		kept := make([]string, len(columns))
		for i, column := range columns {
			k, ok := at[column]
			if !ok || k >= len(cells) {
				return fmt.Errorf("%s: no column %s in %q", name, column, lines.Text())
			}
			kept[i] = cells[k]
			if column == "ref" {
				kept[i] = ""
				if strings.HasPrefix(cells[k], "pathRef") {
					kept[i] = "1"
				}
			}
		}
		if _, err := fmt.Fprintln(out, strings.Join(kept, "\t")); err != nil {
			return err
		}
	}
	return lines.Err()
}
