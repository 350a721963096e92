package mapping

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// converter turns a CPE's value into a USP value and back. The zero value
// leaves it as it is.
type converter struct {
	enum           [][2]string // CPE value, USP value; "*" is any other
	open           bool        // values not in enum pass
	not            bool
	mul, div       float64
	item           int // 1: first of a list
	list           bool
	fromSep, toSep string
	hexText        bool
	base64Hex      bool
	dateTime       string
	ref            []string // CPE path to the USP path of the row in one of these tables
	lookup         *lookup  // values are identifiers of rows, for ref
	path           bool     // a path of this data model, which some CPE end with a dot
}

func (c *converter) String() string {
	var parts []string
	add := func(on bool, text string) {
		if on {
			parts = append(parts, text)
		}
	}
	add(c.enum != nil, fmt.Sprintf("enum %v", c.enum))
	add(c.not, "not")
	add(c.mul != 0, fmt.Sprintf("mul %g", c.mul))
	add(c.div != 0, fmt.Sprintf("div %g", c.div))
	add(c.item != 0, fmt.Sprintf("item %d", c.item))
	add(c.list, "list")
	add(c.hexText, "text as hex")
	add(c.base64Hex, "base64 as hex")
	add(c.dateTime != "", "dateTime")
	add(c.ref != nil, fmt.Sprintf("reference to %v", c.ref))
	if parts == nil {
		return "same value"
	}
	return strings.Join(parts, ", ")
}

// read converts a CPE's value. References are the View's business.
func (c *converter) read(v string, typ dm.Type) string {
	if c.list {
		if v == "" {
			return ""
		}
		items := strings.Split(v, c.fromSep)
		for i, item := range items {
			items[i] = c.readItem(strings.TrimSpace(item))
		}
		return strings.Join(items, c.toSep)
	}
	if c.item > 0 {
		items := itemsOf(v)
		if c.item > len(items) {
			return ""
		}
		v = items[c.item-1]
	}
	return canonical(c.readItem(v), typ)
}

func (c *converter) readItem(v string) string {
	if c.path {
		return strings.TrimSuffix(v, ".")
	}
	if c.enum != nil {
		return c.readEnum(v)
	}
	switch {
	case c.not:
		return strconv.FormatBool(!isTrue(v))
	case c.mul != 0 || c.div != 0:
		return scale(v, c.mul, c.div)
	case c.hexText:
		return strings.ToUpper(hex.EncodeToString([]byte(v)))
	case c.base64Hex:
		if b, err := base64.StdEncoding.DecodeString(v); err == nil {
			return strings.ToUpper(hex.EncodeToString(b))
		}
	}
	return v
}

// readEnum prefers an exact match to one of another case, and both to "*".
func (c *converter) readEnum(v string) string {
	other := v
	for _, pair := range slices.Backward(c.enum) {
		switch {
		case pair[0] == "*":
			other = pair[1]
		case pair[0] == v:
			return pair[1]
		}
	}
	for _, pair := range c.enum {
		if strings.EqualFold(pair[0], v) {
			return pair[1]
		}
	}
	return other
}

func scale(v string, mul, div float64) string {
	n, err := strconv.ParseFloat(decimal(v), 64)
	if err != nil {
		return v
	}
	if mul != 0 {
		n *= mul
	}
	if div != 0 {
		n /= div
	}
	return strconv.FormatFloat(math.Trunc(n), 'f', -1, 64)
}

// write converts a USP value back.
func (c *converter) write(v string) (string, error) {
	if !c.list {
		return c.writeItem(v)
	}
	if v == "" {
		return "", nil
	}
	items := strings.Split(v, c.toSep)
	for i, item := range items {
		back, err := c.writeItem(strings.TrimSpace(item))
		if err != nil {
			return "", err
		}
		items[i] = back
	}
	return strings.Join(items, c.fromSep), nil
}

func (c *converter) writeItem(v string) (string, error) {
	if c.enum != nil {
		for _, pair := range c.enum {
			if pair[1] == v && pair[0] != "*" {
				return pair[0], nil
			}
		}
		if c.open {
			return v, nil
		}
		return "", fmt.Errorf("the CPE has no value for %q", v)
	}
	switch {
	case c.not:
		return strconv.FormatBool(!isTrue(v)), nil
	case c.mul != 0 || c.div != 0:
		return scale(v, c.div, c.mul), nil
	case c.hexText:
		b, err := hex.DecodeString(v)
		return string(b), err
	case c.base64Hex:
		b, err := hex.DecodeString(v)
		return base64.StdEncoding.EncodeToString(b), err
	}
	return v, nil
}

func isTrue(v string) bool {
	b, _ := cwmp.ParseBoolean(v) // what is none is false
	return b
}

// canonical writes a CPE's value as USP has its type (TR-106 3.2): CPE spell
// booleans 0 and 1, date and time in many ways, and numbers with units. "" is what
// cannot be read as a number.
func canonical(v string, typ dm.Type) string {
	switch typ {
	case dm.TypeBoolean:
		return strconv.FormatBool(isTrue(v))
	case dm.TypeDateTime:
		return dateTime(v)
	case dm.TypeInt, dm.TypeLong, dm.TypeUnsignedInt, dm.TypeUnsignedLong:
		return wholeNumber(v, typ)
	case dm.TypeDecimal:
		return decimal(v)
	}
	return v
}

// unknownTime is TR-106's "the time is not known".
const unknownTime = "0001-01-01T00:00:00Z"

// dateTime writes a CPE's date and time in ISO 8601. What cannot be read is
// unknown, and so is what is only relative to the CPE's boot.
func dateTime(v string) string {
	t, ok := cwmp.ParseTime(v)
	if !ok || t.Year() <= 1 {
		return unknownTime
	}
	return t.Format(time.RFC3339Nano)
}
