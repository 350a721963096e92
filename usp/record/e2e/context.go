package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// sessionContext is one session context, from its first record to its end. What
// fails in it ends it: its Peer begins another (R-E2E.21).
type sessionContext struct {
	peer     *Peer
	id       uint64
	ours     bool // it began here
	security usppb.Record_PayloadSecurity
	tls      *secure          // nil: plaintext
	cert     *tls.Certificate // with which our records are signed while they have no MAC; nil: they are not

	next     uint64 // sequence_id of the next record that is sent
	expected uint64 // of the next that is processed
	heard    bool   // something of it has been processed
	out      outgoing
	in       incoming
	reassembly
	doubted bool // a part of the message under way has come of a sender not proven

	waiting queue // messages, until TLS is established
	// carried are messages sent before anything was heard: if the session is begun
	// again, the peer has most likely not seen them.
	carried queue

	began time.Time
	gap   time.Time // when what is missing is asked for; zero: nothing is
	asked int       // times
}

// exhausted is so near to the largest sequence_id that a new session is begun
// (R-E2E.8, R-E2E.9).
const exhausted = math.MaxUint64 - 10_000

var (
	errSecurity = errors.New("payload_security is not that of the session")
	errMissing  = errors.New("a record is missing and does not come when it is asked for")
	errNumbers  = errors.New("the numbers of the session are used up")
)

// secure begins TLS where the session has it, and gets the certificate for
// signatures where it signs.
func (c *sessionContext) secure(signs bool) error {
	secured := c.security == usppb.Record_TLS12
	if !secured && !signs {
		return nil
	}
	if c.peer.identity == nil {
		return errors.New("the session is to be secured, and this endpoint has no certificate")
	}
	var err error
	if c.cert, err = c.peer.identity.Certificate(); err != nil || !secured {
		return err
	}
	c.tls, err = newSecure(c.ours, c.cert, c.peer.identity, c.peer.limits.newestTLS)
	return err
}

// secured reports whether TLS has proven who the peer is.
func (c *sessionContext) secured() bool { return c.tls != nil && c.tls.established }

// up reports whether messages can be exchanged.
func (c *sessionContext) up() bool { return c.tls == nil || c.tls.established }

// receive takes a record of this session.
func (c *sessionContext) receive(now time.Time, r *usppb.Record, proven bool, res *Result) error {
	if r.GetPayloadSecurity() != c.security { // R-E2E.19
		return errSecurity
	}
	s := r.GetSessionContext()
	switch sequence := s.GetSequenceId(); {
	case sequence < c.expected: // R-E2E.20, R-E2E.25
		res.Duplicates++
		return nil
	case sequence > c.expected:
		return c.early(now, arrival{record: r, proven: proven}, res)
	}
	for next, ok := (arrival{record: r, proven: proven}), true; ok; next, ok = c.in.take(c.expected) {
		if err := c.process(next, res); err != nil {
			return err
		}
	}
	c.gap, c.asked = time.Time{}, 0
	if len(c.in.early) > 0 {
		c.gap = now.Add(c.peer.limits.Gap)
	}
	if c.expected >= exhausted {
		return errNumbers
	}
	return nil
}

// early keeps a record that is not yet to be processed. What it asks to be sent
// again is sent at once all the same: each end may be waiting for the other's.
func (c *sessionContext) early(now time.Time, a arrival, res *Result) error {
	s := a.record.GetSessionContext()
	if _, twice := c.in.early[s.GetSequenceId()]; twice { // R-E2E.25
		res.Duplicates++
		return nil
	}
	if c.up() {
		if err := c.verify(a.record, a.proven); err != nil {
			return err
		}
		a.verified = true
		if err := c.retransmit(s.GetRetransmitId(), res); err != nil {
			return err
		}
		a.served = true
	}
	if c.gap.IsZero() {
		c.gap = now.Add(c.peer.limits.Gap)
	}
	return c.in.put(a, c.expected, &c.peer.limits)
}

// process deals with the record that is next (R-E2E.20).
func (c *sessionContext) process(a arrival, res *Result) error {
	if !a.verified {
		if err := c.verify(a.record, a.proven); err != nil {
			return err
		}
	}
	s := a.record.GetSessionContext()
	c.expected++
	c.heard, c.carried = true, queue{}
	c.out.acknowledge(min(s.GetExpectedId(), c.next))
	if !a.served {
		if err := c.retransmit(s.GetRetransmitId(), res); err != nil {
			return err
		}
	}
	data := bytes.Join(s.GetPayload(), nil)
	if len(data) == 0 && s.GetPayloadSarState() == sarNone {
		return nil
	}
	c.doubted = c.doubted || !a.proven
	return c.take(s.GetPayloadSarState(), data, res)
}

// take deals with a payload.
func (c *sessionContext) take(state sarState, data []byte, res *Result) error {
	if err := c.check(state); err != nil {
		return err
	}
	if c.tls != nil {
		shaking := !c.up()
		plain, err := c.tls.receive(data, c.ours)
		if sent := c.flush(shaking, res); err == nil {
			err = sent
		}
		if err != nil {
			return err
		}
		data = plain
	}
	msg, err := c.add(state, data, c.peer.limits.Message)
	if err != nil {
		return err
	}
	if len(msg) > 0 {
		res.Messages = append(res.Messages, Message{Payload: msg, Proven: !c.doubted || c.secured()})
	}
	if !c.within {
		c.doubted = false
	}
	return c.release(res)
}

// release sends what has waited for TLS.
func (c *sessionContext) release(res *Result) error {
	if !c.up() {
		return nil
	}
	waiting := c.waiting
	c.waiting = queue{}
	for _, msg := range waiting.messages {
		if err := c.send(msg, res); err != nil {
			return err
		}
	}
	return nil
}

// retransmit sends a record again; 0 is none.
func (c *sessionContext) retransmit(sequence uint64, res *Result) error {
	if sequence == 0 {
		return nil
	}
	b, err := c.out.again(sequence, c.peer.policy.Retransmits)
	if err != nil {
		return err
	}
	res.Retransmitted++
	res.Records = append(res.Records, b)
	return nil
}

// verify checks the fields of a record outside its payload (R-E2E.30).
func (c *sessionContext) verify(r *usppb.Record, proven bool) error {
	if c.secured() {
		if len(r.GetMacSignature()) == 0 && proven {
			return nil
		}
		return record.VerifyMAC(r, c.tls.receiving)
	}
	return c.peer.verifySignature(r, proven)
}

// send makes the records of a message.
func (c *sessionContext) send(msg []byte, res *Result) error {
	if !c.up() {
		return c.waiting.put(msg, &c.peer.limits)
	}
	if !c.heard {
		c.carried.push(msg, &c.peer.limits)
	}
	if c.tls == nil {
		return c.transmit(payload{units: [][]byte{msg}}, res)
	}
	if err := c.tls.seal(msg); err != nil {
		return err
	}
	return c.flush(false, res)
}

// flush sends what TLS has to say; shaking is before the handshake was over.
func (c *sessionContext) flush(shaking bool, res *Result) error {
	units := c.tls.units()
	if len(units) == 0 {
		return nil
	}
	return c.transmit(payload{units: units, shaking: shaking}, res)
}

// say sends a record without payload, which asks for the one that is missing if
// one is.
func (c *sessionContext) say(again uint64, res *Result) error {
	return c.transmit(payload{units: [][]byte{{}}, again: again, shaking: !c.up()}, res)
}

// payload is what transmit makes records of.
type payload struct {
	units   [][]byte // see segments
	again   uint64   // retransmit_id
	shaking bool     // the peer cannot have the keys of MACs yet
}

// transmit makes the records of a payload.
func (c *sessionContext) transmit(p payload, res *Result) error {
	r, err := c.blank(p.shaking)
	if err != nil {
		return err
	}
	parts, err := segments(p.units, roomFor(r, c.peer.policy.MaxRecord))
	if err != nil {
		return err
	}
	for _, part := range parts {
		if c.next >= exhausted { // R-E2E.9
			return errNumbers
		}
		s := r.GetSessionContext()
		s.SequenceId, s.ExpectedId, s.RetransmitId = c.next, c.expected, p.again // R-E2E.15, R-E2E.17
		s.PayloadSarState, s.PayloadrecSarState, s.Payload = part.state, part.recState, [][]byte{part.payload}
		if err := c.protect(r, p.shaking); err != nil {
			return err
		}
		b, err := proto.Marshal(r)
		if err != nil {
			return fmt.Errorf("USP record from %q to %q: encode: %w", r.GetFromId(), r.GetToId(), err)
		}
		c.out.keep(c.next, b, &c.peer.limits)
		c.next++
		res.Records = append(res.Records, b)
	}
	return nil
}

// blank is a record of this session without payload, as large as its MAC or
// signature makes it.
func (c *sessionContext) blank(shaking bool) (*usppb.Record, error) {
	r := &usppb.Record{
		Version: c.peer.version, ToId: string(c.peer.pair.Remote), FromId: string(c.peer.pair.Local), PayloadSecurity: c.security,
		RecordType: &usppb.Record_SessionContext{SessionContext: &usppb.SessionContextRecord{SessionId: c.id, SequenceId: c.next, ExpectedId: c.expected}},
	}
	return r, c.protect(r, shaking)
}

// protect puts in the MAC, or before TLS is established a signature (R-E2E.29).
func (c *sessionContext) protect(r *usppb.Record, shaking bool) error {
	switch {
	case c.tls != nil && !shaking:
		record.Authenticate(r, c.tls.sending)
	case c.cert != nil:
		return record.Sign(r, c.cert)
	}
	return nil
}

// end gives up what the session holds and returns the messages that the peer has
// not seen: those that waited, and those sent before anything was heard.
func (c *sessionContext) end() [][]byte {
	if c.tls != nil {
		c.tls.close()
	}
	return append(c.carried.messages, c.waiting.messages...)
}
