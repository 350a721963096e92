package stomp

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// NewPerAgent returns a transport of which each hosted endpoint has a connection:
// its own endpoint-id and certificate. Of cfg, {endpoint_id} may stand in Login.
// cfg.Endpoint is for the connection that carries what is no agent's.
func NewPerAgent(cfg Config) (*mtp.PerAgent, error) {
	_, dest, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	if !dest.PerEndpoint() {
		return nil, fmt.Errorf("stomp: destination %q: needs %s where each agent has its own connection", cfg.Destination, mtp.EndpointPlaceholder)
	}
	meter, err := mtp.NewMeter(cfg.Registerer, mtp.STOMP)
	if err != nil {
		return nil, err
	}
	return mtp.NewPerAgent(mtp.Singles{
		Protocol: mtp.STOMP, Meter: meter, Own: cfg.Endpoint, Check: check,
		Address: func(inbox string) mtp.Address { return mtp.Address{Protocol: mtp.STOMP, Destination: inbox} },
		Defaults: func(e usp.EndpointID) mtp.Settings {
			return mtp.Settings{
				Inbox: dest.Expand(string(e)), VirtualHost: cfg.Host,
				HeartbeatOutgoing: cfg.HeartBeat, HeartbeatExpect: cfg.HeartBeat,
			}
		},
		New: func(e usp.EndpointID, s mtp.Settings, meter *mtp.Meter, gate mtp.Gate) (mtp.Single, error) {
			c := cfg
			c.Endpoint, c.Login, c.Registerer = e, strings.ReplaceAll(cfg.Login, mtp.EndpointPlaceholder, string(e)), nil
			c.single = &single{settings: s, meter: meter, gate: gate}
			return New(c)
		},
	}), nil
}

// longestBeat keeps heart-beats within what a header may say.
const longestBeat = 24 * time.Hour

// check reports why settings cannot work.
func check(s mtp.Settings) error {
	if strings.ContainsAny(s.VirtualHost, "\r\n\x00") || strings.ContainsRune(s.Inbox, 0) {
		return errors.New("stomp: the virtual host has a line end, or the destination a NUL")
	}
	for _, d := range []time.Duration{s.HeartbeatOutgoing, s.HeartbeatExpect} {
		if d < 0 || d > longestBeat {
			return fmt.Errorf("stomp: heart-beat of %s: 0 to %s", d, longestBeat)
		}
	}
	return nil
}
