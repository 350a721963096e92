package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/usp"
)

// captured is what `uspbridge device capture --json` prints of a capture that
// went into a file.
type captured struct {
	File     string `json:"file"`
	Sessions int64  `json:"sessions"` // that have ended
	Messages int64  `json:"messages"`
}

func (a *app) deviceCaptureCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "capture ENDPOINT", Short: "Record what a device says in its coming CWMP sessions",
		Long: "Record the coming CWMP sessions of a device, both sides, with its own XML, until interrupted or until\n" +
			"--sessions or --duration are over. Passwords and keys in them are masked. ENDPOINT is a device that is known,\n" +
			"or the endpoint id that a new one will have, or a pattern of some: 'ops::00259E-*'.\n" +
			"`uspbridge simulate --replay FILE` plays a capture back as a simulated CPE.",
		Example: "  uspbridge device capture os::00259E-1 --refresh --sessions 1 --output box.capture",
		Args:    takes(cobra.ExactArgs(1), "one endpoint id or pattern"),
	}
	q := console.CaptureQuery{}
	var output string
	f := new(consoleFlags)
	a.addConsoleAddress(cmd, f)
	cmd.Flags().StringVarP(&output, "output", "o", "-", "file to write to, added to if it is there (-: standard output)")
	cmd.Flags().IntVar(&q.Sessions, "sessions", 0, "end after so many sessions (0: go on)")
	cmd.Flags().DurationVar(&q.Duration, "duration", 0, "end after this time (0: go on)")
	cmd.Flags().BoolVar(&q.Wake, "wake", false, "ask the device for a session now")
	cmd.Flags().BoolVar(&q.Refresh, "refresh", false, "ask it for a session now, and read its whole parameter tree in it")
	cmd.Flags().BoolVar(&q.Anonymise, "anonymise", false, "replace serial numbers, hardware and IP addresses, SSIDs and user names")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if q.Sessions < 0 || q.Duration < 0 {
			return usagef("--sessions and --duration cannot be negative")
		}
		if err := usp.EndpointID(args[0]).Validate(); err != nil && !strings.ContainsAny(args[0], "*?[") {
			return usagef("%v, or a pattern such as 'ops::00259E-*'", err)
		}
		q.Endpoint = args[0]
		return a.capture(cmd.Context(), f, q, output)
	}
	return cmd
}

// capture writes a capture. Being interrupted is its ordinary end; that nothing
// came is a failure.
func (a *app) capture(ctx context.Context, f *consoleFlags, q console.CaptureQuery, output string) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	var sessions, messages atomic.Int64
	p := a.progress(func() string {
		return fmt.Sprintf("capturing %s: %d sessions, %d messages", printable(q.Endpoint), sessions.Load(), messages.Load())
	})
	defer p.done()
	out := io.Writer(a.stdout)
	if output != "-" {
		file := &appended{name: output}
		defer func() { err = errors.Join(err, file.Close()) }()
		out = file
	}
	client, done := a.consoleClient(f)
	defer done()
	err = client.Capture(ctx, q, func(line []byte) error {
		var kind struct{ From, End, Note string }
		if err := json.Unmarshal(line, &kind); err != nil {
			return fmt.Errorf("%s does not answer as a uspbridge console: %w", f.url, err)
		}
		switch {
		case kind.From != "":
			messages.Add(1)
		case kind.End != "":
			sessions.Add(1)
		case kind.Note != "":
			a.settle()
			fmt.Fprintln(a.stderr, printable(kind.Note))
		}
		_, err := out.Write(line)
		return err
	})
	if ctx.Err() != nil {
		err = nil // interrupted
	}
	if err == nil && messages.Load() == 0 {
		err = fmt.Errorf("no session of %s came; `uspbridge device show` says when it came last, --wake asks for one", q.Endpoint)
	}
	if err != nil || output == "-" {
		return err
	}
	c := captured{output, sessions.Load(), messages.Load()}
	return a.print(c, func(w io.Writer) {
		fmt.Fprintf(w, "%d sessions, %d messages in %s\n", c.Sessions, c.Messages, c.File)
	})
}

// appended is a file that is opened, and made if need be, when there is something
// to add to it.
type appended struct {
	name string
	file *os.File
}

func (f *appended) Write(b []byte) (n int, err error) {
	if f.file == nil {
		if f.file, err = os.OpenFile(f.name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			return 0, err
		}
	}
	return f.file.Write(b)
}

func (f *appended) Close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}
