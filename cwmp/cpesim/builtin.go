package cpesim

import (
	"bytes"
	_ "embed" // for the two models
	"sync"
)

// The built-in models are residential gateways written for this project: one
// tree in each of the two standard data models.
var (
	//go:embed models/tr098.csv
	tr098CSV []byte
	//go:embed models/tr181.csv
	tr181CSV []byte

	loadTR098 = sync.OnceValue(func() *Model { return mustLoad("tr098", tr098CSV) })
	loadTR181 = sync.OnceValue(func() *Model { return mustLoad("tr181", tr181CSV) })
)

// TR098 returns the built-in gateway with root InternetGatewayDevice.
func TR098() *Model { return loadTR098() }

// TR181 returns the built-in gateway with root Device. (Device:2).
func TR181() *Model { return loadTR181() }

// mustLoad panics on a broken embedded file: it is part of the program, and a
// test loads it.
func mustLoad(name string, text []byte) *Model {
	m, err := LoadCSV(bytes.NewReader(text))
	if err != nil {
		panic("built-in model " + name + ": " + err.Error())
	}
	return m
}
