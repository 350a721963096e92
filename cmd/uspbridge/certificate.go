package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
)

func (a *app) certificateCommand() *cobra.Command {
	return a.group("certificate", "Care for the certificates of agents", a.certificateListCommand(), a.certificateShowCommand(),
		a.certificateIssueCommand(), a.certificateRequestCommand(), a.certificateImportCommand(), a.certificateRevokeCommand(), a.certificateAuthorityCommand())
}

func (a *app) certificateListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list [FILTER]", Short: "List the certificates of agents whose endpoint id has FILTER in it",
		Args: takes(cobra.MaximumNArgs(1), "at most one filter"),
	}
	limit := cmd.Flags().Int("limit", 0, "list at most so many (0: all)")
	waiting := cmd.Flags().Bool("waiting", false, "only those that wait for an operator to sign their request")
	f := a.addConsoleFlags(cmd, time.Minute)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *limit < 0 {
			return usagef("--limit %d is negative", *limit)
		}
		list := []console.CertificateSummary{}
		err := a.ask(cmd.Context(), f, func(ctx context.Context, c *console.Client) error {
			return eachCertificate(ctx, c, strings.Join(args, ""), func(s console.CertificateSummary) bool {
				if s.Waiting || !*waiting {
					list = append(list, s)
				}
				return *limit == 0 || len(list) < *limit
			})
		})
		if err != nil {
			return err
		}
		return a.print(list, func(w io.Writer) { printCertificates(w, list) })
	}
	return cmd
}

// eachCertificate reads page after page until f returns false or there are no more.
func eachCertificate(ctx context.Context, c *console.Client, filter string, f func(console.CertificateSummary) bool) error {
	q := console.ListQuery{Filter: filter, Limit: 500}
	for {
		page, err := c.Certificates(ctx, q)
		if err != nil {
			return err
		}
		for _, s := range page.Certificates {
			if !f(s) {
				return nil
			}
		}
		if page.Next == "" {
			return nil
		}
		q.After = page.Next
	}
}

func printCertificates(w io.Writer, list []console.CertificateSummary) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no certificates")
		return
	}
	rows := make([][]string, len(list))
	for i, c := range list {
		until, waits := "", ""
		if c.Serial != "" {
			until = utc(c.NotAfter)
		}
		if c.Waiting {
			waits = "to be signed"
		}
		rows[i] = []string{printable(c.Agent), c.Serial, printable(c.Issuer), until, waits}
	}
	table(w, []string{"AGENT", "SERIAL", "ISSUER", "UNTIL", "WAITS"}, rows)
}

func printCertificate(w io.Writer, c console.Certificate) {
	if c.Serial != "" {
		fmt.Fprintf(w, "agent        %s\nserial       %s\nissuer       %s\nvalid        %s to %s\nfingerprint  %s\n",
			printable(c.Agent), c.Serial, printable(c.Issuer), utc(c.NotBefore), utc(c.NotAfter), c.Fingerprint)
	}
	if c.Waiting {
		fmt.Fprintf(w, "a request of %s waits to be signed\n", printable(c.Agent))
	}
}

const agentHelp = "AGENT is the endpoint id of a device's agent, as `uspbridge device list` shows it."

func (a *app) certificateShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show AGENT", Short: "Show an agent's certificate", Long: "Show an agent's certificate. " + agentHelp,
		Args: takes(cobra.ExactArgs(1), "one agent"),
	}
	text := cmd.Flags().Bool("pem", false, "print the certificate and the chain above it in PEM form")
	f := a.addConsoleFlags(cmd, 30*time.Second)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var c console.Certificate
		err := a.ask(cmd.Context(), f, func(ctx context.Context, cl *console.Client) (err error) {
			c, err = cl.Certificate(ctx, args[0])
			return err
		})
		switch {
		case err != nil:
			return err
		case *text && c.Chain == "":
			return fmt.Errorf("%s has no certificate yet: its request waits to be signed", printable(c.Agent))
		}
		return a.print(c, func(w io.Writer) {
			if *text {
				fmt.Fprint(w, c.Chain)
				return
			}
			printCertificate(w, c)
		})
	}
	return cmd
}

func (a *app) certificateIssueCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "issue AGENT", Short: "Make an agent's certificate now, if it has none",
		Long: "Make an agent's certificate now, if it has none. Otherwise that happens when one is first needed. " + agentHelp,
		Args: takes(cobra.ExactArgs(1), "one agent"),
	}
	f := a.addConsoleFlags(cmd, 30*time.Second)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var c console.Certificate
		err := a.ask(cmd.Context(), f, func(ctx context.Context, cl *console.Client) (err error) {
			c, err = cl.IssueCertificate(ctx, args[0])
			return err
		})
		if err != nil {
			return err
		}
		return a.print(c, func(w io.Writer) { printCertificate(w, c) })
	}
	return cmd
}

func (a *app) certificateRequestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "request [AGENT...]", Short: "Write certificate requests of agents, for a CA elsewhere to sign",
		Long: "Write certificate requests of agents, in PEM form, for a CA elsewhere to sign. The keys are made here and stay here. A\n" +
			"request is the same until its certificate has been imported. " + agentHelp,
		Example: "  uspbridge certificate request ops::00259E-HG8245A-4857 > agent.csr\n" +
			"  uspbridge certificate request --waiting --dir requests",
	}
	dir := cmd.Flags().String("dir", "", "write each request into a file of its own in this directory: AGENT.csr")
	waiting := cmd.Flags().Bool("waiting", false, "of all agents whose request waits to be signed")
	f := a.addConsoleFlags(cmd, 10*time.Minute)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *waiting == (len(args) > 0) {
			return usagef("name agents, or all that wait with --waiting")
		}
		var requests []console.Certificate
		err := a.ask(cmd.Context(), f, func(ctx context.Context, c *console.Client) (err error) {
			requests, err = requestCertificates(ctx, c, args)
			return err
		})
		if err == nil && *dir != "" {
			err = writeRequests(*dir, requests)
		}
		if err != nil {
			return err
		}
		return a.print(requests, func(w io.Writer) {
			if *dir != "" {
				fmt.Fprintf(w, "%d requests are in %s\n", len(requests), *dir)
				return
			}
			if len(requests) == 0 { // what is on standard output may go into a file
				fmt.Fprintln(a.stderr, "no request waits")
			}
			for _, r := range requests {
				fmt.Fprint(w, r.Request)
			}
		})
	}
	return cmd
}

// requestCertificates returns the requests of some agents, of all that wait if none
// is named.
func requestCertificates(ctx context.Context, c *console.Client, agents []string) ([]console.Certificate, error) {
	if len(agents) == 0 {
		err := eachCertificate(ctx, c, "", func(s console.CertificateSummary) bool {
			if s.Waiting {
				agents = append(agents, s.Agent)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	requests := make([]console.Certificate, len(agents))
	for i, agent := range agents {
		var err error
		if requests[i], err = c.RequestCertificate(ctx, agent); err != nil {
			return nil, err
		}
	}
	return requests, nil
}

// writeRequests writes each request into a file named for its agent.
func writeRequests(dir string, requests []console.Certificate) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, r := range requests {
		if err := os.WriteFile(filepath.Join(dir, url.PathEscape(r.Agent)+".csr"), []byte(r.Request), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) certificateImportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import FILE...", Short: "Take certificates in that a CA has signed",
		Long: "Take certificates in that a CA has signed. Each file has one agent's, in PEM form, and behind it the chain above it, if\n" +
			"there is one. Whose it is the certificate says itself. Those before one that is not taken are taken.",
		Example: "  uspbridge certificate import signed/*.pem",
		Args:    takes(cobra.MinimumNArgs(1), "the files"),
	}
	f := a.addConsoleFlags(cmd, 10*time.Minute)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		taken := []console.CertificateSummary{}
		err := a.ask(cmd.Context(), f, func(ctx context.Context, c *console.Client) error {
			for _, name := range args {
				text, err := readCertificateFile(name)
				if err != nil {
					return err
				}
				cert, err := c.ImportCertificate(ctx, text)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				taken = append(taken, cert.CertificateSummary)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("%w (%d of %d were taken)", err, len(taken), len(args))
		}
		return a.print(taken, func(w io.Writer) { printCertificates(w, taken) })
	}
	return cmd
}

func readCertificateFile(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(file, console.MaxCertificate+1))
	if err = errors.Join(err, file.Close()); err != nil {
		return "", err
	}
	if len(b) > console.MaxCertificate {
		return "", fmt.Errorf("%s: a certificate with its chain has at most %d bytes", name, console.MaxCertificate)
	}
	return string(b), nil
}

func (a *app) certificateRevokeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "revoke AGENT", Short: "End the use of an agent's certificate",
		Long: "End the use of an agent's certificate, and of a request that waits. When one is next needed it is made anew, with another\n" +
			"key. A certificate of the bridge's CA is on its revocation list from then on (`uspbridge certificate authority --crl`); one\n" +
			"that was signed elsewhere has to be revoked there. " + agentHelp,
		Args: takes(cobra.ExactArgs(1), "one agent"),
	}
	f := a.addConsoleFlags(cmd, 30*time.Second)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var done console.CertificateRevoked
		err := a.ask(cmd.Context(), f, func(ctx context.Context, c *console.Client) (err error) {
			done, err = c.RevokeCertificate(ctx, args[0])
			return err
		})
		if err != nil {
			return err
		}
		return a.print(done, func(w io.Writer) {
			switch {
			case done.Listed:
				fmt.Fprintf(w, "%s: certificate %s is revoked\n", printable(done.Agent), done.Serial)
			case done.Serial != "":
				fmt.Fprintf(w, "%s: certificate %s is used no more; it was not issued here: revoke it where it was\n", printable(done.Agent), done.Serial)
			default:
				fmt.Fprintf(w, "%s: the request is withdrawn\n", printable(done.Agent))
			}
		})
	}
	return cmd
}

func (a *app) certificateAuthorityCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "authority", Short: "Print the root certificate of the CA that issues the certificates of agents",
		Long: "Print the root certificate of the CA that issues the certificates of agents, in PEM form: controllers that trust it believe\n" +
			"the agents.",
		Example: "  uspbridge certificate authority > agents-ca.pem\n  uspbridge certificate authority --crl > agents.crl",
		Args:    takesNothing(),
	}
	crl := cmd.Flags().Bool("crl", false, "print the list of what it has revoked in its place")
	f := a.addConsoleFlags(cmd, 30*time.Second)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var ca console.Authority
		err := a.ask(cmd.Context(), f, func(ctx context.Context, c *console.Client) (err error) {
			ca, err = c.Authority(ctx)
			return err
		})
		if err != nil {
			return err
		}
		return a.print(ca, func(w io.Writer) {
			if *crl {
				fmt.Fprint(w, ca.CRL)
				return
			}
			fmt.Fprint(w, ca.Root)
		})
	}
	return cmd
}
