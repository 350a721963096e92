package main

import (
	"context"
	_ "embed" // for the profiler
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// profilerVariable tells the profiler where to listen.
const profilerVariable = "BENCH_PROFILER"

// profiler is the source of a listener that takes CPU profiles. It is no part of
// the program: it is laid over the sources only to be measured.
//
//go:embed profiler.go.txt
var profiler []byte

const program = "github.com/uspbridge/uspbridge/cmd/uspbridge"

// build builds the bridge, with the profiler in it if it is to be profiled.
func build(ctx context.Context, binary string, profiled bool) error {
	args := []string{"build", "-trimpath", "-o", binary}
	if profiled {
		overlay, err := overlayProfiler(ctx, filepath.Dir(binary))
		if err != nil {
			return err
		}
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, program)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %v: %w\n%s", cmd.Args[1:], err, out)
	}
	return nil
}

// overlayProfiler writes what adds the profiler to the program's sources.
func overlayProfiler(ctx context.Context, dir string) (file string, err error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", program).Output()
	if err != nil {
		return "", fmt.Errorf("go list %s: %w", program, err)
	}
	source := filepath.Join(dir, "profiler.go")
	if err := os.WriteFile(source, profiler, 0o600); err != nil {
		return "", err
	}
	place := filepath.Join(strings.TrimSpace(string(out)), "bench_profiler.go")
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{place: source}})
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, text, 0o600)
}

// profile begins a CPU profile of the bridge; the function returned ends it.
func (b *bridge) profile(ctx context.Context, name string) (end func() error, err error) {
	if b.profiler == "" {
		return func() error { return nil }, nil
	}
	if _, err := b.get(ctx, "http://"+b.profiler+"/start"); err != nil {
		return nil, err
	}
	return func() error {
		p, err := b.get(ctx, "http://"+b.profiler+"/stop")
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(b.profiles, name+".pprof"), p, 0o600)
	}, nil
}

// heapProfile writes what the bridge's heap holds.
func (b *bridge) heapProfile(ctx context.Context, name string) error {
	if b.profiler == "" {
		return nil
	}
	p, err := b.get(ctx, "http://"+b.profiler+"/heap")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.profiles, name+".pprof"), p, 0o600)
}
