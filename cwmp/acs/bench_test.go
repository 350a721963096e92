package acs_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// wire is a CPE that costs next to nothing: requests made beforehand, answers
// read no further than needed.
type wire struct {
	b      *testing.B
	conn   net.Conn
	r      *bufio.Reader
	cookie string
	buf    []byte
}

func (w *wire) step(body string) (status int) {
	w.buf = append(w.buf[:0], "POST / HTTP/1.1\r\nHost: acs\r\nContent-Type: text/xml\r\n"...)
	if w.cookie != "" {
		w.buf = append(append(append(w.buf, "Cookie: "...), w.cookie...), "\r\n"...)
	}
	w.buf = strconv.AppendInt(append(w.buf, "Content-Length: "...), int64(len(body)), 10)
	w.buf = append(append(w.buf, "\r\n\r\n"...), body...)
	if _, err := w.conn.Write(w.buf); err != nil {
		w.b.Fatal(err)
	}
	length := 0
	for n := 0; ; n++ {
		line, err := w.r.ReadSlice('\n')
		if err != nil {
			w.b.Fatal(err)
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			break
		}
		if n == 0 {
			status, _ = strconv.Atoi(string(line[9:12]))
		} else if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(v))
		} else if v, ok := bytes.CutPrefix(line, []byte("Set-Cookie: ")); ok {
			w.cookie, _, _ = strings.Cut(string(v), ";")
		}
	}
	if _, err := io.CopyN(io.Discard, w.r, int64(length)); err != nil {
		w.b.Fatal(err)
	}
	return status
}

type quietFleet struct{ *fleet }

func (quietFleet) Inform(context.Context, *acs.Session) error { return nil }
func (quietFleet) Ended(*acs.Session, error)                  {}
func (quietFleet) Serve(ctx context.Context, s *acs.Session) error {
	_, err := s.Call(ctx, gpv)
	return err
}

// BenchmarkSession is one session over a kept connection on loopback: Inform,
// empty POST, one GetParameterValues of 10 parameters, 204. cpu-µs is the CPU
// time of the whole process, the CPE's small share included; allocations too.
func BenchmarkSession(b *testing.B) { benchmarkSession(b, acs.Config{Fleet: quietFleet{newFleet()}}) }

func benchmarkSession(b *testing.B, cfg acs.Config) {
	_, url := listen(b, cfg)
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	var list strings.Builder
	for i := range 10 {
		fmt.Fprintf(&list, `<ParameterValueStruct><Name>Device.IP.Interface.%d.Status</Name><Value xsi:type="xsd:string">Up</Value></ParameterValueStruct>`, i)
	}
	xsi := `<E:Envelope xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema" `
	inform := strings.Replace(envelope("1", strings.Replace(informOf("A"), "<ParameterList>", "<ParameterList>"+list.String(), 1)), "<E:Envelope ", xsi, 1)
	answer := strings.Replace(envelope("", "<c:GetParameterValuesResponse><ParameterList>"+list.String()+"</ParameterList></c:GetParameterValuesResponse>"), "<E:Envelope ", xsi, 1)
	w := &wire{b: b, conn: conn, r: bufio.NewReader(conn)}
	steps := []struct {
		body   string
		status int
	}{{inform, 200}, {"", 200}, {answer, 204}}

	b.ReportAllocs()
	before := cpuTime(b)
	b.ResetTimer()
	for b.Loop() {
		for _, s := range steps {
			if got := w.step(s.body); got != s.status {
				b.Fatalf("status %d, want %d", got, s.status)
			}
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-µs/op")
}

func cpuTime(b *testing.B) (micros int64) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return (u.Utime.Sec+u.Stime.Sec)*1e6 + int64(u.Utime.Usec+u.Stime.Usec)
}
