package conformance

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/go-stomp/stomp/v3/frame"

	"github.com/uspbridge/uspbridge/test/testenv"
)

// stompProxy stands between the bridge and a STOMP server: it tells what the bridge
// sends, and does what a case wants of the server.
type stompProxy struct {
	t        testing.TB
	listener net.Listener
	server   string
	running  sync.WaitGroup

	mu            sync.Mutex
	subscribeDest string      // header of CONNECTED frames, "" for none
	refuse        int         // so many connections
	refused       []time.Time // when
	open          map[net.Conn]bool
	frames        chan stompFrame
	beats         int // heart-beats of the bridge
}

// stompFrame is one that the bridge has sent.
type stompFrame struct {
	*frame.Frame
	at time.Time
}

func newSTOMPProxy(t testing.TB, server string, c *certificate) *stompProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil && c != nil {
		var pair tls.Certificate
		pair, err = tls.LoadX509KeyPair(c.certFile, c.keyFile)
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}})
	}
	if err != nil {
		t.Fatal(err)
	}
	p := &stompProxy{t: t, listener: l, server: server, open: map[net.Conn]bool{}, frames: make(chan stompFrame, 1000)}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("STOMP proxy: %v", err)
		}
		p.cut()
		p.running.Wait()
	})
	return p
}

func (p *stompProxy) address() string { return p.listener.Addr().String() }

// accept takes connections until the listener is closed.
func (p *stompProxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		if p.refuse > 0 {
			p.refuse--
			p.refused = append(p.refused, time.Now())
			p.mu.Unlock()
			_ = c.Close() // that is the refusal
			continue
		}
		p.open[c] = true
		p.mu.Unlock()
		p.running.Go(func() {
			defer p.forget(c)
			p.pass(c)
		})
	}
}

func (p *stompProxy) forget(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
	_ = c.Close() // it may be closed
}

// pass carries what goes to and fro on one connection, until one side ends it.
func (p *stompProxy) pass(c net.Conn) {
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		p.t.Errorf("STOMP server: %v", err)
		return
	}
	defer server.Close()
	var back sync.WaitGroup
	defer back.Wait()
	back.Go(func() {
		defer c.Close()
		p.answers(c, server)
	})
	read, write := io.Pipe()
	back.Go(func() { p.note(read) })
	_, err = io.Copy(io.MultiWriter(server, write), c)
	_ = server.Close() // ends the way back
	_ = write.CloseWithError(errors.Join(io.EOF, err))
}

// note reads the bridge's frames.
func (p *stompProxy) note(from *io.PipeReader) {
	frames := frame.NewReader(from)
	for {
		f, err := frames.Read()
		if err != nil {
			_ = from.CloseWithError(nil) // what is left over is not looked at
			return
		}
		if f != nil {
			p.frames <- stompFrame{f, time.Now()}
			continue
		}
		p.mu.Lock()
		p.beats++
		p.mu.Unlock()
	}
}

// answers passes on what the server sends, with the CONNECTED frame as the case
// wants it.
func (p *stompProxy) answers(to io.Writer, server net.Conn) {
	from := bufio.NewReaderSize(server, 4096) // which the frame reader uses as it is
	connected, err := frame.NewReader(from).Read()
	if err != nil || connected == nil {
		return // the server has hung up
	}
	p.mu.Lock()
	if p.subscribeDest != "" {
		connected.Header.Set("subscribe-dest", p.subscribeDest)
	}
	p.mu.Unlock()
	if frame.NewWriter(to).Write(connected) == nil {
		_, _ = io.Copy(to, from) // one of the sides ends it
	}
}

// next takes the first frame of a kind that the bridge has sent, and drops those
// before it.
func (p *stompProxy) next(command string) stompFrame {
	p.t.Helper()
	over := time.After(testenv.Patience)
	for {
		select {
		case f := <-p.frames:
			if f.Command == command {
				return f
			}
		case <-over:
			p.t.Fatalf("the bridge sent no %s frame within %v", command, testenv.Patience)
		}
	}
}

// cut ends all connections, and refuses as many of the next ones as are said.
func (p *stompProxy) cut(refuse ...int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range refuse {
		p.refuse = n
	}
	for c := range p.open {
		_ = c.Close() // the peer may have closed it
	}
}
