package credential

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// yamlReader reads a YAML list of mappings, item by item: a document of a million
// is never in memory as a whole. So the list has to be written with each item's
// dash at the beginning of a line, as every program writes it.
type yamlReader struct {
	lines
	pending string // the first line of the next item
	at      int    // its number
	ended   bool
}

func (y *yamlReader) next() (map[string]string, int, error) {
	item, line, err := y.item()
	if err != nil {
		return nil, line, err
	}
	var list []map[string]yaml.Node
	if err := yaml.Unmarshal([]byte(item), &list); err != nil {
		// The parser's text may quote a password.
		return nil, line, errors.New("want an item with keys and values; put values with signs in them into quotes")
	}
	if len(list) != 1 || len(list[0]) == 0 {
		return nil, line, fmt.Errorf("want an item with keys: %s", strings.Join(fieldNames, ", "))
	}
	fields := make(map[string]string, len(list[0]))
	for name, node := range list[0] {
		if !slices.Contains(fieldNames, name) {
			return nil, line, fmt.Errorf("key %.40q is not known; there are %s", name, strings.Join(fieldNames, ", "))
		}
		if node.Kind != yaml.ScalarNode {
			return nil, line, fmt.Errorf("%s: want one value", name)
		}
		fields[name] = node.Value // as it is written: 0012 is no number here
	}
	return fields, line, nil
}

// item returns the text of the next item and the line it begins at.
func (y *yamlReader) item() (string, int, error) {
	var b strings.Builder
	begun := 0
	if y.pending != "" {
		b.WriteString(y.pending)
		b.WriteByte('\n')
		begun, y.pending = y.at, ""
	}
	for !y.ended {
		line, err := y.read()
		if errors.Is(err, io.EOF) {
			y.ended = true
			break
		} else if err != nil {
			return "", y.n, err
		}
		switch {
		case startsItem(line) && begun != 0:
			y.pending, y.at = line, y.n
			return b.String(), begun, nil
		case startsItem(line):
			begun = y.n
		case between(line):
			continue
		case begun == 0 || line[0] != ' ':
			return "", y.n, &fatalError{errors.New("want a list of items, each beginning with a dash at the beginning of a line")}
		}
		if b.Len()+len(line) > maxItem {
			return "", y.n, &fatalError{fmt.Errorf("an item of more than %d bytes", maxItem)}
		}
		b.WriteString(line)
		b.WriteByte('\n')
	}
	if begun == 0 {
		return "", y.n, io.EOF
	}
	return b.String(), begun, nil
}

func startsItem(line string) bool { return line == "-" || strings.HasPrefix(line, "- ") }

// between reports whether a line belongs to no item: blank, a comment at its
// beginning, the start of the document.
func between(line string) bool {
	return strings.TrimSpace(line) == "" || line[0] == '#' || line == "---" || line == "..."
}
