package bolt

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/uspbridge/uspbridge/store"
)

// childEnv names the store file for the child process of the kill test, which
// is this test binary once more.
const childEnv = "USPBRIDGE_TEST_STORE"

const killWriters = 4

// writeUntilKilled writes numbered batches of two records from several
// goroutines and prints a line when one is acknowledged.
func writeUntilKilled(path string) {
	s, err := Open(Config{Path: path, Log: discard()})
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	var out sync.Mutex
	for w := range killWriters {
		go func() {
			owner := fmt.Sprint("writer", w)
			for i := 0; ; i++ {
				name := strconv.Itoa(i)
				var b store.Batch
				b.Put(store.Key{Kind: store.Device, Owner: owner, Name: name}, []byte(name))
				b.Put(store.Key{Kind: store.Tree, Owner: owner, Name: name}, make([]byte, 3000))
				if err := s.Commit(context.Background(), &b); err != nil {
					fmt.Println("commit:", err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Println(owner, name)
				out.Unlock()
			}
		}()
	}
	select {}
}

// TestKill kills a writing process at any moment, again and again on one file:
// what was acknowledged is there, and every batch is there whole or not at all.
func TestKill(t *testing.T) {
	file := path(t)
	for round := range 3 {
		acknowledged := runAndKill(t, file, 150+37*round)
		s := mustOpen(t, Config{Path: file})
		for _, line := range acknowledged {
			owner, name, ok := strings.Cut(line, " ")
			if !ok {
				t.Fatalf("child: %s", line)
			}
			v, err := s.Get(t.Context(), store.Key{Kind: store.Device, Owner: owner, Name: name})
			if err != nil || string(v) != name {
				t.Errorf("round %d: acknowledged record %s: %q, %v", round, line, v, err)
			}
		}
		devices, trees := names(t, s, store.Device), names(t, s, store.Tree)
		if devices != trees {
			t.Errorf("round %d: a batch is there in part", round)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// runAndKill starts the child, kills it after that many acknowledgements, and
// returns all that it printed before it was dead.
func runAndKill(t *testing.T, file string, after int) (acknowledged []string) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+file)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // a last line without its end was not printed whole
		}
		acknowledged = append(acknowledged, strings.TrimSuffix(line, "\n"))
		if len(acknowledged) == after {
			if err := child.Process.Kill(); err != nil { // SIGKILL
				t.Fatal(err)
			}
		}
	}
	if err := child.Wait(); err == nil || len(acknowledged) < after {
		t.Fatalf("child ended by itself after %d lines: %v, %v", len(acknowledged), err, acknowledged)
	}
	return acknowledged
}

func names(t *testing.T, s *Store, kind store.Kind) string {
	t.Helper()
	var b strings.Builder
	err := s.Scan(t.Context(), store.Query{Kind: kind}, func(k store.Key, _ []byte) bool {
		fmt.Fprintln(&b, k.Owner, k.Name)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
