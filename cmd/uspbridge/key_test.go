package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/test/pki"
)

// TestKeyOfTheStore: a start with another key than the store's stops and says what
// to do; --renew-key goes on.
func TestKeyOfTheStore(t *testing.T) {
	cfg := defaultConfig()
	cfg.DataDir = t.TempDir()
	cfg.CWMP.Listen, cfg.USP.MTP.WebSocket.Listen, cfg.Console.Listen = "127.0.0.1:0", "127.0.0.1:0", ""
	start := func(renew bool) error {
		b, err := newBridge(t.Context(), &cfg, discardLogger(), renew)
		if err != nil {
			return err
		}
		return b.store.Close()
	}
	if err := start(false); err != nil {
		t.Fatal(err)
	}
	if err := start(false); err != nil {
		t.Fatalf("the second start: %v", err)
	}
	pki.WriteFile(t, filepath.Join(cfg.DataDir, "secret.key"), []byte("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n"))
	err := start(false)
	if err == nil || !strings.Contains(err.Error(), "store.key_file: "+cfg.keyFile()+": the store's secrets were sealed with another key") ||
		!strings.Contains(err.Error(), "start once with --renew-key") {
		t.Errorf("with another key: %v", err)
	}
	if err := start(true); err != nil {
		t.Errorf("with --renew-key: %v", err)
	}
	if err := start(false); err != nil {
		t.Errorf("after --renew-key: %v", err)
	}
}
