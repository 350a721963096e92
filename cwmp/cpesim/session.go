package cpesim

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

// session is one CWMP session, from Inform to the ACS's empty answer (TR-069
// 3.7.1).
type session struct {
	c      *CPE
	link   link
	inform *cwmp.Inform
	report report
	nextID int
	asked  int  // RPCs that the ACS has sent
	hold   bool // the ACS holds back the CPE's own requests

	written []byte // the message that is sent next as a recorded CPE wrote it; nil: it is written anew

	acknowledged bool // an InformResponse came
	reboot       *cwmp.Reboot
	factoryReset bool
}

// maxInformAttempts bounds how often one session sends its Inform again because
// the ACS answers 8005, "retry request".
const maxInformAttempts = 3

// errDied is a request that the CPE does not survive.
var errDied = errors.New("the CPE lost its connection, as its profile has it")

// newSession takes what there is to report. c.mu is held.
func newSession(c *CPE) *session {
	s := &session{c: c, inform: c.inform()}
	s.written = c.recordedInform(s.inform, "1", c.pending.Changed)
	s.report = c.takeReport()
	s.link = link{username: c.text("ManagementServer.Username"), password: c.text("ManagementServer.Password"),
		profile: c.profile, tls: c.fleet.config.TLS, certificate: c.factory.Certificate,
		timeout: c.fleet.config.SessionTimeout, now: c.now, keepAlive: !c.profile.CloseAfterEachResponse, style: plainStyle}
	s.link.auth.challenge = c.challenge
	if c.replay != nil {
		s.link.style = c.replay.style
	}
	if !c.profile.NoCookie {
		s.link.cookies = map[string]string{}
	}
	return s
}

// run holds the session; nil is an orderly end.
func (s *session) run(ctx context.Context) error {
	defer s.link.close()
	defer s.keepChallenge()
	s.c.mu.Lock()
	acs := s.c.text("ManagementServer.URL")
	s.c.mu.Unlock()
	target, err := url.Parse(acs)
	if err != nil || target.Host == "" {
		return fmt.Errorf("ManagementServer.URL %q is no URL", acs)
	}
	s.link.target = target
	if err := s.open(ctx); err != nil {
		return err
	}
	out := s.ownRequest()
	for {
		in, err := s.exchange(ctx, out)
		if err != nil {
			return err
		}
		if in == nil || in.Body == nil {
			if out != nil && !isAnswer(out.Body) {
				return fmt.Errorf("the ACS answered a %s with nothing", out.Body.RPC())
			}
			return nil
		}
		s.hold = in.HoldRequests
		if out, err = s.answer(ctx, out, in); err != nil {
			return err
		}
	}
}

// keepChallenge remembers the last digest challenge for the next session, with
// CPE that answer it again unasked.
func (s *session) keepChallenge() {
	if s.c.profile.KeepNonce {
		s.c.mu.Lock()
		s.c.challenge = s.link.auth.challenge
		s.c.mu.Unlock()
	}
}

// open sends the Inform until it is acknowledged.
func (s *session) open(ctx context.Context) error {
	for range maxInformAttempts {
		s.c.fleet.stats.informs.Add(1)
		in, err := s.exchange(ctx, s.request(s.inform))
		if err != nil {
			return fmt.Errorf("inform: %w", err)
		}
		if in == nil || in.Body == nil {
			return errors.New("inform: the ACS answered with nothing")
		}
		s.hold = in.HoldRequests
		switch body := in.Body.(type) {
		case *cwmp.InformResponse:
			s.acknowledge()
			return nil
		case *cwmp.Fault:
			s.c.fleet.stats.faultsReceived.Add(1)
			if body.Code != cwmp.FaultACSRetryRequest { // TR-069 A.5.2: 8005, send the same again
				return fmt.Errorf("inform: %w", body)
			}
		default:
			return fmt.Errorf("inform: the ACS answered with %s", body.RPC())
		}
	}
	return fmt.Errorf("inform: the ACS asked for a retry %d times", maxInformAttempts)
}

// acknowledge ends the queueing of what the Inform reported.
func (s *session) acknowledge() {
	s.acknowledged = true
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.inform.HasEvent(cwmp.EventBootstrap) {
		s.c.pending.Bootstrapped = true
	}
	s.c.dirty = true
}

// request gives a request of the CPE an envelope with an ID of its own.
func (s *session) request(m cwmp.Message) *soap.Envelope {
	s.nextID++
	return &soap.Envelope{ID: strconv.Itoa(s.nextID), HasID: true, Version: s.c.factory.Version, Body: m}
}

// ownRequest returns the CPE's next own request, nil (an empty POST) if it has
// none or the ACS holds requests.
func (s *session) ownRequest() *soap.Envelope {
	if s.hold {
		return nil
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if len(s.c.pending.Completed) > 0 {
		done := s.c.pending.Completed[0]
		return s.request(&done)
	}
	if len(s.c.pending.Reports) > 0 {
		return s.request(s.c.pending.Reports[0].message())
	}
	return nil
}

// answer handles what the ACS sent in reply to sent, and returns what is sent
// next; nil is an empty POST.
func (s *session) answer(ctx context.Context, sent, in *soap.Envelope) (*soap.Envelope, error) {
	if sent != nil && !isAnswer(sent.Body) {
		if fault, refused := in.Body.(*cwmp.Fault); refused {
			s.c.fleet.stats.faultsReceived.Add(1)
			return nil, fmt.Errorf("%s: %w", sent.Body.RPC(), fault)
		}
		if in.Body.RPC() != sent.Body.RPC()+"Response" {
			return nil, fmt.Errorf("the ACS answered a %s with %s", sent.Body.RPC(), in.Body.RPC())
		}
		if !s.c.told(in.Body) {
			return nil, errDied
		}
		return s.ownRequest(), nil
	}
	if fault, refused := in.Body.(*cwmp.Fault); refused {
		s.c.fleet.stats.faultsReceived.Add(1)
		return nil, fmt.Errorf("the ACS broke the session off: %w", fault)
	}
	rpc := in.Body.RPC()
	s.asked++
	s.c.mu.Lock()
	dies := s.c.dies(in.Body, s.asked)
	s.c.mu.Unlock()
	switch {
	case dies:
		return nil, errDied
	case rpc == s.c.profile.RebootAt:
		s.c.Reboot()
		return nil, errDied
	}
	if s.c.profile.SlowResponse > 0 {
		if err := s.c.fleet.pause(ctx, s.c.profile.SlowResponse); err != nil {
			return nil, err
		}
	}
	response := s.perform(in)
	if rpc == s.c.profile.DieAfter && s.c.diesNow(rpc) {
		return nil, errDied
	}
	return &soap.Envelope{ID: in.ID, HasID: in.HasID, Version: s.c.factory.Version, Body: response}, nil
}

// isAnswer tells a CPE's response or fault from its requests.
func isAnswer(m cwmp.Message) bool {
	switch m.(type) {
	case *cwmp.Inform, *cwmp.TransferComplete, *cwmp.AutonomousTransferComplete, *cwmp.DUStateChangeComplete,
		*cwmp.AutonomousDUStateChangeComplete, *cwmp.RequestDownload, *cwmp.Kicked:
		return false
	}
	return true
}

// unknownRPC stands for a request whose name this CPE does not know.
type unknownRPC struct{ name string }

func (u *unknownRPC) RPC() string { return u.name }

// malformedRPC stands for a request whose arguments cannot be read.
type malformedRPC struct{ why string }

func (*malformedRPC) RPC() string { return "malformed" }

// exchange sends one envelope, nil for an empty POST, and reads what comes back,
// nil for an empty answer.
func (s *session) exchange(ctx context.Context, out *soap.Envelope) (*soap.Envelope, error) {
	buffer := s.c.fleet.buffers.Get().(*[]byte)
	defer s.c.fleet.buffers.Put(buffer)
	*buffer = (*buffer)[:0]
	switch {
	case out != nil && s.written != nil:
		*buffer = append(*buffer, s.written...)
		s.written = nil
	case out != nil:
		*buffer = soap.Append(*buffer, out)
	}
	answer, err := s.link.post(ctx, *buffer)
	if err != nil || len(answer.body) == 0 {
		return nil, err
	}
	in, err := soap.Read(answer.body, answer.contentType, soap.DefaultLimits())
	var unknown *soap.UnknownRPCError
	if errors.As(err, &unknown) {
		in.Body = &unknownRPC{unknown.Name}
		return in, nil
	}
	var malformed *cwmp.Fault
	if errors.As(err, &malformed) { // the arguments of an RPC make no sense
		in.Body = &malformedRPC{malformed.Text}
		return in, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the ACS's envelope: %w", err)
	}
	return in, nil
}

// pause waits by the fleet's clock.
func (f *Fleet) pause(ctx context.Context, d time.Duration) error {
	expired, stop := f.config.Clock.At(f.config.Clock.Now().Add(d))
	defer stop()
	select {
	case <-expired:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
