package soap

import (
	"github.com/uspbridge/uspbridge/cwmp"
)

// Envelope is one SOAP message of a CWMP session: the header elements of
// TR-069 3.5 (table 4) and one RPC.
type Envelope struct {
	ID    string // cwmp:ID, echoed in the response exactly
	HasID bool   // an empty ID is not the same as none

	// Version is the namespace of the message, in which its answer is written.
	Version cwmp.Version

	HoldRequests      bool   // ACS to CPE
	NoMoreRequests    bool   // of CWMP 1.0 only, later without meaning
	SessionTimeout    int    // seconds, 0: not given; CPE to ACS, CWMP 1.3
	SupportedVersions string // SupportedCWMPVersions, e.g. "1.0,1.1,1.2"; CPE to ACS, CWMP 1.4
	UseVersion        string // UseCWMPVersion; ACS to CPE, CWMP 1.4

	Body cwmp.Message // nil: an empty body element
}

// Read reads an envelope. contentType is the HTTP header of that name, or "":
// it matters only for the encoding of characters.
//
// The error is a *SyntaxError, an *UnknownRPCError, or a *cwmp.Fault 8003 for
// an RPC whose arguments make no sense; each says where. The Envelope is never
// nil: with an error, it has the ID and version as far as they were read, for
// the answer's header. Body is nil then.
func Read(body []byte, contentType string, lim Limits) (*Envelope, error) {
	e := &Envelope{}
	lim = lim.withDefaults()
	if len(body) > lim.Bytes {
		return e, tooMuch(lim.Bytes, "Bytes", "the body has %d bytes, %d are allowed", len(body), lim.Bytes)
	}
	src := decode(body, contentType, lim.Bytes)
	if len(src) > lim.Bytes {
		return e, tooMuch(lim.Bytes, "Bytes", "the body has more than %d bytes as UTF-8", lim.Bytes)
	}
	s := newScanner(src, lim)
	return e, readEnvelope(s, e)
}

func readEnvelope(s *scanner, e *Envelope) error {
	local, err := s.root()
	if err != nil {
		return err
	}
	if sp, _ := s.space(); local != "Envelope" || !sp.orUndeclared(spaceEnvelope) {
		return s.errorf("expected a SOAP 1.1 Envelope, found <%s>", clip(s.name))
	}
	e.Version = s.anyVersion()
	for {
		local, more, err := s.child()
		if err != nil {
			return err
		}
		if !more {
			return s.errorf("the Envelope has no Body")
		}
		switch local {
		case "Header": // may be absent (tolerance noHeader)
			err = readHeader(s, e)
		case "Body":
			return readBody(s, e)
		default:
			err = s.skip()
		}
		if err != nil {
			return err
		}
	}
}

// readHeader reads the header elements of CWMP and passes over all others, also
// those with mustUnderstand: CPE mark with it whatever they add.
func readHeader(s *scanner, e *Envelope) error {
	for {
		local, more, err := s.child()
		if err != nil || !more {
			return err
		}
		if sp, v := s.space(); sp == spaceCWMP {
			e.Version = v
		}
		switch local {
		case "ID": // to be echoed exactly
			e.HasID = true
			if e.ID, err = s.layoutText(); err != nil {
				return err
			}
		case "HoldRequests", "NoMoreRequests", "SessionTimeout", "SupportedCWMPVersions", "UseCWMPVersion":
			text, err := s.token()
			if err != nil {
				return err
			}
			e.setHeader(local, text)
		default:
			if err := s.skip(); err != nil {
				return err
			}
		}
	}
}

func (e *Envelope) setHeader(local, text string) {
	switch local {
	case "HoldRequests":
		e.HoldRequests = parseBoolean(text)
	case "NoMoreRequests":
		e.NoMoreRequests = parseBoolean(text)
	case "SessionTimeout":
		if n, ok := parseInteger(text); ok && n > 0 {
			e.SessionTimeout = int(min(n, 1<<31-1))
		}
	case "SupportedCWMPVersions":
		e.SupportedVersions = text
	case "UseCWMPVersion":
		e.UseVersion = text
	}
}

// readBody reads the one RPC of the body.
func readBody(s *scanner, e *Envelope) error {
	local, more, err := s.child()
	if err != nil || !more {
		return err
	}
	start := s.tagStart
	sp, v := s.space()
	if sp == spaceCWMP {
		e.Version = v
	}
	if local == "Fault" {
		f, err := readFault(s)
		if err != nil {
			return err
		}
		return s.finish(e, f)
	}
	c, known := codecs[local]
	if !known || sp == spaceOther { // of SOAP's it may be (tolerance defaultNamespace)
		return &UnknownRPCError{Name: clip(local), Offset: start}
	}
	m, err := c.read(s)
	if err != nil {
		return err
	}
	return s.finish(e, m)
}

// finish looks for a second RPC behind the one read, which would be lost.
// A body that ends early here has lost nothing (tolerance cutTail).
func (s *scanner) finish(e *Envelope, m cwmp.Message) error {
	for {
		_, more, err := s.child()
		if s.cutTail(err) {
			break
		}
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if sp, _ := s.space(); sp == spaceCWMP {
			return s.fault("a second RPC <%s> in one envelope", clip(s.name))
		}
		if err := s.skip(); err != nil && !s.cutTail(err) {
			return err
		}
	}
	e.Body = m
	return nil
}
