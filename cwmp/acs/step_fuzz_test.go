package acs_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// FuzzStep sends anything as a CPE's first and second message, with any cookie.
// Whatever comes, the answer is a known status and the session ends.
func FuzzStep(f *testing.F) {
	f.Add(envelope("1", informOf("A")), "", "")
	f.Add(envelope("1", informOf("A")), envelope("2", transferComplete), `$Version="0"; x=1,y`)
	f.Add("<", "garbage", acs.CookieName+"=zz")
	f.Fuzz(func(t *testing.T, first, second, cookie string) {
		fl := newFleet()
		fl.serve = fl.calling(gpv)
		s, err := acs.New(acs.Config{Fleet: fl, InformBytes: 1 << 16})
		if err != nil {
			t.Fatal(err)
		}
		c := &direct{s: s, cpe: cpe{t: t, cookie: cookie}}
		for _, body := range []string{first, second, ""} {
			r := httptest.NewRequest("POST", "/", strings.NewReader(body))
			r.Header.Set("Cookie", c.cookie)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			switch w.Code {
			case 200, 204, 400, 413:
			default:
				t.Errorf("status %d for %q", w.Code, body)
			}
			if set := w.Header().Get("Set-Cookie"); set != "" {
				c.cookie, _, _ = strings.Cut(set, ";")
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = s.Close(ctx) // breaks off what is open
		if n := s.Entries(); n != 0 {
			t.Errorf("%d entries are left", n)
		}
	})
}
