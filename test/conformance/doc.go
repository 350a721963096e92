// Package conformance plays Broadband Forum TP-469, the test plan for USP agents,
// against the bridge: the agent under test is a CPE that speaks CWMP and that the
// bridge presents.
//
// A case stands in the file of its section as a short script: messages that a
// controller sends, and what it wants to see (trial_test.go and expect_test.go
// have the words). Every case is played with each kind of CPE over each transport,
// on an agent that nobody else uses, so that cases run side by side. What came
// out is docs/conformance.md: the tests fail where the page says something else,
// and write it anew with
//
//	go test ./test/conformance -update
//
// What the plan cannot ask, that a Set of data on the CPE crosses CWMP with the
// same meaning, is in cpe_test.go.
package conformance
