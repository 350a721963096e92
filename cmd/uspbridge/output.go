package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
	"unicode"
)

// output is where results go. It remembers that not all of them got there, so that
// what prints needs no look at each line, and a full disk is no success.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.to.Write(b)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// print writes a result: v with --json, else what text writes.
func (a *app) print(v any, text func(w io.Writer)) error {
	a.settle()
	if !a.json {
		text(a.stdout)
		return nil
	}
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("the result could not be printed: %w", err)
	}
	return nil
}

// printLine writes one result of a stream: a JSON object on a line of its own
// with --json.
func (a *app) printLine(v any, text string) error {
	if !a.json {
		_, err := fmt.Fprintln(a.stdout, text)
		return err
	}
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// fail tells what went wrong, on stderr.
func (a *app) fail(err error) {
	a.settle()
	if !a.json {
		lines, ok := err.(messages)
		if !ok {
			lines = messages{err.Error()}
		}
		for _, line := range lines {
			fmt.Fprintf(a.stderr, "uspbridge: %s\n", line)
		}
		return
	}
	// A struct of one string always encodes; a broken stderr leaves nobody to tell.
	b, _ := json.Marshal(struct {
		Error string `json:"error"`
	}{err.Error()})
	fmt.Fprintf(a.stderr, "%s\n", b)
}

// table writes rows in aligned columns under a head.
func table(w io.Writer, head []string, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(head, "\t"))
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	t.Flush()
}

// list writes name and value pairs, leaving out empty values.
func list(w io.Writer, pairs ...[2]string) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, p := range pairs {
		if p[1] != "" {
			fmt.Fprintf(t, "%s\t%s\n", p[0], p[1])
		}
	}
	t.Flush()
}

// printable returns a text that a device gave in a form that cannot steer the
// terminal: quoted if it has control characters or is not UTF-8.
func printable(s string) string {
	for _, r := range s {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}

func utc(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// progress shows on a terminal that something is under way, from the moment it
// has lasted a while.
type progress struct {
	stop, stopped chan struct{}
	once          sync.Once
}

// progressDelay is how long work may last before it is worth telling.
const progressDelay = 400 * time.Millisecond

// progress starts to show what status returns; done ends it.
func (a *app) progress(status func() string) *progress {
	p := &progress{stop: make(chan struct{}), stopped: make(chan struct{})}
	if !a.terminal || a.json {
		close(p.stopped)
		return p
	}
	a.shown = p
	go p.show(a.stderr, status)
	return p
}

// settle ends the progress shown, so that what is printed next stands alone.
func (a *app) settle() {
	if a.shown != nil {
		a.shown.done()
		a.shown = nil
	}
}

// working is progress with a fixed text.
func (a *app) working(format string, args ...any) *progress {
	text := fmt.Sprintf(format, args...)
	return a.progress(func() string { return text })
}

func (p *progress) show(w io.Writer, status func() string) {
	defer close(p.stopped)
	start := time.Now()
	tick := time.NewTicker(progressDelay)
	defer tick.Stop()
	shown := false
	for {
		select {
		case <-tick.C:
			fmt.Fprintf(w, "\r\x1b[K%s … %d s", status(), int(time.Since(start).Seconds()))
			shown = true
		case <-p.stop:
			if shown {
				fmt.Fprint(w, "\r\x1b[K")
			}
			return
		}
	}
}

// done ends the display and leaves the line empty.
func (p *progress) done() {
	p.once.Do(func() { close(p.stop) })
	<-p.stopped
}
