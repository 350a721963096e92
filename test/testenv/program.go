package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Program is bin/uspbridge, built from the sources at its first use.
type Program struct {
	dir   string
	build func() (string, error)
}

// NewProgram returns the program of the module that the working directory is in.
// It is built into a directory of its own, which Remove removes.
func NewProgram() (*Program, error) {
	dir, err := os.MkdirTemp("", "uspbridge-test-")
	if err != nil {
		return nil, err
	}
	p := &Program{dir: dir}
	p.build = sync.OnceValues(func() (string, error) {
		file := filepath.Join(dir, "uspbridge")
		args := []string{"build", "-o", file}
		if UnderRace {
			args = append(args, "-race")
		}
		out, err := exec.Command("go", append(args, "github.com/uspbridge/uspbridge/cmd/uspbridge")...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("go %v: %w\n%s", args, err, out)
		}
		return file, err
	})
	return p, nil
}

// Path returns the built program's file.
func (p *Program) Path(t testing.TB) string {
	t.Helper()
	file, err := p.build()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// Remove removes what was built.
func (p *Program) Remove() error { return os.RemoveAll(p.dir) }
