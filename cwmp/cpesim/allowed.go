package cpesim

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/uspbridge/uspbridge/cwmp"
)

// allowed restricts what may be written to a parameter, beyond its type.
type allowed struct {
	values   []string // enumeration; empty: any
	min, max int64    // of a number, or of a string's length
	bounded  bool
	length   bool
}

// parseAllowed reads a model's Allowed column.
func parseAllowed(s string) (*allowed, error) {
	if s = strings.TrimSpace(s); s == "" {
		return nil, nil
	}
	bounds, length := strings.CutPrefix(s, "len ")
	low, high, isRange := strings.Cut(bounds, "..")
	if !isRange {
		if length {
			return nil, fmt.Errorf("allowed lengths %q: want \"len MIN..MAX\"", s)
		}
		return &allowed{values: strings.Split(s, "|")}, nil
	}
	lo, errLow := strconv.ParseInt(low, 10, 64)
	hi, errHigh := strconv.ParseInt(high, 10, 64)
	if errLow != nil || errHigh != nil || lo > hi {
		return nil, fmt.Errorf("allowed range %q: want MIN..MAX", s)
	}
	return &allowed{min: lo, max: hi, bounded: true, length: length}, nil
}

func (a *allowed) check(text string) error {
	switch {
	case a == nil:
		return nil
	case len(a.values) > 0 && !slices.Contains(a.values, text):
		return fmt.Errorf("%q is none of %s", text, strings.Join(a.values, ", "))
	case a.bounded && a.length:
		if n := int64(utf8.RuneCountInString(text)); n < a.min || n > a.max {
			return fmt.Errorf("length %d is not in %d to %d", n, a.min, a.max)
		}
	case a.bounded:
		if n, err := strconv.ParseInt(text, 10, 64); err != nil || n < a.min || n > a.max {
			return fmt.Errorf("%q is not in %d to %d", text, a.min, a.max)
		}
	}
	return nil
}

// canonical brings a value into the form that the tree keeps: booleans as "true"
// and "false". What is not a boolean stays as it is; checkType refuses it.
func canonical(t cwmp.Type, text string) string {
	if t != cwmp.TypeBoolean {
		return text
	}
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "1", "true":
		return "true"
	case "0", "false":
		return "false"
	}
	return text
}

// checkType reports why text is not a value of the type (TR-106 3.2).
func checkType(t cwmp.Type, text string) error {
	var err error
	switch t {
	case cwmp.TypeInt:
		_, err = strconv.ParseInt(text, 10, 32)
	case cwmp.TypeLong:
		_, err = strconv.ParseInt(text, 10, 64)
	case cwmp.TypeUnsignedInt:
		_, err = strconv.ParseUint(text, 10, 32)
	case cwmp.TypeUnsignedLong:
		_, err = strconv.ParseUint(text, 10, 64)
	case cwmp.TypeDecimal:
		_, err = strconv.ParseFloat(text, 64)
	case cwmp.TypeBoolean:
		if text != "true" && text != "false" {
			err = strconv.ErrSyntax
		}
	case cwmp.TypeDateTime:
		_, err = parseDateTime(text)
	case cwmp.TypeBase64:
		_, err = base64.StdEncoding.DecodeString(text)
	case cwmp.TypeHexBinary:
		_, err = hex.DecodeString(text)
	}
	if err != nil {
		return fmt.Errorf("%q is not a value of type %s", text, t)
	}
	return nil
}

// parseDateTime reads xsd:dateTime; without a zone it is UTC.
func parseDateTime(text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	return time.Parse("2006-01-02T15:04:05.999999999", text)
}
