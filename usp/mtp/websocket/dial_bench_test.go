package websocket

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/dialer"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

// BenchmarkDialledConnection reports the heap and stack of one idle connection that
// an agent has opened, and how many are opened in a second where the pace sets no
// bound. The controller is bare TCP connections of the same process, whose few
// hundred bytes are in the number.
func BenchmarkDialledConnection(b *testing.B) {
	const n = 2000
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go welcome(l)
	for b.Loop() {
		s, err := NewServer(Config{Client: ClientConfig{Pace: dialer.Config{Rate: 1e6}}})
		if err != nil {
			b.Fatal(err)
		}
		stop := mtptest.Start(b, s, &echo{})
		before, began := inUse(), time.Now()
		for i := range n {
			s.Dial(usp.EndpointID(fmt.Sprintf("os::00259E-%d", i)), controller, mtp.Target{URL: "ws://" + l.Addr().String() + "/usp"})
		}
		mtptest.Until(b, "all are open", func() bool { return s.meter.Connections() == n })
		b.ReportMetric(n/time.Since(began).Seconds(), "conn/s")
		b.ReportMetric(float64(inUse()-before)/n, "B/conn")
		stop()
	}
}

// welcome answers opening handshakes and nothing else.
func welcome(l net.Listener) {
	var open []net.Conn // out of the garbage collector's reach
	for {
		c, err := l.Accept()
		if err != nil {
			for _, c := range open {
				c.Close()
			}
			return
		}
		open = append(open, c)
		r, err := http.ReadRequest(bufio.NewReaderSize(c, 512))
		if err != nil {
			c.Close()
			continue
		}
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455 4.2.2
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: v1.usp\r\n\r\n",
			base64.StdEncoding.EncodeToString(sum[:]))
	}
}
