package mapping

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/usp/dm"
)

// leadingNumber is what a value of a number begins with; CPE put units behind it
// ("-19.30 dBm").
var leadingNumber = regexp.MustCompile(`^[-+]?[0-9]{1,40}(\.[0-9]+)?`)

// limits are the least and the greatest number of a type.
var limits = map[dm.Type][2]*big.Int{
	dm.TypeInt:          {big.NewInt(-1 << 31), big.NewInt(1<<31 - 1)},
	dm.TypeLong:         {big.NewInt(-1 << 63), big.NewInt(1<<63 - 1)},
	dm.TypeUnsignedInt:  {new(big.Int), big.NewInt(1<<32 - 1)},
	dm.TypeUnsignedLong: {new(big.Int), new(big.Int).SetUint64(1<<64 - 1)},
}

// wholeNumber writes a CPE's number as one that its type has: without unit and
// fraction, and within the type's bits. A counter without sign that a CPE prints
// with one, or counts beyond its width, is what a counter of that width would be;
// other numbers stop at the type's end. "" is what is no number at all.
func wholeNumber(v string, typ dm.Type) string {
	v = strings.TrimSpace(v)
	if _, err := measure(v, typ); err == nil {
		return v
	}
	digits, _, _ := strings.Cut(leadingNumber.FindString(v), ".")
	n, ok := new(big.Int).SetString(strings.TrimPrefix(digits, "+"), 10)
	if !ok {
		return ""
	}
	low, high := limits[typ][0], limits[typ][1]
	if low.Sign() == 0 && (n.Sign() < 0 || n.Cmp(high) > 0) {
		width := new(big.Int).Add(high, big.NewInt(1))
		if n.Sign() < 0 && n.Cmp(limits[dm.TypeInt][0]) >= 0 {
			width.SetUint64(1 << 32) // a 32-bit counter, whatever the type
		}
		return n.Mod(n, width).String()
	}
	switch {
	case n.Cmp(low) < 0:
		n = low
	case n.Cmp(high) > 0:
		n = high
	}
	return n.String()
}

// decimal writes a CPE's decimal number without unit; "" is what is none.
func decimal(v string) string {
	v = strings.TrimSpace(v)
	if _, err := strconv.ParseFloat(v, 64); err == nil {
		return v
	}
	return strings.TrimPrefix(leadingNumber.FindString(v), "+")
}

// isNumberType reports whether values of a type are numbers, for which an empty text is
// no value.
func isNumberType(typ dm.Type) bool {
	_, whole := limits[typ]
	return whole || typ == dm.TypeDecimal
}
