package trust

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/usp"
)

func TestList(t *testing.T) {
	ctx := context.Background()
	b := newBench(t)
	for _, agent := range []usp.EndpointID{"os::00259E-3", "os::00259E-1", "os::00259E-2"} {
		b.certificate(t, agent)
	}
	if _, err := b.request(ctx, "os::00259E-2"); err != nil {
		t.Fatal(err)
	}
	list := func(after usp.EndpointID, most int) (got []string) {
		t.Helper()
		err := b.List(ctx, after, func(h Held) bool {
			if len(got) == most {
				return false
			}
			text := string(h.Agent)
			if h.Chain != nil {
				text += " certificate"
			}
			if h.Request != nil {
				text += " request"
			}
			got = append(got, text)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	want := "os::00259E-1 certificate, os::00259E-2 certificate request, os::00259E-3 certificate"
	if got := strings.Join(list("", 10), ", "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := strings.Join(append(list("", 2), list("os::00259E-2", 2)...), ", "); got != want {
		t.Errorf("page by page %s\nwant %s", got, want)
	}
	if _, err := b.Show(ctx, "os::00259E-4"); !errors.Is(err, ErrNone) {
		t.Errorf("%v, want %v", err, ErrNone)
	}
	if _, err := b.Show(ctx, caOwner); err == nil {
		t.Error("the CA is shown as an agent")
	}
}
