package tree

import (
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// MaxPath is the longest path that is taken from a CPE, in bytes. TR-069 A.3.3
// allows 256.
const MaxPath = 1024

const placeholder = "{i}"

// Split turns "A.1.B.2.C" into the {i}-path "A.{i}.B.{i}.C" and its instance
// numbers. A segment is an instance number if it is a decimal number from 1 to
// 2^32-1 without leading zeros that follows a name; another numeral is taken as
// a name, as some vendors have them. ok is false for an empty path, an empty
// segment, a segment "{i}", more than dm.MaxDepth numbers and more than MaxPath
// bytes.
func Split(p cwmp.Path) (schema string, inst dm.Instance, ok bool) {
	s := string(p)
	if s == "" || len(s) > MaxPath {
		return "", inst, false
	}
	var b []byte // begun at the first number
	start, afterName := 0, false
	for start < len(s) {
		end := strings.IndexByte(s[start:], '.')
		if end < 0 {
			end = len(s)
		} else {
			end += start
		}
		seg := s[start:end]
		if seg == "" || seg == placeholder {
			return "", inst, false
		}
		n := uint32(0)
		if afterName {
			n = number(seg)
		}
		if n != 0 {
			if inst.Len() == dm.MaxDepth {
				return "", inst, false
			}
			inst = inst.Append(n)
			if b == nil {
				b = append(make([]byte, 0, len(s)+3*dm.MaxDepth), s[:start]...)
			}
			b = append(b, placeholder...)
		} else if b != nil {
			b = append(b, seg...)
		}
		afterName = n == 0
		if end < len(s) {
			if b != nil {
				b = append(b, '.')
			}
			end++
		}
		start = end
	}
	if b == nil {
		return s, inst, true
	}
	return string(b), inst, true
}

// number returns the instance number that seg is, 0 if it is none.
func number(seg string) uint32 {
	if seg[0] < '1' || seg[0] > '9' || len(seg) > 10 {
		return 0
	}
	n, err := strconv.ParseUint(seg, 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// Join puts instance numbers into a {i}-path. With fewer numbers than {i} the
// path ends before the first {i} without a number.
func Join(schema string, inst dm.Instance) cwmp.Path {
	if inst.Len() == 0 && !strings.Contains(schema, placeholder) {
		return cwmp.Path(schema)
	}
	b := make([]byte, 0, len(schema)+8)
	for k := 0; ; k++ {
		i := strings.Index(schema, placeholder)
		if i < 0 {
			return cwmp.Path(append(b, schema...))
		}
		b = append(b, schema[:i]...)
		if k == inst.Len() {
			return cwmp.Path(b)
		}
		b = strconv.AppendUint(b, uint64(inst.At(k)), 10)
		schema = schema[i+len(placeholder):]
	}
}

// tableOf returns the path of the innermost table that a {i}-path lies in,
// "A.{i}.B.{i}." for "A.{i}.B.{i}.C.D"; "" if it lies in none.
func tableOf(schema string) string {
	i := strings.LastIndex(schema, placeholder+".")
	if i < 0 {
		return ""
	}
	return schema[:i+len(placeholder)+1]
}
