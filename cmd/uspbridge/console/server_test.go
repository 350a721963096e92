package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fleet is a Fleet of fixed devices that notes what is done to them.
type fleet struct {
	devices []DeviceDetail
	done    []string
	refresh error
}

// odd is an endpoint id with what URLs and pages must escape.
const odd = "ops::00259E-HG8%2F1-<b>&"

// nativeAgent is an agent whose records are relayed.
const nativeAgent = "os::00259E-NATIVE"

func newFleet() *fleet {
	device := func(endpoint, software string) DeviceDetail {
		return DeviceDetail{
			DeviceSummary: DeviceSummary{Endpoint: endpoint, Kind: "bridged", Transport: "CWMP", LastHeard: noon.Add(-3 * time.Minute), Manufacturer: "Huawei", OUI: "00259E", SerialNumber: "S1",
				SoftwareVersion: software, RootDataModel: "TR-098", Stage: "bridged", Discovered: true, LastInform: noon.Add(-3 * time.Minute)},
			ConnectionRequestURL: "http://192.0.2.1:7547/", Reachability: "timed out", Parameters: 812, Mappings: "tr098-wifi",
		}
	}
	native := DeviceDetail{
		DeviceSummary: DeviceSummary{Endpoint: nativeAgent, Kind: "native", Stage: "native", Transport: "MQTT", LastHeard: noon.Add(-5 * time.Minute)},
		Reachability:  "over MQTT at usp/agent/x", WaitingRecords: 7, WaitingBytes: 77,
	}
	return &fleet{devices: []DeviceDetail{device(odd, "<script>"), device("os::00259E-1", "V1"), native}}
}

func (f *fleet) find(endpoint string) (DeviceDetail, error) {
	for _, d := range f.devices {
		if d.Endpoint == endpoint {
			return d, nil
		}
	}
	return DeviceDetail{}, fmt.Errorf("%s: %w", endpoint, ErrUnknownDevice)
}

func (f *fleet) List(_ context.Context, q ListQuery) (list []DeviceSummary, next string, err error) {
	for _, d := range f.devices {
		if d.Endpoint <= q.After || !strings.Contains(d.Endpoint+d.SoftwareVersion, q.Filter) {
			continue
		}
		if len(list) == q.Limit {
			return list, list[len(list)-1].Endpoint, nil
		}
		list = append(list, d.DeviceSummary)
	}
	return list, "", nil
}

func (f *fleet) Show(_ context.Context, endpoint string) (DeviceDetail, error) {
	return f.find(endpoint)
}

func (f *fleet) Refresh(_ context.Context, endpoint string) error {
	if _, err := f.find(endpoint); err != nil {
		return err
	}
	f.done = append(f.done, "refresh "+endpoint)
	return f.refresh
}

func (f *fleet) Forget(_ context.Context, endpoint string) error {
	if _, err := f.find(endpoint); err != nil {
		return err
	}
	f.done = append(f.done, "forget "+endpoint)
	return nil
}

func (f *fleet) Explain(_ context.Context, endpoint, path string) (Explanation, error) {
	if strings.HasPrefix(path, "InternetGatewayDevice.") {
		return Explanation{Path: path, Value: "house", Homes: []Home{{Path: "Device.WiFi.SSID.1.SSID", Value: "home", Writable: true, Rule: "tr098/wifi.yaml:12"}}}, nil
	}
	if !strings.HasPrefix(path, "Device.") {
		return Explanation{}, fmt.Errorf("%w: %q is not a path", ErrInvalid, path)
	}
	return Explanation{Path: path, Value: "home", Rule: "tr098/wifi.yaml:12", Conversion: "one to one",
		Sources: []Source{{Path: "InternetGatewayDevice.LANDevice.1.WLANConfiguration.1.SSID", Value: "home"}}}, nil
}

func (f *fleet) Coverage(context.Context, string) (Report, error) {
	return Report{Total: 800, Standard: 600, Vendor: 100, Raw: 100, RawGroups: []Group{{"InternetGatewayDevice.X.", 40}}}, nil
}

func (f *fleet) Audit(_ context.Context, _ string, limit int) ([]AuditEntry, error) {
	return []AuditEntry{{Time: noon, Who: "self::uspbridge-cli", What: "Set", Path: "Device.WiFi.SSID.1.", Result: "ok",
		Values: map[string]string{"SSID": "home"}}}[:min(limit, 1)], nil
}

func (f *fleet) Capture(ctx context.Context, q CaptureQuery, line func([]byte) error) error {
	switch q.Endpoint {
	case "busy":
		return fmt.Errorf("%w: captures", ErrBusy)
	case "endless":
		if err := line([]byte("{\"note\":\"begun\"}\n")); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	}
	b, err := json.Marshal(q)
	if err != nil {
		return err
	}
	for range 2 {
		if err := line(append(b, '\n')); err != nil {
			return err
		}
	}
	return nil
}

func newServer(t *testing.T, f *fleet, token string, checks ...Check) *Server {
	t.Helper()
	s, err := New(Config{Token: token, Fleet: f, Ready: func() []Check { return checks },
		Gatherer: prometheus.NewRegistry(), Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// do sends one request as a client on the given address would.
func do(s *Server, method, target string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Host, r.RemoteAddr = "localhost:7549", "127.0.0.1:4711"
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestAccess(t *testing.T) {
	const token = "0123456789abcdef"
	device := "/api/devices/" + url.PathEscape(odd)
	tests := []struct {
		name   string
		token  string
		method string
		target string
		change func(*http.Request)
		want   int
	}{
		{"loopback without token", "", "GET", "/api/devices", nil, 200},
		{"IPv6 loopback", "", "GET", "/api/devices", func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:9", "[::1]:7549" }, 200},
		{"another machine without token", "", "GET", "/api/devices", func(r *http.Request) { r.RemoteAddr = "192.0.2.7:9" }, 403},
		{"another machine: health", "", "GET", "/healthz", func(r *http.Request) { r.RemoteAddr = "192.0.2.7:9" }, 200},
		{"through a proxy on loopback", "", "GET", "/api/devices", header("X-Forwarded-For", "192.0.2.7"), 403},
		{"rebound name", "", "GET", "/api/devices", func(r *http.Request) { r.Host = "evil.example:7549" }, 403},
		{"rebound name that looks local", "", "GET", "/", func(r *http.Request) { r.Host = "localhost.evil.example" }, 403},
		{"token missing", token, "GET", "/api/devices", nil, 401},
		{"token missing: metrics", token, "GET", "/metrics", nil, 401},
		{"token missing: readiness", token, "GET", "/readyz", nil, 401},
		{"token missing: health", token, "GET", "/healthz", nil, 200},
		{"token missing in a browser", token, "GET", "/", header("Accept", "text/html"), 303},
		{"token wrong", token, "GET", "/api/devices", header("Authorization", "Bearer x"), 401},
		{"token right", token, "GET", "/api/devices", header("Authorization", "Bearer "+token), 200},
		{"token right from elsewhere by name", token, "GET", "/api/devices", func(r *http.Request) {
			r.Host, r.RemoteAddr = "bridge.example", "192.0.2.7:9"
			r.Header.Set("Authorization", "Bearer "+token)
		}, 200},
		{"forged cookie", token, "GET", "/api/devices", header("Cookie", cookieName+"=99999999999.00"), 401},
		{"command line deletes", "", "DELETE", device, nil, 204},
		{"page of another origin posts", "", "POST", device + "/refresh", header("Origin", "http://evil.example"), 403},
		{"other site posts", "", "POST", device + "/refresh", header("Sec-Fetch-Site", "cross-site"), 403},
		{"own page posts", "", "POST", device + "/refresh", header("Origin", "http://localhost:7549"), 200},
		{"wrong method", "", "PUT", device, nil, 405},
		{"no such page", "", "GET", "/nothing", nil, 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := do(newServer(t, newFleet(), tt.token), tt.method, tt.target, tt.change)
			if w.Code != tt.want {
				t.Errorf("%s %s = %d, want %d: %s", tt.method, tt.target, w.Code, tt.want, w.Body)
			}
		})
	}
}

func TestLogin(t *testing.T) {
	s := newServer(t, newFleet(), "0123456789abcdef")
	post := func(token, to string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/login", strings.NewReader(url.Values{"token": {token}, "to": {to}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w
	}
	if w := post("wrong", "/"); w.Code != 401 || len(w.Result().Cookies()) != 0 {
		t.Errorf("wrong token: %d with cookies %v, want 401 without", w.Code, w.Result().Cookies())
	}
	w := post("0123456789abcdef", "/devices/x")
	if w.Code != 303 || w.Header().Get("Location") != "/devices/x" {
		t.Fatalf("right token: %d to %q, want 303 to /devices/x", w.Code, w.Header().Get("Location"))
	}
	cookie := w.Result().Cookies()[0]
	withCookie := func(r *http.Request) { r.AddCookie(cookie) }
	if w := do(s, "GET", "/api/devices", withCookie); w.Code != 200 {
		t.Errorf("with cookie: %d, want 200", w.Code)
	}
	s.access.now = func() time.Time { return noon.Add(cookieLife + time.Second) }
	if w := do(s, "GET", "/api/devices", withCookie); w.Code != 401 {
		t.Errorf("with a cookie past its end: %d, want 401", w.Code)
	}
	for _, to := range []string{"https://evil.example/", "//evil.example/", `/\evil.example`, "javascript:x"} {
		if w := post("0123456789abcdef", to); w.Header().Get("Location") != "/" {
			t.Errorf("login with to=%q leads to %q, want /", to, w.Header().Get("Location"))
		}
	}
}

func TestBadRequests(t *testing.T) {
	s := newServer(t, newFleet(), "")
	tests := []struct{ target, want string }{
		{"/api/devices?limit=0", "limit"},
		{"/api/devices?limit=1001", "limit"},
		{"/api/devices?limit=x", "limit"},
		{"/api/devices?filter=" + strings.Repeat("x", maxText+1), "filter"},
		{"/api/devices/os::00259E-1/explain", "path"},
		{"/api/devices/os::00259E-1/explain?path=nonsense", "not a path"},
		{"/api/devices/os::00259E-1/audit?limit=-1", "limit"},
	}
	for _, tt := range tests {
		w := do(s, "GET", tt.target, nil)
		var e apiError
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != 400 || !strings.Contains(e.Error, tt.want) {
			t.Errorf("%.60s = %d %s, want 400 with %q in the error", tt.target, w.Code, w.Body, tt.want)
		}
	}
	if w := do(s, "GET", "/api/devices/os::none-1", nil); w.Code != 404 {
		t.Errorf("unknown device = %d, want 404", w.Code)
	}
}

func TestReadiness(t *testing.T) {
	tests := []struct {
		checks []Check
		want   int
	}{
		{[]Check{{Name: "store", OK: true}}, 200},
		{[]Check{{Name: "store", OK: true}, {Name: "mqtt", OK: false, Detail: "connection refused"}}, 503},
	}
	for _, tt := range tests {
		w := do(newServer(t, newFleet(), "", tt.checks...), "GET", "/readyz", nil)
		var got readiness
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if w.Code != tt.want || got.Ready != (tt.want == 200) {
			t.Errorf("%v: %d %s, want %d", tt.checks, w.Code, w.Body, tt.want)
		}
		if diff := cmp.Diff(tt.checks, got.Checks); diff != "" {
			t.Errorf("checks (-want +got):\n%s", diff)
		}
	}
}

func TestPages(t *testing.T) {
	f := newFleet()
	s := newServer(t, f, "")
	path := "/devices/" + url.PathEscape(odd)
	tests := []struct {
		target string
		status int
		want   []string
	}{
		{"/", 200, []string{"os::00259E-1", path, "3 min ago", "TR-098"}},
		{"/", 200, []string{"<td>CWMP</td>", nativeAgent, "<td>native</td>", "<td>MQTT</td>", "5 min ago"}},
		{"/devices/" + nativeAgent, 200, []string{"over MQTT at usp/agent/x", "taken at its word", "7 records, 77 bytes", "Forget " + nativeAgent}},
		{"/?limit=1", 200, []string{"Next page", "after=ops"}},
		{"/?filter=nothing", 200, []string{"No device matches"}},
		{path, 200, []string{"timed out", "812 parameters", "75.0 %", "by tr098-wifi", "self::uspbridge-cli", "SSID = home", "&lt;script&gt;"}},
		{path + "/explain?path=Device.WiFi.SSID.1.SSID", 200, []string{"WLANConfiguration.1.SSID", "tr098/wifi.yaml:12"}},
		{path + "/explain?path=InternetGatewayDevice.A", 200, []string{"<dd>InternetGatewayDevice.A</dd>", "house", "<td>Device.WiFi.SSID.1.SSID</td>", "read and write", "tr098/wifi.yaml:12"}},
		{path + "/explain?path=x", 400, []string{"is not a path"}},
		{"/devices/none", 404, []string{"no such device"}},
		{"/style.css", 200, []string{"body"}},
	}
	for _, tt := range tests {
		w := do(s, "GET", tt.target, nil)
		if w.Code != tt.status {
			t.Errorf("GET %s = %d, want %d", tt.target, w.Code, tt.status)
		}
		for _, want := range tt.want {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("GET %s: %q is not on the page:\n%s", tt.target, want, w.Body)
			}
		}
		if strings.Contains(w.Body.String(), "<script>") || strings.Contains(w.Body.String(), "<b>") {
			t.Errorf("GET %s: a device's text is on the page as markup", tt.target)
		}
	}
	if w := do(s, "POST", path+"/refresh", nil); w.Code != 303 || w.Header().Get("Location") != path+"?done=refresh" {
		t.Errorf("refresh form = %d to %q", w.Code, w.Header().Get("Location"))
	}
	if w := do(s, "POST", path+"/forget", nil); w.Code != 303 {
		t.Errorf("forget form = %d, want 303", w.Code)
	}
	if diff := cmp.Diff([]string{"refresh " + odd, "forget " + odd}, f.done); diff != "" {
		t.Errorf("done to the device (-want +got):\n%s", diff)
	}
}

// TestClient runs every call of the Client against a console on loopback.
func TestClient(t *testing.T) {
	f := newFleet()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := context.WithCancel(ctx)
	served := make(chan error, 1)
	const token = "0123456789abcdef"
	go func() { served <- newServer(t, f, token).Serve(stop, l) }()
	transport := &http.Transport{}
	c := &Client{URL: "http://" + l.Addr().String() + "/", Token: token, HTTP: &http.Client{Transport: transport}}

	first, err := c.List(ctx, ListQuery{Limit: 1})
	if err != nil || len(first.Devices) != 1 || first.Next == "" {
		t.Fatalf("List = %+v, %v; want one device and a next page", first, err)
	}
	second, err := c.List(ctx, ListQuery{Limit: 2, After: first.Next})
	if err != nil || len(second.Devices) != 2 || second.Next != "" {
		t.Errorf("second page = %+v, %v; want the other two devices and no next page", second, err)
	}
	got, err := c.Show(ctx, odd)
	want, _ := f.find(odd)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Show: %v (-want +got):\n%s", err, diff)
	}
	if _, err := c.Refresh(ctx, odd); err != nil {
		t.Errorf("Refresh: %v", err)
	}
	if err := c.Forget(ctx, odd); err != nil {
		t.Errorf("Forget: %v", err)
	}
	if e, err := c.Explain(ctx, odd, "Device.A"); err != nil || e.Value != "home" {
		t.Errorf("Explain = %+v, %v", e, err)
	}
	if r, err := c.Coverage(ctx, odd); err != nil || r.Share(r.Standard) != 75 {
		t.Errorf("Coverage = %+v, %v", r, err)
	}
	if _, err := c.Show(ctx, "os::none-1"); !errors.Is(err, ErrUnknownDevice) || !strings.Contains(err.Error(), "device list") {
		t.Errorf("Show of an unknown device: %v, want the way to the known ones", err)
	}
	wrong := &Client{URL: c.URL, HTTP: c.HTTP}
	if _, err := wrong.Show(ctx, odd); err == nil || !strings.Contains(err.Error(), "--token") {
		t.Errorf("without token: %v, want an error that names --token", err)
	}
	transport.CloseIdleConnections()
	stopped()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := c.Show(ctx, odd); err == nil || !strings.Contains(err.Error(), "uspbridge serve") {
		t.Errorf("no bridge: %v, want an error that says how to start one", err)
	}
}
