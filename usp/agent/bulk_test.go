package agent

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/store/seal"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/agent/bulk"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// bulkCollector is a collector that keeps what it gets.
type bulkCollector struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	hold   chan struct{} // answers wait for it, if set
	came   chan struct{} // gets one for each report
	bodies []string
	uris   []string
}

func newBulkCollector(t testing.TB) *bulkCollector {
	c := &bulkCollector{status: 200, came: make(chan struct{}, 1000)}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		c.bodies, c.uris = append(c.bodies, string(b)), append(c.uris, r.URL.RequestURI())
		status, hold := c.status, c.hold
		c.mu.Unlock()
		c.came <- struct{}{}
		if hold != nil {
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(c.Close)
	return c
}

// wait waits for a report that has not been waited for.
func (c *bulkCollector) wait(t testing.TB) {
	t.Helper()
	select {
	case <-c.came:
	case <-time.After(patience):
		t.Fatal("no report came")
	}
}

func (c *bulkCollector) answer(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

// take returns what has come since the last time.
func (c *bulkCollector) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.bodies
	c.bodies = nil
	return got
}

func (c *bulkCollector) uri() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.uris[len(c.uris)-1]
}

// bulkBench is a bench that may report to loopback.
func bulkBench(t testing.TB, change ...func(*Config)) *bench {
	t.Helper()
	policy, err := bulk.NewPolicy([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	return newBench(t, append([]func(*Config){func(c *Config) { c.Bulk.Policy = policy }}, change...)...)
}

// profile adds an enabled profile that reports UpTime every five minutes from
// 03:00:00 on, and returns its path.
func (b *bench) profile(by usp.EndpointID, more ...kv) string {
	b.t.Helper()
	kvs := append([]kv{
		{param: "Enable", value: "true"}, {param: "ReportingInterval", value: "300"}, {param: "TimeReference", value: "2026-01-02T03:00:00Z"},
		{param: "JSONEncoding.ReportFormat", value: "NameValuePair"},
	}, more...)
	row := b.added(by, create("Device.BulkData.Profile.", kvs...))
	b.parameter(by, row, "UpTime", "Device.DeviceInfo.UpTime")
	return row
}

func (b *bench) parameter(by usp.EndpointID, profile, name, reference string, more ...kv) {
	b.t.Helper()
	b.added(by, create(profile+"Parameter.", append([]kv{{param: "Name", value: name}, {param: "Reference", value: reference, required: true}}, more...)...))
}

// at moves the clock to a time of the bench's day and runs what is due.
func (b *bench) at(clock string) {
	b.t.Helper()
	t, err := time.Parse("15:04:05", clock)
	if err != nil {
		b.t.Fatal(err)
	}
	now := b.clock.Now()
	b.clock.Advance(time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC).Sub(now))
	b.due()
	b.settle()
}

// records returns how many records of a kind are in the store.
func (b *bench) records(kind store.Kind) int {
	b.t.Helper()
	n := 0
	if err := b.store.Scan(b.t.Context(), store.Query{Kind: kind}, func(store.Key, []byte) bool { n++; return true }); err != nil {
		b.t.Fatal(err)
	}
	return n
}

func to(c *bulkCollector) kv { return kv{param: "HTTP.URL", value: c.URL + "/in"} }

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, got); len(want)+len(got) > 0 && d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// A profile reports in step with TimeReference, and goes on after a restart.
func TestBulkSchedule(t *testing.T) {
	b, c := bulkBench(t), newBulkCollector(t)
	row := b.profile(primary, to(c))
	b.at("03:04:59")
	expect(t, "before its time", c.take())
	b.at("03:05:00")
	expect(t, "at its time", c.take(), `{"Report":[{"CollectionTime":1767323100,"UpTime":77}]}`)
	if got := c.uri(); got != "/in?oui=00259E&pc=HG8245&sn=0123456789" {
		t.Errorf("reported to %s", got)
	}
	b.restart()
	b.at("03:09:59")
	expect(t, "before its next time", c.take())
	b.at("03:10:01")
	expect(t, "at its next time", c.take(), `{"Report":[{"CollectionTime":1767323401,"UpTime":77}]}`)
	b.at("03:15:00")
	expect(t, "in step again", c.take(), `{"Report":[{"CollectionTime":1767323700,"UpTime":77}]}`)
	b.ask(primary, setReq(false, update(row, kv{param: "Enable", value: "false"})))
	b.at("03:30:00")
	expect(t, "disabled", c.take())
	b.ask(primary, setReq(false, update(row, kv{param: "Enable", value: "true"})))
	b.ask(primary, deleteReq(false, row))
	b.at("03:59:00")
	expect(t, "deleted", c.take())
	if n := b.records(store.Due); n != 0 {
		t.Errorf("%d entries are due yet", n)
	}
}

// Without TimeReference each profile of each agent has a moment of its own, and
// two reports come within two intervals (TP-469 10.1).
func TestBulkPhase(t *testing.T) {
	p := &profile{instance: 101, interval: time.Minute}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	moments := map[time.Duration]bool{}
	for _, id := range []usp.EndpointID{"os::1", "os::2", "os::3", "os::4"} {
		first := p.next(now, id)
		if wait := first.Sub(now); wait <= 0 || wait > time.Minute || !p.next(first, id).Equal(first.Add(time.Minute)) {
			t.Errorf("%s: first after %v, then after %v", id, wait, p.next(first, id).Sub(first))
		}
		moments[first.Sub(now)] = true
	}
	if len(moments) < 3 {
		t.Errorf("four agents report at %d moments", len(moments))
	}
	p.phase = time.Date(2030, 1, 1, 0, 0, 42, 0, time.UTC)
	if got := p.next(now, "os::1"); !got.Equal(now.Add(37 * time.Second)) {
		t.Errorf("in step with a time to come: %v", got)
	}
}

// A bridge that was down makes up for what it missed once, and not at once.
func TestBulkAfterDowntime(t *testing.T) {
	b, c := bulkBench(t), newBulkCollector(t)
	b.profile(primary, to(c), kv{param: "ReportingInterval", value: "36000"}) // until 13:00
	b.clock.Advance(20 * time.Hour)
	b.restart()
	b.due()
	b.settle()
	expect(t, "at once", c.take())
	for range 2 * catchUp / (30 * time.Second) {
		b.clock.Advance(30 * time.Second)
		b.due()
	}
	b.settle()
	if got := c.take(); len(got) != 1 {
		t.Errorf("made up for by %d reports", len(got))
	}
}

// R-BULK.2, R-BULK.3: a report that fails is sent again, with growing waits,
// until it is delivered.
func TestBulkRetry(t *testing.T) {
	b, c := bulkBench(t), newBulkCollector(t)
	b.profile(primary, to(c), kv{param: "HTTP.RetryEnable", value: "true"})
	c.answer(500)
	b.at("03:05:00")
	const report = `{"Report":[{"CollectionTime":1767323100,"UpTime":77}]}`
	expect(t, "first attempt", c.take(), report)
	b.model.values["Device.DeviceInfo.UpTime"] = "78"
	for i, wait := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second} {
		b.clock.Advance(wait - time.Second)
		b.due()
		b.settle()
		expect(t, "too early", c.take())
		if i == 1 {
			b.restart()
		}
		b.clock.Advance(wait + time.Second)
		if i == 2 {
			c.answer(202)
		}
		b.due()
		b.settle()
		expect(t, "retry", c.take(), report)
	}
	b.clock.Advance(2 * time.Minute)
	b.due()
	b.settle()
	expect(t, "after it was delivered", c.take())
	if n := b.records(store.Report); n != 0 {
		t.Errorf("%d reports are kept", n)
	}
	b.at("03:10:00")
	expect(t, "the next one", c.take(), `{"Report":[{"CollectionTime":1767323400,"UpTime":78}]}`)
}

// The wait ranges of the table under R-BULK.2.
func TestBulkRetryWaits(t *testing.T) {
	for retry, least := range []time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 2560, 2560} {
		least *= time.Second
		for range 50 {
			if w := backoff(5*time.Second, 2, retry); w < least || w > 2*least {
				t.Fatalf("retry %d after %v, want %v to %v", retry+1, w, least, 2*least)
			}
		}
	}
	if w := backoff(65535*time.Second, 65.535, 20); w != longestWait {
		t.Errorf("the longest wait is %v", w)
	}
}

// NumberOfRetainedFailedReports: how many failed ones go with the next report.
func TestBulkRetained(t *testing.T) {
	for _, f := range []struct{ retained, want string }{
		{"0", `{"Report":[{"CollectionTime":1767324000,"UpTime":77}]}`},
		{"1", `{"Report":[{"CollectionTime":1767323700,"UpTime":77},{"CollectionTime":1767324000,"UpTime":77}]}`},
		{"-1", `{"Report":[{"CollectionTime":1767323100,"UpTime":77},{"CollectionTime":1767323400,"UpTime":77},{"CollectionTime":1767323700,"UpTime":77},{"CollectionTime":1767324000,"UpTime":77}]}`},
	} {
		b, c := bulkBench(t), newBulkCollector(t)
		b.profile(primary, to(c), kv{param: "NumberOfRetainedFailedReports", value: f.retained})
		c.answer(503)
		for _, at := range []string{"03:05:00", "03:10:00", "03:15:00"} {
			b.at(at)
		}
		b.restart()
		c.answer(200)
		c.take()
		b.at("03:20:00")
		expect(t, "retained "+f.retained, c.take(), f.want)
		if n := b.records(store.Report); n != 0 {
			t.Errorf("retained %s: %d reports are kept after delivery", f.retained, n)
		}
	}
}

// Failed reports go with what they belong to.
func TestBulkReportsDropped(t *testing.T) {
	for what, drop := range map[string]func(b *bench, row string){
		"EncodingType": func(b *bench, row string) {
			b.ask(primary, setReq(false, update(row, kv{param: "EncodingType", value: "CSV"})))
		},
		"Protocol": func(b *bench, row string) {
			b.ask(primary, setReq(false, update(row, kv{param: "Protocol", value: "MQTT"})))
		},
		"Delete": func(b *bench, row string) { b.ask(primary, deleteReq(false, row)) },
		"reboot": func(b *bench, _ string) {
			ref := dm.Ref{Node: b.model.schema.Lookup(bootEvent)}
			if err := b.host.Deliver(b.t.Context(), testAgent, []Event{{Kind: Occurred, Ref: ref}}); err != nil {
				b.t.Fatal(err)
			}
			b.settle()
		},
		"Forget": func(b *bench, _ string) {
			if err := b.host.Forget(b.t.Context(), testAgent); err != nil {
				b.t.Fatal(err)
			}
		},
	} {
		b, c := bulkBench(t), newBulkCollector(t)
		row := b.profile(primary, to(c), kv{param: "NumberOfRetainedFailedReports", value: "-1"})
		c.answer(503)
		b.at("03:05:00")
		b.at("03:10:00")
		if n := b.records(store.Report); n != 2 {
			t.Fatalf("%s: %d reports are kept before", what, n)
		}
		drop(b, row)
		if n := b.records(store.Report); n != 0 {
			t.Errorf("%s: %d reports are kept", what, n)
		}
	}
	b, c := bulkBench(t), newBulkCollector(t)
	b.profile(primary, to(c), kv{param: "NumberOfRetainedFailedReports", value: "-1"}, kv{param: "HTTP.PersistAcrossReboot", value: "true"})
	c.answer(503)
	b.at("03:05:00")
	if err := b.host.Deliver(t.Context(), testAgent, []Event{{Kind: Occurred, Ref: dm.Ref{Node: b.model.schema.Lookup(bootEvent)}}}); err != nil {
		t.Fatal(err)
	}
	b.settle()
	if n := b.records(store.Report); n != 1 {
		t.Errorf("%d reports have persisted across a reboot", n)
	}
}

// What is too large together is sent without the oldest; what is too large by
// itself is not kept.
func TestBulkReportSize(t *testing.T) {
	b, c := bulkBench(t, func(c *Config) { c.Bulk.Report = 120 }), newBulkCollector(t)
	row := b.profile(primary, to(c), kv{param: "NumberOfRetainedFailedReports", value: "-1"})
	c.answer(503)
	for _, at := range []string{"03:05:00", "03:10:00", "03:15:00"} {
		b.at(at)
	}
	got := c.take()
	if last := got[len(got)-1]; !strings.Contains(last, "1767323700") || strings.Contains(last, "1767323100") || len(last) > 120 {
		t.Errorf("sent %s", last)
	}
	b.parameter(primary, row, "", "Device.")
	b.at("03:20:00")
	expect(t, "a report that is too large", c.take())
}

// What a lease is for: a process that ended while it made a report leaves the
// report to the next one.
func TestBulkLostWithItsProcess(t *testing.T) {
	b, c := bulkBench(t), newBulkCollector(t)
	c.hold = make(chan struct{})
	b.profile(primary, to(c), kv{param: "ReportingInterval", value: "3600"})
	for range 56 {
		b.clock.Advance(time.Minute)
		b.due()
	}
	c.wait(t)
	b.restart()
	close(c.hold)
	c.take()
	b.clock.Advance(reportLease - time.Minute)
	b.due()
	b.settle()
	expect(t, "while it could be on its way", c.take())
	b.clock.Advance(time.Minute + time.Second)
	b.due()
	b.settle()
	if got := c.take(); len(got) != 1 {
		t.Errorf("sent again %d times", len(got))
	}
}

// A collector that does not answer delays nobody: what is due for others goes on.
func TestBulkDeadCollector(t *testing.T) {
	b, c, dead := bulkBench(t), newBulkCollector(t), newBulkCollector(t)
	dead.hold = make(chan struct{})
	b.profile(primary, to(dead))
	row := b.profile(primary, to(c))
	b.subscribe(primary, "p", "Event", periodicEvent)
	b.ask(primary, setReq(false, update("Device.LocalAgent.Controller.1.", kv{param: "PeriodicNotifInterval", value: "60"})))
	b.clock.Advance(time.Minute)
	b.due()
	b.notify(primary)
	c.wait(t)
	if res := operateResults(t, b.ask(primary, operateReq(strings.Replace(row, "102", "101", 1)+"ForceCollection()", "", true, nil))); res[0].GetCmdFailure().GetErrCode() != 7005 {
		t.Errorf("forced while one is on its way: %v", res)
	}
	close(dead.hold)
}

func TestBulkForceCollection(t *testing.T) {
	b, c := bulkBench(t), newBulkCollector(t)
	row := b.profile(primary, to(c), kv{param: "EncodingType", value: "CSV"}, kv{param: "CSVEncoding.ReportFormat", value: "ParameterPerRow"}, kv{param: "CSVEncoding.RowSeparator", value: "&#10;"})
	force := operateReq(row+"ForceCollection()", "", true, nil)
	if res := operateResults(t, b.ask(primary, force)); res[0].GetCmdFailure() != nil {
		t.Fatal(res)
	}
	b.settle()
	expect(t, "forced", c.take(), "ReportTimestamp,ParameterName,ParameterValue,ParameterType\n1767323045,UpTime,77,unsignedInt\n")
	b.at("03:05:00")
	if got := c.take(); len(got) != 1 {
		t.Errorf("%d reports at the regular time", len(got))
	}
	b.ask(primary, setReq(false, update("Device.BulkData.", kv{param: "Enable", value: "false"})))
	if res := operateResults(t, b.ask(primary, force)); res[0].GetCmdFailure().GetErrCode() != 7022 {
		t.Errorf("with bulk data disabled: %v", res)
	}
	if v := b.value("Device.BulkData.Status"); v != "Disabled" {
		t.Errorf("Status is %s", v)
	}
}

// R-BULK.9, R-BULK.10, R-BULK.10a: names of wildcards and objects; exclusion.
func TestBulkReferences(t *testing.T) {
	for _, f := range []struct {
		rows [][3]string // Name, Reference, "x" for Exclude
		want string      // items of the report
	}{
		{[][3]string{{"", "Device.WiFi.SSID.*.Stats.BytesSent"}}, `"Device.WiFi.SSID.1.Stats.BytesSent":1000,"Device.WiFi.SSID.2.Stats.BytesSent":20`},
		{[][3]string{{"Sent", "Device.WiFi.SSID.*.Stats.BytesSent"}}, `"Sent.1":1000,"Sent.2":20`},
		{[][3]string{{"MAC", "Device.WiFi.SSID.*.Client.*.MAC"}}, `"MAC.1.1":"00:11:22:33:44:55"`},
		{[][3]string{{"MAC", "Device.WiFi.SSID.1.Client.*.MAC"}}, `"MAC.1":"00:11:22:33:44:55"`},
		{[][3]string{{"S", "Device.WiFi.SSID.2.Stats."}}, `"S.BytesSent":20`},
		{[][3]string{{"S", "Device.WiFi.SSID.*.Stats."}}, `"S.1.BytesSent":1000,"S.2.BytesSent":20`},
		{[][3]string{{"R", "Device.WiFi.Radio."}}, `"R.1.Channel":6,"R.1.Name":"radio0","R.2.Channel":36,"R.2.Name":"radio1"`},
		{[][3]string{{"G", `Device.WiFi.SSID.[SSID=="guest"].Enable`}}, `"G.2":false`},
		{[][3]string{{"R", "Device.WiFi.Radio."}, {"", "Device.WiFi.Radio.1.", "x"}}, `"R.2.Channel":36,"R.2.Name":"radio1"`},
		{[][3]string{{"R", "Device.WiFi.Radio."}, {"", "Device.WiFi.Radio.*.Name", "x"}}, `"R.1.Channel":6,"R.2.Channel":36`},
		{[][3]string{{"R", "Device.WiFi.Radio."}, {"", "Device.WiFi.", "x"}}, ``},
		{[][3]string{{"A", "Device.WiFi.Radio.1.Name"}, {"A", "Device.WiFi.Radio.2.Name"}}, `"A":"radio0","Device.WiFi.Radio.2.Name":"radio1"`},
		{[][3]string{{"A", "Device.WiFi.Radio.1.Name"}, {"A", "Device.WiFi.Radio.1.Name"}, {"B", "Device.WiFi.Radio.1.Name"}}, `"A":"radio0","B":"radio0"`},
		{[][3]string{{"A", "Device.WiFi.Radio.9.Name"}, {"B", "Device.Unheard.Of"}, {"C", ""}}, ``},
		{[][3]string{{"P", "Device.WiFi.Passphrase"}}, `"P":""`}, // secured
	} {
		b, c := bulkBench(t), newBulkCollector(t)
		row := b.added(primary, create("Device.BulkData.Profile.", kv{param: "Enable", value: "true"}, to(c),
			kv{param: "JSONEncoding.ReportFormat", value: "NameValuePair"}, kv{param: "JSONEncoding.ReportTimestamp", value: "None"}))
		for _, r := range f.rows {
			b.parameter(primary, row, r[0], r[1], kv{param: "Exclude", value: map[string]string{"": "false", "x": "true"}[r[2]]})
		}
		b.ask(primary, operateReq(row+"ForceCollection()", "", true, nil))
		b.settle()
		expect(t, strings.Join(f.rows[0][:2], "="), c.take(), `{"Report":[{`+f.want+`}]}`)
	}
}

// A report has what the controller that owns the profile may read.
func TestBulkRights(t *testing.T) {
	b, c := bulkBench(t), newBulkCollector(t)
	role := b.added(primary, create("Device.LocalAgent.ControllerTrust.Role.", kv{param: "Name", value: "bulk"}, kv{param: "Enable", value: "true"}))
	for _, p := range []string{"Device.BulkData.", "Device.DeviceInfo."} {
		b.added(primary, create(role+"Permission.", kv{param: "Enable", value: "true"}, kv{param: "Targets", value: p},
			kv{param: "Param", value: "rw--"}, kv{param: "Obj", value: "rw--"}, kv{param: "InstantiatedObj", value: "rw--"}, kv{param: "CommandEvent", value: "r-x-"}))
	}
	b.ask(primary, setReq(false, update("Device.LocalAgent.Controller.2.", kv{param: "AssignedRole", value: strings.TrimSuffix(role, "."), required: true})))
	row := b.profile(secondary, to(c))
	b.parameter(secondary, row, "", "Device.WiFi.")
	b.added(secondary, create(row+"HTTP.RequestURIParameter.", kv{param: "Name", value: "maker"}, kv{param: "Reference", value: "Device.DeviceInfo.Manufacturer"}))
	b.added(secondary, create(row+"HTTP.RequestURIParameter.", kv{param: "Name", value: "radio"}, kv{param: "Reference", value: "Device.WiFi.Radio.1.Name"}))
	b.at("03:05:00")
	expect(t, "of a controller that may read DeviceInfo", c.take(), `{"Report":[{"CollectionTime":1767323100,"UpTime":77}]}`)
	if got := c.uri(); got != "/in?oui=00259E&pc=HG8245&sn=0123456789&maker=Acme" {
		t.Errorf("reported to %s", got)
	}
	if v := b.value(row + "Controller"); v != "Device.LocalAgent.Controller.2" {
		t.Errorf("Controller is %s", v)
	}
	b.ask(primary, setReq(false, update("Device.LocalAgent.Controller.2.", kv{param: "Enable", value: "false"})))
	b.at("03:10:00")
	expect(t, "of a controller that is disabled", c.take())
	b.ask(primary, deleteReq(false, "Device.LocalAgent.Controller.2."))
	if v := b.value(row + "Enable"); v != "!7026" {
		t.Errorf("the profile of a deleted controller: %s", v)
	}
}

// The command line can have a profile too; it has full access.
func TestBulkOfTheCommandLine(t *testing.T) {
	b, c := bulkBench(t), newBulkCollector(t)
	body := b.askBuiltin(addReq(false, create("Device.BulkData.Profile.", to(c), kv{param: "Enable", value: "true"}, kv{param: "ReportingInterval", value: "60"})))
	row := body.GetResponse().GetAddResp().GetCreatedObjResults()[0].GetOperStatus().GetOperSuccess().GetInstantiatedPath()
	b.parameter(primary, row, "U", "Device.DeviceInfo.UpTime")
	b.clock.Advance(time.Minute)
	b.due()
	b.settle()
	if got := c.take(); len(got) != 1 {
		t.Errorf("%d reports", len(got))
	}
	if v := b.value(row + "Controller"); v != "" {
		t.Errorf("Controller is %q", v)
	}
}

func (b *bench) askBuiltin(req *usppb.Request) *usppb.Body {
	b.t.Helper()
	id := b.deliverRequest(BuiltinController, req)
	return b.next("the answer", func(s sentRecord) bool { return s.msg.GetHeader().GetMsgId() == id }).msg.GetBody()
}

// TP-469 10.10 to 10.12: the report is the Data of Push!.
func TestBulkPush(t *testing.T) {
	b := bulkBench(t)
	row := b.profile(primary, kv{param: "Protocol", value: "USPEventNotif"}, kv{param: "JSONEncoding.ReportFormat", value: "ObjectHierarchy"})
	b.at("03:05:00")
	b.silence()
	b.subscribe(primary, "push", "Event", row+"Push!", kv{param: "NotifRetry", value: "true"})
	b.at("03:10:00")
	n, _ := b.notify(primary)
	if e := n.GetEvent(); e.GetObjPath() != row || e.GetEventName() != "Push!" || !n.GetSendResp() {
		t.Errorf("got %v", n)
	}
	expect(t, "Data", []string{n.GetEvent().GetParams()["Data"]}, `{"Report":[{"CollectionTime":1767323400,"UpTime":77}]}`)
}

// publisher is a transport that also publishes.
type publisher struct {
	*fakeTransport
	published chan mtp.Publication
}

func (p publisher) Publish(_ context.Context, pub mtp.Publication) error {
	if p.down {
		return mtp.ErrUnreachable
	}
	p.published <- pub
	return nil
}

// TP-469 10.13: over the bridge's own MQTT client.
func TestBulkMQTT(t *testing.T) {
	net := publisher{newFakeTransport(mtp.MQTT), make(chan mtp.Publication, 10)}
	b := bulkBench(t, func(c *Config) { c.Transports = []mtp.Transport{net} })
	b.net = net.fakeTransport
	b.profile(primary, kv{param: "Protocol", value: "MQTT"}, kv{param: "MQTT.Reference", value: "Device.LocalAgent.MTP.1"},
		kv{param: "MQTT.PublishTopic", value: "mqtt-bulkdata"}, kv{param: "MQTT.PublishQoS", value: "1"}, kv{param: "MQTT.PublishRetain", value: "true"},
		kv{param: "NumberOfRetainedFailedReports", value: "1"})
	net.setDown(true)
	b.at("03:05:00")
	net.setDown(false)
	b.at("03:10:00")
	want := mtp.Publication{From: testAgent, Topic: "mqtt-bulkdata", ContentType: "application/json; charset=UTF-8", QoS: 1, Retain: true,
		Payload: []byte(`{"Report":[{"CollectionTime":1767323100,"UpTime":77},{"CollectionTime":1767323400,"UpTime":77}]}`)}
	if d := cmp.Diff(want, <-net.published); d != "" {
		t.Error(d)
	}
}

// What one collector cannot take at the moment is put off, and lost by nobody.
func TestBulkBusyCollector(t *testing.T) {
	b, c := bulkBench(t, func(c *Config) { c.Bulk.Uploads = 2 }), newBulkCollector(t) // of which one to a collector
	c.hold = make(chan struct{})
	b.profile(primary, to(c))
	b.profile(primary, to(c))
	b.clock.Advance(time.Minute)
	b.due()
	c.wait(t)
	for end := time.Now().Add(patience); b.records(store.Report) == 0; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("the second report is not put off")
		}
	}
	close(c.hold)
	b.settle()
	b.clock.Advance(2 * postpone)
	b.due()
	b.settle()
	if got := c.take(); len(got) != 2 || b.records(store.Report) != 0 {
		t.Errorf("%d reports came, %d are kept", len(got), b.records(store.Report))
	}
}

// The password of a collector is not readable in the store, and outlives a restart.
func TestBulkPasswordInTheStore(t *testing.T) {
	b, c := bulkBench(t, func(c *Config) { c.Sealer = seal.Random() }), newBulkCollector(t)
	row := b.profile(primary, to(c), kv{param: "HTTP.Password", value: "open sesame"})
	stored := ""
	if err := b.store.Scan(t.Context(), store.Query{Kind: store.AgentState}, func(_ store.Key, v []byte) bool { stored += string(v); return true }); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(stored, "HTTP.Password") || strings.Contains(stored, "sesame") {
		t.Errorf("stored: %s", stored)
	}
	password := func() string {
		a, err := b.host.agents.acquire(t.Context(), testAgent)
		if err != nil {
			t.Fatal(err)
		}
		defer b.host.agents.release(a)
		return a.state.Load().index(b.host.spec).profiles[101].upload.Password
	}
	b.restart()
	if got := password(); got != "open sesame" {
		t.Errorf("after a restart it is %q", got)
	}
	b.cfg.Sealer = seal.Random()
	b.restart()
	if got := password(); got != "" || b.value(row+"Enable") != "true" {
		t.Errorf("with another key it is %q", got)
	}
}

// What a profile cannot be set to.
func TestBulkValues(t *testing.T) {
	b := newBench(t)
	row := b.profile(primary)
	query := b.added(primary, create(row+"HTTP.RequestURIParameter."))
	param := row + "Parameter.101."
	for _, f := range []struct {
		object, param, value string
		code                 uint32
	}{
		{row, "ReportingInterval", "59", 7012}, {row, "ReportingInterval", "0", 7012}, {row, "Protocol", "IPDR", 7012}, {row, "EncodingType", "XML", 7012},
		{row, "HTTP.URL", "http://127.0.0.1:7549/", 7002}, {row, "HTTP.URL", "file:///etc/passwd", 7012}, {row, "HTTP.URL", "http://u:p@h/", 7012},
		{row, "HTTP.Method", "GET", 7012}, {row, "HTTP.Compression", "Compress", 7012}, {row, "NumberOfRetainedFailedReports", "-2", 7012},
		{row, "CSVEncoding.FieldSeparator", "&#0;", 7012}, {row, "MQTT.PublishQoS", "3", 7012},
		{row, "MQTT.Reference", "Device.LocalAgent.MTP.2", 7012}, {row, "MQTT.Reference", "Device.MQTT.Client.9", 7012},
		{param, "Reference", "Device.WiFi.SSID.1.LowerLayers+.Name", 7012}, {param, "Reference", "Device.Reboot()", 7012}, {param, "Reference", "..", 7012},
		{query, "Reference", "Device.WiFi.SSID.*.Name", 7012}, {query, "Reference", "Device.WiFi.", 7012}, {query, "Reference", "[", 7012},
		{row, "Controller", "Device.LocalAgent.Controller.2", 7013}, {"Device.BulkData.", "Protocols", "HTTP", 7013},
	} {
		body := b.ask(primary, setReq(false, update(f.object, kv{param: f.param, value: f.value, required: true})))
		var codes []uint32
		for _, p := range body.GetError().GetParamErrs() {
			codes = append(codes, p.GetErrCode())
		}
		if len(codes) != 1 || codes[0] != f.code {
			t.Errorf("%s = %s: %v", f.param, f.value, body)
		}
	}
	if v := b.value(row + "HTTP.Password"); v != "" {
		t.Errorf("the password is shown: %q", v)
	}
}

// What the agent has below Device.BulkData. hides what the device has there.
func TestBulkOfTheDevice(t *testing.T) {
	b := newBench(t)
	s, err := dm.Build(&dm.Node{Kind: dm.Object, Children: []*dm.Node{{Name: "Device", Kind: dm.Object, Children: []*dm.Node{
		{Name: "BulkData", Kind: dm.Object, Children: []*dm.Node{{Name: "X_ACME_Own", Kind: dm.Param, Type: dm.TypeString}}},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	b.model.schema = s
	if v := b.value("Device.BulkData.X_ACME_Own"); v != "!7026" {
		t.Errorf("the device's own is there: %s", v)
	}
	if v := b.value("Device.BulkData.Protocols"); v != "HTTP,MQTT,USPEventNotif" {
		t.Errorf("Protocols is %s", v)
	}
}
