// Package upstream stands in front of package acs while an operator's existing
// ACS is still in charge of some devices (staged migration). Its Door decides at
// the Inform of each session who serves it; its Proxy passes a session through
// to the existing ACS untouched.
//
// It reads an Inform's DeviceId and nothing else of CWMP; who is in which stage
// it is told. What stands behind the Door does not ask again.
package upstream

import "fmt"

// Stage is how far a device's migration has come.
type Stage uint8

// The stages. The existing ACS serves the sessions of legacy, shadow and dual
// devices, the bridge those of bridged ones. A native device runs a USP agent;
// should it inform still, the bridge answers.
const (
	Bridged Stage = iota // a bridge without an existing ACS has only these
	Legacy
	Shadow
	Dual
	Native
)

var stageNames = [...]string{Bridged: "bridged", Legacy: "legacy", Shadow: "shadow", Dual: "dual", Native: "native"}

func (s Stage) String() string {
	if int(s) < len(stageNames) {
		return stageNames[s]
	}
	return fmt.Sprintf("stage %d", uint8(s))
}

// ParseStage reads the name of a stage.
func ParseStage(name string) (Stage, error) {
	for s, n := range stageNames {
		if n == name {
			return Stage(s), nil
		}
	}
	return Bridged, fmt.Errorf("stage %.32q: must be one of legacy, shadow, dual, bridged, native", name)
}

// passesThrough reports whether the existing ACS serves the device's sessions.
func (s Stage) passesThrough() bool { return s == Legacy || s == Shadow || s == Dual }
