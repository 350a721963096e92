package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
)

// Account is what an endpoint logs in with.
type Account struct {
	Username string         `json:"-"`
	Endpoint usp.EndpointID `json:"endpoint"`
	Hash     []byte         `json:"hash"` // bcrypt of the password
	Changed  time.Time      `json:"changed"`
}

// The bounds of an Account, in bytes. bcrypt takes no longer passwords.
const (
	maxUsername = 256
	maxPassword = 72
)

// hashCost is that of bcrypt: some 50 ms of a processor for each login, which is
// what it costs to try a password.
const hashCost = bcrypt.DefaultCost

// NewAccount returns an Account with the password hashed.
func NewAccount(username string, endpoint usp.EndpointID, password string) (Account, error) {
	if len(password) < 8 || len(password) > maxPassword {
		return Account{}, fmt.Errorf("the password has %d bytes; want 8 to %d", len(password), maxPassword)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), hashCost)
	if err != nil {
		return Account{}, fmt.Errorf("hash of the password: %w", err)
	}
	a := Account{Username: username, Endpoint: endpoint, Hash: hash, Changed: time.Now().UTC()}
	return a, a.Check()
}

// Check returns what is wrong with an Account.
func (a Account) Check() error {
	if a.Username == "" || len(a.Username) > maxUsername || strings.ContainsFunc(a.Username, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("user name %.50q: want 1 to %d bytes without control characters", a.Username, maxUsername)
	}
	if err := checkEndpoint(a.Endpoint); err != nil {
		return fmt.Errorf("user %s: %w", a.Username, err)
	}
	cost, err := bcrypt.Cost(a.Hash)
	if err != nil {
		return fmt.Errorf("user %s: not a bcrypt hash: %w", a.Username, err)
	}
	if cost > maxHashCost {
		return fmt.Errorf("user %s: a bcrypt hash of cost %d: at most %d is taken", a.Username, cost, maxHashCost)
	}
	return nil
}

// maxHashCost bounds what a login costs, some 800 ms.
const maxHashCost = 14

// Book is Accounts in the store, over some of the configuration. Its methods may be
// called concurrently.
type Book struct {
	Store store.Store
	// Fixed are the accounts of the configuration, by user name. They cannot be
	// changed here.
	Fixed map[string]Account
	// Changed, if set, is told of accounts that are not what they were.
	Changed func(username string)
}

// nameBroker is what the credentials are for, beside those of CPE.
const nameBroker = "broker"

// ownerBroker is before the user name. No scope of a CPE's credential has a colon.
const ownerBroker = "broker:"

func accountKey(username string) store.Key {
	return store.Key{Kind: store.Credential, Owner: ownerBroker + username, Name: nameBroker}
}

// Find implements Accounts.
func (b *Book) Find(ctx context.Context, username string) (Account, error) {
	if a, ok := b.Fixed[username]; ok {
		return a, nil
	}
	if username == "" || len(username) > maxUsername {
		return Account{}, ErrNoAccount
	}
	v, err := b.Store.Get(ctx, accountKey(username))
	if errors.Is(err, store.ErrNotFound) {
		return Account{}, ErrNoAccount
	} else if err != nil {
		return Account{}, fmt.Errorf("user %s of the broker: %w", username, err)
	}
	return readAccount(username, v)
}

func readAccount(username string, v []byte) (Account, error) {
	a := Account{Username: username}
	if err := json.Unmarshal(v, &a); err != nil {
		return a, fmt.Errorf("user %s of the broker, as it is in the store: %w", username, err)
	}
	return a, nil
}

// Put adds an account or replaces that of the same user name, durably.
func (b *Book) Put(ctx context.Context, a Account) error {
	if err := a.Check(); err != nil {
		return err
	}
	if err := b.free(a.Username); err != nil {
		return err
	}
	v, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("user %s of the broker: %w", a.Username, err)
	}
	var batch store.Batch
	batch.Put(accountKey(a.Username), v)
	return b.commit(ctx, &batch, a.Username)
}

// Remove removes an account, durably; ErrNoAccount if there is none.
func (b *Book) Remove(ctx context.Context, username string) error {
	if err := b.free(username); err != nil {
		return err
	}
	if _, err := b.Find(ctx, username); err != nil {
		return err
	}
	var batch store.Batch
	batch.Delete(accountKey(username))
	return b.commit(ctx, &batch, username)
}

// ErrFixed is the error of a change to an account of the configuration.
var ErrFixed = errors.New("that user of the broker is in a file of the configuration: change it there")

func (b *Book) free(username string) error {
	if _, ok := b.Fixed[username]; ok {
		return fmt.Errorf("%s: %w", username, ErrFixed)
	}
	return nil
}

func (b *Book) commit(ctx context.Context, batch *store.Batch, username string) error {
	if err := b.Store.Commit(ctx, batch); err != nil {
		return fmt.Errorf("users of the broker: %w", err)
	}
	if b.Changed != nil {
		b.Changed(username)
	}
	return nil
}

// List calls fn for the accounts of the store in the order of their user names,
// behind after, until it returns false.
func (b *Book) List(ctx context.Context, after string, fn func(Account) bool) error {
	q := store.Query{Kind: store.Credential, Owner: ownerBroker}
	if after != "" {
		key := accountKey(after)
		q.After = &key
	}
	var broken error
	err := b.Store.Scan(ctx, q, func(k store.Key, v []byte) bool {
		var a Account
		if a, broken = readAccount(strings.TrimPrefix(k.Owner, ownerBroker), v); broken != nil {
			return false
		}
		return fn(a)
	})
	return errors.Join(broken, err)
}
