package acs

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

// Bodies of all CPE share one budget; what one gives back others can use.
func TestBodiesShareABudget(t *testing.T) {
	shared := &bound{log: logger{slog.New(slog.DiscardHandler)}, limit: 100}
	first, second := &spend{bound: shared}, &spend{bound: shared}
	if _, err := io.ReadAll(first.reader(strings.NewReader(strings.Repeat("x", 80)))); err != nil {
		t.Fatal(err)
	}
	var refused *httpError
	if _, err := io.ReadAll(second.reader(strings.NewReader(strings.Repeat("y", 80)))); !errors.As(err, &refused) || refused.status != http.StatusServiceUnavailable {
		t.Fatalf("80 bytes more within a budget of 100: got %v, want 503", err)
	}
	first.end()
	second.end()
	if used := shared.used.Load(); used != 0 {
		t.Fatalf("%d bytes are still taken when nobody holds any", used)
	}
	third := &spend{bound: shared}
	defer third.end()
	if _, err := io.ReadAll(third.reader(strings.NewReader(strings.Repeat("z", 80)))); err != nil {
		t.Fatalf("80 bytes within a budget of 100 that is free again: %v", err)
	}
}
