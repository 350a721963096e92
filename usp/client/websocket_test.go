package client

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestDialRefused: a server that opens no WebSocket is told with its own words, as
// far as they are worth it.
func TestDialRefused(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		want   string // behind the URL
	}{
		{"reason", http.StatusMethodNotAllowed, "this is the CWMP port: CPE use POST\n", ` answered 405 Method Not Allowed: "this is the CWMP port: CPE use POST"`},
		{"no reason", http.StatusNotFound, "", " answered 404 Not Found"},
		{"a page", http.StatusNotFound, "<html>\n<body>gone</body>", ` answered 404 Not Found: "<html>"`},
		{"more than is shown", http.StatusForbidden, strings.Repeat("x", 10*maxReason), ` answered 403 Forbidden: "` + strings.Repeat("x", maxReason) + `"`},
		{"no text", http.StatusForbidden, "a\xff\x1b[31m", ` answered 403 Forbidden: "a\x1b[31m"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			}))
			defer server.Close()
			at := "ws" + strings.TrimPrefix(server.URL, "http") + "/usp"
			_, err := Dial(t.Context(), Config{URL: at, Controller: "proto::c"})
			var refused *RefusedError
			if !errors.As(err, &refused) || refused.Status != tt.status || err.Error() != at+tt.want {
				t.Errorf("%v, want %s%s", err, at, tt.want)
			}
		})
	}
}
