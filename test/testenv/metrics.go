package testenv

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"
)

// Metric returns a counter of the bridge by its name and labels as /metrics
// writes them; one that is not there is 0.
func (b *Bridge) Metric(series string) float64 {
	b.t.Helper()
	_, body, err := b.Console("/metrics")
	if err != nil {
		b.t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(body))
	for lines.Scan() {
		text, ok := strings.CutPrefix(lines.Text(), series+" ")
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			b.t.Fatalf("metric %s: %v", series, err)
		}
		return v
	}
	if err := lines.Err(); err != nil {
		b.t.Fatal(err)
	}
	return 0
}
