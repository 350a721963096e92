package mqtt

import "syscall"

// acknowledgeNow sends the TCP acknowledgement that is being delayed. The kernel
// forgets the option with time, so it is set after each read. It is a matter of
// speed only: where it cannot be set nothing else changes.
func acknowledgeNow(raw syscall.RawConn) {
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	})
}
