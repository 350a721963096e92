package main

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/uspbridge/uspbridge/cwmp/acs"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

// LimitsConfig bounds what CPE may take of the bridge, together and each. The
// bounds that all share are logged when they begin to bite and when that ends.
type LimitsConfig struct {
	Sessions    Count    `mapstructure:"sessions"`    // open at once
	Connections Count    `mapstructure:"connections"` // open at once; further ones wait
	Bodies      Size     `mapstructure:"bodies"`      // in memory at once
	RetryAfter  Duration `mapstructure:"retry_after"` // told to CPE that are sent away
	Discoveries Count    `mapstructure:"discoveries"` // at once
	Devices     Count    `mapstructure:"devices"`     // in memory, the others are in the store only

	Body            Size     `mapstructure:"body"`   // of one message
	Inform          Size     `mapstructure:"inform"` // of the first message of a session
	BodyTimeout     Duration `mapstructure:"body_timeout"`
	SessionTimeout  Duration `mapstructure:"session_timeout"`
	RPCTimeout      Duration `mapstructure:"rpc_timeout"`
	SessionDuration Duration `mapstructure:"session_duration"`
	Requests        Count    `mapstructure:"requests"` // of a CPE in one session
	Queue           Count    `mapstructure:"queue"`    // operations waiting for one CPE
}

func defaultLimits() LimitsConfig {
	return LimitsConfig{
		Sessions: 10_000, Connections: 15_000, Bodies: 256 << 20, RetryAfter: Duration(30 * time.Second), Discoveries: 32, Devices: 20_000,
		Body: 16 << 20, Inform: 1 << 20, BodyTimeout: Duration(30 * time.Second),
		SessionTimeout: Duration(time.Minute), RPCTimeout: Duration(2 * time.Minute), SessionDuration: Duration(30 * time.Minute),
		Requests: 256, Queue: 64,
	}
}

// apply sets the limits of an ACS.
func (c LimitsConfig) apply(to *acs.Config) {
	to.MaxSessions, to.MaxConnections, to.BodiesBytes = int(c.Sessions), int(c.Connections), int(c.Bodies)
	to.RetryAfter = time.Duration(c.RetryAfter)
	to.Limits = soap.DefaultLimits()
	to.Limits.Bytes, to.InformBytes, to.BodyTimeout = int(c.Body), int(c.Inform), time.Duration(c.BodyTimeout)
	to.SessionTimeout, to.RPCTimeout, to.SessionDuration = time.Duration(c.SessionTimeout), time.Duration(c.RPCTimeout), time.Duration(c.SessionDuration)
	to.MaxRequests, to.QueueDepth = int(c.Requests), int(c.Queue)
}

func (l *configLoader) checkLimits(c LimitsConfig) {
	const key = "cwmp.limits."
	for _, v := range []struct {
		name string
		zero bool
	}{
		{"sessions", c.Sessions == 0}, {"connections", c.Connections == 0}, {"bodies", c.Bodies == 0}, {"retry_after", c.RetryAfter == 0},
		{"discoveries", c.Discoveries == 0}, {"devices", c.Devices == 0}, {"body", c.Body == 0}, {"inform", c.Inform == 0}, {"body_timeout", c.BodyTimeout == 0},
		{"session_timeout", c.SessionTimeout == 0}, {"rpc_timeout", c.RPCTimeout == 0}, {"session_duration", c.SessionDuration == 0},
		{"requests", c.Requests == 0}, {"queue", c.Queue == 0},
	} {
		if v.zero {
			l.invalid(key+v.name, "must be more than 0")
		}
	}
	if c.Connections < c.Sessions {
		l.wrong(key+"connections", "%d is less than cwmp.limits.sessions, %d, and each session needs a connection", c.Connections, c.Sessions)
	}
	if c.Bodies < c.Body {
		l.wrong(key+"bodies", "%v is less than cwmp.limits.body, %v", c.Bodies, c.Body)
	}
	if c.Inform > c.Body {
		l.wrong(key+"inform", "%v is more than cwmp.limits.body, %v", c.Inform, c.Body)
	}
}

// filesBesides are the open files that the bridge needs besides connections of
// CPE: store, controllers, brokers, connection requests.
const filesBesides = 512

// fitting returns the limits as the process's own limit of open files lets them
// be, with a reason if it is less than was wanted.
func (c LimitsConfig) fitting() (LimitsConfig, error) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return c, fmt.Errorf("limit of open files: %w", err)
	}
	return c.within(files.Cur)
}

func (c LimitsConfig) within(files uint64) (LimitsConfig, error) {
	if files >= uint64(c.Connections)+filesBesides {
		return c, nil
	}
	have := Count(max(int64(files)-filesBesides, int64(files)/2))
	err := fmt.Errorf("the process may open %d files, too few for cwmp.limits.connections of %d: no more than %d are accepted; raise the limit of open files (ulimit -n, LimitNOFILE)",
		files, c.Connections, have)
	c.Connections, c.Sessions = have, min(c.Sessions, have)
	return c, err
}

// Count is a number of things.
type Count int

// UnmarshalText reads a number that is not negative.
func (n *Count) UnmarshalText(b []byte) error {
	v, err := strconv.ParseInt(string(b), 10, 32)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a number, 0 or more; write for example 1000", b)
	}
	*n = Count(v)
	return nil
}

// Size is a number of bytes.
type Size int64

// sizeUnits are the units a Size is written in, the largest first.
var sizeUnits = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

func (s Size) String() string {
	for _, u := range sizeUnits {
		if s > 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// UnmarshalText reads 16MiB, 512KiB, 1GiB, or bytes without a unit.
func (s *Size) UnmarshalText(b []byte) error {
	text, unit := string(b), int64(1)
	for _, u := range sizeUnits {
		if number, ok := strings.CutSuffix(text, u.name); ok {
			text, unit = number, u.bytes
			break
		}
	}
	v, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || v < 0 || v > (1<<40)/unit {
		return fmt.Errorf("%q is not a size; write for example 512KiB, 16MiB or 1GiB", b)
	}
	*s = Size(v * unit)
	return nil
}
