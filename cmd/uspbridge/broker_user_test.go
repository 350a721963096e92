package main

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp/broker"
)

// brokerConsole is a console of a bridge with an embedded broker, or without one.
func brokerConsole(t *testing.T, users console.BrokerUsers) (url string) {
	t.Helper()
	c, err := console.New(console.Config{Token: consoleToken, Fleet: fleet{}, BrokerUsers: users,
		Ready: func() []console.Check { return nil }, Gatherer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(c.Handler())
	t.Cleanup(s.Close)
	return s.URL
}

// TestBrokerUserCommands: add, list and remove as an operator types them; no password
// is ever shown.
func TestBrokerUserCommands(t *testing.T) {
	book := &broker.Book{Store: openStore(t), Fixed: map[string]broker.Account{"fixed": {Username: "fixed", Endpoint: "os::1-1"}}}
	bridged := func(_ context.Context, id usp.EndpointID) (bool, error) { return id == "ops::1-B-1", nil }
	on, off := brokerConsole(t, brokerUsers{book, bridged}), brokerConsole(t, (*embedded)(nil).users(bridged))
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a password of theirs\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		url, args string
		code      int
		output    string // is in stdout or stderr
	}{
		{on, "broker user", exitUsage, "needs a subcommand: add, list, remove"},
		{on, "broker user list", exitDone, "no users"},
		{on, "broker user add a", exitUsage, "with --endpoint ENDPOINT"},
		{on, "broker user add a --endpoint os::1-2", exitUsage, "give it with --password-file"},
		{on, "broker user add a --endpoint os::1/2 --password-file " + secret, exitFailed, "have a meaning in topics"},
		{on, "broker user add a --endpoint os::1-2 --password-file " + secret, exitDone, "a can log in as os::1-2"},
		{on, "broker user add b/c --endpoint os::1-3 --json --password-file " + secret, exitDone, `"added": "b/c"`},
		{on, "broker user add d --endpoint ops::1-B-1 --password-file " + secret, exitDone, "warning: ops::1-B-1 is a device that the bridge presents as an agent"},
		{on, "broker user remove d", exitDone, "d is removed"},
		{on, "broker user add fixed --endpoint os::1-3 --password-file " + secret, exitFailed, "is in a file of the configuration"},
		{on, "broker user list os::1-3", exitDone, "b/c   os::1-3"},
		{on, "broker user list --json", exitDone, `"username": "a"`},
		{on, "broker user remove b/c", exitDone, "b/c is removed"},
		{on, "broker user remove b/c", exitFailed, "there is no such user"},
		{off, "broker user list", exitFailed, "the embedded broker is off; set usp.broker.listen"},
	} {
		got := runApp(t.Context(), []string{envConsole + "=" + tt.url, envToken + "=" + consoleToken}, strings.Fields(tt.args)...)
		if got.code != tt.code || !strings.Contains(got.stdout+got.stderr, tt.output) {
			t.Errorf("%s: exit %d, want %d with %q in:\n%s%s", tt.args, got.code, tt.code, tt.output, got.stdout, got.stderr)
		}
		if strings.Contains(got.stdout+got.stderr, "a password of theirs") {
			t.Errorf("%s shows the password", tt.args)
		}
	}
	a, err := book.Find(t.Context(), "a")
	if err != nil || a.Endpoint != "os::1-2" {
		t.Errorf("in the store is %+v, %v", a, err)
	}
}
