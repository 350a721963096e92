package xmpp_test

import (
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp/connreq/xmpp"
)

// FuzzAnswer: whatever a CPE answers, what is told of it is short.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`<iq type='result'/>`))
	f.Add([]byte(failure("type='auth' code='401'", "<not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text>why</text>")))
	f.Add([]byte("<" + strings.Repeat("a", 4000) + "></b>")) // the decoder's error repeats the name
	f.Fuzz(func(t *testing.T, iq []byte) {
		if err := xmpp.Judge(iq, cpe); err != nil && len(err.Error()) > 2000 {
			t.Errorf("%d bytes became an error of %d", len(iq), len(err.Error()))
		}
	})
}
