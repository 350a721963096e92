package path

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/usp/dm"
)

// TypeError tells that a component compares a parameter with a constant or by
// an operator that its type does not have. On the wire it is USP error 7004 or
// 7008, as the message has it.
type TypeError struct {
	Component string // canonical writing
	Msg       string
}

func (e *TypeError) Error() string { return fmt.Sprintf("expression [%s]: %s", e.Component, e.Msg) }

func (c *Component) fail(format string, args ...any) error {
	e := Expr{Components: []Component{*c}}
	text := e.String()
	return &TypeError{Component: text[1 : len(text)-1], Msg: fmt.Sprintf(format, args...)}
}

// Match reports whether the component holds for a value of that type
// (TR-369 "Searching with Expressions"). Both sides are compared as values, not
// as text: 1 equals true, +7 equals 07, 10:00+02:00 equals 08:00Z. A value that
// is not of its type, as devices give now and then, equals nothing and is
// neither less nor greater. The error is a *TypeError: the constant or the
// operator does not suit the type; it does not depend on value.
//
// dm.TypeUnknown (a parameter of a device whose type nobody knows) is compared
// as numbers if both sides are, else as text. Lists are of dm.TypeString.
func (c *Component) Match(value string, typ dm.Type) (bool, error) {
	if c.Op == Contains {
		return c.contains(value, typ)
	}
	if c.Quoted && typ != dm.TypeUnknown && !textual(typ) {
		return false, c.fail("the parameter is no string: write the value without quotes")
	}
	switch typ {
	case dm.TypeBoolean:
		return c.matchBool(value)
	case dm.TypeInt, dm.TypeLong, dm.TypeUnsignedInt, dm.TypeUnsignedLong:
		return compare(c, value, parseInteger, integer.compare, "a whole number")
	case dm.TypeDecimal:
		return compare(c, value, parseDecimal, compareDecimal, "a number")
	case dm.TypeDateTime:
		return c.matchTime(value)
	case dm.TypeHexBinary:
		return c.matchHex(value)
	case dm.TypeUnknown:
		return c.matchUnknown(value)
	}
	if !c.Quoted && typ == dm.TypeString {
		return false, c.fail("the parameter is a string: write the value in double quotes")
	}
	return c.equality(value == c.Value)
}

// textual reports whether constants of the type may be in quotes.
func textual(typ dm.Type) bool {
	return typ == dm.TypeString || typ == dm.TypeBase64 || typ == dm.TypeHexBinary
}

// equality gives the outcome for types that have no order: "for string and
// boolean types … only the '==' and '!=' operators are valid".
func (c *Component) equality(equal bool) (bool, error) {
	switch c.Op {
	case Equal:
		return equal, nil
	case NotEqual:
		return !equal, nil
	}
	return false, c.fail("operator %s needs a number or a dateTime; this parameter takes == and != only", c.Op)
}

// ordered gives the outcome from a three-way comparison of value to constant.
func (c *Component) ordered(order int) bool {
	switch c.Op {
	case Equal:
		return order == 0
	case NotEqual:
		return order != 0
	case Less:
		return order < 0
	case LessOrEqual:
		return order <= 0
	case Greater:
		return order > 0
	default:
		return order >= 0
	}
}

// compare parses constant and value and compares them in order.
func compare[T any](c *Component, value string, parse func(string) (T, bool), cmp func(T, T) int, want string) (bool, error) {
	constant, ok := parse(c.Value)
	if !ok {
		return false, c.fail("the parameter needs %s, not %q", want, c.Value)
	}
	v, ok := parse(strings.TrimSpace(value))
	if !ok {
		return c.Op == NotEqual, nil
	}
	return c.ordered(cmp(v, constant)), nil
}

func (c *Component) matchBool(value string) (bool, error) {
	constant, ok := parseBool(c.Value)
	if !ok {
		return false, c.fail("the parameter needs true, false, 1 or 0, not %q", c.Value)
	}
	v, ok := parseBool(strings.TrimSpace(value))
	return c.equality(ok && v == constant)
}

func parseBool(s string) (value, ok bool) {
	switch s {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	}
	return false, false
}

// integer is a whole number of up to 64 bits and a sign, wide enough for every
// integer type of Device:2.
type integer struct {
	negative  bool
	magnitude uint64
}

func parseInteger(s string) (integer, bool) {
	var n integer
	if s != "" && (s[0] == '-' || s[0] == '+') {
		n.negative = s[0] == '-'
		s = s[1:]
	}
	u, err := strconv.ParseUint(s, 10, 64) // takes no sign of its own
	n.magnitude = u
	n.negative = n.negative && u != 0
	return n, err == nil
}

func (n integer) compare(o integer) int {
	switch {
	case n.negative != o.negative:
		if n.negative {
			return -1
		}
		return 1
	case n.magnitude == o.magnitude:
		return 0
	case n.magnitude < o.magnitude != n.negative:
		return -1
	}
	return 1
}

// parseDecimal takes XML Schema decimals: digits with one point, no exponent.
func parseDecimal(s string) (float64, bool) {
	if strings.Trim(s, "+-.0123456789") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

func compareDecimal(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// matchTime compares dateTimes. The Unknown Time has no place in order
// (TR-106 3.2.1): as a constant it takes == and != only, as a value it is
// neither before nor after anything.
func (c *Component) matchTime(value string) (bool, error) {
	constant, ok := parseTime(c.Value)
	if !ok {
		return false, c.fail("the parameter needs a dateTime such as 2021-06-06T08:00:00Z, not %q", c.Value)
	}
	v, ok := parseTime(strings.TrimSpace(value))
	if constant.IsZero() {
		return c.equality(ok && v.IsZero())
	}
	if !ok || v.IsZero() {
		return c.Op == NotEqual, nil
	}
	return c.ordered(v.Compare(constant)), nil
}

// parseTime takes ISO 8601 as TR-106 3.2 has it, with any fraction; without a
// zone it is taken as UTC, as most devices mean it. The zero time is the
// Unknown Time 0001-01-01T00:00:00Z.
func parseTime(s string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t, err = time.Parse("2006-01-02T15:04:05", s)
	}
	return t, err == nil
}

func (c *Component) matchHex(value string) (bool, error) {
	constant, err := hex.DecodeString(c.Value)
	if err != nil {
		return false, c.fail("the parameter needs an even number of hex digits, not %q", c.Value)
	}
	v, err := hex.DecodeString(strings.TrimSpace(value))
	return c.equality(err == nil && string(v) == string(constant))
}

func (c *Component) matchUnknown(value string) (bool, error) {
	if !c.Quoted {
		v, numeric := parseDecimal(strings.TrimSpace(value))
		if constant, ok := parseDecimal(c.Value); ok && numeric {
			return c.ordered(compareDecimal(v, constant)), nil
		}
		if constant, ok := parseBool(c.Value); ok && c.Op <= NotEqual {
			v, boolean := parseBool(strings.TrimSpace(value))
			return c.equality(boolean && v == constant)
		}
	}
	if c.Op > Contains { // an order of texts is not defined
		return false, nil
	}
	return c.equality(value == c.Value)
}

// contains looks for the constant among the items of a comma-separated list.
// What type the items have is not in the data model that agents exchange (a
// list is a string there), so an unquoted constant is compared as a number
// where item and constant are numbers.
func (c *Component) contains(list string, typ dm.Type) (bool, error) {
	if typ != dm.TypeString && typ != dm.TypeUnknown {
		return false, c.fail("operator ~= is for comma-separated lists only")
	}
	if list == "" {
		return false, nil // an empty list, not a list of one empty item
	}
	constant, numeric := parseDecimal(c.Value)
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == c.Value {
			return true, nil
		}
		if numeric && !c.Quoted {
			if v, ok := parseDecimal(item); ok && v == constant {
				return true, nil
			}
		}
	}
	return false, nil
}
