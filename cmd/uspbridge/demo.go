package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/cwmp/credential"
	"github.com/uspbridge/uspbridge/translate"
	"github.com/uspbridge/uspbridge/usp"
)

// demoPatience is how long the simulated CPE may take to be discovered.
const demoPatience = time.Minute

// demoSerials are the serial numbers of the demo's CPE.
var demoSerials = [...]string{"DEMO098", "DEMO181"}

// demo runs two simulated CPE against this bridge until ctx ends, and tells what
// to try once both are discovered.
func (a *app) demo(ctx context.Context, b *bridge) error {
	// The bridge is this process, reached over loopback: its certificate, which is
	// for the name that real CPE use, has nothing to prove here.
	secure := &tls.Config{InsecureSkipVerify: true}
	sim, err := cpesim.NewFleet(cpesim.FleetConfig{StateDir: filepath.Join(b.cfg.DataDir, "demo"), Log: b.log,
		TLS: secure, Transfer: cpesim.HTTPTransfer(secure)})
	if err != nil {
		return err
	}
	ids, err := addDemo(ctx, sim, b)
	if err == nil {
		err = sim.Start(context.WithoutCancel(ctx))
	}
	if err == nil {
		err = a.awaitDemo(ctx, b, ids)
	}
	if err == nil {
		<-ctx.Done()
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if closed := sim.Close(closing); closed != nil {
		b.log.Warn("simulated CPE were broken off", "error", closed)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// checkDemo refuses a configuration that keeps the simulated CPE out: they can be
// given passwords, but no certificates of the operator's CA.
func checkDemo(c CWMPConfig) error {
	key := ""
	switch {
	case c.Auth.Mode == "certificate":
		key = "cwmp.auth.mode certificate"
	case c.Auth.Certificate.Policy == "required":
		key = "cwmp.auth.certificate.policy required"
	case c.TLS.ClientCA != "" && c.TLS.ClientAuth == "require":
		key = "cwmp.tls.client_auth require"
	default:
		return nil
	}
	return fmt.Errorf("--demo: its simulated CPE have no certificates, which %s asks for: leave --demo out and run "+
		"`uspbridge simulate` with --tls-cert and --tls-key", key)
}

// demoUser is the user name of the simulated CPE where CPE authenticate. Their
// password is another at each start.
const demoUser = "demo"

// addDemo makes the CPE, with credentials of their own, and returns the endpoint
// ids that they will have.
func addDemo(ctx context.Context, sim *cpesim.Fleet, b *bridge) ([]usp.EndpointID, error) {
	template, err := translate.ParseEndpointTemplate(b.cfg.USP.EndpointID)
	if err != nil {
		return nil, err
	}
	var ids []usp.EndpointID
	for i, model := range []*cpesim.Model{cpesim.TR098(), cpesim.TR181()} {
		id := model.Identity()
		id.SerialNumber = demoSerials[i]
		config := cpesim.Config{ACSURL: b.demoURL(), Model: model, Version: cwmp.Version1_2, Identity: id}
		if b.cfg.CWMP.Auth.Mode != "none" {
			config.Username, config.Password = demoUser, rand.Text()
			if err := b.admitDemo(ctx, id, config.Password); err != nil {
				return nil, err
			}
		}
		c, err := sim.Add(config)
		if err != nil {
			return nil, err
		}
		ids = append(ids, template.EndpointID(c.Identity()))
	}
	return ids, nil
}

// admitDemo gives a simulated CPE a credential of its own.
func (b *bridge) admitDemo(ctx context.Context, id cwmp.DeviceID, password string) error {
	scope, err := credential.NewScope(id.OUI, id.ProductClass, id.SerialNumber)
	if err != nil {
		return err
	}
	_, err = b.keyring.Apply(ctx, []credential.Entry{{Scope: scope, Username: demoUser, Password: password}})
	return err
}

// demoURL is where the bridge's own CPE inform to.
func (b *bridge) demoURL() string {
	scheme := "http://"
	if b.cwmpTLS != nil {
		scheme = "https://"
	}
	return scheme + onThisMachine(b.cwmpListener.Addr()) + "/"
}

// awaitDemo waits until all CPE are discovered and controllers can connect, and
// prints what to try.
func (a *app) awaitDemo(ctx context.Context, b *bridge, ids []usp.EndpointID) error {
	limited, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		waits, err := b.demoWaits(limited, ids)
		if err != nil {
			return err
		}
		if waits == "" {
			return a.printDemo(b, ids)
		}
		select {
		case <-poll.C:
		case <-limited.Done():
			return fmt.Errorf("%s within %v; the log says how far it came", waits, demoPatience)
		}
	}
}

// demoWaits tells what is still missing, "" if nothing is.
func (b *bridge) demoWaits(ctx context.Context, ids []usp.EndpointID) (string, error) {
	if b.cfg.USP.MTP.WebSocket.Listen != "" && b.webSocketURL() == "" {
		return "the WebSocket server did not listen", nil
	}
	for _, id := range ids {
		d, err := b.fleet.Show(ctx, string(id))
		if err != nil && !errors.Is(err, console.ErrUnknownDevice) {
			return "", err
		}
		if err != nil || !d.Discovered || d.InSession {
			return string(id) + " was not discovered", nil
		}
	}
	return "", nil
}

// printDemo prints commands that work as they stand.
func (a *app) printDemo(b *bridge, ids []usp.EndpointID) error {
	ask, talk, token := "", "", ""
	if b.cfg.Console.Token != "" {
		token = "\n  export " + envToken + "=…   # console.token of the configuration"
	}
	if url := b.consoleURL(); url != defaultConsole {
		ask = " --console " + url
	}
	if url := b.webSocketURL(); url != defaultBridge {
		talk = " --bridge " + url
	}
	_, err := fmt.Fprintf(a.stdout, `
Two simulated CPE have informed and are discovered. In another terminal, try:
%[7]s
  %[1]s device list%[2]s
  %[1]s get%[3]s --to %[4]s Device.DeviceInfo.SoftwareVersion 'Device.WiFi.SSID.*.SSID'
  %[1]s set%[3]s --to %[5]s Device.WiFi.SSID.1.SSID=home

The console is at %[6]s/. Ctrl-C ends.

`, a.program, ask, talk, ids[0], ids[1], b.consoleURL(), token)
	return err
}
