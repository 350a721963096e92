//go:build !linux

package mqtt

import "syscall"

// acknowledgeNow does nothing: the option is one of Linux.
func acknowledgeNow(syscall.RawConn) {}
