package main

import (
	"time"

	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/record/e2e"
)

// SessionsConfig bounds the session contexts between controllers and agents.
type SessionsConfig struct {
	Most      Count    `mapstructure:"most"`      // at a time
	Idle      Duration `mapstructure:"idle"`      // one without exchange ends
	Handshake Duration `mapstructure:"handshake"` // of TLS in a session
	Message   Size     `mapstructure:"message"`   // put together from segments
	Kept      Size     `mapstructure:"kept"`      // of records of one session, to be sent again
	Ahead     Size     `mapstructure:"ahead"`     // of records of one session that came before one that is missing
}

// ControllerSession says whether a controller is spoken to in session contexts.
type ControllerSession struct {
	Context   Use  `mapstructure:"context"`
	Security  Use  `mapstructure:"security"`
	MaxRecord Size `mapstructure:"max_record"` // 0: any
}

// Use is forbidden, allowed or required; "" is allowed.
type Use string

// UnmarshalText takes one of the three.
func (u *Use) UnmarshalText(b []byte) error { return choose(u, b, "forbidden", "allowed", "required") }

func (u Use) use() e2e.Use {
	return map[Use]e2e.Use{"forbidden": e2e.Forbid, "required": e2e.Require}[u]
}

func defaultSessions() SessionsConfig {
	return SessionsConfig{
		Most: 65536, Idle: Duration(time.Hour), Handshake: Duration(30 * time.Second),
		Message: 5 << 20, Kept: 4 << 20, Ahead: 4 << 20,
	}
}

// leastMaxRecord is the smallest value of MaxUSPRecordSize beside 0 (TR-181).
const leastMaxRecord = 512

func (l *configLoader) checkSessions(c SessionsConfig) {
	for _, bound := range []struct {
		key  string
		zero bool
	}{
		{"most", c.Most == 0}, {"idle", c.Idle == 0}, {"handshake", c.Handshake == 0}, {"message", c.Message == 0}, {"kept", c.Kept == 0}, {"ahead", c.Ahead == 0},
	} {
		if bound.zero {
			l.invalid("usp.sessions."+bound.key, "must be more than 0")
		}
	}
}

func (l *configLoader) checkControllerSession(key string, c ControllerSession) {
	if c.MaxRecord != 0 && c.MaxRecord < leastMaxRecord {
		l.invalid(key+".max_record", "must be at least %d, or 0 for records of any size", leastMaxRecord)
	}
	if c.Security == "required" && c.Context == "forbidden" {
		l.wrong(key+".security", "is required, but there is no TLS without session contexts, and context is forbidden")
	}
}

func (c ControllerSession) policy() agent.SessionPolicy {
	return agent.SessionPolicy{Context: c.Context.use(), Security: c.Security.use(), MaxRecord: int(c.MaxRecord)}
}

func (c SessionsConfig) settings() agent.SessionConfig {
	return agent.SessionConfig{Most: int(c.Most), Limits: e2e.Limits{
		Idle: time.Duration(c.Idle), Handshake: time.Duration(c.Handshake),
		Message: int(c.Message), KeptBytes: int(c.Kept), AheadBytes: int(c.Ahead),
	}}
}
