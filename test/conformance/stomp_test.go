package conformance

import (
	"slices"
	"strconv"
	"strings"

	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// stompCases are the tests of section 6. One connection of the bridge carries all
// its agents.
func stompCases() []testCase {
	return forOnly(mtp.STOMP, slices.Concat([]testCase{
		{number: "6.1", title: "The profiles of STOMP", play: func(t *trial) {
			t.supports("Device.STOMP.", "Device.STOMP.ConnectionNumberOfEntries", "Device.STOMP.Connection.{i}.Alias", "Device.STOMP.Connection.{i}.Enable",
				"Device.STOMP.Connection.{i}.Status", "Device.STOMP.Connection.{i}.Host", "Device.STOMP.Connection.{i}.Port", "Device.STOMP.Connection.{i}.VirtualHost",
				"Device.STOMP.Connection.{i}.ServerRetryInitialInterval", "Device.STOMP.Connection.{i}.ServerRetryIntervalMultiplier",
				"Device.STOMP.Connection.{i}.ServerRetryMaxInterval",
				"Device.LocalAgent.Controller.{i}.MTP.{i}.STOMP.Reference", "Device.LocalAgent.Controller.{i}.MTP.{i}.STOMP.Destination")
			own := t.own(primaryID)
			t.holds(t.rowOf(localAgent+"MTP.", "Protocol", "STOMP")+"STOMP.", "Destination="+t.field.agentAddress(t.agent))
			t.holds(own+"MTP.1.STOMP.", "Reference="+strings.TrimSuffix(t.rowOf("Device.STOMP.Connection.", "Status", "Enabled"), "."))
		}},
		{number: "6.2", title: "A session is established", play: func(t *trial) {
			p, s := t.throughProxy("")
			f := p.next("STOMP")
			if f.Header.Get("accept-version") != "1.2" || f.Header.Get("host") == "" || f.Header.Get("login") != "guest" || f.Header.Get("endpoint-id") == "" {
				t.Errorf("STOMP has %v", f.Header)
			}
			if got := p.next("SUBSCRIBE").Header.Get("destination"); got != s.field.agentAddress(s.agent) {
				t.Errorf("subscribed to %q", got)
			}
		}},
		{number: "6.3", timed: true, title: "A connection that fails is tried again, later each time", play: func(t *trial) {
			p, s := t.throughProxy("")
			p.next("STOMP")
			p.cut(2)
			again := p.next("STOMP")
			p.mu.Lock()
			tries := append(slices.Clone(p.refused), again.at)
			p.mu.Unlock()
			t.between("the second try", tries[1].Sub(tries[0]), 1, 4)
			t.between("the third try", tries[2].Sub(tries[1]), 2, 8)
			s.answersAgain()
		}},
		{number: "6.4", title: "The SEND frame", play: func(t *trial) {
			p, s := t.throughProxy("")
			s.deviceInfo()
			s.sent(p, s.field.agentAddress(s.agent))
		}},
		{number: "6.5", title: "The server names the destination", play: func(t *trial) {
			destination := "/queue/" + t.field.gateway.name + ".assigned"
			p, s := t.throughProxy(destination)
			if got := p.next("SUBSCRIBE").Header.Get("destination"); got != destination {
				t.Errorf("subscribed to %q, want %q", got, destination)
			}
			s.deviceInfo()
			s.sent(p, destination)
		}},
		{number: "6.9", title: "A malformed record is ignored", play: malformedRecords},
		{number: "6.11", title: "TLS", play: func(t *trial) {
			c := newCertificate(t.T)
			p := newSTOMPProxy(t.T, t.field.broker, &c)
			newField(t.T, &field{gateway: t.field.gateway, over: mtp.STOMP, broker: t.field.broker, realm: "-tls"}, map[string]any{
				"usp.mtp.stomp.broker": "ssl://" + p.address(), "usp.mtp.stomp.tls.ca": c.certFile,
			}).start(t.T).deviceInfo()
			p.next("SEND")
		}},
		{number: "6.12", title: "An agent whose device has rebooted sends a STOMPConnect record", play: func(t *trial) {
			r := t.connectRecord(func(r *usppb.Record) bool { return r.GetStompConnect() != nil }).GetStompConnect()
			if r.GetVersion() != usppb.STOMPConnectRecord_V1_2 || r.GetSubscribedDestination() != t.field.agentAddress(t.agent) {
				t.Errorf("the record is %v", r)
			}
		}},
	},
		ownSTOMPCases(),
		without(notApplicable, "an agent always has a destination: the bridge does not start without one", map[string]string{"6.7": "No destination at all"}),
	))
}

// throughProxy brings up a bridge that reaches its STOMP server through a proxy,
// which has the server name a destination if one is given, and returns the case as
// played there.
func (t *trial) throughProxy(subscribeDest string) (*stompProxy, *trial) {
	t.Helper()
	p := newSTOMPProxy(t.T, t.field.broker, nil)
	p.subscribeDest = subscribeDest
	f := &field{gateway: t.field.gateway, over: mtp.STOMP, broker: t.field.broker, inbox: subscribeDest, realm: "-" + strings.ReplaceAll(p.address(), ":", "-")}
	return p, newField(t.T, f, map[string]any{"usp.mtp.stomp.broker": "tcp://" + p.address()}).start(t.T)
}

// sent expects the headers of the SEND frame with the GetResp that a controller
// got.
func (t *trial) sent(p *stompProxy, replyTo string) {
	t.Helper()
	for {
		f := p.next("SEND")
		r, err := record.Unwrap(f.Body, record.Limits{})
		if err != nil || r.GetNoSessionContext() == nil {
			continue
		}
		if msg, err := record.Message(r); err != nil || msg.GetHeader().GetMsgType() != usppb.Header_GET_RESP {
			continue
		}
		want := map[string]string{"content-length": strconv.Itoa(len(f.Body)), "content-type": "application/vnd.bbf.usp.msg", "reply-to-dest": replyTo}
		for name, v := range want {
			if got := f.Header.Get(name); got != v {
				t.Errorf("SEND has %s %q, want %q", name, got, v)
			}
		}
		return
	}
}
