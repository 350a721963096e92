package main

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mqtt"
)

// newMQTT makes the MQTT transport, with one connection or one for each agent.
func newMQTT(c MQTTConfig, who *identity, ids *clientIDs, own *embedded, log *slog.Logger, metrics prometheus.Registerer) (mtp.Transport, error) {
	secure, err := c.TLS.config()
	if err != nil {
		return nil, err
	}
	cfg := mqtt.Config{
		Broker: c.Broker, Version: string(c.Version), Topic: c.Topic, Username: c.Username, Password: string(c.Password),
		ClientID: c.ClientID, ClientIDs: ids, TLS: secure, Will: c.Will.will(), AtMostOnce: c.QoS == "0",
		KeepAlive: time.Duration(c.KeepAlive), SessionExpiry: time.Duration(c.SessionExpiry), Log: log.With("mtp", "mqtt"), Registerer: metrics,
	}
	if c.embedded {
		own.serves(&cfg)
	}
	if c.Connections == perAgent {
		if c.TLS.Cert == "" {
			cfg.Certificate = who.certificate // each agent its own, if the broker asks for one
		}
		return mqtt.NewPerAgent(cfg)
	}
	return mqtt.New(cfg)
}

// will returns the last will, nil for none.
func (c WillConfig) will() *mqtt.Will {
	if c.Topic == "" {
		return nil
	}
	return &mqtt.Will{Topic: c.Topic, Payload: []byte(c.Payload), QoS: c.QoS[0] - '0', Retain: bool(c.Retain)}
}
