package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/store"
)

var _ acs.Credentials = (*Keyring)(nil)

// Find implements acs.Credentials. The first that there is of the device's own
// credential, the most specific rule and the user of the configuration decides.
func (k *Keyring) Find(ctx context.Context, id cwmp.DeviceID, username string) (acs.Account, error) {
	at, r, err := k.governing(ctx, deviceScope(id))
	if err != nil {
		return acs.Account{}, err
	}
	if r != nil {
		if r.usernameOf(id) == username {
			return k.account(at, r, false)
		}
		return k.foreign(ctx, id, username)
	}
	if u, ok := k.cfg.Users[username]; ok {
		return acs.Account{Password: u.Password, Foreign: u.Allows != nil && !u.Allows(id)}, nil
	}
	return k.foreign(ctx, id, username)
}

// governing returns the credential that decides for a device, nil if neither it
// has one nor a rule covers it.
func (k *Keyring) governing(ctx context.Context, device Scope) (store.Key, *record, error) {
	for _, s := range device.singles() {
		if r, err := k.get(ctx, s); r != nil || err != nil {
			return recordKey(s), r, err
		}
	}
	list, err := k.current(ctx)
	if err != nil {
		return store.Key{}, nil, err
	}
	for i := range list {
		if list[i].scope.covers(device) {
			return recordKey(list[i].scope), &list[i].record, nil
		}
	}
	return store.Key{}, nil, nil
}

// get returns the credential of exactly that scope, nil if there is none.
func (k *Keyring) get(ctx context.Context, s Scope) (*record, error) {
	b, err := k.cfg.Store.Get(ctx, recordKey(s))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	r := new(record)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("credential of %s: %w", s, err)
	}
	return r, nil
}

// foreign tells whether a user name that is not the device's is somebody else's,
// so that a CPE with another one's credentials is told apart from a guesser.
func (k *Keyring) foreign(ctx context.Context, id cwmp.DeviceID, username string) (acs.Account, error) {
	if u, ok := k.cfg.Users[username]; ok {
		return acs.Account{Password: u.Password, Foreign: true}, nil
	}
	for _, other := range named(username) {
		at, r, err := k.governing(ctx, deviceScope(other))
		if err != nil {
			return acs.Account{}, err
		}
		if r != nil && r.usernameOf(other) == username && other.Key() != id.Key() {
			return k.account(at, r, true)
		}
	}
	return acs.Account{}, acs.ErrNoAccount
}

// named returns the devices that a user name in TR-069's form (3.4.4) may be of.
func named(username string) (ids []cwmp.DeviceID) {
	parts := strings.Split(username, "-")
	for i, p := range parts {
		plain, err := url.PathUnescape(p)
		if err != nil {
			return nil
		}
		parts[i] = plain
	}
	switch len(parts) {
	case 2:
		return []cwmp.DeviceID{{OUI: parts[0], SerialNumber: parts[1]}}
	case 3:
		return []cwmp.DeviceID{{OUI: parts[0], ProductClass: parts[1], SerialNumber: parts[2]}}
	}
	return nil
}

// account opens a credential.
func (k *Keyring) account(at store.Key, r *record, foreign bool) (acs.Account, error) {
	password, err := k.cfg.Sealer.Open(at, r.Secret)
	if err != nil {
		return acs.Account{}, fmt.Errorf("the credential for %s cannot be used: %w; set it again", at.Owner, err)
	}
	return acs.Account{Password: string(password), Foreign: foreign}, nil
}

// usernameOf returns the user name that a device is to give.
func (r *record) usernameOf(id cwmp.DeviceID) string {
	if !strings.Contains(r.Username, "{") {
		return r.Username
	}
	return strings.NewReplacer("{oui}", cwmp.EscapeID(id.OUI), "{product_class}", cwmp.EscapeID(id.ProductClass),
		"{serial}", cwmp.EscapeID(id.SerialNumber)).Replace(r.Username)
}
