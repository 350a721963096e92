package main

import (
	"testing"

	"github.com/uspbridge/uspbridge/store/bolt"
	"github.com/uspbridge/uspbridge/usp"
)

// A client id is kept for one endpoint at one broker, beyond the end of the process.
func TestClientIDsAreKept(t *testing.T) {
	path := t.TempDir() + "/db"
	with := func(do func(ids *clientIDs)) {
		t.Helper()
		st, err := bolt.Open(bolt.Config{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		do(&clientIDs{store: st})
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	is := func(ids *clientIDs, broker string, endpoint usp.EndpointID, want string) {
		t.Helper()
		if id, err := ids.Assigned(t.Context(), broker, endpoint); id != want || err != nil {
			t.Errorf("%s at %s is %q, %v, want %q", endpoint, broker, id, err, want)
		}
	}
	keep := func(ids *clientIDs, id string) {
		t.Helper()
		if err := ids.Keep(t.Context(), "broker:1883", "self::uspbridge", id); err != nil {
			t.Fatal(err)
		}
	}
	with(func(ids *clientIDs) { keep(ids, "auto-1") })
	with(func(ids *clientIDs) {
		is(ids, "broker:1883", "self::uspbridge", "auto-1")
		is(ids, "other:1883", "self::uspbridge", "")
		is(ids, "broker:1883", "os::00259E-1", "")
		keep(ids, "")
	})
	with(func(ids *clientIDs) { is(ids, "broker:1883", "self::uspbridge", "") })
}
