package agent

import (
	"context"
	"fmt"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"sync"
	"testing"
)

// mapModel is a device over a map.
type mapModel struct {
	mu        sync.Mutex
	schema    *dm.Schema
	values    map[string]string // by path
	rows      map[string][]uint32
	watched   []string
	refuse    map[string]*usp.Error // by parameter name: Set, Add and Get of it fail
	next      uint32
	operated  []Call
	block     chan struct{} // Operate and Get wait for it, if set
	result    map[string]string
	running   chan struct{} // gets one for each Operate that has begun
	detach    bool          // Operate takes operations over
	atOperate func()        // called in Operate
	deaf      bool          // a blocked Operate does not end with its context
	detached  map[uint32]bool
	canceled  []uint32
}

func testSchema(t testing.TB) *dm.Schema {
	t.Helper()
	param := func(name string, typ dm.Type, access dm.Access) *dm.Node {
		return &dm.Node{Name: name, Kind: dm.Param, Type: typ, Access: access, Change: dm.ValueChangeAllowed}
	}
	str, rw := dm.TypeString, dm.ReadWrite
	s, err := dm.Build(&dm.Node{Kind: dm.Object, Children: []*dm.Node{{Name: "Device", Kind: dm.Object, Children: []*dm.Node{
		{Name: "Reboot()", Kind: dm.Command},
		{Name: "SelfTest()", Kind: dm.Command, Async: true, InArgs: []string{"Seconds"}, OutArgs: []string{"Result"}, Required: []string{"Seconds"}},
		{Name: "Ping()", Kind: dm.Command, Async: true, InArgs: []string{"Host", "Timeout", "DSCP"}, Required: []string{"Host", "Timeout"}},
		{Name: "Upgrade()", Kind: dm.Command, Async: true, Durable: true},
		{Name: "Boot!", Kind: dm.Event, Args: []string{"Cause", "ParameterMap"}},
		{Name: "DeviceInfo", Kind: dm.Object, Children: []*dm.Node{
			param("Manufacturer", str, dm.ReadOnly), param("FriendlyName", str, rw), param("UpTime", dm.TypeUnsignedInt, dm.ReadOnly),
		}},
		{Name: "WiFi", Kind: dm.Object, Children: []*dm.Node{
			param("SSIDNumberOfEntries", dm.TypeUnsignedInt, dm.ReadOnly),
			{Name: "SSID", Kind: dm.Table, Access: dm.AddDelete, Unique: [][]string{{"Alias"}, {"Name"}}, Children: []*dm.Node{
				param("Alias", str, dm.WriteOnce), param("Name", str, rw), param("SSID", str, rw), param("Enable", dm.TypeBoolean, rw),
				param("LowerLayers", str, rw),
				{Name: "Stats", Kind: dm.Object, Children: []*dm.Node{param("BytesSent", dm.TypeUnsignedLong, dm.ReadOnly)}},
				{Name: "Client", Kind: dm.Table, Children: []*dm.Node{param("MAC", str, dm.ReadOnly)}},
			}},
			{Name: "Radio", Kind: dm.Table, Children: []*dm.Node{param("Name", str, dm.ReadOnly), param("Channel", dm.TypeUnsignedInt, rw)}},
			{Name: "Passphrase", Kind: dm.Param, Type: str, Access: rw, Secured: true},
		}},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newMapModel(t testing.TB) *mapModel {
	m := &mapModel{schema: testSchema(t), values: map[string]string{}, rows: map[string][]uint32{}, refuse: map[string]*usp.Error{}, next: 10, running: make(chan struct{}, 100), detached: map[uint32]bool{}}
	m.rows["Device.WiFi.SSID."] = []uint32{1, 2}
	m.rows["Device.WiFi.Radio."] = []uint32{1, 2}
	m.rows["Device.WiFi.SSID.1.Client."] = []uint32{1}
	for p, v := range map[string]string{
		"Device.DeviceInfo.Manufacturer": "Acme", "Device.DeviceInfo.FriendlyName": "box", "Device.DeviceInfo.UpTime": "77",
		"Device.WiFi.SSIDNumberOfEntries": "2", "Device.WiFi.Passphrase": "secret",
		"Device.WiFi.SSID.1.Alias": "cpe-1", "Device.WiFi.SSID.1.Name": "wlan0", "Device.WiFi.SSID.1.SSID": "home", "Device.WiFi.SSID.1.Enable": "true",
		"Device.WiFi.SSID.1.LowerLayers": "Device.WiFi.Radio.1,Device.WiFi.Radio.2.", "Device.WiFi.SSID.1.Stats.BytesSent": "1000",
		"Device.WiFi.SSID.2.Alias": "cpe-2", "Device.WiFi.SSID.2.Name": "wlan1", "Device.WiFi.SSID.2.SSID": "guest", "Device.WiFi.SSID.2.Enable": "false",
		"Device.WiFi.SSID.2.LowerLayers": "Device.WiFi.Radio.2", "Device.WiFi.SSID.2.Stats.BytesSent": "20",
		"Device.WiFi.SSID.1.Client.1.MAC": "00:11:22:33:44:55",
		"Device.WiFi.Radio.1.Name":        "radio0", "Device.WiFi.Radio.1.Channel": "6",
		"Device.WiFi.Radio.2.Name": "radio1", "Device.WiFi.Radio.2.Channel": "36",
	} {
		m.values[p] = v
	}
	return m
}

func (m *mapModel) Schema() *dm.Schema { return m.schema }

func (m *mapModel) Instances(table dm.Ref) []uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]uint32(nil), m.rows[table.Path()]...)
}

func (m *mapModel) Get(ctx context.Context, params []dm.Ref) []Value {
	m.mu.Lock()
	block := m.block
	m.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
		}
	}
	return m.Peek(params)
}

func (m *mapModel) Peek(params []dm.Ref) []Value {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Value, len(params))
	for i, p := range params {
		if err := m.refuse["Get "+p.Node.Name]; err != nil {
			out[i].Err = err
			continue
		}
		out[i].Text = m.values[p.Path()]
	}
	return out
}

func (m *mapModel) Set(_ context.Context, updates []Update, allowPartial bool) []UpdateResult {
	m.mu.Lock()
	defer m.mu.Unlock()
	saved := map[string]string{}
	for k, v := range m.values {
		saved[k] = v
	}
	out := make([]UpdateResult, len(updates))
	failed := false
	for i, u := range updates {
		out[i] = m.update(u.Object, u.Params)
		failed = failed || out[i].Err != nil
	}
	if failed && !allowPartial {
		m.values = saved
	}
	return out
}

func (m *mapModel) update(object dm.Ref, params []Assignment) UpdateResult {
	res := UpdateResult{Values: make([]string, len(params)), Failed: map[int]*usp.Error{}}
	for i, as := range params {
		if e := m.refuse[as.Param.Name]; e != nil {
			if as.Required {
				return UpdateResult{Err: requiredFailed(as.Param.Name, e)}
			}
			res.Failed[i] = e
			continue
		}
		res.Values[i] = as.Value
		m.values[dm.Ref{Node: as.Param, Inst: object.Inst}.Path()] = as.Value
	}
	return res
}

func (m *mapModel) Add(_ context.Context, rows []NewRow, allowPartial bool) []AddResult {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]AddResult, len(rows))
	failed := false
	for i, r := range rows {
		m.next++
		row := dm.Ref{Node: r.Table.Node, Inst: r.Table.Inst.Append(m.next)}
		m.values[row.Path()+"Alias"] = fmt.Sprintf("cpe-%d", m.next)
		m.values[row.Path()+"Name"] = fmt.Sprintf("wlan%d", m.next)
		res := m.update(row, r.Params)
		out[i] = AddResult{Row: row, Err: res.Err, Failed: res.Failed}
		if res.Err == nil {
			m.rows[r.Table.Path()] = append(m.rows[r.Table.Path()], m.next)
		}
		failed = failed || res.Err != nil
	}
	if failed && !allowPartial {
		for i := range out {
			if out[i].Err == nil {
				m.remove(out[i].Row)
			}
		}
	}
	return out
}

func (m *mapModel) remove(row dm.Ref) {
	table := dm.Ref{Node: row.Node, Inst: row.Inst.Prefix(row.Inst.Len() - 1)}.Path()
	var rest []uint32
	for _, n := range m.rows[table] {
		if n != row.Inst.Last() {
			rest = append(rest, n)
		}
	}
	m.rows[table] = rest
}

func (m *mapModel) Delete(_ context.Context, rows []dm.Ref, _ bool) []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]error, len(rows))
	for i, r := range rows {
		if e := m.refuse["Delete"]; e != nil {
			out[i] = e
			continue
		}
		m.remove(r)
	}
	return out
}

func (m *mapModel) Operate(ctx context.Context, call Call) (map[string]string, error) {
	m.mu.Lock()
	m.operated = append(m.operated, call)
	block, result, refused := m.block, m.result, m.refuse[call.Command.Node.Name]
	if m.atOperate != nil {
		m.atOperate()
	}
	if m.deaf {
		ctx = context.WithoutCancel(ctx)
	}
	m.mu.Unlock()
	m.running <- struct{}{}
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if refused != nil {
		return nil, refused
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.detach {
		m.detached[call.Request] = true
		return nil, ErrDetached
	}
	return result, nil
}

func (m *mapModel) Detached(request uint32) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.detached[request]
}

func (m *mapModel) Cancel(_ context.Context, request uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.refuse["Cancel()"]; e != nil {
		return e
	}
	m.canceled = append(m.canceled, request)
	return nil
}

func (m *mapModel) Watch(params []dm.Ref) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watched = nil
	for _, p := range params {
		m.watched = append(m.watched, p.Path())
	}
	return nil
}

func (m *mapModel) watching() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.watched...)
}
