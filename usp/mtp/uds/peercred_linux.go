package uds

import (
	"net"
	"os"
	"syscall"
)

// trusted reports whether the process at the other end runs as our own user or as
// root, as the kernel says (SO_PEERCRED). Such a one could read the bridge's memory:
// it may speak as the built-in controller.
func trusted(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	ok := false
	err = raw.Control(func(fd uintptr) {
		cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		ok = err == nil && (cred.Uid == 0 || int(cred.Uid) == os.Geteuid())
	})
	return err == nil && ok
}
