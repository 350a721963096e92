package translate

import (
	"context"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/connreq"
	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/store/bolt"
	"github.com/uspbridge/uspbridge/store/seal"
	"github.com/uspbridge/uspbridge/translate/mapping"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
)

// patience bounds each thing that is waited for.
const patience = 20 * time.Second

// rig is a Bridge on its ACS with simulated CPE: everything but agents.
type rig struct {
	*Bridge
	t     testing.TB
	acs   *acs.Server
	url   string
	fleet *cpesim.Fleet
	skew  atomic.Int64 // what the bridge's clock is ahead, in nanoseconds
}

// newRig starts a rig. change may alter the configuration, profiles are the
// texts of profile files.
func newRig(t testing.TB, change func(*Config), profiles ...string) *rig {
	t.Helper()
	return newPatientRig(t, patience, change, profiles...)
}

// newPatientRig is newRig with an ACS that waits so long for an answer.
func newPatientRig(t testing.TB, rpcTimeout time.Duration, change func(*Config), profiles ...string) *rig {
	t.Helper()
	files := fstest.MapFS{}
	for i, text := range profiles {
		files[string(rune('a'+i))+".yaml"] = &fstest.MapFile{Data: []byte(text)}
	}
	set, err := mapping.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	st, err := bolt.Open(bolt.Config{Path: filepath.Join(t.TempDir(), "store.db")})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t}
	cfg := Config{Store: st, Sealer: seal.Random(), Mappings: set, Deadline: patience, Now: func() time.Time { return time.Now().Add(time.Duration(r.skew.Load())) },
		ConnectionRequest: ConnectionRequest{Client: connreq.New(connreq.Config{})}}
	if change != nil {
		change(&cfg)
	}
	if r.Bridge, err = New(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if r.acs, err = acs.New(acs.Config{Fleet: r.Bridge, RPCTimeout: rpcTimeout, SessionTimeout: patience}); err != nil {
		t.Fatal(err)
	}
	r.Attach(r.acs, nobody{})
	server := httptest.NewUnstartedServer(r.acs)
	server.Config.ConnContext = acs.ConnContext
	server.Start()
	r.url = server.URL
	r.fleet = startFleet(t, cpesim.FleetConfig{BootTime: time.Millisecond})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.fleet.Close(ctx); err != nil {
			t.Errorf("simulated CPE: %v", err)
		}
		gone, left := context.WithCancel(ctx)
		left()
		_ = r.acs.Close(gone) // sessions that CPE have left are broken off
		server.Close()
		if err := st.Close(); err != nil {
			t.Errorf("store: %v", err)
		}
	})
	return r
}

// nobody is a host of agents that nobody has subscribed to.
type nobody struct{}

func (nobody) Deliver(context.Context, usp.EndpointID, []agent.Event) error { return nil }
func (nobody) DeliverWith(_ context.Context, _ usp.EndpointID, _ []agent.Event, b *store.Batch, keep func(*store.Batch) func(context.Context) error) error {
	keep(b)
	return nil
}
func (nobody) Hosted(context.Context, usp.EndpointID) error { return nil }
func (nobody) Forget(context.Context, usp.EndpointID) error { return nil }

// until waits for a condition that nothing signals.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for over := time.After(patience); !condition(); {
		select {
		case <-poll.C:
		case <-over:
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

// startFleet starts simulated CPE; who starts them closes them.
func startFleet(t testing.TB, c cpesim.FleetConfig) *cpesim.Fleet {
	t.Helper()
	fleet, err := cpesim.NewFleet(c)
	if err == nil {
		err = fleet.Start(context.WithoutCancel(t.Context()))
	}
	if err != nil {
		t.Fatal(err)
	}
	return fleet
}

// unit is one simulated CPE of a rig.
type unit struct {
	*cpesim.CPE
	rig *rig
	key cwmp.DeviceKey
}

var serial atomic.Int64

// add boots a simulated CPE and waits until its first session has ended.
func (r *rig) add(c cpesim.Config) *unit {
	r.t.Helper()
	c.ACSURL, c.JournalSize = r.url, 1<<20
	if c.Model == nil {
		c.Model = gatewayModel()
	}
	if c.Identity.SerialNumber == "" {
		c.Identity.SerialNumber = "S" + time.Duration(serial.Add(1)).String()
	}
	c.PeriodicInform = 1000 * time.Hour
	sim, err := r.fleet.Add(c)
	if err != nil {
		r.t.Fatal(err)
	}
	u := &unit{CPE: sim, rig: r, key: sim.Identity().Key()}
	u.session()
	return u
}

// gatewayModel is shared: it takes a moment to load.
var gatewayModel = sync.OnceValue(cpesim.TR098)

// session lets the CPE inform and returns how its session ended.
func (u *unit) session(events ...cwmp.Event) error {
	u.rig.t.Helper()
	err := u.Inform(events...)
	until(u.rig.t, "the session has ended", func() bool {
		if err != nil { // the ACS does not see that the CPE has gone
			return true
		}
		return !u.rig.acs.InSession(u.key)
	})
	return err
}

// record returns what the bridge keeps of the CPE.
func (u *unit) record() *Record {
	u.rig.t.Helper()
	dev, err := u.rig.devices.acquire(context.Background(), u.key)
	if err != nil {
		u.rig.t.Fatal(err)
	}
	defer u.rig.devices.release(dev)
	return dev.state.Load().rec
}

// discover lets the CPE inform until its tree is known, at most so many times,
// each hours after the other, and returns how many it took beside the first.
func (u *unit) discover(sessions int) (took int) {
	u.rig.t.Helper()
	for u.record().Rediscover {
		if took++; took > sessions {
			u.rig.t.Fatalf("not discovered after %d sessions: %s", sessions, u.record().Discovery())
		}
		u.rig.skew.Add(int64(longestPause))
		_ = u.session() // a session that breaks is what some of these CPE do
	}
	return took
}

// values returns the known values of the CPE's tree, as the bridge has them.
func (u *unit) values() map[cwmp.Path]string {
	u.rig.t.Helper()
	dev, err := u.rig.devices.acquire(context.Background(), u.key)
	if err != nil {
		u.rig.t.Fatal(err)
	}
	defer u.rig.devices.release(dev)
	return known(dev.state.Load().tree)
}

// endpoint opens the CPE's agent model.
func (u *unit) model() agent.Model {
	u.rig.t.Helper()
	m, _, err := u.rig.Model(context.Background(), u.record().Endpoint)
	if err != nil {
		u.rig.t.Fatal(err)
	}
	return m
}

// assignment is one parameter to set, by its USP path.
type assignment struct {
	path, value string
	optional    bool
}

// set sets parameters in one request and returns the results by object, in the
// order in which the objects were first named.
func (u *unit) set(partial bool, list ...assignment) []agent.UpdateResult {
	u.rig.t.Helper()
	m := u.model()
	var updates []agent.Update
	at := make(map[string]int)
	for _, a := range list {
		ref, ok := lookup(m.Schema(), a.path)
		if !ok {
			u.rig.t.Fatalf("%s is not in the schema", a.path)
		}
		object := a.path[:strings.LastIndexByte(a.path, '.')+1]
		i, known := at[object]
		if !known {
			i, at[object] = len(updates), len(updates)
			parent, ok := lookup(m.Schema(), object)
			if !ok {
				u.rig.t.Fatalf("%s is not in the schema", object)
			}
			updates = append(updates, agent.Update{Object: parent})
		}
		updates[i].Params = append(updates[i].Params, agent.Assignment{Param: ref.Node, Value: a.value, Required: !a.optional})
	}
	return m.Set(context.Background(), updates, partial)
}

// requests returns what the ACS has sent of one RPC.
func requests[M cwmp.Message](u *unit) (list []M) {
	for _, e := range u.Journal() {
		if m, ok := e.Request.(M); ok {
			list = append(list, m)
		}
	}
	return list
}
