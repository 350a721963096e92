package main

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// ConnectionRequestConfig says how CPE are woken. With an empty username each
// CPE is given credentials of its own at first contact.
type ConnectionRequestConfig struct {
	Timeout       Duration `mapstructure:"timeout"` // of each way that is tried
	MaxConcurrent Count    `mapstructure:"max_concurrent"`
	Username      string   `mapstructure:"username"`
	Password      Secret   `mapstructure:"password"`
	// Provision is false if CPE have their credentials by other means and none
	// are to be written to them.
	Provision Switch     `mapstructure:"provision"`
	STUN      STUNConfig `mapstructure:"stun"`
	XMPP      XMPPConfig `mapstructure:"xmpp"`
}

// STUNConfig is the STUN server through which CPE behind NAT are woken. An empty
// listen turns it off.
type STUNConfig struct {
	Listen       string   `mapstructure:"listen"`
	Address      string   `mapstructure:"address"` // host:port that CPE are told
	MinKeepAlive Duration `mapstructure:"min_keepalive"`
	MaxKeepAlive Duration `mapstructure:"max_keepalive"`
}

// XMPPConfig is the bridge's account on the XMPP server over which CPE are woken.
// An empty server turns it off.
type XMPPConfig struct {
	Server   string           `mapstructure:"server"` // xmpp://host:port with STARTTLS, xmpps://host:port
	Domain   string           `mapstructure:"domain"`
	Username string           `mapstructure:"username"`
	Password Secret           `mapstructure:"password"`
	Resource string           `mapstructure:"resource"`
	TLS      ClientTLS        `mapstructure:"tls"`
	Device   XMPPDeviceConfig `mapstructure:"device"`
}

// XMPPDeviceConfig is the account that CPE are given. An empty username leaves
// them the one that they have.
type XMPPDeviceConfig struct {
	Username string `mapstructure:"username"` // template: {oui}, {product_class}, {serial}
	Password Secret `mapstructure:"password"`
	Server   string `mapstructure:"server"` // host:port; "" leaves CPE to find it by DNS
}

// NotificationConfig is where lightweight notifications are taken. An empty
// listen turns it off.
type NotificationConfig struct {
	Listen  string `mapstructure:"listen"`
	Address string `mapstructure:"address"` // host:port that CPE are told
}

func defaultConnectionRequest() ConnectionRequestConfig {
	return ConnectionRequestConfig{
		Timeout: Duration(10 * time.Second), MaxConcurrent: 256, Provision: true,
		STUN: STUNConfig{MinKeepAlive: Duration(30 * time.Second), MaxKeepAlive: Duration(time.Minute)},
		XMPP: XMPPConfig{Resource: "uspbridge"},
	}
}

func (l *configLoader) checkConnectionRequest(c ConnectionRequestConfig) {
	if c.Timeout == 0 {
		l.invalid("cwmp.connection_request.timeout", "must be more than 0")
	}
	if c.MaxConcurrent == 0 {
		l.invalid("cwmp.connection_request.max_concurrent", "must be more than 0")
	}
	if (c.Username == "") != (c.Password == "") {
		l.wrong("cwmp.connection_request", "username and password must both be set, or both be empty to have them made for each CPE")
	}
	l.checkSTUN(c.STUN)
	l.checkXMPP(c.XMPP)
}

func (l *configLoader) checkSTUN(c STUNConfig) {
	const section = "cwmp.connection_request.stun"
	l.checkTold(section, c.Listen, c.Address)
	if c.MinKeepAlive < Duration(time.Second) || c.MaxKeepAlive < c.MinKeepAlive {
		l.wrong(section, "min_keepalive must be at least 1s and max_keepalive not less than it, but they are %v and %v", c.MinKeepAlive, c.MaxKeepAlive)
	}
}

// checkTold checks a UDP listener and the address that CPE are told of it: the
// bridge cannot know under which one they reach it.
func (l *configLoader) checkTold(section, listen, address string) {
	l.checkListen(section+".listen", listen)
	switch {
	case listen == "" && address != "":
		l.wrong(section+".address", "is set, but %s.listen is empty: there would be nobody at it", section)
	case listen != "" && address == "":
		l.wrong(section+".address", "must be set: it is the host and port that CPE are told, for example acs.example:3478")
	case address != "":
		l.checkAddress(section+".address", address)
	}
}

// checkAddress wants host:port, both given.
func (l *configLoader) checkAddress(key, address string) {
	host, port, err := net.SplitHostPort(address)
	n, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || host == "" || n == 0 || strings.ContainsAny(host, " /@") {
		l.invalid(key, "%q is not a host and port; write for example acs.example:3478", address)
	}
}

func (l *configLoader) checkXMPP(c XMPPConfig) {
	const section = "cwmp.connection_request.xmpp"
	if c.Server == "" {
		if c.Domain != "" || c.Username != "" || c.Password != "" || c.TLS != (ClientTLS{}) || c.Device != (XMPPDeviceConfig{}) {
			l.wrong(section+".server", "must be set, for example xmpp://xmpp.example:5222: without it XMPP is off and the section's other keys do nothing")
		}
		return
	}
	if _, _, err := xmppServer(c.Server); err != nil {
		l.invalid(section+".server", "%v", err)
	}
	for _, k := range []struct{ name, value string }{{"domain", c.Domain}, {"username", c.Username}, {"password", string(c.Password)}} {
		if k.value == "" {
			l.wrong(section+"."+k.name, "must not be empty: the bridge logs in to the XMPP server with it")
		}
	}
	l.checkClientTLS(section+".tls", c.TLS, true)
	if (c.Device.Username == "") != (c.Device.Password == "") {
		l.wrong(section+".device", "username and password must both be set, or both be empty to leave CPE the account that they have")
	}
	if rest := strings.NewReplacer("{oui}", "", "{product_class}", "", "{serial}", "").Replace(c.Device.Username); strings.ContainsAny(rest, "{}") {
		l.wrong(section+".device.username", "%q: only {oui}, {product_class} and {serial} can stand in braces", c.Device.Username)
	}
	if c.Device.Server != "" {
		l.checkAddress(section+".device.server", c.Device.Server)
	}
}

// xmppServer splits the URL of an XMPP server; direct is TLS from the first byte.
func xmppServer(server string) (address string, direct bool, err error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "xmpp" && u.Scheme != "xmpps" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" {
		return "", false, fmt.Errorf("is not an XMPP server; write for example xmpp://xmpp.example:5222 (STARTTLS) or xmpps://xmpp.example:5223")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"xmpp": "5222", "xmpps": "5223"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port), u.Scheme == "xmpps", nil
}

func (l *configLoader) checkNotification(c NotificationConfig, auth AuthConfig) {
	const section = "cwmp.lightweight_notification"
	l.checkTold(section, c.Listen, c.Address)
	if c.Listen != "" && auth.Mode != "basic" && auth.Mode != "digest" {
		l.wrong(section+".listen", "needs cwmp.auth.mode basic or digest: notifications are signed with the password that CPE authenticate with")
	}
}
