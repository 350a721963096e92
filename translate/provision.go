package translate

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/translate/tree"
)

// provision gives a CPE what the configuration wants every CPE to have: the
// credentials of connection requests, once, and the inform interval, where it
// is another. Nothing is written twice.
func (b *Bridge) provision(ctx context.Context, cpe acs.Caller, dev *device) error {
	s := dev.state.Load()
	wanted := b.settings()
	if s.rec.Provisioned == wanted || s.tree == nil {
		return nil
	}
	username, password, err := b.credentials(s.rec)
	if err != nil {
		return err
	}
	if err := b.keepCredentials(ctx, dev, username, password, ""); err != nil {
		return err
	}
	for _, group := range b.provisioned(s, username, password) {
		err := setSupported(ctx, cpe, group)
		if isFault(err) {
			b.log.Warn("the CPE refuses a setting of the management server", "device", dev.key, "parameter", group[0].Name, "error", err)
		} else if err != nil {
			return err
		}
	}
	return b.keepCredentials(ctx, dev, username, password, wanted)
}

// settings names what the configuration wants CPE to have, so that a change of
// it reaches those that have an older one. It is a hash: it must not show the
// password.
func (b *Bridge) settings() string {
	c := b.cfg.ConnectionRequest
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %d", c.Username, c.Password, b.cfg.InformInterval))
	return hex.EncodeToString(sum[:8])
}

// credentials returns what connection requests to a CPE authenticate with: as
// configured, as it has, or new random ones.
func (b *Bridge) credentials(rec *Record) (username, password string, err error) {
	if c := b.cfg.ConnectionRequest; c.Username != "" {
		return c.Username, c.Password, nil
	}
	if rec.Username != "" {
		password, err = rec.password(b.cfg.Sealer)
		return rec.Username, password, err
	}
	secret := make([]byte, 18)
	if _, err := rand.Read(secret); err != nil {
		return "", "", fmt.Errorf("connection request credentials: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString(secret)
	return "uspbridge-" + text[:8], text[8:], nil
}

// keepCredentials stores the credentials. They are durable before the CPE is
// told, or a crash in between would lock the bridge out.
func (b *Bridge) keepCredentials(ctx context.Context, dev *device, username, password, provisioned string) error {
	dev.mu.Lock()
	rec := dev.state.Load().rec.clone()
	rec.setPassword(b.cfg.Sealer, password)
	rec.Username, rec.Provisioned = username, provisioned
	var batch store.Batch
	dev.apply(change{rec: rec}, &batch)
	durable := b.keep(dev, &batch)
	dev.mu.Unlock()
	return durable(ctx)
}

// provisioned returns what has to be set, in groups that belong together.
func (b *Bridge) provisioned(s *snapshot, username, password string) (groups [][]cwmp.ParameterValue) {
	server := s.rec.Root + "ManagementServer."
	if _, has := writable(s.tree, server+"ConnectionRequestUsername"); has {
		groups = append(groups, []cwmp.ParameterValue{
			{Name: server + "ConnectionRequestUsername", Value: cwmp.Value{Type: cwmp.TypeString, Text: username}},
			{Name: server + "ConnectionRequestPassword", Value: cwmp.Value{Type: cwmp.TypeString, Text: password}},
		})
	}
	if b.cfg.InformInterval <= 0 {
		return groups
	}
	interval := strconv.Itoa(int(b.cfg.InformInterval.Seconds()))
	var inform []cwmp.ParameterValue
	if now, has := writable(s.tree, server+"PeriodicInformInterval"); has && now != interval {
		inform = append(inform, cwmp.ParameterValue{Name: server + "PeriodicInformInterval", Value: cwmp.Value{Type: cwmp.TypeUnsignedInt, Text: interval}})
	}
	if now, has := writable(s.tree, server+"PeriodicInformEnable"); has && !isTrue(now) {
		inform = append(inform, cwmp.ParameterValue{Name: server + "PeriodicInformEnable", Value: cwmp.Value{Type: cwmp.TypeBoolean, Text: "1"}})
	}
	if len(inform) > 0 {
		groups = append(groups, inform)
	}
	return groups
}

// writable returns the value of a parameter that the CPE lets be written.
func writable(t *tree.Tree, name cwmp.Path) (text string, ok bool) {
	p, inst, ok := locate(t, name)
	if !ok || !t.Template().Param(p).Writable {
		return "", false
	}
	v, _ := t.Value(p, inst)
	return v.Text, true
}

func isTrue(text string) bool {
	return text == "1" || text == "true" || text == "TRUE" || text == "True"
}

// setSupported writes parameters that belong together.
func setSupported(ctx context.Context, cpe acs.Caller, values []cwmp.ParameterValue) error {
	answer, err := cpe.Call(ctx, &cwmp.SetParameterValues{Values: values})
	if err != nil {
		return err
	}
	if _, ok := answer.(*cwmp.SetParameterValuesResponse); !ok {
		return fmt.Errorf("the CPE answered SetParameterValues with %s", answer.RPC())
	}
	return nil
}

// setAttributes brings the CPE's notification attributes to what subscriptions
// need: active notification for a watched parameter, passive where the CPE
// refuses active, none for one no longer watched.
func (b *Bridge) setAttributes(ctx context.Context, cpe acs.Caller, dev *device) error {
	rec := dev.state.Load().rec
	add, remove := without(without(rec.Watched, rec.Attributes), rec.Denied), without(rec.Attributes, rec.Watched)
	if len(add) == 0 && len(remove) == 0 {
		return nil
	}
	done, denied, err := b.notify(ctx, cpe, dev, add)
	var cleared []cwmp.Path
	if err == nil && len(remove) > 0 {
		cleared, err = b.silence(ctx, cpe, remove)
	}
	dev.mu.Lock()
	defer dev.mu.Unlock()
	rec = dev.state.Load().rec.clone()
	rec.Attributes = append(without(rec.Attributes, cleared), done...)
	rec.Denied = append(rec.Denied[:len(rec.Denied):len(rec.Denied)], denied...)
	var batch store.Batch
	dev.apply(change{rec: rec}, &batch)
	b.keep(dev, &batch)
	return err
}

// notify asks for notifications of changes: all at once, else one by one, each
// first active, then passive.
func (b *Bridge) notify(ctx context.Context, cpe acs.Caller, dev *device, names []cwmp.Path) (done, denied []cwmp.Path, err error) {
	if len(names) == 0 {
		return nil, nil, nil
	}
	err = setNotification(ctx, cpe, names, cwmp.NotificationActive)
	if err == nil {
		return names, nil, nil
	}
	for _, name := range names {
		if !isFault(err) && err != nil {
			return done, denied, err
		}
		one := []cwmp.Path{name}
		if err = setNotification(ctx, cpe, one, cwmp.NotificationActive); isFault(err) {
			err = setNotification(ctx, cpe, one, cwmp.NotificationPassive)
		}
		switch {
		case err == nil:
			done = append(done, name)
		case isFault(err):
			denied = append(denied, name)
			b.log.Warn("the CPE notifies no changes of a parameter; they are seen when it is read", "device", dev.key, "parameter", name, "error", err)
		}
	}
	if isFault(err) {
		err = nil
	}
	return done, denied, err
}

// silence clears attributes. A refusal means that the parameter is gone.
func (b *Bridge) silence(ctx context.Context, cpe acs.Caller, names []cwmp.Path) (cleared []cwmp.Path, err error) {
	err = setNotification(ctx, cpe, names, cwmp.NotificationOff)
	if err == nil {
		return names, nil
	}
	for _, name := range names {
		if !isFault(err) && err != nil {
			return cleared, err
		}
		if err = setNotification(ctx, cpe, []cwmp.Path{name}, cwmp.NotificationOff); err == nil || isFault(err) {
			cleared = append(cleared, name)
		}
	}
	if isFault(err) {
		err = nil
	}
	return cleared, err
}

func setNotification(ctx context.Context, cpe acs.Caller, names []cwmp.Path, n cwmp.Notification) error {
	req := &cwmp.SetParameterAttributes{}
	for _, name := range names {
		req.Entries = append(req.Entries, cwmp.SetParameterAttributesEntry{Name: name, NotificationChange: true, Notification: n})
	}
	_, err := cpe.Call(ctx, req)
	return err
}

// without returns the members of a that are not in b.
func without(a, b []cwmp.Path) (out []cwmp.Path) {
	if len(a) == 0 {
		return nil
	}
	in := make(map[cwmp.Path]bool, len(b))
	for _, x := range b {
		in[x] = true
	}
	for _, x := range a {
		if !in[x] {
			out = append(out, x)
		}
	}
	return out
}

// errNotDiscovered is why nothing can be done with a CPE that was seen but whose
// tree is not known yet.
var errNotDiscovered = errors.New("the CPE has informed but its parameters are not known yet: its discovery has not ended")

// attributesJob returns setAttributes as a job.
func (b *Bridge) attributesJob(dev *device) acs.Job {
	return func(ctx context.Context, s *acs.Session) error { return b.setAttributes(ctx, s, dev) }
}
