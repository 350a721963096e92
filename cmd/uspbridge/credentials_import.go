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
	"time"

	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/cwmp/credential"
)

// imported is what `device credentials import --json` prints.
type imported struct {
	Entries int `json:"entries"`
	console.CredentialsApplied
}

// maxImportErrors is how many wrong entries of a file are told of.
const maxImportErrors = 20

func (a *app) credentialsImportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Take credentials over from a CSV or YAML file",
		Long: "Take credentials over from a CSV or YAML file of any length. The whole file is checked first: if anything is wrong with it,\n" +
			"nothing is taken. An import that was broken off can be repeated: what is there already is not written again.\n\n" +
			"Columns, or keys: device, or oui, product_class and serial_number in its place; username; password. " + deviceHelp,
		Example: "  uspbridge device credentials import cpe.csv\n  uspbridge device credentials import cpe.yaml --check",
		Args:    takes(cobra.ExactArgs(1), "one file"),
	}
	check := cmd.Flags().Bool("check", false, "only check the file")
	f := a.addConsoleFlags(cmd, time.Hour)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		n, err := a.checkImport(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if *check {
			return a.print(imported{Entries: n}, func(w io.Writer) { fmt.Fprintf(w, "%s: %d entries, nothing wrong with them\n", args[0], n) })
		}
		done := imported{Entries: n}
		err = a.ask(cmd.Context(), f, func(ctx context.Context, c *console.Client) (err error) {
			done.CredentialsApplied, err = a.importFile(ctx, c, args[0], n)
			return err
		})
		if err != nil {
			return err
		}
		return a.print(done, func(w io.Writer) {
			fmt.Fprintf(w, "%d entries: %d added, %d changed, %d were there already\n", n, done.Added, done.Changed, done.Same)
		})
	}
	return cmd
}

// eachEntry calls fn for the entries of a file, or for what is wrong with them.
func eachEntry(ctx context.Context, file string, fn func(e credential.Entry, err error) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := credential.NewReader(file, f)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		e, _, err := r.Next()
		var line *credential.LineError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.As(err, &line):
			return err
		}
		if err := fn(e, err); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// checkImport counts the entries of a file. Its error tells of the first that are
// wrong.
func (a *app) checkImport(ctx context.Context, file string) (n int, err error) {
	var read atomic.Int64
	p := a.progress(func() string { return fmt.Sprintf("checking %s: %d entries", file, read.Load()) })
	defer p.done()
	var wrong []string
	more := 0
	err = eachEntry(ctx, file, func(_ credential.Entry, err error) error {
		read.Add(1)
		switch {
		case err == nil:
		case len(wrong) < maxImportErrors:
			wrong = append(wrong, err.Error())
		default:
			more++
		}
		return nil
	})
	if more > 0 {
		wrong = append(wrong, fmt.Sprintf("and %d more", more))
	}
	if len(wrong) > 0 {
		wrong = append(wrong, "nothing was imported")
		return 0, errors.Join(errors.New(strings.Join(wrong, "\n")), err)
	}
	if err == nil && read.Load() == 0 {
		err = fmt.Errorf("%s: no entry in it", file)
	}
	return int(read.Load()), err
}

// importFile sends the entries in batches as large as the console takes.
func (a *app) importFile(ctx context.Context, c *console.Client, file string, n int) (total console.CredentialsApplied, err error) {
	var sent atomic.Int64
	p := a.progress(func() string { return fmt.Sprintf("importing %s: %d of %d", file, sent.Load(), n) })
	defer p.done()
	var batch []console.Credential
	size := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		done, err := c.ApplyCredentials(ctx, batch)
		if err != nil {
			return fmt.Errorf("after %d of %d entries: %w; repeat the import to go on", sent.Load(), n, err)
		}
		total.Added, total.Changed, total.Same = total.Added+done.Added, total.Changed+done.Changed, total.Same+done.Same
		sent.Add(int64(len(batch)))
		batch, size = batch[:0], 0
		return nil
	}
	err = eachEntry(ctx, file, func(e credential.Entry, err error) error {
		if err != nil {
			return fmt.Errorf("%w: the file has changed since it was checked", err)
		}
		one := console.Credential{Device: e.Scope.String(), Username: e.Username, Password: e.Password}
		b, err := json.Marshal(one)
		if err != nil {
			return err
		}
		if size+len(b)+1 > console.MaxCredentials {
			if err := flush(); err != nil {
				return err
			}
		}
		batch, size = append(batch, one), size+len(b)+1
		return nil
	})
	if err == nil {
		err = flush()
	}
	return total, err
}
