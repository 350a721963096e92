package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"time"
)

// relay stands between CPE and bridge: it puts its own address where CPE say
// theirs for connection requests, takes these and does nothing, and notes when an
// Inform goes on to the bridge.
type relay struct {
	listener net.Listener
	acs      string // host:port of the bridge
	serving  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}

	informed atomic.Pointer[time.Time] // when the last Inform went on
}

func newRelay(acs string) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{listener: l, acs: acs, conns: map[net.Conn]struct{}{}}
	r.serving.Go(r.serve)
	return r, nil
}

func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) serve() {
	for {
		cpe, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		r.serving.Go(func() {
			// A session that breaks here is one that fails at the CPE, which counts
			// them.
			_ = r.session(cpe)
		})
	}
}

// session relays one TCP connection, request by request. A GET is a connection
// request: the bridge is told that the CPE will come.
func (r *relay) session(cpe net.Conn) error {
	defer r.forget(cpe)
	acs, err := net.Dial("tcp", r.acs)
	if err != nil {
		return errors.Join(err, cpe.Close())
	}
	defer r.forget(acs)
	r.mu.Lock()
	r.conns[cpe], r.conns[acs] = struct{}{}, struct{}{}
	r.mu.Unlock()
	requests, responses := bufio.NewReader(cpe), bufio.NewReader(acs)
	for {
		req, err := http.ReadRequest(requests)
		if err != nil {
			return err
		}
		if req.Method == http.MethodGet {
			if _, err := io.WriteString(cpe, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
				return err
			}
			continue
		}
		if err := r.request(acs, req); err != nil {
			return err
		}
		resp, err := http.ReadResponse(responses, req)
		if err != nil {
			return err
		}
		if err := errors.Join(resp.Write(cpe), resp.Body.Close()); err != nil {
			return err
		}
	}
}

// told is where a CPE says its ConnectionRequestURL, in an Inform or a
// GetParameterValuesResponse.
var told = regexp.MustCompile(`(ConnectionRequestURL</Name><Value[^>]*>)[^<]*<`)

// request sends one request on. The bridge sees it in one piece.
func (r *relay) request(acs net.Conn, req *http.Request) error {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return err
	}
	body = told.ReplaceAll(body, []byte("${1}http://"+r.address()+"/<"))
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	var whole bytes.Buffer
	if err := req.Write(&whole); err != nil {
		return err
	}
	if bytes.Contains(body, []byte("Inform>")) {
		now := time.Now()
		r.informed.Store(&now)
	}
	_, err = acs.Write(whole.Bytes())
	return err
}

func (r *relay) forget(c net.Conn) {
	_ = c.Close() // nothing more is read from it
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

func (r *relay) close() error {
	err := r.listener.Close()
	r.mu.Lock()
	for c := range r.conns {
		_ = c.Close() // ends its session
	}
	r.mu.Unlock()
	r.serving.Wait()
	return err
}
