package fileserver

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
	"time"
)

// download serves a file, whole or in ranges (RFC 9110 14).
func (s *Server) download(w http.ResponseWriter, r *http.Request, g Grant) (int64, error) {
	f, err := s.root.Open(g.Name)
	if errors.Is(err, fs.ErrNotExist) {
		s.cfg.Log.Warn("a CPE asks for a file that is not there any more", "device", g.Device, "file", g.Name)
		return 0, errNotHere
	} else if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, errNotHere
	}
	// The tag tells a resumed download that the file was exchanged meanwhile.
	w.Header().Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
	w.Header().Set("Content-Type", "application/octet-stream")
	p := &paced{ResponseWriter: w, control: http.NewResponseController(w), stall: s.cfg.Stall}
	http.ServeContent(p, r, "", info.ModTime(), f)
	if p.err != nil {
		s.cfg.Log.Info("download broken off", "device", g.Device, "file", g.Name, "bytes", p.n, "error", p.err)
		return p.n, nil // its status is sent; the CPE comes again for the rest
	}
	if err := p.control.SetWriteDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return p.n, nil // the connection is closed
	}
	if p.n == 0 || !p.last(info.Size()) {
		return p.n, nil
	}
	s.cfg.Log.Info("file downloaded", "device", g.Device, "file", g.Name, "bytes", p.n)
	return p.n, s.told(r, g, info.Size())
}

// told tells Grants of a transfer. The CPE has its answer: it cannot be refused
// any more.
func (s *Server) told(r *http.Request, g Grant, size int64) error {
	if err := s.cfg.Grants.Transferred(r.Context(), g, size); err != nil {
		s.cfg.Log.Error("a file transfer could not be noted", "device", g.Device, "file", g.Name, "error", err)
	}
	return nil
}

// chunk is how much is written or read under one deadline.
const chunk = 32 << 10

// paced is a ResponseWriter whose peer has to take a chunk in each stall time.
// So a slow line may take hours for a file, but a dead one holds nothing.
type paced struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	status  int
	n       int64
	err     error
}

func (p *paced) WriteHeader(status int) {
	p.status = status
	p.ResponseWriter.WriteHeader(status)
}

func (p *paced) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		if err = p.control.SetWriteDeadline(time.Now().Add(p.stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			break
		}
		var k int
		k, err = p.ResponseWriter.Write(b[:min(len(b), chunk)])
		n, b = n+k, b[k:]
	}
	p.n, p.err = p.n+int64(n), err
	return n, err
}

// last reports whether the file's last byte was sent.
func (p *paced) last(size int64) bool {
	if p.status == http.StatusPartialContent {
		return strings.HasSuffix(p.Header().Get("Content-Range"), fmt.Sprintf("-%d/%d", size-1, size))
	}
	return p.status == http.StatusOK && p.n == size
}

// upload takes a file. It appears under its name when it is whole and on disk.
func (s *Server) upload(w http.ResponseWriter, r *http.Request, g Grant) (n int64, err error) {
	tooLarge := &refusal{http.StatusRequestEntityTooLarge, "oversized", fmt.Sprintf("a file of more than %d bytes", s.cfg.MaxUpload)}
	switch {
	case r.ContentLength > s.cfg.MaxUpload:
		return 0, tooLarge
	case r.Header.Get("Content-Range") != "": // RFC 9110 14.5
		return 0, &refusal{http.StatusBadRequest, "partial", "a file is stored whole: send it without Content-Range"}
	}
	temporary, f, err := s.temporary()
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.root.Remove(temporary))
		}
	}()
	control := http.NewResponseController(w)
	n, err = io.Copy(f, &pacedReader{Reader: io.LimitReader(r.Body, s.cfg.MaxUpload+1), control: control, stall: s.cfg.Stall})
	if err != nil {
		return n, errors.Join(&refusal{http.StatusBadRequest, "broken", "the file did not come whole"}, err, f.Close())
	}
	if n > s.cfg.MaxUpload {
		return n, errors.Join(tooLarge, f.Close())
	}
	if err := control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return n, errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return n, err
	}
	if err := s.place(temporary, g.Name); err != nil {
		return n, err
	}
	s.cfg.Log.Info("file uploaded", "device", g.Device, "file", g.Name, "bytes", n)
	w.WriteHeader(http.StatusCreated)
	return n, s.told(r, g, n)
}

// temporary opens a file for what has not come whole.
func (s *Server) temporary() (name string, f *os.File, err error) {
	name = path.Join(incoming, rand.Text())
	f, err = s.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	return name, f, err
}

// place gives a file its name, durably.
func (s *Server) place(temporary, name string) error {
	dir := path.Dir(name)
	if err := s.root.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := s.root.Rename(temporary, name); err != nil {
		return err
	}
	d, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// pacedReader is paced for what a CPE sends: a byte now and then is not enough
// to hold a place.
type pacedReader struct {
	io.Reader
	control *http.ResponseController
	stall   time.Duration
	left    int // bytes of the chunk that is to come before the deadline
}

func (p *pacedReader) Read(b []byte) (n int, err error) {
	if p.left == 0 {
		if err := p.control.SetReadDeadline(time.Now().Add(p.stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return 0, err
		}
		p.left = chunk
	}
	n, err = p.Reader.Read(b[:min(len(b), p.left)])
	p.left -= n
	return n, err
}
