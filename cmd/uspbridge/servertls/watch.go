package servertls

import (
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// checkEvery is how long a change of files may go unnoticed. They are looked at
// when a client comes, not otherwise.
const checkEvery = 2 * time.Second

// watch notices changes of files.
type watch struct {
	checked atomic.Int64 // when the files were looked at last, unix nanoseconds
	mu      sync.Mutex
	tried   []stamp // of the files that were taken or refused last; guarded by mu
}

// stamp tells whether a file has changed.
type stamp struct {
	size     int64
	modified int64
	missing  bool
}

// begin notes how the files are before they are first read.
func (w *watch) begin(now time.Time, files []string) {
	w.tried = stampsOf(files)
	w.checked.Store(now.UnixNano())
}

// whenChanged runs take if a file has changed. While one caller does it others go
// on with the old.
func (w *watch) whenChanged(now time.Time, files []string, take func()) {
	last := w.checked.Load()
	if now.UnixNano()-last < int64(checkEvery) || !w.checked.CompareAndSwap(last, now.UnixNano()) || !w.mu.TryLock() {
		return
	}
	defer w.mu.Unlock()
	if present := stampsOf(files); !slices.Equal(present, w.tried) {
		w.tried = present
		take()
	}
}

func stampsOf(files []string) []stamp {
	s := make([]stamp, len(files))
	for i, name := range files {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			s[i] = stamp{missing: true} // reading it says why
			continue
		}
		s[i] = stamp{size: info.Size(), modified: info.ModTime().UnixNano()}
	}
	return s
}
