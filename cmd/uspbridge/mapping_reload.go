package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/translate/mapping"
)

// mappingCheckEvery is how often the mapping folder is looked at. A change is taken
// over once two looks have seen the same files, so that one that is just being
// written is not read half.
const mappingCheckEvery = 2 * time.Second

// mappingFolder keeps the mapping files in use those of the operator's folder.
type mappingFolder struct {
	dir     string
	use     func(*mapping.Set) error // all of them or none
	log     *slog.Logger
	reloads *prometheus.CounterVec

	mu      sync.Mutex
	set     *mapping.Set // in use
	seen    string       // the folder at the last look
	tried   string       // the folder that was read last, with or without success
	problem error        // why the folder as it was read last is not in use
}

// newMappingFolder reads the folder for the first time.
func newMappingFolder(dir string, log *slog.Logger, metrics prometheus.Registerer) (*mappingFolder, error) {
	f := &mappingFolder{dir: dir, log: log, reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "uspbridge_mapping_reloads_total", Help: "Changed mapping folders that were read, by result.",
	}, []string{"result"})}
	var err error
	f.tried = folderState(dir) // before the files are read: what changes meanwhile is read again
	if f.set, err = loadMappings(dir); err != nil {
		return nil, err
	}
	return f, metrics.Register(f.reloads)
}

// run takes changes of the folder over until ctx ends.
func (f *mappingFolder) run(ctx context.Context) error {
	if f.dir == "" {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(mappingCheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			f.look()
		}
	}
}

// look reads the folder if it has changed and has come to rest.
func (f *mappingFolder) look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	state := folderState(f.dir)
	settled := state == f.seen
	f.seen = state
	if !settled || state == f.tried {
		return
	}
	f.read(state)
}

// reload reads the folder now.
func (f *mappingFolder) reload() ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read(folderState(f.dir))
	return f.set.Names(), f.problem
}

// read puts the folder's files in use, or none of them.
func (f *mappingFolder) read(state string) {
	f.tried = state
	set, err := loadMappings(f.dir)
	if err == nil {
		err = f.use(set)
	}
	f.problem = err
	if err != nil {
		f.reloads.WithLabelValues("failed").Inc()
		f.log.Error("changed mapping files cannot be used; the former ones stay in use", "folder", f.dir, "error", err)
		return
	}
	f.set = set
	f.reloads.WithLabelValues("ok").Inc()
	f.log.Info("changed mapping files are in use", "folder", f.dir, "mappings", strings.Join(set.Names(), ", "))
}

// check says for /readyz which files are in use.
func (f *mappingFolder) check() console.Check {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := console.Check{Name: "mappings", OK: true, Detail: fmt.Sprintf("%d loaded", len(f.set.Names()))}
	if f.problem != nil {
		c.Detail += "; changed files are not in use: " + f.problem.Error()
	}
	return c
}

// Reload implements console.Mappings.
func (f *mappingFolder) Reload(context.Context) (console.MappingList, error) {
	if f.dir == "" {
		return console.MappingList{}, fmt.Errorf("%w: the bridge has no folder of mapping files; name one as mappings.dir in its configuration", console.ErrInvalid)
	}
	names, err := f.reload()
	if err != nil {
		return console.MappingList{}, fmt.Errorf("%w: the former files stay in use: %w", console.ErrInvalid, err)
	}
	return console.MappingList{Mappings: names}, nil
}

// folderState tells one state of a folder's files from another, by their names,
// sizes and times.
func folderState(dir string) string {
	if dir == "" {
		return ""
	}
	var state strings.Builder
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !isYAML(name) {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintf(&state, "%s %d %d\n", name, info.Size(), info.ModTime().UnixNano())
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone since the folder was listed
		}
		return err
	})
	if err != nil {
		fmt.Fprintf(&state, "%v\n", err) // reading the folder will tell
	}
	return state.String()
}
