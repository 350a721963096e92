// Package test tests the system as a whole: the rules of the house here, and in
// files beside it conformance, work with programs that others wrote, and faults.
// It has no code of its own that anything imports.
//
// It also writes docs/tolerances.md, the table of every departure from the standards
// that is served all the same. A test that proves one says so in a comment over it,
// or over a row of its table:
//
//	// Deviation: <who> – <what they do>; <what is done>
//
// What is done comes behind the last semicolon; the comment goes on to its end, or
// to an empty line. TestTolerances collects these comments from all packages, with
// the name of the test and of the row, and fails while the page says anything else;
// run with -update it writes the page anew.
package test
