package acs

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/cwmp/soap"
)

// Config is what a Server needs. Only Fleet is required; zero values of the
// rest mean the defaults named here.
type Config struct {
	Fleet Fleet
	Log   *slog.Logger  // nothing is logged if nil
	Auth  Authenticator // CPE are not authenticated if nil
	Tap   Tap           // sessions are captured by nobody if nil

	Limits      soap.Limits   // of an envelope inside a session; soap.DefaultLimits()
	InformBytes int           // largest body of a CPE that has no session yet; 1 MiB
	BodiesBytes int           // all bodies in memory together; beyond it 503. 256 MiB
	BodyTimeout time.Duration // to read one body and to write one response; 30 s

	// SessionTimeout is how long a session waits for the CPE's next request
	// while no RPC is outstanding, RPCTimeout while one is. TR-069 3.7.2.4 wants
	// no less than 30 s; shorter ones are taken as given, for tests. 60 s, 2 min.
	SessionTimeout time.Duration
	RPCTimeout     time.Duration
	// SessionDuration is after how long a session is ended in good order even if
	// more work waits for the CPE. 30 min.
	SessionDuration time.Duration

	// MaxSessions is how many may be open at once; beyond it Informs get 503. A
	// tenth of them is kept for CPE with a RetryCount. 10000
	MaxSessions    int
	MaxConnections int           // open at once, see Limit. 15000
	RetryAfter     time.Duration // told with 503, spread between once and twice that. 30 s
	QueueDepth     int           // jobs waiting for one CPE; beyond it ErrQueueFull. 64
	MaxRequests    int           // RPCs that a CPE may send in one session besides Inform. 256

	// ContactTimeout bounds the wait of a Do whose context has no deadline. 30 s.
	ContactTimeout time.Duration
	// WakeInterval is how long a connection request that a CPE accepted is given
	// to take effect before another is sent. 10 s.
	WakeInterval time.Duration

	// Methods is the answer to the CPE's GetRPCMethods: the ACS methods that the
	// Fleet serves. All of TR-069 A.3.3 and A.4.2 if nil.
	Methods []string

	Metrics prometheus.Registerer // nothing is registered if nil
}

// defaultMethods are the ACS methods of TR-069 table 28.
func defaultMethods() []string {
	return []string{"Inform", "GetRPCMethods", "TransferComplete", "AutonomousTransferComplete",
		"DUStateChangeComplete", "AutonomousDUStateChangeComplete", "RequestDownload", "Kicked"}
}

// complete fills in the defaults and refuses what cannot work.
func (c Config) complete() (Config, error) {
	if c.Fleet == nil {
		return c, errors.New("acs: Config.Fleet is required")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Limits == (soap.Limits{}) {
		c.Limits = soap.DefaultLimits()
	}
	if c.Methods == nil {
		c.Methods = defaultMethods()
	}
	for _, n := range []struct {
		name  string
		value *int
		or    int
	}{
		{"InformBytes", &c.InformBytes, 1 << 20}, {"BodiesBytes", &c.BodiesBytes, 256 << 20}, {"MaxSessions", &c.MaxSessions, 10000},
		{"MaxConnections", &c.MaxConnections, 15000}, {"QueueDepth", &c.QueueDepth, 64}, {"MaxRequests", &c.MaxRequests, 256},
	} {
		if *n.value < 0 {
			return c, fmt.Errorf("acs: Config.%s is %d: it must not be negative", n.name, *n.value)
		}
		if *n.value == 0 {
			*n.value = n.or
		}
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		or    time.Duration
	}{
		{"BodyTimeout", &c.BodyTimeout, 30 * time.Second}, {"SessionTimeout", &c.SessionTimeout, time.Minute},
		{"RPCTimeout", &c.RPCTimeout, 2 * time.Minute}, {"SessionDuration", &c.SessionDuration, 30 * time.Minute},
		{"RetryAfter", &c.RetryAfter, 30 * time.Second}, {"ContactTimeout", &c.ContactTimeout, 30 * time.Second},
		{"WakeInterval", &c.WakeInterval, 10 * time.Second},
	} {
		if *d.value < 0 {
			return c, fmt.Errorf("acs: Config.%s is %v: it must not be negative", d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.or
		}
	}
	return c, nil
}
