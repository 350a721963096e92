package main

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// Config is the whole configuration of `uspbridge serve`. A field's key is the
// path of its mapstructure names: cwmp.connection_request.timeout. The same key
// is written in the YAML file, as USPBRIDGE_CWMP_CONNECTION_REQUEST_TIMEOUT in
// the environment, and as --cwmp.connection_request.timeout on the command line.
type Config struct {
	DataDir  string        `mapstructure:"data_dir"`
	Log      LogConfig     `mapstructure:"log"`
	CWMP     CWMPConfig    `mapstructure:"cwmp"`
	USP      USPConfig     `mapstructure:"usp"`
	Store    StoreConfig   `mapstructure:"store"`
	Mappings MappingConfig `mapstructure:"mappings"`
	Console  ConsoleConfig `mapstructure:"console"`
}

// LogConfig says what is logged on stderr.
type LogConfig struct {
	Level  LogLevel  `mapstructure:"level"`
	Format LogFormat `mapstructure:"format"`
}

// CWMPConfig is the side of the CPE: the ACS.
type CWMPConfig struct {
	Listen            string                  `mapstructure:"listen"`
	TLS               ServerTLS               `mapstructure:"tls"`
	Auth              AuthConfig              `mapstructure:"auth"`
	InformInterval    Duration                `mapstructure:"inform_interval"` // 0 leaves the CPE's own
	ConnectionRequest ConnectionRequestConfig `mapstructure:"connection_request"`
	Notification      NotificationConfig      `mapstructure:"lightweight_notification"`
	Poll              PollConfig              `mapstructure:"poll"`
	Deadline          Duration                `mapstructure:"deadline"` // of one live operation on a CPE
	Limits            LimitsConfig            `mapstructure:"limits"`
	Files             FilesConfig             `mapstructure:"files"`
	Upstream          UpstreamConfig          `mapstructure:"upstream"`
}

// PollConfig says how CPE are asked for what they do not notify.
type PollConfig struct {
	Interval Duration `mapstructure:"interval"` // 0: they are not
	Rate     Count    `mapstructure:"rate"`     // CPE a second
}

// FilesConfig is the file server for Download and Upload, on the CPE's listener.
type FilesConfig struct {
	Dir       string   `mapstructure:"dir"` // "": files in data_dir
	URL       string   `mapstructure:"url"` // how CPE reach it; "": as they reach the ACS
	MaxUpload Size     `mapstructure:"max_upload"`
	TokenLife Duration `mapstructure:"token_life"` // how long a transfer may take
	MaxImage  Size     `mapstructure:"max_image"`  // of one file that is fetched for CPE
	MaxImages Size     `mapstructure:"max_images"` // of all of them
	Allow     []string `mapstructure:"allow"`      // where they may be fetched; read from the file only
}

// ClientTLS is used where a broker's URL asks for TLS. Without ca the system's
// roots are trusted; cert and key are shown to a broker that asks for them.
type ClientTLS struct {
	CA         string `mapstructure:"ca"`
	Cert       string `mapstructure:"cert"`
	Key        string `mapstructure:"key"`
	ServerName string `mapstructure:"server_name"`
}

// UpstreamConfig names the operator's existing ACS.
type UpstreamConfig struct {
	URL string `mapstructure:"url"`
}

// USPConfig is the side of the controllers.
type USPConfig struct {
	EndpointID  string             `mapstructure:"endpoint_id"`
	MTP         MTPConfig          `mapstructure:"mtp"`
	Controllers []ControllerConfig `mapstructure:"controllers"`
	Roles       []RoleConfig       `mapstructure:"roles"`
	Challenges  []ChallengeConfig  `mapstructure:"challenges"`
	BulkData    BulkDataConfig     `mapstructure:"bulk_data"`
	Sessions    SessionsConfig     `mapstructure:"sessions"`
	Identity    IdentityConfig     `mapstructure:"identity"`
	Trust       TrustConfig        `mapstructure:"trust"`
	Relay       RelayConfig        `mapstructure:"relay"`
	Limits      USPLimitsConfig    `mapstructure:"limits"`
	Broker      BrokerConfig       `mapstructure:"broker"`
}

// MTPConfig has one section a transport. MQTT and STOMP are off unless their
// section is present; the WebSocket server is on unless its listen is "", the
// others are off unless theirs is set. A controller that agents connect to turns
// its transport on, without a server.
type MTPConfig struct {
	WebSocket WebSocketConfig `mapstructure:"websocket"`
	MQTT      MQTTConfig      `mapstructure:"mqtt"`
	STOMP     STOMPConfig     `mapstructure:"stomp"`
	UDS       UDSConfig       `mapstructure:"uds"`
	CoAP      CoAPConfig      `mapstructure:"coap"`
}

// WebSocketConfig is the USP WebSocket server, and the connections that agents
// open to controllers.
type WebSocketConfig struct {
	Listen string          `mapstructure:"listen"`
	Path   string          `mapstructure:"path"`
	TLS    ServerTLS       `mapstructure:"tls"`
	Client WebSocketClient `mapstructure:"client"`
}

// MQTTConfig is the MQTT client that carries all agents, or those of each.
type MQTTConfig struct {
	Broker   string      `mapstructure:"broker"`
	Version  MQTTVersion `mapstructure:"version"`
	Topic    string      `mapstructure:"topic"`
	Username string      `mapstructure:"username"`
	Password Secret      `mapstructure:"password"`
	ClientID string      `mapstructure:"client_id"`
	TLS      ClientTLS   `mapstructure:"tls"`
	Trusted  Switch      `mapstructure:"trusted"` // the broker knows who its clients are

	Connections   Connections `mapstructure:"connections"`
	QoS           QoS         `mapstructure:"qos"`
	KeepAlive     Duration    `mapstructure:"keep_alive"`
	SessionExpiry Duration    `mapstructure:"session_expiry"`
	Will          WillConfig  `mapstructure:"will"`

	on       bool // the section is present, or
	embedded bool // the embedded broker is on and no other is named
}

// STOMPConfig is the STOMP client that carries all agents, or those of each.
type STOMPConfig struct {
	Broker      string    `mapstructure:"broker"`
	Destination string    `mapstructure:"destination"`
	Login       string    `mapstructure:"login"`
	Passcode    Secret    `mapstructure:"passcode"`
	Host        string    `mapstructure:"host"`
	TLS         ClientTLS `mapstructure:"tls"`
	Trusted     Switch    `mapstructure:"trusted"` // as of MQTT

	Connections Connections `mapstructure:"connections"`
	HeartBeat   Duration    `mapstructure:"heart_beat"` // 0: none

	on bool // the section is present
}

// ControllerConfig is one row of the Controller table that every agent starts
// with. Without mtp.protocol it is a controller that connects to the WebSocket
// server.
type ControllerConfig struct {
	EndpointID string            `mapstructure:"endpoint_id"`
	Role       string            `mapstructure:"role"`
	MTP        ControllerMTP     `mapstructure:"mtp"`
	Session    ControllerSession `mapstructure:"session"`
}

// ControllerMTP says where a controller is reached.
type ControllerMTP struct {
	Protocol    Protocol `mapstructure:"protocol"`
	Topic       string   `mapstructure:"topic"`
	Destination string   `mapstructure:"destination"`
	URL         string   `mapstructure:"url"`
}

// StoreConfig says where the bridge keeps what must survive a restart.
type StoreConfig struct {
	Driver StoreDriver `mapstructure:"driver"`
	Path   string      `mapstructure:"path"` // "": uspbridge.db in data_dir
	DSN    Secret      `mapstructure:"dsn"`

	// KeyFile has the key of the secrets in the store; "": secret.key in data_dir.
	KeyFile string `mapstructure:"key_file"`
}

// MappingConfig names a directory of mapping files over the embedded ones.
type MappingConfig struct {
	Dir string `mapstructure:"dir"`
}

// ConsoleConfig is the operator's listener. An empty listen turns it off.
type ConsoleConfig struct {
	Listen string `mapstructure:"listen"`
	Token  Secret `mapstructure:"token"`
}

// defaultConfig is the configuration of a bridge of which nothing is configured:
// embedded parts only.
func defaultConfig() Config {
	return Config{
		DataDir: "var",
		Log:     LogConfig{Level: LogLevel(slog.LevelInfo), Format: "text"},
		CWMP: CWMPConfig{
			Listen:            ":7547",
			TLS:               defaultServerTLS,
			Auth:              defaultAuth,
			InformInterval:    Duration(15 * time.Minute),
			ConnectionRequest: defaultConnectionRequest(),
			Poll:              PollConfig{Interval: Duration(5 * time.Minute), Rate: 10},
			Deadline:          Duration(30 * time.Second),
			Limits:            defaultLimits(),
			Files:             FilesConfig{MaxUpload: 64 << 20, TokenLife: Duration(time.Hour), MaxImage: 512 << 20, MaxImages: 8 << 30},
		},
		USP: USPConfig{
			EndpointID: "ops::{oui}-{product_class}-{serial}",
			BulkData:   defaultBulkData(),
			Sessions:   defaultSessions(),
			Identity:   defaultIdentity,
			Relay:      defaultRelay(),
			Limits:     defaultUSPLimits(),
			Broker:     defaultBroker(),
			MTP: MTPConfig{
				WebSocket: WebSocketConfig{Listen: ":7548", Path: "/usp", TLS: ServerTLS{MinVersion: "1.2", Ciphers: "modern"}, Client: defaultWebSocketClient()},
				UDS:       defaultUDS(),
				CoAP:      CoAPConfig{Path: "/usp"},
				MQTT: MQTTConfig{Broker: "tcp://127.0.0.1:1883", Version: "5.0", Topic: "usp/agent/{endpoint_id}", Trusted: true, Connections: sharedConnections,
					QoS: "1", KeepAlive: Duration(time.Minute), SessionExpiry: Duration(5 * time.Minute), Will: WillConfig{QoS: "0"}},
				STOMP: STOMPConfig{Broker: "tcp://127.0.0.1:61613", Destination: "/queue/usp.agent.{endpoint_id}", Host: "/", Trusted: true, Connections: sharedConnections,
					HeartBeat: Duration(30 * time.Second)},
			},
		},
		Store:   StoreConfig{Driver: "bbolt"},
		Console: ConsoleConfig{Listen: "127.0.0.1:7549"},
	}
}

// storePath is where the embedded store lies.
func (c *Config) storePath() string {
	if c.Store.Path != "" {
		return c.Store.Path
	}
	return filepath.Join(c.DataDir, "uspbridge.db")
}

// keyFile is where the key of the store's secrets lies.
func (c *Config) keyFile() string {
	if c.Store.KeyFile != "" {
		return c.Store.KeyFile
	}
	return filepath.Join(c.DataDir, "secret.key")
}

// filesDir is where files for CPE lie, and those from them.
func (c *Config) filesDir() string {
	if c.CWMP.Files.Dir != "" {
		return c.CWMP.Files.Dir
	}
	return filepath.Join(c.DataDir, "files")
}

// Secret is a text that is never shown: it prints as <secret>.
type Secret string

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "<secret>"
}

// GoString keeps %#v from showing the text.
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// MarshalText keeps encoders from showing the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue keeps slog from showing the text.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// UnmarshalText takes any text.
func (s *Secret) UnmarshalText(b []byte) error { *s = Secret(b); return nil }

// Duration is a time span in Go's notation, not negative.
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

// UnmarshalText reads 30s, 15m, 1h30m, 0.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration; write for example 30s, 15m or 1h30m", b)
	}
	if v < 0 {
		return fmt.Errorf("%q is negative", b)
	}
	*d = Duration(v)
	return nil
}

// Switch is true or false.
type Switch bool

func (s Switch) String() string { return strconv.FormatBool(bool(s)) }

// UnmarshalText reads true and false.
func (s *Switch) UnmarshalText(b []byte) error {
	text, err := oneOf(b, "true", "false")
	*s = text == "true"
	return err
}

// LogLevel is the least severity that is logged.
type LogLevel slog.Level

func (l LogLevel) String() string { return strings.ToLower(slog.Level(l).String()) }

// UnmarshalText reads debug, info, warn, error.
func (l *LogLevel) UnmarshalText(b []byte) error {
	text, err := oneOf(b, "debug", "info", "warn", "error")
	if err != nil {
		return err
	}
	return (*slog.Level)(l).UnmarshalText([]byte(text))
}

// LogFormat is text or json.
type LogFormat string

// UnmarshalText takes one of the formats.
func (f *LogFormat) UnmarshalText(b []byte) error { return choose(f, b, "text", "json") }

// MQTTVersion is the version of MQTT spoken to the broker.
type MQTTVersion string

// UnmarshalText takes the versions that the MQTT transport speaks.
func (v *MQTTVersion) UnmarshalText(b []byte) error { return choose(v, b, "5.0", "3.1.1") }

// Protocol is a transport by which a controller is reached; "" is none.
type Protocol mtp.Protocol

// UnmarshalText takes one of the transports that the bridge can reach a
// controller by.
func (p *Protocol) UnmarshalText(b []byte) error {
	return choose(p, b, "", Protocol(mtp.WebSocket), Protocol(mtp.MQTT), Protocol(mtp.STOMP), Protocol(mtp.UDS), Protocol(mtp.CoAP))
}

// StoreDriver is the kind of store.
type StoreDriver string

// UnmarshalText takes the drivers that are built in.
func (d *StoreDriver) UnmarshalText(b []byte) error {
	if string(b) == "postgres" {
		return errors.New(`the postgres driver is not built into this version; use bbolt`)
	}
	return choose(d, b, "bbolt")
}

// choose sets an enumeration to one of its values.
func choose[T ~string](to *T, b []byte, values ...T) error {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	text, err := oneOf(b, texts...)
	if err == nil {
		*to = T(text)
	}
	return err
}

func oneOf(b []byte, values ...string) (string, error) {
	if slices.Contains(values, string(b)) {
		return string(b), nil
	}
	values = slices.DeleteFunc(values, func(v string) bool { return v == "" })
	return "", fmt.Errorf("%q is not known; use %s", b, strings.Join(values, ", "))
}

// endpoint returns the controller's endpoint id.
func (c ControllerConfig) endpoint() usp.EndpointID { return usp.EndpointID(c.EndpointID) }
