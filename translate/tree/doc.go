// Package tree keeps the parameter trees of CPE: what their data model has and
// which values were last seen.
//
// A Template is the set of {i}-paths that one model and firmware has, with
// access and types; all devices that have it share it. A Tree is one device: the
// instance numbers of its tables and a cell for each parameter of each row, so
// that no path is kept per device. A device that nobody uses is only the Tree's
// encoding in the store.
//
// The package knows CWMP paths and types and nothing of USP but dm.Instance, the
// sequence of instance numbers that both sides have. Package translate fills
// Trees from discoveries and Informs; package mapping shows them as USP.
package tree
