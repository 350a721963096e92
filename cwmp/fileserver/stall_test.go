package fileserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A CPE that takes nothing is let go of; one that takes a little now and then is
// served for as long as that takes.
func TestStall(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Stall = 100 * time.Millisecond })
	if err := os.WriteFile(filepath.Join(b.dir, "files/image.bin"), make([]byte, 32<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", b.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /files/down/x HTTP/1.1\r\nHost: x\r\n\r\n")
	s := b.Config.Handler.(*Server)
	deadline := time.Now().Add(10 * time.Second)
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for began := false; ; <-look.C {
		running := s.transfers() > 0
		if began = began || running; began && !running {
			break // it was broken off
		}
		if time.Now().After(deadline) {
			t.Fatal("the stalled download still holds its place")
		}
	}
	conn.SetReadDeadline(deadline)
	if n, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "reset") || n >= 32<<20 {
		t.Errorf("%d bytes came, %v", n, err)
	}
}

// An upload that keeps its place by a byte now and then is broken off.
func TestDrippingUpload(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Stall = 100 * time.Millisecond })
	conn, err := net.Dial("tcp", b.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	status := make(chan int, 1)
	go func() {
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			status <- 0
			return
		}
		resp.Body.Close()
		status <- resp.StatusCode
	}()
	const size = 100
	fmt.Fprintf(conn, "PUT /files/up/log HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	got := -1
	for sent := 0; got < 0 && sent < size; sent++ {
		select {
		case got = <-status:
		case <-tick.C:
			io.WriteString(conn, "x") // fails once it is broken off; the status tells
		}
	}
	if got < 0 {
		got = <-status
	}
	if got != http.StatusBadRequest && got != 0 {
		t.Errorf("answered %d", got)
	}
	b.noneIncoming()
}
