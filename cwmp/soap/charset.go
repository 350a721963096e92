package soap

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// decode returns the body as UTF-8. A byte order mark decides, or the "<" of UTF-16
// that begins without one; then the XML declaration (its author knows the text
// better than the HTTP stack does), then the Content-Type; without any of them XML
// is UTF-8. It stops when the text is longer than most, which is then refused.
func decode(body []byte, contentType string, most int) string {
	switch {
	case bytes.HasPrefix(body, []byte("\xef\xbb\xbf")): // tolerance byteOrderMark
		return repairUTF8(body[3:], most)
	case bytes.HasPrefix(body, []byte("\xff\xfe")):
		return decodeUTF16(body[2:], binary.LittleEndian, most)
	case bytes.HasPrefix(body, []byte("\xfe\xff")):
		return decodeUTF16(body[2:], binary.BigEndian, most)
	case bytes.HasPrefix(body, []byte("<\x00")):
		return decodeUTF16(body, binary.LittleEndian, most)
	case bytes.HasPrefix(body, []byte("\x00<")):
		return decodeUTF16(body, binary.BigEndian, most)
	}
	if isASCII(body) {
		return string(body)
	}
	charset := declaredEncoding(body)
	if charset == "" {
		charset = contentTypeCharset(contentType)
	}
	if isLatin1(charset) {
		return decodeLatin1(body, most)
	}
	return repairUTF8(body, most)
}

// isASCII looks at eight bytes at a time: nearly all bodies are, and are long.
func isASCII(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return false
		}
	}
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// declaredEncoding returns the encoding of the XML declaration, "" if none.
func declaredEncoding(body []byte) string {
	body = bytes.TrimLeft(body, " \t\r\n")
	end := bytes.Index(body, []byte("?>"))
	if !bytes.HasPrefix(body, []byte("<?xml")) || end < 0 || end > 256 {
		return ""
	}
	return parameterOf(string(body[5:end]), "encoding")
}

// contentTypeCharset returns the charset of a Content-Type, which some CPE call
// encoding.
func contentTypeCharset(contentType string) string {
	if c := parameterOf(contentType, "charset"); c != "" {
		return c
	}
	return parameterOf(contentType, "encoding")
}

// parameterOf returns the value of name=value in s, quoted either way or not.
func parameterOf(s, name string) string {
	// Lowered as ASCII: a letter that gets longer would shift the index.
	i := strings.Index(asciiLower(s), name)
	if i < 0 {
		return ""
	}
	s = strings.TrimLeft(s[i+len(name):], " \t")
	if !strings.HasPrefix(s, "=") {
		return ""
	}
	s = strings.TrimLeft(s[1:], " \t\"'")
	if i := strings.IndexAny(s, " \t\"';"); i >= 0 {
		s = s[:i]
	}
	return s
}

// asciiLower lowers the letters A to Z and keeps the length.
func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func isLatin1(charset string) bool {
	switch strings.ToLower(charset) {
	case "iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "latin-1", "windows-1252", "cp1252":
		return true
	}
	return false
}

// windows1252 has the characters of the bytes from 0x80 to 0x9f. What ISO-8859-1 has
// there are control characters that no text needs, so that it is read as
// windows-1252 too, as browsers do. Five bytes are of neither.
const windows1252 = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ"

var latin1 = func() (t [256]rune) {
	for c := range t {
		t[c] = rune(c)
	}
	at := 0x80
	for _, r := range windows1252 {
		t[at] = r
		at++
	}
	return t
}()

func decodeLatin1(body []byte, most int) string {
	var b strings.Builder
	b.Grow(len(body) + len(body)/8)
	for _, c := range body {
		if b.Len() > most {
			break
		}
		b.WriteRune(latin1[c])
	}
	return b.String()
}

func decodeUTF16(body []byte, order binary.ByteOrder, most int) string {
	var b strings.Builder
	b.Grow(len(body) / 2)
	for len(body) >= 2 && b.Len() <= most {
		r := rune(order.Uint16(body))
		body = body[2:]
		if utf16.IsSurrogate(r) && len(body) >= 2 {
			if pair := utf16.DecodeRune(r, rune(order.Uint16(body))); pair != utf8.RuneError {
				r, body = pair, body[2:]
			}
		}
		b.WriteRune(r) // a lone surrogate as U+FFFD
	}
	return b.String()
}

// repairUTF8 reads each byte that is no UTF-8 as ISO-8859-1, which is what it
// most often is (tolerance wrongEncoding): so the value can still be told apart
// from others, where a replacement character would make them equal.
func repairUTF8(body []byte, most int) string {
	if utf8.Valid(body) {
		return string(body)
	}
	var b strings.Builder
	b.Grow(len(body) + len(body)/8)
	for len(body) > 0 && b.Len() <= most {
		r, n := utf8.DecodeRune(body)
		if r == utf8.RuneError && n == 1 {
			r = latin1[body[0]]
		}
		b.WriteRune(r)
		body = body[n:]
	}
	return b.String()
}
