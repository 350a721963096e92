package credential

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// csvReader reads a CSV file whose first line names the columns. They are divided
// by commas, or by semicolons as spreadsheets of some countries write them. A
// record is on one line, so that a quote left open costs that line only.
type csvReader struct {
	lines   lines
	comma   rune
	columns []string
}

func newCSVReader(b *bufio.Reader) (*csvReader, error) {
	c := &csvReader{lines: lines{r: b}, comma: ','}
	head, err := c.lines.read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty")
	} else if err != nil {
		return nil, err
	}
	if strings.Contains(head, ";") && !strings.Contains(head, ",") {
		c.comma = ';'
	}
	if c.columns, err = c.split(head); err != nil {
		return nil, err
	}
	for i, name := range c.columns {
		c.columns[i] = strings.ToLower(strings.TrimSpace(name))
		if !slices.Contains(fieldNames, c.columns[i]) {
			// Not shown: without a head it may be a password.
			return nil, fmt.Errorf("column %d has no known name; the first line names the columns: %s", i+1, strings.Join(fieldNames, ", "))
		}
		if slices.Contains(c.columns[:i], c.columns[i]) {
			return nil, fmt.Errorf("column %s is there twice", c.columns[i])
		}
	}
	for _, name := range []string{fieldUsername, fieldPassword} {
		if !slices.Contains(c.columns, name) {
			return nil, fmt.Errorf("there is no column %s; the first line names the columns: %s", name, strings.Join(fieldNames, ", "))
		}
	}
	return c, nil
}

func (c *csvReader) next() (map[string]string, int, error) {
	for {
		line, err := c.lines.read()
		if err != nil {
			return nil, c.lines.n, err
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		values, err := c.split(line)
		if err != nil {
			return nil, c.lines.n, err
		}
		if len(values) != len(c.columns) {
			return nil, c.lines.n, fmt.Errorf("%d values for %d columns", len(values), len(c.columns))
		}
		fields := make(map[string]string, len(values))
		for i, v := range values {
			fields[c.columns[i]] = v
		}
		return fields, c.lines.n, nil
	}
}

func (c *csvReader) split(line string) ([]string, error) {
	r := csv.NewReader(strings.NewReader(line))
	r.Comma = c.comma
	values, err := r.Read()
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return nil, fmt.Errorf("column %d: %w", parse.Column, parse.Err) // without its line, which is always 1
	}
	return values, err
}
