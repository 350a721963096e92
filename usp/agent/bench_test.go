package agent

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// fixedModel answers every read with the same value, so that the agent's own
// cost is measured.
type fixedModel struct {
	*mapModel
	rows []uint32
}

func (m fixedModel) Instances(dm.Ref) []uint32                    { return m.rows }
func (m fixedModel) Get(_ context.Context, refs []dm.Ref) []Value { return m.Peek(refs) }
func (m fixedModel) Peek(refs []dm.Ref) []Value {
	out := make([]Value, len(refs))
	for i := range out {
		out[i].Text = "value"
	}
	return out
}

// devNull is a transport that drops what it is given.
type devNull struct{ *fakeTransport }

func (devNull) Send(context.Context, usp.EndpointID, usp.EndpointID, mtp.Address, []byte) error {
	return nil
}

type fixedDevices struct{ m fixedModel }

func (d fixedDevices) Model(context.Context, usp.EndpointID) (Model, Identity, error) {
	return d.m, Identity{}, nil
}

// benchmarkMessage measures a request from its record to the record of the
// answer, without a transport.
func benchmarkMessage(b *testing.B, req *usppb.Request) {
	b.Helper()
	benchmarkMessageOn(b, req, testSchema(b))
}

func benchmarkMessageOn(b *testing.B, req *usppb.Request, schema *dm.Schema) {
	rows := make([]uint32, 25)
	for i := range rows {
		rows[i] = uint32(i + 1)
	}
	model := newMapModel(b)
	model.schema = schema
	h, err := New(Config{
		Store: newMemStore(), Devices: fixedDevices{fixedModel{model, rows}},
		Transports:  []mtp.Transport{devNull{newFakeTransport(mtp.MQTT)}},
		Controllers: []ControllerConfig{{EndpointID: primary}},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer h.close()
	rec, err := record.WrapMsg(primary, testAgent, "1.3", &usppb.Msg{Header: &usppb.Header{MsgId: "m"}, Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: req}}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r, err := record.Unwrap(rec, record.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		h.process(testAgent, &inbound{Inbound: mtp.Inbound{Reply: mtp.Address{Protocol: mtp.MQTT, Topic: "t"}}, record: r})
	}
}

func BenchmarkGet1(b *testing.B) { benchmarkMessage(b, getReq("Device.DeviceInfo.UpTime")) }

// BenchmarkGet150 reads 25 rows with six parameters each.
func BenchmarkGet150(b *testing.B) {
	req := getReq("Device.WiFi.SSID.")
	req.GetGet().MaxDepth = 2
	benchmarkMessage(b, getReq("Device.WiFi.SSID.*.Alias", "Device.WiFi.SSID.*.Name", "Device.WiFi.SSID.*.SSID", "Device.WiFi.SSID.*.Enable", "Device.WiFi.SSID.*.LowerLayers", "Device.WiFi.SSID.*.Stats.BytesSent"))
}

// BenchmarkGet150Object reads about as many by one object path.
func BenchmarkGet150Object(b *testing.B) {
	req := getReq("Device.WiFi.SSID.")
	req.GetGet().MaxDepth = 1
	benchmarkMessage(b, req)
}

func BenchmarkGetSupportedDM(b *testing.B) {
	benchmarkMessage(b, supportedReq(false, true, true, true, true, "Device."))
}

func BenchmarkSearch(b *testing.B) {
	benchmarkMessage(b, getReq(`Device.WiFi.SSID.[SSID=="value"].Name`))
}

// BenchmarkDeliver matches one event against so many subscriptions.
func BenchmarkDeliver(b *testing.B) {
	for _, n := range []int{0, 1, 20} {
		b.Run(fmt.Sprintf("subscriptions=%d", n), func(b *testing.B) {
			t := newBench(b)
			for i := range n {
				t.subscribe(primary, fmt.Sprint("s", i), "ValueChange", "Device.WiFi.SSID.*.SSID"+strings.Repeat(",Device.DeviceInfo.", i%2))
			}
			t.host.cfg.Transports = []mtp.Transport{devNull{t.net}}
			ev := []Event{{Kind: ValueChanged, Ref: t.ref("Device.DeviceInfo.UpTime")}}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				ev[0].Value = fmt.Sprint(i)
				if err := t.host.Deliver(context.Background(), testAgent, ev); err != nil {
					b.Fatal(err)
				}
				t.host.outgoing.wait()
			}
		})
	}
}

// BenchmarkRoleCheck is the cost of one parameter's check: with full access, under
// a role with exceptions, with targets that name rows, with one that searches.
func BenchmarkRoleCheck(b *testing.B) {
	for _, tc := range []struct {
		name    string
		by      usp.EndpointID
		targets []string
	}{
		{"full", primary, nil},
		{"restricted", secondary, []string{"Device.WiFi.", "Device.WiFi.SSID.*.Name"}},
		{"rows", secondary, []string{"Device.WiFi.", "Device.WiFi.SSID.1.", "Device.WiFi.SSID.2.", "Device.WiFi.SSID.3."}},
		{"search", secondary, []string{"Device.WiFi.", "Device.WiFi.SSID.[Enable==true]."}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			t := newBench(b)
			for _, target := range tc.targets {
				t.allow(target, "r---", "r---", "r---", "----")
			}
			a := t.access(tc.by)
			ref := t.ref("Device.WiFi.SSID.{i}.Name", 1)
			b.ReportAllocs()
			for b.Loop() {
				if !a.can(ref, readParam) {
					b.Fatal("refused")
				}
			}
		})
	}
}

// BenchmarkNotifications tells one change to 10,000 subscriptions, without and with
// a response that is waited for.
func BenchmarkNotifications(b *testing.B) {
	const subscribers = 10_000
	for _, retry := range []string{"false", "true"} {
		b.Run("retry="+retry, func(b *testing.B) {
			t := newBench(b, func(c *Config) {
				c.Limits.Rows, c.Limits.Notifications, c.Limits.AgentQueue = subscribers+1, math.MaxInt32, 1000
				c.Log = slog.New(slog.DiscardHandler)
			})
			t.subscribe(primary, "first", "ValueChange", "Device.DeviceInfo.FriendlyName", kv{"NotifRetry", retry, true})
			t.multiply(store.Subscription, subscribers)
			t.restart()
			t.host.cfg.Transports = []mtp.Transport{devNull{t.net}}
			ev := []Event{{Kind: ValueChanged, Ref: t.ref("Device.DeviceInfo.FriendlyName")}}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				ev[0].Value = fmt.Sprint(i)
				if err := t.host.Deliver(context.Background(), testAgent, ev); err != nil {
					b.Fatal(err)
				}
				t.host.outgoing.wait()
			}
			b.ReportMetric(float64(i*subscribers)/b.Elapsed().Seconds(), "notifications/s")
		})
	}
}

// multiply makes so many copies of the only record of a kind.
func (b *bench) multiply(kind store.Kind, copies int) {
	b.t.Helper()
	var batch store.Batch
	err := b.store.Scan(b.t.Context(), store.Query{Kind: kind}, func(k store.Key, v []byte) bool {
		for i := range copies - 1 {
			batch.Put(store.Key{Kind: kind, Owner: k.Owner, Name: fmt.Sprint(1000 + i)}, v)
		}
		return true
	})
	if err == nil {
		err = b.store.Commit(b.t.Context(), &batch)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// BenchmarkGetSupportedDMWhole describes a data model of 6,000 parameters in 300
// tables, which is more than CPE have.
func BenchmarkGetSupportedDMWhole(b *testing.B) {
	device := &dm.Node{Name: "Device", Kind: dm.Object}
	for i := range 300 {
		table := &dm.Node{Name: fmt.Sprint("T", i), Kind: dm.Table, Unique: [][]string{{"P0"}}}
		for j := range 20 {
			table.Children = append(table.Children, &dm.Node{Name: fmt.Sprint("P", j), Kind: dm.Param, Type: dm.TypeString})
		}
		device.Children = append(device.Children, table)
	}
	schema, err := dm.Build(&dm.Node{Kind: dm.Object, Children: []*dm.Node{device}})
	if err != nil {
		b.Fatal(err)
	}
	benchmarkMessageOn(b, supportedReq(false, true, true, true, true, "Device."), schema)
}
