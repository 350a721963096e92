package testenv

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// logTail is how much of the bridge's log a failed test shows, in bytes.
const logTail = 6 << 10

// Bridge is `uspbridge serve` as a child process.
type Bridge struct {
	t      testing.TB
	file   string // the program
	config Config
	dir    string // configuration, data and log
	at     addresses

	process *exec.Cmd     // nil while it does not run
	ended   chan struct{} // closed when process has ended
}

// startBridge starts a bridge with a new data directory.
func startBridge(t testing.TB, p *Program, c Config) *Bridge {
	t.Helper()
	b := &Bridge{t: t, file: p.Path(t), config: c, dir: t.TempDir()}
	t.Cleanup(b.end)
	for range 5 { // a port that was free may be taken by now
		b.at = freeAddresses(t)
		b.run()
		if b.ready() {
			return b
		}
		b.Kill()
		if !strings.Contains(b.log(), "address already in use") {
			break
		}
	}
	t.Fatalf("the bridge does not start:\n%s", b.log())
	return nil
}

// Restart starts the bridge again, after Kill or Stop, on the same addresses and
// data, and waits until it is ready.
func (b *Bridge) Restart() {
	b.t.Helper()
	b.run()
	if !b.ready() {
		b.t.Fatalf("the bridge does not start again:\n%s", b.tail())
	}
}

// Reconfigure changes configuration keys for the next start.
func (b *Bridge) Reconfigure(keys map[string]any) {
	all := maps.Clone(b.config.Keys)
	maps.Copy(all, keys)
	b.config.Keys = all
}

func (b *Bridge) run() {
	b.t.Helper()
	output, err := os.OpenFile(b.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		b.t.Fatal(err)
	}
	defer output.Close() // the child has its own descriptor
	b.process = exec.Command(b.file, "serve", "--config", b.config.write(b.t, b.dir, b.at))
	b.process.Stdout, b.process.Stderr = output, output
	if err := b.process.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.ended = make(chan struct{})
	go func(process *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		_ = process.Wait() // how it ended is in ProcessState
	}(b.process, b.ended)
}

// ready waits until the bridge says that it can do its work.
func (b *Bridge) ready() bool {
	answered := false
	within(b.t, Patience, func() bool {
		select {
		case <-b.ended:
			return true
		default:
		}
		status, _, err := b.Console("/readyz")
		answered = err == nil && status == http.StatusOK
		return answered
	})
	return answered
}

// Kill ends the bridge as a power failure does: kill -9.
func (b *Bridge) Kill() {
	b.t.Helper()
	b.signal(syscall.SIGKILL)
}

// Stop ends the bridge in good order.
func (b *Bridge) Stop() {
	b.t.Helper()
	b.signal(syscall.SIGTERM)
	if code := b.process.ProcessState.ExitCode(); code != 0 {
		b.t.Errorf("the bridge ended with exit %d", code)
	}
}

func (b *Bridge) signal(s syscall.Signal) {
	b.t.Helper()
	// An error means that it has ended, which is seen below.
	_ = b.process.Process.Signal(s)
	select {
	case <-b.ended:
	case <-time.After(Patience):
		_ = b.process.Process.Kill()
		b.t.Errorf("the bridge did not end within %v of %v", Patience, s)
		<-b.ended
	}
}

// Running reports whether the process lives.
func (b *Bridge) Running() bool {
	select {
	case <-b.ended:
		return false
	default:
		return true
	}
}

// end stops what runs and looks for what may in no test be in the log.
func (b *Bridge) end() {
	if b.process == nil {
		return
	}
	if b.Running() {
		b.Stop()
	}
	log := b.log()
	for _, sign := range []string{"\npanic: ", "panic=", "\nfatal error: ", "WARNING: DATA RACE"} {
		if at := strings.Index(log, sign); at >= 0 {
			b.t.Errorf("in the bridge's log:\n%s", log[at:min(len(log), at+logTail)])
		}
	}
	if b.t.Failed() {
		b.t.Logf("the end of the bridge's log:\n%s", b.tail())
	}
}

// CWMPAddress returns the host and port that CPE connect to.
func (b *Bridge) CWMPAddress() string { return b.at.cwmp }

// ACSURL returns where CPE inform to.
func (b *Bridge) ACSURL() string {
	if b.config.TLS != nil {
		return "https://" + b.at.cwmp + "/"
	}
	return "http://" + b.at.cwmp + "/"
}

// ConsoleURL returns where the console answers.
func (b *Bridge) ConsoleURL() string { return "http://" + b.at.console }

// Console asks the console for a page or a part of its API.
func (b *Bridge) Console(path string) (status int, body []byte, err error) {
	client := &http.Client{Timeout: Patience}
	defer client.CloseIdleConnections()
	req, err := http.NewRequest(http.MethodGet, b.ConsoleURL()+path, nil)
	if err != nil {
		return 0, nil, err
	}
	if b.config.Token != "" {
		req.Header.Set("Authorization", "Bearer "+b.config.Token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// StoreFile returns the file of the embedded store.
func (b *Bridge) StoreFile() string { return filepath.Join(b.dir, "data", "uspbridge.db") }

// Log returns all that the bridge has logged, over its restarts.
func (b *Bridge) Log() string { return b.log() }

// WebSocketURL returns where controllers connect.
func (b *Bridge) WebSocketURL() string { return "ws://" + b.at.websocket + "/usp" }

// WebSocketAddress returns the host and port that controllers connect to.
func (b *Bridge) WebSocketAddress() string { return b.at.websocket }

// ResidentBytes returns the memory that the bridge occupies.
func (b *Bridge) ResidentBytes() int64 {
	b.t.Helper()
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", b.process.Process.Pid))
	if err != nil {
		b.t.Fatal(err)
	}
	var total, resident int64
	if _, err := fmt.Sscan(string(statm), &total, &resident); err != nil {
		b.t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}

func (b *Bridge) logFile() string { return filepath.Join(b.dir, "log") }

func (b *Bridge) log() string {
	text, err := os.ReadFile(b.logFile())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (b *Bridge) tail() string {
	log := []byte(b.log())
	if len(log) <= logTail {
		return string(log)
	}
	log = log[len(log)-logTail:]
	_, log, _ = bytes.Cut(log, []byte("\n"))
	return string(log)
}
