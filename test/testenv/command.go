package testenv

import (
	"context"
	"errors"
	"os/exec"
)

// Command returns the program with these arguments, not started, told where this
// bridge is and what its console's token is.
func (b *Bridge) Command(args ...string) *exec.Cmd {
	return b.command(context.Background(), args)
}

func (b *Bridge) command(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, b.file, args...)
	cmd.Env = append(cmd.Environ(), "USPBRIDGE_CONSOLE="+b.ConsoleURL(), "USPBRIDGE_BRIDGE="+b.WebSocketURL(),
		"USPBRIDGE_CONSOLE_TOKEN="+b.config.Token)
	return cmd
}

// Run runs a command of the program, which must succeed, and returns what it
// prints.
func (b *Bridge) Run(args ...string) string {
	b.t.Helper()
	out, err := b.output(args)
	if err != nil {
		b.t.Fatalf("uspbridge %v: %v\n%s", args, err, out)
	}
	return out
}

// Try runs a command of the program, which may fail, and returns what it prints,
// errors too.
func (b *Bridge) Try(args ...string) string {
	b.t.Helper()
	out, err := b.output(args)
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		b.t.Fatalf("uspbridge %v: %v", args, err)
	}
	return out
}

// output runs a command for at most Patience.
func (b *Bridge) output(args []string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	out, err := b.command(ctx, args).CombinedOutput()
	return string(out), err
}
