package translate

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/translate/tree"
)

// provision gives a CPE what the configuration wants every CPE to have: the
// credentials of connection requests, once, and its periodic Informs, where they
// are others. Nothing is written twice. What the CPE refuses is remembered, and
// tried again when its firmware or the configuration has changed.
func (b *Bridge) provision(ctx context.Context, cpe acs.Caller, dev *device) error {
	s := dev.state.Load()
	wanted := b.settings()
	given := s.rec.Provisioned == wanted
	again := len(s.rec.RefusedSettings) > 0 && s.rec.RefusedBy != firmware(s.rec)
	if s.tree == nil || given && !again {
		return nil
	}
	username, password, err := b.credentials(s.rec)
	if err != nil {
		return err
	}
	var groups []setting
	if s.rec.Provisioned != b.contacted(s.rec) {
		if err := b.keepProvisioned(ctx, dev, username, password, "", nil); err != nil {
			return err
		}
		groups = b.credentialSettings(s, username, password)
	}
	refused := make(map[cwmp.Path]string)
	for _, g := range append(groups, b.provisioned(s)...) {
		if given && !g.among(s.rec.RefusedSettings) {
			continue
		}
		if err := b.give(ctx, cpe, dev, g, refused); err != nil {
			return err
		}
	}
	return b.keepProvisioned(ctx, dev, username, password, wanted, refused)
}

// setting is what has to be set in one SetParameterValues. Of a pair that makes
// sense only together nothing is set alone.
type setting struct {
	values []cwmp.ParameterValue
	pair   bool
}

// among reports whether one of its parameters was refused before.
func (g setting) among(refused map[cwmp.Path]string) bool {
	return slices.ContainsFunc(g.values, func(v cwmp.ParameterValue) bool { _, was := refused[v.Name]; return was })
}

// give sets what belongs together; what is refused together is tried one by one
// if it is no pair.
func (b *Bridge) give(ctx context.Context, cpe acs.Caller, dev *device, g setting, refused map[cwmp.Path]string) error {
	status, err := setValues(ctx, cpe, g.values)
	if err == nil && !g.pair { // credentials are kept in the record, sealed
		return b.written(ctx, dev, g.values, status)
	}
	if err == nil || !isFault(err) {
		return err
	}
	if len(g.values) > 1 && !g.pair {
		for _, v := range g.values {
			if err := b.give(ctx, cpe, dev, setting{values: []cwmp.ParameterValue{v}}, refused); err != nil {
				return err
			}
		}
		return nil
	}
	why := err.Error()
	for _, v := range g.values {
		if g.pair && v.Value.Text != "" { // some CPE repeat what they refuse, and these are secrets
			why = strings.ReplaceAll(why, v.Value.Text, "…")
		}
	}
	why = reason(why)
	for _, v := range g.values {
		refused[v.Name] = why
	}
	b.log.Warn("the CPE refuses a setting of the management server", "device", dev.key, "parameter", g.values[0].Name, "error", why)
	return nil
}

// settings names what the configuration wants CPE to have, so that a change of
// it reaches those that have an older one. It is a hash: it must not show the
// password.
func (b *Bridge) settings() string {
	c := b.cfg.ConnectionRequest
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %t %d %s", c.Username, c.Password, c.LeaveCredentials, b.cfg.InformInterval, b.wakeFingerprint()))
	return hex.EncodeToString(sum[:8])
}

// credentials returns what connection requests to a CPE authenticate with: as
// configured, as it has, or new random ones; none if the CPE is to keep its own.
func (b *Bridge) credentials(rec *Record) (username, password string, err error) {
	if c := b.cfg.ConnectionRequest; c.Username != "" {
		return c.Username, c.Password, nil
	}
	if rec.Username != "" {
		password, err = rec.password(b.cfg.Sealer)
		return rec.Username, password, err
	}
	if b.cfg.ConnectionRequest.LeaveCredentials {
		return "", "", nil
	}
	secret := make([]byte, 18)
	if _, err := rand.Read(secret); err != nil {
		return "", "", fmt.Errorf("connection request credentials: %w", err)
	}
	text := base64.RawURLEncoding.EncodeToString(secret)
	return "uspbridge-" + text[:8], text[8:], nil
}

// keepProvisioned stores the credentials, what has been given of the settings,
// and what was refused. Credentials are durable before the CPE is told, or a
// crash in between would lock the bridge out.
func (b *Bridge) keepProvisioned(ctx context.Context, dev *device, username, password, provisioned string, refused map[cwmp.Path]string) error {
	dev.mu.Lock()
	rec := dev.state.Load().rec.clone()
	rec.setPassword(b.cfg.Sealer, password)
	rec.Username, rec.Provisioned = username, provisioned
	if provisioned != "" {
		rec.RefusedSettings, rec.RefusedBy = refused, firmware(rec)
	}
	var batch store.Batch
	dev.apply(change{rec: rec}, &batch)
	durable := b.keep(dev, &batch)
	dev.mu.Unlock()
	return durable(ctx)
}

// credentialSettings returns the credentials of connection requests, if the CPE
// is to be given them.
func (b *Bridge) credentialSettings(s *snapshot, username, password string) []setting {
	server := managementServer(s)
	if _, has := writable(s.tree, server+"ConnectionRequestUsername"); !has || b.cfg.ConnectionRequest.LeaveCredentials {
		return nil
	}
	return []setting{credentialSetting(server, username, password)}
}

func credentialSetting(server cwmp.Path, username, password string) setting {
	return setting{pair: true, values: []cwmp.ParameterValue{
		text(server+"ConnectionRequestUsername", username), text(server+"ConnectionRequestPassword", password)}}
}

// provisioned returns what has to be set besides credentials.
func (b *Bridge) provisioned(s *snapshot) (groups []setting) {
	groups = b.wakeSettings(s)
	if inform := b.periodicInform(s, managementServer(s)); len(inform) > 0 {
		groups = append(groups, setting{values: inform})
	}
	return groups
}

// managementServer returns the object with the settings of the CPE's ACS, under
// the other root on CPE that have it there.
func managementServer(s *snapshot) cwmp.Path {
	const object = "ManagementServer."
	if other := otherRoot(s.rec.Root); s.tree.Template().HasObject(string(other)+object) && !s.tree.Template().HasObject(string(s.rec.Root)+object) {
		return other + object
	}
	return s.rec.Root + object
}

// periodicInform returns what has to be set for the CPE to inform as configured.
func (b *Bridge) periodicInform(s *snapshot, server cwmp.Path) (values []cwmp.ParameterValue) {
	seconds := int64(b.cfg.InformInterval / time.Second)
	if seconds <= 0 {
		return nil
	}
	interval := strconv.FormatInt(seconds, 10)
	if now, has := writable(s.tree, server+"PeriodicInformInterval"); has && now != interval {
		values = append(values, cwmp.ParameterValue{Name: server + "PeriodicInformInterval", Value: cwmp.Value{Type: cwmp.TypeUnsignedInt, Text: interval}})
	}
	at := informTime(s.rec.Key(), seconds)
	if now, has := writable(s.tree, server+"PeriodicInformTime"); has && !samePhase(now, at, seconds) {
		values = append(values, cwmp.ParameterValue{Name: server + "PeriodicInformTime", Value: cwmp.Value{Type: cwmp.TypeDateTime, Text: at.Format(time.RFC3339)}})
	}
	if now, has := writable(s.tree, server+"PeriodicInformEnable"); has && !isTrue(now) {
		values = append(values, cwmp.ParameterValue{Name: server + "PeriodicInformEnable", Value: cwmp.Value{Type: cwmp.TypeBoolean, Text: "1"}})
	}
	return values
}

// informTime returns the moment that a CPE's periodic Informs are counted from
// (TR-181 ManagementServer.PeriodicInformTime): each CPE has its own place in the
// interval, always the same, so that a fleet that was switched on together does
// not come together. It lies in the past, for CPE that wait for it.
func informTime(key cwmp.DeviceKey, seconds int64) time.Time {
	hash := fnv.New64a()
	hash.Write([]byte(key))
	return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(hash.Sum64()%uint64(seconds)) * time.Second)
}

// samePhase reports whether a CPE's PeriodicInformTime has the place in the
// interval that it is to have.
func samePhase(now string, at time.Time, seconds int64) bool {
	t, ok := cwmp.ParseTime(now)
	return ok && t.Year() > 1 && (t.Unix()-at.Unix())%seconds == 0
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

// isTrue reads a boolean of a CPE; what is none is false.
func isTrue(text string) bool {
	v, _ := cwmp.ParseBoolean(text)
	return v
}

// errNotDiscovered is why nothing can be done with a CPE that was seen but whose
// tree is not known yet.
var errNotDiscovered = errors.New("the CPE has informed but its parameters are not known yet: its discovery has not ended")
