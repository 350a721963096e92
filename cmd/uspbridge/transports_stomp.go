package main

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/stomp"
)

// newSTOMP makes the STOMP transport.
func newSTOMP(c STOMPConfig, log *slog.Logger, metrics prometheus.Registerer) (mtp.Transport, error) {
	secure, err := c.TLS.config()
	if err != nil {
		return nil, err
	}
	return stomp.New(stomp.Config{
		Broker: c.Broker, Destination: c.Destination, Login: c.Login, Passcode: string(c.Passcode), Host: c.Host,
		TLS: secure, Log: log.With("mtp", "stomp"), Registerer: metrics,
	})
}
