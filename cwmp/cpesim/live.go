package cpesim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

// role marks the parameters whose value is not simply the model's text: they
// belong to the single CPE, or change with time.
type role uint8

const (
	roleNone role = iota
	roleManufacturer
	roleOUI
	roleProductClass
	roleSerialNumber
	roleUpTime
	roleLocalTime
	roleACSURL
	roleACSUsername
	roleACSPassword
	roleInformInterval
	roleConnectionRequestURL
	roleCounter // grows while the CPE is up
	roleLease   // runs down and starts again
)

// roles of parameters by their path after the root, the same in TR-098 and
// TR-181.
func roleOf(afterRoot string) role {
	switch afterRoot {
	case "DeviceInfo.Manufacturer":
		return roleManufacturer
	case "DeviceInfo.ManufacturerOUI":
		return roleOUI
	case "DeviceInfo.ProductClass":
		return roleProductClass
	case "DeviceInfo.SerialNumber":
		return roleSerialNumber
	case "DeviceInfo.UpTime":
		return roleUpTime
	case "Time.CurrentLocalTime":
		return roleLocalTime
	case "ManagementServer.URL":
		return roleACSURL
	case "ManagementServer.Username":
		return roleACSUsername
	case "ManagementServer.Password":
		return roleACSPassword
	case "ManagementServer.PeriodicInformInterval":
		return roleInformInterval
	case "ManagementServer.ConnectionRequestURL":
		return roleConnectionRequestURL
	}
	return roleNone
}

// classify sets what a parameter's name tells about it. full is its path, with
// or without instance numbers.
func (n *node) classify(full cwmp.Path) {
	if n.object {
		return
	}
	name := leaf(full)
	after := string(full[len(full.Root()):])
	n.role = roleOf(after)
	if n.role == roleNone && !n.writable && isNumber(n.typ) {
		switch {
		case strings.HasSuffix(name, "Uptime") || name == "UpTime":
			n.role = roleUpTime
		case name == "LeaseTimeRemaining":
			n.role = roleLease
		case isTrafficCounter(name):
			n.role = roleCounter
		}
	}
	switch name {
	case "Password", "ConnectionRequestPassword", "STUNPassword", "PreSharedKey", "KeyPassphrase", "WEPKey",
		"SAEPassphrase", "RadiusSecret", "SharedSecret":
		n.hidden = n.writable
	}
	switch after {
	case "DeviceInfo.SoftwareVersion", "DeviceInfo.ProvisioningCode", "ManagementServer.ConnectionRequestURL",
		"ManagementServer.UDPConnectionRequestAddress", "ManagementServer.ConnReqJabberID":
		n.forced = true // TR-098 and TR-181: activeNotify forceEnabled or forceDefaultEnabled
	}
	if name == "ExternalIPAddress" && strings.HasPrefix(after, "WANDevice.") {
		n.forced = true // TR-098: the default connection's address is in each Inform
	}
	n.denies = n.role == roleUpTime || n.role == roleLocalTime || n.role == roleCounter || n.role == roleLease
}

func isNumber(t cwmp.Type) bool {
	switch t {
	case cwmp.TypeInt, cwmp.TypeUnsignedInt, cwmp.TypeLong, cwmp.TypeUnsignedLong:
		return true
	}
	return false
}

// isTrafficCounter tells the byte and packet counts of the Stats objects and of
// TR-098's TotalBytesSent family; error counts stand still.
func isTrafficCounter(name string) bool {
	moves := strings.HasSuffix(name, "Sent") || strings.HasSuffix(name, "Received")
	return moves && (strings.Contains(name, "Bytes") || strings.Contains(name, "Packets")) &&
		!strings.Contains(name, "Discard") && !strings.HasPrefix(name, "Test")
}

// live returns the present factory-layer value of a parameter: what it reads as
// long as nobody has written it. c.mu is held.
func (c *CPE) live(name cwmp.Path, n *node, now time.Time) string {
	switch n.role {
	case roleManufacturer:
		return c.identity.Manufacturer
	case roleOUI:
		return c.identity.OUI
	case roleProductClass:
		return c.identity.ProductClass
	case roleSerialNumber:
		return c.identity.SerialNumber
	case roleUpTime:
		return strconv.FormatInt(c.upTime(now), 10)
	case roleLocalTime:
		return now.UTC().Format(time.RFC3339)
	case roleACSURL:
		return c.factory.ACSURL
	case roleACSUsername:
		return c.factory.Username
	case roleACSPassword:
		return c.factory.Password
	case roleInformInterval:
		if c.factory.PeriodicInform > 0 {
			return strconv.FormatInt(int64(c.factory.PeriodicInform/time.Second), 10)
		}
	case roleConnectionRequestURL:
		return c.fleet.connectionRequestURL(c)
	case roleCounter:
		return c.traffic(name, n, now)
	case roleLease:
		if lease, err := strconv.ParseInt(n.text, 10, 64); err == nil && lease > 0 {
			return strconv.FormatInt(lease-c.upTime(now)%lease, 10)
		}
	}
	if n.expands {
		return expand(n.text, c.identity, c.seed)
	}
	return n.text
}

func (c *CPE) upTime(now time.Time) int64 {
	if c.bootedAt.IsZero() || now.Before(c.bootedAt) {
		return 0
	}
	return int64(now.Sub(c.bootedAt) / time.Second)
}

// traffic is a counter's value: the model's value plus a rate that depends on
// the counter's name, so that each grows steadily and differs from the others.
// A counter of type unsignedInt wraps at 2^32, as on the device.
func (c *CPE) traffic(name cwmp.Path, n *node, now time.Time) string {
	base, err := strconv.ParseUint(n.text, 10, 64)
	if err != nil {
		return n.text
	}
	if base == 0 {
		return "0" // an interface without traffic
	}
	rate := hash64(string(name)) % 61
	if strings.Contains(leaf(name), "Bytes") {
		rate *= 740
	}
	v := base + rate*uint64(c.upTime(now))
	if n.typ == cwmp.TypeUnsignedInt || n.typ == cwmp.TypeInt {
		v &= 1<<32 - 1
	}
	if n.typ == cwmp.TypeInt {
		v &= 1<<31 - 1
	}
	return strconv.FormatUint(v, 10)
}

// expand fills in the placeholders of a model's value: {serial}; {mac:N}, the
// CPE's N-th own hardware address (its OUI in front); {host:N}, the address of
// the N-th device behind it (locally administered); {wan}, its address on the
// operator's side, and {gateway}, the router there (100.64.0.0/10, RFC 6598).
func expand(text string, id cwmp.DeviceID, seed uint64) string {
	if text == "" {
		return text
	}
	var b strings.Builder
	for {
		open := strings.IndexByte(text, '{')
		end := strings.IndexByte(text[max(open, 0):], '}') + max(open, 0)
		if open < 0 || end < open {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:open])
		kind, number, _ := strings.Cut(text[open+1:end], ":")
		n, err := strconv.ParseUint(number, 10, 8)
		if err != nil {
			n = 0
		}
		switch kind {
		case "serial":
			b.WriteString(id.SerialNumber)
		case "mac":
			b.WriteString(macAddress(id.OUI, seed, n))
		case "host":
			b.WriteString(macAddress("", seed, n))
		case "wan":
			fmt.Fprintf(&b, "100.%d.%d.%d", 64+seed>>16&63, seed>>8&255, 2+seed&127)
		case "gateway":
			fmt.Fprintf(&b, "100.%d.%d.1", 64+seed>>16&63, seed>>8&255)
		default:
			b.WriteString(text[open : end+1]) // not ours: part of the value
		}
		text = text[end+1:]
	}
}

// macAddress makes a hardware address: the CPE's OUI or, for other devices, a
// locally administered one, then three bytes of the CPE's seed plus n.
func macAddress(oui string, seed, n uint64) string {
	prefix := "02005E"
	if len(oui) == 6 {
		prefix = strings.ToUpper(oui)
	}
	low := (seed + n) & 0xffffff
	return fmt.Sprintf("%s:%s:%s:%02X:%02X:%02X", prefix[0:2], prefix[2:4], prefix[4:6], low>>16, low>>8&255, low&255)
}

// hash64 is FNV-1a: it spreads names and identities, no more.
func hash64(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
