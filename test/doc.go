// Package test tests the system as a whole: the rules of the house here, and in
// files beside it conformance, work with programs that others wrote, and faults.
// It has no code of its own that anything imports.
package test
