package cpesim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/capture"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

// Recording is one CPE as it was captured: its identity, its parameter tree as far
// as it was read, what it was seen to do, and its answers as it wrote them. It is
// immutable and may be shared by any number of CPE (Config.Replay).
type Recording struct {
	Identity cwmp.DeviceID
	Version  cwmp.Version // namespace of its envelopes

	model   *Model
	profile *Profile
	style   *httpStyle
	answers map[string][]answer // by requestKey, in the order they were given
	informs []recordedInform
}

// answer is what the CPE answered to a request.
type answer struct {
	body    []byte
	echoes  bool         // its cwmp:ID is the request's, as it should be
	message cwmp.Message // as read
}

// recordedInform is an Inform of the CPE.
type recordedInform struct {
	body    []byte
	message *cwmp.Inform
}

// Model returns the CPE's parameter tree, as it was when the capture began.
func (r *Recording) Model() *Model { return r.model }

// maxDevices bounds the devices of one capture.
const maxDevices = 1000

// LoadRecordings reads a capture (docs/captures.md) from a file; see
// ReadRecordings.
func LoadRecordings(name string) (recordings []*Recording, err error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return ReadRecordings(file, name)
}

// ReadRecordings reads a capture and returns its devices in the order of their
// first sessions. name is the file's, for errors.
func ReadRecordings(in io.Reader, name string) ([]*Recording, error) {
	r := capture.NewReader(in, name)
	var order []*recorder
	devices := map[cwmp.DeviceKey]*recorder{}
	sessions := map[int]*recordedSession{}
	for {
		line, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		switch l := line.(type) {
		case *capture.Header:
			clear(sessions)
		case *capture.Session:
			id := l.Device.ID()
			rec := devices[id.Key()]
			if rec == nil {
				if len(order) >= maxDevices {
					return nil, r.Errorf("more than %d devices", maxDevices)
				}
				rec = newRecorder(id)
				devices[id.Key()] = rec
				order = append(order, rec)
			}
			sessions[l.Session] = &recordedSession{recorder: rec}
		case *capture.Message:
			if err := sessions[l.Session].message(l); err != nil {
				return nil, r.Errorf("%w", err)
			}
		case *capture.End:
			delete(sessions, l.Session)
		}
	}
	var recordings []*Recording
	for _, rec := range order {
		recording, err := rec.finish()
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", name, rec.Identity.Key(), err)
		}
		recordings = append(recordings, recording)
	}
	if len(recordings) == 0 {
		return nil, fmt.Errorf("%s: no session is in it", name)
	}
	return recordings, nil
}

// recorder makes the Recording of one device.
type recorder struct {
	*Recording
	seen   seenTree
	habits habits
	http   styleSeen
}

func newRecorder(id cwmp.DeviceID) *recorder {
	return &recorder{Recording: &Recording{Identity: id, answers: map[string][]answer{}}, seen: newSeenTree()}
}

// recordedSession is one session being read.
type recordedSession struct {
	*recorder
	messages int
	asked    *soap.Envelope // the request that waits for its answer
}

// message takes one message in. What cannot be read as an envelope is no use to a
// replay and passed over; so is a body that was masked as a whole.
func (s *recordedSession) message(m *capture.Message) error {
	if m.From == capture.CPE {
		s.http.see(m, s.messages == 0)
		s.messages++
	}
	body := m.Bytes()
	if len(body) == 0 || m.Note != "" {
		return nil
	}
	contentType, _ := m.Header("Content-Type")
	env, err := soap.Read(body, contentType, soap.DefaultLimits())
	if err != nil || env.Body == nil {
		return nil
	}
	if m.From == capture.ACS {
		s.asked = env
		if isResponse(env.Body) {
			s.asked = nil
		}
		return nil
	}
	switch b := env.Body.(type) {
	case *cwmp.Inform:
		s.Version = env.Version
		s.informs = append(s.informs, recordedInform{body, b})
		return s.seen.inform(b)
	case *cwmp.Fault:
	default:
		if !isResponse(b) {
			return nil // a request of the CPE's own: it makes those anew
		}
	}
	asked := s.asked
	if s.asked = nil; asked == nil {
		return nil
	}
	key := requestKey(asked.Body)
	s.answers[key] = append(s.answers[key], answer{body, env.ID == asked.ID, env.Body})
	s.habits.see(asked.Body, env.Body)
	return s.seen.answer(asked.Body, env.Body)
}

func isResponse(m cwmp.Message) bool {
	_, fault := m.(*cwmp.Fault)
	return fault || strings.HasSuffix(m.RPC(), "Response")
}

// finish builds what a CPE needs.
func (r *recorder) finish() (*Recording, error) {
	model, err := r.seen.model(r.Identity)
	if err != nil {
		return nil, err
	}
	out := r.Recording
	out.model, out.style = model, r.http.style()
	out.profile = r.habits.profile(&r.seen)
	out.profile.OnlyCWMP1_0 = out.Version == cwmp.Version1_0
	out.profile.NoCookie, out.profile.CloseAfterEachResponse = r.http.noCookie(), r.http.closes()
	return out, nil
}

// requestKey tells requests apart that can be answered alike. Keys that an ACS
// makes up for each request are no part of it.
func requestKey(m cwmp.Message) string {
	var b strings.Builder
	b.WriteString(m.RPC())
	add := func(parts ...string) {
		for _, p := range parts {
			b.WriteByte(0)
			b.WriteString(p)
		}
	}
	switch m := m.(type) {
	case *cwmp.GetParameterNames:
		add(string(m.Path), fmt.Sprint(m.NextLevel))
	case *cwmp.GetParameterValues:
		for _, n := range m.Names {
			add(string(n))
		}
	case *cwmp.SetParameterValues:
		for _, v := range m.Values {
			add(string(v.Name), v.Value.Type.XSD(), canonical(v.Value.Type, v.Value.Text))
		}
	case *cwmp.GetParameterAttributes:
		for _, n := range m.Names {
			add(string(n))
		}
	case *cwmp.SetParameterAttributes:
		for _, e := range m.Entries {
			add(fmt.Sprint(e))
		}
	case *cwmp.AddObject:
		add(string(m.Object))
	case *cwmp.DeleteObject:
		add(string(m.Object))
	case *cwmp.Download:
		add(m.FileType)
	case *cwmp.Upload:
		add(m.FileType)
	}
	return b.String()
}
