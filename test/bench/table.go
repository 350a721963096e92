package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// row is one line of the table. Empty fields are shown as "-".
type row struct {
	what      string
	n         int           // how often it was done
	cpu       time.Duration // of the bridge, each
	perSecond float64
	p50, p99  time.Duration
	clock     time.Duration // instead of p50, where it was done once
	bytes     float64       // each device's
	peer, aim string
}

// table is what is printed.
type table struct{ rows []row }

func (t *table) add(r row) { t.rows = append(t.rows, r) }

// print writes the table.
func (t *table) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "work\truns\tCPU of the bridge\tper second\tp50\tp99\tbytes\tpeer\taim")
	for _, r := range t.rows {
		p50 := r.p50
		if r.clock > 0 {
			p50 = r.clock
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.what, count(float64(r.n)), milliseconds(r.cpu), count(r.perSecond),
			milliseconds(p50), milliseconds(r.p99), count(r.bytes), text(r.peer), text(r.aim))
	}
	// What is printed goes to a terminal or a pipe; if that is gone nobody reads
	// an error either.
	_ = w.Flush()
}

func milliseconds(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms >= 100:
		return fmt.Sprintf("%.0f ms", ms)
	case ms >= 1:
		return fmt.Sprintf("%.2f ms", ms)
	}
	return fmt.Sprintf("%.4f ms", ms)
}

func count(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", v)
}

func text(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// quantile returns the q-th of durations that were seen.
func quantile(seen []time.Duration, q float64) time.Duration {
	if len(seen) == 0 {
		return 0
	}
	slices.Sort(seen)
	return seen[min(int(q*float64(len(seen))), len(seen)-1)]
}

// each is a cost's share of one of n.
func (c cost) each(n int) time.Duration { return c.cpu / time.Duration(n) }

// rate is how many of n came in a second.
func (c cost) rate(n int) float64 { return float64(n) / c.clock.Seconds() }
