package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/store"
)

// Config is what a Keyring needs.
type Config struct {
	Store  store.Store
	Sealer store.Sealer
	Users  map[string]User  // by name; those of the configuration
	Now    func() time.Time // default time.Now
}

// User is a user name of the configuration. It is for every device that has no
// credential of its own and falls under no rule.
type User struct {
	Password string
	Allows   func(cwmp.DeviceID) bool // nil: any device
}

// Entry is one credential.
type Entry struct {
	Scope Scope
	// Username may have {oui}, {product_class} and {serial} in it, which become the
	// device's, escaped as in TR-069 3.4.4.
	Username string
	Password string
}

// The bounds of an Entry, in bytes: those of ManagementServer.Username and
// Password in TR-098 and TR-181.
const (
	maxUsername = 256
	maxPassword = 256
)

// Check returns what is wrong with an Entry.
func (e *Entry) Check() error {
	switch {
	case e.Username == "":
		return errors.New("there is no user name")
	case e.Password == "":
		return errors.New("there is no password")
	case len(e.Username) > maxUsername || len(e.Password) > maxPassword:
		return fmt.Errorf("user name and password may have %d bytes each", maxUsername)
	case strings.ContainsAny(e.Username+e.Password, "\r\n\x00"):
		return errors.New("user name and password cannot have line breaks in them")
	case strings.ContainsAny(placeholders.Replace(e.Username), "{}"):
		return errors.New("user name: only {oui}, {product_class} and {serial} can stand in braces")
	}
	return e.Scope.check()
}

var placeholders = strings.NewReplacer("{oui}", "", "{product_class}", "", "{serial}", "")

// Listed is a credential without its secret.
type Listed struct {
	Scope    Scope
	Username string
	Rule     bool
	Changed  time.Time
}

// Keyring finds, changes and lists credentials. Its methods may be called
// concurrently.
type Keyring struct {
	cfg   Config
	rules atomic.Pointer[rules]
	load  sync.Mutex // held while rules are read
}

// rules are the credentials of groups, the most specific first.
type rules struct {
	list []rule
	read time.Time
}

type rule struct {
	scope Scope
	record
}

// record is what the store keeps of a credential, under the key of recordKey.
type record struct {
	Username string    `json:"username"`
	Secret   []byte    `json:"secret"` // the password, sealed
	Changed  time.Time `json:"changed"`
}

const (
	ownerRule = "rule:" // before the scope of a rule; a device's has no colon
	nameACS   = "acs"   // what the credential is for

	// maxRules bounds the rules, since each Inform of a device without a credential
	// of its own is compared with all of them. Devices are not bounded.
	maxRules = 1000
	// rulesAge is after how long rules are read again, for those that another node
	// has changed.
	rulesAge = 10 * time.Second
)

func recordKey(s Scope) store.Key {
	owner := s.String()
	if !s.single() {
		owner = ownerRule + owner
	}
	return store.Key{Kind: store.Credential, Owner: owner, Name: nameACS}
}

// New returns a Keyring over an open store.
func New(ctx context.Context, cfg Config) (*Keyring, error) {
	if cfg.Store == nil || cfg.Sealer == nil {
		return nil, errors.New("credential: Store and Sealer are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	k := &Keyring{cfg: cfg}
	return k, k.readRules(ctx)
}

func (k *Keyring) readRules(ctx context.Context) error {
	next := &rules{read: k.cfg.Now()}
	var broken error
	err := k.cfg.Store.Scan(ctx, store.Query{Kind: store.Credential, Owner: ownerRule, Limit: maxRules}, func(key store.Key, v []byte) bool {
		r := rule{}
		if r.scope, broken = ParseScope(strings.TrimPrefix(key.Owner, ownerRule)); broken == nil {
			broken = json.Unmarshal(v, &r.record)
		}
		if broken != nil {
			broken = fmt.Errorf("credential %s: %w", key.Owner, broken)
			return false
		}
		next.list = append(next.list, r)
		return true
	})
	if err = errors.Join(broken, err); err != nil {
		return fmt.Errorf("credential rules: %w", err)
	}
	slices.SortFunc(next.list, func(a, b rule) int { return a.scope.moreSpecific(b.scope) })
	k.rules.Store(next)
	return nil
}

// current returns the rules, read again if they are old. One caller reads, the
// others go on with what there is.
func (k *Keyring) current(ctx context.Context) ([]rule, error) {
	now := k.rules.Load()
	if k.cfg.Now().Sub(now.read) > rulesAge && k.load.TryLock() {
		defer k.load.Unlock()
		if err := k.readRules(ctx); err != nil {
			return nil, err
		}
		now = k.rules.Load()
	}
	return now.list, nil
}
