package translate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// mortal is a store that takes so many batches more and then none, as if the
// program had been killed.
type mortal struct {
	store.Store
	left atomic.Int64
}

var errKilled = errors.New("killed")

func (m *mortal) Commit(ctx context.Context, b *store.Batch) error {
	if m.left.Add(-1) < 0 {
		return errKilled
	}
	return m.Store.Commit(ctx, b)
}

func (m *mortal) Enqueue(b *store.Batch, done func(error)) {
	if m.left.Add(-1) < 0 {
		if done != nil {
			done(errKilled)
		}
		return
	}
	m.Store.Enqueue(b, done)
}

// mute is a transport over which a controller is answered and answers nothing.
type mute struct{ answers chan *usppb.Msg }

func (mute) Protocol() mtp.Protocol                         { return mtp.MQTT }
func (mute) Serve(ctx context.Context, _ mtp.Handler) error { <-ctx.Done(); return nil }
func (mute) Ready() <-chan struct{}                         { return nil }
func (mute) Status() mtp.Status                             { return mtp.Status{Up: true} }
func (m mute) Send(_ context.Context, _, _ usp.EndpointID, _ mtp.Address, b []byte) error {
	r, err := record.Unwrap(b, record.Limits{})
	if err != nil || r.GetNoSessionContext() == nil {
		return err
	}
	msg, err := record.Message(r)
	if err == nil && msg.GetBody().GetRequest() == nil {
		m.answers <- msg
	}
	return err
}

// hosted is a CPE behind an agent with a controller, over a mortal store.
type hosted struct {
	*unit
	store *mortal
	host  *agent.Host
	mute  mute
}

const follower = usp.EndpointID("proto::follower")

func newHosted(t *testing.T) *hosted {
	h := &hosted{store: &mortal{}, mute: mute{answers: make(chan *usppb.Msg, 100)}}
	h.store.left.Store(1 << 40)
	r := newRig(t, func(c *Config) { h.store.Store, c.Store = c.Store, h.store })
	var err error
	if h.host, err = agent.New(agent.Config{
		Store: h.store, Devices: r.Bridge, Transports: []mtp.Transport{h.mute}, Deadline: patience,
		Controllers: []agent.ControllerConfig{{EndpointID: follower, MTP: mtp.Address{Protocol: mtp.MQTT, Topic: "c"}}},
	}); err != nil {
		t.Fatal(err)
	}
	r.Attach(r.acs, h.host)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.host.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	h.unit = r.add(cpesim.Config{Model: cpesim.TR181()})
	return h
}

// ask sends a request and waits for the answer.
func (h *hosted) ask(req *usppb.Request) *usppb.Msg {
	t := h.rig.t
	t.Helper()
	rec, err := record.WrapMsg(follower, h.record().Endpoint, usp.RecordVersion, &usppb.Msg{
		Header: &usppb.Header{MsgId: "1", MsgType: usppb.Header_GET}, Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: req}},
	})
	if err == nil {
		err = h.host.Receive(mtp.Inbound{Record: rec, Reply: mtp.Address{Protocol: mtp.MQTT, Topic: "r"}})
	}
	if err != nil {
		t.Fatal(err)
	}
	var msg *usppb.Msg
	until(t, "the answer", func() bool {
		select {
		case msg = <-h.mute.answers:
			return true
		default:
			return false
		}
	})
	return msg
}

func (h *hosted) add(table string, settings ...string) *usppb.Msg {
	obj := &usppb.Add_CreateObject{ObjPath: table}
	for i := 0; i < len(settings); i += 2 {
		obj.ParamSettings = append(obj.ParamSettings, &usppb.Add_CreateParamSetting{Param: settings[i], Value: settings[i+1], Required: true})
	}
	return h.ask(&usppb.Request{ReqType: &usppb.Request_Add{Add: &usppb.Add{CreateObjs: []*usppb.Add_CreateObject{obj}}}})
}

// afterwards is what a bridge finds in the store that was left: how many port
// mappings there are, and how many more were told to have come than to have gone.
func (h *hosted) afterwards() (rows, told int) {
	t := h.rig.t
	t.Helper()
	next := h.rig.cfg
	next.Store, next.Registerer = h.store.Store, nil
	b, err := New(t.Context(), next)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := b.Model(t.Context(), h.record().Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	table, _ := lookup(m.Schema(), portMappings)
	err = h.store.Store.Scan(t.Context(), store.Query{Kind: store.Notification}, func(_ store.Key, v []byte) bool {
		var n struct{ Type string }
		if err := json.Unmarshal(v, &n); err != nil {
			t.Error(err)
		}
		switch n.Type {
		case "ObjectCreation":
			told++
		case "ObjectDeletion":
			told--
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return len(m.Instances(table)), told
}

// A row that a controller adds or deletes is told by the batch that stores it: a
// bridge that is killed at any moment knows of no row that it will not tell of.
func TestRowsAndTheirNotificationsAreOneBatch(t *testing.T) {
	for batches, over := 0, false; !over; batches++ {
		t.Run(fmt.Sprintf("killed after %d batches", batches), func(t *testing.T) {
			h := newHosted(t)
			for _, kind := range []string{"ObjectCreation", "ObjectDeletion"} {
				h.add("Device.LocalAgent.Subscription.", "ID", kind, "NotifType", kind, "ReferenceList", portMappings, "Enable", "true", "NotifRetry", "true")
			}
			until(t, "nothing is under way", func() bool { return !h.rig.acs.InSession(h.key) })
			before, _ := h.afterwards()
			h.store.left.Store(int64(batches))
			added := h.add(portMappings, "Description", "new").GetBody().GetResponse().GetAddResp().GetCreatedObjResults()
			if rows, told := h.afterwards(); rows-before != told {
				t.Errorf("Add: %d rows more, %d told", rows-before, told)
			}
			if len(added) == 0 {
				return
			}
			path := added[0].GetOperStatus().GetOperSuccess().GetInstantiatedPath()
			deleted := h.ask(&usppb.Request{ReqType: &usppb.Request_Delete{Delete: &usppb.Delete{ObjPaths: []string{path}}}})
			if rows, told := h.afterwards(); rows-before != told {
				t.Errorf("Delete: %d rows more, %d told", rows-before, told)
			}
			over = deleted.GetBody().GetResponse() != nil && h.store.left.Load() >= 0
		})
		if batches > 60 {
			t.Fatal("there is no end of batches")
		}
	}
}
