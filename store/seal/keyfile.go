package seal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/uspbridge/uspbridge/store"
)

// maxKeyFile bounds a key file: hundreds of keys, and not a log file named by
// mistake.
const maxKeyFile = 64 << 10

// Config says which key a store is sealed with.
type Config struct {
	File  string // the key file; made with a new key if it is missing and the store is not sealed yet
	Store store.Store
	// Renew accepts a key that the store was not sealed with. What was sealed
	// before cannot be opened any more.
	Renew bool
	Log   *slog.Logger
}

// The start's failures, for those who tell an operator what to do.
var (
	ErrKeyMissing = errors.New("the key file is missing, but the store has secrets sealed with it")
	ErrWrongKey   = errors.New("the store's secrets were sealed with another key")
)

// checkKey is the record that tells whether the key is the store's.
var checkKey = store.Key{Kind: store.Meta, Owner: "seal", Name: "check"}

// checkText is what the record has in it, sealed.
const checkText = "uspbridge"

// Open reads the key file and checks that its key is the one that the store was
// sealed with. At the first start it makes both.
func Open(ctx context.Context, c Config) (*Box, error) {
	check, err := c.Store.Get(ctx, checkKey)
	if errors.Is(err, store.ErrNotFound) {
		check = nil
	} else if err != nil {
		return nil, fmt.Errorf("key check record: %w", err)
	}
	keys, err := readKeyFile(c.File, c.Log)
	if errors.Is(err, fs.ErrNotExist) {
		if check != nil && !c.Renew {
			return nil, fmt.Errorf("%s: %w", c.File, ErrKeyMissing)
		}
		keys, err = makeKeyFile(c.File, c.Log)
	}
	if err != nil {
		return nil, err
	}
	box, err := New(keys...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.File, err)
	}
	return box, c.confirm(ctx, box, check)
}

// confirm compares the box with the store's check record, and writes one that
// the box's first key has sealed where there is none.
func (c Config) confirm(ctx context.Context, box *Box, check []byte) error {
	if check != nil {
		_, err := box.Open(checkKey, check)
		switch {
		case err != nil && !c.Renew:
			return fmt.Errorf("%s: %w: %w", c.File, ErrWrongKey, err)
		case err != nil:
			c.Log.Warn("the key of the store's secrets is replaced; what was sealed with the old one is lost", "file", c.File)
		case bytes.HasPrefix(check[1:], box.keys[0].id[:]):
			return nil
		}
	}
	var b store.Batch
	b.CompareAndSet(checkKey, check, box.Seal(checkKey, []byte(checkText)))
	err := c.Store.Commit(ctx, &b)
	if errors.Is(err, store.ErrConflict) { // another node starts at the same time
		if check, err = c.Store.Get(ctx, checkKey); err == nil {
			_, err = box.Open(checkKey, check)
		}
	}
	if err != nil {
		return fmt.Errorf("key check record: %w", err)
	}
	return nil
}

// readKeyFile reads the keys, the one that seals first.
func readKeyFile(file string, log *slog.Logger) (keys [][]byte, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxKeyFile {
		return nil, fmt.Errorf("%s: %d bytes are too many for a key file", file, info.Size())
	}
	if info.Mode().Perm()&0o077 != 0 {
		log.Warn("the key file can be read by others than its owner: chmod 600", "file", file, "mode", info.Mode().Perm().String())
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		k, err := base64.StdEncoding.DecodeString(string(line))
		if err != nil || len(k) != KeySize { // the text is a key: it is not shown
			return nil, fmt.Errorf("%s:%d: not a key: want %d bytes in base64, as `openssl rand -base64 %d` makes them", file, n, KeySize, KeySize)
		}
		keys = append(keys, k)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: no key in it; remove the file to have one made, or write one with `openssl rand -base64 %d`", file, KeySize)
	}
	return keys, nil
}

// makeKeyFile makes the file with a new key, durable before anything is sealed
// with it. If another process makes it at the same time, both use that one.
func makeKeyFile(file string, log *slog.Logger) ([][]byte, error) {
	dir := filepath.Dir(file)
	draft, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("make the key file: %w", err)
	}
	defer os.Remove(draft.Name()) // it has its final name then, too
	text := "# Key of the secrets in uspbridge's store. Keep a copy: without it they are lost.\n" +
		base64.StdEncoding.EncodeToString(newKey()) + "\n"
	_, err = draft.WriteString(text)
	if err = errors.Join(err, draft.Sync(), draft.Close()); err != nil {
		return nil, fmt.Errorf("make the key file: %w", err)
	}
	if err := os.Link(draft.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the key file: %w", err)
	} else if err == nil {
		log.Info("a key for the store's secrets was made; keep a copy of it apart from the store's", "file", file)
	}
	if err := syncDir(dir); err != nil {
		return nil, fmt.Errorf("make the key file: %w", err)
	}
	return readKeyFile(file, log)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
