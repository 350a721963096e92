package testenv

import (
	"bufio"
	"net/http"
	"strconv"
	"strings"
)

// Metric returns a counter of the bridge by its name and labels as /metrics
// writes them; one that is not there is 0.
func (b *Bridge) Metric(series string) float64 {
	b.t.Helper()
	client := &http.Client{Timeout: Patience}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://" + b.at.console + "/metrics")
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
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
