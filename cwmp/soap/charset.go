package soap

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// decode returns the body as UTF-8. A byte order mark decides, then the XML
// declaration (its author knows the text better than the HTTP stack does), then
// the Content-Type; without any of them XML is UTF-8.
func decode(body []byte, contentType string) string {
	switch {
	case bytes.HasPrefix(body, []byte("\xef\xbb\xbf")): // tolerance byteOrderMark
		return repairUTF8(body[3:])
	case bytes.HasPrefix(body, []byte("\xff\xfe")):
		return decodeUTF16(body[2:], binary.LittleEndian)
	case bytes.HasPrefix(body, []byte("\xfe\xff")):
		return decodeUTF16(body[2:], binary.BigEndian)
	}
	if isASCII(body) {
		return string(body)
	}
	charset := declaredEncoding(body)
	if charset == "" {
		charset = contentTypeCharset(contentType)
	}
	if isLatin1(charset) {
		return decodeLatin1(body)
	}
	return repairUTF8(body)
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

func decodeLatin1(body []byte) string {
	var b strings.Builder
	b.Grow(len(body) + len(body)/8)
	for _, c := range body {
		b.WriteRune(rune(c))
	}
	return b.String()
}

func decodeUTF16(body []byte, order binary.ByteOrder) string {
	units := make([]uint16, len(body)/2)
	for i := range units {
		units[i] = order.Uint16(body[2*i:])
	}
	return string(utf16.Decode(units))
}

// repairUTF8 reads each byte that is no UTF-8 as ISO-8859-1, which is what it
// most often is (tolerance wrongEncoding): so the value can still be told apart
// from others, where a replacement character would make them equal.
func repairUTF8(body []byte) string {
	if utf8.Valid(body) {
		return string(body)
	}
	var b strings.Builder
	b.Grow(len(body) + len(body)/8)
	for len(body) > 0 {
		r, n := utf8.DecodeRune(body)
		if r == utf8.RuneError && n == 1 {
			r = rune(body[0])
		}
		b.WriteRune(r)
		body = body[n:]
	}
	return b.String()
}
