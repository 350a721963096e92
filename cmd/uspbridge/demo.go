package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
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
	sim, err := cpesim.NewFleet(cpesim.FleetConfig{StateDir: filepath.Join(b.cfg.DataDir, "demo"), Log: b.log, Transfer: cpesim.HTTPTransfer(nil)})
	if err != nil {
		return err
	}
	ids, err := addDemo(sim, b)
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

// addDemo makes the CPE and returns the endpoint ids that they will have.
func addDemo(sim *cpesim.Fleet, b *bridge) ([]usp.EndpointID, error) {
	template, err := translate.ParseEndpointTemplate(b.cfg.USP.EndpointID)
	if err != nil {
		return nil, err
	}
	var ids []usp.EndpointID
	for i, model := range []*cpesim.Model{cpesim.TR098(), cpesim.TR181()} {
		c, err := sim.Add(cpesim.Config{
			ACSURL: b.demoURL(), Model: model, Version: cwmp.Version1_2,
			Identity: cwmp.DeviceID{SerialNumber: demoSerials[i]},
		})
		if err != nil {
			return nil, err
		}
		ids = append(ids, template.EndpointID(c.Identity()))
	}
	return ids, nil
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
	ask, talk := "", ""
	if url := b.consoleURL(); url != defaultConsole {
		ask = " --console " + url
	}
	if url := b.webSocketURL(); url != defaultBridge {
		talk = " --bridge " + url
	}
	_, err := fmt.Fprintf(a.stdout, `
Two simulated CPE have informed and are discovered. In another terminal, try:

  %[1]s device list%[2]s
  %[1]s get%[3]s --to %[4]s Device.DeviceInfo.SoftwareVersion 'Device.WiFi.SSID.*.SSID'
  %[1]s set%[3]s --to %[5]s Device.WiFi.SSID.1.SSID=home

The console is at %[6]s/. Ctrl-C ends.

`, a.program, ask, talk, ids[0], ids[1], b.consoleURL())
	return err
}
