//go:build race

package testenv

// UnderRace: the test runs under the race detector, and so the bridge does too.
const UnderRace = true
