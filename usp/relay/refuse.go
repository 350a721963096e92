package relay

import (
	"crypto/x509"
	"log/slog"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/record"
)

// The reasons for which records are not passed on.
const (
	droppedMalformed   = "malformed"   // endpoint ids that go into no address
	droppedAddress     = "address"     // it came to another endpoint's address
	droppedForged      = "forged"      // the connection or the reply address is another endpoint's
	droppedUnproven    = "unproven"    // nothing shows that the sender is who it says
	droppedForbidden   = "forbidden"   // no rule allows it
	droppedConflict    = "conflict"    // the sender has the id of a hosted agent
	droppedEcho        = "echo"        // our own, heard again
	droppedLoop        = "loop"        // it goes round
	droppedFull        = "full"        // too many endpoints are known
	droppedOverload    = "overload"    // too much waits to be sent
	droppedUnreachable = "unreachable" // there is no way to the receiver now
	droppedDirect      = "direct"      // the receiver listens where the record came, and has it
	droppedHeld        = "held_full"   // it cannot wait: too much does
	droppedExpired     = "expired"     // it has waited for too long
	droppedFailed      = "failed"      // the store or the transport failed
)

// drop counts a record that is not passed on.
func (r *Relay) drop(env record.Envelope, via mtp.Protocol, reason string) {
	r.metrics.dropped.WithLabelValues(reason).Inc()
	if r.log.Enabled(r.ctx, slog.LevelDebug) {
		r.log.Debug("record not relayed", "from", shorten(env.From), "to", shorten(env.To), "protocol", via, "reason", reason)
	}
}

// refusal returns why a record is not relayed, "" if it is: it must be in order,
// its sender who it says, and allowed to write to the receiver.
func (r *Relay) refusal(in mtp.Inbound, env record.Envelope) string {
	if !plain(env.From) || !plain(env.To) {
		return droppedMalformed
	}
	if in.Local != "" && in.Local != env.To { // R-E2E.1
		return droppedAddress
	}
	if in.Peer != "" && in.Peer != env.From || namesOthers(in.Chain, env.From) {
		return droppedForged
	}
	if reason := r.again(in, env); reason != "" {
		return reason
	}
	hosted, err := r.cfg.Claims.Hosted(r.ctx, env.From)
	switch {
	case err != nil:
		r.log.Error("it cannot be told whether an endpoint is hosted here", "endpoint", env.From, "error", err)
		return droppedFailed
	case hosted && r.overheard(in, env):
		return droppedDirect // our own agent's, to a controller that listens within our subscription
	case hosted:
		if r.conflicts.note(env.From, in.Reply, r.cfg.Now()) {
			r.log.Warn("a native endpoint has the endpoint id of a bridged device and is not relayed",
				"endpoint", env.From, "protocol", in.Reply.Protocol, "address", addressText(in.Reply), "to", env.To)
		}
		return droppedConflict
	case !r.cfg.Policy.Allows(env.From, env.To):
		return droppedForbidden
	}
	return r.doubt(in, env)
}

// namesOthers reports whether a certificate was shown that names endpoints, but not
// this one (TR-369 R-SEC.0a).
func namesOthers(chain []*x509.Certificate, id usp.EndpointID) bool {
	return len(chain) > 0 && len(usp.EndpointsOf(chain[0])) > 0 && !usp.Names(chain[0], id)
}

// overheard reports whether the receiver listens itself where the record came.
func (r *Relay) overheard(in mtp.Inbound, env record.Envelope) bool {
	at, ok := r.route(env.To, env.From)
	return ok && at.Protocol == in.Reply.Protocol && r.inboxes.has(at, env.To)
}

// doubt returns why the sender is not believed to be who it says, "" if it is. Who
// has not proven it is taken at its word on transports that are trusted. Over a
// broker the address for the answer counts too: one made from the template must be
// the sender's own, and that is enough on one that is not trusted.
func (r *Relay) doubt(in mtp.Inbound, env record.Envelope) string {
	own := false
	for _, at := range []mtp.Address{in.Reply, inboxOf(env)} {
		if !reachable(at) || at.Conn != nil {
			continue
		}
		if address, ok := r.inboxes.template(at.Protocol, env.From); ok && samePlace(address, at) {
			own = true
		} else if r.cfg.Owner(at) != "" {
			return droppedForged
		}
	}
	if in.Proven || own || r.trusts(in.Reply.Protocol) {
		return ""
	}
	return droppedUnproven
}

// trusts reports whether endpoints are taken at their word on a transport.
func (r *Relay) trusts(p mtp.Protocol) bool { return slices.Contains(r.cfg.Trusted, p) }

// again returns why a record that was seen before is not passed on once more. At
// a place where it was sent to by us it is an echo, as of a broker's wildcard
// subscription. Elsewhere it may be a repetition by its sender, so that it takes a
// few to be a loop.
func (r *Relay) again(in mtp.Inbound, env record.Envelope) string {
	for _, at := range r.inboxes.of(in.Reply.Protocol, env.To) {
		if r.marks.has(r.marks.key("sent", at, in.Record)) {
			return droppedEcho
		}
	}
	if r.marks.add(r.marks.key("got", mtp.Address{Protocol: in.Reply.Protocol}, in.Record)) > maxCopies {
		return droppedLoop
	}
	return ""
}

// plain reports whether an endpoint id may go into topics, destinations and
// headers. The transports escape what has a meaning there, but no broker takes
// what is no text.
func plain(id usp.EndpointID) bool {
	return id.Validate() == nil && utf8.ValidString(string(id)) && !strings.ContainsFunc(string(id), unicode.IsControl)
}

// shorten keeps what the network sends from filling the log.
func shorten(id usp.EndpointID) string {
	const most = 64
	if len(id) <= most {
		return string(id)
	}
	return string(id[:most]) + "…"
}
