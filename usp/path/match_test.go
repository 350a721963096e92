package path

import (
	"errors"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/usp/dm"
)

// component parses the inside of an expression, such as `P=="x"`.
func component(t testing.TB, s string) *Component {
	t.Helper()
	p, err := Parse("Device.T.[" + s + "].")
	if err != nil {
		t.Fatal(err)
	}
	return &p.Steps[2].Expr.Components[0]
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		expr string
		typ  dm.Type
		yes  string // values for which it holds, by |
		no   string
	}{
		{`P=="Normal"`, dm.TypeString, "Normal", "|normal|Normal |Normal,"},
		{`P!="Normal"`, dm.TypeString, "|normal", "Normal"},
		{`P==""`, dm.TypeString, "", "x"},
		{`P==5`, dm.TypeInt, "5|+5|005| 5 ", "-5|6|5.0|x|"},
		{`P==+5`, dm.TypeInt, "5", "6"},
		{`P==-0`, dm.TypeLong, "0|-0", "1"},
		{`P!=5`, dm.TypeUnsignedInt, "6|none|", "5|05"},
		{`P<0`, dm.TypeInt, "-1|-9223372036854775808", "0|1|"},
		{`P>-3`, dm.TypeInt, "-2|0", "-3|-4"},
		{`P<=-3`, dm.TypeInt, "-3|-4", "-2|3"},
		{`P>=4294967296`, dm.TypeUnsignedInt, "4294967296|18446744073709551615", "4294967295|-1|99999999999999999999"},
		{`P>=1.50`, dm.TypeDecimal, "1.5|2|+10", "1.49|-2|1e9|inf|0x10|"},
		{`P==true`, dm.TypeBoolean, "true|1", "false|0||yes"},
		{`P==0`, dm.TypeBoolean, "false|0", "true|1|"},
		{`P!=true`, dm.TypeBoolean, "false|0|", "true|1"},
		{`P<2021-06-06T08:00:00Z`, dm.TypeDateTime, "2021-06-06T07:59:59Z|2021-06-06T09:30:00+02:00|2021-06-06T07:00:00", "2021-06-06T08:00:00Z|0001-01-01T00:00:00Z||never"},
		{`P==2021-06-06T08:00:00`, dm.TypeDateTime, "2021-06-06T08:00:00Z|2021-06-06T08:00:00.000Z|2021-06-06T10:00:00+02:00", "2021-06-06T08:00:01Z|0000-00-00T00:00:00"},
		{`P==0001-01-01T00:00:00Z`, dm.TypeDateTime, "0001-01-01T00:00:00Z", "2021-06-06T08:00:00Z|0000-00-00T00:00:00"},
		{`P!=0001-01-01T00:00:00Z`, dm.TypeDateTime, "2021-06-06T08:00:00Z", "0001-01-01T00:00:00Z"},
		{`P==08`, dm.TypeHexBinary, "08", "8|09|0808|"},
		{`P=="00fF"`, dm.TypeHexBinary, "00FF|00ff", "00FE|x"},
		{`P=="QUI="`, dm.TypeBase64, "QUI=", "QUE="},
		{`P~="IPv6Firewall"`, dm.TypeString, "IPv6Firewall|a,IPv6Firewall|a , IPv6Firewall , b", "|IPv6FirewallX|a,b|ipv6firewall"},
		{`P~=5`, dm.TypeString, "5|1,5|+5", "55|1,2|"},
		{`P~=""`, dm.TypeString, "a,,b", "|a"},
		{`P=="x"`, dm.TypeUnknown, "x", "y|"},
		{`P==5`, dm.TypeUnknown, "5|05|5.0", "6|x"},
		{`P>5`, dm.TypeUnknown, "6|10", "5|x|"},
		{`P==true`, dm.TypeUnknown, "1|true", "0|x"},
		{`P!=true`, dm.TypeUnknown, "0|x", "1"},
	} {
		m := component(t, c.expr)
		for want, values := range map[bool]string{true: c.yes, false: c.no} {
			for v := range strings.SplitSeq(values, "|") {
				if got, err := m.Match(v, c.typ); err != nil || got != want {
					t.Errorf("[%s] for %q of type %d: %t, %v; want %t", c.expr, v, c.typ, got, err, want)
				}
			}
		}
	}
}

func TestMatchTypeErrors(t *testing.T) {
	for _, c := range []struct {
		expr string
		typ  dm.Type
		want string
	}{
		{`P=="true"`, dm.TypeBoolean, "without quotes"}, // an example of TR-369
		{`P=="5"`, dm.TypeInt, "without quotes"},
		{`P==Normal`, dm.TypeString, "in double quotes"},
		{`P==yes`, dm.TypeBoolean, "true, false, 1 or 0"},
		{`P<true`, dm.TypeBoolean, "== and != only"},
		{`P>"a"`, dm.TypeString, "== and != only"},
		{`P<0001-01-01T00:00:00Z`, dm.TypeDateTime, "== and != only"},
		{`P<08`, dm.TypeHexBinary, "== and != only"},
		{`P==5.5`, dm.TypeInt, "whole number"},
		{`P==99999999999999999999`, dm.TypeUnsignedLong, "whole number"},
		{`P==1e5`, dm.TypeDecimal, "a number"},
		{`P==yesterday`, dm.TypeDateTime, "a dateTime"},
		{`P==xyz`, dm.TypeHexBinary, "hex digits"},
		{`P~=5`, dm.TypeInt, "lists only"},
	} {
		for _, value := range []string{"", "5", "true", "junk"} { // the value makes no difference
			_, err := component(t, c.expr).Match(value, c.typ)
			var te *TypeError
			if !errors.As(err, &te) || !strings.Contains(err.Error(), c.want) || te.Component != c.expr {
				t.Errorf("[%s] of type %d for %q: error %v, want %q", c.expr, c.typ, value, err, c.want)
			}
		}
	}
}

// FuzzMatch: no value of a device panics, == and != never agree, and an order
// that is strict both ways never holds.
func FuzzMatch(f *testing.F) {
	for _, v := range []string{"", "5", "-1", "1.5", "true", "2021-06-06T08:00:00Z", "0001-01-01T00:00:00Z", "a,b", "00ff"} {
		f.Add(v, "5", false, uint8(dm.TypeInt))
		f.Add(v, v, true, uint8(dm.TypeString))
		f.Add(v, v, false, uint8(dm.TypeDateTime))
	}
	f.Fuzz(func(t *testing.T, value, constant string, quoted bool, typ uint8) {
		holds := map[Op]bool{}
		for op := Equal; op <= GreaterOrEqual; op++ {
			c := comp("P", op, constant, quoted)
			got, err := c.Match(value, dm.Type(typ%11))
			if err != nil {
				got = false
			} else if op <= NotEqual {
				holds[op+100] = true // was evaluated
			}
			holds[op] = got
		}
		if holds[Equal+100] && holds[Equal] == holds[NotEqual] {
			t.Errorf("%q and %q are both equal and not", value, constant)
		}
		if holds[Less] && holds[Greater] || holds[Less] && holds[GreaterOrEqual] {
			t.Errorf("%q is both less and greater than %q", value, constant)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	for _, c := range []struct {
		expr, value string
		typ         dm.Type
	}{
		{`P=="eth0"`, "eth1", dm.TypeString},
		{`P>10`, "12", dm.TypeUnsignedInt},
		{`P==true`, "1", dm.TypeBoolean},
		{`P<2021-06-06T08:00:00Z`, "2020-06-06T08:00:00Z", dm.TypeDateTime},
	} {
		b.Run(c.expr, func(b *testing.B) {
			m := component(b, c.expr)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Match(c.value, c.typ); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
