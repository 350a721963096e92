package main

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/servertls"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/dialer"
	"github.com/uspbridge/uspbridge/usp/mtp/websocket"
)

func newWebSocket(cfg *Config, who *identity, log *slog.Logger, metrics prometheus.Registerer, tlsMetrics *servertls.Metrics) (mtp.Transport, error) {
	ws := cfg.USP.MTP.WebSocket
	c := websocket.Config{
		Listen: ws.Listen, Path: ws.Path, Token: string(cfg.Console.Token),
		Identity: who, RequireProof: bool(cfg.USP.Trust.RequireProof), Log: log.With("mtp", "websocket"), Registerer: metrics,
	}
	listener := ws.TLS
	listener.ClientAuth = cfg.USP.Trust.clientAuth(listener)
	secure, err := listener.server("websocket", log, tlsMetrics)
	if err != nil {
		return nil, err
	}
	if secure != nil {
		c.TLS, c.ErrorLog = secure.TLS(), secure.ErrorLog()
	}
	if c.Client.TLS, err = ws.Client.TLS.config(); err != nil {
		return nil, err
	}
	if ws.Client.TLS.Cert == "" { // else all agents show the operator's
		c.Client.Certificate = who.certificate
	}
	c.Client.Pace = dialer.Config{
		Rate: int(ws.Client.Rate), Concurrent: int(ws.Client.Concurrent), Max: int(ws.Client.MaxConnections), Timeout: time.Duration(ws.Client.Timeout),
	}
	return websocket.NewServer(c)
}
