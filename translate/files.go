package translate

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/fileserver"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
)

// Files is the bridge's own file server, as far as transfers need it.
type Files interface {
	// Size returns the size in bytes of a file that CPE can download.
	Size(name string) (int64, error)
	// CheckImage reports why a file cannot be fetched from elsewhere.
	CheckImage(wanted fileserver.Image) error
	// Fetch returns the name of a file that is fetched from elsewhere, and its
	// size in bytes. It fails with fileserver.ErrWrongContent if what has come
	// is not what is wanted.
	Fetch(ctx context.Context, wanted fileserver.Image) (name string, size int64, err error)
	// Verify fails so if a file that is there is not what is wanted.
	Verify(name string, wanted fileserver.Image) error
	// Keep fails if a file is not there, and has it stay if it is.
	Keep(name string) error
}

// FileConfig configures file transfers.
type FileConfig struct {
	// URL is how CPE reach the file server; "": as they reach the ACS.
	URL string
	// Life is how long a transfer may take once it may begin, and so how long
	// its URL is good (default 1 h).
	Life time.Duration
}

// fileScheme marks a URL as the name of a file of the bridge. A URL without any
// scheme is one too.
const fileScheme = "file:"

// ownFile returns the name of a file of the bridge that a URL stands for; own
// is false for a URL that the CPE is to use as it is.
func ownFile(text string) (name string, own bool) {
	if rest, ok := strings.CutPrefix(text, fileScheme); ok {
		return strings.TrimPrefix(rest, "//"), true
	}
	return text, !strings.Contains(text, ":")
}

// uploadName returns the name under which a CPE's file is put: in a directory
// of its own, under a name that the controller gives or under the time and the
// kind of file.
func uploadName(endpoint usp.EndpointID, wanted, fileType string, now time.Time) string {
	if wanted == "" {
		kind := strings.Map(func(c rune) rune {
			if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' {
				return c
			}
			return '-'
		}, strings.ToLower(fileType))
		wanted = now.UTC().Format("20060102T150405Z") + "-" + strings.Trim(kind, "-")
	}
	return path.Join(fileserver.Uploads, string(endpoint), wanted)
}

// grantFile makes a token for the operation's file and returns the URL in which
// it stands. Only its hash is stored.
func (b *Bridge) grantFile(dev *device, op *Operation, c credentials, base string, batch *store.Batch) (address string, err error) {
	if b.cfg.Files.URL != "" {
		base = b.cfg.Files.URL
	}
	if base == "" {
		return "", errors.New("how the CPE reaches the file server is not known; set cwmp.files.url")
	}
	token := rand.Text() + rand.Text()[:6]
	t := op.Transfer
	grant := fileserver.Grant{
		// It is void when the operation ends, which can be put off as long as
		// the CPE has it in its queue.
		Device: string(dev.key), Transfer: op.Key, Name: t.File, Upload: t.upload(), Expires: op.Deadline.Add(contactLife),
		Username: c.Username, Password: c.Password,
	}
	value, err := json.Marshal(grant)
	if err != nil {
		return "", err
	}
	name := grantName(token)
	op.Grants = append(op.Grants[:len(op.Grants):len(op.Grants)], name)
	batch.Put(grantKey(name), b.cfg.Sealer.Seal(grantKey(name), value))
	return strings.TrimSuffix(base, "/") + fileserver.Path(token, t.File), nil
}

func grantName(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func grantKey(name string) store.Key { return store.Key{Kind: store.FileGrant, Owner: name} }

// Grant implements fileserver.Grants.
func (b *Bridge) Grant(ctx context.Context, token string) (g fileserver.Grant, err error) {
	key := grantKey(grantName(token))
	sealed, err := b.store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return g, fileserver.ErrNoGrant
	} else if err != nil {
		return g, err
	}
	value, err := b.cfg.Sealer.Open(key, sealed)
	if err == nil {
		err = json.Unmarshal(value, &g)
	}
	if err != nil {
		return g, fmt.Errorf("file grant: %w", err)
	}
	return g, nil
}

// Transferred implements fileserver.Grants: what a CPE fetched or stored is in
// the audit trail of its agent.
func (b *Bridge) Transferred(ctx context.Context, g fileserver.Grant, bytes int64) error {
	dev, err := b.devices.acquire(ctx, cwmp.DeviceKey(g.Device))
	if err != nil {
		return err
	}
	defer b.devices.release(dev)
	rec := dev.state.Load().rec
	action, by := "FileDownload", usp.EndpointID("")
	if g.Upload {
		action = "FileUpload"
	}
	for _, op := range rec.Operations {
		if op.Key == g.Transfer {
			by = op.Controller
		}
	}
	now := b.now()
	record, err := json.Marshal(agent.AuditRecord{
		Time: now.UTC().Format("2006-01-02T15:04:05.000Z"), Controller: by, Action: action,
		Changes: []agent.AuditChange{{Path: g.Name, Params: map[string]string{"Bytes": fmt.Sprint(bytes)}, Result: "ok"}},
	})
	if err != nil {
		return err
	}
	var batch store.Batch
	batch.Put(store.Key{Kind: store.Audit, Owner: string(rec.Endpoint), Name: fmt.Sprintf("%016x-%s", now.UnixNano(), rand.Text()[:4])}, record)
	return b.store.Commit(context.WithoutCancel(ctx), &batch)
}

// shownURL returns a transfer's URL without what opens doors: a file of the
// bridge by its name, any other without a password.
func (t *Transfer) shownURL() string {
	if t.URL == "" && t.File != "" {
		return fileScheme + t.File
	}
	return redacted(t.URL)
}

// redacted returns a URL without the password in it, "" for what is no URL.
func redacted(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	if u.RawQuery != "" {
		u.RawQuery = "xxxxx" // a signed URL has its secret there; the mark is that of URL.Redacted
	}
	return u.Redacted()
}
