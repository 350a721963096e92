package stomp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func read(s string, maxBody int) (*frame, error) {
	return readFrame(bufio.NewReaderSize(strings.NewReader(s), 16), maxBody) // small: lines cross its end
}

func TestReadFrame(t *testing.T) {
	tests := []struct {
		name, in string
		want     frame
	}{
		{"counted body", "MESSAGE\ncontent-length:3\n\na\x00b\x00", frame{"MESSAGE", []header{{"content-length", "3"}}, []byte("a\x00b")}},
		{"body up to NUL", "MESSAGE\na:b\n\nhello\x00", frame{"MESSAGE", []header{{"a", "b"}}, []byte("hello")}},
		{"empty body, no headers", "RECEIPT\n\n\x00", frame{"RECEIPT", nil, []byte{}}},
		{"CR LF", "MESSAGE\r\na:b\r\n\r\nx\x00", frame{"MESSAGE", []header{{"a", "b"}}, []byte("x")}},
		{"heart-beats before it", "\n\r\n\nMESSAGE\n\n\x00", frame{"MESSAGE", nil, []byte{}}},
		{"escapes", `MESSAGE` + "\n" + `a\cb:1\c2\n\r\\c` + "\n\n\x00", frame{"MESSAGE", []header{{"a:b", "1:2\n\r\\c"}}, []byte{}}},
		{"colons in a value", "MESSAGE\na:b:c\n\n\x00", frame{"MESSAGE", []header{{"a", "b:c"}}, []byte{}}},
		{"no escapes in a greeting", "CONNECTED\na:b\\c\n\n\x00", frame{"CONNECTED", []header{{"a", `b\c`}}, []byte{}}},
		{"empty value", "MESSAGE\na:\n\n\x00", frame{"MESSAGE", []header{{"a", ""}}, []byte{}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := read(tt.in, 100)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, *f, cmp.AllowUnexported(frame{}, header{})); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func TestBadFrames(t *testing.T) {
	tests := []struct {
		name, in string
		want     error // nil: any
	}{
		{"nothing", "", io.EOF},
		{"heart-beats only", "\n\n", io.EOF},
		{"cut in the command", "MESS", io.ErrUnexpectedEOF},
		{"cut in the headers", "MESSAGE\na:b\n", io.ErrUnexpectedEOF},
		{"cut in the body", "MESSAGE\n\nabc", io.ErrUnexpectedEOF},
		{"cut in a counted body", "MESSAGE\ncontent-length:9\n\nabc", io.ErrUnexpectedEOF},
		{"cut before NUL", "MESSAGE\ncontent-length:3\n\nabc", io.ErrUnexpectedEOF},
		{"no colon", "MESSAGE\nab\n\n\x00", nil},
		{"no name", "MESSAGE\n:b\n\n\x00", nil},
		{"unknown escape", "MESSAGE\na:\\t\n\n\x00", nil},
		{"half an escape", "MESSAGE\na:b\\\n\n\x00", nil},
		{"negative length", "MESSAGE\ncontent-length:-1\n\n\x00", nil},
		{"length that is too small", "MESSAGE\ncontent-length:1\n\nab\x00", nil},
		{"absurd length", "MESSAGE\ncontent-length:4294967295\n\n\x00", io.ErrUnexpectedEOF},
		{"body too large", "MESSAGE\n\n" + strings.Repeat("x", 200) + "\x00", errTooLarge},
		{"endless line", strings.Repeat("x", maxHead+1), errTooLarge},
		{"too many headers", "MESSAGE\n" + strings.Repeat("a:b\n", maxHeaders+1) + "\n\x00", errTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := read(tt.in, 100)
			if err == nil {
				t.Fatalf("accepted as %+v", f)
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestWriteFrame(t *testing.T) {
	send := &frame{command: "SEND", body: []byte{0, 1, '\n'}}
	send.add("destination", "/queue/a:b")
	send.add("content-length", "3")
	greeting := &frame{command: "STOMP"}
	greeting.add("host", "/")
	greeting.add("endpoint-id", escapeHeader("self::x"))
	for _, tt := range []struct {
		f    *frame
		want string
	}{
		{send, "SEND\ndestination:/queue/a\\cb\ncontent-length:3\n\n\x00\x01\n\x00"},
		{greeting, "STOMP\nhost:/\nendpoint-id:self\\c\\cx\n\n\x00"},
	} {
		if got := string(tt.f.append(nil)); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// What is behind a body that is too large is read.
func TestTooLargeIsReadOver(t *testing.T) {
	r := bufio.NewReader(strings.NewReader("MESSAGE\ncontent-length:101\n\n" + strings.Repeat("\x00", 101) + "\x00MESSAGE\n\nnext\x00"))
	var skipped *skippedError
	if _, err := readFrame(r, 100); !errors.As(err, &skipped) || skipped.bytes != 101 {
		t.Fatalf("the large one: %v", err)
	}
	if f, err := readFrame(r, 100); err != nil || string(f.body) != "next" {
		t.Errorf("behind it: %+v, %v", f, err)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("MESSAGE\ncontent-length:3\na\\cb:c\n\na\x00b\x00"))
	f.Add([]byte("\r\nERROR\nmessage:no\n\nwhy\x00"))
	f.Add([]byte("CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := readFrame(bufio.NewReader(bytes.NewReader(b)), 1000)
		if err != nil || isGreeting(fr.command) || fr.get("content-length") != "" {
			return
		}
		// What was understood is written so that it is understood the same.
		again, err := readFrame(bufio.NewReader(bytes.NewReader(fr.append(nil))), 1000)
		if err != nil {
			if errors.Is(err, errTooLarge) {
				return // escapes have made it longer
			}
			t.Fatalf("%q: %v", fr.append(nil), err)
		}
		if fr.command != again.command || !slices.Equal(fr.headers, again.headers) || !bytes.Equal(fr.body, again.body) {
			t.Errorf("%+v became %+v", fr, again)
		}
	})
}
