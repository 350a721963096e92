package testenv

import (
	"errors"
	"os/exec"
	"syscall"
	"testing"
)

// inOwnGroup lets a program and all that it starts be killed together: a broker's
// start script leaves the broker behind.
func inOwnGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func killGroup(t testing.TB, cmd *exec.Cmd) { signalGroup(t, cmd, syscall.SIGKILL) }

func signalGroup(t testing.TB, cmd *exec.Cmd, s syscall.Signal) {
	err := syscall.Kill(-cmd.Process.Pid, s)
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Errorf("%s: %v", cmd.Path, err)
	}
}
