package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/translate"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// The upgrade of a fleet, of which one CPE in four has something wrong with it.
const (
	upgradeVersion = "9.9.1"
	upgradeImage   = "Device.DeviceInfo.FirmwareImage.2."
	upgradeSize    = 1 << 20 // bytes of the image
	// upgradeTime bounds the whole: CPE whose session broke come again after
	// their back-off, and those that forgot what they fetched are given up after
	// a while.
	upgradeTime  = 5 * time.Minute
	upgradeToken = "20s"
)

// upgraded is one CPE of that fleet, and what became of its upgrade.
type upgraded struct {
	device
	software string // path of its SoftwareVersion
	ended    int    // OperationCompletes
	failure  string
}

// upgrade has a fleet upgraded through USP. It fails if one does not end, ends
// twice, or ends in another state than its CPE is in.
func (m *measurement) upgrade(ctx context.Context) error {
	return m.onBridge(ctx, "upgrade", ", files: {token_life: "+upgradeToken+"}", func(b *bridge) (err error) {
		ctx, cancel := context.WithTimeout(ctx, upgradeTime)
		defer cancel()
		url, served, err := serveImage(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, served.Close()) }()
		sim, fleet, err := upgradeFleet(b, m.devices)
		if err != nil {
			return err
		}
		defer func() {
			late, stop := context.WithTimeout(context.Background(), patience)
			defer stop()
			err = errors.Join(err, sim.Close(late))
		}()
		if err := sim.Start(ctx); err != nil {
			return err
		}
		count := func() (uint64, error) { return sim.Stats().Sessions, nil }
		if err := progress(ctx, count, uint64(len(fleet))); err != nil {
			return err
		}
		if err := b.discovered(ctx, len(fleet)); err != nil {
			return err
		}
		ctl, err := client.Dial(ctx, client.Config{URL: "ws://" + b.websocket + "/usp", Controller: controller})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, ctl.Close()) }()
		return m.upgradeRow(ctx, b, ctl, fleet, url)
	})
}

// serveImage serves the image, and returns its URL.
func serveImage(ctx context.Context) (url string, s *http.Server, err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s = &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(imageContent()) // one who has gone does not get it
	})}
	go func() { _ = s.Serve(l) }() // ends by Close
	return "http://" + l.Addr().String() + "/gateway-" + upgradeVersion + ".bin", s, nil
}

func imageContent() []byte { return []byte(strings.Repeat("firmware", upgradeSize/8)) }

// upgradeFleet makes the CPE, half of them of each data model.
func upgradeFleet(b *bridge, count int) (*cpesim.Fleet, []*upgraded, error) {
	sim, err := cpesim.NewFleet(cpesim.FleetConfig{MaxSessions: 64, SessionTimeout: patience, BootTime: 100 * time.Millisecond, Transfer: cpesim.HTTPTransfer(nil)})
	if err != nil {
		return nil, nil, err
	}
	template, err := translate.ParseEndpointTemplate("ops::{oui}-{product_class}-{serial}") // the default
	if err != nil {
		return nil, nil, err
	}
	chance := rand.New(rand.NewPCG(1, 2)) // the same fleet each time
	var fleet []*upgraded
	for i := range count {
		model, software := cpesim.TR181(), "Device.DeviceInfo.SoftwareVersion"
		if i%2 == 0 {
			model, software = cpesim.TR098(), "InternetGatewayDevice.DeviceInfo.SoftwareVersion"
		}
		cpe, err := sim.Add(cpesim.Config{ACSURL: "http://" + b.cwmp + "/", Model: model, JournalSize: -1, Profile: misfortune(chance),
			Identity: cwmp.DeviceID{SerialNumber: fmt.Sprintf("UPGRADE%06d", i)}})
		if err != nil {
			return nil, nil, err
		}
		fleet = append(fleet, &upgraded{device: device{cpe, template.EndpointID(cpe.Identity())}, software: software})
	}
	return sim, fleet, nil
}

// misfortune is what is wrong with a CPE: nothing, three times in four.
func misfortune(chance *rand.Rand) *cpesim.Profile {
	switch chance.IntN(24) {
	case 0:
		return &cpesim.Profile{FailTransfers: cwmp.FaultDownloadCorrupted}
	case 1:
		return &cpesim.Profile{RefuseWith: map[string]cwmp.FaultCode{"Download": cwmp.FaultResourcesExceeded}}
	case 2:
		return &cpesim.Profile{DieAfter: "Download", DieOnce: true}
	case 3:
		return &cpesim.Profile{DieInTransfer: true}
	case 4:
		return &cpesim.Profile{LoseResponses: true}
	case 5:
		return &cpesim.Profile{EmptyCommandKey: true, NoTransferEvents: true}
	}
	return &cpesim.Profile{}
}

// upgradeRow upgrades all, and checks what came of it.
func (m *measurement) upgradeRow(ctx context.Context, b *bridge, ctl *client.Client, fleet []*upgraded, url string) error {
	sum := sha256.Sum256(imageContent())
	args := map[string]string{"URL": url, "AutoActivate": "true", "CheckSumAlgorithm": "SHA-256", "CheckSum": hex.EncodeToString(sum[:])}
	byAgent := map[usp.EndpointID]*upgraded{}
	for _, u := range fleet {
		byAgent[u.agent] = u
		_, err := ctl.Add(ctx, u.agent, &usppb.Add{CreateObjs: []*usppb.Add_CreateObject{{ObjPath: "Device.LocalAgent.Subscription.", ParamSettings: []*usppb.Add_CreateParamSetting{
			{Param: "ID", Value: "upgrade"}, {Param: "NotifType", Value: "OperationComplete"}, {Param: "ReferenceList", Value: upgradeImage + "Download()"},
			{Param: "Enable", Value: "true"}, {Param: "Persistent", Value: "true"}}}}})
		if err != nil {
			return err
		}
	}
	began := time.Now()
	c, err := b.measure(ctx, "upgrade", func() error {
		for _, u := range fleet {
			if _, err := ctl.Operate(ctx, u.agent, &usppb.Operate{Command: upgradeImage + "Download()", CommandKey: "upgrade", SendResp: true, InputArgs: args}); err != nil {
				return err
			}
		}
		return awaitUpgrades(ctx, ctl, byAgent)
	})
	if err != nil {
		return err
	}
	took := time.Since(began)
	failed := 0
	for _, u := range fleet {
		if err := u.check(ctx, ctl); err != nil {
			return err
		}
		if u.failure != "" {
			failed++
		}
	}
	m.table.add(row{what: fmt.Sprintf("firmware upgrades through USP, each checked (%d failed, as their CPE did)", failed), n: len(fleet),
		cpu: c.each(len(fleet)), clock: took})
	return nil
}

// awaitUpgrades takes the ends of all upgrades.
func awaitUpgrades(ctx context.Context, ctl *client.Client, byAgent map[usp.EndpointID]*upgraded) error {
	for left := len(byAgent); left > 0; {
		select {
		case n, ok := <-ctl.Notifications():
			if !ok {
				return errors.New("the connection broke")
			}
			o, u := n.Notify.GetOperComplete(), byAgent[n.Agent]
			if o == nil || u == nil {
				continue
			}
			u.ended++
			u.failure = o.GetCmdFailure().GetErrMsg()
			left--
		case <-ctx.Done():
			return fmt.Errorf("%d upgrades have not ended within %v", left, upgradeTime)
		}
	}
	return nil
}

// check compares what was told of an upgrade with what the CPE runs.
func (u *upgraded) check(ctx context.Context, ctl *client.Client) error {
	running, _ := u.Get(u.software)
	runs := running == upgradeVersion
	if u.ended != 1 || runs != (u.failure == "") {
		return fmt.Errorf("%s runs %s, and was told of %d times: %q", u.agent, running, u.ended, u.failure)
	}
	want := "InstallationFailed"
	if runs {
		want = "Active"
	}
	for again := time.NewTicker(100 * time.Millisecond); ; { // it is read again after its boot
		resp, err := ctl.Get(ctx, u.agent, []string{upgradeImage + "Status"}, 0)
		if err != nil {
			return err
		}
		got := ""
		for _, r := range resp.GetReqPathResults() {
			for _, o := range r.GetResolvedPathResults() {
				got = o.GetResultParams()["Status"]
			}
		}
		if got == want {
			again.Stop()
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: the image's Status is %s, want %s", u.agent, got, want)
		}
	}
}
