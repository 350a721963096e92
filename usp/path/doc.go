// Package path is the grammar of USP path names (TR-369 "Data Model Path
// Grammar", TR-106 "Path Names"): it parses a path once into a compact list of
// steps, writes it back, and evaluates the comparisons of search expressions.
//
// It knows how paths are written, not which exist: it imports only the types of
// package dm. In the flow it stands at the door of package agent, which resolves
// the steps against a schema and a Model; package client uses it to check what a
// person typed. Everything in it is a value without state.
//
// Two liberties are taken with the grammar, both for devices that exist: names
// may contain hyphens (vendor prefixes such as X_ALU-COM_), and white space
// around operators is skipped (R-ARC.9a).
package path
