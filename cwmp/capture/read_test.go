package capture

import (
	"errors"
	"io"
	"strings"
	"testing"
)

const (
	headerLine  = `{"capture":1}` + "\n"
	sessionLine = `{"session":1,"at":"2026-03-01T12:00:00Z","device":{"manufacturer":"","oui":"00AA01","product_class":"","serial_number":"1"}}` + "\n"
)

// TestBadCaptures: what is wrong with a file is said with file and line.
func TestBadCaptures(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"not JSON", headerLine + "# a comment\n\nhello", "f.cap:4: no line of a capture: invalid character"},
		{"cut off", headerLine + sessionLine + `{"session":1,"from":"cpe","bo`, "f.cap:3: no line of a capture: unexpected end"},
		{"nothing known", headerLine + `{"x":1}`, "f.cap:2: no line of a capture: it has none of the keys"},
		{"a key mistyped", headerLine + sessionLine + `{"session":1,"from":"cpe","heders":[]}`, `f.cap:3: json: unknown field "heders"`},
		{"no header", sessionLine, `f.cap:1: a capture begins with {"capture": 1`},
		{"another version", `{"capture":2}`, "f.cap:1: a capture of version 2; this program reads version 1"},
		{"no session", headerLine + `{"session":3,"from":"cpe"}`, "f.cap:2: a message of session 3, which is not open"},
		{"a session twice", headerLine + sessionLine + sessionLine, "f.cap:3: session 1 begins, but is open"},
		{"after its end", headerLine + sessionLine + `{"session":1,"ms":1,"end":"ok"}` + "\n" + `{"session":1,"from":"cpe"}`, "f.cap:4: a message of session 1"},
		{"an end too much", headerLine + `{"session":1,"ms":1,"end":"ok"}`, "f.cap:2: the end of session 1"},
		{"a side", headerLine + sessionLine + `{"session":1,"from":"me"}`, `f.cap:3: from "me": want cpe or acs`},
		{"two bodies", headerLine + sessionLine + `{"session":1,"from":"cpe","body":"a","base64":"YQ=="}`, "f.cap:3: both body and base64"},
		{"a header", headerLine + sessionLine + `{"session":1,"from":"cpe","headers":["A: b\r\nC: d"]}`, `f.cap:3: header "A: b`},
		{"a long line", headerLine + strings.Repeat(" ", maxLineBytes+1), "f.cap:2: a line of more than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := NewReader(strings.NewReader(tt.text), "f.cap")
			var err error
			for err == nil {
				_, err = r.Next()
			}
			if !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s…", err, tt.want)
			}
		})
	}
}

// TestAppendedCaptures: a file behind another is read as both.
func TestAppendedCaptures(t *testing.T) {
	one := headerLine + sessionLine + `{"session":1,"ms":5,"from":"cpe","body":"x"}` + "\n"
	r := NewReader(strings.NewReader(one+one), "")
	lines := 0
	for {
		_, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		lines++
	}
	if lines != 6 {
		t.Errorf("%d lines, want 6", lines)
	}
}

// FuzzReader: no input panics, and every error names the line.
func FuzzReader(f *testing.F) {
	f.Add(headerLine + sessionLine + `{"session":1,"ms":5,"from":"cpe","base64":"eA=="}`)
	f.Add(`{"capture":1}` + "\n" + `{"note":"x"}`)
	f.Fuzz(func(t *testing.T, text string) {
		r := NewReader(strings.NewReader(text), "f.cap")
		for {
			_, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				if !strings.HasPrefix(err.Error(), "f.cap:") {
					t.Fatalf("error without file and line: %v", err)
				}
				return
			}
		}
	})
}
