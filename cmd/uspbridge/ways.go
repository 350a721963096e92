package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/connreq/stun"
	"github.com/uspbridge/uspbridge/cwmp/connreq/xmpp"
	"github.com/uspbridge/uspbridge/cwmp/lightweight"
	"github.com/uspbridge/uspbridge/translate"
)

// ways are what wakes CPE besides HTTP, and where they tell changes without a
// session; what is not configured is nil.
type ways struct {
	stun       *stun.Server
	stunConn   *net.UDPConn
	xmpp       *xmpp.Client
	notify     *lightweight.Listener
	notifyConn *net.UDPConn
}

// newWays makes what the configuration turns on, and tells the joint of it.
func newWays(c CWMPConfig, joint *translate.Bridge, accounts acs.Credentials, log *slog.Logger, metrics prometheus.Registerer) (w ways, err error) {
	var u translate.UDP
	var x translate.XMPP
	if c.ConnectionRequest.STUN.Listen != "" {
		if w.stun, err = newSTUN(c.ConnectionRequest.STUN, joint, log, metrics); err != nil {
			return w, fmt.Errorf("cwmp.connection_request.stun: %w", err)
		}
		u = w.stun
	}
	if c.ConnectionRequest.XMPP.Server != "" {
		if w.xmpp, err = newXMPP(c.ConnectionRequest, log, metrics); err != nil {
			return w, fmt.Errorf("cwmp.connection_request.xmpp: %w", err)
		}
		x = w.xmpp
	}
	joint.AttachWays(u, x)
	if c.Notification.Listen != "" {
		if w.notify, err = newNotify(accounts, joint, log, metrics); err != nil {
			return w, fmt.Errorf("cwmp.lightweight_notification: %w", err)
		}
	}
	return w, nil
}

// keepAlivesMissed is how many keep-alives of a CPE may get lost before its
// binding counts as gone.
const keepAlivesMissed = 3

func newSTUN(c STUNConfig, joint *translate.Bridge, log *slog.Logger, metrics prometheus.Registerer) (*stun.Server, error) {
	return stun.New(stun.Config{
		Password: joint.STUNPassword, Learn: joint.Bound, Expire: (keepAlivesMissed + 1) * time.Duration(c.MaxKeepAlive),
		Log: log, Registerer: metrics,
	})
}

func newXMPP(c ConnectionRequestConfig, log *slog.Logger, metrics prometheus.Registerer) (*xmpp.Client, error) {
	server, direct, err := xmppServer(c.XMPP.Server)
	if err != nil {
		return nil, err
	}
	secure, err := c.XMPP.TLS.config()
	if err != nil {
		return nil, err
	}
	return xmpp.New(xmpp.Config{
		Account: xmpp.Account{Server: server, DirectTLS: direct, TLS: secure, Username: c.XMPP.Username, Domain: c.XMPP.Domain,
			Resource: c.XMPP.Resource, Password: string(c.XMPP.Password)},
		MaxConcurrent: int(c.MaxConcurrent), Log: log, Registerer: metrics,
	})
}

func newNotify(accounts acs.Credentials, joint *translate.Bridge, log *slog.Logger, metrics prometheus.Registerer) (*lightweight.Listener, error) {
	return lightweight.New(lightweight.Config{
		Password: func(ctx context.Context, username string, id cwmp.DeviceID) (string, bool, error) {
			account, err := accounts.Find(ctx, id, username)
			if errors.Is(err, acs.ErrNoAccount) {
				return "", false, nil
			}
			return account.Password, err == nil && !account.Foreign, err
		},
		Take: joint.Notified, Log: log, Registerer: metrics,
	})
}

// wakeSettings is what CPE are told of the ways that are turned on.
func wakeSettings(c CWMPConfig) translate.WakeSettings {
	x := c.ConnectionRequest.XMPP
	s := translate.WakeSettings{
		STUNAddress:      c.ConnectionRequest.STUN.Address,
		STUNMinKeepAlive: time.Duration(c.ConnectionRequest.STUN.MinKeepAlive), STUNMaxKeepAlive: time.Duration(c.ConnectionRequest.STUN.MaxKeepAlive),
		NotifyAddress: c.Notification.Address,
	}
	if x.Server != "" {
		s.XMPPJID = strings.TrimSuffix(x.Username+"@"+x.Domain+"/"+x.Resource, "/")
		s.XMPPDevice = translate.XMPPAccount{Username: x.Device.Username, Password: string(x.Device.Password), Domain: x.Domain, Server: x.Device.Server}
	}
	return s
}

// listen opens the sockets, so that an address in use stops the start.
func (w *ways) listen(c CWMPConfig) (err error) {
	if w.stun != nil {
		if w.stunConn, err = listenUDP(c.ConnectionRequest.STUN.Listen); err != nil {
			return fmt.Errorf("cwmp.connection_request.stun.listen: %w", err)
		}
	}
	if w.notify != nil {
		if w.notifyConn, err = listenUDP(c.Notification.Listen); err != nil {
			return errors.Join(fmt.Errorf("cwmp.lightweight_notification.listen: %w", err), w.close())
		}
	}
	return nil
}

func listenUDP(address string) (*net.UDPConn, error) {
	a, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	return net.ListenUDP("udp", a)
}

// close closes the sockets of a bridge that does not come to run.
func (w *ways) close() error {
	var errs []error
	for _, conn := range []*net.UDPConn{w.stunConn, w.notifyConn} {
		if conn != nil {
			errs = append(errs, conn.Close())
		}
	}
	return errors.Join(errs...)
}

// start runs what is turned on.
func (w *ways) start(front *group) {
	if w.stun != nil {
		front.start("cwmp.connection_request.stun", func(ctx context.Context) error { return w.stun.Serve(ctx, w.stunConn) })
	}
	if w.xmpp != nil {
		front.start("cwmp.connection_request.xmpp", w.xmpp.Run)
	}
	if w.notify != nil {
		front.start("cwmp.lightweight_notification", func(ctx context.Context) error { return w.notify.Serve(ctx, w.notifyConn) })
	}
}
