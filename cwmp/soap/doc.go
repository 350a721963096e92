// Package soap turns the bytes of CWMP messages into the vocabulary of package
// cwmp and back: SOAP 1.1 envelopes as TR-069 3.5 and the schemas cwmp-1-0.xsd
// to cwmp-1-4.xsd define them, in both directions (ACS and CPE).
//
// It stands between HTTP and the session: package acs (and the simulated CPE)
// hand it request bodies and get messages, and the other way round. It knows
// package cwmp only; it knows no HTTP beyond the text of a Content-Type, no
// session and no data model.
//
// Reading is tolerant and bounded. CPE write XML that no conforming parser
// accepts, so the package has a pull scanner of its own (scanner.go). Whatever
// is accepted beyond the standard is one named place, listed in tolerance.go,
// with a row in TestTolerances. What is refused says at which byte and what was
// seen there. DOCTYPE is always refused, so there are no entities to expand.
//
// Writing is strict: what Append writes validates against the schema of its
// version, if the values that it was given do. TestSchemas holds each message
// against testdata/schema, which says what the standard's schemas say.
//
// The strings of a message that was read are parts of one copy of the body:
// who keeps a few values for long clones them, or keeps the whole body alive.
package soap
