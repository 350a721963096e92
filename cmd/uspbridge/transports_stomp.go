package main

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/stomp"
)

// newSTOMP makes the STOMP transport, with one connection or one for each agent.
func newSTOMP(c STOMPConfig, who *identity, log *slog.Logger, metrics prometheus.Registerer) (mtp.Transport, error) {
	secure, err := c.TLS.config()
	if err != nil {
		return nil, err
	}
	cfg := stomp.Config{
		Broker: c.Broker, Destination: c.Destination, Login: c.Login, Passcode: string(c.Passcode), Host: c.Host,
		TLS: secure, HeartBeat: time.Duration(c.HeartBeat), Log: log.With("mtp", "stomp"), Registerer: metrics,
	}
	if cfg.HeartBeat == 0 {
		cfg.HeartBeat = -1 // none
	}
	if c.Connections == perAgent {
		if c.TLS.Cert == "" {
			cfg.Certificate = who.certificate // each agent its own, if the broker asks for one
		}
		return stomp.NewPerAgent(cfg)
	}
	return stomp.New(cfg)
}
