package main

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/credential"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/store/bolt"
	"github.com/uspbridge/uspbridge/store/seal"
)

const consoleToken = "0123456789abcdef"

// openStore is a store of its own for a test.
func openStore(t *testing.T) store.Store {
	t.Helper()
	st, err := bolt.Open(bolt.Config{Path: filepath.Join(t.TempDir(), "db"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

// credentialsConsole is a console with credentials only, and its keyring.
func credentialsConsole(t *testing.T) (url string, k *credential.Keyring) {
	t.Helper()
	st := openStore(t)
	var err error
	if k, err = credential.New(t.Context(), credential.Config{Store: st, Sealer: seal.Random()}); err != nil {
		t.Fatal(err)
	}
	c, err := console.New(console.Config{Token: consoleToken, Fleet: fleet{}, Credentials: keyring{k},
		Ready: func() []console.Check { return nil }, Gatherer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(c.Handler())
	t.Cleanup(s.Close)
	return s.URL, k
}

// TestCredentialCommands: set, list, import and remove as an operator types them;
// no password is ever shown.
func TestCredentialCommands(t *testing.T) {
	url, k := credentialsConsole(t)
	dir := t.TempDir()
	file := func(name, content string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	secret := file("secret", "s3cret\nanother line")
	good := file("good.csv", "device,username,password\n00259E-X-1,u,s3cret\n00259E-X-2,u,s3cret\n*-*-S*,all,s3cret\n")
	bad := file("bad.csv", "device,username,password\n00259E-X-9,u,s3cret\n00259E-X,u,s3cret\n00259E-X-8,,s3cret\n")
	tests := []struct {
		args   string
		code   int
		output string // is in stdout or stderr
	}{
		{"device credentials", exitUsage, "needs a subcommand: import, list, remove, set"},
		{"device credentials list", exitDone, "no credentials"},
		{"device credentials set 00259E-X", exitUsage, "is not OUI-PRODUCTCLASS-SERIALNUMBER"},
		{"device credentials set 00259E-X-1", exitUsage, "name the user with --username"},
		{"device credentials set 00259E-X-1 --username u", exitUsage, "give it with --password-file"},
		{"device credentials set 00259E-X-1 --username u --password-file " + file("empty", "\n"), exitFailed, "the password is empty"},
		{"device credentials set 00259E-X-1 --username {mac} --password-file " + secret, exitFailed, "only {oui}, {product_class} and {serial}"},
		{"device credentials set 00259E-X-1 --username u --password-file " + secret, exitDone, "00259E-X-1 has its credentials"},
		{"device credentials set 00259e-*-* --username {oui}-{serial} --password-file " + secret + " --json", exitDone, `"added": 1`},
		{"device credentials list --json", exitDone, `"rule": true`},
		{"device credentials list x-1", exitDone, "00259E-X-1  device  u"},
		{"device credentials import " + bad, exitFailed, "bad.csv:3: \"00259E-X\" is not OUI-PRODUCTCLASS-SERIALNUMBER"},
		{"device credentials import " + bad, exitFailed, "bad.csv:4: there is no user name\nnothing was imported"},
		{"device credentials import " + dir + "/missing.csv", exitFailed, "no such file"},
		{"device credentials import " + file("none.yaml", "# nothing\n"), exitFailed, "no entry in it"},
		{"device credentials import --check " + good, exitDone, "3 entries, nothing wrong with them"},
		{"device credentials import " + good, exitDone, "3 entries: 2 added, 0 changed, 1 were there already"},
		{"device credentials import --json " + good, exitDone, `"same": 3`},
		{"device credentials remove *-*-S*", exitDone, "the credential of *-*-S* is removed"},
		{"device credentials remove *-*-S*", exitFailed, "there is no such credential"},
		{"device credentials remove x", exitFailed, "is not OUI-PRODUCTCLASS-SERIALNUMBER"},
		{"device credentials list --limit 1", exitDone, "00259E-X-1"},
	}
	for _, tt := range tests {
		args := strings.Fields(tt.args)
		if len(args) > 2 {
			args = append(args, "--console", url)
		}
		got := runApp(t.Context(), []string{envToken + "=" + consoleToken}, args...)
		if got.code != tt.code || !strings.Contains(got.stdout+got.stderr, tt.output) {
			t.Errorf("%s: exit %d\n%s%s\nwant exit %d and %q", tt.args, got.code, got.stdout, got.stderr, tt.code, tt.output)
		}
		if strings.Contains(got.stdout+got.stderr, "s3cret") {
			t.Errorf("%s shows a password:\n%s%s", tt.args, got.stdout, got.stderr)
		}
	}
	a, err := k.Find(t.Context(), cwmp.DeviceID{OUI: "00259E", ProductClass: "X", SerialNumber: "2"}, "u")
	if err != nil || a.Password != "s3cret" {
		t.Errorf("an imported credential: %+v, %v", a, err)
	}
	if got := runApp(t.Context(), nil, "device", "credentials", "list", "--console", url); got.code != exitFailed || !strings.Contains(got.stderr, "token") {
		t.Errorf("without the token: exit %d, %s", got.code, got.stderr)
	}
}

// TestImportManyCredentials: a file of more entries than one request takes is
// imported in several, and all are there.
func TestImportManyCredentials(t *testing.T) {
	const entries = 3000
	url, k := credentialsConsole(t)
	var b strings.Builder
	for i := range entries {
		fmt.Fprintf(&b, "- {oui: 00259E, product_class: HG8245A, serial_number: \"4857%012d\", username: cpe, password: '%s'}\n", i, strings.Repeat("é\"", 20))
	}
	name := filepath.Join(t.TempDir(), "many.yaml")
	if err := os.WriteFile(name, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	got := runApp(t.Context(), []string{envToken + "=" + consoleToken}, "device", "credentials", "import", name, "--json", "--console", url)
	var done imported
	if err := json.Unmarshal([]byte(got.stdout), &done); err != nil || done.Entries != entries || done.Added != entries {
		t.Fatalf("exit %d: %s%s", got.code, got.stdout, got.stderr)
	}
	n := 0
	if err := k.List(t.Context(), "", "", func(credential.Listed) bool { n++; return true }); err != nil || n != entries {
		t.Errorf("%d credentials are there, %v; want %d", n, err, entries)
	}
}
