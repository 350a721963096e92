package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/cwmp/credential"
)

const deviceHelp = "DEVICE is OUI, product class and serial number joined by dashes; what is no letter, digit, dot or underscore in them is\n" +
	"written %XX. * stands for any text, ? for any one character. Quote it against the shell."

func (a *app) credentialsCommand() *cobra.Command {
	return a.group("credentials", "Care for what CPE authenticate with", a.credentialsListCommand(),
		a.credentialsSetCommand(), a.credentialsImportCommand(), a.credentialsRemoveCommand())
}

func (a *app) credentialsListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list [FILTER]", Short: "List the credentials whose device or user name has FILTER in it, without their passwords",
		Args: takes(cobra.MaximumNArgs(1), "at most one filter"),
	}
	limit := cmd.Flags().Int("limit", 0, "list at most so many (0: all)")
	f := a.addConsoleFlags(cmd, time.Minute)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *limit < 0 {
			return usagef("--limit %d is negative", *limit)
		}
		var list []console.CredentialSummary
		err := a.ask(cmd.Context(), f, func(ctx context.Context, c *console.Client) (err error) {
			list, err = listCredentials(ctx, c, strings.Join(args, ""), *limit)
			return err
		})
		if err != nil {
			return err
		}
		return a.print(list, func(w io.Writer) { printCredentials(w, list) })
	}
	return cmd
}

// listCredentials reads page after page until there are limit or no more.
func listCredentials(ctx context.Context, c *console.Client, filter string, limit int) ([]console.CredentialSummary, error) {
	const page = 500
	all := []console.CredentialSummary{}
	q := console.ListQuery{Filter: filter}
	for {
		q.Limit = page
		if limit > 0 {
			q.Limit = min(page, limit-len(all))
		}
		list, err := c.Credentials(ctx, q)
		if err != nil {
			return nil, err
		}
		all = append(all, list.Credentials...)
		if list.Next == "" || limit > 0 && len(all) >= limit {
			return all, nil
		}
		q.After = list.Next
	}
}

func printCredentials(w io.Writer, list []console.CredentialSummary) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no credentials")
		return
	}
	rows := make([][]string, len(list))
	for i, c := range list {
		kind := "device"
		if c.Rule {
			kind = "rule"
		}
		rows[i] = []string{printable(c.Device), kind, printable(c.Username), utc(c.Changed)}
	}
	table(w, []string{"DEVICE", "KIND", "USER", "CHANGED"}, rows)
}

func (a *app) credentialsSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "set DEVICE --username USER", Short: "Give a device, or all that a pattern covers, a user name and a password",
		Long: "Give a device, or all that a pattern covers, a user name and a password. The password is asked for on the terminal, or read\n" +
			"from --password-file; it is no argument, which other users of this machine could see.\n\n" + deviceHelp,
		Example: "  uspbridge device credentials set 00259E-HG8245A-48575443A94196A5 --username cpe\n" +
			"  uspbridge device credentials set '00259E-*-*' --username '{oui}-{serial}' --password-file secret.txt",
		Args: takes(cobra.ExactArgs(1), "one device or pattern"),
	}
	username := cmd.Flags().String("username", "", "user name; {oui}, {product_class} and {serial} become the device's (required)")
	file := cmd.Flags().String("password-file", "", "file whose first line is the password; - is standard input")
	f := a.addConsoleFlags(cmd, 30*time.Second)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		scope, err := credential.ParseScope(args[0])
		if err != nil {
			return usagef("%v", err)
		}
		if *username == "" {
			return usagef("name the user with --username")
		}
		password, err := a.readPassword(*file)
		if err != nil {
			return err
		}
		entry := console.Credential{Device: scope.String(), Username: *username, Password: password}
		var done console.CredentialsApplied
		if err := a.ask(cmd.Context(), f, func(ctx context.Context, c *console.Client) (err error) {
			done, err = c.ApplyCredentials(ctx, []console.Credential{entry})
			return err
		}); err != nil {
			return err
		}
		return a.print(done, func(w io.Writer) { fmt.Fprintf(w, "%s has its credentials\n", scope) })
	}
	return cmd
}

// maxPasswordFile bounds what is read for one password, in bytes.
const maxPasswordFile = 4096

// readPassword reads a password from the first line of a file, "-" for standard
// input, or asks for it.
func (a *app) readPassword(file string) (string, error) {
	var b []byte
	var err error
	switch {
	case file == "" && a.stdin != nil && term.IsTerminal(int(a.stdin.Fd())):
		fmt.Fprint(a.stderr, "Password: ")
		b, err = term.ReadPassword(int(a.stdin.Fd()))
		fmt.Fprintln(a.stderr)
	case file == "":
		return "", usagef("there is no terminal to ask for the password: give it with --password-file")
	case file == "-" && a.stdin != nil:
		b, err = io.ReadAll(io.LimitReader(a.stdin, maxPasswordFile))
	default:
		b, err = readStart(file)
	}
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	password := strings.TrimSuffix(string(line), "\r")
	if password == "" {
		return "", errors.New("the password is empty")
	}
	return password, nil
}

func readStart(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxPasswordFile))
}

func (a *app) credentialsRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove DEVICE", Short: "Remove the credential of exactly that device or pattern",
		Long: "Remove the credential of exactly that device or pattern.\n\n" + deviceHelp,
		Args: takes(cobra.ExactArgs(1), "one device or pattern"),
	}
	f := a.addConsoleFlags(cmd, 30*time.Second)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := a.ask(cmd.Context(), f, func(ctx context.Context, c *console.Client) error { return c.RemoveCredential(ctx, args[0]) })
		if err != nil {
			return err
		}
		return a.print(map[string]string{"removed": args[0]}, func(w io.Writer) {
			fmt.Fprintf(w, "the credential of %s is removed\n", printable(args[0]))
		})
	}
	return cmd
}
