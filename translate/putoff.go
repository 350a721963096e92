package translate

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
)

// putOff lists a device to be discovered later. One that was never discovered is
// given now what it takes to reach it then: credentials for connection requests,
// and an interval after which it comes by itself if they do not reach it.
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
	for _, group := range b.contact(rec.Root, username, password) {
		if _, err := setValues(ctx, cpe, group); isFault(err) {
			b.log.Debug("an undiscovered CPE refuses a setting of the management server", "device", dev.key, "parameter", group[0].Name, "error", err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// contact returns the parameters by which a CPE is reached, in groups that
// belong together. Both root data models require them, so that they can be set
// without being known.
func (b *Bridge) contact(root cwmp.Path, username, password string) [][]cwmp.ParameterValue {
	server := root + "ManagementServer."
	var groups [][]cwmp.ParameterValue
	if !b.cfg.ConnectionRequest.LeaveCredentials {
		groups = append(groups, []cwmp.ParameterValue{
			{Name: server + "ConnectionRequestUsername", Value: cwmp.Value{Type: cwmp.TypeString, Text: username}},
			{Name: server + "ConnectionRequestPassword", Value: cwmp.Value{Type: cwmp.TypeString, Text: password}},
		})
	}
	if b.cfg.InformInterval > 0 {
		groups = append(groups, []cwmp.ParameterValue{
			{Name: server + "PeriodicInformInterval", Value: cwmp.Value{Type: cwmp.TypeUnsignedInt, Text: strconv.Itoa(int(b.cfg.InformInterval.Seconds()))}},
			{Name: server + "PeriodicInformEnable", Value: cwmp.Value{Type: cwmp.TypeBoolean, Text: "1"}},
		})
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
