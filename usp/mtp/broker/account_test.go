package broker_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/store/bolt"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp/broker"
)

func TestBook(t *testing.T) {
	st, err := bolt.Open(bolt.Config{Path: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var changed []string
	book := &broker.Book{Store: st, Fixed: map[string]broker.Account{"fixed": {Username: "fixed", Endpoint: controller}},
		Changed: func(name string) { changed = append(changed, name) }}
	for _, name := range []string{"b", "a", "c"} {
		a, err := broker.NewAccount(name, native, password)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(a.Hash), password) {
			t.Error("the password is in the account")
		}
		if err := book.Put(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if a, err := book.Find(t.Context(), "b"); err != nil || a.Username != "b" || a.Endpoint != native {
		t.Errorf("found %+v, %v", a, err)
	}
	for _, name := range []string{"", "nobody", strings.Repeat("x", 300)} {
		if _, err := book.Find(t.Context(), name); !errors.Is(err, broker.ErrNoAccount) {
			t.Errorf("%.10q: %v", name, err)
		}
	}
	var listed []string
	if err := book.List(t.Context(), "a", func(a broker.Account) bool { listed = append(listed, a.Username); return true }); err != nil || !slices.Equal(listed, []string{"b", "c"}) {
		t.Errorf("listed behind a: %v, %v", listed, err)
	}
	if err := book.Remove(t.Context(), "b"); err != nil {
		t.Error(err)
	}
	if err := book.Remove(t.Context(), "b"); !errors.Is(err, broker.ErrNoAccount) {
		t.Errorf("removed twice: %v", err)
	}
	if err := errors.Join(book.Remove(t.Context(), "fixed"), book.Put(t.Context(), broker.Account{Username: "fixed", Endpoint: native, Hash: people()["native"].Hash})); !errors.Is(err, broker.ErrFixed) {
		t.Errorf("one of the configuration: %v", err)
	}
	if want := []string{"b", "a", "c", "b"}; !slices.Equal(changed, want) {
		t.Errorf("told of %v, want %v", changed, want)
	}
}

func TestBadAccounts(t *testing.T) {
	for _, tt := range []struct {
		name     string
		endpoint usp.EndpointID
		password string
		want     string
	}{
		{"a", native, "short", "8 to 72"},
		{"a", native, strings.Repeat("x", 73), "8 to 72"},
		{"", native, password, "user name"},
		{"a\nb", native, password, "user name"},
		{"a", "nonsense", password, "endpoint id"},
		{"a", "os::a/b", password, "meaning in topics"},
	} {
		if _, err := broker.NewAccount(tt.name, tt.endpoint, tt.password); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want an error about %q", tt.name, err, tt.want)
		}
	}
	for hash, want := range map[string]string{"plain": "bcrypt", "$2a$31$Rr89iEpwWES5jri3LPQzquC79b6WTwphytJA9o33DtsXC/2QFyNZ6": "at most 14"} {
		if err := (broker.Account{Username: "a", Endpoint: native, Hash: []byte(hash)}).Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error about %q", hash, err, want)
		}
	}
}

func TestBadConfiguration(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg  broker.Config
		want string
	}{
		"one topic for all": {broker.Config{AgentTopic: "usp/agents"}, "one of its own"},
		"part of a level":   {broker.Config{AgentTopic: "usp/agent-{endpoint_id}"}, "one level"},
		"a rule of nothing": {broker.Config{AgentTopic: "a/{endpoint_id}", Rules: []broker.Rule{{Endpoint: "*"}}}, "no topic"},
		"a bad pattern":     {broker.Config{AgentTopic: "a/{endpoint_id}", Rules: []broker.Rule{{Endpoint: "[", Publish: []string{"a"}}}}, "pattern"},
		"a bad filter":      {broker.Config{AgentTopic: "a/{endpoint_id}", Rules: []broker.Rule{{Endpoint: "*", Publish: []string{"a/#/b"}}}}, "topic filter"},
		"an unknown brace":  {broker.Config{AgentTopic: "a/{endpoint_id}", Rules: []broker.Rule{{Endpoint: "*", Publish: []string{"a/{id}"}}}}, "braces"},
		"a queue too long":  {broker.Config{AgentTopic: "a/{endpoint_id}", MaxQueue: 5000}, "out of range"},
	} {
		if _, err := broker.New(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error about %q", name, err, tt.want)
		}
	}
}
