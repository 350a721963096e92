package testenv

import (
	"net"
	"testing"
	"time"
)

// Patience bounds each thing that is waited for. It is long, because a machine
// that runs other tests besides is slow; a test that passes never waits it out.
const Patience = 60 * time.Second

// pollInterval is how often a condition is looked at that cannot be waited on.
const pollInterval = 10 * time.Millisecond

// Until waits until a condition holds and ends the test if it does not come to.
func Until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	if !within(t, Patience, condition) {
		t.Fatalf("waited %v in vain: %s", Patience, what)
	}
}

func within(t testing.TB, patience time.Duration, condition func() bool) bool {
	t.Helper()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	over := time.After(patience)
	for !condition() {
		select {
		case <-poll.C:
		case <-over:
			return condition()
		case <-t.Context().Done():
			return condition()
		}
	}
	return true
}

// FreeAddress returns an address on loopback that nobody listens on. Nothing
// keeps it free: listen there soon, and be ready to try another.
func FreeAddress(t testing.TB) string {
	t.Helper()
	return FreeAddressOn(t, "tcp", "127.0.0.1")
}

// FreeAddressOn is FreeAddress for tcp or udp, on an IP address of this machine.
func FreeAddressOn(t testing.TB, network, ip string) string {
	t.Helper()
	at := net.JoinHostPort(ip, "0")
	if network == "udp" {
		conn, err := net.ListenPacket(network, at)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.LocalAddr().String()
	}
	l, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// listens reports whether somebody takes connections at an address.
func listens(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close() // it was opened to see whether it opens
	return true
}
