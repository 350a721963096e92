package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// load reads a configuration as serve does, without touching the real
// environment.
func load(yaml string, environ []string, args ...string) (*Config, []string, error) {
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	if err := configFlags(flags); err != nil {
		return nil, nil, err
	}
	if err := flags.Parse(args); err != nil {
		return nil, nil, err
	}
	return loadConfig(configSource{File: "bridge.yaml", Content: []byte(yaml), Environ: environ, Flags: flags})
}

// TestConfigOfDesign reads a file with every key there is.
func TestConfigOfDesign(t *testing.T) {
	const everything = `
data_dir: /tmp/data
log: {level: debug, format: json}
cwmp:
  listen: "127.0.0.1:8547"
  tls: {cert: "", key: "", min_version: 1.0, ciphers: legacy, client_ca: "", client_auth: request, client_crl: ""}
  auth:
    {mode: digest, users: "", realm: acs, algorithms: "SHA-256, md5", qop: none, nonce_life: 1m,
     throttle: {per_address: 7, per_user: 0}, certificate: {policy: ignored, rules: []}}
  inform_interval: 1h30m
  connection_request: {timeout: 5s, username: "u", password: "p", provision: false}
  poll: {interval: 90s, rate: 3}
  deadline: 12s
  limits: {sessions: 5, connections: 6, bodies: 1GiB, retry_after: 1s, discoveries: 7, devices: 8, body: 8MiB, inform: 9KiB, body_timeout: 2s,
           session_timeout: 3s, rpc_timeout: 4s, session_duration: 5s, requests: 10, queue: 11}
  files: {dir: /tmp/files, url: "https://acs.example:7547", max_upload: 10MiB, token_life: 2h, max_image: 11MiB, max_images: 12MiB, allow: [files.example, 10.2.0.0/16]}
  upstream: {url: ""}
usp:
  endpoint_id: "os::{oui}-{serial}"
  mtp:
    websocket: {listen: ":8548", path: /agents, tls: {cert: "", key: "", min_version: 1.3, ciphers: modern,
                client_ca: "", client_auth: require, client_crl: ""},
                client: {tls: {ca: "", cert: "", key: "", server_name: s}, rate: 5, concurrent: 6, max_connections: 7, timeout: 8s}}
    uds: {listen: /tmp/usp.sock, mode: "0600", endpoint_id: "self::bridge"}
    coap: {listen: ":5683", path: /c, address: "usp.example:5683", any_reply: true, tls: {cert: "", key: "", ca: ""}}
    mqtt:  {broker: "ssl://broker.example:8883", version: "5.0", topic: "usp/{endpoint_id}",
            username: "mu", password: "mp", client_id: "c", tls: {ca: "", cert: "", key: "", server_name: "b"}, trusted: false,
            connections: shared, qos: 0, keep_alive: 2m, session_expiry: 1h, will: {topic: w, payload: p, qos: 2, retain: true}}
    stomp: {broker: "tcp://127.0.0.1:61613", destination: "/queue/agents",
            login: "sl", passcode: "sp", host: "/v", tls: {ca: "", cert: "", key: "", server_name: ""}, trusted: false,
            connections: shared, heart_beat: 0s}
  sessions: {most: 10, idle: 5m, handshake: 10s, message: 1MiB, kept: 64KiB, ahead: 32KiB}
  controllers:
    - endpoint_id: "proto::controller-1"
      role: "Full Access"
      mtp: {protocol: MQTT, topic: "usp/controller/controller-1"}
    - {endpoint_id: "proto::c2", role: Untrusted, mtp: {protocol: STOMP, destination: /queue/c2}, session: {context: required, security: forbidden, max_record: 64KiB}}
    - {endpoint_id: "proto::c3", role: Untrusted, mtp: {protocol: WebSocket, url: "wss://c3.example/usp"}}
    - {endpoint_id: "proto::c4", role: Support}
    - {endpoint_id: "proto::c5", role: Untrusted, mtp: {protocol: UDS, url: "unix:///run/c5.sock"}}
    - {endpoint_id: "proto::c6", role: Untrusted, mtp: {protocol: CoAP, url: "coaps://c6.example/usp"}}
    - {endpoint_id: "proto::c7", role: Untrusted, mtp: {protocol: UDS}}
  roles:
    - {name: Support, secured: true, permissions: [{targets: ["Device.WiFi.", "Device.Reboot()"], param: rw-n, obj: r---, instantiated_obj: -w--, command_event: r-x-}]}
    - name: Untrusted
  challenges:
    - {alias: label, description: d, instruction: i, role: Support, key: 0123456789abcdef, retries: 5, lockout: 1m}
  relay:
    rules: [{from: "os::00259E-*", to: "proto::*"}]
    agents: ["os::*"]
    routes: [{endpoint_id: "os::1-2", mtp: {protocol: MQTT, topic: a/b}}]
    inboxes: [{endpoint_id: "proto::c4", mtp: {protocol: STOMP, destination: /queue/c4}}]
    expiry: 1h
    endpoints: 12
    sessions: 6
    store_forward: {enabled: true, expiry: 2h, records: 13, bytes: 14KiB, total_records: 15, total_bytes: 16MiB}
  bulk_data: {allow: ["*.example", 10.1.0.0/16], ca: "", min_reporting_interval: 10s, uploads: 3, report: 64KiB}
  identity: {ca: {cert: "", key: ""}, hand_off: true, life: 720h}
  trust: {ca: "", crl: "", first_use: true, require_proof: false}
  limits: {records_per_second: 10, burst: 20, bytes_per_second: 6MiB, bytes_burst: 7MiB}
  broker: {listen: "127.0.0.1:1884", websocket_listen: ":1885", tls: {cert: "", key: "", min_version: 1.2, ciphers: modern, client_ca: "", client_auth: require,
           client_crl: ""}, users: "", anonymous: true, rules: [{endpoint: "os::*", subscribe: [a/+], publish: [b]}], clients: 10, sessions: 11, queue: 12,
           session_expiry: 2h, keep_alive: 1m}
store: {driver: bbolt, path: "/tmp/x.db", key_file: "/tmp/x.key", dsn: ""}
mappings: {dir: ""}
console: {listen: "127.0.0.1:8549", token: "0123456789abcdef"}
`
	connectionRequest := defaultConnectionRequest()
	connectionRequest.Provision = false
	connectionRequest.Timeout, connectionRequest.Username, connectionRequest.Password = Duration(5*time.Second), "u", "p"
	want := Config{
		DataDir: "/tmp/data",
		Log:     LogConfig{LogLevel(slog.LevelDebug), "json"},
		CWMP: CWMPConfig{
			Listen: "127.0.0.1:8547", TLS: ServerTLS{MinVersion: "1.0", Ciphers: "legacy", ClientAuth: "request"},
			Auth: AuthConfig{Mode: "digest", Realm: "acs", Algorithms: "SHA-256, md5", QOP: "none", NonceLife: Duration(time.Minute),
				Throttle: ThrottleConfig{PerAddress: 7}, Certificate: CertificateConfig{Policy: "ignored", Rules: []CertificateRuleConfig{}}},
			InformInterval:    Duration(90 * time.Minute),
			ConnectionRequest: connectionRequest, Poll: PollConfig{Interval: Duration(90 * time.Second), Rate: 3}, Deadline: Duration(12 * time.Second),
			Limits: LimitsConfig{Sessions: 5, Connections: 6, Bodies: 1 << 30, RetryAfter: Duration(time.Second), Discoveries: 7, Devices: 8,
				Body: 8 << 20, Inform: 9 << 10, BodyTimeout: Duration(2 * time.Second), SessionTimeout: Duration(3 * time.Second),
				RPCTimeout: Duration(4 * time.Second), SessionDuration: Duration(5 * time.Second), Requests: 10, Queue: 11},
			Files: FilesConfig{"/tmp/files", "https://acs.example:7547", 10 << 20, Duration(2 * time.Hour), 11 << 20, 12 << 20, []string{"files.example", "10.2.0.0/16"}},
		},
		USP: USPConfig{
			EndpointID: "os::{oui}-{serial}",
			MTP: MTPConfig{
				WebSocket: WebSocketConfig{Listen: ":8548", Path: "/agents", TLS: ServerTLS{MinVersion: "1.3", Ciphers: "modern", ClientAuth: "require"},
					Client: WebSocketClient{TLS: ClientTLS{ServerName: "s"}, Rate: 5, Concurrent: 6, MaxConnections: 7, Timeout: Duration(8 * time.Second)}},
				UDS:  UDSConfig{Listen: "/tmp/usp.sock", Mode: 0o600, EndpointID: "self::bridge"},
				CoAP: CoAPConfig{Listen: ":5683", Path: "/c", Address: "usp.example:5683", AnyReply: true},
				MQTT: MQTTConfig{Broker: "ssl://broker.example:8883", Version: "5.0", Topic: "usp/{endpoint_id}",
					Username: "mu", Password: "mp", ClientID: "c", TLS: ClientTLS{ServerName: "b"}, Connections: "shared", QoS: "0", KeepAlive: Duration(2 * time.Minute),
					SessionExpiry: Duration(time.Hour), Will: WillConfig{"w", "p", "2", true}, on: true},
				STOMP: STOMPConfig{Broker: "tcp://127.0.0.1:61613", Destination: "/queue/agents",
					Login: "sl", Passcode: "sp", Host: "/v", Connections: "shared", on: true},
			},
			Controllers: []ControllerConfig{
				{EndpointID: "proto::controller-1", Role: "Full Access", MTP: ControllerMTP{Protocol: "MQTT", Topic: "usp/controller/controller-1"}},
				{EndpointID: "proto::c2", Role: "Untrusted", MTP: ControllerMTP{Protocol: "STOMP", Destination: "/queue/c2"},
					Session: ControllerSession{Context: "required", Security: "forbidden", MaxRecord: 64 << 10}},
				{EndpointID: "proto::c3", Role: "Untrusted", MTP: ControllerMTP{Protocol: "WebSocket", URL: "wss://c3.example/usp"}},
				{EndpointID: "proto::c4", Role: "Support", MTP: ControllerMTP{}},
				{EndpointID: "proto::c5", Role: "Untrusted", MTP: ControllerMTP{Protocol: "UDS", URL: "unix:///run/c5.sock"}},
				{EndpointID: "proto::c6", Role: "Untrusted", MTP: ControllerMTP{Protocol: "CoAP", URL: "coaps://c6.example/usp"}},
				{EndpointID: "proto::c7", Role: "Untrusted", MTP: ControllerMTP{Protocol: "UDS"}},
			},
			Roles: []RoleConfig{
				{"Support", true, []PermissionConfig{{[]Target{"Device.WiFi.", "Device.Reboot()"}, "rw-n", "r---", "-w--", "r-x-"}}},
				{Name: "Untrusted"},
			},
			Challenges: []ChallengeConfig{{"label", "d", "i", "Support", "0123456789abcdef", 5, Duration(time.Minute)}},
			Sessions:   SessionsConfig{Most: 10, Idle: Duration(5 * time.Minute), Handshake: Duration(10 * time.Second), Message: 1 << 20, Kept: 64 << 10, Ahead: 32 << 10},
			Identity:   IdentityConfig{HandOff: true, Life: Duration(720 * time.Hour)},
			Trust:      TrustConfig{FirstUse: true},
			Relay: RelayConfig{
				Rules: []RelayRule{{"os::00259E-*", "proto::*"}}, Agents: []EndpointPattern{"os::*"},
				Routes:  []RelayAddress{{"os::1-2", ControllerMTP{Protocol: "MQTT", Topic: "a/b"}}},
				Inboxes: []RelayAddress{{"proto::c4", ControllerMTP{Protocol: "STOMP", Destination: "/queue/c4"}}},
				Expiry:  Duration(time.Hour), Endpoints: 12, Sessions: 6,
				StoreForward: StoreForwardConfig{true, Duration(2 * time.Hour), 13, 14 << 10, 15, 16 << 20},
			},
			BulkData: BulkDataConfig{Allow: []string{"*.example", "10.1.0.0/16"}, MinReportingInterval: Duration(10 * time.Second), Uploads: 3, Report: 64 << 10},
			Limits:   USPLimitsConfig{10, 20, 6 << 20, 7 << 20},
			Broker: BrokerConfig{"127.0.0.1:1884", ":1885", ServerTLS{MinVersion: "1.2", Ciphers: "modern", ClientAuth: "require"}, "", true,
				[]BrokerRuleConfig{{"os::*", []string{"a/+"}, []string{"b"}}}, 10, 11, 12, Duration(2 * time.Hour), Duration(time.Minute)},
		},
		Store:   StoreConfig{Driver: "bbolt", Path: "/tmp/x.db", KeyFile: "/tmp/x.key"},
		Console: ConsoleConfig{"127.0.0.1:8549", "0123456789abcdef"},
	}
	got, _, err := load(everything, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, *got, cmp.AllowUnexported(MQTTConfig{}, STOMPConfig{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestConfigDefaults(t *testing.T) {
	for _, yaml := range []string{"", "\n# nothing\n", "cwmp:\nusp: {mtp: {}}\n"} {
		got, unknown, err := load(yaml, nil)
		if err != nil || len(unknown) != 0 {
			t.Fatalf("%q: %v, unknown %v", yaml, err, unknown)
		}
		want := defaultConfig()
		if diff := cmp.Diff(want, *got, cmp.AllowUnexported(MQTTConfig{}, STOMPConfig{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", yaml, diff)
		}
	}
}

// TestConfigSections: MQTT and STOMP are on if anything of their section is said.
func TestConfigSections(t *testing.T) {
	tests := []struct {
		yaml        string
		env         []string
		args        []string
		mqtt, stomp bool
	}{
		{yaml: "", mqtt: false, stomp: false},
		{yaml: "usp: {mtp: {mqtt: {}}}", mqtt: true},
		{yaml: "usp:\n  mtp:\n    stomp:\n", stomp: true},
		{env: []string{"USPBRIDGE_USP_MTP_MQTT_BROKER=tcp://127.0.0.1:1884"}, mqtt: true},
		{args: []string{"--usp.mtp.stomp.login=x"}, stomp: true},
	}
	for _, tt := range tests {
		cfg, _, err := load(tt.yaml, tt.env, tt.args...)
		if err != nil {
			t.Errorf("%+v: %v", tt, err)
			continue
		}
		if cfg.USP.MTP.MQTT.on != tt.mqtt || cfg.USP.MTP.STOMP.on != tt.stomp {
			t.Errorf("%+v: MQTT on %v, STOMP on %v", tt, cfg.USP.MTP.MQTT.on, cfg.USP.MTP.STOMP.on)
		}
	}
}

// TestConfigPrecedence: a flag wins over the environment, that over the file,
// that over the default.
func TestConfigPrecedence(t *testing.T) {
	const yaml = "cwmp: {listen: ':1'}"
	env := []string{"USPBRIDGE_CWMP_LISTEN=:2", "USPBRIDGE_CWMP_DEADLINE=2s", "OTHER=1", "USPBRIDGE_SERVICE_HOST=10.0.0.1", "USPBRIDGE_BRIDGE=ws://x/usp"}
	steps := []struct {
		env  []string
		args []string
		want string
	}{
		{nil, nil, ":1"}, {env, nil, ":2"}, {env, []string{"--cwmp.listen=:3"}, ":3"},
	}
	for _, s := range steps {
		cfg, unknown, err := load(yaml, s.env, s.args...)
		if err != nil || cfg.CWMP.Listen != s.want {
			t.Fatalf("env %v, args %v: listen %q, %v; want %q", s.env, s.args, cfg.CWMP.Listen, err, s.want)
		}
		if s.env != nil {
			if diff := cmp.Diff([]string{"USPBRIDGE_SERVICE_HOST"}, unknown); diff != "" {
				t.Errorf("unknown variables (-want +got):\n%s", diff)
			}
			if cfg.CWMP.Deadline != Duration(2*time.Second) {
				t.Errorf("deadline %v, want 2s from the environment", cfg.CWMP.Deadline)
			}
		}
	}
}

// TestConfigRefused: what is wrong is told with key, line and what to do.
func TestConfigRefused(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	noPEM := file("no.pem", "nothing")
	missing := filepath.Join(dir, "missing")
	tests := []struct {
		name string
		yaml string
		env  []string
		args []string
		want []string // exact messages, in order
	}{
		{name: "unknown key", yaml: "cwmp:\n  lissten: ':1'\n",
			want: []string{`bridge.yaml:2: cwmp.lissten: unknown key; did you mean "listen"?`}},
		{name: "keys with dots", yaml: "cwmp.auth.mode: digest\nusp:\n  mtp.websocket: {listen: ':1'}\n", want: []string{
			`bridge.yaml:1: cwmp.auth.mode: unknown key; in a file keys stand in their section: cwmp: {auth: {mode: …}}`,
			`bridge.yaml:3: usp.mtp.websocket: unknown key; in a file keys stand in their section: mtp: {websocket: …}`}},
		{name: "unknown section", yaml: "data_dir: x\nnetwork: {}\n", want: []string{`bridge.yaml:2: network: unknown key`}},
		{name: "unknown key in a list", yaml: "usp:\n  controllers:\n    - endpoint_id: a::b\n      rolle: Untrusted\n",
			want: []string{`bridge.yaml:4: usp.controllers[0].rolle: unknown key; did you mean "role"?`}},
		{name: "key twice", yaml: "cwmp:\n  deadline: 1s\n  deadline: 2s\n",
			want: []string{`bridge.yaml:3: cwmp.deadline: is there twice; first in line 2`}},
		{name: "no duration", yaml: "cwmp:\n  inform_interval: 15 minutes\n",
			want: []string{`bridge.yaml:2: cwmp.inform_interval: "15 minutes" is not a duration; write for example 30s, 15m or 1h30m`}},
		{name: "number without unit", yaml: "cwmp:\n  deadline: 30\n",
			want: []string{`bridge.yaml:2: cwmp.deadline: "30" is not a duration; write for example 30s, 15m or 1h30m`}},
		{name: "size", yaml: "cwmp:\n  files: {max_upload: 64 megabytes}\n",
			want: []string{`bridge.yaml:2: cwmp.files.max_upload: "64 megabytes" is not a size; write for example 512KiB, 16MiB or 1GiB`}},
		{name: "size of nothing", yaml: "cwmp:\n  files: {max_upload: 0}\n",
			want: []string{`bridge.yaml:2: cwmp.files.max_upload: must be more than 0`}},
		{name: "files URL with a path", yaml: "cwmp:\n  files: {url: \"http://acs.example/fw\", token_life: 0s}\n",
			want: []string{"bridge.yaml:2: cwmp.files.url: is not the scheme and host that CPE use", "bridge.yaml:2: cwmp.files.token_life: must be more than 0"}},
		{name: "servers of files", yaml: "cwmp:\n  files:\n    allow: [files.example, 'http://files.example/']\n",
			want: []string{`bridge.yaml:3: cwmp.files.allow[1]: "http://files.example/" is neither a host nor a prefix such as 10.1.0.0/16`}},
		{name: "images that do not fit", yaml: "cwmp:\n  files: {max_image: 2MiB, max_images: 1MiB}\n",
			want: []string{"bridge.yaml:2: cwmp.files.max_images: must be no less than cwmp.files.max_image"}},
		{name: "negative", yaml: "cwmp: {deadline: -1s}", want: []string{`bridge.yaml:1: cwmp.deadline: "-1s" is negative`}},
		{name: "no switch", yaml: "cwmp: {connection_request: {provision: maybe}}", want: []string{`bridge.yaml:1: cwmp.connection_request.provision: "maybe" is not known; use true, false`}},
		{name: "part of a second", yaml: "cwmp:\n  inform_interval: 500ms\n",
			want: []string{`bridge.yaml:2: cwmp.inform_interval: 500ms cannot be set on a CPE: want whole seconds, or 0s to leave each CPE its own`}},
		{name: "a century", yaml: "cwmp: {inform_interval: 1200000h}",
			want: []string{`bridge.yaml:1: cwmp.inform_interval: 1200000h0m0s cannot be set on a CPE: want whole seconds, or 0s to leave each CPE its own`}},
		{name: "polls without a pause", yaml: "cwmp:\n  poll: {interval: 10s, rate: 0}", want: []string{
			`bridge.yaml:2: cwmp.poll.interval: 10s is too short: want at least 1m0s, or 0s not to poll`,
			`bridge.yaml:2: cwmp.poll.rate: 0 CPE a second: want 1 to 10000; cwmp.poll.interval 0s turns polling off`}},
		{name: "zero deadline", yaml: "cwmp: {deadline: 0s}", want: []string{`bridge.yaml:1: cwmp.deadline: must be more than 0`}},
		{name: "no count", yaml: "cwmp: {limits: {sessions: many}}", want: []string{
			`bridge.yaml:1: cwmp.limits.sessions: "many" is not a number, 0 or more; write for example 1000`}},
		{name: "no size", yaml: "cwmp: {limits: {body: 16MB}}", want: []string{
			`bridge.yaml:1: cwmp.limits.body: "16MB" is not a size; write for example 512KiB, 16MiB or 1GiB`}},
		{name: "no room at all", yaml: "cwmp:\n  limits:\n    discoveries: 0\n", want: []string{
			`bridge.yaml:3: cwmp.limits.discoveries: must be more than 0`}},
		{name: "limits that do not go together", yaml: "cwmp:\n  limits:\n    connections: 9999\n    bodies: 8MiB\n    inform: 17MiB\n", want: []string{
			`bridge.yaml:3: cwmp.limits.connections: 9999 is less than cwmp.limits.sessions, 10000, and each session needs a connection`,
			`bridge.yaml:4: cwmp.limits.bodies: 8MiB is less than cwmp.limits.body, 16MiB`,
			`bridge.yaml:5: cwmp.limits.inform: 17MiB is more than cwmp.limits.body, 16MiB`}},
		{name: "no level", yaml: "log:\n  level: loud\n",
			want: []string{`bridge.yaml:2: log.level: "loud" is not known; use debug, info, warn, error`}},
		{name: "list for a value", yaml: "data_dir: [a, b]\n", want: []string{`bridge.yaml:1: data_dir: want one value, not a list or a section`}},
		{name: "value for a section", yaml: "cwmp: yes\n", want: []string{`bridge.yaml:1: cwmp: want a section of keys, not a single value`}},
		{name: "value for a list", yaml: "usp: {controllers: a}\n",
			want: []string{`bridge.yaml:1: usp.controllers: want a list: each item on a line of its own that starts with a dash`}},
		{name: "no value", yaml: "cwmp:\n  listen:\n",
			want: []string{`bridge.yaml:2: cwmp.listen: has no value; write "" for an empty one or leave the key out`}},
		{name: "list at the top", yaml: "- a\n", want: []string{`bridge.yaml:1: want a section of keys, not a single value`}},
		{name: "no YAML", yaml: "cwmp: {listen: ':1'\n", want: []string{`bridge.yaml: line 1: did not find expected ',' or '}'`}},
		{name: "alias", yaml: "log: &l {level: info}\nconsole: *l\n",
			want: []string{`bridge.yaml:2: console: YAML aliases are not taken; write the value here`}},
		{name: "two documents", yaml: "data_dir: a\n---\ndata_dir: b\n", want: []string{`bridge.yaml: more than one YAML document`}},
		{name: "several at once", yaml: "log:\n  level: loud\ncwmp:\n  deadline: soon\n", want: []string{
			`bridge.yaml:2: log.level: "loud" is not known; use debug, info, warn, error`,
			`bridge.yaml:4: cwmp.deadline: "soon" is not a duration; write for example 30s, 15m or 1h30m`}},
		{name: "several kinds at once", yaml: "log: {level: loud}\ncwmp:\n  deadlin: 5s\n  limits: {bodies: lots}\n  tls: {cert: a.pem}\nconsole: {token: abc}\nmappings: {dir: " + missing + "}\n", want: []string{
			`bridge.yaml:1: log.level: "loud" is not known; use debug, info, warn, error`,
			`bridge.yaml:3: cwmp.deadlin: unknown key; did you mean "deadline"?`,
			`bridge.yaml:4: cwmp.limits.bodies: "lots" is not a size; write for example 512KiB, 16MiB or 1GiB`,
			`bridge.yaml:5: cwmp.tls: cert and key must both be set, or neither`,
			`bridge.yaml:6: console.token: has 3 characters; use at least 16, for example of ` + "`openssl rand -hex 16`",
			`bridge.yaml:7: mappings.dir: stat ` + missing + `: no such file or directory`}},
		{name: "what a malformed key may be to blame for", yaml: "cwmp:\n  tls: {crt: a.pem, key: a.key}\n  auth: {users: u.yaml, mod: digest}\nusp:\n  roles: [{nam: Support}]\n  controllers: [{endpoint_id: a::c, role: Support}]\n", want: []string{
			`bridge.yaml:2: cwmp.tls.crt: unknown key; did you mean "cert"?`,
			`bridge.yaml:3: cwmp.auth.mod: unknown key; did you mean "mode"?`,
			`bridge.yaml:5: usp.roles[0].nam: unknown key; did you mean "name"?`}},
		{name: "a section of unknown name", yaml: "cwmp:\n  tsl: {cert: a.pem}\n  auth: {mode: certificate}\nconsole: {token: abc}\n", want: []string{
			`bridge.yaml:2: cwmp.tsl: unknown key; did you mean "tls"?`,
			`bridge.yaml:4: console.token: has 3 characters; use at least 16, for example of ` + "`openssl rand -hex 16`"}},
		{name: "what is wrong alone, whatever is malformed", yaml: `usp:
  mtp:
    websocket: {listen: ":99999"}
    mqtt: {broker: "http://x", qos: 3, connections: per-agent, topic: a}
    stomp: {broker: "amqp://y"}
  controllers:
    - {endpoint_id: bad, role: Untrusted, mtp: {protocol: MQT, topic: x}}
    - {endpointid: "a::b", role: Unknown}
  challenges:
    - {alias: a, role: None, key: 0123456789abcdef}
  trust: {crl: a.crl}
`, want: []string{
			`bridge.yaml:3: usp.mtp.websocket.listen: "99999" is not a port; use a number from 0 to 65535`,
			`bridge.yaml:4: usp.mtp.mqtt.qos: "3" is not known; use 0, 1`,
			`bridge.yaml:4: usp.mtp.mqtt.broker: "http://x" is not a broker's URL`,
			`bridge.yaml:5: usp.mtp.stomp.broker: "amqp://y" is not a broker's URL`,
			`bridge.yaml:7: usp.controllers[0].mtp.protocol: "MQT" is not known; use WebSocket, MQTT, STOMP, UDS, CoAP`,
			`bridge.yaml:7: usp.controllers[0].endpoint_id: endpoint id "bad": want scheme:authority:instance`,
			`bridge.yaml:8: usp.controllers[1].endpointid: unknown key; did you mean "endpoint_id"?`,
			`bridge.yaml:10: usp.challenges[0].role: "None" is not a role`,
			`bridge.yaml:11: usp.trust.crl: is set, but there is no ca whose lists it could have`}},
		{name: "sections that are judged together", yaml: "usp:\n  mtp:\n    websocket: {tsl: {cert: a.pem}}\n  trust: {require_proof: true}\n  roles: [{nam: A}]\n  challenges: [{alias: a, role: A, key: 0123456789abcdef}]\n", want: []string{
			`bridge.yaml:3: usp.mtp.websocket.tsl: unknown key; did you mean "tls"?`,
			`bridge.yaml:5: usp.roles[0].nam: unknown key; did you mean "name"?`}},
		{name: "environment", env: []string{"USPBRIDGE_CWMP_DEADLINE=soon"}, want: []string{
			`environment USPBRIDGE_CWMP_DEADLINE: cwmp.deadline: "soon" is not a duration; write for example 30s, 15m or 1h30m`}},
		{name: "flag", args: []string{"--store.driver=mysql"}, want: []string{`flag --store.driver: store.driver: "mysql" is not known; use bbolt`}},
		{name: "postgres", yaml: "store: {driver: postgres}", want: []string{
			`bridge.yaml:1: store.driver: the postgres driver is not built into this version; use bbolt`}},
		{name: "bulk data", yaml: "usp:\n  bulk_data:\n    allow: [bdc.example, 'https://x/']\n    min_reporting_interval: 1500ms\n    uploads: 0\n    report: 0KiB\n", want: []string{
			`bridge.yaml:3: usp.bulk_data.allow[1]: "https://x/" is neither a host nor a prefix such as 10.1.0.0/16`,
			`bridge.yaml:4: usp.bulk_data.min_reporting_interval: must be whole seconds, at least 1s`,
			`bridge.yaml:5: usp.bulk_data.uploads: must be more than 0`,
			`bridge.yaml:6: usp.bulk_data.report: must be more than 0`}},
		{name: "MQTT 3.1", yaml: "usp: {mtp: {mqtt: {version: '3.1'}}}", want: []string{
			`bridge.yaml:1: usp.mtp.mqtt.version: "3.1" is not known; use 5.0, 3.1.1`}},
		{name: "connections", yaml: "usp: {mtp: {mqtt: {connections: own, qos: 2}, stomp: {connections: ''}}}", want: []string{
			`bridge.yaml:1: usp.mtp.mqtt.connections: "own" is not known; use shared, per-agent`,
			`bridge.yaml:1: usp.mtp.mqtt.qos: "2" is not known; use 0, 1`,
			`bridge.yaml:1: usp.mtp.stomp.connections: "" is not known; use shared, per-agent`}},
		{name: "placeholder of a shared connection", yaml: "usp: {mtp: {mqtt: {client_id: 'x-{endpoint_id}'}, stomp: {login: '{endpoint_id}'}}}", want: []string{
			`bridge.yaml:1: usp.mtp.mqtt.client_id: {endpoint_id} can stand here only with connections: per-agent`,
			`bridge.yaml:1: usp.mtp.stomp.login: {endpoint_id} can stand here only with connections: per-agent`}},
		{name: "what agents with their own connections share", yaml: "usp:\n  mtp:\n    mqtt: {connections: per-agent, topic: a, client_id: c}\n    stomp: {connections: per-agent, destination: b}", want: []string{
			`bridge.yaml:3: usp.mtp.mqtt.topic: "a" is for all agents; with connections: per-agent it needs {endpoint_id}`,
			`bridge.yaml:3: usp.mtp.mqtt.client_id: "c" would be that of all agents, of which the broker keeps one connected; put {endpoint_id} into it, or leave it empty`,
			`bridge.yaml:4: usp.mtp.stomp.destination: "b" is for all agents; with connections: per-agent it needs {endpoint_id}`}},
		{name: "MQTT times and will", yaml: "usp: {mtp: {mqtt: {keep_alive: 1500ms, session_expiry: 0s, will: {payload: x}}}}", want: []string{
			`bridge.yaml:1: usp.mtp.mqtt.keep_alive: 1.5s is not 1 to 65535 whole seconds`,
			`bridge.yaml:1: usp.mtp.mqtt.session_expiry: must be more than 0: what is sent while the bridge is away is lost otherwise`,
			`bridge.yaml:1: usp.mtp.mqtt.will.payload: needs a will.topic`}},
		{name: "will on a wildcard", yaml: "usp: {mtp: {mqtt: {will: {topic: 'a/+'}}}}", want: []string{
			`bridge.yaml:1: usp.mtp.mqtt.will.topic: "a/+" is not a topic; wildcards are not allowed`}},
		{name: "who issues certificates", yaml: "usp:\n  identity:\n    ca: {cert: a.pem}\n    life: 1m\n", want: []string{
			`bridge.yaml:3: usp.identity.ca: cert and key must both be set, or neither`,
			`bridge.yaml:4: usp.identity.life: 1m0s: want 1h to 87600h0m0s`}},
		{name: "two who issue certificates", yaml: "usp: {identity: {ca: {cert: a.pem, key: a.key}, hand_off: true}}", want: []string{
			`bridge.yaml:1: usp.identity.hand_off: is set, and so is ca: either an operator signs the certificates of agents elsewhere, or this CA does`}},
		{name: "revocations of nobody", yaml: "usp:\n  trust:\n    crl: a.crl\n", want: []string{
			`bridge.yaml:3: usp.trust.crl: is set, but there is no ca whose lists it could have`}},
		{name: "trusted CA that is none", yaml: "usp:\n  trust:\n    ca: " + noPEM + "\n", want: []string{
			`bridge.yaml:3: usp.trust.ca: ` + noPEM + `: no certificate in PEM form`}},
		{name: "proof without TLS", yaml: "usp:\n  trust:\n    require_proof: true\n", want: []string{
			`bridge.yaml:3: usp.trust.require_proof: is set, but clients of usp.mtp.websocket cannot show certificates: set its tls.cert, and usp.trust.ca, tls.client_ca or tls.client_auth`}},
		{name: "CPE that are not asked", yaml: "cwmp:\n  tls:\n    client_auth: none\n", want: []string{
			`bridge.yaml:3: cwmp.tls.client_auth: "none" is not for CPE; use require or request, and leave client_ca empty to ask for no certificates`}},
		{name: "patterns of the relay", yaml: "usp:\n  relay:\n    rules:\n      - {from: 'os::[a', to: '*'}\n", want: []string{
			`bridge.yaml:4: usp.relay.rules[0].from: "os::[a" is not a pattern of endpoint ids; write for example os::00259E-*`}},
		{name: "relay", yaml: `usp:
  mtp: {mqtt: {}}
  controllers:
    - {endpoint_id: a::c, role: Untrusted, mtp: {protocol: MQTT, topic: t/c}}
  relay:
    rules: [{from: '*'}]
    routes:
      - {endpoint_id: nobody, mtp: {protocol: MQTT, topic: t/n}}
      - {endpoint_id: a::n, mtp: {protocol: STOMP, destination: /queue/n}}
      - {endpoint_id: a::m}
    inboxes:
      - {endpoint_id: a::c, mtp: {protocol: MQTT, topic: t/c}}
      - {endpoint_id: a::c, mtp: {protocol: MQTT, topic: 'usp/agent/a::c'}}
      - {endpoint_id: a::c, mtp: {protocol: WebSocket, url: 'ws://x/'}}
      - {endpoint_id: a::c, mtp: {protocol: MQTT, topic: t/d}}
      - {endpoint_id: a::d, mtp: {protocol: MQTT, topic: t/d}}
    endpoints: 0
    store_forward: {bytes: 0KiB}
`, want: []string{
			`bridge.yaml:6: usp.relay.rules[0]: from and to must both be set; write for example {from: "os::00259E-*", to: "proto::controller-*"}`,
			`bridge.yaml:8: usp.relay.routes[0].endpoint_id: endpoint id "nobody": want scheme:authority:instance`,
			`bridge.yaml:9: usp.relay.routes[1].mtp.protocol: STOMP is off: add a section usp.mtp.stomp`,
			`bridge.yaml:10: usp.relay.routes[2].mtp.protocol: must not be empty`,
			`bridge.yaml:12: usp.relay.inboxes[0].mtp: is where records are sent to by usp.controllers[0]: the bridge would hear what it sends`,
			`bridge.yaml:13: usp.relay.inboxes[1].mtp: is made from the template of the transport, where the bridge listens anyway; leave it out`,
			`bridge.yaml:14: usp.relay.inboxes[2].mtp.protocol: an inbox is at a broker: use MQTT or STOMP`,
			`bridge.yaml:16: usp.relay.inboxes[4].mtp: is there twice`,
			`bridge.yaml:17: usp.relay.endpoints: must be more than 0`,
			`bridge.yaml:18: usp.relay.store_forward.bytes: must be more than 0`}},
		{name: "relay without brokers", yaml: `usp:
  mtp: {uds: {listen: /run/u}, coap: {listen: ':5683'}}
  relay:
    routes:
      - {endpoint_id: a::u, mtp: {protocol: UDS}}
      - {endpoint_id: a::c, mtp: {protocol: CoAP, url: 'coap://192.0.2.1/usp'}}
      - {endpoint_id: a::v, mtp: {protocol: UDS, url: 'unix:///run/v'}}
      - {endpoint_id: a::w, mtp: {protocol: WebSocket, url: 'ws://192.0.2.1/usp'}}
      - {endpoint_id: a::native-1, mtp: {protocol: WebSocket, url: 'ws://192.0.2.2/usp'}}
      - {endpoint_id: a::native-2, mtp: {protocol: UDS, url: 'unix:///run/n'}}
    agents: ['a::native-*']
    sessions: 50001
    inboxes:
      - {endpoint_id: a::d, mtp: {protocol: UDS}}
      - {endpoint_id: a::d, mtp: {protocol: CoAP, url: 'coap://192.0.2.2/usp'}}
`, want: []string{
			`bridge.yaml:9: usp.relay.routes[4].mtp.url: the bridge opens sessions to controllers, and by usp.relay.agents this is an agent, which connects to the bridge; leave the route out`,
			`bridge.yaml:10: usp.relay.routes[5].mtp.url: the bridge opens sessions to controllers, and by usp.relay.agents this is an agent, which connects to the bridge; leave the route out`,
			`bridge.yaml:12: usp.relay.sessions: is more than usp.mtp.websocket.client.max_connections, 50000, which bridged agents share`,
			`bridge.yaml:14: usp.relay.inboxes[0].mtp.protocol: an inbox is at a broker: use MQTT or STOMP`,
			`bridge.yaml:15: usp.relay.inboxes[1].mtp.protocol: an inbox is at a broker: use MQTT or STOMP`}},
		{name: "address", yaml: "cwmp: {listen: '7547'}", want: []string{
			`bridge.yaml:1: cwmp.listen: "7547" is not an address; write for example :7547 or 127.0.0.1:7547`}},
		{name: "port", yaml: "console: {listen: '127.0.0.1:99999'}", want: []string{
			`bridge.yaml:1: console.listen: "99999" is not a port; use a number from 0 to 65535`}},
		{name: "nowhere to inform", yaml: "cwmp: {listen: ''}", want: []string{
			`bridge.yaml:1: cwmp.listen: must not be empty: CPE have nowhere to inform to`}},
		{name: "open console without token", yaml: "console:\n  listen: ':7549'\n", want: []string{
			`bridge.yaml:1: console.token: must be set, since console.listen ":7549" can be reached from other machines`}},
		{name: "short token", yaml: "console: {token: abc}", want: []string{
			`bridge.yaml:1: console.token: has 3 characters; use at least 16, for example of ` + "`openssl rand -hex 16`"}},
		{name: "half of TLS", yaml: "cwmp:\n  tls:\n    cert: a.pem\n", want: []string{`bridge.yaml:2: cwmp.tls: cert and key must both be set, or neither`}},
		{name: "certificate missing", yaml: "cwmp:\n  tls:\n    cert: " + missing + "\n    key: " + missing + "\n",
			want: []string{`bridge.yaml:3: cwmp.tls.cert: open ` + missing + `: no such file or directory`}},
		{name: "CA without certificate", yaml: "usp: {mtp: {websocket: {tls: {client_ca: x}}}}", want: []string{
			`bridge.yaml:1: usp.mtp.websocket.tls.client_ca: is set, but there is no cert: without TLS no client can show a certificate`}},
		{name: "CA that is none", yaml: "usp: {mtp: {mqtt: {broker: 'ssl://b:1', tls: {ca: " + noPEM + "}}}}", want: []string{
			`bridge.yaml:1: usp.mtp.mqtt.tls.ca: ` + noPEM + `: no certificate in PEM form`}},
		{name: "TLS without TLS", yaml: "usp: {mtp: {mqtt: {tls: {server_name: x}}}}", want: []string{
			`bridge.yaml:1: usp.mtp.mqtt.tls: is set, but the broker's URL does not ask for TLS`}},
		{name: "broker", yaml: "usp: {mtp: {stomp: {broker: 'localhost:61613'}}}", want: []string{
			`bridge.yaml:1: usp.mtp.stomp.broker: "localhost:61613" is not a broker's URL; want a scheme of tcp, stomp, ssl, tls, stomps and a host, for example tcp://127.0.0.1:1883`}},
		{name: "password in the URL", yaml: "usp: {mtp: {mqtt: {broker: 'tcp://u:p@b:1'}}}", want: []string{
			`bridge.yaml:1: usp.mtp.mqtt.broker: has credentials in it; put them into their own keys, which are never shown`}},
		{name: "wildcard topic", yaml: "usp: {mtp: {mqtt: {topic: 'usp/+'}}}", want: []string{
			`bridge.yaml:1: usp.mtp.mqtt.topic: "usp/+" is not a topic; wildcards are not allowed, {endpoint_id} may stand in it`}},
		{name: "part of a level", yaml: "usp: {mtp: {mqtt: {topic: 'usp/agent-{endpoint_id}'}}}", want: []string{
			`bridge.yaml:1: usp.mtp.mqtt.topic: "usp/agent-{endpoint_id}": {endpoint_id} must be a whole level, between slashes`}},
		{name: "the command line's controller", yaml: "usp: {controllers: [{endpoint_id: 'self::uspbridge-cli', role: Full Access}]}", want: []string{
			`bridge.yaml:1: usp.controllers[0].endpoint_id: "self::uspbridge-cli" is the command line's; give the controller another`}},
		{name: "target that is no path of Device:2", yaml: "usp: {roles: [{name: A, permissions: [{targets: [WiFi.]}]}]}", want: []string{
			`bridge.yaml:1: usp.roles[0].permissions[0].targets[0]: "WiFi." does not begin with Device., as all paths do`}},
		{name: "placeholder", yaml: "usp: {mtp: {stomp: {destination: '/queue/{id}'}}}", want: []string{
			`bridge.yaml:1: usp.mtp.stomp.destination: "/queue/{id}": only {endpoint_id} can stand in braces`}},
		{name: "endpoint template", yaml: "usp: {endpoint_id: 'os::{oui}'}", want: []string{
			`bridge.yaml:1: usp.endpoint_id: endpoint id template "os::{oui}": has no {serial}, so that devices would share an id`}},
		{name: "controllers", yaml: `usp:
  controllers:
    - {endpoint_id: nobody, role: Untrusted}
    - {endpoint_id: a::b, role: root}
    - {endpoint_id: a::b, role: Untrusted}
    - {endpoint_id: a::c, role: Untrusted, mtp: {protocol: MQTT, topic: t}}
    - {endpoint_id: a::d, role: Untrusted, mtp: {protocol: WebSocket}}
    - {endpoint_id: a::e, role: Untrusted, mtp: {topic: t}}
    - {endpoint_id: a::f, role: Untrusted, mtp: {protocol: WebSocket, url: 'http://x/'}}
    - {endpoint_id: a::g, role: Untrusted, mtp: {protocol: XMPP}}
`, want: []string{
			`bridge.yaml:3: usp.controllers[0].endpoint_id: endpoint id "nobody": want scheme:authority:instance`,
			`bridge.yaml:10: usp.controllers[7].mtp.protocol: "XMPP" is not known; use WebSocket, MQTT, STOMP, UDS, CoAP`}},
		{name: "controllers' addresses", yaml: `usp:
  controllers:
    - {endpoint_id: nobody, role: Untrusted}
    - {endpoint_id: a::b, role: root}
    - {endpoint_id: a::b, role: Untrusted}
    - {endpoint_id: a::c, role: Untrusted, mtp: {protocol: MQTT, topic: t}}
    - {endpoint_id: a::d, role: Untrusted, mtp: {protocol: WebSocket}}
    - {endpoint_id: a::e, role: Untrusted, mtp: {topic: t}}
    - {endpoint_id: a::f, role: Untrusted, mtp: {protocol: WebSocket, url: 'http://x/'}}
    - {endpoint_id: a::g, role: Untrusted, mtp: {protocol: CoAP, url: 'coap:///usp'}}
    - {endpoint_id: a::h, role: Untrusted, mtp: {protocol: UDS}}
    - {endpoint_id: a::i, role: Untrusted, mtp: {protocol: UDS, url: 'unix://run/c'}}
    - {endpoint_id: a::j, role: Untrusted, mtp: {url: 'ws://x/'}}
`, want: []string{
			`bridge.yaml:3: usp.controllers[0].endpoint_id: endpoint id "nobody": want scheme:authority:instance`,
			`bridge.yaml:4: usp.controllers[1].role: "root" is not a role; use one of ["Full Access" "Untrusted"], or add it to usp.roles`,
			`bridge.yaml:5: usp.controllers[2].endpoint_id: "a::b" is also usp.controllers[1]`,
			`bridge.yaml:6: usp.controllers[3].mtp.protocol: MQTT is off: add a section usp.mtp.mqtt, or set usp.broker.listen to have a broker here`,
			`bridge.yaml:7: usp.controllers[4].mtp.url: must not be empty: it is where a controller is reached by WebSocket`,
			`bridge.yaml:8: usp.controllers[5].mtp.topic: is for protocol MQTT, but this controller's is ""`,
			`bridge.yaml:9: usp.controllers[6].mtp.url: is not a WebSocket URL; write for example wss://controller.example:443/usp`,
			`bridge.yaml:10: usp.controllers[7].mtp.protocol: CoAP is off: set usp.mtp.coap.listen, for example :5683; controllers answer there`,
			`bridge.yaml:10: usp.controllers[7].mtp.url: is not a CoAP URL; write for example coaps://controller.example:5684/usp`,
			`bridge.yaml:11: usp.controllers[8].mtp.url: must not be empty, since usp.mtp.uds.listen is: the controller has no socket to connect to, and none to be reached at`,
			`bridge.yaml:12: usp.controllers[9].mtp.url: is not a UDS URL; write for example unix:///run/controller/usp.sock`,
			`bridge.yaml:13: usp.controllers[10].mtp.url: is for protocol WebSocket, UDS or CoAP, but this controller's is ""`}},
		{name: "connections to controllers", yaml: `usp:
  mtp:
    websocket:
      client:
        rate: 0
        max_connections: 0
        timeout: 0s
        tls: {cert: a}
    uds:
      listen: usp.sock
      endpoint_id: me
`, want: []string{
			`bridge.yaml:5: usp.mtp.websocket.client.rate: must be more than 0`,
			`bridge.yaml:6: usp.mtp.websocket.client.max_connections: must be more than 0`,
			`bridge.yaml:7: usp.mtp.websocket.client.timeout: must be more than 0`,
			`bridge.yaml:8: usp.mtp.websocket.client.tls: cert and key must both be set, or neither`,
			`bridge.yaml:10: usp.mtp.uds.listen: "usp.sock" is not an absolute path; write for example /run/uspbridge/usp.sock`,
			`bridge.yaml:11: usp.mtp.uds.endpoint_id: endpoint id "me": want scheme:authority:instance`}},
		{name: "mode", yaml: "usp: {mtp: {uds: {mode: '0999'}}}", want: []string{
			`bridge.yaml:1: usp.mtp.uds.mode: "0999" are no permissions in octal; write for example 0660`}},
		{name: "CoAP that is off", yaml: "usp: {mtp: {coap: {address: 'a:1'}}}", want: []string{
			`bridge.yaml:1: usp.mtp.coap.listen: must be set, for example :5683: without it CoAP is off and the section's other keys do nothing`}},
		{name: "CoAP", yaml: `usp:
  mtp:
    coap:
      listen: 5683
      path: usp
      address: ":5683"
      tls: {key: k}
`, want: []string{
			`bridge.yaml:4: usp.mtp.coap.listen: "5683" is not an address; write for example :7547 or 127.0.0.1:7547`,
			`bridge.yaml:5: usp.mtp.coap.path: "usp" is not a path; write for example /usp`,
			`bridge.yaml:6: usp.mtp.coap.address: ":5683" is not a host and port; write for example acs.example:3478`,
			`bridge.yaml:7: usp.mtp.coap.tls: cert and key must both be set, or neither`}},
		{name: "sessions", yaml: `usp:
  sessions: {most: 0, idle: 0s}
  controllers:
    - {endpoint_id: a::b, role: Untrusted, session: {max_record: 100}}
    - {endpoint_id: a::c, role: Untrusted, session: {context: forbidden, security: required}}
`, want: []string{
			`bridge.yaml:2: usp.sessions.most: must be more than 0`,
			`bridge.yaml:2: usp.sessions.idle: must be more than 0`,
			`bridge.yaml:4: usp.controllers[0].session.max_record: must be at least 512, or 0 for records of any size`,
			`bridge.yaml:5: usp.controllers[1].session.security: is required, but there is no TLS without session contexts, and context is forbidden`}},
		{name: "use of sessions", yaml: "usp: {controllers: [{endpoint_id: a::b, role: Untrusted, session: {context: never}}]}", want: []string{
			`bridge.yaml:1: usp.controllers[0].session.context: "never" is not known; use forbidden, allowed, required`}},
		{name: "roles", yaml: `usp:
  roles:
    - {name: Full Access}
    - {name: R}
    - name: R
      permissions:
        - {param: r---}
    - {}
  challenges:
    - {alias: a, role: R, key: 0123456789abcdef}
    - {alias: a, role: S, key: 0123456789abcde, lockout: 1500ms}
    - {role: R, key: 0123456789abcdef}
`, want: []string{
			`bridge.yaml:3: usp.roles[0].name: "Full Access" is built in and cannot be another: the command line has it`,
			`bridge.yaml:5: usp.roles[2].name: "R" is also usp.roles[1]`,
			`bridge.yaml:7: usp.roles[2].permissions[0].targets: must not be empty; write for example [Device.WiFi.]`,
			`bridge.yaml:8: usp.roles[3].name: must not be empty`,
			`bridge.yaml:11: usp.challenges[1].alias: "a" is also usp.challenges[0]`,
			`bridge.yaml:11: usp.challenges[1].role: "S" is not a role; use one of ["Full Access" "Untrusted" "R"], or add it to usp.roles`,
			"bridge.yaml:11: usp.challenges[1].key: has 15 characters; use at least 16, for example of `openssl rand -hex 16`",
			`bridge.yaml:11: usp.challenges[1].lockout: 1.5s is not in whole seconds`,
			`bridge.yaml:12: usp.challenges[2].alias: 0 characters: 1 to 64 are allowed`}},
		{name: "permissions", yaml: `usp:
  roles:
    - name: R
      permissions:
        - {targets: [WiFi], param: r---}
        - {targets: [Device.WiFi.SSID.1.LowerLayers+.], param: rw}
`, want: []string{
			`bridge.yaml:5: usp.roles[0].permissions[0].targets[0]: path "WiFi": a path has at least one dot, as in "Device." at offset 4`,
			`bridge.yaml:6: usp.roles[0].permissions[1].targets[0]: "Device.WiFi.SSID.1.LowerLayers+.": references are not followed in targets`,
			`bridge.yaml:6: usp.roles[0].permissions[1].param: "rw": four characters of rwxn are wanted, - for those not granted`}},
		{name: "half of the credentials", yaml: "cwmp: {connection_request: {username: u}}", want: []string{
			`bridge.yaml:1: cwmp.connection_request: username and password must both be set, or both be empty to have them made for each CPE`}},
		{name: "upstream", yaml: "cwmp: {upstream: {url: 'http://acs/'}}", want: []string{
			`bridge.yaml:1: cwmp.upstream.url: passing devices through to an existing ACS is not built into this version; leave it empty`}},
		{name: "mappings missing", yaml: "mappings: {dir: " + missing + "}", want: []string{
			`bridge.yaml:1: mappings.dir: stat ` + missing + `: no such file or directory`}},
		{name: "mappings no directory", yaml: "mappings: {dir: " + noPEM + "}", want: []string{`bridge.yaml:1: mappings.dir: ` + noPEM + ` is not a directory`}},
		{name: "no data directory", yaml: "data_dir: ''", want: []string{`bridge.yaml:1: data_dir: must not be empty: the bridge keeps its devices there`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := load(tt.yaml, tt.env, tt.args...)
			if err == nil {
				t.Fatal("was taken")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.want) {
				t.Fatalf("%d problems, want %d:\n%v", len(lines), len(tt.want), err)
			}
			for i, want := range tt.want {
				if got := strings.TrimPrefix(lines[i], "configuration: "); got != want && !strings.Contains(got, want) {
					t.Errorf("problem %d:\n got %s\nwant %s", i, got, want)
				}
			}
		})
	}
}

// TestLimitsFitOpenFiles: a process that may open too few files accepts fewer
// connections, rather than fail when they come.
func TestLimitsFitOpenFiles(t *testing.T) {
	tests := []struct {
		files                 uint64
		connections, sessions Count
		warned                bool
	}{
		{1 << 20, 15_000, 10_000, false},
		{15_512, 15_000, 10_000, false},
		{15_511, 14_999, 10_000, true},
		{4096, 3584, 3584, true},
		{256, 128, 128, true},
	}
	for _, tt := range tests {
		got, err := defaultLimits().within(tt.files)
		if got.Connections != tt.connections || got.Sessions != tt.sessions || (err != nil) != tt.warned {
			t.Errorf("%d files: %d connections, %d sessions, %v", tt.files, got.Connections, got.Sessions, err)
		}
	}
}

// TestConfigSecrets: no form of printing a configuration shows its secrets.
func TestConfigSecrets(t *testing.T) {
	cfg, _, err := load("console: {token: topsecret-topsecret}\ncwmp: {connection_request: {username: u, password: topsecret}}", nil)
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("start", "token", cfg.Console.Token, "config", *cfg)
	b, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(*cfg), fmt.Sprintf("%+v %#v %q", *cfg, *cfg, cfg.Console.Token), logged.String(), string(b)} {
		if strings.Contains(text, "topsecret") {
			t.Errorf("secret shown: %s", text)
		}
	}
	if !strings.Contains(logged.String(), "token=<secret>") {
		t.Errorf("log does not tell that there is a token: %s", logged.String())
	}
}

// TestConfigEnvironmentNames: no two keys share a variable.
func TestConfigEnvironmentNames(t *testing.T) {
	cfg := defaultConfig()
	keys := map[string]string{}
	for _, f := range configFields(reflect.ValueOf(&cfg).Elem(), "") {
		name := envName(f.key)
		if other, ok := keys[name]; ok || envNotKeys[name] {
			t.Errorf("%s is %s and %s", name, f.key, other)
		}
		keys[name] = f.key
	}
	if len(keys) < 40 {
		t.Errorf("only %d keys found", len(keys))
	}
}

func FuzzConfig(f *testing.F) {
	f.Add("cwmp: {listen: ':1'}")
	f.Add("usp: {controllers: [{endpoint_id: a::b, mtp: {protocol: MQTT}}]}")
	f.Add("a: &x {b: *x}")
	f.Fuzz(func(t *testing.T, yaml string) {
		if cfg, _, err := load(yaml, nil); err == nil && cfg == nil {
			t.Error("neither a configuration nor an error")
		}
	})
}
