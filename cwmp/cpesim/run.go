package cpesim

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
)

// RunConfig is a whole simulation: what `uspbridge simulate` is told.
type RunConfig struct {
	ACSURL             string
	Count              int           // default 1
	Model              string        // "tr098", "tr181" or "mixed" (one after the other); default "tr181"
	TreeFile           string        // a parameter tree as LoadCSV reads it, in place of Model
	Replay             string        // a capture whose devices are played back, in place of Model
	OUI                string        // default: the model's
	ProductClass       string        // default: the model's
	SerialPrefix       string        // default "SIM"; a number of six digits or more follows. Of Replay: see serialLike
	InformInterval     time.Duration // 0: the model's
	Ramp               time.Duration // over which first contacts are spread
	Listen             string        // connection requests; default 127.0.0.1, any port
	Username, Password string        // towards the ACS
	Version            cwmp.Version  // as in Config
	StateDir           string        // "" keeps nothing
	Duration           time.Duration // 0: until ctx ends
	MaxSessions        int
	TLS                *tls.Config
	Profile            *Profile
	Progress           func(Stats)   // called each ProgressEvery, nil for none
	ProgressEvery      time.Duration // default 1 s
	Log                *slog.Logger
}

// Report is what came of a simulation.
type Report struct {
	Stats
	Elapsed           time.Duration `json:"elapsedNs"`
	InformsPerSecond  float64       `json:"informsPerSecond"`
	SessionsPerSecond float64       `json:"sessionsPerSecond"`
	Never             int           `json:"never"` // CPE that have not had one good session
}

// Run runs a fleet until its duration or ctx is over and reports; ctx ending is
// no error. A wrong configuration is one before anything is sent.
func Run(ctx context.Context, config RunConfig) (Report, error) {
	config, kinds, err := config.prepare()
	if err != nil {
		return Report{}, err
	}
	fleet, err := NewFleet(FleetConfig{Listen: config.Listen, StateDir: config.StateDir, MaxSessions: config.MaxSessions,
		TLS: config.TLS, Log: config.Log})
	if err != nil {
		return Report{}, err
	}
	closeFleet := func() error {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return fleet.Close(closing)
	}
	cpes := make([]*CPE, 0, config.Count)
	for i := range config.Count {
		c, err := fleet.Add(config.cpe(kinds[i%len(kinds)], i, len(kinds)))
		if err != nil {
			return Report{}, errors.Join(err, closeFleet())
		}
		cpes = append(cpes, c)
	}
	begun := time.Now()
	// The fleet outlives ctx by the time Close gives open sessions.
	if err := fleet.Start(context.WithoutCancel(ctx)); err != nil {
		return Report{}, errors.Join(err, closeFleet())
	}
	watch(ctx, fleet, config)
	report := Report{Stats: fleet.Stats(), Elapsed: time.Since(begun)}
	err = closeFleet()
	for _, c := range cpes {
		if !c.contacted() {
			report.Never++
		}
	}
	report.InformsPerSecond = float64(report.Informs) / report.Elapsed.Seconds()
	report.SessionsPerSecond = float64(report.Sessions) / report.Elapsed.Seconds()
	return report, err
}

// kind is what CPE are made after: a model, or a recording.
type kind struct {
	model  *Model
	replay *Recording
}

// prepare fills in defaults and loads the models.
func (config RunConfig) prepare() (RunConfig, []kind, error) {
	if config.Count == 0 {
		config.Count = 1
	}
	if config.Count < 0 || config.InformInterval < 0 || config.Ramp < 0 || config.Duration < 0 {
		return config, nil, errors.New("simulate: count, inform interval, ramp and duration cannot be negative")
	}
	if config.ProgressEvery <= 0 {
		config.ProgressEvery = time.Second
	}
	if config.Replay != "" {
		recordings, err := LoadRecordings(config.Replay)
		if err != nil {
			return config, nil, fmt.Errorf("simulate: %w", err)
		}
		kinds := make([]kind, len(recordings))
		for i, r := range recordings {
			kinds[i].replay = r
		}
		return config, kinds, nil
	}
	if config.TreeFile != "" {
		file, err := os.Open(config.TreeFile)
		if err != nil {
			return config, nil, fmt.Errorf("simulate: %w", err)
		}
		m, err := LoadCSV(file)
		if err = errors.Join(err, file.Close()); err != nil {
			return config, nil, fmt.Errorf("simulate: %s: %w", config.TreeFile, err)
		}
		return config, []kind{{model: m}}, nil
	}
	switch config.Model {
	case "tr098":
		return config, []kind{{model: TR098()}}, nil
	case "tr181", "":
		return config, []kind{{model: TR181()}}, nil
	case "mixed":
		return config, []kind{{model: TR098()}, {model: TR181()}}, nil
	}
	return config, nil, fmt.Errorf("simulate: model %q: want tr098, tr181 or mixed, or a tree file", config.Model)
}

// cpe configures the i-th CPE, of so many kinds.
func (config RunConfig) cpe(k kind, i, kinds int) Config {
	serial := fmt.Sprintf("%s%06d", cmp.Or(config.SerialPrefix, "SIM"), i+1)
	if k.replay != nil && config.SerialPrefix == "" {
		serial = serialLike(k.replay.Identity.SerialNumber, i/kinds)
	}
	return Config{ACSURL: config.ACSURL, Username: config.Username, Password: config.Password, Model: k.model, Replay: k.replay,
		Identity:       cwmp.DeviceID{OUI: config.OUI, ProductClass: config.ProductClass, SerialNumber: serial},
		PeriodicInform: config.InformInterval, Version: config.Version, Profile: config.Profile, JournalSize: -1,
		StartDelay: config.Ramp / time.Duration(config.Count) * time.Duration(i)}
}

// serialLike returns the n-th serial number after that of a recorded CPE: its own,
// then those with a number in the place of its last six characters.
func serialLike(serial string, n int) string {
	if n == 0 {
		return serial
	}
	return serial[:max(len(serial)-6, 0)] + fmt.Sprintf("%06d", n)
}

// watch reports progress until the simulation is over.
func watch(ctx context.Context, fleet *Fleet, config RunConfig) {
	if config.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, config.Duration)
		defer cancel()
	}
	if config.Progress == nil {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(config.ProgressEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			config.Progress(fleet.Stats())
		}
	}
}

// contacted reports whether the ACS has ever acknowledged this CPE.
func (c *CPE) contacted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pending.Bootstrapped
}
