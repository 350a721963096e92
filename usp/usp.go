// Package usp is the vocabulary of TR-369 (User Services Platform): endpoints,
// versions and error codes.
//
// It is a leaf: it imports nothing of the project. usppb carries the messages,
// path the grammar of paths, dm the supported data model, record and mtp the
// wire, agent the behaviour.
package usp

import (
	"fmt"
	"strings"
)

// EndpointID names an agent or a controller: authority scheme, authority id and
// instance id, e.g. "os::00259E-0123456789" (TR-369 R-ARC.1 ff.).
type EndpointID string

// MaxEndpointID bounds the endpoint ids accepted from the network, in bytes.
const MaxEndpointID = 256

// Validate reports why id is not an endpoint id, nil if it is one.
func (id EndpointID) Validate() error {
	if len(id) > MaxEndpointID {
		return fmt.Errorf("endpoint id of %d bytes: at most %d are accepted", len(id), MaxEndpointID)
	}
	scheme, rest, ok := strings.Cut(string(id), ":")
	if !ok || scheme == "" {
		return fmt.Errorf("endpoint id %q: want scheme:authority:instance", string(id))
	}
	if _, inst, ok := strings.Cut(rest, ":"); !ok || inst == "" {
		return fmt.Errorf("endpoint id %q: no instance id", string(id))
	}
	return nil
}

// Versions of USP that the bridge speaks, newest last (TR-369 GetSupportedProtocol).
var SupportedVersions = []string{"1.0", "1.1", "1.2", "1.3", "1.4"}

// RecordVersion is written into records that answer none (TR-369 R-ENC.1).
const RecordVersion = "1.4"
