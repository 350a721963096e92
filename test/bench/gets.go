package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/usp"
)

// How often each Get is asked, and of how many devices in turn: each device is
// asked several times, as controllers do.
const (
	gets       = 40000
	manyGets   = 4000
	wholeGets  = 1000
	aloneGets  = 2000 // one at a time, for the latency
	liveReads  = 300
	getDevices = 1000
	inFlight   = 16
)

// oneParameter is the parameter that is asked for from the cache.
const oneParameter = "Device.WiFi.SSID.1.SSID"

// get asks an agent and fails unless all paths were answered with a value.
func (m *measurement) get(ctx context.Context, agent usp.EndpointID, paths ...string) error {
	_, err := m.getCounted(ctx, agent, paths...)
	return err
}

// getCounted returns also how many parameters the answer has.
func (m *measurement) getCounted(ctx context.Context, agent usp.EndpointID, paths ...string) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	resp, err := m.ctl.Get(ctx, agent, paths, 0)
	if err != nil {
		return 0, err
	}
	for _, r := range resp.GetReqPathResults() {
		if r.GetErrCode() != 0 {
			return 0, fmt.Errorf("get %s of %s: %d %s", r.GetRequestedPath(), agent, r.GetErrCode(), r.GetErrMsg())
		}
		for _, o := range r.GetResolvedPathResults() {
			n += len(o.GetResultParams())
		}
	}
	if n == 0 {
		return 0, fmt.Errorf("get %v of %s has no values", paths, agent)
	}
	return n, nil
}

// working returns the devices that are asked in turn, so many that most were not
// asked a moment ago.
func (m *measurement) working() []device {
	devices := m.fleet.reachable()
	return devices[:min(len(devices), getDevices)]
}

// cachedGets are those that are answered without the CPE.
func (m *measurement) cachedGets(ctx context.Context) error {
	parameters, err := m.parameters(ctx)
	if err != nil {
		return err
	}
	whole, err := m.getCounted(ctx, m.fleet.reachable()[0].agent, "Device.")
	if err != nil {
		return err
	}
	rows := []struct {
		row
		name  string
		paths []string
	}{
		{row{what: "Get of one cached parameter", n: gets, peer: "obuspa 0.017-0.022 ms, one device", aim: "0.025 ms"}, "get-one", []string{oneParameter}},
		{row{what: "Get of 150 cached parameters, named one by one", n: manyGets, peer: "obuspa 0.33 ms", aim: "0.2 ms"}, "get-150", parameters[:150]},
		{row{what: fmt.Sprintf("Get of Device., %d cached parameters", whole), n: wholeGets}, "get-device", []string{"Device."}},
	}
	for i, r := range rows {
		if i == 0 { // all devices and agents are in memory before
			if err := m.getEach(ctx, len(m.working()), r.paths, inFlight, nil); err != nil {
				return err
			}
		}
		if err := m.cachedGetRow(ctx, r.row, r.name, r.paths); err != nil {
			return err
		}
	}
	m.cachedGet = m.table.rows[len(m.table.rows)-len(rows)].cpu
	return nil
}

// cachedGetRow measures one kind of Get: its rate and cost with several in
// flight, its latency one at a time.
func (m *measurement) cachedGetRow(ctx context.Context, r row, name string, paths []string) error {
	c, err := m.bridge.measure(ctx, name, func() error { return m.getEach(ctx, r.n, paths, inFlight, nil) })
	if err != nil {
		return err
	}
	seen := make([]time.Duration, min(r.n, aloneGets))
	if err := m.getEach(ctx, len(seen), paths, 1, seen); err != nil {
		return err
	}
	r.cpu, r.perSecond, r.p50, r.p99 = c.each(r.n), c.rate(r.n), quantile(seen, 0.5), quantile(seen, 0.99)
	m.table.add(r)
	return nil
}

// getEach asks the devices in turn, n times in all. seen, unless nil, takes the
// latencies.
func (m *measurement) getEach(ctx context.Context, n int, paths []string, workers int, seen []time.Duration) error {
	devices := m.working()
	return inParallel(workers, n, func(i int) error {
		began := time.Now()
		err := m.get(ctx, devices[i%len(devices)].agent, paths...)
		if seen != nil {
			seen[i] = time.Since(began)
		}
		return err
	})
}

// parameters returns the paths of the parameters that a device's WiFi and
// Ethernet have.
func (m *measurement) parameters(ctx context.Context) (paths []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	resp, err := m.ctl.Get(ctx, m.fleet.reachable()[0].agent, []string{"Device.WiFi.", "Device.Ethernet."}, 0)
	if err != nil {
		return nil, err
	}
	for _, r := range resp.GetReqPathResults() {
		for _, o := range r.GetResolvedPathResults() {
			for name := range o.GetResultParams() {
				if path := o.GetResolvedPath() + name; !strings.HasSuffix(path, ".") {
					paths = append(paths, path)
				}
			}
		}
	}
	if len(paths) < 150 {
		return nil, fmt.Errorf("a device shows only %d parameters of WiFi and Ethernet, 150 are needed", len(paths))
	}
	return paths, nil
}

// coldGets ask devices that are in the store only.
func (m *measurement) coldGets(ctx context.Context) error {
	n := len(m.working())
	seen := make([]time.Duration, n)
	c, err := m.bridge.measure(ctx, "get-cold", func() error { return m.getEach(ctx, n, []string{oneParameter}, 1, seen) })
	if err != nil {
		return err
	}
	m.table.add(row{what: "Get of one parameter, device not in memory", n: n, cpu: c.each(n), p50: quantile(seen, 0.5), p99: quantile(seen, 0.99)})
	return nil
}

// liveGets wake the CPE, which is asked in the session that it then opens.
func (m *measurement) liveGets(ctx context.Context) error {
	seen := make([]time.Duration, liveReads)
	devices := m.working()
	c, err := m.bridge.measure(ctx, "get-live", func() error {
		for i := range seen {
			began := time.Now()
			if err := m.get(ctx, devices[i%len(devices)].agent, statusPath); err != nil {
				return err
			}
			seen[i] = time.Since(began)
			if err := m.settle(ctx); err != nil { // the next is another device's
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	m.table.add(row{what: "live Get: connection request, session, answer (clock: CPE's own time too)", n: liveReads,
		cpu: c.each(liveReads), p50: quantile(seen, 0.5), p99: quantile(seen, 0.99)})
	return nil
}
