package conformance

import (
	"crypto/tls"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

const (
	bulkData      = "Device.BulkData."
	bulkProfiles  = "Device.BulkData.Profile."
	upTime        = "Device.DeviceInfo.UpTime"
	bootEnables   = "Device.LocalAgent.Controller.*.BootParameter.*.Enable"
	reportsWanted = 2 // that the plan waits for
)

// bulkKeys let a bridge report to collectors of the test, and often.
func bulkKeys(c certificate) map[string]any {
	return map[string]any{
		"usp.bulk_data.allow": []string{"127.0.0.0/8"}, "usp.bulk_data.min_reporting_interval": "1s", "usp.bulk_data.ca": c.certFile,
	}
}

// bulkCases are the tests of section 10.
func bulkCases() []testCase {
	upTimeOnly := []string{"Name=UpTime", "Reference=" + upTime}
	is := func(want string) func(string) bool { return func(name string) bool { return name == want } }
	like := func(expr string) func(string) bool { return regexp.MustCompile("^" + expr + "$").MatchString }
	return []testCase{
		{number: "10.1", title: "JSON over HTTP", play: func(t *trial) { t.collects("http", "JSON", upTimeOnly, 1, is("UpTime")) }},
		{number: "10.2", title: "JSON over HTTPS", play: func(t *trial) { t.collects("https", "JSON", upTimeOnly, 1, is("UpTime")) }},
		{number: "10.3", title: "CSV over HTTP", play: func(t *trial) { t.collects("http", "CSV", upTimeOnly, 1, is("UpTime")) }},
		{number: "10.4", title: "CSV over HTTPS", play: func(t *trial) { t.collects("https", "CSV", upTimeOnly, 1, is("UpTime")) }},
		{number: "10.5", title: "Parameters in the URI, over HTTP", play: func(t *trial) { t.collectsWithQuery("http") }},
		{number: "10.6", title: "Parameters in the URI, over HTTPS", play: func(t *trial) { t.collectsWithQuery("https") }},
		{number: "10.7", timed: true, title: "Reports that fail are sent again", play: func(t *trial) { t.collectsAgain() }},
		{number: "10.8", title: "A wildcard, over HTTP", play: func(t *trial) {
			t.bootParameters()
			t.collects("http", "JSON", []string{"Name=Enabled", "Reference=" + bootEnables}, 2, like(`Enabled\.\d+\.\d+`))
		}},
		{number: "10.9", title: "An object, over HTTP", play: func(t *trial) {
			t.collects("http", "JSON", []string{"Name=TestController", "Reference=" + t.own(primaryID)}, 10, like(`TestController\.[A-Z].*`))
		}},
		{number: "10.10", title: "Push!", play: func(t *trial) { t.pushes(upTimeOnly, 1, is("UpTime")) }},
		{number: "10.11", title: "Push! of a wildcard", play: func(t *trial) {
			t.bootParameters()
			t.pushes([]string{"Name=Enabled", "Reference=" + bootEnables}, 2, like(`Enabled\.\d+\.\d+`))
		}},
		{number: "10.12", title: "Push! of an object", play: func(t *trial) {
			t.pushes([]string{"Name=Controller", "Reference=Device.LocalAgent.Controller."}, 10, like(`Controller\.\d+\.[A-Z].*`))
		}},
		{number: "10.13", over: mtp.MQTT, title: "Over MQTT (by the bridge's own client: its row of Device.LocalAgent.MTP. is the reference)", play: func(t *trial) { t.publishes(upTimeOnly, 1, is("UpTime")) }},
	}
}

// upload is what a collector got.
type upload struct {
	at     time.Time
	query  url.Values
	body   string
	header http.Header
}

// bulkServer is a collector.
type bulkServer struct {
	url     string
	uploads chan upload
	down    atomic.Bool
}

func (t *trial) collector(scheme string) *bulkServer {
	t.Helper()
	c := &bulkServer{uploads: make(chan upload, 100)}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if c.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		c.uploads <- upload{time.Now(), r.URL.Query(), string(b), r.Header}
	}))
	if scheme == "https" {
		pair, err := tls.LoadX509KeyPair(t.field.certificate.certFile, t.field.certificate.keyFile)
		if err != nil {
			t.Fatal(err)
		}
		s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	c.url = s.URL + "/in"
	return c
}

// next waits for an upload, and looks at what all have in common.
func (c *bulkServer) next(t *trial, seconds int) upload {
	t.Helper()
	select {
	case u := <-c.uploads:
		id := t.cpe.Identity()
		if u.query.Get("oui") != id.OUI || u.query.Get("pc") != id.ProductClass || u.query.Get("sn") != id.SerialNumber {
			t.Errorf("the query is %v", u.query)
		}
		return u
	case <-time.After(time.Duration(seconds)*time.Second + testenv.Patience):
		t.Fatal("no report came")
	}
	return upload{}
}

// interval is the ReportingInterval of profiles.
func (t *trial) interval() int { return t.seconds(60, 2) }

// bulkProfile adds a profile with a Parameter row and enables it, in the steps of
// the plan.
func (t *trial) bulkProfile(parameter []string, settings ...string) string {
	t.Helper()
	row := t.row(bulkProfiles, append([]string{fmt.Sprintf("ReportingInterval=%d", t.interval())}, settings...)...)
	t.row(row+"Parameter.", parameter...)
	return row
}

// enableBulk lets a profile report until end is called: it would go on beside the
// cases that follow.
func (t *trial) enableBulk(row string) (end func()) {
	t.Helper()
	t.Set(whole, change(bulkData, "*Enable=true"), change(row, "*Enable=true"))
	t.holds(row, "Enable=true")
	return func() { t.Delete(whole, row) }
}

// bootParameters sees to it that two boot parameters are there.
func (t *trial) bootParameters() {
	t.Helper()
	for _, p := range []string{softwareVersion, upTime} {
		t.row(t.own(primaryID)+"BootParameter.", "Enable=true", "ParameterName="+p)
	}
}

func (t *trial) collects(scheme, encoding string, parameter []string, least int, named func(string) bool) {
	t.Helper()
	c := t.collector(scheme)
	defer t.enableBulk(t.bulkProfile(parameter, "Protocol=HTTP", "EncodingType="+encoding, "HTTP.URL="+c.url))()
	for range reportsWanted {
		t.reports(encoding, c.next(t, t.interval()).body, least, named)
	}
}

func (t *trial) collectsWithQuery(scheme string) {
	t.Helper()
	c := t.collector(scheme)
	row := t.bulkProfile([]string{"Name=UpTime", "Reference=" + upTime}, "Protocol=HTTP", "EncodingType=JSON", "HTTP.URL="+c.url)
	t.row(row+"HTTP.RequestURIParameter.", "Name=UpTime", "Reference=Device.LocalAgent.UpTime")
	defer t.enableBulk(row)()
	for range reportsWanted {
		if q := c.next(t, t.interval()).query; !regexp.MustCompile(`^\d+$`).MatchString(q.Get("UpTime")) {
			t.Errorf("the query is %v", q)
		}
	}
}

// collectsAgain is 10.7: a report is sent three times more, with waits that grow,
// and no longer once it was taken.
func (t *trial) collectsAgain() {
	t.Helper()
	c := t.collector("http")
	least, interval := t.seconds(5, 1), t.seconds(60, 20)
	c.down.Store(true)
	defer t.enableBulk(t.bulkProfile([]string{"Name=UpTime", "Reference=" + upTime}, "Protocol=HTTP", "EncodingType=JSON", "HTTP.URL="+c.url,
		fmt.Sprintf("ReportingInterval=%d", interval), "TimeReference="+time.Now().Add(3*time.Second).UTC().Format(time.RFC3339),
		"HTTP.RetryEnable=true", fmt.Sprintf("HTTP.RetryMinimumWaitInterval=%d", least), "HTTP.RetryIntervalMultiplier=2000"))()
	last := c.next(t, interval)
	for retry := range 3 {
		if retry == 2 {
			c.down.Store(false)
		}
		from := time.Duration(least<<retry) * time.Second
		u := c.next(t, 2*int(from.Seconds()))
		const slack = 3 * time.Second // that the plan gives
		if wait := u.at.Sub(last.at); wait < from-time.Second || wait > 2*from+slack {
			t.Errorf("retry %d after %v, want %v to %v", retry+1, wait, from, 2*from)
		}
		if u.body != last.body {
			t.Errorf("retry %d is of another report: %s, first %s", retry+1, u.body, last.body)
		}
		last = u
	}
	if u := c.next(t, interval); u.body == last.body {
		t.Errorf("sent again after it was taken: %s", u.body)
	}
}

func (t *trial) pushes(parameter []string, least int, named func(string) bool) {
	t.Helper()
	row := t.bulkProfile(parameter, "Protocol=USPEventNotif", "EncodingType=JSON")
	t.subscribe("push", "Event", row+"Push!")
	defer t.enableBulk(row)()
	for range reportsWanted {
		e := t.longNotice("push", t.interval()).notify().GetEvent()
		if e.GetObjPath() != row || e.GetEventName() != "Push!" {
			t.Errorf("notified of %v", e)
		}
		t.reports("JSON", e.GetParams()["Data"], least, named)
	}
}

func (t *trial) publishes(parameter []string, least int, named func(string) bool) {
	t.Helper()
	topic := t.field.address("bulk", string(t.agent))
	listener := testenv.MQTTLink(t.T, t.field.broker, topic, "")
	var reference string
	path := localAgent + `MTP.[Protocol=="MQTT"].Protocol`
	a := t.Get(path)
	for row := range a.values(a.got(1)[0], path) {
		reference = strings.TrimSuffix(row, ".")
	}
	defer t.enableBulk(t.bulkProfile(parameter, "Protocol=MQTT", "EncodingType=JSON", "*MQTT.Reference="+reference, "*MQTT.PublishTopic="+topic))()
	for range reportsWanted {
		t.reports("JSON", publication(t, listener, t.interval()), least, named)
	}
}

// publication is the next message on a link.
func publication(t *trial, l client.Link, seconds int) string {
	t.Helper()
	got := make(chan string, 1)
	go func() {
		b, err := l.Receive()
		if err != nil {
			b = []byte(err.Error())
		}
		got <- string(b)
	}()
	select {
	case s := <-got:
		return s
	case <-time.After(time.Duration(seconds)*time.Second + testenv.Patience):
		t.Fatal("nothing was published")
	}
	return ""
}

// reports expects a well-formed report of at least so many parameters, all named
// as told.
func (t *trial) reports(encoding, body string, least int, named func(string) bool) {
	t.Helper()
	var names []string
	if encoding == "CSV" {
		rows, err := csv.NewReader(strings.NewReader(body)).ReadAll()
		if err != nil || len(rows) != 2 || rows[0][0] != "ReportTimestamp" {
			t.Fatalf("no CSV of one report: %q, %v", body, err)
		}
		names = rows[0][1:]
	} else {
		var doc struct{ Report []map[string]any }
		if err := json.Unmarshal([]byte(body), &doc); err != nil || len(doc.Report) != 1 {
			t.Fatalf("no JSON of one report: %q, %v", body, err)
		}
		delete(doc.Report[0], "CollectionTime")
		names = leaves("", doc.Report[0])
	}
	if len(names) < least || slices.ContainsFunc(names, func(n string) bool { return !named(n) }) {
		t.Errorf("the report is of %q", names)
	}
}

// leaves returns the names of the values in a hierarchy of objects.
func leaves(prefix string, object map[string]any) []string {
	var names []string
	for name, v := range object {
		if below, ok := v.(map[string]any); ok {
			names = append(names, leaves(prefix+name+".", below)...)
		} else {
			names = append(names, prefix+name)
		}
	}
	return names
}
