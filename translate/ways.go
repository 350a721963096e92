package translate

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/connreq"
	"github.com/uspbridge/uspbridge/translate/tree"
)

// WakeWay is a way to ask a CPE for a session.
type WakeWay string

// The ways, as they are called in metrics and texts.
const (
	WakeHTTP WakeWay = "HTTP"
	WakeUDP  WakeWay = "UDP"
	WakeXMPP WakeWay = "XMPP"
)

// ways returns by which ways the CPE can be asked for a session, the most
// promising first, and why it cannot be by others.
//
// What worked last comes first. Then HTTP, if nothing speaks against it: a
// private address does unless the CPE informs from that very address. Then UDP,
// then XMPP, and HTTP to a private address last: there may be a route after all.
func (b *Bridge) ways(key cwmp.DeviceKey, s *snapshot) (open []WakeWay, closed []string) {
	direct, why := s.httpTarget()
	if why != "" {
		closed = append(closed, why)
	} else if direct {
		open = append(open, WakeHTTP)
	}
	if _, why := b.udpTargets(key, s); why == "" {
		open = append(open, WakeUDP)
	} else {
		closed = append(closed, why)
	}
	if _, why := b.xmppTarget(s); why == "" {
		open = append(open, WakeXMPP)
	} else {
		closed = append(closed, why)
	}
	if why == "" && !direct {
		open = append(open, WakeHTTP)
	}
	if i := slices.Index(open, s.rec.WokenBy); i > 0 {
		open = append([]WakeWay{s.rec.WokenBy}, slices.Delete(open, i, i+1)...)
	}
	return open, closed
}

// httpTarget reports whether a connection request by HTTP is likely to arrive,
// and why none can be made.
func (s *snapshot) httpTarget() (direct bool, why string) {
	u, err := url.Parse(s.rec.ConnectionURL)
	if s.rec.ConnectionURL == "" || err != nil {
		return false, "it has told no ConnectionRequestURL that can be used"
	}
	return !connreq.Private(u.Hostname()) || u.Hostname() == s.rec.Remote, ""
}

// behindNAT says that the CPE is, where that is known.
func (s *snapshot) behindNAT() string {
	direct, why := s.httpTarget()
	if why != "" || direct {
		return ""
	}
	u, err := url.Parse(s.rec.ConnectionURL)
	if err != nil {
		return ""
	}
	text := "behind NAT: its address " + u.Hostname() + " is private"
	if s.rec.Remote != "" {
		text += ", and it informs from " + s.rec.Remote
	}
	return text
}

// udpTargets returns where UDP Connection Requests to the CPE may get in, or why
// nowhere. The binding that it keeps open by STUN is sure; right after a start
// the one known from before may still be. Last comes what it says itself, for CPE
// whose STUN client proves nothing.
func (b *Bridge) udpTargets(key cwmp.DeviceKey, s *snapshot) (targets []netip.AddrPort, why string) {
	if b.udp == nil {
		return nil, "no STUN server is configured here"
	}
	add := func(a netip.AddrPort) {
		if a.IsValid() && a.Port() != 0 && !slices.Contains(targets, a) {
			targets = append(targets, a)
		}
	}
	if a, fresh := b.udp.Binding(key); fresh {
		add(a)
	} else if a, err := netip.ParseAddrPort(s.rec.Binding); err == nil && !b.udp.Settled() {
		add(a)
	}
	if told, ok := s.param("ManagementServer.UDPConnectionRequestAddress"); ok {
		if a, ok := parseAuthority(told); ok && (!connreq.Private(a.Addr().String()) || a.Addr().String() == s.rec.Remote) {
			add(a)
		}
	}
	switch {
	case len(targets) > 0:
		return targets, ""
	case s.rec.Binding != "":
		return nil, "its STUN binding has not been kept open"
	}
	return nil, "no STUN binding"
}

// parseAuthority reads UDPConnectionRequestAddress: host:port or, for port 80,
// host alone (TR-181).
func parseAuthority(text string) (netip.AddrPort, bool) {
	if a, err := netip.ParseAddrPort(text); err == nil {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), true
	}
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return netip.AddrPortFrom(a.Unmap(), 80), err == nil
}

// xmppTarget returns the CPE's Jabber id, or why it cannot be asked by XMPP.
func (b *Bridge) xmppTarget(s *snapshot) (jid, why string) {
	if b.xmpp == nil {
		return "", "no XMPP server is configured here"
	}
	jid, _ = s.param("ManagementServer.ConnReqJabberID")
	if jid == "" {
		return "", "it has no Jabber id"
	}
	if err := b.xmpp.Status(); err != nil {
		return "", err.Error()
	}
	return jid, ""
}

// param returns a parameter by its path after the root, as it is known.
func (s *snapshot) param(afterRoot cwmp.Path) (text string, known bool) {
	if s.tree == nil {
		return "", false
	}
	name := s.rec.Root + afterRoot
	if after, ok := strings.CutPrefix(string(afterRoot), "ManagementServer."); ok {
		name = managementServer(s) + cwmp.Path(after)
	}
	p, inst, ok := locate(s.tree, name)
	if !ok {
		return "", false
	}
	v, ok := s.tree.Value(p, inst)
	return v.Text, ok && v.State == tree.Known
}

// nextInform returns by when the CPE informs without being asked, zero if that
// is not known: the longest that its PeriodicInformInterval lets it wait.
func (s *snapshot) nextInform() time.Time {
	interval, _ := s.param("ManagementServer.PeriodicInformInterval")
	enabled, _ := s.param("ManagementServer.PeriodicInformEnable")
	n, err := strconv.ParseUint(interval, 10, 32)
	if err != nil || n == 0 || !isTrue(enabled) {
		return time.Time{}
	}
	return s.rec.LastInform.Add(time.Duration(n) * time.Second)
}

// served says when a CPE that does not come when it is called will be served.
func (b *Bridge) served(s *snapshot) string {
	next := s.nextInform()
	switch {
	case next.IsZero():
		return "it is served at its next Inform; when that is, is not known"
	case next.Before(b.now()):
		return "it is served at its next Inform, which is overdue since " + dateTime(next) + ": it may be offline"
	}
	return "it is served at its next Inform, expected before " + dateTime(next)
}

// reachability says in words whether the CPE comes when it is called, and else
// when it comes and why.
func (b *Bridge) reachability(key cwmp.DeviceKey, s *snapshot) string {
	open, closed := b.ways(key, s)
	switch {
	case s.rec.WakeError != "":
		return s.rec.WakeError + "; " + b.served(s)
	case len(open) == 0:
		return strings.Join(append(closed, b.served(s)), "; ")
	}
	text := "by connection request: " + joinWays(open)
	if nat := s.behindNAT(); nat != "" {
		text += "; " + nat
	}
	if s.rec.WokenBy != "" {
		text += "; it came last by " + string(s.rec.WokenBy)
	}
	return text
}

// reachableBy lists the ways that are open, the first to be tried first.
func (b *Bridge) reachableBy(key cwmp.DeviceKey, s *snapshot) string {
	open, _ := b.ways(key, s)
	return joinWays(open)
}

func joinWays(ways []WakeWay) string {
	texts := make([]string, len(ways))
	for i, w := range ways {
		texts[i] = string(w)
	}
	return strings.Join(texts, ",")
}

// host returns the IP address of an address with a port.
func host(address string) string {
	h, _, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return strings.Clone(h)
}
