package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/cwmp/credential"
)

// keyring shows and changes the credentials of CPE for the console. It implements
// console.Credentials.
type keyring struct{ *credential.Keyring }

var _ console.Credentials = keyring{}

// List implements console.Credentials.
func (k keyring) List(ctx context.Context, q console.ListQuery) (list []console.CredentialSummary, next string, err error) {
	last, more := "", false
	err = k.Keyring.List(ctx, q.Filter, q.After, func(l credential.Listed) bool {
		if len(list) == q.Limit {
			more = true
			return false
		}
		list = append(list, console.CredentialSummary{Device: l.Scope.String(), Username: l.Username, Rule: l.Rule, Changed: l.Changed})
		last = l.Token()
		return true
	})
	if more {
		next = last
	}
	return list, next, err
}

// Apply implements console.Credentials.
func (k keyring) Apply(ctx context.Context, entries []console.Credential) (console.CredentialsApplied, error) {
	all := make([]credential.Entry, len(entries))
	for i, e := range entries {
		scope, err := credential.ParseScope(e.Device)
		if err != nil {
			return console.CredentialsApplied{}, fmt.Errorf("%w: %w", console.ErrInvalid, err)
		}
		all[i] = credential.Entry{Scope: scope, Username: e.Username, Password: e.Password}
		if err := all[i].Check(); err != nil {
			return console.CredentialsApplied{}, fmt.Errorf("%w: credential for %s: %w", console.ErrInvalid, scope, err)
		}
	}
	done, err := k.Keyring.Apply(ctx, all)
	return console.CredentialsApplied(done), err
}

// Remove implements console.Credentials.
func (k keyring) Remove(ctx context.Context, device string) error {
	scope, err := credential.ParseScope(device)
	if err != nil {
		return fmt.Errorf("%w: %w", console.ErrInvalid, err)
	}
	if err := k.Keyring.Remove(ctx, scope); errors.Is(err, credential.ErrNotThere) {
		return fmt.Errorf("%s: %w", scope, console.ErrNoCredential)
	} else if err != nil {
		return err
	}
	return nil
}
