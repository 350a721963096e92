package main

import (
	"io/fs"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/uds"
)

func newUDS(c UDSConfig, log *slog.Logger, metrics prometheus.Registerer) (mtp.Transport, error) {
	return uds.New(uds.Config{
		Listen: c.Listen, Mode: fs.FileMode(c.Mode), Endpoint: usp.EndpointID(c.EndpointID),
		Log: log.With("mtp", "uds"), Registerer: metrics,
	})
}
