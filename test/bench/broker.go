package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// mosquittoAt is where Debian puts the broker, which is not in everybody's PATH.
const mosquittoAt = "/usr/sbin/mosquitto"

// mosquitto is an MQTT broker as a child process, which can be killed and started
// again at the same address.
type mosquitto struct {
	program, config string
	address         string
	process         *exec.Cmd
}

// newMosquitto finds the program; where it is not installed there is an error.
func newMosquitto(dir string) (*mosquitto, error) {
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		if program, err = exec.LookPath(mosquittoAt); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	host, port, err := net.SplitHostPort(address)
	if err = errors.Join(err, l.Close()); err != nil {
		return nil, err
	}
	m := &mosquitto{program: program, config: filepath.Join(dir, "mosquitto.conf"), address: address}
	text := fmt.Sprintf("listener %s %s\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\nmax_queued_messages 0\nuser root\n", port, host)
	return m, os.WriteFile(m.config, []byte(text), 0o644)
}

// start starts it and waits until it listens.
func (m *mosquitto) start(ctx context.Context) error {
	m.process = exec.Command(m.program, "-c", m.config)
	if err := m.process.Start(); err != nil {
		return err
	}
	return within(ctx, "mosquitto", func() (bool, error) {
		c, err := net.Dial("tcp", m.address)
		if err != nil {
			return false, nil // not yet, or never: within gives up
		}
		return true, c.Close()
	})
}

// kill ends it as a power failure does.
func (m *mosquitto) kill() error {
	if m.process == nil {
		return nil
	}
	err := m.process.Process.Kill()
	// That it was killed is what Wait says.
	if state, waited := m.process.Process.Wait(); waited != nil {
		err = errors.Join(err, waited)
	} else if s, ok := state.Sys().(syscall.WaitStatus); ok && !s.Signaled() {
		err = errors.Join(err, fmt.Errorf("mosquitto ended by itself: %v", state))
	}
	m.process = nil
	return err
}
