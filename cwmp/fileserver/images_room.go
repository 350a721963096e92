package fileserver

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"time"
)

// imageLife is how long a file stays that nobody has asked for.
const imageLife = 30 * 24 * time.Hour

// makeRoom removes images that nobody has wanted for long, and of the others the
// oldest while there is more than MaxImages, but for the one that has just come.
func (s *Server) makeRoom(but string) {
	type kept struct {
		dir  string
		size int64
		at   time.Time
	}
	var list []kept
	total := int64(0)
	err := fs.WalkDir(s.root.FS(), Images, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return nil // removed meanwhile
		}
		total += info.Size()
		if name != but {
			list = append(list, kept{path.Dir(name), info.Size(), info.ModTime()})
		}
		return nil
	})
	slices.SortFunc(list, func(a, b kept) int { return a.at.Compare(b.at) })
	for _, k := range list {
		if total <= s.cfg.MaxImages && s.cfg.Now().Sub(k.at) < imageLife {
			break
		}
		err = errors.Join(err, s.root.RemoveAll(k.dir))
		total -= k.size
		s.cfg.Log.Info("an image is removed to make room", "file", k.dir, "bytes", k.size)
	}
	if err != nil {
		s.cfg.Log.Error("images could not be cleaned up", "error", err)
	}
}
