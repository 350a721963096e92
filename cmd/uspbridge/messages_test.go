package main

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
)

// TestPathError: a path is said once, by the message or before it.
func TestPathError(t *testing.T) {
	for _, tt := range []struct {
		e    pathError
		want string
	}{
		{pathError{"Device.X", 7026, "Device.X does not exist"}, "Device.X does not exist (USP error 7026)"},
		{pathError{"Device.X", 7013, "X cannot be written"}, "Device.X: X cannot be written (USP error 7013)"},
	} {
		if got := tt.e.String(); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.e, got, tt.want)
		}
	}
}

// TestFailures: what to do about paths that are not there is said once.
func TestFailures(t *testing.T) {
	const look = "`uspbridge supported` lists what an agent's objects have, `uspbridge instances` the rows there are"
	gone := func(path string) pathError { return pathError{path, 7026, path + " is not there"} }
	tests := []struct {
		name string
		errs []pathError
		want []string
	}{
		{"another failure", []pathError{{"Device.X", 7013, "cannot be written"}}, []string{"Device.X: cannot be written (USP error 7013)"}},
		{"two paths", []pathError{gone("Device.X"), gone("Device.Y")},
			[]string{"Device.X is not there (USP error 7026)", "Device.Y is not there (USP error 7026)", look}},
		{"a row", []pathError{{"Device.X.9.", 7016, "does not exist"}}, []string{"Device.X.9.: does not exist (USP error 7016)", look}},
		{"a command", []pathError{gone("Device.Reboot()")}, []string{"Device.Reboot() is not there (USP error 7026)",
			"`uspbridge supported` lists the commands that an agent has, `uspbridge operate` runs them"}},
		{"a path of CWMP", []pathError{gone("InternetGatewayDevice.X")}, []string{"InternetGatewayDevice.X is not there (USP error 7026)",
			"all paths begin with Device.; `uspbridge mapping explain` shows where a parameter of the CPE is seen"}},
	}
	for _, tt := range tests {
		err := failures(tt.errs)
		if got := err.Error(); got != strings.Join(tt.want, "\n") {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		var stderr bytes.Buffer
		(&app{stderr: &stderr}).fail(err)
		if want := "uspbridge: " + strings.Join(tt.want, "\nuspbridge: ") + "\n"; stderr.String() != want {
			t.Errorf("%s: prints %q, want %q", tt.name, stderr.String(), want)
		}
	}
}

// full is an output that has room for nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestOutputFull: a result that could not be written is no success.
func TestOutputFull(t *testing.T) {
	for _, args := range []string{"version", "version --json", "--help"} {
		var stderr bytes.Buffer
		a := &app{program: "uspbridge", stdout: full{}, stderr: &stderr}
		if code := a.run(t.Context(), strings.Fields(args)); code != exitFailed || stderr.Len() == 0 {
			t.Errorf("%s: exit %d, want %d: %s", args, code, exitFailed, stderr.String())
		}
	}
}
