package main

import (
	"crypto/tls"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/coap"
)

func newCoAP(c CoAPConfig, log *slog.Logger, metrics prometheus.Registerer) (mtp.Transport, error) {
	cfg := coap.Config{
		Listen: c.Listen, Path: c.Path, Address: c.Address, AnyReply: bool(c.AnyReply), Secure: c.TLS.Cert != "",
		Log: log.With("mtp", "coap"), Registerer: metrics,
	}
	if c.TLS.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	if c.TLS.CA != "" {
		roots, err := readCA(c.TLS.CA)
		if err != nil {
			return nil, err
		}
		cfg.Roots = roots
	}
	return coap.New(cfg)
}
