package uds

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// unhexed reads bytes written as hex with blanks between fields.
func unhexed(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const hexSync = "5f555350 " // R-UDS.8

func TestBytesOfFrames(t *testing.T) {
	for _, c := range []struct {
		name  string
		frame Frame
		want  string
	}{
		{"handshake", NewHandshake("os::00259E-1"), hexSync + "00000011 01 0000000c 6f733a3a3030323539452d31"},
		{"error", NewError("no"), hexSync + "00000007 02 00000002 6e6f"},
		{"empty error", NewError(""), hexSync + "00000005 02 00000000"},
		{"record", NewRecord([]byte{0x0a, 0xff}), hexSync + "00000007 03 00000002 0aff"},
		{"two fields", Frame{{Error, []byte("a")}, {Record, []byte("b")}}, hexSync + "0000000c 02 00000001 61 03 00000001 62"},
	} {
		b, err := c.frame.Append([]byte("x"))
		if err != nil || !bytes.Equal(b[1:], unhexed(t, c.want)) {
			t.Errorf("%s:\n got %x, %v\nwant %s", c.name, b[1:], err, c.want)
		}
		got, err := NewReader(bytes.NewReader(b[1:]), 0).Next()
		if diff := cmp.Diff(c.frame, got); err != nil || diff != "" {
			t.Errorf("%s: read back: %v\n%s", c.name, err, diff)
		}
	}
	if _, err := (Frame{}).Append(nil); err == nil {
		t.Error("a frame without fields is written")
	}
}

func TestNextReadsOneFrameAfterAnother(t *testing.T) {
	stream := unhexed(t, hexSync+"00000007 02 00000002 6e6f"+
		hexSync+"0000000c 09 00000001 61 03 00000001 62"+ // type 9 is ignored (R-UDS.15)
		hexSync+"00000006 09 00000001 61") // nothing known in it
	for name, from := range map[string]io.Reader{"at once": bytes.NewReader(stream), "byte by byte": iotest.OneByteReader(bytes.NewReader(stream))} {
		r := NewReader(from, 100)
		for i, want := range []Frame{NewError("no"), NewRecord([]byte("b")), nil} {
			got, err := r.Next()
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%s: frame %d: %v\n%s", name, i, err, diff)
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%s: end: %v, want io.EOF", name, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct{ name, stream, want string }{
		{"wrong sync", "5f555351 00000007 02 00000002 6e6f", "begins with"},
		{"no fields", hexSync + "00000000", "no fields"},
		{"too long", hexSync + "00000065", "at most 100"},
		{"longer than 31 bits", hexSync + "ffffffff", "at most 100"},
		{"rest behind the last field", hexSync + "00000009 02 00000002 6e6f 0300", "2 bytes are left"},
		{"field longer than the frame", hexSync + "00000007 02 00000003 6e6f", "only 2 more"},
		{"field of 4 GiB", hexSync + "00000007 02 ffffffff 6e6f", "only 2 more"},
		{"handshake without endpoint id", hexSync + "00000006 01 00000001 78", "endpoint id"},
		{"handshake not UTF-8", hexSync + "00000009 01 00000004 613a3aff", "endpoint id"},
		{"error not UTF-8", hexSync + "00000006 02 00000001 ff", "UTF-8"},
		{"many fields", hexSync + "00000055" + strings.Repeat("0900000000", 17), "more than 16"},
	} {
		_, err := NewReader(bytes.NewReader(unhexed(t, c.stream)), 100).Next()
		var fe *FrameError
		if !errors.As(err, &fe) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
	whole := unhexed(t, hexSync+"00000007 02 00000002 6e6f")
	for n := 1; n < len(whole); n++ {
		if _, err := NewReader(bytes.NewReader(whole[:n]), 100).Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v, want io.ErrUnexpectedEOF", n, err)
		}
	}
}

func TestFind(t *testing.T) {
	f := Frame{{Error, []byte("a")}, {Record, []byte("b")}, {Record, []byte("c")}}
	if v, ok := f.Find(Record); !ok || string(v) != "b" {
		t.Errorf("record %q, %t", v, ok)
	}
	if v, ok := f.Find(Handshake); ok {
		t.Errorf("handshake %q in a frame without", v)
	}
}

// FuzzNext: no stream panics, and what is read is written back to the same frame.
func FuzzNext(f *testing.F) {
	for _, frame := range []Frame{NewHandshake("os::00259E-1"), NewError("no"), NewRecord([]byte{1, 2}), {{Error, nil}, {Record, nil}}} {
		b, err := frame.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(append(b, b...))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := NewReader(bytes.NewReader(stream), 1<<16)
		for {
			frame, err := r.Next()
			if err != nil {
				return
			}
			if len(frame) == 0 {
				continue // only unknown fields
			}
			b, err := frame.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			again, err := NewReader(bytes.NewReader(b), 1<<16).Next()
			if diff := cmp.Diff(frame, again); err != nil || diff != "" {
				t.Fatalf("%v\n%s", err, diff)
			}
		}
	})
}

func BenchmarkNext(b *testing.B) {
	stream, err := NewRecord(make([]byte, 200)).Append(nil)
	if err != nil {
		b.Fatal(err)
	}
	from := bytes.NewReader(stream)
	r := NewReader(from, 0)
	b.ReportAllocs()
	for b.Loop() {
		from.Reset(stream)
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
