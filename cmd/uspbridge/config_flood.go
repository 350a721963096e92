package main

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/flood"
)

// USPLimitsConfig bounds what one endpoint may send. 0 is any amount.
type USPLimitsConfig struct {
	Records    Count `mapstructure:"records_per_second"`
	Burst      Count `mapstructure:"burst"` // records at once, after a pause
	Bytes      Size  `mapstructure:"bytes_per_second"`
	BytesBurst Size  `mapstructure:"bytes_burst"`
}

// The defaults are above what one controller does that works with a whole fleet,
// and answers its notifications.
func defaultUSPLimits() USPLimitsConfig {
	return USPLimitsConfig{Records: 20_000, Burst: 40_000, Bytes: 32 << 20, BytesBurst: 64 << 20}
}

func (c USPLimitsConfig) rates() flood.Rates {
	return flood.Rates{Records: float64(c.Records), Burst: float64(c.Burst), Bytes: float64(c.Bytes), BytesBurst: float64(c.BytesBurst)}
}

// bound puts the bounds in front of what takes records.
func (c USPLimitsConfig) bound(next mtp.Handler, log *slog.Logger, metrics prometheus.Registerer) (mtp.Handler, error) {
	return flood.Bound(next, flood.Config{Rates: c.rates(), Log: log, Registerer: metrics})
}

func (l *configLoader) checkUSPLimits(c USPLimitsConfig) {
	const key = "usp.limits."
	if c.Records > 0 && c.Burst < c.Records {
		l.wrong(key+"burst", "%d is less than usp.limits.records_per_second, %d", c.Burst, c.Records)
	}
	if c.Bytes > 0 && c.BytesBurst < max(c.Bytes, maxRecord) {
		l.wrong(key+"bytes_burst", "%v is less than one record may have, %v, or than usp.limits.bytes_per_second, %v", c.BytesBurst, Size(maxRecord), c.Bytes)
	}
}

// maxRecord is the size of the largest record that the transports take, in bytes.
const maxRecord = 5 << 20
