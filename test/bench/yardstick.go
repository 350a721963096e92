package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
)

// yardstick prints the CPU time of a fixed piece of work. CPU time is no constant
// either: other guests of the same host, and the other thread of a core, make the
// same instructions take longer. Tables are compared only where this is the same.
func yardstick(when string) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadCPU()
	block := make([]byte, 1<<20)
	for range 64 {
		sum := sha256.Sum256(block)
		copy(block, sum[:])
	}
	fmt.Fprintf(os.Stderr, "bench: yardstick %s: SHA-256 of 64 MB takes %v of CPU\n", when, (threadCPU() - before).Round(time.Millisecond))
}

// threadCPU returns the CPU time of this thread.
func threadCPU() time.Duration {
	const thread = 1 // RUSAGE_THREAD
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		return 0 // no kernel that has /proc/self/stat is without it
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
