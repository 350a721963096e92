package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
)

// The environment variables that the commands talking to a running bridge read
// beside their flags. The token is the configuration's console.token.
const (
	envBridge  = envPrefix + "_BRIDGE"
	envConsole = envPrefix + "_CONSOLE"
	envToken   = envPrefix + "_CONSOLE_TOKEN"
)

const defaultConsole = "http://127.0.0.1:7549"

// consoleFlags are the flags of commands that ask the console.
type consoleFlags struct {
	url, token string
	timeout    time.Duration
}

func (a *app) addConsoleFlags(cmd *cobra.Command, timeout time.Duration) *consoleFlags {
	f := new(consoleFlags)
	a.addConsoleAddress(cmd, f)
	cmd.Flags().DurationVar(&f.timeout, "timeout", timeout, "how long to wait for the answer")
	return f
}

// addConsoleAddress adds the flags that say where the console is.
func (a *app) addConsoleAddress(cmd *cobra.Command, f *consoleFlags) {
	cmd.Flags().StringVar(&f.url, "console", a.env(envConsole, defaultConsole), "URL of the bridge's console")
	a.addTokenFlag(cmd, &f.token)
}

// check wants a URL that a console can be at.
func (f *consoleFlags) check() error {
	return checkURL("--console", f.url, defaultConsole, "http", "https")
}

// checkTimeout refuses a time in which nothing can be done.
func checkTimeout(t time.Duration) error {
	if t <= 0 {
		return usagef("--timeout %v: want more than 0, for example 30s", t)
	}
	return nil
}

// checkURL wants a URL with a host and one of the schemes.
func checkURL(flag, text, example string, schemes ...string) error {
	u, err := url.Parse(text)
	if err == nil && slices.Contains(schemes, u.Scheme) && u.Hostname() != "" {
		return nil
	}
	return usagef("%s %q: want a URL that begins with %s://, for example %s", flag, text, strings.Join(schemes, ":// or "), example)
}

// addTokenFlag adds --token. Its value is not a flag's default, which the help
// would show.
func (a *app) addTokenFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "token", "", "console token (default: $"+envToken+")")
}

func (a *app) tokenOr(flag string) string {
	if flag != "" {
		return flag
	}
	return a.env(envToken, "")
}

// ask calls the console within the command's time.
func (a *app) ask(ctx context.Context, f *consoleFlags, call func(ctx context.Context, c *console.Client) error) error {
	if err := f.check(); err != nil {
		return err
	}
	if err := checkTimeout(f.timeout); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	client, done := a.consoleClient(f)
	defer done()
	err := call(ctx, client)
	if err != nil && ctx.Err() == context.DeadlineExceeded {
		return fmt.Errorf("no answer within %v; give it longer with --timeout: %w", f.timeout, err)
	}
	return err
}

// consoleClient returns a client of the console; done lets its connections go.
func (a *app) consoleClient(f *consoleFlags) (client *console.Client, done func()) {
	connections := &http.Transport{Proxy: http.ProxyFromEnvironment}
	return &console.Client{URL: f.url, Token: a.tokenOr(f.token), HTTP: &http.Client{Transport: connections}}, connections.CloseIdleConnections
}

func (a *app) deviceCommand() *cobra.Command {
	return a.group("device", "Show and care for the devices of the bridge",
		a.deviceListCommand(), a.deviceShowCommand(), a.deviceRefreshCommand(), a.deviceForgetCommand(),
		a.deviceCaptureCommand(), a.credentialsCommand())
}

func (a *app) deviceListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list [FILTER]", Short: "List the devices whose endpoint, manufacturer, serial number or software has FILTER in it",
		Args: takes(cobra.MaximumNArgs(1), "at most one filter"),
	}
	limit := cmd.Flags().Int("limit", 0, "list at most so many devices (0: all)")
	f := a.addConsoleFlags(cmd, time.Minute)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *limit < 0 {
			return usagef("--limit %d is negative", *limit)
		}
		devices := []console.DeviceSummary{}
		err := a.ask(cmd.Context(), f, func(ctx context.Context, c *console.Client) (err error) {
			devices, err = listDevices(ctx, c, strings.Join(args, ""), *limit)
			return err
		})
		if err != nil {
			return err
		}
		return a.print(devices, func(w io.Writer) { printDevices(w, devices) })
	}
	return cmd
}

// listDevices reads page after page until there are limit devices or no more.
func listDevices(ctx context.Context, c *console.Client, filter string, limit int) ([]console.DeviceSummary, error) {
	const page = 500
	devices := []console.DeviceSummary{}
	q := console.ListQuery{Filter: filter}
	for {
		q.Limit = page
		if limit > 0 {
			q.Limit = min(page, limit-len(devices))
		}
		list, err := c.List(ctx, q)
		if err != nil {
			return nil, err
		}
		devices = append(devices, list.Devices...)
		if list.Next == "" || limit > 0 && len(devices) >= limit {
			return devices, nil
		}
		q.After = list.Next
	}
}

func printDevices(w io.Writer, devices []console.DeviceSummary) {
	if len(devices) == 0 {
		fmt.Fprintln(w, "no devices")
		return
	}
	rows := make([][]string, len(devices))
	for i, d := range devices {
		model := d.RootDataModel
		if !d.Discovered && !d.Native() {
			model = "discovering"
		}
		rows[i] = []string{printable(d.Endpoint), d.Kind, printable(d.Manufacturer), model, printable(d.SoftwareVersion), d.Stage,
			d.Transport, utc(d.LastHeard)}
	}
	table(w, []string{"ENDPOINT", "KIND", "MANUFACTURER", "MODEL", "SOFTWARE", "STAGE", "TRANSPORT", "LAST HEARD"}, rows)
}

// deviceAction returns a subcommand that does one thing with one device.
func (a *app) deviceAction(use, short string, timeout time.Duration, act func(ctx context.Context, c *console.Client, endpoint string) error) *cobra.Command {
	cmd := &cobra.Command{Use: use + " ENDPOINT", Short: short, Args: takes(cobra.ExactArgs(1), "one endpoint id")}
	f := a.addConsoleFlags(cmd, timeout)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.ask(cmd.Context(), f, func(ctx context.Context, c *console.Client) error { return act(ctx, c, args[0]) })
	}
	return cmd
}

func (a *app) deviceShowCommand() *cobra.Command {
	return a.deviceAction("show", "Show identity, state and reachability of a device", 30*time.Second,
		func(ctx context.Context, c *console.Client, endpoint string) error {
			d, err := c.Show(ctx, endpoint)
			if err != nil {
				return err
			}
			return a.print(d, func(w io.Writer) { printDevice(w, d) })
		})
}

func printDevice(w io.Writer, d console.DeviceDetail) {
	if d.Native() {
		printNative(w, d)
		return
	}
	discovered := "not yet"
	if d.Discovered {
		discovered = fmt.Sprintf("%s, %d parameters", utc(d.DiscoveredAt), d.Parameters)
	}
	if d.DiscoveryTrouble != "" {
		discovered += "; " + d.DiscoveryTrouble
	}
	pairs := [][2]string{
		{"Endpoint", d.Endpoint}, {"Kind", d.Kind}, {"Manufacturer", d.Manufacturer}, {"OUI", d.OUI},
		{"Product class", d.ProductClass}, {"Serial number", d.SerialNumber},
		{"Hardware", d.HardwareVersion}, {"Software", d.SoftwareVersion},
		{"Data model", strings.TrimSpace(d.RootDataModel + " " + d.DataModelVersion)}, {"CWMP version", d.CWMPVersion},
		{"Stage", d.Stage}, {"First Inform", utc(d.FirstInform)},
		{"Last Inform", strings.TrimSpace(utc(d.LastInform) + " " + strings.Join(d.LastEvents, ", "))},
		{"Next Inform", utc(d.NextInform)},
		{"Last session", utc(d.LastSession)},
		{"Reachability", d.Reachability}, {"Discovered", discovered},
		{"Watched", strconv.Itoa(d.Watched)},
		{"Notifications", strings.Join(d.Notifications, ", ")},
		{"Mappings", d.Mappings}, {"Profiles", strings.Join(d.Profiles, ", ")},
		{"Learnt", strings.Join(d.Learnt, "; ")},
		{"RPCs", strings.Join(d.SupportedRPCs, ", ")}, {"Unsupported RPCs", strings.Join(d.UnsupportedRPCs, ", ")},
		{"Refused settings", strings.Join(d.RefusedSettings, "; ")},
		{"Conflict", d.Conflict},
	}
	printPairs(w, pairs)
}

// printNative prints what is known of a native agent.
func printNative(w io.Writer, d console.DeviceDetail) {
	authenticated := "no: it is taken at its word"
	if d.Authenticated {
		authenticated = "yes, by the transport"
	}
	printPairs(w, [][2]string{
		{"Endpoint", d.Endpoint}, {"Kind", d.Kind}, {"Stage", d.Stage}, {"Reachability", d.Reachability}, {"Authenticated", authenticated},
		{"First heard", utc(d.FirstHeard)}, {"Last heard", strings.TrimSpace(utc(d.LastHeard) + " " + d.Transport)},
		{"Waiting", fmt.Sprintf("%d records, %d bytes", d.WaitingRecords, d.WaitingBytes)},
	})
}

func printPairs(w io.Writer, pairs [][2]string) {
	for i := range pairs {
		pairs[i][1] = printable(pairs[i][1])
	}
	list(w, pairs...)
}

func (a *app) deviceRefreshCommand() *cobra.Command {
	return a.deviceAction("refresh", "Read a device's whole parameter tree again", 6*time.Minute,
		func(ctx context.Context, c *console.Client, endpoint string) error {
			p := a.working("reading %s", printable(endpoint))
			d, err := c.Refresh(ctx, endpoint)
			p.done()
			if err != nil {
				return err
			}
			return a.print(d, func(w io.Writer) {
				fmt.Fprintf(w, "%s was read: %d parameters\n", printable(d.Endpoint), d.Parameters)
			})
		})
}

func (a *app) deviceForgetCommand() *cobra.Command {
	return a.deviceAction("forget", "Drop everything kept of a device; if it informs again it is new", 30*time.Second,
		func(ctx context.Context, c *console.Client, endpoint string) error {
			if err := c.Forget(ctx, endpoint); err != nil {
				return err
			}
			return a.print(map[string]string{"forgotten": endpoint}, func(w io.Writer) {
				fmt.Fprintf(w, "%s is forgotten\n", printable(endpoint))
			})
		})
}
