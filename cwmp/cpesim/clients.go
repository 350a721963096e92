package cpesim

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"
)

// clients are what a CPE runs outside of its sessions, while its parameters ask
// for it: a STUN client (TR-069 Annex G) and an XMPP client (Annex K). A CPE whose
// STUNEnable and XMPP.Connection are off has none of them.
type clients struct {
	stun client[stunSettings]
	xmpp client[xmppSettings]

	resync bool // to be started or stopped though the parameters are the same

	udpTime int64 // of the last UDP Connection Request, which none may precede
	udpID   uint32
}

// client is one that runs, or not; which it is is told by its settings.
type client[S comparable] struct {
	settings S
	stop     context.CancelFunc
}

// set has the client run with these settings, nil: not at all.
func (c *client[S]) set(f *Fleet, ctx context.Context, want *S, run func(context.Context, S)) {
	if c.stop != nil && (want == nil || *want != c.settings) {
		c.stop()
		c.stop = nil
	}
	if want == nil || c.stop != nil {
		return
	}
	c.settings = *want
	ctx, c.stop = context.WithCancel(ctx)
	f.clients.Go(func() { run(ctx, *want) })
}

// cut takes the connections of all clients away.
func (c *clients) cut() {
	for _, stop := range []*context.CancelFunc{&c.stun.stop, &c.xmpp.stop} {
		if *stop != nil {
			(*stop)()
			*stop = nil
		}
	}
}

// syncClients starts and stops what the parameters ask for. c.mu is held.
func (c *CPE) syncClients(ctx context.Context) {
	c.clients.resync = false
	var stun *stunSettings
	var xmpp *xmppSettings
	if c.power.state == powerUp && !c.offline && ctx.Err() == nil {
		stun, xmpp = c.stunSettings(), c.xmppSettings()
	}
	c.clients.stun.set(c.fleet, ctx, stun, c.runSTUN)
	c.clients.xmpp.set(c.fleet, ctx, xmpp, c.runXMPP)
}

// stunSettings returns what the STUN client runs with, nil if it is off.
func (c *CPE) stunSettings() *stunSettings {
	if c.text("ManagementServer.STUNEnable") != "true" {
		return nil
	}
	return &stunSettings{
		server:    net.JoinHostPort(c.text("ManagementServer.STUNServerAddress"), c.text("ManagementServer.STUNServerPort")),
		username:  c.text("ManagementServer.STUNUsername"),
		password:  c.text("ManagementServer.STUNPassword"),
		keepAlive: time.Duration(max(c.number("ManagementServer.STUNMinimumKeepAlivePeriod", 30), 1)) * time.Second,
	}
}

// xmppSettings returns what the XMPP client runs with, nil if it is off: the
// XMPP.Connection that ConnReqXMPPConnection names.
func (c *CPE) xmppSettings() *xmppSettings {
	row := c.text("ManagementServer.ConnReqXMPPConnection")
	if row == "" {
		return nil
	}
	text := func(name string) string { return c.textAt(row + "." + name) }
	if text("Enable") != "true" || text("UseTLS") != "true" {
		return nil
	}
	return &xmppSettings{row: row, server: net.JoinHostPort(text("Server.1.ServerAddress"), text("Server.1.Port")),
		username: text("Username"), domain: text("Domain"), resource: text("Resource"), password: text("Password")}
}

// local changes parameters of the CPE from its own software.
func (c *CPE) local(values ...[2]string) {
	for _, v := range values {
		if err := c.Set(v[0], v[1]); err != nil {
			c.log().Error("simulated CPE", "error", err)
		}
	}
}

// managementServer is the path of one of the ManagementServer's parameters.
func (c *CPE) managementServer(name string) string {
	return fmt.Sprintf("%sManagementServer.%s", c.tree.model.root, name)
}

func boolText(b bool) string { return strconv.FormatBool(b) }
