package acs

import (
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/uspbridge/uspbridge/cwmp"
)

// logger writes what operators need to find a CPE's trouble.
type logger struct{ *slog.Logger }

// panicked logs a panic of Fleet code with its stack and returns it as an
// error: one CPE's session ends, the others go on.
func (l logger) panicked(key cwmp.DeviceKey, doing string, p any) error {
	l.Error("panic: this is a defect of the program, please report it", "device", string(key), "doing", doing,
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return fmt.Errorf("%s: internal failure during %s: %v", key, doing, p)
}
