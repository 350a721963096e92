package bulk

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/usp/dm"
)

var collected = time.Unix(1364529149, 0)

// two reports: one that failed, and a later one in which a row is new.
func twoReports() []Report {
	return []Report{
		{Time: collected, Items: []Item{
			{"Device.MoCA.Interface.1.Stats.BytesSent", "25248", dm.TypeUnsignedLong},
			{"Name", `say "hi", you`, dm.TypeString},
			{"Up", "1", dm.TypeBoolean},
		}},
		{Time: collected.Add(5 * time.Minute), Items: []Item{
			{"Device.MoCA.Interface.1.Stats.BytesSent", "25249", dm.TypeUnsignedLong},
			{"Device.MoCA.Interface.2.Stats.BytesSent", "7", dm.TypeUnsignedLong},
			{"Name", "two\r\nlines", dm.TypeString},
			{"Up", "false", dm.TypeBoolean},
		}},
	}
}

func csvFormat(layout Layout, stamp Stamp) Format {
	return Format{Encoding: CSV, Layout: layout, Stamp: stamp, FieldSeparator: ",", RowSeparator: "\r\n", Escape: `"`}
}

func TestEncode(t *testing.T) {
	for _, c := range []struct {
		name   string
		format Format
		want   string
	}{
		{"ParameterPerRow", csvFormat(ParameterPerRow, UnixEpoch), "" +
			"ReportTimestamp,ParameterName,ParameterValue,ParameterType\r\n" +
			"1364529149,Device.MoCA.Interface.1.Stats.BytesSent,25248,unsignedLong\r\n" +
			"1364529149,Name,\"say \"\"hi\"\", you\",string\r\n" +
			"1364529149,Up,1,boolean\r\n" +
			"1364529449,Device.MoCA.Interface.1.Stats.BytesSent,25249,unsignedLong\r\n" +
			"1364529449,Device.MoCA.Interface.2.Stats.BytesSent,7,unsignedLong\r\n" +
			"1364529449,Name,\"two\r\nlines\",string\r\n" +
			"1364529449,Up,false,boolean\r\n"},
		{"ParameterPerColumn: the columns of all reports", csvFormat(ParameterPerColumn, ISO8601), "" +
			"ReportTimestamp,Device.MoCA.Interface.1.Stats.BytesSent,Name,Up,Device.MoCA.Interface.2.Stats.BytesSent\r\n" +
			"2013-03-29T03:52:29Z,25248,\"say \"\"hi\"\", you\",1,\r\n" +
			"2013-03-29T03:57:29Z,25249,\"two\r\nlines\",false,7\r\n"},
		{"own separators, no timestamp", Format{Encoding: CSV, Layout: ParameterPerColumn, Stamp: NoStamp, FieldSeparator: ";", RowSeparator: "\n", Escape: "'"}, "" +
			"Device.MoCA.Interface.1.Stats.BytesSent;Name;Up;Device.MoCA.Interface.2.Stats.BytesSent\n" +
			"25248;say \"hi\", you;1;\n" +
			"25249;'two\r\nlines';false;7\n"},
		{"no escape character", Format{Encoding: CSV, Layout: ParameterPerRow, Stamp: NoStamp, FieldSeparator: "|", RowSeparator: "~"}, "" +
			"ParameterName|ParameterValue|ParameterType~" +
			"Device.MoCA.Interface.1.Stats.BytesSent|25248|unsignedLong~Name|say \"hi\", you|string~Up|1|boolean~" +
			"Device.MoCA.Interface.1.Stats.BytesSent|25249|unsignedLong~Device.MoCA.Interface.2.Stats.BytesSent|7|unsignedLong~Name|two\r\nlines|string~Up|false|boolean~"},
		{"NameValuePair", Format{Encoding: JSON, Layout: NameValuePair, Stamp: UnixEpoch}, `{"Report":[` +
			`{"CollectionTime":1364529149,"Device.MoCA.Interface.1.Stats.BytesSent":25248,"Name":"say \"hi\", you","Up":true},` +
			`{"CollectionTime":1364529449,"Device.MoCA.Interface.1.Stats.BytesSent":25249,"Device.MoCA.Interface.2.Stats.BytesSent":7,"Name":"two\r\nlines","Up":false}]}`},
		{"ObjectHierarchy", Format{Encoding: JSON, Layout: ObjectHierarchy, Stamp: ISO8601}, `{"Report":[` +
			`{"CollectionTime":"2013-03-29T03:52:29Z","Device":{"MoCA":{"Interface":{"1":{"Stats":{"BytesSent":25248}}}}},"Name":"say \"hi\", you","Up":true},` +
			`{"CollectionTime":"2013-03-29T03:57:29Z","Device":{"MoCA":{"Interface":{"1":{"Stats":{"BytesSent":25249}},"2":{"Stats":{"BytesSent":7}}}}},"Name":"two\r\nlines","Up":false}]}`},
	} {
		got, err := c.format.Encode(twoReports(), 1<<20)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v\ngot  %q\nwant %q", c.name, err, got, c.want)
		}
	}
}

// The types of JSON, and what a device gives that is not of its type.
func TestJSONTypes(t *testing.T) {
	for _, c := range []struct {
		typ         dm.Type
		value, want string
	}{
		{dm.TypeBoolean, "true", "true"}, {dm.TypeBoolean, "0", "false"}, {dm.TypeBoolean, "yes", `"yes"`},
		{dm.TypeInt, "-5", "-5"}, {dm.TypeInt, "007", "7"}, {dm.TypeInt, "", `""`}, {dm.TypeLong, "1,2", `"1,2"`},
		{dm.TypeUnsignedInt, "4294967295", "4294967295"}, {dm.TypeUnsignedLong, "18446744073709551615", "18446744073709551615"},
		{dm.TypeUnsignedInt, "-1", `"-1"`}, {dm.TypeDecimal, "1.50", "1.5"}, {dm.TypeDecimal, "NaN", `"NaN"`}, {dm.TypeDecimal, "1e400", `"1e400"`},
		{dm.TypeDateTime, "2026-01-02T03:04:05Z", `"2026-01-02T03:04:05Z"`}, {dm.TypeHexBinary, "00ff", `"00ff"`}, {dm.TypeBase64, "AA==", `"AA=="`},
		{dm.TypeString, "12", `"12"`}, {dm.TypeString, "a\\b\u2028", `"a\\b\u2028"`}, {dm.TypeUnknown, "x", `"x"`},
	} {
		if got := appendValue(nil, &Item{Value: c.value, Type: c.typ}); string(got) != c.want {
			t.Errorf("%v %q: got %s, want %s", c.typ, c.value, got, c.want)
		}
	}
}

// Names that a controller chose can be a value and an object at once; the
// document stays one in which nothing is there twice.
func TestHierarchyOfAnyNames(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  string
	}{
		{[]string{"A", "A.1", "A.2"}, `"A":{"":"A","1":"A.1","2":"A.2"}`},
		{[]string{"A.1", "A"}, `"A":{"1":"A.1","":"A"}`},
		{[]string{"A.B.C", "A.B", "A"}, `"A":{"B":{"C":"A.B.C","":"A.B"},"":"A"}`},
		{[]string{"", ".", ".."}, `"":{"":{"":".."}}`},
		{[]string{strings.Repeat("a.", 40) + "b"}, strings.Repeat(`"a":{`, 32) + `"a.a.a.a.a.a.a.a.b":"` + strings.Repeat("a.", 40) + `b"` + strings.Repeat("}", 32)},
	} {
		var items []Item
		for _, n := range c.names {
			items = append(items, Item{n, n, dm.TypeString})
		}
		got := string(appendHierarchy(nil, items))
		if got != c.want && c.names[0] != "" {
			t.Errorf("%q: got %s, want %s", c.names, got, c.want)
		}
		if !json.Valid([]byte("{" + got + "}")) {
			t.Errorf("%q: %s is no JSON", c.names, got)
		}
	}
}

func TestEncodeIsBounded(t *testing.T) {
	reports := []Report{{Time: collected, Items: manyItems(1000)}, {Time: collected, Items: manyItems(1000)}}
	for _, f := range everyFormat() {
		if _, err := f.Encode(reports, 1000); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", f.Layout, err)
		}
		if b, err := f.Encode(nil, 1000); err != nil || len(b) == 0 {
			t.Errorf("%s of nothing: %q, %v", f.Layout, b, err)
		}
	}
}

func TestSeparator(t *testing.T) {
	for text, want := range map[string]string{
		",": ",", "": "", "\r\n": "\r\n", "&#13;&#10;": "\r\n", "&#10;": "\n", "&quot;": `"`, "&#x2c;": ",", "&": "&",
	} {
		if got, err := Separator(text); err != nil || got != want {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
	for _, text := range []string{strings.Repeat(",", 17), "&#0;", "\x00", "\xff"} {
		if got, err := Separator(text); err == nil {
			t.Errorf("%q is taken as %q", text, got)
		}
	}
}

func everyFormat() []Format {
	return []Format{
		csvFormat(ParameterPerRow, UnixEpoch), csvFormat(ParameterPerColumn, UnixEpoch),
		{Encoding: JSON, Layout: NameValuePair, Stamp: UnixEpoch}, {Encoding: JSON, Layout: ObjectHierarchy, Stamp: UnixEpoch},
	}
}

func manyItems(n int) []Item {
	items := make([]Item, n)
	for i := range items {
		items[i] = Item{fmt.Sprintf("Device.WiFi.AccessPoint.%d.AssociatedDevice.%d.Stats.BytesSent", i/100+1, i%100+1), "1234567", dm.TypeUnsignedLong}
	}
	return items
}

// Whatever names and values are: JSON is JSON with the same values, CSV is read
// back as it was written.
func FuzzEncode(f *testing.F) {
	f.Add("Device.X.1.Y", "12", uint8(dm.TypeUnsignedInt), "A", "tr\"ue,")
	f.Add("A", "x", uint8(0), "A.1", "\xff\r\n")
	f.Add("", "", uint8(9), ".", "")
	f.Fuzz(func(t *testing.T, n1, v1 string, typ uint8, n2, v2 string) {
		if n1 == n2 {
			return
		}
		r := []Report{{Time: collected, Items: []Item{{n1, v1, dm.Type(typ)}, {n2, v2, dm.TypeString}}}}
		for _, format := range everyFormat() {
			b, err := format.Encode(r, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if format.Encoding == JSON {
				if !json.Valid(b) {
					t.Fatalf("%s: %q is no JSON", format.Layout, b)
				}
				continue
			}
			reader := csv.NewReader(bytes.NewReader(b))
			reader.FieldsPerRecord = 0
			rows, err := reader.ReadAll()
			if err != nil {
				t.Fatalf("%s: %q: %v", format.Layout, b, err)
			}
			// The reader takes \r\n inside a field for \n.
			plain := func(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }
			got := rows[1][1]
			if format.Layout == ParameterPerRow {
				got = rows[1][2]
			}
			if plain(got) != plain(v1) {
				t.Fatalf("%s: %q came back as %q", format.Layout, v1, got)
			}
		}
	})
}

func FuzzSeparator(f *testing.F) {
	for _, s := range []string{",", "&#13;&#10;", "&quot;", "&#xD800;", "&&&;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Separator(text)
		if err == nil && len(s) > maxSeparator {
			t.Errorf("%q became %q", text, s)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	reports := []Report{{Time: collected, Items: manyItems(1000)}}
	for _, f := range everyFormat() {
		b.Run(string(f.Layout), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.Encode(reports, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
