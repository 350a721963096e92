package testenv

import (
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
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

// Ports that are given out are below those that systems give to connections and to
// listeners at port 0, so that no such one takes a port before its program does.
const (
	firstPort = 12_000
	ports     = 18_000
)

// lastPort is counted on from a random place: several test programs run at once.
var lastPort atomic.Uint32

func init() { lastPort.Store(rand.Uint32N(ports)) }

// FreeAddress returns an address on loopback that nobody listens on. It is given out
// once, but nothing keeps it free: be ready to try another.
func FreeAddress(t testing.TB) string {
	t.Helper()
	return FreeAddressOn(t, "tcp", "127.0.0.1")
}

// FreeAddressOn is FreeAddress for tcp or udp, on an IP address of this machine.
func FreeAddressOn(t testing.TB, network, ip string) string {
	t.Helper()
	var err error
	for range 100 {
		at := net.JoinHostPort(ip, strconv.Itoa(int(firstPort+lastPort.Add(1)%ports)))
		if err = free(network, at); err == nil {
			return at
		}
	}
	t.Fatalf("100 ports are taken: %v", err)
	return ""
}

func free(network, at string) error {
	var l io.Closer
	var err error
	if network == "udp" {
		l, err = net.ListenPacket(network, at)
	} else {
		l, err = net.Listen(network, at)
	}
	if err != nil {
		return err
	}
	return l.Close()
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
