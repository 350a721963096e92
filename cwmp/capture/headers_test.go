package capture

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHeaders: which headers are shown, and what of them.
func TestHeaders(t *testing.T) {
	h := http.Header{}
	for _, line := range []string{
		"Content-Type: text/xml; encoding=utf-8", "SOAPAction: \"cwmp:Inform\"", "Accept: */*", "X-Secret: hunter2",
		"Authorization: Basic aHVudGVyMg==", "Authorization: aHVudGVyMg==", `Authorization: Digest username="hunter2", qop=auth, nc=00000001, response=hunter2`,
		`Cookie: $Version="0"; id=hunter2; $Path="/", other="hunter2 x"; hunter2`, "Set-Cookie: id=hunter2; Path=/; HttpOnly",
		"Location: https://hunter2:x@acs.example/?t=hunter2",
	} {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	want := []string{
		"Content-Type: text/xml; encoding=utf-8", "Transfer-Encoding: chunked", `SOAPAction: "cwmp:Inform"`,
		`Cookie: $Version="0"; id=********; $Path="/", other=********;********`, "Set-Cookie: id=********; Path=/; HttpOnly",
		"Authorization: Basic ********", "Authorization: ******** ********", `Authorization: Digest username=********, qop=auth, nc=00000001, response=********`,
		"Location: https://********@acs.example/?t=********",
	}
	got := headerLines(h, []string{"chunked"})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if strings.Contains(strings.Join(got, "\n"), "hunter2") {
		t.Error("a secret survives")
	}
	m := Message{Headers: got}
	if v, ok := m.Header("soapaction"); v != `"cwmp:Inform"` || !ok {
		t.Errorf("Header(soapaction) is %q, %v", v, ok)
	}
}
