package fileserver

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

// Images are files that the server itself has fetched from elsewhere, checked,
// and keeps for CPE: one that a thousand CPE are to have is fetched once.

// Images is the directory of what was fetched.
const Images = "images"

// Image is a file that is wanted.
type Image struct {
	URL                string // http or https
	Username, Password string // asked for by HTTP authentication
	Size               int64  // in bytes; 0: not known
	Algorithm          string // of CheckSum: SHA-1, SHA-224, SHA-256, SHA-384 or SHA-512
	CheckSum           string // in hexadecimal digits; "": not known
}

// ErrWrongContent is a file that has come whole and is not the one that is wanted.
var ErrWrongContent = errors.New("the file is not the one that is wanted")

// The bounds of what is fetched.
const (
	// maxImageWait is how long a file may take to come.
	maxImageWait = 15 * time.Minute
	// dialTimeout is how long a server may take to take a connection.
	dialTimeout = 30 * time.Second
	// maxFetches is how many are fetched at once; others wait.
	maxFetches = 16
	// maxRedirects is how often a server may send elsewhere.
	maxRedirects = 5
	// failureKept is how long a failure answers for others that want the same:
	// a fleet does not ask a dead server a thousand times.
	failureKept = 10 * time.Second
	// maxFailures bounds the failures that are remembered.
	maxFailures = 1024
	// unverifiedFresh is how long a file whose checksum nobody has given is
	// taken for what its URL has.
	unverifiedFresh = 5 * time.Minute
)

// algorithms are the checksums of TR-181 FirmwareImage.{i}.Download().
var algorithms = map[string]func() hash.Hash{
	"SHA-1": sha1.New, "SHA-224": sha256.New224, "SHA-256": sha256.New, "SHA-384": sha512.New384, "SHA-512": sha512.New,
}

// check returns the hash that a file has to have; nil if nobody knows it.
func (w Image) check() (hash.Hash, []byte, error) {
	if w.CheckSum == "" && w.Algorithm == "" {
		return nil, nil, nil
	}
	algorithm := algorithms[w.Algorithm]
	if algorithm == nil {
		return nil, nil, fmt.Errorf("%.40q is no checksum algorithm that is known", w.Algorithm)
	}
	sum, err := hex.DecodeString(w.CheckSum)
	h := algorithm()
	if err != nil || len(sum) != h.Size() {
		return nil, nil, fmt.Errorf("the checksum is not the %d hexadecimal digits of %s", 2*h.Size(), w.Algorithm)
	}
	return h, sum, nil
}

// CheckImage reports why an image cannot be wanted, among others because the
// operator does not allow its server.
func (s *Server) CheckImage(w Image) error {
	u, err := url.Parse(w.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return errors.New("it is no URL of http or https")
	}
	if s.cfg.Servers != nil {
		if err := s.cfg.Servers.Check(u); err != nil {
			return err
		}
	}
	_, _, err = w.check()
	return err
}

// CheckSum reports why an image cannot have its checksum.
func CheckSum(w Image) error {
	_, _, err := w.check()
	return err
}

// key names what is fetched: the same URL with other credentials, or with another
// checksum, is another file.
func (w Image) key() string {
	h := sha256.New()
	for _, part := range []string{w.URL, w.Username, w.Password, w.Algorithm, strings.ToLower(w.CheckSum)} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// name is where the file is put. CPE see its last part, and some go by it.
func (w Image) name() string {
	base := "image"
	if u, err := url.Parse(w.URL); err == nil {
		if b := path.Base(u.Path); b != "." && b != "/" && len(b) <= maxBase && CheckName(b) == nil {
			base = b
		}
	}
	return path.Join(Images, w.key(), base)
}

// maxBase is the longest name of a file that is kept, in bytes: with the
// directory and a token it fits into the URL of a CPE.
const maxBase = 100

// fetching is one file on its way, or why it has not come.
type fetching struct {
	done chan struct{}
	err  error     // valid when done is closed
	over time.Time // of a failure: until when it answers for others
}

// Fetch returns the name of a file below the directory, and its size, fetching it
// if it is not there. All that want the same wait for one fetch, which goes on
// when they go. It fails with ErrWrongContent if size or checksum are others.
func (s *Server) Fetch(ctx context.Context, w Image) (name string, size int64, err error) {
	if err := s.CheckImage(w); err != nil {
		return "", 0, err
	}
	name = w.name()
	if size, ok := s.kept(w, name); ok {
		return name, size, nil
	}
	f := s.join(w, name)
	select {
	case <-f.done:
	case <-ctx.Done():
		return "", 0, ctx.Err()
	}
	if f.err != nil {
		return "", 0, f.err
	}
	size, err = s.Size(name)
	return name, size, err
}

// kept reports whether a file is there, and marks it as wanted.
func (s *Server) kept(w Image, name string) (size int64, ok bool) {
	info, err := s.root.Stat(name)
	if err != nil || w.CheckSum == "" && s.cfg.Now().Sub(info.ModTime()) > unverifiedFresh {
		return 0, false
	}
	if now := s.cfg.Now(); w.CheckSum != "" {
		if err := s.root.Chtimes(name, now, now); err != nil {
			return 0, false // it has just been removed
		}
	}
	return info.Size(), w.Size == 0 || w.Size == info.Size()
}

// Keep marks a file as wanted, so that it stays; it fails if there is none.
func (s *Server) Keep(name string) error {
	now := s.cfg.Now()
	return s.root.Chtimes(name, now, now)
}

// join returns the fetch of a file, begun if it is not under way.
func (s *Server) join(w Image, name string) *fetching {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := w.key()
	if f := s.fetches[key]; f != nil && (f.over.IsZero() || s.cfg.Now().Before(f.over)) {
		return f
	}
	f := &fetching{done: make(chan struct{})}
	if _, ok := s.kept(w, name); ok { // it has come since it was looked for
		close(f.done)
		return f
	}
	s.forgetFailures()
	s.fetches[key] = f
	s.fetchers.Add(1)
	go func() {
		defer s.fetchers.Done()
		err := s.fetchInTurn(w, name)
		s.mu.Lock()
		defer s.mu.Unlock()
		if f.err = err; err == nil || len(s.fetches) > maxFailures {
			delete(s.fetches, key)
		} else {
			f.over = s.cfg.Now().Add(failureKept)
		}
		close(f.done)
	}()
	return f
}

// forgetFailures drops the failures that answer for nobody any more. s.mu is held.
func (s *Server) forgetFailures() {
	now := s.cfg.Now()
	for key, f := range s.fetches {
		if !f.over.IsZero() && !now.Before(f.over) {
			delete(s.fetches, key)
		}
	}
}

func (s *Server) fetchInTurn(w Image, name string) error {
	ctx, cancel := context.WithTimeout(s.life, maxImageWait)
	defer cancel()
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return fmt.Errorf("%d other files are fetched, and none of them came to an end: %w", maxFetches, ctx.Err())
	}
	n, err := s.fetch(ctx, w, name)
	if err != nil {
		s.cfg.Log.Warn("an image could not be fetched", "url", shown(w.URL), "bytes", n, "error", err)
		return err
	}
	s.cfg.Log.Info("image fetched", "url", shown(w.URL), "file", name, "bytes", n)
	s.makeRoom(name)
	return nil
}

// fetch gets a file and gives it its name when it is the one that is wanted.
func (s *Server) fetch(ctx context.Context, w Image, name string) (n int64, err error) {
	want, sum, err := w.check()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body, err := s.open(ctx, w)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	temporary, f, err := s.temporary()
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.root.Remove(temporary))
		}
	}()
	to := io.Writer(f)
	if want != nil {
		to = io.MultiWriter(f, want)
	}
	lively := &stallGuard{Reader: io.LimitReader(body, s.cfg.MaxImage+1), cancel: cancel, stall: s.cfg.Stall}
	n, err = lively.copyTo(to)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		return n, errors.Join(fmt.Errorf("the file did not come whole: %w", err), f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return n, err
	}
	switch {
	case n > s.cfg.MaxImage:
		return n, fmt.Errorf("a file of more than %d bytes", s.cfg.MaxImage)
	case w.Size > 0 && n != w.Size:
		return n, fmt.Errorf("%w: it has %d bytes, not %d", ErrWrongContent, n, w.Size)
	case want != nil && !slices.Equal(want.Sum(nil), sum):
		return n, fmt.Errorf("%w: its %s is %x", ErrWrongContent, w.Algorithm, want.Sum(nil))
	}
	return n, s.place(temporary, name)
}

// stallGuard ends a fetch in which less than a chunk comes in the stall time.
type stallGuard struct {
	io.Reader
	cancel context.CancelCauseFunc
	stall  time.Duration
}

func (g *stallGuard) copyTo(w io.Writer) (n int64, err error) {
	for {
		late := time.AfterFunc(g.stall, func() { g.cancel(fmt.Errorf("less than %d bytes came within %v", chunk, g.stall)) })
		k, err := io.CopyN(w, g.Reader, chunk)
		late.Stop()
		if n += k; errors.Is(err, io.EOF) {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}

// open asks for a file, with credentials if it is asked for them.
func (s *Server) open(ctx context.Context, w Image) (io.ReadCloser, error) {
	resp, err := s.get(ctx, w, "")
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusUnauthorized && w.Username != "" {
		challenges := resp.Header.Values("WWW-Authenticate")
		resp.Body.Close()
		answer, err := authorization(w, challenges)
		if err != nil {
			return nil, err
		}
		if resp, err = s.get(ctx, w, answer); err != nil {
			return nil, err
		}
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("the server answered %s", resp.Status)
	}
	return resp.Body, nil
}

func (s *Server) get(ctx context.Context, w Image, authorization string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL, nil)
	if err != nil {
		return nil, err
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := s.client.Do(req)
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err // without the URL, which may have a secret in it
	}
	return resp, err
}

// shown returns a URL as it can be logged.
func shown(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	if u.RawQuery != "" {
		u.RawQuery = "xxxxx"
	}
	return u.Redacted()
}

// Verify reports why a file below the directory is not the one that is wanted;
// the URL does not matter.
func (s *Server) Verify(name string, w Image) error {
	size, err := s.Size(name)
	if err != nil {
		return err
	}
	if w.Size > 0 && size != w.Size {
		return fmt.Errorf("%w: it has %d bytes, not %d", ErrWrongContent, size, w.Size)
	}
	want, sum, err := w.check()
	if err != nil || want == nil {
		return err
	}
	f, err := s.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(want, f); err != nil {
		return err
	}
	if !slices.Equal(want.Sum(nil), sum) {
		return fmt.Errorf("%w: its %s is %x", ErrWrongContent, w.Algorithm, want.Sum(nil))
	}
	return nil
}
