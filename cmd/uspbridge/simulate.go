package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
)

// simulated is what `uspbridge simulate --json` prints.
type simulated struct {
	CPE                int               `json:"cpe"`
	Never              int               `json:"never"` // CPE that had not one good session
	Sessions           uint64            `json:"sessions"`
	FailedSessions     uint64            `json:"failed_sessions"`
	Informs            uint64            `json:"informs"`
	InformsPerSecond   float64           `json:"informs_per_second"`
	SessionP50         float64           `json:"session_p50_ms"`
	SessionP99         float64           `json:"session_p99_ms"`
	ConnectionRequests uint64            `json:"connection_requests"`
	RPCs               map[string]uint64 `json:"rpcs"`
	FaultsSent         uint64            `json:"faults_sent"`
	FaultsReceived     uint64            `json:"faults_received"`
	LastError          string            `json:"last_error,omitempty"`
	Seconds            float64           `json:"seconds"`
}

// maxSimulated is how many CPE one process simulates: each takes some kilobytes
// before its first contact.
const maxSimulated = 200_000

func (a *app) simulateCommand() *cobra.Command {
	cfg := cpesim.RunConfig{}
	cmd := &cobra.Command{
		Use: "simulate --acs URL", Short: "Run a fleet of simulated CPE against an ACS",
		Long: "Run a fleet of simulated CPE against an ACS until interrupted or --duration is over, then report.",
		Example: "  uspbridge simulate --acs http://127.0.0.1:7547/ --count 100 --model mixed --ramp 10s --duration 1m\n" +
			"  uspbridge simulate --acs http://127.0.0.1:7547/ --replay box.capture",
		Args: takesNothing(),
	}
	f := cmd.Flags()
	f.StringVar(&cfg.ACSURL, "acs", "", "URL of the ACS (required)")
	f.IntVar(&cfg.Count, "count", 1, "number of CPE")
	f.StringVar(&cfg.Model, "model", "mixed", "kind of CPE: tr098, tr181 or mixed")
	f.StringVar(&cfg.TreeFile, "tree", "", "CSV file of a device's parameters, in place of --model")
	f.StringVar(&cfg.Replay, "replay", "", "capture whose device is played back, in place of --model")
	f.StringVar(&cfg.OUI, "oui", "", "OUI of all CPE (default: the model's)")
	f.StringVar(&cfg.ProductClass, "product-class", "", "product class of all CPE (default: the model's)")
	f.StringVar(&cfg.SerialPrefix, "serial-prefix", "", "start of the serial numbers (default: SIM; of a replay the captured one, varied)")
	f.DurationVar(&cfg.InformInterval, "inform-interval", 0, "periodic Inform interval (0: the model's)")
	f.DurationVar(&cfg.Ramp, "ramp", 0, "time over which the first contacts are spread")
	f.StringVar(&cfg.Listen, "listen", "127.0.0.1:0", "where connection requests are taken")
	f.StringVar(&cfg.Username, "username", "", "user name towards the ACS")
	f.StringVar(&cfg.Password, "password", "", "password towards the ACS")
	f.StringVar(&cfg.StateDir, "state-dir", "", "directory that keeps the CPE's state over restarts")
	f.DurationVar(&cfg.Duration, "duration", 0, "how long to run (0: until interrupted)")
	f.IntVar(&cfg.MaxSessions, "max-sessions", 0, "sessions open at once (0: 256)")
	var secure ClientTLS
	f.StringVar(&secure.CA, "tls-ca", "", "PEM file of the CAs that the ACS's certificate is verified with (default: the system's)")
	f.StringVar(&secure.Cert, "tls-cert", "", "PEM file of the client certificate that all CPE show to an ACS that asks for one")
	f.StringVar(&secure.Key, "tls-key", "", "PEM file of its key")
	insecure := f.Bool("tls-insecure", false, "take any certificate of the ACS, as careless CPE do")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkSimulated(cfg); err != nil {
			return err
		}
		if (secure.Cert == "") != (secure.Key == "") {
			return usagef("--tls-cert and --tls-key belong together")
		}
		var err error
		if cfg.TLS, err = secure.config(); err != nil {
			return err
		}
		cfg.TLS.InsecureSkipVerify = *insecure
		cfg.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(cfg.Count)
		return a.simulate(cmd.Context(), cfg)
	}
	return cmd
}

// checkSimulated refuses a fleet that cannot be run.
func checkSimulated(cfg cpesim.RunConfig) error {
	if cfg.ACSURL == "" {
		return usagef("name the ACS with --acs URL; a bridge on this machine is http://127.0.0.1:7547/")
	}
	if !slices.Contains([]string{"tr098", "tr181", "mixed"}, cfg.Model) {
		return usagef("--model %q is not known; use tr098, tr181 or mixed", cfg.Model)
	}
	if cfg.TreeFile != "" && cfg.Replay != "" {
		return usagef("--tree and --replay say two different things; give one")
	}
	if err := checkURL("--acs", cfg.ACSURL, "http://127.0.0.1:7547/", "http", "https"); err != nil {
		return err
	}
	if cfg.Count < 1 || cfg.Count > maxSimulated {
		return usagef("--count %d: want at least 1 and at most %d", cfg.Count, maxSimulated)
	}
	if cfg.InformInterval < 0 || cfg.Ramp < 0 || cfg.Duration < 0 || cfg.MaxSessions < 0 {
		return usagef("--inform-interval, --ramp, --duration and --max-sessions cannot be negative")
	}
	return nil
}

// simulate runs the fleet. That not one CPE got through is a failure: the ACS is
// not there, or refuses all of them.
func (a *app) simulate(ctx context.Context, cfg cpesim.RunConfig) error {
	var now atomic.Pointer[cpesim.Stats]
	cfg.Progress = func(s cpesim.Stats) { now.Store(&s) }
	p := a.progress(func() string {
		s := now.Load()
		if s == nil {
			return "starting"
		}
		return fmt.Sprintf("%d CPE, %d sessions open, %d done, %d failed", s.CPE, s.ActiveSessions, s.Sessions, s.FailedSessions)
	})
	report, err := cpesim.Run(ctx, cfg)
	p.done()
	if err != nil {
		return err
	}
	r := newSimulated(report)
	if err := a.print(r, func(w io.Writer) { printSimulated(w, r) }); err != nil {
		return err
	}
	if r.Sessions == 0 && r.FailedSessions > 0 {
		return fmt.Errorf("no session with %s succeeded: %s", cfg.ACSURL, r.LastError)
	}
	return nil
}

func newSimulated(r cpesim.Report) simulated {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return simulated{
		CPE: r.CPE, Never: r.Never, Sessions: r.Sessions, FailedSessions: r.FailedSessions,
		Informs: r.Informs, InformsPerSecond: r.InformsPerSecond, SessionP50: ms(r.SessionP50), SessionP99: ms(r.SessionP99),
		ConnectionRequests: r.ConnectionRequests, RPCs: r.RPCsByName,
		FaultsSent: r.FaultsSent, FaultsReceived: r.FaultsReceived, LastError: r.LastError, Seconds: r.Elapsed.Seconds(),
	}
}

func printSimulated(w io.Writer, r simulated) {
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	var rpcs []string
	for _, name := range slices.Sorted(maps.Keys(r.RPCs)) {
		rpcs = append(rpcs, printable(name)+" "+number(r.RPCs[name]))
	}
	list(w,
		[2]string{"CPE", strconv.Itoa(r.CPE)},
		[2]string{"never in contact", strconv.Itoa(r.Never)},
		[2]string{"sessions", fmt.Sprintf("%d done, %d failed", r.Sessions, r.FailedSessions)},
		[2]string{"session time", fmt.Sprintf("half below %.1f ms, 99 %% below %.1f ms", r.SessionP50, r.SessionP99)},
		[2]string{"Informs", fmt.Sprintf("%d, %.1f per second", r.Informs, r.InformsPerSecond)},
		[2]string{"connection requests", number(r.ConnectionRequests)},
		[2]string{"RPCs of the ACS", strings.Join(rpcs, ", ")},
		[2]string{"faults", fmt.Sprintf("%d sent, %d received", r.FaultsSent, r.FaultsReceived)},
		[2]string{"last error", printable(r.LastError)},
	)
}
