package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/translate"
	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// check notes what is wrong with a configuration whose single values are all
// well-formed: values that do not go together, files that cannot be read.
func (l *configLoader) check(c *Config) {
	if c.DataDir == "" {
		l.invalid("data_dir", "must not be empty: the bridge keeps its devices there")
	}
	l.checkCWMP(c.CWMP)
	l.checkWebSocket(c.USP.MTP.WebSocket)
	l.checkUDS(c.USP.MTP.UDS)
	l.checkCoAP(c.USP.MTP.CoAP)
	if c.USP.MTP.MQTT.on {
		l.checkMQTT(c.USP.MTP.MQTT)
	}
	if c.USP.MTP.STOMP.on {
		l.checkSTOMP(c.USP.MTP.STOMP)
	}
	if _, err := translate.ParseEndpointTemplate(c.USP.EndpointID); err != nil {
		l.invalid("usp.endpoint_id", "%v", err)
	}
	l.checkRoles(c.USP)
	l.checkControllers(c.USP)
	l.checkBulkData(c.USP.BulkData)
	l.checkSessions(c.USP.Sessions)
	l.checkIdentity(c.USP.Identity)
	l.checkTrust(c.USP.Trust, c.USP.MTP.WebSocket)
	l.checkRelay(c.USP)
	l.checkUSPLimits(c.USP.Limits)
	l.checkEmbeddedBroker(c.USP)
	if c.Store.DSN != "" {
		l.invalid("store.dsn", "is for the postgres driver, which is not built into this version")
	}
	if c.Mappings.Dir != "" {
		if err := readableDir(c.Mappings.Dir); err != nil {
			l.invalid("mappings.dir", "%v", err)
		}
	}
	l.checkConsole(c.Console)
}

// maxPollRate is what no bridge can open sessions for.
const maxPollRate = 10_000

func (l *configLoader) checkCWMP(c CWMPConfig) {
	if c.Listen == "" {
		l.invalid("cwmp.listen", "must not be empty: CPE have nowhere to inform to")
	}
	l.checkListen("cwmp.listen", c.Listen)
	l.checkServerTLS("cwmp.tls", c.TLS)
	l.checkAuth(c)
	l.checkConnectionRequest(c.ConnectionRequest)
	l.checkNotification(c.Notification, c.Auth)
	if c.Deadline == 0 {
		l.invalid("cwmp.deadline", "must be more than 0")
	}
	// PeriodicInformInterval counts whole seconds, in 32 bits.
	if i := time.Duration(c.InformInterval); i%time.Second != 0 || i/time.Second > math.MaxUint32 {
		l.invalid("cwmp.inform_interval", "%v cannot be set on a CPE: want whole seconds, or 0s to leave each CPE its own", i)
	}
	if i := time.Duration(c.Poll.Interval); i != 0 && i < translate.MinPollInterval {
		l.invalid("cwmp.poll.interval", "%v is too short: want at least %v, or 0s not to poll", i, translate.MinPollInterval)
	}
	if c.Poll.Rate == 0 || c.Poll.Rate > maxPollRate {
		l.invalid("cwmp.poll.rate", "%d CPE a second: want 1 to %d; cwmp.poll.interval 0s turns polling off", c.Poll.Rate, maxPollRate)
	}
	l.checkLimits(c.Limits)
	l.checkFiles(c.Files)
	if c.Upstream.URL != "" {
		l.invalid("cwmp.upstream.url", "passing devices through to an existing ACS is not built into this version; leave it empty")
	}
}

func (l *configLoader) checkFiles(c FilesConfig) {
	if u, err := url.Parse(c.URL); c.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil) {
		l.invalid("cwmp.files.url", "is not the scheme and host that CPE use; write for example https://acs.example:7547")
	}
	if c.MaxUpload == 0 {
		l.invalid("cwmp.files.max_upload", "must be more than 0")
	}
	if c.MaxImage == 0 {
		l.invalid("cwmp.files.max_image", "must be more than 0")
	}
	if c.MaxImages < c.MaxImage {
		l.wrong("cwmp.files.max_images", "must be no less than cwmp.files.max_image, or that would not fit")
	}
	l.checkAllow("cwmp.files.allow", c.Allow)
	if c.TokenLife == 0 {
		l.invalid("cwmp.files.token_life", "must be more than 0")
	}
}

func (l *configLoader) checkWebSocket(c WebSocketConfig) {
	l.checkListen("usp.mtp.websocket.listen", c.Listen)
	if !strings.HasPrefix(c.Path, "/") || strings.ContainsAny(c.Path, "?#{} ") {
		l.invalid("usp.mtp.websocket.path", "%q is not a URL path; write for example /usp", c.Path)
	}
	l.checkServerTLS("usp.mtp.websocket.tls", c.TLS)
	l.checkWebSocketClient(c.Client)
}

func (l *configLoader) checkMQTT(c MQTTConfig) {
	secure := !c.embedded && l.checkBroker("usp.mtp.mqtt.broker", c.Broker, []string{"tcp", "mqtt", "ws"}, []string{"ssl", "tls", "mqtts", "wss"})
	l.checkClientTLS("usp.mtp.mqtt.tls", c.TLS, secure)
	if c.Topic == "" || strings.ContainsAny(c.Topic, "+#") {
		l.invalid("usp.mtp.mqtt.topic", "%q is not a topic; wildcards are not allowed, {endpoint_id} may stand in it", c.Topic)
	}
	l.checkTemplate("usp.mtp.mqtt.topic", c.Topic)
	for level := range strings.SplitSeq(c.Topic, "/") {
		if level != mtp.EndpointPlaceholder && strings.Contains(level, mtp.EndpointPlaceholder) {
			l.invalid("usp.mtp.mqtt.topic", "%q: {endpoint_id} must be a whole level, between slashes", c.Topic)
		}
	}
	l.checkMQTTConnections(c)
}

func (l *configLoader) checkSTOMP(c STOMPConfig) {
	secure := l.checkBroker("usp.mtp.stomp.broker", c.Broker, []string{"tcp", "stomp"}, []string{"ssl", "tls", "stomps"})
	l.checkClientTLS("usp.mtp.stomp.tls", c.TLS, secure)
	if c.Destination == "" {
		l.invalid("usp.mtp.stomp.destination", "must not be empty; write for example /queue/usp.agent.{endpoint_id}")
	}
	l.checkTemplate("usp.mtp.stomp.destination", c.Destination)
	l.checkSTOMPConnections(c)
}

// checkTemplate allows {endpoint_id} as the only placeholder.
func (l *configLoader) checkTemplate(key, text string) {
	if strings.ContainsAny(strings.ReplaceAll(text, "{endpoint_id}", ""), "{}") {
		l.invalid(key, "%q: only {endpoint_id} can stand in braces", text)
	}
}

// checkBroker checks a broker's URL and reports whether it asks for TLS.
func (l *configLoader) checkBroker(key, broker string, plain, secure []string) bool {
	u, err := url.Parse(broker)
	if err != nil {
		l.invalid(key, "is not a URL; write for example tcp://127.0.0.1:1883")
		return false
	}
	if u.User != nil {
		l.invalid(key, "has credentials in it; put them into their own keys, which are never shown")
	}
	for _, s := range secure {
		if u.Scheme == s && u.Hostname() != "" {
			return true
		}
	}
	for _, s := range plain {
		if u.Scheme == s && u.Hostname() != "" {
			return false
		}
	}
	l.invalid(key, "%q is not a broker's URL; want a scheme of %s and a host, for example tcp://127.0.0.1:1883",
		u.Redacted(), strings.Join(append(plain, secure...), ", "))
	return false
}

func (l *configLoader) checkControllers(c USPConfig) {
	seen := map[string]int{}
	for i, ctl := range c.Controllers {
		key := fmt.Sprintf("usp.controllers[%d]", i)
		if err := ctl.endpoint().Validate(); err != nil {
			l.invalid(key+".endpoint_id", "%v", err)
		} else if ctl.endpoint() == agent.BuiltinController {
			l.invalid(key+".endpoint_id", "%q is the command line's; give the controller another", ctl.EndpointID)
		} else if first, ok := seen[ctl.EndpointID]; ok {
			l.wrong(key+".endpoint_id", "%q is also usp.controllers[%d]", ctl.EndpointID, first)
		} else {
			seen[ctl.EndpointID] = i
		}
		l.checkRole(key+".role", ctl.Role, c)
		l.checkControllerMTP(key+".mtp", ctl.MTP, c.MTP)
		l.checkControllerSession(key+".session", ctl.Session)
	}
}

// checkControllerMTP wants exactly the address that the protocol needs, and the
// transport itself to be on.
func (l *configLoader) checkControllerMTP(key string, m ControllerMTP, transports MTPConfig) {
	on := map[Protocol]bool{"": true, Protocol(mtp.WebSocket): true,
		Protocol(mtp.MQTT): transports.MQTT.on, Protocol(mtp.STOMP): transports.STOMP.on, Protocol(mtp.UDS): true,
		Protocol(mtp.CoAP): transports.CoAP.Listen != ""}
	switch {
	case on[m.Protocol]:
	case m.Protocol == Protocol(mtp.CoAP):
		l.wrong(key+".protocol", "CoAP is off: set usp.mtp.coap.listen, for example :5683; controllers answer there")
	case m.Protocol == Protocol(mtp.MQTT):
		l.wrong(key+".protocol", "MQTT is off: add a section usp.mtp.mqtt, or set usp.broker.listen to have a broker here")
	default:
		l.wrong(key+".protocol", "%s is off: add a section usp.mtp.%s", m.Protocol, strings.ToLower(string(m.Protocol)))
	}
	for _, a := range []struct {
		name, value string
		protocol    Protocol
	}{
		{"topic", m.Topic, Protocol(mtp.MQTT)},
		{"destination", m.Destination, Protocol(mtp.STOMP)},
	} {
		if a.value == "" && m.Protocol == a.protocol {
			l.wrong(key+"."+a.name, "must not be empty: it is where a controller is reached by %s", a.protocol)
		} else if a.value != "" && m.Protocol != a.protocol {
			l.wrong(key+"."+a.name, "is for protocol %s, but this controller's is %q", a.protocol, string(m.Protocol))
		}
	}
	l.checkControllerURL(key+".url", m, transports)
}

// minToken is the shortest console token, in characters: who guesses it owns the
// fleet.
const minToken = 16

func (l *configLoader) checkConsole(c ConsoleConfig) {
	l.checkListen("console.listen", c.Listen)
	host, _, err := net.SplitHostPort(c.Listen)
	if err == nil && c.Token == "" && !isLoopbackHost(host) {
		l.wrong("console.token", "must be set, since console.listen %q can be reached from other machines", c.Listen)
	}
	if n := len(c.Token); n > 0 && n < minToken {
		l.invalid("console.token", "has %d characters; use at least %d, for example of `openssl rand -hex 16`", n, minToken)
	}
}

func isLoopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkListen wants host:port with a number for the port; "" is off.
func (l *configLoader) checkListen(key, listen string) {
	if listen == "" {
		return
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		l.invalid(key, "%q is not an address; write for example :7547 or 127.0.0.1:7547", listen)
		return
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 {
		l.invalid(key, "%q is not a port; use a number from 0 to 65535", port)
	}
	if host != "" && host != "localhost" && net.ParseIP(host) == nil {
		if strings.ContainsAny(host, " /@") {
			l.invalid(key, "%q is not a host", host)
		}
	}
}

func (l *configLoader) checkClientTLS(key string, t ClientTLS, secure bool) {
	if !secure && t != (ClientTLS{}) {
		l.wrong(key, "is set, but the broker's URL does not ask for TLS")
		return
	}
	if (t.Cert == "") != (t.Key == "") {
		l.wrong(key, "cert and key must both be set, or neither")
		return
	}
	l.checkPair(key, t.Cert, t.Key)
	l.checkCA(key+".ca", t.CA)
}

func (l *configLoader) checkPair(key, cert, private string) {
	if cert == "" {
		return
	}
	if _, err := tls.LoadX509KeyPair(cert, private); err != nil {
		at := key + ".cert"
		var path *os.PathError
		if errors.As(err, &path) && path.Path == private && private != cert {
			at = key + ".key"
		}
		l.wrong(at, "%v", err)
	}
}

func (l *configLoader) checkCA(key, file string) {
	if file == "" {
		return
	}
	if _, err := readCA(file); err != nil {
		l.invalid(key, "%v", err)
	}
}

// readCA reads the certificates that are trusted.
func readCA(file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s: no certificate in PEM form", file)
	}
	return pool, nil
}

func readableDir(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	return nil
}
