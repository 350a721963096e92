package websocket

import (
	"bytes"
	"context"
	"net"
	"runtime"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// echo answers every record with itself, from the reading goroutine.
type echo struct{ server *Server }

func (e *echo) Receive(in mtp.Inbound) error {
	return e.server.Send(context.Background(), "", "", in.Reply, in.Record)
}
func (*echo) Connected(_, _ usp.EndpointID, _ mtp.Address)    {}
func (*echo) Disconnected(_, _ usp.EndpointID, _ mtp.Address) {}

// BenchmarkEcho is a round trip of a record of 200 bytes; the client's part,
// which is in the numbers, has the same library.
func BenchmarkEcho(b *testing.B) {
	h := &echo{}
	s := serve(b, Config{}, h)
	h.server = s
	ws := mustDial(b, s, "/usp?eid=proto::controller-1")
	rec := make([]byte, 200)
	buf := make([]byte, 400)
	b.ReportAllocs()
	for b.Loop() {
		if err := ws.WriteMessage(websocket.BinaryMessage, rec); err != nil {
			b.Fatal(err)
		}
		_, r, err := ws.NextReader()
		if err != nil {
			b.Fatal(err)
		}
		if n, err := r.Read(buf); n != len(rec) {
			b.Fatal(n, err)
		}
	}
}

// BenchmarkIdleConnection reports the heap and stack that one idle connection
// takes. The clients are bare TCP connections of the same process, whose few
// hundred bytes are in the number.
func BenchmarkIdleConnection(b *testing.B) {
	const n = 2000
	s := serve(b, Config{}, &echo{})
	opening := "GET /usp?eid=proto::c HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v1.usp\r\n\r\n"
	var answer [512]byte
	for b.Loop() {
		clients := make([]net.Conn, n)
		before := inUse()
		for i := range clients {
			c, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			clients[i] = c
			if _, err := c.Write([]byte(opening)); err != nil {
				b.Fatal(err)
			}
			if k, err := c.Read(answer[:]); err != nil || !bytes.Contains(answer[:k], []byte(" 101 ")) {
				b.Fatalf("%s: %v", answer[:k], err)
			}
		}
		b.ReportMetric(float64(inUse()-before)/n, "B/conn")
		for _, c := range clients {
			c.Close()
		}
	}
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
