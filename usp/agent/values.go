package agent

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// unknownTime is the dateTime of what is not known (TR-106 3.2.1).
const unknownTime = "0001-01-01T00:00:00Z"

// canonical checks that text is a value of the type and returns it the way the
// agent writes it (TR-369 R-ENC.6). The error is 7011.
func canonical(typ dm.Type, text string) (string, *usp.Error) {
	ok := true
	switch typ {
	case dm.TypeBoolean:
		switch text {
		case "true", "1":
			return "true", nil
		case "false", "0":
			return "false", nil
		}
		ok = false
	case dm.TypeUnsignedInt:
		return canonicalUint(text, 32)
	case dm.TypeUnsignedLong:
		return canonicalUint(text, 64)
	case dm.TypeInt:
		return canonicalInt(text, 32)
	case dm.TypeLong:
		return canonicalInt(text, 64)
	case dm.TypeDecimal:
		_, err := strconv.ParseFloat(text, 64)
		ok = err == nil
	case dm.TypeDateTime:
		t, err := time.Parse(time.RFC3339Nano, text)
		if err == nil {
			return t.UTC().Format(time.RFC3339Nano), nil
		}
		ok = false
	case dm.TypeBase64:
		_, err := base64.StdEncoding.DecodeString(text)
		ok = err == nil
	case dm.TypeHexBinary:
		_, err := hex.DecodeString(text)
		ok = err == nil
	default:
		ok = utf8.ValidString(text)
	}
	if !ok {
		return "", wrongType(typ, text)
	}
	return text, nil
}

func canonicalUint(text string, bits int) (string, *usp.Error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(text, "+"), 10, bits)
	if err != nil {
		return "", usp.Errorf(usp.ErrInvalidType, "", "%q is not an unsigned number of %d bits", shorten(text), bits)
	}
	return strconv.FormatUint(n, 10), nil
}

func canonicalInt(text string, bits int) (string, *usp.Error) {
	n, err := strconv.ParseInt(text, 10, bits)
	if err != nil {
		return "", usp.Errorf(usp.ErrInvalidType, "", "%q is not a number of %d bits", shorten(text), bits)
	}
	return strconv.FormatInt(n, 10), nil
}

func wrongType(typ dm.Type, text string) *usp.Error {
	names := map[dm.Type]string{
		dm.TypeBoolean: "a boolean (true or false)", dm.TypeDecimal: "a decimal number", dm.TypeDateTime: "a dateTime",
		dm.TypeBase64: "base64", dm.TypeHexBinary: "hexBinary",
	}
	want := names[typ]
	if want == "" {
		want = "UTF-8 text"
	}
	return usp.Errorf(usp.ErrInvalidType, "", "%q is not %s", shorten(text), want)
}

// shorten bounds a peer's text in messages and logs.
func shorten(s string) string {
	const most = 128
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// size returns a check of a string's length in characters.
func size(least, most int) func(string) error {
	return func(v string) error {
		if n := utf8.RuneCountInString(v); n < least || n > most {
			return fmt.Errorf("%d characters: %d to %d are allowed", n, least, most)
		}
		return nil
	}
}

// span returns a check of a number's range.
func span(least, most int64) func(string) error {
	return func(v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return err
		}
		if n < least || n > most {
			return fmt.Errorf("%d: %d to %d are allowed", n, least, most)
		}
		return nil
	}
}

// oneOf returns a check against an enumeration.
func oneOf(values ...string) func(string) error {
	return func(v string) error {
		for _, want := range values {
			if v == want {
				return nil
			}
		}
		return fmt.Errorf("%q: one of %s is wanted", shorten(v), strings.Join(values, ", "))
	}
}

// splitList returns the items of a comma-separated list, without the white
// space around them (TR-106 3.2.3). Commas inside brackets and quotes of a
// search expression do not separate.
func splitList(list string) []string {
	if strings.TrimSpace(list) == "" {
		return nil
	}
	var items []string
	start, depth, quoted := 0, 0, false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '"' && depth > 0:
			quoted = !quoted
		case quoted:
		case c == '[':
			depth++
		case c == ']' && depth > 0:
			depth--
		case c == ',' && depth == 0:
			items = append(items, strings.TrimSpace(list[start:i]))
			start = i + 1
		}
	}
	return append(items, strings.TrimSpace(list[start:]))
}

// number reads a value that was checked when it was stored.
func number(v string) int64 {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// accept checks a value against the declaration of its parameter.
func (p *param) accept(text string, most int) (string, *usp.Error) {
	if len(text) > most {
		return "", usp.Errorf(usp.ErrResourcesExceeded, "", "a value of %d bytes: at most %d are kept", len(text), most)
	}
	v, err := canonical(p.typ, text)
	if err != nil || p.paramDecl.check == nil {
		return v, err
	}
	items := []string{v}
	if p.list {
		items = splitList(v)
	}
	for _, item := range items {
		if e := p.paramDecl.check(item); e != nil {
			return "", usp.Errorf(usp.ErrInvalidValue, "", "%w", e)
		}
	}
	return v, nil
}
