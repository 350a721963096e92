package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/translate/mapping"
)

const (
	goodMapping = "mapping: mine\nroot: InternetGatewayDevice.\nobjects:\n  - target: Device.DeviceInfo.\n    source: DeviceInfo.\n    params: {Description: X_Text}\n"
	badMapping  = "mapping: mine\nroot: InternetGatewayDevice.\nobjects:\n  - target: Device.DeviceInfo.\n    source: DeviceInfo.\n    params: {Descripton: X_Text}\n"
)

// TestMappingFolder: files come into use when the folder has come to rest, all or
// none of them.
func TestMappingFolder(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := newMappingFolder(dir, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	var used []*mapping.Set
	var refuse error
	f.use = func(s *mapping.Set) error {
		if refuse == nil {
			used = append(used, s)
		}
		return refuse
	}
	has := func() bool { return slices.Contains(f.set.Names(), "mine") }

	f.look()
	f.look()
	if len(used) != 0 {
		t.Fatal("a folder that has not changed was read again")
	}
	write("mine.yaml", goodMapping)
	if f.look(); len(used) != 0 {
		t.Error("a file was taken at first sight: it may be being written")
	}
	if f.look(); len(used) != 1 || !has() {
		t.Errorf("a file that has come to rest is not in use: %v", f.set.Names())
	}

	write("also.yaml", badMapping)
	f.look()
	f.look()
	if len(used) != 1 || !has() {
		t.Error("a broken file, or the others beside it, came into use")
	}
	if c := f.check(); !c.OK || !strings.Contains(c.Detail, "also.yaml:6") {
		t.Errorf("readiness says %+v of it", c)
	}
	if _, err := f.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "did you mean") {
		t.Errorf("asked to read it, the bridge answers %v", err)
	}

	if err := os.Remove(filepath.Join(dir, "also.yaml")); err != nil {
		t.Fatal(err)
	}
	refuse = errors.New("they fit no device")
	if _, err := f.Reload(t.Context()); !errors.Is(err, refuse) || !has() {
		t.Errorf("files that do not fit: %v", err)
	}
	refuse = nil
	if list, err := f.Reload(t.Context()); err != nil || !slices.Contains(list.Mappings, "mine") {
		t.Errorf("reload: %v, %v", list, err)
	}
	if c := f.check(); !c.OK || strings.Contains(c.Detail, "not in use") {
		t.Errorf("readiness says %+v when all is well", c)
	}
}

// TestMappingExamples: what `mapping test` says of examples that hold and of one
// that does not.
func TestMappingExamples(t *testing.T) {
	dir := t.TempDir()
	text := strings.Replace(goodMapping, "{Description: X_Text}", "{Description: {from: X_Text, examples: [{cpe: a, usp: a}, {cpe: b, usp: c}]}}", 1)
	if err := os.WriteFile(filepath.Join(dir, "mine.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := runApp(t.Context(), nil, "mapping", "test", dir)
	if got.code != 1 || !strings.Contains(got.stdout, `mine.yaml:6: Device.DeviceInfo.Description: "b" is "c": it reads as "b", not "c"`) || !strings.Contains(got.stdout, "1 do not hold") {
		t.Errorf("exit %d:\n%s%s", got.code, got.stdout, got.stderr)
	}
	got = runApp(t.Context(), nil, "mapping", "test", dir, "--json")
	if got.code != 1 || !strings.Contains(got.stdout, `"ok": false`) {
		t.Errorf("exit %d:\n%s%s", got.code, got.stdout, got.stderr)
	}
	if err := os.WriteFile(filepath.Join(dir, "mine.yaml"), []byte(goodMapping), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := runApp(t.Context(), nil, "mapping", "test", dir); got.code != 0 || !strings.Contains(got.stdout, " 0 do not hold") {
		t.Errorf("exit %d:\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// TestReloadWithoutFolder: who asks for it is told that there is none.
func TestReloadWithoutFolder(t *testing.T) {
	f, err := newMappingFolder("", slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Reload(t.Context()); !errors.Is(err, console.ErrInvalid) || !strings.Contains(err.Error(), "mappings.dir") {
		t.Errorf("reload: %v", err)
	}
}
