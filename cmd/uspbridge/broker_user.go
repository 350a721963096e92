package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/usp"
)

func (a *app) brokerCommand() *cobra.Command {
	return a.group("broker", "Care for the embedded MQTT broker",
		a.group("user", "Care for what endpoints log in to it with", a.brokerUserAddCommand(), a.brokerUserListCommand(), a.brokerUserRemoveCommand()))
}

func (a *app) brokerUserAddCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "add USERNAME --endpoint ENDPOINT", Short: "Let an endpoint log in with a user name and a password",
		Long: "Let an endpoint log in with a user name and a password, in place of the password that the user name had before. The password is\n" +
			"asked for on the terminal, or read from --password-file; it is no argument, which other users of this machine could see.",
		Example: "  uspbridge broker user add native-1 --endpoint os::00259E-0123456789",
		Args:    takes(cobra.ExactArgs(1), "one user name"),
	}
	endpoint := cmd.Flags().String("endpoint", "", "the endpoint id that it is; it can be no other (required)")
	file := cmd.Flags().String("password-file", "", "file whose first line is the password, 8 to 72 bytes; - is standard input")
	f := a.addConsoleFlags(cmd, 30*time.Second)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *endpoint == "" {
			return usagef("name the endpoint that logs in with --endpoint ENDPOINT")
		}
		if err := usp.EndpointID(*endpoint).Validate(); err != nil {
			return usagef("--endpoint: %v", err)
		}
		password, err := a.readPassword(*file)
		if err != nil {
			return err
		}
		var put console.BrokerUserPut
		if err := a.ask(cmd.Context(), f, func(ctx context.Context, c *console.Client) (err error) {
			put, err = c.PutBrokerUser(ctx, args[0], *endpoint, password)
			return err
		}); err != nil {
			return err
		}
		added := map[string]string{"added": args[0]}
		if put.Warning != "" {
			added["warning"] = put.Warning
		}
		return a.print(added, func(w io.Writer) {
			fmt.Fprintf(w, "%s can log in as %s\n", printable(args[0]), printable(*endpoint))
			if put.Warning != "" {
				fmt.Fprintf(a.stderr, "warning: %s\n", printable(put.Warning))
			}
		})
	}
	return cmd
}

func (a *app) brokerUserListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list [FILTER]", Short: "List the users in the store whose name or endpoint has FILTER in it",
		Args: takes(cobra.MaximumNArgs(1), "at most one filter"),
	}
	f := a.addConsoleFlags(cmd, time.Minute)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		all := []console.BrokerUser{}
		err := a.ask(cmd.Context(), f, func(ctx context.Context, c *console.Client) error {
			q := console.ListQuery{Filter: strings.Join(args, ""), Limit: 500}
			for {
				list, err := c.BrokerUsers(ctx, q)
				if err != nil {
					return err
				}
				all = append(all, list.Users...)
				if q.After = list.Next; q.After == "" {
					return nil
				}
			}
		})
		if err != nil {
			return err
		}
		return a.print(all, func(w io.Writer) { printBrokerUsers(w, all) })
	}
	return cmd
}

func printBrokerUsers(w io.Writer, list []console.BrokerUser) {
	if len(list) == 0 {
		fmt.Fprintln(w, "no users")
		return
	}
	rows := make([][]string, len(list))
	for i, u := range list {
		rows[i] = []string{printable(u.Username), printable(u.Endpoint), utc(u.Changed)}
	}
	table(w, []string{"USER", "ENDPOINT", "CHANGED"}, rows)
}

func (a *app) brokerUserRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove USERNAME", Short: "Let nobody log in with a user name any more, and cut off who has",
		Args: takes(cobra.ExactArgs(1), "one user name"),
	}
	f := a.addConsoleFlags(cmd, 30*time.Second)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := a.ask(cmd.Context(), f, func(ctx context.Context, c *console.Client) error { return c.RemoveBrokerUser(ctx, args[0]) })
		if err != nil {
			return err
		}
		return a.print(map[string]string{"removed": args[0]}, func(w io.Writer) { fmt.Fprintf(w, "%s is removed\n", printable(args[0])) })
	}
	return cmd
}
