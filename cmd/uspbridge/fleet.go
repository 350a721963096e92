package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/console"
	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/capture"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/translate"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/relay"
)

// fleet shows the bridge's devices to the console. It implements console.Fleet.
type fleet struct {
	bridge   *translate.Bridge
	relay    *relay.Relay
	acs      *acs.Server
	store    store.Store
	captures *capture.Hub
	template translate.EndpointTemplate
}

var _ console.Fleet = fleet{}

// List implements console.Fleet. A page goes on behind the last device's key; native
// agents follow the bridged devices.
func (f fleet) List(ctx context.Context, q console.ListQuery) (devices []console.DeviceSummary, next string, err error) {
	if after, native := nativeAfter(q.After); native {
		return f.listNative(ctx, q, after, nil)
	}
	var last cwmp.DeviceKey
	more := false
	err = f.bridge.List(ctx, q.Filter, cwmp.DeviceKey(q.After), func(r *translate.Record) bool {
		if len(devices) == q.Limit {
			more = true
			return false
		}
		devices = append(devices, f.summary(r))
		last = r.Key()
		return true
	})
	if err != nil || more {
		return devices, string(last), err
	}
	return f.listNative(ctx, q, "", devices)
}

func (f fleet) summary(r *translate.Record) console.DeviceSummary {
	return console.DeviceSummary{
		Endpoint: string(r.Endpoint), Kind: kindBridged, Transport: "CWMP", LastHeard: r.LastInform, Manufacturer: r.ID.Manufacturer, OUI: r.ID.OUI, ProductClass: r.ID.ProductClass,
		SerialNumber: r.ID.SerialNumber, SoftwareVersion: r.Software, RootDataModel: dataModelName(r.Root),
		Stage: string(r.Stage), Discovered: r.Template != "", LastInform: r.LastInform, InSession: f.acs.InSession(r.Key()),
	}
}

// dataModelName is the standard that a root object belongs to.
func dataModelName(root cwmp.Path) string {
	switch root {
	case "InternetGatewayDevice.":
		return "TR-098"
	case "Device.":
		return "TR-181"
	}
	return string(root)
}

// Show implements console.Fleet.
func (f fleet) Show(ctx context.Context, endpoint string) (console.DeviceDetail, error) {
	if native, err := f.isNative(ctx, usp.EndpointID(endpoint)); err != nil {
		return console.DeviceDetail{}, err
	} else if native {
		return f.showNative(endpoint)
	}
	d, err := f.bridge.Show(ctx, usp.EndpointID(endpoint))
	if err != nil {
		return console.DeviceDetail{}, consoleError(endpoint, err)
	}
	r := &d.Record
	out := console.DeviceDetail{
		DeviceSummary:   f.summary(r),
		HardwareVersion: r.Hardware, CWMPVersion: r.CWMPVersion, DataModelVersion: r.DataModel,
		FirstInform: r.FirstInform, LastSession: r.LastSession, Reachability: d.Reachability, NextInform: d.NextInform,
		ConnectionRequestURL: r.ConnectionURL, LastWake: r.WakeTime, DiscoveredAt: r.Discovered,
		Parameters: d.Coverage.Total, Mappings: d.Mapping, Watched: len(r.Watched),
		Profiles: d.Profiles, Learnt: r.Describe(), SupportedRPCs: r.Methods, UnsupportedRPCs: r.Learnt.Refusals(),
		RefusedSettings: r.Refusals(), DiscoveryTrouble: r.Discovery(), Conflict: f.conflictOf(r.Endpoint),
	}
	for _, e := range r.LastEvents {
		out.LastEvents = append(out.LastEvents, string(e))
	}
	out.Notifications = r.Notifications()
	for _, p := range r.Denied {
		out.NotificationsDenied = append(out.NotificationsDenied, string(p))
	}
	return out, nil
}

// Refresh implements console.Fleet.
func (f fleet) Refresh(ctx context.Context, endpoint string) error {
	if err := f.bridgedOnly(ctx, endpoint); err != nil {
		return err
	}
	return consoleError(endpoint, f.bridge.Refresh(ctx, usp.EndpointID(endpoint)))
}

// Forget implements console.Fleet.
func (f fleet) Forget(ctx context.Context, endpoint string) error {
	if native, err := f.isNative(ctx, usp.EndpointID(endpoint)); err != nil {
		return err
	} else if native {
		return nativeError(endpoint, f.relay.Forget(ctx, usp.EndpointID(endpoint)))
	}
	return consoleError(endpoint, f.bridge.Forget(ctx, usp.EndpointID(endpoint)))
}

// Explain implements console.Fleet.
func (f fleet) Explain(ctx context.Context, endpoint, path string) (console.Explanation, error) {
	if err := f.bridgedOnly(ctx, endpoint); err != nil {
		return console.Explanation{}, err
	}
	e, err := f.bridge.Explain(ctx, usp.EndpointID(endpoint), path)
	if err != nil {
		return console.Explanation{}, consoleError(endpoint, err)
	}
	return newExplanation(e), nil
}

// Coverage implements console.Fleet.
func (f fleet) Coverage(ctx context.Context, endpoint string) (console.Report, error) {
	if err := f.bridgedOnly(ctx, endpoint); err != nil {
		return console.Report{}, err
	}
	d, err := f.bridge.Show(ctx, usp.EndpointID(endpoint))
	if err != nil {
		return console.Report{}, consoleError(endpoint, err)
	}
	if d.Record.Template == "" {
		return console.Report{}, fmt.Errorf("%w: %s is not discovered yet; its tree is read in its next session", console.ErrInvalid, endpoint)
	}
	return newReport(d.Coverage), nil
}

// Audit implements console.Fleet. Records are in the order of time, so the
// newest are the last.
func (f fleet) Audit(ctx context.Context, endpoint string, limit int) ([]console.AuditEntry, error) {
	var entries []console.AuditEntry
	var broken error
	err := f.store.Scan(ctx, store.Query{Kind: store.Audit, Owner: endpoint, WholeOwner: true}, func(k store.Key, v []byte) bool {
		var r agent.AuditRecord
		if broken = json.Unmarshal(v, &r); broken != nil {
			broken = fmt.Errorf("audit record %s of %s: %w", k.Name, endpoint, broken)
			return false
		}
		entries = append(entries, auditEntries(r)...)
		if over := len(entries) - limit; over > 0 {
			entries = entries[over:]
		}
		return true
	})
	slices.Reverse(entries)
	return entries, errors.Join(err, broken)
}

func auditEntries(r agent.AuditRecord) []console.AuditEntry {
	at, err := time.Parse(time.RFC3339, r.Time)
	if err != nil {
		at = time.Time{} // the record still says who did what
	}
	entries := make([]console.AuditEntry, 0, len(r.Changes))
	for _, c := range r.Changes {
		entries = append(entries, console.AuditEntry{Time: at, Who: string(r.Controller), What: r.Action,
			Path: c.Path, Values: c.Params, Result: c.Result})
	}
	return entries
}

// consoleError gives an error of the bridge the kind that the console answers
// by.
func consoleError(endpoint string, err error) error {
	var failed *usp.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, agent.ErrUnknownEndpoint):
		return fmt.Errorf("%s: %w", endpoint, console.ErrUnknownDevice)
	case errors.Is(err, acs.ErrNoContact), errors.Is(err, acs.ErrSessionLost):
		return fmt.Errorf("%w: %w", console.ErrNoAnswer, err)
	case errors.As(err, &failed) && (failed.Code == usp.ErrInvalidPath || failed.Code == usp.ErrInvalidPathSyntax):
		return fmt.Errorf("%w: %s: %s", console.ErrInvalid, failed.Path, failed.Msg)
	}
	return err
}

func newExplanation(e translate.Explained) console.Explanation {
	if e.USPPath == "" {
		return explainedSource(e)
	}
	out := console.Explanation{Path: e.USPPath, Value: e.USPValue, Writable: e.Writable, ReadOnly: e.ReadOnly,
		Rule: e.Rule, Conversion: e.Conversion, Sources: []console.Source{}, Profiles: e.Profiles, Learnt: e.Learnt}
	if !strings.HasSuffix(e.USPPath, ".") { // a row has no value to miss
		out.Error = e.Error
	}
	if e.Age > 0 {
		out.ReadAt = time.Now().Add(-e.Age).Truncate(time.Second)
	}
	for i, path := range e.CWMPPaths {
		s := console.Source{Path: path}
		if i < len(e.CWMPValues) {
			s.Value = e.CWMPValues[i]
		}
		out.Sources = append(out.Sources, s)
	}
	return out
}

// explainedSource is the explanation of a parameter of the CPE.
func explainedSource(e translate.Explained) console.Explanation {
	out := console.Explanation{Path: e.CWMPPaths[0], Value: e.CWMPValues[0], Sources: []console.Source{}, Profiles: e.Profiles, Learnt: e.Learnt}
	if len(e.Homes) == 0 {
		out.Conversion = "no controller sees it"
	}
	for _, h := range e.Homes {
		out.Homes = append(out.Homes, console.Home{Path: h.USPPath, Value: h.USPValue, Error: h.Error, Writable: h.Writable, Rule: h.Rule})
	}
	return out
}
