package main

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mqtt"
)

// newMQTT makes the MQTT transport.
func newMQTT(c MQTTConfig, log *slog.Logger, metrics prometheus.Registerer) (mtp.Transport, error) {
	secure, err := c.TLS.config()
	if err != nil {
		return nil, err
	}
	return mqtt.New(mqtt.Config{
		Broker: c.Broker, Version: string(c.Version), Topic: c.Topic, Username: c.Username, Password: string(c.Password),
		ClientID: c.ClientID, TLS: secure, Log: log.With("mtp", "mqtt"), Registerer: metrics,
	})
}
