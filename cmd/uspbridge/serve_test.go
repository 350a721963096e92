package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/store"
)

// patience bounds everything that a test waits for.
const patience = 30 * time.Second

// running is a bridge with the demo's CPE, in this process.
type running struct {
	commands []string      // what it printed to try
	stop     func() error  // ends it in good order
	ended    chan struct{} // closed when it has ended
}

// startDemo runs `serve --demo` on free ports and returns when it has printed
// what to try; more are arguments besides.
func startDemo(t *testing.T, dir string, more ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, stdout := io.Pipe()
	var stderr syncBuffer
	a := &app{program: "uspbridge", stdout: stdout, stderr: &stderr}
	r := &running{ended: make(chan struct{})}
	code := 0
	go func() {
		defer close(r.ended)
		code = a.run(ctx, append([]string{"serve", "--demo", "--data_dir=" + dir, "--cwmp.listen=127.0.0.1:0",
			"--usp.mtp.websocket.listen=127.0.0.1:0", "--console.listen=127.0.0.1:0"}, more...))
		stdout.Close()
	}()
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if line := strings.TrimSpace(lines.Text()); strings.HasPrefix(line, "uspbridge ") {
				r.commands = append(r.commands, line)
			} else if strings.HasPrefix(line, "The console") {
				break
			}
		}
		go func() { _, _ = io.Copy(io.Discard, out) }() // until the writer closes
	}()
	r.stop = func() error {
		cancel()
		select {
		case <-r.ended:
		case <-time.After(patience):
			t.Fatalf("the bridge did not end:\n%s", stderr.String())
		}
		if code != exitDone {
			t.Errorf("exit %d:\n%s", code, stderr.String())
		}
		return nil
	}
	select {
	case <-printed:
	case <-time.After(patience):
		t.Fatalf("the bridge printed nothing to try:\n%s", stderr.String())
	}
	if len(r.commands) == 0 {
		t.Fatalf("the bridge ended with exit %d and nothing to try:\n%s", code, stderr.String())
	}
	return r
}

// flag returns the value that the printed commands give a flag.
func (r *running) flag(name string) string {
	for _, c := range r.commands {
		words := shellWords(c)
		for i, w := range words {
			if w == name {
				return words[i+1]
			}
		}
	}
	return ""
}

// TestDemo: what `serve --demo` prints works as it stands, the bridge ends in good
// order, and after a restart everything is there again.
func TestDemo(t *testing.T) {
	dir := t.TempDir()
	r := startDemo(t, dir)
	if len(r.commands) != 3 {
		t.Fatalf("%d commands printed, want 3: %v", len(r.commands), r.commands)
	}
	for _, c := range r.commands {
		got := runApp(t.Context(), nil, shellWords(c)[1:]...)
		if got.code != exitDone || got.stdout == "" {
			t.Errorf("%s: exit %d\n%s%s", c, got.code, got.stdout, got.stderr)
		}
	}
	console := "--console=" + r.flag("--console")
	before := listJSON(t, console)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}

	r = startDemo(t, dir)
	after := listJSON(t, "--console="+r.flag("--console"))
	if len(before) != 2 || len(after) != 2 || before[0].Endpoint != after[0].Endpoint || before[1].Endpoint != after[1].Endpoint {
		t.Errorf("before the restart %v, after it %v", before, after)
	}
	// The value set before the restart is on the CPE, and in what is known of it.
	set := shellWords(r.commands[2])
	to := set[len(set)-2]
	got := runApp(t.Context(), nil, "get", "--bridge", r.flag("--bridge"), "--to", to, "Device.WiFi.SSID.1.SSID")
	if want := "Device.WiFi.SSID.1.SSID=home\n"; got.stdout != want {
		t.Errorf("get after the restart: exit %d, %q, want %q\n%s", got.code, got.stdout, want, got.stderr)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

func listJSON(t *testing.T, consoleFlag string) (devices []console.DeviceSummary) {
	t.Helper()
	got := runApp(t.Context(), nil, "device", "list", "--json", consoleFlag)
	if err := json.Unmarshal([]byte(got.stdout), &devices); err != nil {
		t.Fatalf("device list: exit %d, %s: %v", got.code, got.stderr, err)
	}
	return devices
}

// agent returns the flags that name the first CPE's agent.
func (r *running) agent() []string {
	return []string{"--bridge", r.flag("--bridge"), "--to", r.flag("--to")}
}

// run runs a command with that agent, which must succeed.
func (r *running) run(t *testing.T, command string, args ...string) ran {
	t.Helper()
	got := runApp(t.Context(), nil, append(append([]string{command}, r.agent()...), args...)...)
	if got.code != exitDone {
		t.Errorf("%s %v: exit %d\n%s%s", command, args, got.code, got.stdout, got.stderr)
	}
	return got
}

// TestRows creates a row on the CPE, reads it and deletes it.
func TestRows(t *testing.T) {
	r := startDemo(t, t.TempDir())
	defer func() { _ = r.stop() }()
	row := strings.TrimSpace(r.run(t, "add", "Device.NAT.PortMapping.", "ExternalPort=8080", "InternalPort=80", "Protocol=TCP", "InternalClient=192.168.1.7").stdout)
	if !strings.HasPrefix(row, "Device.NAT.PortMapping.") {
		t.Fatalf("add: %q", row)
	}
	if got := r.run(t, "get", row+"ExternalPort"); !strings.HasSuffix(got.stdout, "=8080\n") {
		t.Errorf("get of the new row: %s", got.stdout)
	}
	if got := r.run(t, "delete", row); strings.TrimSpace(got.stdout) != row {
		t.Errorf("delete: %s", got.stdout)
	}
}

// TestController runs the commands that read and operate, and what refuses them.
func TestController(t *testing.T) {
	r := startDemo(t, t.TempDir())
	defer func() { _ = r.stop() }()
	agent := r.agent()
	if got := r.run(t, "instances", "Device.WiFi.SSID."); !strings.Contains(got.stdout, "Device.WiFi.SSID.1.") {
		t.Errorf("instances: %s", got.stdout)
	}
	if got := r.run(t, "supported", "Device.WiFi."); !strings.Contains(got.stdout, "Device.WiFi.SSID.{i}.SSID") {
		t.Errorf("supported: %s", got.stdout)
	}
	if got := r.run(t, "operate", "--wait", "Device.X_USPBRIDGE_CWMP.Refresh()"); !strings.Contains(got.stdout, "done") {
		t.Errorf("operate: %s", got.stdout)
	}
	wrong := runApp(t.Context(), nil, append([]string{"set"}, append(agent, "Device.WiFi.SSID.1.Enable=perhaps")...)...)
	if wrong.code != exitFailed || !strings.Contains(wrong.stderr, "Device.WiFi.SSID.1.") {
		t.Errorf("set of a wrong value: exit %d\n%s%s", wrong.code, wrong.stdout, wrong.stderr)
	}
	missing := runApp(t.Context(), nil, append([]string{"get"}, append(agent, "Device.Nonsense", "Device.DeviceInfo.Manufacturer", "--json")...)...)
	var result getResult
	if err := json.Unmarshal([]byte(missing.stdout), &result); err != nil || missing.code != exitFailed || len(result.Errors) != 1 || len(result.Values) != 1 {
		t.Errorf("get of a path that is not there: exit %d, %v\n%s%s", missing.code, err, missing.stdout, missing.stderr)
	}
	unknown := runApp(t.Context(), nil, "get", "--bridge", r.flag("--bridge"), "--to", "os::none-1", "--timeout", "1s", "Device.")
	if unknown.code != exitFailed || !strings.Contains(unknown.stderr, "device show") {
		t.Errorf("an agent that is not there: exit %d: %s", unknown.code, unknown.stderr)
	}
}

// TestSubscribe: a change made by another command is printed.
func TestSubscribe(t *testing.T) {
	r := startDemo(t, t.TempDir())
	defer func() { _ = r.stop() }()
	agent := r.agent()
	var stdout, stderr syncBuffer
	stderr.wait = make(chan struct{})
	ended := make(chan int, 1)
	a := &app{program: "uspbridge", stdout: &stdout, stderr: &stderr}
	go func() {
		ended <- a.run(t.Context(), append([]string{"subscribe", "--count", "1", "--for", patience.String(), "Device.WiFi.SSID.1.SSID"}, agent...))
	}()
	select {
	case <-stderr.wait: // it says so when it has subscribed
	case <-time.After(patience):
		t.Fatal("not subscribed")
	}
	if got := runApp(t.Context(), nil, append([]string{"set", "Device.WiFi.SSID.1.SSID=changed"}, agent...)...); got.code != exitDone {
		t.Fatalf("set: exit %d\n%s", got.code, got.stderr)
	}
	select {
	case code := <-ended:
		if code != exitDone || !strings.Contains(stdout.String(), "ValueChange Device.WiFi.SSID.1.SSID=changed") {
			t.Errorf("exit %d, printed %q\n%s", code, stdout.String(), stderr.String())
		}
	case <-time.After(patience + 5*time.Second):
		t.Fatalf("no notification: %s", stderr.String())
	}
	left := runApp(t.Context(), nil, append([]string{"instances", "Device.LocalAgent.Subscription."}, agent...)...)
	if left.stdout != "" {
		t.Errorf("subscription left behind: %s", left.stdout)
	}
}

// TestServeRefused: what keeps a bridge from starting is told with its key.
func TestServeRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("no store"), 0o600); err != nil {
		t.Fatal(err)
	}
	free := map[string]string{"data_dir": filepath.Join(dir, "data"), "cwmp.listen": "127.0.0.1:0",
		"usp.mtp.websocket.listen": "127.0.0.1:0", "console.listen": "127.0.0.1:0"}
	tests := []struct{ key, value, want string }{
		{"cwmp.listen", taken, "cwmp.listen: listen tcp " + taken},
		{"console.listen", taken, "console.listen: listen tcp " + taken},
		{"usp.mtp.websocket.listen", taken, "usp.mtp.websocket: "},
		{"data_dir", filepath.Join(file, "x"), "data_dir: "},
		{"store.path", file, "store.path"},
	}
	for _, tt := range tests {
		t.Run(tt.key, func(t *testing.T) {
			args := []string{"serve", "--" + tt.key + "=" + tt.value}
			for key, value := range free {
				if key != tt.key {
					args = append(args, "--"+key+"="+value)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if got := runApp(ctx, nil, args...); got.code != exitFailed || !strings.Contains(got.stderr, tt.want) {
				t.Errorf("exit %d, want %q in:\n%s", got.code, tt.want, got.stderr)
			}
		})
	}
}

// TestDemoAuthenticates: where CPE have to authenticate and the listener speaks
// TLS, the demo's CPE do; where they cannot, the start says so.
func TestDemoAuthenticates(t *testing.T) {
	dir := t.TempDir()
	tlsFiles(t, dir)
	secure := []string{"--cwmp.tls.cert=" + filepath.Join(dir, "acs.pem"), "--cwmp.tls.key=" + filepath.Join(dir, "acs.key")}
	for _, mode := range []string{"digest", "basic"} {
		t.Run(mode, func(t *testing.T) {
			r := startDemo(t, t.TempDir(), append(secure, "--cwmp.auth.mode="+mode)...)
			if got := r.run(t, "get", "Device.DeviceInfo.SoftwareVersion"); got.stdout != "Device.DeviceInfo.SoftwareVersion=2.4.7\n" {
				t.Errorf("get: %q", got.stdout)
			}
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
		})
	}
	asks := append(secure, "--cwmp.tls.client_ca="+filepath.Join(dir, "cpe-ca.pem"))
	for _, key := range []string{"--cwmp.auth.mode=certificate", "--cwmp.auth.certificate.policy=required", "--cwmp.tls.client_auth=require"} {
		args := append([]string{"serve", "--demo", "--cwmp.auth.mode=digest", "--data_dir=" + t.TempDir(), key}, asks...)
		got := runApp(t.Context(), nil, args...)
		if want := strings.Replace(strings.TrimPrefix(key, "--"), "=", " ", 1) + " asks for"; got.code != exitFailed || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: exit %d, want %d with %q in %s", key, got.code, exitFailed, want, got.stderr)
		}
	}
}

// TestUnknownPlaces: an endpoint that the bridge does not have is told at once,
// a path that an agent does not have with where to look.
func TestUnknownPlaces(t *testing.T) {
	r := startDemo(t, t.TempDir())
	environ := []string{envConsole + "=" + r.flag("--console"), envBridge + "=" + r.flag("--bridge")}
	for _, tt := range []struct{ to, path, want string }{
		{"os::none-1", "Device.WiFi.", "the bridge has no device os::none-1"},
		{r.flag("--to"), "Device.WiFii.", "`uspbridge supported` lists"},
	} {
		got := runApp(t.Context(), environ, "get", "--to", tt.to, tt.path)
		if got.code != exitFailed || !strings.Contains(got.stderr, tt.want) {
			t.Errorf("get --to %s %s: exit %d, want %d with %q in %s", tt.to, tt.path, got.code, exitFailed, tt.want, got.stderr)
		}
	}
	if got := r.run(t, "delete", "Device.NAT.PortMapping.77."); got.stdout != "there was nothing to delete\n" {
		t.Errorf("delete of a row that is not there: %q", got.stdout)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

// TestExplainListen: what to do is said of the address at fault.
func TestExplainListen(t *testing.T) {
	failed := func(key, network string, cause error) error {
		return fmt.Errorf("%s: %w", key, &net.OpError{Op: "listen", Net: network, Err: os.NewSyscallError("bind", cause)})
	}
	tests := []struct {
		err  error
		want string // ends with it
	}{
		{failed("console.listen", "tcp", syscall.EADDRINUSE), "in the file or with --console.listen"},
		{failed("usp.mtp.coap", "udp", syscall.EADDRINUSE), "in the file or with --usp.mtp.coap.listen"},
		{failed("usp.broker.websocket_listen", "tcp", syscall.EADDRINUSE), "in the file or with --usp.broker.websocket_listen"},
		{failed("cwmp.listen", "tcp", syscall.EACCES), "ports below 1024 need root or CAP_NET_BIND_SERVICE: set another in the file or with --cwmp.listen"},
		{failed("usp.mtp.uds", "unix", syscall.EACCES), "permission denied"},
		{failed("cwmp.listen", "tcp", syscall.EADDRNOTAVAIL), "set another, or none, as in :7547, for all"},
		{errors.New("store: damaged"), "store: damaged"},
	}
	for _, tt := range tests {
		if got := explainListen(tt.err); !strings.HasSuffix(got.Error(), tt.want) || !errors.Is(got, tt.err) {
			t.Errorf("%v: %v, want it to end with %q", tt.err, got, tt.want)
		}
	}
	if err := explainListen(nil); err != nil {
		t.Errorf("no error: %v", err)
	}
}

// fullDisk is a store that still reads.
type fullDisk struct{ store.Store }

func (fullDisk) Commit(context.Context, *store.Batch) error { return syscall.ENOSPC }

// TestStoreIsNotReady: a store that takes no changes is told as such.
func TestStoreIsNotReady(t *testing.T) {
	s := openStore(t)
	if got := checkStore(t.Context(), s); !got.OK || got.Detail != "" {
		t.Errorf("a store that works: %+v", got)
	}
	if got := checkStore(t.Context(), fullDisk{s}); got.OK || got.Detail != syscall.ENOSPC.Error() {
		t.Errorf("on a full disk: %+v", got)
	}
}
