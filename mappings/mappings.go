// Package mappings is data: the mapping files that come with the bridge and the
// Device:2 data-model tables, embedded in the binary. Package mapping reads them.
package mappings

import "embed"

// Files are the mapping files, one folder for each root data model, and the
// device profiles.
//
//go:embed tr098/*.yaml tr106/*.yaml tr181/*.yaml profiles/*.yaml
var Files embed.FS

// Device2 is the table of Device:2.19 for USP and its services, gzipped, made
// by gen.
//
//go:embed datamodel/device2.tsv.gz
var Device2 []byte

// Commands is the table of how CWMP serves the commands of Device2, Events that
// of its events; both made by gen.
var (
	//go:embed datamodel/commands.tsv
	Commands string
	//go:embed datamodel/events.tsv
	Events string
)
