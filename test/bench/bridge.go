package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// patience bounds what is waited for, each thing by itself.
const patience = 30 * time.Second

// bridge is `uspbridge serve` as a child process.
type bridge struct {
	binary   string
	dir      string
	settings string // more of the configuration's section cwmp, ", key: value"
	mtp      string // the same of usp.mtp
	usp      string // more of the section usp, on lines of its own
	profiler string // where profiles are taken, "" for not at all
	profiles string // directory for them
	client   http.Client

	cwmp, websocket, console, mqtt, coap string // addresses
	served                               string // where a controller is that the bridge connects to

	process *exec.Cmd
	ended   chan error
}

// newBridge chooses where a bridge will listen. Nothing is started.
func newBridge(binary, dir, profiles string) (*bridge, error) {
	b := &bridge{binary: binary, dir: dir, profiles: profiles, client: http.Client{Timeout: patience}}
	addresses := []*string{&b.cwmp, &b.websocket, &b.console, &b.mqtt, &b.served}
	if profiles != "" {
		addresses = append(addresses, &b.profiler)
	}
	for _, at := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // only when all are chosen, so that they differ
		*at = l.Addr().String()
	}
	var err error
	b.coap, err = freeUDP()
	return b, err
}

// config is the configuration file. Only what the measurement needs is not the
// default: CPE do not inform by themselves meanwhile.
const config = `data_dir: %q
cwmp: {listen: %q, inform_interval: 24h%s}
usp:
  mtp: {websocket: {listen: %q}%s}%s
  controllers: [{endpoint_id: %q, role: "Full Access"}]
console: {listen: %q}
mappings: {dir: %q}
`

// ages is a mapping file that says how old cached values may be.
const ages = `mapping: bench-ages
root: Device.
ages: {config: 0s, status: %[1]s, counter: %[1]s}
`

func (b *bridge) data() string { return filepath.Join(b.dir, "data") }

// configure writes the files that the bridge reads and returns the first.
func (b *bridge) configure(maxAge string) (string, error) {
	mappings, file := filepath.Join(b.dir, "mappings"), filepath.Join(b.dir, "uspbridge.yaml")
	text := fmt.Sprintf(config, b.data(), b.cwmp, b.settings, b.websocket, b.mtp, b.usp, controller, b.console, mappings)
	return file, errors.Join(
		os.MkdirAll(mappings, 0o700),
		os.WriteFile(filepath.Join(mappings, "ages.yaml"), fmt.Appendf(nil, ages, maxAge), 0o600),
		os.WriteFile(file, []byte(text), 0o600))
}

// start starts the bridge and waits until it is ready.
func (b *bridge) start(ctx context.Context, maxAge string) error {
	file, err := b.configure(maxAge)
	if err != nil {
		return err
	}
	output, err := os.OpenFile(b.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer output.Close() // the child has its own descriptor
	b.process = exec.Command(b.binary, "serve", "--config", file)
	b.process.Stdout, b.process.Stderr = output, output
	b.process.Env = append(os.Environ(), profilerVariable+"="+b.profiler)
	if err := b.process.Start(); err != nil {
		return err
	}
	b.ended = make(chan error, 1)
	go func(p *exec.Cmd, ended chan error) { ended <- p.Wait() }(b.process, b.ended)
	if err := b.ready(ctx); err != nil {
		return errors.Join(fmt.Errorf("the bridge does not start: %w; the end of its log:\n%s", err, b.logTail()), b.stop())
	}
	return nil
}

func (b *bridge) ready(ctx context.Context) error {
	return within(ctx, "/readyz", func() (bool, error) {
		select {
		case err := <-b.ended:
			b.ended <- err // stop takes it
			return false, fmt.Errorf("it ended: %w", err)
		default:
		}
		_, err := b.get(ctx, "http://"+b.console+"/readyz")
		return err == nil, nil // not yet, or never: within gives up
	})
}

// stop ends the bridge in good order.
func (b *bridge) stop() error {
	if b.process == nil {
		return nil
	}
	// It may have ended by itself, which is seen below.
	_ = b.process.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-b.ended:
		b.process = nil
		return err
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("the bridge did not end within %v", patience), b.process.Process.Kill())
	}
}

func (b *bridge) logFile() string { return filepath.Join(b.dir, "log") }

// logTail is the last that the bridge has said.
func (b *bridge) logTail() []byte {
	text, err := os.ReadFile(b.logFile())
	if err != nil {
		return []byte(err.Error())
	}
	return text[max(len(text)-4000, 0):]
}

// get returns what the bridge answers on its console or profiler.
func (b *bridge) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return body, err
}

// within waits until a condition holds that cannot be waited on.
func within(ctx context.Context, what string, condition func() (bool, error)) error {
	over := time.After(patience)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		if ok, err := condition(); ok || err != nil {
			return err
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return fmt.Errorf("waited %v in vain for %s", patience, what)
		}
	}
}
