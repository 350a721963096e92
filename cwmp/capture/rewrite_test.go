package capture

import (
	"strings"
	"testing"
)

// TestRewrite: a text is replaced where it stands, everything else stays.
func TestRewrite(t *testing.T) {
	const body = `<E:Envelope><E:Header><x:ID a='1'>7</x:ID></E:Header><E:Body><P><Name> Device.A </Name><Value/></P><P><Name>Device.B</Name>` +
		`<Value xsi:type='xsd:int' > 1
</Value></P></E:Body></E:Envelope>`
	got, err := Rewrite([]byte(body), func(t Text) (string, bool) {
		switch {
		case t.Element == "ID" && t.In == "Header":
			return "8&amp;", t.Text == "7"
		case t.Parameter == "Device.A":
			return "new", t.Text == ""
		case t.Parameter == "Device.B":
			return "2", t.Text == "1"
		}
		return "", false
	})
	want := strings.NewReplacer("'1'>7<", "'1'>8&amp;<", "<Value/>", "<Value>new</Value>", "> 1\n", "> 2\n").Replace(body)
	if err != nil || string(got) != want {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
	if _, err := Rewrite([]byte("<a>"+body), func(Text) (string, bool) { return "", false }); err != nil {
		t.Errorf("a message that is cut off: %v", err)
	}
	if _, err := Rewrite([]byte("<a></b>"), func(Text) (string, bool) { return "", false }); err == nil {
		t.Error("a message that is not well-formed is rewritten")
	}
}

func TestRewriteList(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{`<I><Event enc:arrayType="c:EventStruct[0001]" ><x/></Event><Y/></I>`, `<I><Event enc:arrayType="c:EventStruct[2]" ><z/></Event><Y/></I>`},
		{`<I><n:Event/><Y/></I>`, `<I><n:Event><z/></n:Event><Y/></I>`},
	} {
		if got, err := RewriteList([]byte(tt.body), "Event", "<z/>", 2); err != nil || string(got) != tt.want {
			t.Errorf("%s, %v, want %s", got, err, tt.want)
		}
	}
	if _, err := RewriteList([]byte("<I/>"), "Event", "", 0); err == nil {
		t.Error("no error though there is no such list")
	}
}
