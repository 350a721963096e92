package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/uspbridge/uspbridge/store"
)

// Applied counts what became of entries.
type Applied struct {
	Added   int `json:"added"`
	Changed int `json:"changed"`
	Same    int `json:"same"` // were there already
}

// Apply adds entries or replaces those of the same scope, all or none; it returns
// when that is durable. Where a scope is there twice the last one counts. What is
// there already is not written again, so that an import may be repeated.
func (k *Keyring) Apply(ctx context.Context, entries []Entry) (done Applied, err error) {
	var batch store.Batch
	fresh := map[Scope]bool{} // rules that are new
	for i := range entries {
		e := &entries[i]
		if err := e.Check(); err != nil {
			return Applied{}, fmt.Errorf("credential for %s: %w", e.Scope, err)
		}
		old, err := k.get(ctx, e.Scope)
		if err != nil {
			return Applied{}, err
		}
		if old != nil && k.same(old, e) {
			done.Same++
			continue
		}
		if old == nil {
			done.Added++
			fresh[e.Scope] = !e.Scope.single()
		} else {
			done.Changed++
		}
		if err := k.put(&batch, e); err != nil {
			return Applied{}, err
		}
	}
	if err := k.room(fresh); err != nil {
		return Applied{}, err
	}
	if batch.Len() == 0 {
		return done, nil
	}
	return done, k.commit(ctx, &batch)
}

// same reports whether an entry is what the store has.
func (k *Keyring) same(old *record, e *Entry) bool {
	password, err := k.cfg.Sealer.Open(recordKey(e.Scope), old.Secret)
	return err == nil && string(password) == e.Password && old.Username == e.Username
}

func (k *Keyring) put(batch *store.Batch, e *Entry) error {
	key := recordKey(e.Scope)
	v, err := json.Marshal(record{Username: e.Username, Secret: k.cfg.Sealer.Seal(key, []byte(e.Password)), Changed: k.cfg.Now().UTC()})
	if err != nil {
		return fmt.Errorf("credential for %s: %w", e.Scope, err)
	}
	batch.Put(key, v)
	return nil
}

// room refuses rules beyond their bound.
func (k *Keyring) room(fresh map[Scope]bool) error {
	n := len(k.rules.Load().list)
	for _, isRule := range fresh {
		if isRule {
			n++
		}
	}
	if n > maxRules {
		return fmt.Errorf("%d rules would be more than %d: give devices with exact serial numbers credentials of their own", n, maxRules)
	}
	return nil
}

// commit writes a batch and takes changed rules into use.
func (k *Keyring) commit(ctx context.Context, batch *store.Batch) error {
	k.load.Lock()
	defer k.load.Unlock()
	if err := k.cfg.Store.Commit(ctx, batch); err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	for _, op := range batch.Ops {
		if strings.HasPrefix(op.Key.Owner, ownerRule) {
			return k.readRules(ctx)
		}
	}
	return nil
}

// ErrNotThere is the error of Remove for a scope without a credential.
var ErrNotThere = errors.New("there is no such credential")

// Remove removes the credential of exactly that scope.
func (k *Keyring) Remove(ctx context.Context, s Scope) error {
	old, err := k.get(ctx, s)
	if err != nil {
		return err
	}
	if old == nil {
		return fmt.Errorf("%s: %w", s, ErrNotThere)
	}
	var batch store.Batch
	batch.Delete(recordKey(s))
	return k.commit(ctx, &batch)
}

// List calls fn for credentials whose scope or user name contains filter, in any
// case, in a stable order, starting behind the one of which after is the Token. It
// ends when fn returns false.
func (k *Keyring) List(ctx context.Context, filter, after string, fn func(Listed) bool) error {
	q := store.Query{Kind: store.Credential}
	if after != "" {
		q.After = &store.Key{Kind: store.Credential, Owner: after, Name: nameACS}
	}
	filter = strings.ToLower(filter)
	var broken error
	err := k.cfg.Store.Scan(ctx, q, func(key store.Key, v []byte) bool {
		if key.Name != nameACS {
			return true
		}
		owner, isRule := strings.CutPrefix(key.Owner, ownerRule)
		l := Listed{Rule: isRule}
		var r record
		if l.Scope, broken = ParseScope(owner); broken == nil {
			broken = json.Unmarshal(v, &r)
		}
		if broken != nil {
			broken = fmt.Errorf("credential %s: %w", key.Owner, broken)
			return false
		}
		l.Username, l.Changed = r.Username, r.Changed
		if filter != "" && !strings.Contains(strings.ToLower(owner+" "+r.Username), filter) {
			return true
		}
		return fn(l)
	})
	return errors.Join(broken, err)
}

// Token is what List goes on behind.
func (l Listed) Token() string { return recordKey(l.Scope).Owner }
