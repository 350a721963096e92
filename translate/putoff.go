package translate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// putOff lists a device to be discovered later. One that was never discovered is
// given now what it takes to reach it then: credentials for connection requests,
// and an interval after which it comes by itself if they do not reach it. What it
// takes of that it is not given again.
func (b *Bridge) putOff(ctx context.Context, cpe acs.Caller, dev *device) error {
	b.log.Debug("discovery put off until its turn", "device", dev.key)
	defer b.throttle.list(dev.key)
	rec := dev.state.Load().rec
	if rec.Template != "" || rec.Username != "" {
		return nil
	}
	username, password, err := b.credentials(rec)
	if err != nil {
		return err
	}
	if err := b.keepProvisioned(ctx, dev, username, password, "", nil); err != nil {
		return err
	}
	provisioned := ""
	for _, g := range b.contact(rec.Root, username, password) {
		if _, err := setValues(ctx, cpe, g.values); isFault(err) {
			b.log.Debug("an undiscovered CPE refuses a setting of the management server", "device", dev.key, "parameter", g.values[0].Name, "error", err)
		} else if err != nil {
			return err
		} else if g.pair {
			provisioned = b.contacted(rec)
		}
	}
	if provisioned == "" {
		return nil // the credentials are tried again when it is known what the CPE has
	}
	return b.keepProvisioned(ctx, dev, username, password, provisioned, nil)
}

// contacted is the Provisioned of a CPE that has taken its credentials, and of
// which nothing else is known. After a BOOTSTRAP it is another.
func (b *Bridge) contacted(rec *Record) string {
	return fmt.Sprintf("%s contacted %d", b.settings(), rec.LastBootstrap.UnixMilli())
}

// contact returns the settings by which a CPE is reached. Both root data models
// require them, so that they can be set without being known.
func (b *Bridge) contact(root cwmp.Path, username, password string) (groups []setting) {
	server := root + "ManagementServer."
	if !b.cfg.ConnectionRequest.LeaveCredentials {
		groups = append(groups, credentialSetting(server, username, password))
	}
	if seconds := int(b.cfg.InformInterval / time.Second); seconds > 0 {
		groups = append(groups, setting{values: []cwmp.ParameterValue{
			number(server+"PeriodicInformInterval", seconds), boolean(server + "PeriodicInformEnable")}})
	}
	return groups
}

// longestDiscovery bounds a discovery in a session opened for it. Real ones take
// a minute at most.
const longestDiscovery = 10 * time.Minute

// wakeToDiscover has a device open a session, in which it is discovered: by
// Serve, or here if it is in a session already.
func (b *Bridge) wakeToDiscover(ctx context.Context, key cwmp.DeviceKey) {
	ctx, cancel := context.WithTimeout(ctx, longestDiscovery)
	defer cancel()
	late := time.AfterFunc(b.cfg.Deadline, cancel) // it has not come
	err := b.acs.Do(ctx, key, func(ctx context.Context, s *acs.Session) error {
		late.Stop()
		dev := s.Data().(*device)
		return b.discoverIfNeeded(ctx, b.caller(dev, s), dev)
	})
	late.Stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		b.log.Debug("a device could not be woken to be discovered; it is when it informs next", "device", key, "error", err)
	}
}
