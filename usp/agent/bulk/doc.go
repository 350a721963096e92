// Package bulk makes bulk data reports and brings them to collectors (TR-369
// Annex A "Bulk Data Collection", TR-181 Device.BulkData.). It knows parameters
// as names, values and types, and collectors as URLs; which parameters are in a
// report, and when it is due, package agent decides.
//
// A Report is encoded by a Format into the bytes that all protocols carry: the
// body of an HTTP request, an MQTT message, the Data of a Push! event. A Client
// carries them over HTTP. Collectors are chosen by controllers, not by the
// operator, so a Client asks a Policy where it may connect to.
package bulk
