package uds

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp/dialer"
)

// Scheme begins the URL of a socket: unix:///run/uspbridge/usp.sock.
const Scheme = "unix://"

// DefaultEndpoint is who we are where the configuration does not say.
const DefaultEndpoint usp.EndpointID = "self::uspbridge"

// Config says where a Transport listens and what it connects to. Zero values have
// the defaults named.
type Config struct {
	Listen string      // absolute path of the socket; "": nobody connects to us
	Mode   fs.FileMode // of the socket: who can write to it can connect; 0660
	// Endpoint is who we are in the Handshake with those who connect: the hosted
	// agents stand behind one socket, and records tell them apart by to_id.
	Endpoint usp.EndpointID // DefaultEndpoint

	MaxRecord    int           // bytes of the largest record accepted; 5 MiB
	MaxConns     int           // connections that peers open, at once; 256
	MaxPending   int           // bytes of records waiting for one slow connection; 4 × MaxRecord
	Handshake    time.Duration // for the peer's Handshake (R-UDS.18); 30 s
	WriteTimeout time.Duration // for one record to leave; 10 s

	Pace dialer.Config // of connections to controllers; Log and Failed are set here

	Log        *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // nil: no metrics
}

// maxPath is what fits into a socket's address on Linux, in bytes.
const maxPath = 107

func (c *Config) complete() error {
	if c.Listen != "" {
		if err := CheckPath(c.Listen); err != nil {
			return err
		}
	}
	if c.Endpoint == "" {
		c.Endpoint = DefaultEndpoint
	}
	if err := c.Endpoint.Validate(); err != nil {
		return fmt.Errorf("uds: %w", err)
	}
	if c.Mode == 0 {
		c.Mode = 0o660
	}
	if c.Mode&^fs.ModePerm != 0 {
		return fmt.Errorf("uds: mode %o: only permissions can be set", uint32(c.Mode))
	}
	if c.MaxRecord < 0 || c.MaxConns < 0 || c.MaxPending < 0 || c.Handshake < 0 || c.WriteTimeout < 0 {
		return errors.New("uds: a negative limit; leave it 0 for the default")
	}
	orDefault(&c.MaxRecord, 5<<20)
	orDefault(&c.MaxConns, 256)
	orDefault(&c.MaxPending, 4*c.MaxRecord)
	orDefault(&c.Handshake, 30*time.Second)
	orDefault(&c.WriteTimeout, 10*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// CheckPath tells what is wrong with the path of a socket.
func CheckPath(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%q is not an absolute path", path)
	}
	if len(path) > maxPath {
		return fmt.Errorf("%q has %d bytes; the path of a socket can have %d", path, len(path), maxPath)
	}
	return nil
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}
