package testenv

import (
	"os/exec"
)

// Command returns the program with these arguments, not started, told where this
// bridge is.
func (b *Bridge) Command(args ...string) *exec.Cmd {
	cmd := exec.Command(b.file, args...)
	cmd.Env = append(cmd.Environ(), "USPBRIDGE_CONSOLE=http://"+b.at.console, "USPBRIDGE_BRIDGE="+b.WebSocketURL())
	return cmd
}

// Run runs a command of the program, which must succeed, and returns what it
// prints.
func (b *Bridge) Run(args ...string) string {
	b.t.Helper()
	out, err := b.Command(args...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("uspbridge %v: %v\n%s", args, err, out)
	}
	return string(out)
}
