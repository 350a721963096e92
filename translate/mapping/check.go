package mapping

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// checkValue says whether a controller's value is one of its parameter: 7011 if
// it is of another type, 7012 if the standard does not have it, or no CPE can be
// told it.
func checkValue(path, v string, bind *binding) *usp.Error {
	size, err := measure(v, bind.node.Type)
	if err != nil {
		return usp.Errorf(usp.ErrInvalidType, path, "%w", err)
	}
	if err := sendable(v); err != nil {
		return usp.Errorf(usp.ErrInvalidValue, path, "%w", err)
	}
	if bind.std == nil {
		return nil
	}
	if err := bind.std.allowsValue(v, size); err != nil {
		return usp.Errorf(usp.ErrInvalidValue, path, "%w", err)
	}
	return nil
}

// sendable fails on a value that no CPE can be told.
func sendable(v string) error {
	i := strings.IndexFunc(v, noXML)
	if i < 0 {
		return nil
	}
	r, _ := utf8.DecodeRuneInString(v[i:])
	return fmt.Errorf("%U cannot be sent to a CPE: XML has no such character", r)
}

// noXML reports whether XML cannot have a character, not even as a reference
// (XML 1.0, production 2). An envelope has another in its place.
func noXML(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == '\ufffe' || r == '\uffff'
}

// measure checks the form of a value and returns what limits apply to: the
// number that it is, or its length.
func measure(v string, typ dm.Type) (size float64, err error) {
	bad := func(what string) (float64, error) { return 0, fmt.Errorf("%q is no %s", v, what) }
	switch typ {
	case dm.TypeBoolean:
		if v != "true" && v != "false" && v != "1" && v != "0" {
			return bad("boolean: it can be true, false, 1 or 0")
		}
	case dm.TypeInt, dm.TypeLong:
		bits := 32
		if typ == dm.TypeLong {
			bits = 64
		}
		n, err := strconv.ParseInt(v, 10, bits)
		if err != nil {
			return bad(fmt.Sprintf("whole number of %d bits", bits))
		}
		return float64(n), nil
	case dm.TypeUnsignedInt, dm.TypeUnsignedLong:
		bits := 32
		if typ == dm.TypeUnsignedLong {
			bits = 64
		}
		n, err := strconv.ParseUint(v, 10, bits)
		if err != nil {
			return bad(fmt.Sprintf("whole number of %d bits without sign", bits))
		}
		return float64(n), nil
	case dm.TypeDecimal:
		if size, err = strconv.ParseFloat(v, 64); err != nil {
			return bad("number")
		}
		return size, nil
	case dm.TypeDateTime:
		if _, err := time.Parse(time.RFC3339, v); err != nil {
			return bad("date and time such as 2026-01-31T12:00:00Z")
		}
	case dm.TypeHexBinary:
		b, err := hex.DecodeString(v)
		if err != nil {
			return bad("string of hexadecimal digits")
		}
		return float64(len(b)), nil
	case dm.TypeBase64:
		b, err := base64.StdEncoding.DecodeString(v)
		if err != nil {
			return bad("base64 string")
		}
		return float64(len(b)), nil
	default:
		return float64(utf8.RuneCountInString(v)), nil
	}
	return 0, nil
}

// allowsValue reports why the standard does not have a value of a size that measure
// has told.
func (e *element) allowsValue(v string, size float64) error {
	if !e.list {
		return e.allows(v, size)
	}
	for item := range strings.SplitSeq(v, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		if err := e.allows(item, float64(utf8.RuneCountInString(item))); err != nil {
			return err
		}
	}
	return nil
}

// allows reports why the standard does not have a value, or an item of a list.
// Vendors may add values to an enumeration (TR-106 A.2.2.6); theirs begin with
// X_.
func (e *element) allows(item string, size float64) error {
	if e.enum != nil && !slices.Contains(e.enum, item) && !strings.HasPrefix(item, "X_") {
		return fmt.Errorf("%q is not one of %s", item, strings.Join(e.enum, ", "))
	}
	switch e.typ {
	case dm.TypeInt, dm.TypeLong, dm.TypeUnsignedInt, dm.TypeUnsignedLong, dm.TypeDecimal:
		if !inBounds(e.ranges, size) {
			return fmt.Errorf("%s is out of range: %s", item, boundsText(e.ranges))
		}
	case dm.TypeString, dm.TypeHexBinary, dm.TypeBase64:
		if !inBounds(e.sizes, size) {
			return fmt.Errorf("a length of %g is out of range: %s", size, boundsText(e.sizes))
		}
	}
	return nil
}

func inBounds(list []bounds, n float64) bool {
	return list == nil || slices.ContainsFunc(list, func(b bounds) bool { return b.low <= n && n <= b.high })
}

func boundsText(list []bounds) string {
	texts := make([]string, len(list))
	for i, b := range list {
		texts[i] = fmt.Sprintf("%.0f to %.0f", b.low, b.high)
	}
	return strings.NewReplacer("-Inf", "any", "+Inf", "any").Replace(strings.Join(texts, " or "))
}
