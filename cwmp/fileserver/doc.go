// Package fileserver hands files to CPE and takes files from them, for the
// Download and Upload RPCs of TR-069: firmware images, configurations, logs.
//
// A CPE gets a URL with a token in it. The token opens one file in one
// direction until it expires or its transfer has ended; that is all that is
// needed to fetch it, in ranges and again after a failure. Who made a token and
// what it opens is asked of Grants: the server keeps nothing itself, so that any
// node with the same directory serves any token. Names come from grants only,
// never from the URL, and are opened through an os.Root: nothing outside the
// directory can be reached, and nothing in it is ever listed.
//
// Firmware that lies elsewhere is fetched once for all CPE that are to have it,
// checked, and kept (images.go): a CPE gets it from here, by a token of its own.
//
// It stands beside package acs behind one listener, and knows HTTP and files,
// but no RPCs.
package fileserver
