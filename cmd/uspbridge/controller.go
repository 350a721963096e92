package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/mtp/uds"
)

const defaultBridge = "ws://127.0.0.1:7548/usp"

// agentFlags are the flags of commands that talk to one agent of the bridge as
// a USP controller.
type agentFlags struct {
	to, url, token string
	timeout        time.Duration
}

func (a *app) addAgentFlags(cmd *cobra.Command) *agentFlags {
	f := new(agentFlags)
	cmd.Flags().StringVar(&f.to, "to", "", "endpoint id of the agent (required)")
	cmd.Flags().StringVar(&f.url, "bridge", a.env(envBridge, defaultBridge), "USP WebSocket URL of the bridge, or unix:///path of its socket")
	a.addTokenFlag(cmd, &f.token)
	cmd.Flags().DurationVar(&f.timeout, "timeout", 45*time.Second, "how long to wait for the answer")
	cmd.PreRunE = func(_ *cobra.Command, args []string) error {
		for _, arg := range args {
			if !utf8.ValidString(arg) {
				return usagef("%q is not UTF-8, which all text in USP is", arg)
			}
		}
		return nil
	}
	return f
}

// session is a connection of the command line to the bridge, for one agent.
type session struct {
	*client.Client
	agent usp.EndpointID
}

// withOpenAgent connects as the built-in controller and runs a command that
// watches its time itself.
func (a *app) withOpenAgent(ctx context.Context, f *agentFlags, run func(ctx context.Context, s session) error) error {
	if f.to == "" {
		return usagef("name the agent with --to ENDPOINT; `uspbridge device list` shows those there are")
	}
	if err := usp.EndpointID(f.to).Validate(); err != nil {
		return usagef("--to: %v", err)
	}
	if err := checkBridgeURL(f.url); err != nil {
		return err
	}
	if err := checkTimeout(f.timeout); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, f.timeout)
	c, err := client.Dial(limited, client.Config{URL: f.url, Controller: agent.BuiltinController, Token: a.tokenOr(f.token)})
	cancel()
	if err != nil {
		return explainDial(err)
	}
	defer c.Close()
	if err := a.checkHosted(ctx, f); err != nil {
		return err
	}
	return explainFailure(run(ctx, session{c, usp.EndpointID(f.to)}))
}

// checkBridgeURL wants the URL of a WebSocket server or of a Unix domain socket.
func checkBridgeURL(text string) error {
	path, socket := strings.CutPrefix(text, uds.Scheme)
	if !socket {
		return checkURL("--bridge", text, defaultBridge+" or unix:///run/uspbridge/usp.sock", "ws", "wss")
	}
	if err := uds.CheckPath(path); err != nil {
		return usagef("--bridge: %v", err)
	}
	return nil
}

// explainDial says what to do about a bridge that could not be connected to.
func explainDial(err error) error {
	var refused *client.RefusedError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; start one with `uspbridge serve`, or name its WebSocket server or socket with --bridge", err)
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return fmt.Errorf("%w; the environment variable SSL_CERT_FILE can name a PEM file with its CA", err)
	case errors.As(err, new(tls.RecordHeaderError)):
		return fmt.Errorf("%w; it speaks no TLS: name it by a URL that begins with ws://", err)
	case errors.As(err, &refused) && (refused.Status == http.StatusNotFound || refused.Status == http.StatusMethodNotAllowed):
		return fmt.Errorf("%w; --bridge names the bridge's WebSocket server with its path, for example %s", err, defaultBridge)
	case errors.As(err, new(*net.DNSError)), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Errorf("%w; --bridge says where it is, --timeout how long to try", err)
	}
	return err
}

// checkHosted fails at once for an endpoint that the bridge does not have: over
// USP a record for it is not answered (TR-369 R-E2E.1), which looks like a slow
// device. It asks the console where that is known to be the same bridge's: both at
// their default addresses, or both in the environment. Where that says nothing, USP
// has to.
func (a *app) checkHosted(ctx context.Context, f *agentFlags) error {
	both := a.env(envConsole, "") != "" && f.url == a.env(envBridge, "")
	if f.url != defaultBridge && !both {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	client := &console.Client{URL: a.env(envConsole, defaultConsole), Token: a.tokenOr(f.token)}
	if _, err := client.Show(ctx, f.to); errors.Is(err, console.ErrUnknownDevice) {
		return fmt.Errorf("the bridge has no device %s; `uspbridge device list` shows those there are", f.to)
	}
	return nil
}

// explainFailure names the parameters at fault where the agent has refused a
// whole message because of some.
func explainFailure(err error) error {
	var refused *usp.Error
	if !errors.As(err, &refused) || len(refused.Params) == 0 {
		return err
	}
	var errs []pathError
	for _, p := range refused.Params {
		errs = append(errs, pathError{p.Param, p.Code, p.Msg})
	}
	return failures(errs)
}

// withAgent connects as the built-in controller and runs one command within its
// time.
func (a *app) withAgent(ctx context.Context, f *agentFlags, run func(ctx context.Context, s session) error) error {
	return a.withOpenAgent(ctx, f, func(ctx context.Context, s session) error {
		ctx, cancel := context.WithTimeout(ctx, f.timeout)
		defer cancel()
		p := a.working("waiting for %s", printable(f.to))
		err := run(ctx, s)
		p.done()
		if err != nil && errors.Is(ctx.Err(), context.Canceled) {
			return errors.New("interrupted before the answer came; what was asked for may still be done")
		}
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fmt.Errorf("%s did not answer within %v: see `uspbridge device show %s` for whether the bridge knows it and reaches it", f.to, f.timeout, f.to)
		}
		return err
	})
}

// pathError is one path of a message that failed.
type pathError struct {
	Path    string        `json:"path"`
	Code    usp.ErrorCode `json:"code"`
	Message string        `json:"message"`
}

func newPathError(path string, code uint32, message string) *pathError {
	return &pathError{path, usp.ErrorCode(code), message}
}

// String begins with the path, which many messages do by themselves.
func (e pathError) String() string {
	if strings.HasPrefix(e.Message, e.Path+" ") {
		return fmt.Sprintf("%s (USP error %d)", printable(e.Message), e.Code)
	}
	return fmt.Sprintf("%s: %s (USP error %d)", printable(e.Path), printable(e.Message), e.Code)
}

// failures makes the command's error of the paths that failed, a line each, nil if
// none did.
func failures(errs []pathError) error {
	if len(errs) == 0 {
		return nil
	}
	var lines, hints []string
	for _, e := range errs {
		lines = append(lines, e.String())
		if hint := e.hint(); hint != "" && !slices.Contains(hints, hint) {
			hints = append(hints, hint)
		}
	}
	return messages(append(lines, hints...))
}

// messages are several lines that tell of one failure.
type messages []string

func (m messages) Error() string { return strings.Join(m, "\n") }

// hint says what to do about a path that is not there, "" about other failures.
func (e pathError) hint() string {
	switch e.Code {
	case usp.ErrInvalidPath, usp.ErrUnsupportedParameter, usp.ErrObjectDoesNotExist:
	default:
		return ""
	}
	switch {
	case !strings.HasPrefix(e.Path, "Device."):
		return "all paths begin with Device.; `uspbridge mapping explain` shows where a parameter of the CPE is seen"
	case strings.HasSuffix(e.Path, ")"):
		return "`uspbridge supported` lists the commands that an agent has, `uspbridge operate` runs them"
	}
	return "`uspbridge supported` lists what an agent's objects have, `uspbridge instances` the rows there are"
}

// result prints what a command got and what failed of it. With --json both are
// in the one document; the error only makes the exit code.
func (a *app) result(v any, errs []pathError, text func(w io.Writer)) error {
	if err := a.print(v, text); err != nil {
		return err
	}
	return failures(errs)
}

// assignment is one Path=Value of a command line.
type assignment struct{ object, param, value string }

// parseAssignment splits Device.WiFi.SSID.1.SSID=home into object, parameter and
// value. Dots and equal signs inside brackets belong to a search expression.
func parseAssignment(text string) (assignment, error) {
	equal, dot := -1, -1
	depth, quoted := 0, false
	for i := 0; i < len(text) && equal < 0; i++ {
		switch c := text[i]; {
		case c == '"' && depth > 0:
			quoted = !quoted
		case quoted:
		case c == '[':
			depth++
		case c == ']':
			depth--
		case c == '.' && depth == 0:
			dot = i
		case c == '=' && depth == 0:
			equal = i
		}
	}
	if equal < 0 {
		return assignment{}, usagef("%q is not PATH=VALUE", text)
	}
	if dot < 0 || dot+1 == equal {
		return assignment{}, usagef("%q: %q is not the path of a parameter", text, text[:equal])
	}
	return assignment{text[:dot+1], text[dot+1 : equal], text[equal+1:]}, nil
}

// parseArguments reads Name=Value arguments.
func parseArguments(args []string) (map[string]string, error) {
	m := make(map[string]string, len(args))
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return nil, usagef("%q is not NAME=VALUE", arg)
		}
		if _, twice := m[name]; twice {
			return nil, usagef("%s is given twice", name)
		}
		m[name] = value
	}
	return m, nil
}

// printParams writes path=value lines in the order of the paths, numbers by
// their value. They can be given to `uspbridge set` again.
func printParams(w io.Writer, params map[string]string) {
	for _, path := range slices.SortedFunc(maps.Keys(params), comparePaths) {
		fmt.Fprintf(w, "%s=%s\n", printable(path), printable(params[path]))
	}
}

// comparePaths orders paths segment by segment, instance numbers by value.
func comparePaths(a, b string) int {
	for a != "" && b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		if x == y {
			continue
		}
		if isNumber(x) && isNumber(y) && len(x) != len(y) {
			return len(x) - len(y)
		}
		return strings.Compare(x, y)
	}
	return len(a) - len(b)
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
