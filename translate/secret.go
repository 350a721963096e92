package translate

import (
	"encoding/json"
	"fmt"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/store"
)

// Secrets are sealed in the records that they are part of, and in memory.

// The password of connection requests is sealed in the device's record, also in
// memory. It is sealed when it changes, not when the record is written: every
// Inform writes it.

// password returns the password of connection requests.
func (r *Record) password(s store.Sealer) (string, error) {
	if len(r.Secret) == 0 {
		return "", nil
	}
	secret, err := s.Open(recordKey(r.Key()), r.Secret)
	if err != nil {
		return "", fmt.Errorf("connection request password of %s: %w", r.Key(), err)
	}
	return string(secret), nil
}

// setPassword makes it the password of connection requests.
func (r *Record) setPassword(s store.Sealer, password string) {
	if now, err := r.password(s); err == nil && now == password {
		return
	}
	r.Secret = s.Seal(recordKey(r.Key()), []byte(password))
}

// checkPassword readies a record that comes from the store: a plain password of
// an earlier version is sealed, and one that cannot be opened is dropped, so that
// the CPE is provisioned anew; the error says why.
func (r *Record) checkPassword(s store.Sealer) error {
	if r.PlainPassword != "" {
		r.setPassword(s, r.PlainPassword)
		r.PlainPassword = ""
	}
	_, err := r.password(s)
	if err != nil {
		r.Username, r.Secret, r.Provisioned = "", nil, ""
	}
	return err
}

// credentials are what one file of an Operation is reached with.
type credentials struct {
	URL      string `json:"url,omitempty"`
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
}

// sealSecrets takes the credentials of a new operation out of it and seals them:
// those of its transfer, or one for each of its changes.
func (b *Bridge) sealSecrets(key cwmp.DeviceKey, op *Operation) {
	if op.Diagnostic != nil {
		b.sealArguments(key, op)
		return
	}
	var all []credentials
	if t := op.Transfer; t != nil {
		all = append(all, credentials{t.URL, t.Username, t.Password})
		t.URL, t.Username, t.Password = redacted(t.URL), "", ""
	}
	for i := range op.Changes {
		c := &op.Changes[i]
		all = append(all, credentials{c.URL, c.Username, c.Password})
		c.URL, c.Username, c.Password = redacted(c.URL), "", ""
	}
	op.Secret = b.sealCredentials(key, all)
}

func (b *Bridge) sealCredentials(key cwmp.DeviceKey, all []credentials) []byte {
	text, err := json.Marshal(all)
	if err != nil {
		panic(fmt.Sprintf("credentials of an operation of %s: %v", key, err)) // strings always marshal
	}
	return b.cfg.Sealer.Seal(recordKey(key), text)
}

// sealArguments takes the arguments of a diagnostic out of it and seals them:
// there are passwords among them, and URLs that open doors.
func (b *Bridge) sealArguments(key cwmp.DeviceKey, op *Operation) {
	text, err := json.Marshal(op.Diagnostic.Args)
	if err != nil {
		panic(fmt.Sprintf("arguments of a diagnostic of %s: %v", key, err)) // strings always marshal
	}
	op.Secret, op.Diagnostic.Args = b.cfg.Sealer.Seal(recordKey(key), text), nil
}

// openArguments returns the arguments of a diagnostic.
func (b *Bridge) openArguments(key cwmp.DeviceKey, op *Operation) (args []cwmp.ParameterValue, err error) {
	text, err := b.cfg.Sealer.Open(recordKey(key), op.Secret)
	if err == nil {
		err = json.Unmarshal(text, &args)
	}
	if err != nil {
		return nil, fmt.Errorf("arguments of %s: %w", op.Key, err)
	}
	return args, nil
}

// openSecrets returns the credentials of an operation.
func (b *Bridge) openSecrets(key cwmp.DeviceKey, op *Operation) (all []credentials, err error) {
	text, err := b.cfg.Sealer.Open(recordKey(key), op.Secret)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err == nil && len(all) != max(1, len(op.Changes)) {
		err = fmt.Errorf("%d credentials for %d files", len(all), max(1, len(op.Changes)))
	}
	if err != nil {
		return nil, fmt.Errorf("credentials of %s: %w", op.Key, err)
	}
	return all, nil
}
