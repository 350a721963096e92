package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/cmd/uspbridge/servertls"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// transport is a configured transport and the section that configures it.
type transport struct {
	mtp.Transport
	section string
}

// newTransports makes the transports that the configuration turns on.
func newTransports(cfg *Config, who *identity, ids *clientIDs, own *embedded, log *slog.Logger, metrics prometheus.Registerer, tlsMetrics *servertls.Metrics) ([]transport, error) {
	var all []transport
	add := func(section string, t mtp.Transport, err error) error {
		if err != nil {
			return fmt.Errorf("%s: %w", section, err)
		}
		all = append(all, transport{t, section})
		return nil
	}
	if cfg.USP.webSocketOn() {
		t, err := newWebSocket(cfg, who, log, metrics, tlsMetrics)
		if err := add("usp.mtp.websocket", t, err); err != nil {
			return nil, err
		}
	}
	if cfg.USP.udsOn() {
		t, err := newUDS(cfg.USP.MTP.UDS, log, metrics)
		if err := add("usp.mtp.uds", t, err); err != nil {
			return nil, err
		}
	}
	if cfg.USP.MTP.CoAP.Listen != "" {
		t, err := newCoAP(cfg.USP.MTP.CoAP, log, metrics)
		if err := add("usp.mtp.coap", t, err); err != nil {
			return nil, err
		}
	}
	if cfg.USP.MTP.MQTT.on {
		t, err := newMQTT(cfg.USP.MTP.MQTT, who, ids, own, log, metrics)
		if err := add("usp.mtp.mqtt", t, err); err != nil {
			return nil, err
		}
		if cfg.USP.MTP.MQTT.embedded {
			own.inside = t
		}
	}
	if cfg.USP.MTP.STOMP.on {
		t, err := newSTOMP(cfg.USP.MTP.STOMP, who, log, metrics)
		if err := add("usp.mtp.stomp", t, err); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// config returns what a client needs for TLS; it is used only where the
// broker's URL asks for TLS.
func (t ClientTLS) config() (c *tls.Config, err error) {
	c = &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		if c.RootCAs, err = readCA(t.CA); err != nil {
			return nil, err
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
