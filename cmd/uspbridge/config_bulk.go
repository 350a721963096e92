package main

import (
	"fmt"
	"time"

	"github.com/uspbridge/uspbridge/usp/agent"
	"github.com/uspbridge/uspbridge/usp/agent/bulk"
)

// BulkDataConfig says which collectors bulk data may be reported to, and bounds
// what that takes. Allow is read from the file only.
type BulkDataConfig struct {
	Allow                []string `mapstructure:"allow"`
	CA                   string   `mapstructure:"ca"` // of collectors; "": the system's
	MinReportingInterval Duration `mapstructure:"min_reporting_interval"`
	Uploads              Count    `mapstructure:"uploads"` // at once
	Report               Size     `mapstructure:"report"`  // of one report, encoded
}

func defaultBulkData() BulkDataConfig {
	return BulkDataConfig{MinReportingInterval: Duration(time.Minute), Uploads: 256, Report: 4 << 20}
}

func (l *configLoader) checkBulkData(c BulkDataConfig) {
	const key = "usp.bulk_data."
	l.checkAllow(key+"allow", c.Allow)
	l.checkCA(key+"ca", c.CA)
	if d := time.Duration(c.MinReportingInterval); d < time.Second || d%time.Second != 0 {
		l.wrong(key+"min_reporting_interval", "must be whole seconds, at least 1s")
	}
	if c.Uploads == 0 {
		l.wrong(key+"uploads", "must be more than 0")
	}
	if c.Report == 0 {
		l.wrong(key+"report", "must be more than 0")
	}
}

// checkAllow checks the patterns of servers that the bridge may connect to.
func (l *configLoader) checkAllow(key string, patterns []string) {
	for i, pattern := range patterns {
		if _, err := bulk.NewPolicy([]string{pattern}); err != nil {
			l.invalid(fmt.Sprintf("%s[%d]", key, i), "%v", err)
		}
	}
}

// settings returns the configuration for the agents.
func (c BulkDataConfig) settings() (agent.BulkConfig, error) {
	policy, err := bulk.NewPolicy(c.Allow)
	if err != nil {
		return agent.BulkConfig{}, fmt.Errorf("usp.bulk_data.allow: %w", err)
	}
	s := agent.BulkConfig{Policy: policy, MinInterval: time.Duration(c.MinReportingInterval), Uploads: int(c.Uploads), Report: int(c.Report)}
	if c.CA == "" {
		return s, nil
	}
	if s.Roots, err = readCA(c.CA); err != nil {
		return agent.BulkConfig{}, fmt.Errorf("usp.bulk_data.ca: %w", err)
	}
	return s, nil
}
