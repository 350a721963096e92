package mtp_test

import (
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

// frames are what a Writer is filled with.
type frames struct {
	mu   sync.Mutex
	left []string
}

func (f *frames) add(s ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = append(f.left, s...)
}

func (f *frames) fill(buf []byte) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.left) == 0 {
		return buf
	}
	next := f.left[0]
	f.left = f.left[1:]
	return append(buf, next...)
}

func TestWriterWritesAllInOrder(t *testing.T) {
	ours, theirs := net.Pipe()
	var f frames
	w := mtp.NewWriter(ours, mtptest.Patience, f.fill)
	want := strings.Split(strings.Repeat("0123456789,", 20_000), ",")
	read := make(chan string, 1)
	go func() {
		all, _ := io.ReadAll(theirs) // ends with the connection
		read <- string(all)
	}()
	for part := range slices.Chunk(want, 7) {
		f.add(part...)
		w.Kick()
	}
	w.Finish([]byte("goodbye"), mtptest.Patience)
	if got := mtptest.Wait(t, read, "all that was written"); got != strings.Join(want, "")+"goodbye" {
		t.Errorf("%d bytes arrived in another order, or not all: want %d", len(got), len(strings.Join(want, "")))
	}
}

// Who sends never waits for a peer that does not read; the connection ends.
func TestWriterPeerThatDoesNotRead(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	var f frames
	w := mtp.NewWriter(ours, 20*time.Millisecond, f.fill)
	f.add("stuck")
	w.Kick()
	mtptest.Until(t, "the connection is given up", func() bool { return w.Failure() != nil })
	if err := w.Control([]byte("more")); err == nil {
		t.Error("written to a connection that has ended")
	}
	w.Close()
}

func TestWriterBoundsControl(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	var f frames
	w := mtp.NewWriter(ours, mtptest.Patience, f.fill)
	defer w.Close()
	ack := make([]byte, 1000)
	for range 10_000 {
		if err := w.Control(ack); err != nil {
			return
		}
	}
	t.Error("10 MB of acknowledgements are kept for a peer that reads none")
}
