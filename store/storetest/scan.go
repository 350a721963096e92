package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/store"
)

// fill writes records named "owner/name", each with that as its value.
func fill(t *testing.T, s store.Store, records ...string) {
	t.Helper()
	var b store.Batch
	for _, r := range records {
		owner, name, _ := strings.Cut(r, "/")
		b.Put(key(owner, name), []byte(r))
	}
	b.Put(store.Key{Kind: store.Tree, Owner: "a", Name: "x"}, []byte("of another kind"))
	commit(t, s, &b)
}

// scan returns what q finds as "owner/name", and checks that values fit keys.
func scan(t *testing.T, s store.Store, q store.Query) (found []string) {
	t.Helper()
	q.Kind = store.Device
	err := s.Scan(t.Context(), q, func(k store.Key, value []byte) bool {
		r := k.Owner + "/" + k.Name
		if k.Kind != store.Device || string(value) != r {
			t.Errorf("scan: record %v has value %q", k, value)
		}
		found = append(found, r)
		return true
	})
	if err != nil {
		t.Fatalf("scan: %v", err)
	}
	return found
}

func testScanSelects(t *testing.T, s store.Store) {
	fill(t, s, "b/", "a/2", "a/1", "ab/1", "a/10", "a/", "a\x01/z", "/root")
	for _, c := range []struct {
		name string
		q    store.Query
		want string
	}{
		{"all, by owner, then name", store.Query{}, "/root a/ a/1 a/10 a/2 a\x01/z ab/1 b/"},
		{"owners with a prefix", store.Query{Owner: "a"}, "a/ a/1 a/10 a/2 a\x01/z ab/1"},
		{"one whole owner", store.Query{Owner: "a", WholeOwner: true}, "a/ a/1 a/10 a/2"},
		{"the empty owner", store.Query{WholeOwner: true}, "/root"},
		{"names with a prefix", store.Query{Owner: "a", WholeOwner: true, Name: "1"}, "a/1 a/10"},
		{"an owner that is not there", store.Query{Owner: "aa", WholeOwner: true}, ""},
		{"limited", store.Query{Owner: "a", Limit: 2}, "a/ a/1"},
		{"behind a key", store.Query{Owner: "a", After: &store.Key{Owner: "a", Name: "10"}}, "a/2 a\x01/z ab/1"},
		{"behind a key that is not there", store.Query{After: &store.Key{Owner: "a", Name: "100"}, Limit: 1}, "a/2"},
		{"behind a key before all", store.Query{Owner: "ab", After: &store.Key{Owner: "a"}}, "ab/1"},
		{"behind a key after all", store.Query{Owner: "a", WholeOwner: true, After: &store.Key{Owner: "b"}}, ""},
	} {
		if got := strings.Join(scan(t, s, c.q), " "); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func testScanPages(t *testing.T, s store.Store) {
	var records []string
	for i := range 97 {
		records = append(records, fmt.Sprintf("o%02d/n%d", i/7, i%7))
	}
	fill(t, s, records...)
	slices.Sort(records)
	for _, size := range []int{1, 7, 10, 97, 200} {
		var got []string
		q := store.Query{Limit: size}
		for {
			page := scan(t, s, q)
			got = append(got, page...)
			if len(page) < size {
				break
			}
			owner, name, _ := strings.Cut(page[len(page)-1], "/")
			q.After = &store.Key{Kind: store.Device, Owner: owner, Name: name}
		}
		if !slices.Equal(got, records) {
			t.Errorf("pages of %d: got %d records %q, want %d", size, len(got), got, len(records))
		}
	}
}

func testScanStops(t *testing.T, s store.Store) {
	fill(t, s, "a/1", "a/2", "a/3")
	n := 0
	err := s.Scan(t.Context(), store.Query{Kind: store.Device}, func(store.Key, []byte) bool {
		n++
		return n < 2
	})
	if err != nil || n != 2 {
		t.Errorf("scan told to stop at the 2nd record: visited %d, %v", n, err)
	}
}

func testRefusals(t *testing.T, s store.Store) {
	for _, k := range []store.Key{
		{Owner: "no kind"},
		{Kind: store.Kinds, Owner: "unknown kind"},
		{Kind: store.Device, Owner: "zero\x00byte"},
		{Kind: store.Device, Name: strings.Repeat("long", 10_000)},
	} {
		var b store.Batch
		b.Put(key("beside", ""), []byte("1"))
		b.Put(k, []byte("1"))
		if err := s.Commit(t.Context(), &b); err == nil {
			t.Errorf("commit of %.60q: no error", k.Owner+"/"+k.Name)
		}
		if _, err := s.Get(t.Context(), k); err == nil {
			t.Errorf("get of %.60q: no error", k.Owner+"/"+k.Name)
		}
	}
	wantValue(t, s, key("beside", ""), "-")
	err := s.Scan(t.Context(), store.Query{Kind: store.Device, Owner: "a", Name: "n"}, func(store.Key, []byte) bool { return true })
	if err == nil {
		t.Error("scan for a name's prefix without a whole owner: no error")
	}
}
